//! The `kafka` connector: topics of Apache Kafka as tables, by librdkafka.
//!
//! ```sql
//! CREATE TABLE telemetry (device STRING, t DOUBLE, ts TIMESTAMP(3), `partition` INT METADATA) WITH (
//!   'connector' = 'kafka', 'topic' = 'telemetry', 'properties.bootstrap.servers' = 'localhost:9092',
//!   'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
//! ```
//!
//! Reading: a thread an instance (fetch.rs) assigns itself its share of the partitions, without the group's protocol,
//! and hands chunks of one partition through an inlet bounded in bytes to source.rs, on the worker, which decodes them
//! and keeps the positions. Batches carry their partition's number, so that the watermark has a clock for each.
//! Writing: sink.rs, on the worker, gives encoded rows to an idempotent producer and counts bytes until the brokers have
//! acknowledged them. settings.rs has the options, properties.rs translates 'properties.*', watch.rs keeps the link's
//! state. Brokers that are away, at the start or later, are waited for without end.

mod discover;
mod fetch;
mod prepare;
mod properties;
mod settings;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use arrow_schema::SchemaRef;

use millstream_engine::options::OptionSpec;
use millstream_engine::registry::{Connector, MetadataSpec, SinkProvider, SourceProvider, Table};
use millstream_engine::{Error, Result, Sink, Source};

use crate::format::PAYLOAD_OPTIONS;
use crate::format::payload::on_error;

use properties::Properties;
use settings::{Reading, Stop};
use sink::{KafkaSink, Writing};
use source::KafkaSource;

/// `'connector' = 'kafka'`.
#[derive(Debug)]
pub struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn help(&self) -> &'static str {
        "Reads topics of Apache Kafka from kept positions, and writes them at least once."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::OPTIONS, PAYLOAD_OPTIONS].concat()
    }

    fn metadata(&self) -> Vec<MetadataSpec> {
        source::metadata()
    }

    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        let reading = Reading::read(table)?;
        sink::check(table.options.owner(), reading.properties.consumer())?;
        Ok(Arc::new(SourceSide { table: table.clone(), reading }))
    }

    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        let options = &table.options;
        let refused = |what: &str, remedy: &str| Err(Error::config(what).at(options.owner()).remedy(remedy));
        let at_least_once =
            "use 'sink.delivery-guarantee' = 'at-least-once'; exactly-once comes with checkpoints";
        let waits = match options.get("sink.delivery-guarantee") {
            None | Some("at-least-once") => true,
            Some("none") => false,
            Some("exactly-once") => {
                return refused("a Kafka sink does not deliver exactly once yet", at_least_once);
            }
            Some(_) => return Err(options.invalid("sink.delivery-guarantee", "'at-least-once' or 'none'")),
        };
        if options.get("sink.transactional-id-prefix").is_some() {
            return refused("'sink.transactional-id-prefix' is for exactly-once delivery", at_least_once);
        }
        if options.get("properties.acks").is_some_and(|acks| !matches!(acks, "all" | "-1")) {
            return refused("the idempotent producer needs 'properties.acks' = 'all'", "leave it out");
        }
        let topic = options.require("topic")?.to_owned();
        if topic.contains(';') {
            return refused("rows are written to one topic", "name one in 'topic'");
        }
        if let Some((column, _)) = table.metadata.first() {
            let name = table.schema.field(*column).name();
            return refused(
                &format!("metadata column '{name}' cannot be written"),
                "leave it out of the sink's table",
            );
        }
        let key = key_columns(table)?;
        let is_without_key =
            options.choice("value.fields-include", &[("all", false), ("except_key", true)])?.unwrap_or(false);
        let all = 0..table.schema.fields().len();
        let value: Vec<usize> = all.filter(|column| !is_without_key || !key.contains(column)).collect();
        let schema_of =
            |columns: &[usize]| -> Result<SchemaRef> { Ok(Arc::new(table.schema.project(columns)?)) };
        let properties = Properties::read(options)?;
        sink::check(options.owner(), properties.producer())?;
        let key_codec =
            if key.is_empty() { None } else { Some(settings::key_codec(table, &schema_of(&key)?)?) };
        Ok(Arc::new(SinkSide {
            writing: Arc::new(Writing {
                table: table.name.clone(),
                topic,
                properties,
                codec: settings::codec(table, &schema_of(&value)?)?,
                key_codec,
                schema: Arc::clone(&table.schema),
                key,
                value,
                is_round_robin: options
                    .choice("sink.partitioner", &[("default", false), ("random", true)])?
                    .unwrap_or(false),
                waits,
                outlet_bytes_max: options.size_bytes("outlet.max-bytes")?.unwrap_or(4 << 20).max(1),
                on_error: on_error(options)?,
            }),
        }))
    }
}

fn key_columns(table: &Table) -> Result<Vec<usize>> {
    let names = table.options.get("key.fields").unwrap_or_default();
    let find = |name: &str| {
        table.schema.index_of(name).map_err(|_| {
            Error::config(format!("option 'key.fields' names '{name}', which is no column"))
                .at(table.options.owner())
                .remedy("name columns of the table, separated by ';'")
        })
    };
    names.split(';').map(str::trim).filter(|name| !name.is_empty()).map(find).collect()
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
        format!("{} {}", self.reading.properties.brokers, self.reading.topics.join(";"))
    }
}

struct SinkSide {
    writing: Arc<Writing>,
}

impl SinkProvider for SinkSide {
    fn parallelism(&self, workers: usize) -> usize {
        workers
    }

    fn order_keys(&self) -> Vec<usize> {
        self.writing.key.clone()
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(KafkaSink::new(Arc::clone(&self.writing))?))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.writing.properties.brokers, self.writing.topic)
    }
}
