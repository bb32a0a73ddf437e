//! The options of a Kafka table, named as Flink names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::registry::Table;
use millstream_engine::{Codec, Error, Result};

use crate::format::PayloadOptions;

use super::properties::Properties;

/// What a Kafka table takes beside the payload's options.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("topic", "text", "", "The topic; several, separated by ';', can be read."),
    OptionSpec::new(
        "properties.*",
        "text",
        "",
        "A property of Kafka's clients; 'properties.bootstrap.servers' is needed.",
    ),
    OptionSpec::new(
        "properties.sasl.jaas.config",
        "text",
        "",
        "User and password in the form of Java's clients.",
    )
    .secret(),
    OptionSpec::new("properties.sasl.password", "text", "", "The password for SASL.").secret(),
    OptionSpec::new("properties.ssl.key.password", "text", "", "The password of the private key.").secret(),
    OptionSpec::new("properties.ssl.key.pem", "text", "", "The private key.").secret(),
    OptionSpec::new("value.format", "text", "", "The same as 'format'."),
    OptionSpec::new("key.format", "text", "json", "How the sink writes keys."),
    OptionSpec::new("key.fields", "text", "", "Columns of the key, separated by ';'."),
    OptionSpec::new(
        "value.fields-include",
        "ALL | EXCEPT_KEY",
        "ALL",
        "Whether the payload holds the key's columns.",
    ),
    OptionSpec::new(
        "scan.startup.mode",
        "earliest-offset | latest-offset | group-offsets | timestamp | specific-offsets",
        "group-offsets",
        "Where to start when there is no checkpoint; a group without offsets starts at the earliest.",
    ),
    OptionSpec::new(
        "scan.startup.timestamp-millis",
        "integer",
        "",
        "For 'timestamp': milliseconds since 1970.",
    ),
    OptionSpec::new(
        "scan.startup.specific-offsets",
        "text",
        "",
        "'partition:0,offset:42;partition:1,offset:300'.",
    ),
    OptionSpec::new(
        "scan.bounded.mode",
        "unbounded | latest-offset | group-offsets | timestamp | specific-offsets",
        "unbounded",
        "Where to stop.",
    ),
    OptionSpec::new(
        "scan.bounded.timestamp-millis",
        "integer",
        "",
        "For 'timestamp': milliseconds since 1970.",
    ),
    OptionSpec::new("scan.bounded.specific-offsets", "text", "", "As for 'scan.startup.specific-offsets'."),
    OptionSpec::new(
        "scan.topic-partition-discovery.interval",
        "duration",
        "5 min",
        "How often to look for new partitions; 0 never.",
    ),
    OptionSpec::new(
        "fetch.max-buffered-bytes",
        "size",
        "16 mb",
        "Bytes librdkafka fetches ahead, of all instances together.",
    ),
    OptionSpec::new("inlet.max-bytes", "size", "4 mb", "Bytes an instance has read and not decoded."),
    OptionSpec::new(
        "outlet.max-bytes",
        "size",
        "4 mb",
        "Bytes an instance has written and Kafka has not acknowledged.",
    ),
    OptionSpec::new(
        "sink.partitioner",
        "default | random",
        "default",
        "By key, if there is one, or in turn.",
    ),
    OptionSpec::new(
        "sink.delivery-guarantee",
        "at-least-once | none",
        "at-least-once",
        "Whether a barrier waits for Kafka.",
    ),
    OptionSpec::new(
        "sink.transactional-id-prefix",
        "text",
        "",
        "Refused: exactly-once comes with checkpoints.",
    ),
    ON_ERROR_OPTION,
];

/// Where to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Group,
    Time(i64),
    Specific(BTreeMap<i32, i64>),
}

/// Where to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Never,
    Latest,
    Group,
    Time(i64),
    Specific(BTreeMap<i32, i64>),
}

/// What a table that is read from says.
#[derive(Clone)]
pub(super) struct Reading {
    pub table: String,
    pub topics: Vec<String>,
    pub properties: Properties,
    pub start: Start,
    pub stop: Stop,
    pub discovery_ms: Option<u64>,
    pub buffered_bytes_max: usize,
    pub inlet_bytes_max: usize,
    pub codec: Arc<dyn Codec>,
    pub payload: PayloadOptions,
    pub on_error: OnError,
}

impl Reading {
    /// Reads the options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let properties = Properties::read(options)?;
        if options.get("value.fields-include").is_some_and(|include| include != "ALL") {
            return Err(Error::config("columns cannot be read from a message's key yet")
                .at(options.owner())
                .remedy("have the payload hold them: 'value.fields-include' = 'ALL'"));
        }
        let topics: Vec<String> = options
            .require("topic")?
            .split(';')
            .map(|topic| topic.trim().to_owned())
            .filter(|topic| !topic.is_empty())
            .collect();
        if topics.is_empty() {
            return Err(options.invalid("topic", "a topic's name"));
        }
        let start = match options.get("scan.startup.mode") {
            Some("earliest-offset") => Start::Earliest,
            Some("latest-offset") => Start::Latest,
            None | Some("group-offsets") => Start::Group,
            Some("timestamp") => Start::Time(time(options, "scan.startup.timestamp-millis")?),
            Some("specific-offsets") => {
                Start::Specific(offsets(options, "scan.startup.specific-offsets", &topics)?)
            }
            Some(_) => return Err(options.invalid("scan.startup.mode", "one of Flink's startup modes")),
        };
        let stop = match options.get("scan.bounded.mode") {
            None | Some("unbounded") => Stop::Never,
            Some("latest-offset") => Stop::Latest,
            Some("group-offsets") => Stop::Group,
            Some("timestamp") => Stop::Time(time(options, "scan.bounded.timestamp-millis")?),
            Some("specific-offsets") => {
                Stop::Specific(offsets(options, "scan.bounded.specific-offsets", &topics)?)
            }
            Some(_) => return Err(options.invalid("scan.bounded.mode", "one of Flink's bounded modes")),
        };
        if (start == Start::Group || stop == Stop::Group) && properties.group.is_none() {
            return Err(Error::config("reading from a group's offsets needs a group")
                .at(options.owner())
                .remedy("add 'properties.group.id' = '...', or 'scan.startup.mode' = 'earliest-offset'"));
        }
        let discovery_ms = options.duration_ms("scan.topic-partition-discovery.interval")?.unwrap_or(300_000);
        Ok(Self {
            table: table.name.clone(),
            topics,
            properties,
            start,
            stop,
            discovery_ms: u64::try_from(discovery_ms).ok().filter(|ms| *ms > 0),
            buffered_bytes_max: options.size_bytes("fetch.max-buffered-bytes")?.unwrap_or(16 << 20),
            inlet_bytes_max: options.size_bytes("inlet.max-bytes")?.unwrap_or(4 << 20).max(1),
            codec: codec(table, &table.payload_schema())?,
            payload: PayloadOptions::from_options(options)?,
            on_error: crate::format::payload::on_error(options)?,
        })
    }
}

impl Reading {
    /// A partition's number in the table, the same after each restart.
    pub fn number(&self, topic: &str, partition: i32) -> u32 {
        let topic = self.topics.iter().position(|other| other == topic).unwrap_or_default();
        ((topic as u32) << 16) | partition.unsigned_abs()
    }
}

/// The format, by either of its names, of payloads that hold `columns`.
pub(super) fn codec(table: &Table, columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
    match table.options.get("value.format") {
        Some(_) => table.formats.codec(&table.options, "value.format", None, columns),
        None => table.codec_for(columns),
    }
}

/// The format of keys that hold `columns`.
pub(super) fn key_codec(table: &Table, columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
    let mut options = table.options.clone();
    // In a registry, keys have a subject of their own.
    if let (Some(topic), None) = (table.options.get("topic"), options.get("key.avro-confluent.subject")) {
        options.set("key.avro-confluent.subject", format!("{topic}-key"));
    }
    table.formats.codec(&options, "key.format", Some("json"), columns)
}

fn time(options: &Options, key: &str) -> Result<i64> {
    options.require(key)?;
    Ok(options.parse(key, "milliseconds since 1970")?.unwrap_or_default())
}

fn offsets(options: &Options, key: &str, topics: &[String]) -> Result<BTreeMap<i32, i64>> {
    if topics.len() > 1 {
        return Err(Error::config(format!("'{key}' is for a table of one topic")).at(options.owner()));
    }
    let one = |text: &str| {
        let (partition, offset) = text.trim().split_once(',')?;
        let partition: i32 = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: i64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        (partition >= 0 && offset >= 0).then_some((partition, offset))
    };
    let text = options.require(key)?;
    let read: Option<BTreeMap<_, _>> =
        text.split(';').filter(|part| !part.trim().is_empty()).map(one).collect();
    read.filter(|offsets| !offsets.is_empty())
        .ok_or_else(|| options.invalid(key, "text such as 'partition:0,offset:42;partition:1,offset:300'"))
}
