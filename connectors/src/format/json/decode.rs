//! JSON payloads to columns, with Flink's meaning: a missing field is NULL, an unknown field is ignored, a number in a
//! STRING column is its text, BYTES are in base 64.
//!
//! Arrow's tape decoder takes the payloads of a batch in one go, as long as each is one object; otherwise payload by
//! payload, an array of objects being as many rows. No input panics.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder as TapeDecoder;
use arrow_schema::{DataType, Fields, SchemaRef};
use arrow_select::concat::concat_batches;
use millstream_engine::format::Payloads;
use millstream_engine::{Decoded, Decoder, Error, Result};

use super::texts;

/// Rows the tape decoder takes at a time; it reserves memory for as many.
const ROWS_PER_PASS: usize = 4_096;

/// Decodes JSON objects.
pub(super) struct JsonDecoder {
    schema: SchemaRef,
    /// What arrow-json reads: `schema` with text for its decimals and BYTES.
    read_schema: SchemaRef,
    fail_on_missing: bool,
    decoder: Option<TapeDecoder>,
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        if payloads.len() > 1 && payloads.iter().all(looks_like_object) {
            // The payload that a failure is about is found by decoding fewer at a time.
            let rows = self.objects(payloads.bytes(), payloads.len())?;
            if rows.num_rows() == payloads.len() && !self.may_miss_fields(&rows) {
                return Ok(Decoded::one_each(rows));
            }
        }
        self.one_by_one(payloads)
    }
}

impl JsonDecoder {
    /// A decoder for the columns of `schema`.
    pub fn new(schema: SchemaRef, fail_on_missing: bool) -> Self {
        let read_schema = texts::as_text(&schema);
        Self { schema, read_schema, fail_on_missing, decoder: None }
    }

    /// Decodes objects that follow each other in `bytes`.
    fn objects(&mut self, bytes: &[u8], rows: usize) -> Result<RecordBatch> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.builder().build_decoder()?,
        };
        let (mut at, mut parts) = (0, Vec::new());
        while at < bytes.len() {
            let read = decoder.decode(&bytes[at..])?;
            at += read;
            if read == 0 {
                // The decoder is full: it takes so many rows at a time.
                match decoder.flush()? {
                    Some(part) => parts.push(part),
                    None => return Err(Error::data(format!("{rows} values were expected"))),
                }
            }
        }
        if decoder.has_partial_record() {
            return Err(Error::data("the JSON text ends in the middle of a value"));
        }
        parts.extend(decoder.flush()?);
        let rows = match parts.as_slice() {
            [] => RecordBatch::new_empty(Arc::clone(&self.read_schema)),
            [single] => single.clone(),
            several => concat_batches(&self.read_schema, several)?,
        };
        // Only a decoder that got to here is clean.
        self.decoder = Some(decoder);
        texts::from_text(rows, &self.schema)
    }

    fn builder(&self) -> ReaderBuilder {
        ReaderBuilder::new(Arc::clone(&self.read_schema))
            .with_coerce_primitive(true)
            .with_batch_size(ROWS_PER_PASS)
    }

    fn one_by_one(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let (mut parts, mut payload_of, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for (number, payload) in (0_u32..).zip(payloads.iter()) {
            let payload = payload.trim_ascii();
            if payload.is_empty() {
                continue;
            }
            let rows =
                if payload.first() == Some(&b'[') { self.array(payload) } else { self.objects(payload, 1) };
            match rows.and_then(|rows| self.complete(payload, rows)) {
                Ok(rows) => {
                    payload_of.resize(payload_of.len() + rows.num_rows(), number);
                    parts.push(rows);
                }
                Err(error) => rejected.push((number, explain(payload, &error))),
            }
        }
        let rows = match parts.as_slice() {
            [single] => single.clone(),
            several => concat_batches(&self.schema, several)?,
        };
        Ok(Decoded { rows, payload_of: Some(payload_of), rejected })
    }

    /// Only a field that came out NULL can have been missing, so only then the payload is looked at again.
    fn may_miss_fields(&self, rows: &RecordBatch) -> bool {
        self.fail_on_missing && rows.columns().iter().any(has_nulls)
    }

    /// `rows`, unless a field is missing from their payload and that is to be an error.
    fn complete(&self, payload: &[u8], rows: RecordBatch) -> Result<RecordBatch> {
        if !self.may_miss_fields(&rows) {
            return Ok(rows);
        }
        let value = serde_json::from_slice(payload).map_err(|error| Error::data(error.to_string()))?;
        match missing_field(self.schema.fields(), &value) {
            Some(name) => Err(Error::data(format!("the field '{name}' is missing")).remedy(
                "the table says 'json.fail-on-missing-field' = 'true'; without it the column is NULL",
            )),
            None => Ok(rows),
        }
    }

    /// A top-level array: its elements, which must be objects.
    fn array(&mut self, payload: &[u8]) -> Result<RecordBatch> {
        let elements: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(payload).map_err(|error| Error::data(error.to_string()))?;
        let mut text = Vec::with_capacity(payload.len());
        for element in &elements {
            serde_json::to_writer(&mut text, element).map_err(|error| Error::data(error.to_string()))?;
        }
        self.objects(&text, elements.len())
    }
}

/// What one object looks like at first sight.
fn looks_like_object(payload: &[u8]) -> bool {
    let text = payload.trim_ascii();
    text.first() == Some(&b'{') && text.last() == Some(&b'}')
}

/// What is wrong, in the words of a parser that knows line and column where the text itself is broken.
fn explain(payload: &[u8], error: &Error) -> Error {
    if std::str::from_utf8(payload).is_err() {
        return Error::data("the payload is not valid UTF-8");
    }
    match serde_json::from_slice::<serde_json::Value>(payload) {
        Err(broken) => Error::data(format!("not valid JSON: {broken}")),
        Ok(value) if !value.is_object() && !value.is_array() => {
            Error::data("a JSON object is expected, one a message or line")
        }
        Ok(_) if error.remedy_text().is_some() => error.clone(),
        Ok(_) => {
            let message = error.message();
            let message = message.strip_prefix("Json error: ").unwrap_or(message);
            Error::data(message.to_owned()).remedy("the value does not fit the column's type")
        }
    }
}

/// The first field of `fields` that an object of `value` does not have, ROWs' fields included. One that is `null` is there.
fn missing_field(fields: &Fields, value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Array(elements) => {
            elements.iter().find_map(|element| missing_field(fields, element))
        }
        serde_json::Value::Object(object) => {
            fields.iter().find_map(|field| match (object.get(field.name()), field.data_type()) {
                (None, _) => Some(field.name().clone()),
                (Some(row), DataType::Struct(inner)) => {
                    missing_field(inner, row).map(|name| format!("{}.{name}", field.name()))
                }
                _ => None,
            })
        }
        _ => None,
    }
}

fn has_nulls(column: &ArrayRef) -> bool {
    column.null_count() > 0 || column.as_struct_opt().is_some_and(|row| row.columns().iter().any(has_nulls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
    use arrow_schema::{Field, Schema, TimeUnit};
    use proptest::prelude::*;

    use crate::format::payload::testing::decode;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("device", DataType::Utf8, true),
            Field::new("t", DataType::Float64, true),
            Field::new("n", DataType::Int64, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ]))
    }

    #[test]
    fn good_rows_come_out_as_flink_reads_them() {
        let (rows, numbers, errors) = decode(
            schema(),
            [],
            &[
                br#"{"device":"a","t":21.5,"n":3,"ts":"2026-01-01 00:00:10.5","unknown":[1,{"x":2}]}"#,
                br#" {"device":7,"t":"1.5","ts":"2026-01-01T00:00:10"} "#,
                br#"{}"#,
            ],
        );
        assert_eq!((numbers, errors), (vec![0, 1, 2], vec![]));
        assert_eq!(
            rows.column(0).as_string::<i32>().iter().collect::<Vec<_>>(),
            vec![Some("a"), Some("7"), None]
        );
        assert_eq!(rows.column(1).as_primitive::<Float64Type>().values()[..2], [21.5, 1.5]);
        assert_eq!(
            rows.column(2).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
            vec![Some(3), None, None]
        );
        let times = rows.column(3).as_primitive::<TimestampMillisecondType>();
        assert_eq!(
            (times.value(0), times.value(1), times.is_null(2)),
            (1_767_225_610_500, 1_767_225_610_000, true)
        );
    }

    #[test]
    fn a_bad_payload_costs_only_itself_and_says_why() {
        let big = vec![b'x'; 10 << 20];
        let payloads: Vec<&[u8]> = vec![
            br#"{"n":1}"#,
            br#"{"n":"#,
            br#"{"n":2}"#,
            br#"{"t":"warm"}"#,
            br#"{"t":NaN}"#,
            b"\"\xff\xfe",
            b"{\"device\":\"\xff\"}",
            &big,
            br#"[{"n":3},{"n":4}]"#,
            br#"42"#,
            br#"{"ts":"yesterday"}"#,
            br#"{"n":5}"#,
        ];
        let (rows, numbers, errors) = decode(schema(), [], &payloads);
        assert_eq!(rows.column(2).as_primitive::<Int64Type>().values(), &[1, 2, 3, 4, 5]);
        assert_eq!(numbers, vec![0, 2, 8, 8, 11]);
        let errors = errors.join("\n");
        for part in [
            "line 1 column",
            "'t'",
            "not valid UTF-8",
            "10485760 bytes is over the limit",
            "JSON object",
            "'ts'",
        ] {
            assert!(errors.contains(part), "{part} is not in:\n{errors}");
        }
        assert_eq!(errors.lines().count(), 8, "{errors}");
    }

    #[test]
    fn a_missing_field_can_be_an_error_and_null_is_not_missing() {
        let full = br#"{"device":"a","t":1,"n":null,"ts":"2026-01-01 00:00:10"}"#;
        let payloads = [&full[..], br#"{"device":"a","t":1,"ts":"2026-01-01 00:00:10"}"#, full];
        let (_, numbers, errors) = decode(schema(), [("json.fail-on-missing-field", "true")], &payloads);
        assert_eq!(numbers, vec![0, 2]);
        assert!(errors.len() == 1 && errors[0].contains("'n' is missing"), "{errors:?}");
    }

    #[test]
    fn bytes_are_in_base_64_where_they_are_nested_too() {
        let bytes = |name: &str| Field::new(name, DataType::Binary, true);
        let schema = Arc::new(Schema::new(vec![
            bytes("b"),
            Field::new("r", DataType::Struct(vec![bytes("b")].into()), true),
            Field::new("l", DataType::List(Arc::new(bytes("item"))), true),
        ]));
        let payloads: [&[u8]; 5] = [
            br#"{"b":"AP8+","r":{"b":"Pw=="},"l":["","AA==",null]}"#,
            br#"{"b":"00ff"}"#,
            br#"{"b":"Pw"}"#,
            br#"{"b":"no base"}"#,
            br#"{"b":null,"r":{},"l":[]}"#,
        ];
        let (rows, numbers, errors) = decode(schema, [], &payloads);
        // Four hexadecimal digits are three bytes, as in Flink.
        assert_eq!(numbers, vec![0, 1, 4]);
        let all: Vec<_> = rows.column(0).as_binary::<i32>().iter().collect();
        assert_eq!(all, vec![Some(&[0, 255, 62][..]), Some(&[0xd3, 0x47, 0xdf]), None]);
        assert_eq!(rows.column(1).as_struct().column(0).as_binary::<i32>().value(0), b"?");
        let items = rows.column(2).as_list::<i32>().value(0);
        assert_eq!(
            items.as_binary::<i32>().iter().collect::<Vec<_>>(),
            vec![Some(&b""[..]), Some(&[0]), None]
        );
        assert!(errors.len() == 2 && errors.iter().all(|error| error.contains("base 64")), "{errors:?}");
    }

    proptest! {
        #[test]
        fn every_payload_is_a_row_or_an_error(payloads in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 1..40),
                Just(br#"{"n":1}"#.to_vec()),
                "[{}\\[\\]\",:0-9a-z ]{1,20}".prop_map(String::into_bytes),
            ], 0..20)
        ) {
            let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let (_, mut numbers, errors) = decode(schema(), [], &given);
            numbers.dedup();
            // A payload of white space or of an empty array is no row and no error.
            let silent = payloads.iter().filter(|payload| {
                let text = payload.trim_ascii();
                text.is_empty() || serde_json::from_slice::<Vec<()>>(text).is_ok_and(|all| all.is_empty())
            }).count();
            prop_assert_eq!(numbers.len() + errors.len(), payloads.len() - silent);
        }
    }
}
