//! Millstream: continuous SQL for devices, as a library.
//!
//! A [`Pipeline`] reads sources, computes with windows that go by the devices' own time, and writes sinks, on worker
//! threads of its own. It is described in Flink's SQL dialect, or wired from sources, operators and sinks in Rust.
//!
//! ```
//! # #[cfg(feature = "sql")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use millstream::Pipeline;
//! use millstream::arrow::array::{Float64Array, RecordBatch, TimestampMillisecondArray};
//! use millstream::arrow::schema::{DataType, Field, Schema, TimeUnit};
//! use millstream::sql::TableWatermark;
//!
//! let schema = Arc::new(Schema::new(vec![
//!     Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
//!     Field::new("temperature", DataType::Float64, true),
//! ]));
//! let mut builder = Pipeline::builder();
//! let time = TableWatermark { column: "ts".into(), delay_ms: 0 };
//! let readings = builder.input("readings", Arc::clone(&schema), Some(time));
//! let means = builder.result();
//! let pipeline = builder
//!     .sql("SELECT window_end, AVG(temperature) AS mean
//!           FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
//!           GROUP BY window_start, window_end")
//!     .start()?;
//!
//! readings.push(RecordBatch::try_new(schema, vec![
//!     Arc::new(TimestampMillisecondArray::from(vec![1_000, 2_000, 12_000])),
//!     Arc::new(Float64Array::from(vec![20.0, 22.0, 30.0])),
//! ])?)?;
//! readings.close();
//! let mut windows = 0;
//! while let Some(batch) = means.recv() {
//!     windows += batch.num_rows();
//! }
//! pipeline.wait()?;
//! assert_eq!(windows, 2);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sql"))]
//! # fn main() {}
//! ```
//!
//! # What it is not
//!
//! Not a database: it keeps what open windows need and no history. Not a cluster: one process, as many threads as you
//! give it; the same SQL runs on Flink when a machine is outgrown. State is in memory, and with
//! [`PipelineBuilder::state`] on disk at every checkpoint, and copied to an object store where that is said; without it a pipeline that is killed starts anew.
//!
//! # Limits
//!
//! Queues, buffers and retries are bounded in bytes or counts; each option says its bound. There are at most 128
//! workers. Nothing here installs signal handlers or keeps global state; any number of pipelines run in a process.
//!
//! # Features
//!
//! `sql`, `mqtt`, `webhook`, `http`, `kafka`, `postgres`, `formats`, `object-store` (copies of checkpoints in a bucket) and `cli` are
//! on by default; `gateway` is SQL, MQTT, webhook
//! and command without C libraries. `text` is JSON, CSV and raw with files, generators and print, and comes with any of
//! these. Without default features there are the engine, the operators, memory and blackhole: under sixty crates.

#![deny(missing_docs)]

#[cfg(feature = "sql")]
pub mod dead_letters;
mod pipeline;
#[cfg(feature = "object-store")]
pub mod remote;

pub use millstream_connectors as connectors;
pub use millstream_engine as engine;
pub use millstream_operators as operators;
#[cfg(feature = "sql")]
pub use millstream_sql as sql;

pub use millstream_connectors::memory::{Puller, Pusher};
pub use pipeline::{Pipeline, PipelineBuilder, StartError};

/// The Arrow crates that batches are made of, in the version that this crate is built on.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_buffer as buffer;
    pub use arrow_schema as schema;
}
