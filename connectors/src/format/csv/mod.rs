//! The `csv` format, with Flink's options: columns by position, one row a line. decode.rs reads, encode.rs writes.

mod decode;
mod encode;

use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Codec, Decoder, Encoder, Error, Format, Result};

use super::columns::ColumnBuilder;

/// `'format' = 'csv'`.
#[derive(Debug)]
pub struct Csv;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("csv.field-delimiter", "text", ",", "The character between fields; '\\t' is a tab."),
    OptionSpec::new(
        "csv.quote-character",
        "text",
        "\"",
        "What a field that holds delimiters stands between.",
    ),
    OptionSpec::new("csv.disable-quote-character", "boolean", "false", "Quotes have no meaning."),
    OptionSpec::new("csv.escape-character", "text", "", "The character after it loses its meaning."),
    OptionSpec::new(
        "csv.null-literal",
        "text",
        "",
        "The text of NULL; without it an empty field of another type than STRING is NULL.",
    ),
    OptionSpec::new("csv.allow-comments", "boolean", "false", "Lines that begin with # are left out."),
    OptionSpec::new(
        "csv.array-element-delimiter",
        "text",
        ";",
        "What stands between the items of an ARRAY or the fields of a ROW.",
    ),
    OptionSpec::new("csv.ignore-parse-errors", "boolean", "false", "The same as 'on-error' = 'skip'."),
    OptionSpec::new(
        "csv.header",
        "boolean",
        "false",
        "Files begin with a line of names, which is left out; columns go by position.",
    ),
];

/// What the options say.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub null: Option<String>,
    pub comments: bool,
    pub items: String,
}

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn help(&self) -> &'static str {
        "Comma-separated values: a line a row, columns by position."
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn codec(&self, options: &Options, columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        options.bool("csv.ignore-parse-errors")?;
        options.bool("csv.header")?;
        let no_quotes = options.bool("csv.disable-quote-character")?.unwrap_or(false);
        let quote = character(options, "csv.quote-character")?.unwrap_or(b'"');
        let dialect = Dialect {
            delimiter: character(options, "csv.field-delimiter")?.unwrap_or(b','),
            quote: (!no_quotes).then_some(quote),
            escape: character(options, "csv.escape-character")?,
            null: options.get("csv.null-literal").map(str::to_owned),
            comments: options.bool("csv.allow-comments")?.unwrap_or(false),
            items: options.get("csv.array-element-delimiter").unwrap_or(";").to_owned(),
        };
        if dialect.items.is_empty() {
            return Err(options.invalid("csv.array-element-delimiter", "at least one character"));
        }
        for field in columns.fields() {
            if !is_flat(field.data_type()) {
                return Err(Error::config(format!("'csv' has no form for the column '{}'", field.name()))
                    .at(options.owner())
                    .remedy("columns, items of ARRAYs and fields of ROWs are single values; use 'json' for deeper ones"));
            }
        }
        Ok(Arc::new(CsvCodec { dialect, columns: Arc::clone(columns) }))
    }
}

/// Single values, and lists or rows of them.
fn is_flat(kind: &DataType) -> bool {
    let single = |kind: &DataType| !kind.is_nested() && ColumnBuilder::new(kind).is_ok();
    match kind {
        DataType::List(item) => single(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| single(field.data_type())),
        other => single(other),
    }
}

fn character(options: &Options, key: &str) -> Result<Option<u8>> {
    match options.get(key) {
        None => Ok(None),
        Some("\\t") => Ok(Some(b'\t')),
        Some(text) if text.len() == 1 && text.is_ascii() => Ok(Some(text.as_bytes()[0])),
        Some(_) => Err(options.invalid(key, "one ASCII character")),
    }
}

struct CsvCodec {
    dialect: Dialect,
    /// All columns of a line.
    columns: SchemaRef,
}

impl Codec for CsvCodec {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(decode::CsvDecoder::new(self.dialect.clone(), &self.columns, schema)?))
    }

    fn encoder(&self, schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(encode::CsvEncoder::new(self.dialect.clone(), &schema)))
    }

    fn is_lines(&self) -> bool {
        true
    }

    fn content_type(&self) -> &'static str {
        "text/csv"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int32Type};
    use arrow_array::{Array, RecordBatch};
    use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
    use millstream_engine::options::Options;
    use millstream_engine::{Batch, Format};
    use proptest::prelude::*;

    use super::Csv;
    use crate::format::payload::testing::decode;

    fn schema() -> SchemaRef {
        let pair =
            Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
        Arc::new(Schema::new(vec![
            Field::new("device", DataType::Utf8, true),
            Field::new("n", DataType::Int32, true),
            Field::new("t", DataType::Float64, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("list", DataType::List(Arc::new(Field::new("item", DataType::Int32, true))), true),
            Field::new("pair", DataType::Struct(pair), true),
        ]))
    }

    fn encode(rows: RecordBatch, pairs: [(&str, &str); 1]) -> Vec<String> {
        let codec = Csv.codec(&Options::from_pairs("t", pairs), &rows.schema()).unwrap();
        let mut encoder = codec.encoder(rows.schema()).unwrap();
        encoder.encode(&Batch::new(rows)).unwrap();
        encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect()
    }

    #[test]
    fn lines_become_rows_by_position_and_back() {
        let lines: [&[u8]; 5] = [
            br#"a,1,1.5,2026-01-01 00:00:10.5,1;2;3,7;seven"#,
            br#""b ""x"", y",-2,,2026-01-01T00:00:11,,"#,
            b"c,3,1e3,2026-01-01 00:00:12,4,8;\r",
            b"",
            b"d,4,NaN,2026-01-01 00:00:12,4,8;eight",
        ];
        let (rows, numbers, errors) = decode(schema(), [("format", "csv")], &lines);
        assert_eq!((numbers, errors), (vec![0, 1, 2, 4], vec![]));
        let devices = rows.column(0).as_string::<i32>();
        assert_eq!((devices.value(0), devices.value(1)), ("a", "b \"x\", y"));
        assert_eq!(rows.column(1).as_primitive::<Int32Type>().values(), &[1, -2, 3, 4]);
        let numbers = rows.column(2).as_primitive::<Float64Type>();
        assert_eq!((numbers.value(0), numbers.is_null(1), numbers.value(2)), (1.5, true, 1_000.0));
        let again = encode(rows.clone(), [("csv.field-delimiter", ",")]);
        assert_eq!(again[0], "a,1,1.5,2026-01-01 00:00:10.5,1;2;3,7;seven");
        assert_eq!(again[1], r#""b ""x"", y",-2,,2026-01-01 00:00:11,,"#);
        let lines: Vec<&[u8]> = again.iter().map(|line| line.as_bytes()).collect();
        let (twice, ..) = decode(schema(), [("format", "csv")], &lines);
        // NaN is not equal to itself.
        assert_eq!(twice.slice(0, 3), rows.slice(0, 3));
    }

    #[test]
    fn only_wanted_columns_are_read_and_bad_lines_are_named() {
        let lines: [&[u8]; 6] = [b"x,1", b"x,one", b"x", b"x,1,2,3", b"# x", b"x,\xff"];
        let columns: Vec<_> = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec();
        let all: SchemaRef = Arc::new(Schema::new(columns));
        let options = [("format", "csv"), ("csv.allow-comments", "true"), ("csv.null-literal", "one")];
        let (rows, numbers, errors) = decode(Arc::clone(&all), options, &lines);
        assert_eq!((numbers, rows.column(1).is_null(1)), (vec![0, 1], true));
        let errors = errors.join("\n");
        for part in ["1 field, the table has 2 columns", "4 fields", "not valid UTF-8"] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        let typed: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Boolean, true),
        ]));
        let (_, numbers, errors) = decode(typed, [("format", "csv")], &[b"1,true", b"1.5,true", b"2,maybe"]);
        assert_eq!(numbers, vec![0]);
        assert!(
            errors[0].contains("'a': the text '1.5' is no INT") && errors[1].contains("'b'"),
            "{errors:?}"
        );
    }

    proptest! {
        #[test]
        fn every_line_is_a_row_an_error_or_empty(lines in prop::collection::vec(
            prop_oneof![prop::collection::vec(any::<u8>(), 0..40), "[a-c\",;\\\\0-9.]{0,30}".prop_map(String::into_bytes)], 0..20)
        ) {
            let given: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            let options = [("format", "csv"), ("csv.escape-character", "\\")];
            let (_, numbers, errors) = decode(schema(), options, &given);
            let silent = given.iter().filter(|line| line.trim_ascii().is_empty()).count();
            prop_assert_eq!(numbers.len() + errors.len() + silent, given.len());
        }

        #[test]
        fn any_text_comes_back(texts in prop::collection::vec("[ -~\u{e9}\u{4e16}]{1,20}", 1..10)) {
            let schema: SchemaRef = Arc::new(Schema::new(vec![
                Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)]));
            let column: arrow_array::ArrayRef = Arc::new(arrow_array::StringArray::from(texts));
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(&column), column]).unwrap();
            let lines = encode(rows.clone(), [("csv.field-delimiter", ",")]);
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let (again, ..) = decode(schema, [("format", "csv")], &lines);
            prop_assert_eq!(again, rows);
        }
    }
}
