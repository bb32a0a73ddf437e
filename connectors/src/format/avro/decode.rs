//! Avro payloads to columns, by arrow-avro: the writer's schema says how to read, the table's columns what is kept.
//!
//! Invariants: only fields that the table names are kept, by name; a payload is one value and nothing behind it. A
//! decoder that met a bad payload is made anew, since half a row may be left in it; the caller then finds the bad one.

use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_avro::reader::{Decoder as AvroReader, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use millstream_engine::batch::record_batch;
use millstream_engine::format::Payloads;
use millstream_engine::{Decoded, Decoder, Error, Result};

use super::conform::conform;

/// Rows that are read before they become a batch.
const ROWS_PER_PASS: usize = 4_096;
/// What arrow-avro wants in front of each value when there is no file around it: a magic byte and a schema number.
const PREFIX: [u8; 5] = [0, 0, 0, 0, 1];

/// Reads values of one writer's schema.
pub(super) struct Reader {
    writer: AvroSchema,
    /// Fields of the writer's record that the table names; all when none or when leaving some out does not work.
    projection: Option<Vec<usize>>,
    reader: Option<AvroReader>,
    schema: SchemaRef,
    framed: Vec<u8>,
}

impl Reader {
    /// Reads records of the writer's schema `json` into columns of `schema`.
    ///
    /// # Errors
    /// If it is no schema of a record.
    pub fn new(json: &str, schema: SchemaRef) -> Result<Self> {
        let invalid = |what: String| Error::data(format!("the Avro schema cannot be used: {what}"));
        let parsed: serde_json::Value =
            serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        let fields = parsed["fields"].as_array().ok_or_else(|| invalid("it is no record".to_owned()))?;
        let is_wanted = |index: &usize| {
            fields[*index]["name"].as_str().is_some_and(|name| schema.field_with_name(name).is_ok())
        };
        let projection: Vec<usize> = (0..fields.len()).filter(is_wanted).collect();
        // A record without fields has no rows to count, so then all are read.
        let some = !projection.is_empty() && projection.len() < fields.len();
        let mut reader = Self {
            writer: AvroSchema::new(json.to_owned()),
            projection: some.then_some(projection),
            reader: None,
            schema,
            framed: Vec::new(),
        };
        // A field left out may define a type that another one names; then nothing is left out.
        let made = reader.make().or_else(|_| {
            reader.projection = None;
            reader.make()
        });
        reader.reader = Some(made.map_err(|error| invalid(error.message().to_owned()))?);
        Ok(reader)
    }

    fn make(&self) -> Result<AvroReader> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(1), self.writer.clone())?;
        let mut builder = ReaderBuilder::new()
            .with_batch_size(ROWS_PER_PASS)
            .with_writer_schema_store(store)
            .with_active_fingerprint(Fingerprint::Id(1));
        if let Some(projection) = &self.projection {
            builder = builder.with_projection(projection.clone());
        }
        Ok(builder.build_decoder()?)
    }

    /// Reads values, one a payload.
    ///
    /// # Errors
    /// `Data` if one of them is bad.
    pub fn read<'a>(&mut self, payloads: impl Iterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.make()?,
        };
        let mut parts = Vec::new();
        for payload in payloads {
            self.framed.clear();
            self.framed.extend_from_slice(&PREFIX);
            self.framed.extend_from_slice(payload);
            let before = reader.capacity();
            let read = reader.decode(&self.framed).map_err(|error| Error::data(error.to_string()))?;
            if before - reader.capacity() != 1 || read != self.framed.len() {
                return Err(Error::data(match before - reader.capacity() {
                    0 => "the Avro value is cut short".to_owned(),
                    _ => format!("{} bytes are left behind the Avro value", self.framed.len() - read),
                }));
            }
            if reader.batch_is_full() {
                parts.extend(self.taken(&mut reader)?);
            }
        }
        parts.extend(self.taken(&mut reader)?);
        self.reader = Some(reader);
        Ok(match parts.as_slice() {
            [] => RecordBatch::new_empty(Arc::clone(&self.schema)),
            [single] => single.clone(),
            several => concat_batches(&self.schema, several)?,
        })
    }

    /// The rows read so far, in the table's columns.
    fn taken(&self, reader: &mut AvroReader) -> Result<Option<RecordBatch>> {
        let Some(rows) = reader.flush().map_err(|error| Error::data(error.to_string()))? else {
            return Ok(None);
        };
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            columns.push(match rows.column_by_name(field.name()) {
                Some(column) => conform(column, field.data_type())
                    .map_err(|error| Error::data(format!("'{}': {}", field.name(), error.message())))?,
                None => new_null_array(field.data_type(), rows.num_rows()),
            });
        }
        record_batch(Arc::clone(&self.schema), columns, rows.num_rows()).map(Some)
    }
}

/// Decodes bare values of one schema.
pub(super) struct AvroDecoder(pub Reader);

impl Decoder for AvroDecoder {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        self.0.read(payloads.iter()).map(Decoded::one_each)
    }
}
