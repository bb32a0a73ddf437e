//! Columns to Avro values, by arrow-avro; the registry's form has a prefix in front of each.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_avro::schema::SCHEMA_METADATA_KEY;
use arrow_avro::writer::format::AvroBinaryFormat;
use arrow_avro::writer::{Encoder as AvroWriter, WriterBuilder};
use arrow_schema::{Schema, SchemaRef};
use millstream_engine::format::Encoded;
use millstream_engine::{Batch, Encoder, Error, Result};

use super::conform::conform;
use super::schema;

/// Encodes rows. One per sink instance.
pub(super) struct AvroEncoder {
    writer: AvroWriter,
    written: SchemaRef,
    prefix: Vec<u8>,
    out: Encoded,
}

impl AvroEncoder {
    /// Writes the columns of `columns` by the Avro schema `json`.
    ///
    /// # Errors
    /// If the columns cannot be written by it.
    pub fn new(columns: &SchemaRef, json: &str) -> Result<Self> {
        let written = schema::written(columns.fields());
        let mut metadata = written.metadata().clone();
        metadata.insert(SCHEMA_METADATA_KEY.to_owned(), json.to_owned());
        let with_json = Schema::new_with_metadata(written.fields().clone(), metadata);
        let writer = WriterBuilder::new(with_json).build_encoder::<AvroBinaryFormat>().map_err(|error| {
            Error::config(format!("the columns cannot be written by the Avro schema: {error}"))
                .remedy("change 'avro.schema', or leave it out to have it derived from the columns")
        })?;
        Ok(Self { writer, written: Arc::new(written), prefix: Vec::new(), out: Encoded::default() })
    }

    /// Writes `prefix` in front of each value from now on.
    pub fn set_prefix(&mut self, prefix: Vec<u8>) {
        self.prefix = prefix;
    }

    /// True when something is written in front of each value.
    pub fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }
}

impl Encoder for AvroEncoder {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.out.clear();
        let mut columns = Vec::with_capacity(batch.rows.num_columns());
        for (column, field) in batch.rows.columns().iter().zip(self.written.fields()) {
            columns.push(conform(column, field.data_type())?);
        }
        if columns.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.written), columns)?;
        self.writer.encode(&rows).map_err(|error| Error::data(error.to_string()))?;
        let encoded = self.writer.flush();
        for ends in encoded.offsets().windows(2) {
            self.out.bytes.extend_from_slice(&self.prefix);
            self.out.bytes.extend_from_slice(&encoded.bytes()[ends[0]..ends[1]]);
            self.out.end_row();
        }
        Ok(())
    }

    fn encoded(&self) -> &Encoded {
        &self.out
    }
}
