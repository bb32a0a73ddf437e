//! What a Kafka table that is read says: where to start and stop, and what to make of messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::dead_letter::OnError;
use millstream_engine::options::Options;
use millstream_engine::registry::Table;
use millstream_engine::{Codec, Error, Result};

use crate::format::PayloadOptions;

use super::columns::Columns;
use super::properties::Properties;
use super::topics::Topics;
use super::watch::Told;

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
    pub topics: Topics,
    pub columns: Columns,
    pub properties: Properties,
    pub start: Start,
    pub stop: Stop,
    pub discovery_ms: Option<u64>,
    pub buffered_bytes_max: usize,
    pub inlet_bytes_max: usize,
    pub codec: Arc<dyn Codec>,
    /// The format of keys, where columns come from them alone.
    pub key_codec: Option<Arc<dyn Codec>>,
    pub payload: PayloadOptions,
    pub on_error: OnError,
    pub told: Told,
}

impl Reading {
    /// Reads the options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let properties = Properties::read(options)?;
        let topics = Topics::read(options)?;
        let columns = Columns::of_options(table)?;
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
            codec: columns.value_codec(table)?,
            key_codec: if columns.key.is_empty() || columns.is_key_in_value {
                None
            } else {
                Some(columns.key_codec(table)?)
            },
            columns,
            payload: PayloadOptions::from_options(options)?,
            on_error: crate::format::payload::on_error(options)?,
            told: Told::default(),
        })
    }
}

impl Reading {
    /// True when column `index` of the table is read from messages' keys.
    pub fn is_from_key(&self, index: usize) -> bool {
        self.key_codec.is_some() && self.columns.key.contains(&index)
    }
}

fn time(options: &Options, key: &str) -> Result<i64> {
    options.require(key)?;
    Ok(options.parse(key, "milliseconds since 1970")?.unwrap_or_default())
}

fn offsets(options: &Options, key: &str, topics: &Topics) -> Result<BTreeMap<i32, i64>> {
    if !topics.is_single() {
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
