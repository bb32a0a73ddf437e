//! Lines to columns. The line is cut by csv-core; fields of wanted columns go straight into their builders.

use arrow_schema::{DataType, SchemaRef};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use millstream_engine::format::Payloads;
use millstream_engine::{Decoded, Decoder, Error, Result};

use super::super::columns::{ColumnBuilder, RowBuilder};
use super::super::convert::Scalar;
use super::Dialect;

/// Decodes lines. One per source instance.
pub(super) struct CsvDecoder {
    dialect: Dialect,
    schema: SchemaRef,
    reader: Reader,
    rows: RowBuilder,
    /// For each field of a line, the wanted column it fills.
    wanted: Vec<Option<usize>>,
    /// The line without quotes, and where its fields end.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl CsvDecoder {
    /// Lines hold `columns`, of which those of `schema` are wanted.
    pub fn new(dialect: Dialect, columns: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        let wanted = columns.fields().iter().map(|field| schema.index_of(field.name()).ok()).collect();
        let mut builder = ReaderBuilder::new();
        builder.delimiter(dialect.delimiter).quoting(dialect.quote.is_some()).escape(dialect.escape);
        builder.quote(dialect.quote.unwrap_or(b'"'));
        let rows = RowBuilder::new(schema.fields())?;
        Ok(Self {
            dialect,
            schema,
            reader: builder.build(),
            rows,
            wanted,
            text: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Cuts a line into `text` and `ends`. Answers how many fields it has; 0 for a line of nothing.
    fn cut(&mut self, line: &[u8]) -> Result<usize> {
        // A field is never longer than its line, and there is one delimiter between two.
        if self.text.len() <= line.len() {
            self.text.resize(line.len() + 1, 0);
            self.ends.resize(line.len() + 2, 0);
        }
        self.reader.reset();
        let (mut read, mut written, mut fields) = (0, 0, 0);
        // The end of the line ends the record: the reader is told so by an empty input.
        loop {
            let (result, taken, text, ends) =
                self.reader.read_record(&line[read..], &mut self.text[written..], &mut self.ends[fields..]);
            (read, written, fields) = (read + taken, written + text, fields + ends);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record if read < line.len() => {
                    return Err(Error::data("a line end in the middle of a line"));
                }
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(fields),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(Error::internal("a line has more fields than bytes"));
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let fields = self.cut(line)?;
        if fields != self.wanted.len() {
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            let columns = self.wanted.len();
            return Err(Error::data(format!(
                "the line has {fields} field{}, the table has {columns} column{}",
                plural(fields),
                plural(columns)
            )));
        }
        let mut start = 0;
        for (field, wanted) in self.wanted.iter().enumerate() {
            let end = self.ends[field];
            let bytes = &self.text[start..end];
            start = end;
            let Some(index) = *wanted else { continue };
            let text = std::str::from_utf8(bytes).map_err(|_| Error::data("the line is not valid UTF-8"))?;
            let kind = self.schema.field(index).data_type();
            if let Err(error) = append(self.rows.column(index), kind, text, &self.dialect) {
                return Err(self.rows.name_in(index, &error));
            }
        }
        self.rows.end();
        Ok(())
    }
}

/// Appends the text of a field; the items of an ARRAY and the fields of a ROW are cut from it.
fn append(column: &mut ColumnBuilder, kind: &DataType, text: &str, dialect: &Dialect) -> Result<()> {
    let is_null = match &dialect.null {
        Some(null) => text == null,
        None => text.is_empty() && *kind != DataType::Utf8,
    };
    if is_null {
        column.null();
        return Ok(());
    }
    match kind {
        DataType::List(item) => {
            let Some(items) = column.items() else { return Err(Error::internal("a list is a list")) };
            // Nothing is no item, as an empty ARRAY is written; the item that is an empty text cannot be told from it.
            let parts = text.split(dialect.items.as_str()).filter(|_| !text.is_empty());
            for part in parts {
                append(items, item.data_type(), part, dialect)?;
            }
            column.end_nested();
            Ok(())
        }
        DataType::Struct(fields) => {
            let Some(row) = column.row() else { return Err(Error::internal("a row is a row")) };
            let parts = text.split(dialect.items.as_str());
            let (found, wanted) = (parts.clone().count(), fields.len());
            if found > wanted {
                return Err(Error::data(format!("{found} parts, the ROW has {wanted} fields")));
            }
            for (index, (field, part)) in fields.iter().zip(parts).enumerate() {
                append(row.column(index), field.data_type(), part, dialect)
                    .map_err(|error| Error::data(format!("'{}': {}", field.name(), error.message())))?;
            }
            column.end_nested();
            Ok(())
        }
        _ => column.scalar(Scalar::Text(text)),
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let (mut payload_of, mut rejected) = (Vec::with_capacity(payloads.len()), Vec::new());
        for (number, line) in (0_u32..).zip(payloads.iter()) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || (self.dialect.comments && line.first() == Some(&b'#')) {
                continue;
            }
            match self.line(line) {
                Ok(()) => payload_of.push(number),
                Err(error) => {
                    self.rows.roll_back();
                    rejected.push((number, error));
                }
            }
        }
        let is_one_each = payload_of.len() == payloads.len();
        let rows = self.rows.finish(&self.schema)?;
        Ok(Decoded { rows, payload_of: (!is_one_each).then_some(payload_of), rejected })
    }
}
