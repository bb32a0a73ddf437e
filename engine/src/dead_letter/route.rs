//! Dead letters as rows of a table: `'dead-letter' = 'TABLE'`.
//!
//! A [`Route`] belongs to one source or sink instance whose side output [`DEAD`](crate::operator::DEAD) is connected.
//! What rejects a row (on the worker, or in a task of the connector) puts a letter into it and rings the worker; the
//! chain (chain.rs) takes the letters out as a batch of the table's columns and emits them, before the next barrier
//! or end passes the instance at the latest: so a checkpoint that has the position behind a bad row has its letter
//! too. What waits is bounded by what is in flight: a source's letters leave after each poll, a sink's deliveries are
//! bounded by its outlet.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};
use parking_lot::Mutex;

use crate::batch::{Batch, record_batch};
use crate::error::{Error, Result};
use crate::park::Signal;

/// Where one instance's letters wait to be emitted.
#[derive(Debug)]
pub struct Route {
    schema: SchemaRef,
    letters: Mutex<Vec<Letter>>,
    worker: Arc<Signal>,
}

#[derive(Debug)]
struct Letter {
    payload: Vec<u8>,
    error: String,
    source: String,
    time_ms: i64,
}

impl Route {
    pub(crate) fn new(schema: SchemaRef, worker: Arc<Signal>) -> Self {
        Self { schema, letters: Mutex::default(), worker }
    }

    pub(super) fn push(&self, payload: &[u8], error: String, source: &str, time_ms: i64) {
        let letter = Letter { payload: payload.to_vec(), error, source: source.to_owned(), time_ms };
        self.letters.lock().push(letter);
        self.worker.notify();
    }

    /// What waits, as rows.
    pub(crate) fn take(&self) -> Result<Option<Batch>> {
        let letters = std::mem::take(&mut *self.letters.lock());
        if letters.is_empty() {
            return Ok(None);
        }
        let columns =
            self.schema.fields().iter().map(|field| column(field.name(), field.data_type(), &letters));
        let columns = columns.collect::<Result<_>>()?;
        let rows: RecordBatch = record_batch(Arc::clone(&self.schema), columns, letters.len())?;
        Ok(Some(Batch::new(rows)))
    }
}

/// The columns that a table of dead letters may have, each optional, with the types each may have.
const COLUMNS: &str =
    "payload BYTES or STRING, error STRING, source STRING, time TIMESTAMP_LTZ(3) or TIMESTAMP(3)";

/// Checks that a table of these columns can take dead letters.
///
/// # Errors
/// Names the first column that it cannot fill, and those it can.
pub fn check_schema(schema: &Schema) -> Result<()> {
    let wrong = schema.fields().iter().find(|field| column(field.name(), field.data_type(), &[]).is_err());
    match wrong {
        None if schema.fields().is_empty() => Err(Error::config("it has no columns").remedy(remedy())),
        None => Ok(()),
        Some(field) => Err(Error::config(format!(
            "dead letters have no value for its column '{}' of this type",
            field.name()
        ))
        .remedy(remedy())),
    }
}

fn remedy() -> String {
    format!("a table of dead letters has some of the columns {COLUMNS}")
}

fn column(name: &str, kind: &DataType, letters: &[Letter]) -> Result<ArrayRef> {
    let times = || TimestampMillisecondArray::from_iter_values(letters.iter().map(|letter| letter.time_ms));
    Ok(match (name, kind) {
        ("payload", DataType::Binary) => {
            Arc::new(BinaryArray::from_iter_values(letters.iter().map(|letter| &letter.payload)))
        }
        ("payload", DataType::Utf8) => Arc::new(StringArray::from_iter_values(
            letters.iter().map(|letter| String::from_utf8_lossy(&letter.payload)),
        )),
        ("error", DataType::Utf8) => {
            Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| &letter.error)))
        }
        ("source", DataType::Utf8) => {
            Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| &letter.source)))
        }
        ("time", DataType::Timestamp(TimeUnit::Millisecond, zone)) => {
            Arc::new(times().with_timezone_opt(zone.clone()))
        }
        _ => return Err(Error::config(format!("dead letters have no column '{name}' of this type"))),
    })
}
