//! JSON payloads to columns, with Flink's meaning: a missing field is NULL, an unknown field is ignored, a number in a
//! STRING column is its text.
//!
//! Payloads are gathered and decoded by Arrow's tape decoder in one go. Invariants: one bad payload costs only itself
//! (the batch is then decoded payload by payload); every payload becomes rows or one reported error; each row knows the
//! number of its payload, so that metadata columns can be put beside it. No input panics.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{DataType, Fields, SchemaRef};
use arrow_select::concat::concat_batches;
use millstream_engine::dead_letter::RowErrors;
use millstream_engine::{Error, Result};

use super::FormatOptions;

/// Rows the tape decoder takes at a time; it reserves memory for as many.
const ROWS_PER_PASS: usize = 4_096;

/// Rows and where they came from.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in payload order.
    pub rows: RecordBatch,
    /// For each row the number of its payload since the last flush; `None` when row `i` is payload `i`.
    pub payload_of: Option<Vec<u32>>,
}

/// Decodes JSON objects. One per source instance.
pub struct JsonDecoder {
    /// As the caller wants it.
    schema: SchemaRef,
    options: FormatOptions,
    decoder: Option<Decoder>,
    bytes: Vec<u8>,
    /// End of each gathered payload in `bytes`.
    ends: Vec<usize>,
    /// A gathered payload is not one object at first sight, so the batch cannot be decoded in one go.
    odd: bool,
}

impl JsonDecoder {
    /// A decoder for the columns of `schema`.
    pub fn new(schema: SchemaRef, options: FormatOptions) -> Self {
        Self { schema, options, decoder: None, bytes: Vec::new(), ends: Vec::new(), odd: false }
    }

    /// How many payloads are gathered.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when nothing is gathered.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Gathers a payload: an object, or an array of objects.
    ///
    /// # Errors
    /// When the payload is too large and bad rows are to fail.
    pub fn push(&mut self, payload: &[u8], errors: &RowErrors) -> Result<()> {
        if payload.len() > self.options.payload_bytes_max {
            let (size, most) = (payload.len(), self.options.payload_bytes_max);
            let error = Error::data(format!("a payload of {size} bytes is over the limit of {most}"))
                .remedy("raise 'payload.max-bytes' if such payloads are meant");
            errors.reject(payload, error)?;
            // It keeps its number, with nothing in it.
            self.ends.push(self.bytes.len());
            self.odd = true;
            return Ok(());
        }
        let trimmed = payload.trim_ascii();
        self.odd |= !(trimmed.first() == Some(&b'{') && trimmed.last() == Some(&b'}'));
        self.bytes.extend_from_slice(trimmed);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Decodes what is gathered.
    ///
    /// # Errors
    /// When a payload is bad and bad rows are to fail.
    pub fn flush(&mut self, errors: &RowErrors) -> Result<Decoded> {
        let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        let odd = std::mem::take(&mut self.odd);
        let whole = if odd || ends.is_empty() { None } else { self.decode(&bytes, ends.len()).ok() };
        let decoded = match whole.filter(|rows| rows.num_rows() == ends.len() && !self.may_miss_fields(rows))
        {
            Some(rows) => Decoded { rows, payload_of: None },
            None => self.one_by_one(&bytes, &ends, errors)?,
        };
        self.bytes = bytes;
        self.bytes.clear();
        self.ends = ends;
        self.ends.clear();
        Ok(decoded)
    }

    /// Decodes objects that follow each other in `bytes`.
    fn decode(&mut self, bytes: &[u8], rows: usize) -> Result<RecordBatch> {
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
            [] => RecordBatch::new_empty(Arc::clone(&self.schema)),
            [single] => single.clone(),
            several => concat_batches(&self.schema, several)?,
        };
        // Only a decoder that got to here is clean.
        self.decoder = Some(decoder);
        Ok(rows)
    }

    fn builder(&self) -> ReaderBuilder {
        ReaderBuilder::new(Arc::clone(&self.schema))
            .with_coerce_primitive(true)
            .with_batch_size(ROWS_PER_PASS)
    }

    fn one_by_one(&mut self, bytes: &[u8], ends: &[usize], errors: &RowErrors) -> Result<Decoded> {
        let (mut parts, mut payload_of) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (number, end) in (0_u32..).zip(ends) {
            let payload = &bytes[start..*end];
            start = *end;
            if payload.is_empty() {
                continue;
            }
            let rows =
                if payload.first() == Some(&b'[') { self.array(payload) } else { self.decode(payload, 1) };
            let rows = rows.and_then(|rows| self.complete(payload, rows));
            match rows {
                Ok(rows) => {
                    payload_of.resize(payload_of.len() + rows.num_rows(), number);
                    parts.push(rows);
                }
                Err(error) => errors.reject(payload, self.explain(payload, &error))?,
            }
        }
        let rows = concat_batches(&self.schema, &parts)?;
        Ok(Decoded { rows, payload_of: Some(payload_of) })
    }

    /// Only a field that came out NULL can have been missing, so only then the payload is looked at again.
    fn may_miss_fields(&self, rows: &RecordBatch) -> bool {
        self.options.fail_on_missing && rows.columns().iter().any(has_nulls)
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
        self.decode(&text, elements.len())
    }

    /// What is wrong, in the words of a parser that knows line and column where the text itself is broken.
    fn explain(&self, payload: &[u8], error: &Error) -> Error {
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
    use millstream_engine::ManualClock;
    use millstream_engine::dead_letter::{DeadLetters, OnError};
    use millstream_engine::metrics::OperatorMetrics;
    use proptest::prelude::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("device", DataType::Utf8, true),
            Field::new("t", DataType::Float64, true),
            Field::new("n", DataType::Int64, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ]))
    }

    struct Setup {
        decoder: JsonDecoder,
        errors: RowErrors,
        letters: Arc<DeadLetters>,
        metrics: Arc<OperatorMetrics>,
    }

    fn setup() -> Setup {
        let options =
            FormatOptions { fail_on_missing: false, ignore_errors: false, payload_bytes_max: 1 << 20 };
        let (letters, metrics) = (Arc::<DeadLetters>::default(), OperatorMetrics::new("t", "source", 0));
        let errors =
            RowErrors::new(OnError::DeadLetter, letters.clone(), metrics.clone(), ManualClock::at(0));
        Setup { decoder: JsonDecoder::new(schema(), options), errors, letters, metrics }
    }

    /// Decodes payloads; rows, their payloads' numbers, and the errors.
    fn decode(payloads: &[&[u8]]) -> (RecordBatch, Vec<u32>, Vec<String>) {
        let mut setup = setup();
        for payload in payloads {
            setup.decoder.push(payload, &setup.errors).unwrap();
        }
        let decoded = setup.decoder.flush(&setup.errors).unwrap();
        let count = decoded.rows.num_rows() as u32;
        let numbers = decoded.payload_of.unwrap_or_else(|| (0..count).collect());
        (decoded.rows, numbers, setup.letters.last().into_iter().map(|letter| letter.error).collect())
    }

    #[test]
    fn good_rows_come_out_as_flink_reads_them() {
        let (rows, numbers, errors) = decode(&[
            br#"{"device":"a","t":21.5,"n":3,"ts":"2026-01-01 00:00:10.5","unknown":[1,{"x":2}]}"#,
            br#" {"device":7,"t":"1.5","ts":"2026-01-01T00:00:10"} "#,
            br#"{}"#,
        ]);
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
        let (rows, numbers, errors) = decode(&payloads);
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
        let mut setup = setup();
        setup.decoder.options.fail_on_missing = true;
        let full = br#"{"device":"a","t":1,"n":null,"ts":"2026-01-01 00:00:10"}"#;
        for payload in [&full[..], br#"{"device":"a","t":1,"ts":"2026-01-01 00:00:10"}"#, full] {
            setup.decoder.push(payload, &setup.errors).unwrap();
        }
        let decoded = setup.decoder.flush(&setup.errors).unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.payload_of), (2, Some(vec![0, 2])));
        let errors = setup.letters.last();
        assert!(errors.len() == 1 && errors[0].error.contains("'n' is missing"), "{errors:?}");
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
            let mut setup = setup();
            for payload in &payloads {
                setup.decoder.push(payload, &setup.errors).unwrap();
            }
            let decoded = setup.decoder.flush(&setup.errors).unwrap();
            let count = decoded.rows.num_rows() as u32;
            let mut numbers = decoded.payload_of.unwrap_or_else(|| (0..count).collect());
            prop_assert_eq!(numbers.len(), count as usize);
            numbers.dedup();
            // A payload of white space or of an empty array is no row and no error.
            let silent = payloads.iter().filter(|payload| {
                let text = payload.trim_ascii();
                text.is_empty() || serde_json::from_slice::<Vec<()>>(text).is_ok_and(|all| all.is_empty())
            }).count();
            prop_assert_eq!(numbers.len() as u64 + setup.metrics.rows_dead_letter.get(), (payloads.len() - silent) as u64);
        }
    }
}
