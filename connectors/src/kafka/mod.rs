//! The `kafka` connector: topics of Apache Kafka as tables, by librdkafka.
//!
//! ```sql
//! CREATE TABLE telemetry (device STRING, t DOUBLE, ts TIMESTAMP(3), `partition` INT METADATA) WITH (
//!   'connector' = 'kafka', 'topic' = 'telemetry', 'properties.bootstrap.servers' = 'localhost:9092',
//!   'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
//! ```
//!
//! Reading: a thread an instance (fetch.rs) assigns itself its share of the partitions (discover.rs), without the group's
//! protocol, and hands chunks of one partition (chunk.rs) through an inlet bounded in bytes to source.rs, on the worker,
//! which has rows.rs and keys.rs decode them and keeps the positions. Batches carry their partition's number, so that the
//! watermark has a clock for each.
//! Writing: sink.rs, on the worker, gives encoded rows to an idempotent producer (producer.rs) and counts bytes until the
//! brokers have acknowledged them (flight.rs, consignment.rs). With state on disk they go into an outbox (stored.rs), out of
//! which forward.rs gives them to the producer: a barrier waits for the disk, and what a kill has left there is sent by the
//! next run. With 'sink.delivery-guarantee' = 'exactly-once', exactly_once.rs gathers a checkpoint's
//! messages (output.rs), which a thread (committer.rs) writes in one transaction (transaction.rs). messages.rs encodes for both.
//! Options are in options.rs and become settings.rs and topics.rs (reading), writing.rs, and columns.rs (both);
//! properties.rs translates 'properties.*', prepare.rs waits for schemas, watch.rs keeps the link's state. Brokers that
//! are away, at the start or later, are waited for without end.

mod chunk;
mod columns;
mod committer;
mod consignment;
mod discover;
mod exactly_once;
mod fetch;
mod flight;
mod forward;
mod keys;
mod messages;
mod options;
mod output;
mod prepare;
mod producer;
mod properties;
mod rows;
mod settings;
mod sink;
mod source;
mod stored;
#[cfg(test)]
mod tests;
mod topics;
mod transaction;
mod watch;
mod writing;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use bytes::Bytes;

use millstream_engine::options::OptionSpec;
use millstream_engine::outbox::OUTBOX_OPTIONS;
use millstream_engine::registry::{Connector, MetadataSpec, SinkProvider, SourceProvider, Table};
use millstream_engine::{Codec, Error, Result, Sink, Source};

use crate::format::PAYLOAD_OPTIONS;

use columns::Columns;
use exactly_once::ExactlyOnceSink;
use settings::{Reading, Stop};
use sink::KafkaSink;
use source::KafkaSource;
use writing::Writing;

/// Its name, which its records in an outbox have, those of `upsert-kafka` too.
const KAFKA: &str = "kafka";

/// `'connector' = 'kafka'`.
#[derive(Debug)]
pub struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        KAFKA
    }

    fn help(&self) -> &'static str {
        "Reads topics of Apache Kafka from kept positions, and writes them at least once, or exactly once with --state."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [options::OPTIONS, OUTBOX_OPTIONS, PAYLOAD_OPTIONS].concat()
    }

    fn metadata(&self) -> Vec<MetadataSpec> {
        rows::metadata()
    }

    fn letters(&self, table: &Table) -> Result<Arc<dyn Codec>> {
        let columns = Columns::of_options(table)?;
        if !columns.is_key_in_value && !columns.key.is_empty() {
            return Err(Error::config("its dead letters are payloads, which do not have the key's columns")
                .at(table.options.owner())
                .remedy("'value.fields-include' = 'ALL' would have them"));
        }
        columns.value_codec(table)
    }

    fn outbox_rows(&self, record: &Bytes) -> Option<Vec<Bytes>> {
        stored::rows(record)
    }

    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        let reading = Reading::read(table)?;
        sink::check(table.options.owner(), reading.properties.consumer())?;
        Ok(Arc::new(SourceSide { table: table.clone(), reading }))
    }

    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(SinkSide { writing: Arc::new(Writing::read(table, false)?) }))
    }
}

/// `'connector' = 'upsert-kafka'`.
#[derive(Debug)]
pub struct UpsertKafka;

impl Connector for UpsertKafka {
    fn name(&self) -> &'static str {
        "upsert-kafka"
    }

    fn help(&self) -> &'static str {
        "Writes the latest row of each primary key to a topic of Apache Kafka, and a tombstone for a row that goes."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [options::of_upsert(), PAYLOAD_OPTIONS.to_vec()].concat()
    }

    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        Err(Error::config(
            "an upsert-kafka table can be written to, not read from: sources give no updates yet",
        )
        .at(table.options.owner())
        .remedy("'connector' = 'kafka' reads the topic's messages one by one; tombstones are left out"))
    }

    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(SinkSide { writing: Arc::new(Writing::read(table, true)?) }))
    }
}

struct SourceSide {
    table: Table,
    reading: Reading,
}

impl SourceProvider for SourceSide {
    fn is_bounded(&self) -> bool {
        self.reading.stop != Stop::Never
    }

    fn parallelism(&self, workers: usize) -> usize {
        workers
    }

    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        let mut reading = self.reading.clone();
        reading.buffered_bytes_max /= parallelism.max(1);
        Ok(Box::new(KafkaSource::new(Arc::new(reading), &self.table, schema, (instance, parallelism))?))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.reading.properties.brokers, self.reading.topics)
    }
}

struct SinkSide {
    writing: Arc<Writing>,
}

impl SinkProvider for SinkSide {
    fn parallelism(&self, workers: usize) -> usize {
        workers
    }

    fn has_outbox(&self) -> bool {
        self.writing.outbox.is_some()
    }

    fn accepts_updates(&self) -> bool {
        self.writing.is_upsert
    }

    fn order_keys(&self) -> Vec<usize> {
        self.writing.columns.key.clone()
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        let writing = Arc::clone(&self.writing);
        if writing.transactional_id_prefix.is_some() {
            return Ok(Box::new(ExactlyOnceSink::new(writing)?));
        }
        Ok(Box::new(KafkaSink::new(writing)?))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.writing.properties.brokers, self.writing.topic)
    }
}
