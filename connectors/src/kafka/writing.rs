//! What a Kafka table that is written to says.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use millstream_engine::dead_letter::OnError;
use millstream_engine::outbox::OutboxSettings;
use millstream_engine::registry::Table;
use millstream_engine::{Codec, Error, Result};

use crate::format::payload::on_error;

use super::columns::Columns;
use super::properties::Properties;
use super::watch::Told;

/// Read once, shared by all instances.
pub(super) struct Writing {
    pub table: String,
    pub topic: String,
    pub properties: Properties,
    pub codec: Arc<dyn Codec>,
    pub key_codec: Option<Arc<dyn Codec>>,
    pub columns: Columns,
    /// What the formats are given.
    pub key_schema: SchemaRef,
    pub value_schema: SchemaRef,
    /// Rows replace those of their key, and those that go leave a tombstone.
    pub is_upsert: bool,
    /// All rows of an instance go to one partition.
    pub is_fixed: bool,
    /// A barrier waits for the brokers.
    pub waits: bool,
    /// What transactional ids begin with, where rows are delivered exactly once.
    pub transactional_id_prefix: Option<String>,
    /// How long the brokers leave a transaction open.
    pub transaction_timeout: Duration,
    pub outlet_bytes_max: usize,
    /// Where a barrier waits for the disk, if the state is there.
    pub outbox: Option<OutboxSettings>,
    pub on_error: OnError,
    pub told: Told,
}

impl Writing {
    /// Reads the options of a `kafka` table, or an `upsert-kafka` one.
    ///
    /// # Errors
    /// If one is wrong or asks for what there is not.
    pub fn read(table: &Table, is_upsert: bool) -> Result<Self> {
        let options = &table.options;
        let refused = |what: &str, remedy: &str| Err(Error::config(what).at(options.owner()).remedy(remedy));
        let prefix = options.get("sink.transactional-id-prefix").map(str::to_owned);
        let (waits, is_exact) = match options.get("sink.delivery-guarantee") {
            None | Some("at-least-once") => (true, false),
            Some("none") => (false, false),
            Some("exactly-once") => (true, true),
            Some(_) => {
                let known = "'exactly-once', 'at-least-once' or 'none'";
                return Err(options.invalid("sink.delivery-guarantee", known));
            }
        };
        if is_exact && prefix.as_deref().is_none_or(str::is_empty) {
            return refused(
                "exactly-once delivery needs 'sink.transactional-id-prefix'",
                "give it a text of its own for each pipeline and sink; it must stay the same over restarts",
            );
        }
        if options.get("properties.acks").is_some_and(|acks| !matches!(acks, "all" | "-1")) {
            return refused("the idempotent producer needs 'properties.acks' = 'all'", "leave it out");
        }
        if options.get("topic-pattern").is_some() {
            return refused("'topic-pattern' is for tables that are read", "name one topic in 'topic'");
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
        let columns = if is_upsert { Columns::of_primary_key(table)? } else { Columns::of_options(table)? };
        let partitioners = [("default", false), ("fixed", true), ("round-robin", false)];
        let is_fixed = options.choice("sink.partitioner", &partitioners)?.unwrap_or(false);
        if options.get("sink.partitioner") == Some("round-robin") && !columns.key.is_empty() {
            return refused(
                "'sink.partitioner' = 'round-robin' is for rows without a key",
                "leave out 'key.fields' or 'sink.partitioner'",
            );
        }
        let outbox = if waits && !is_exact {
            OutboxSettings::read(options)?
        } else {
            let because = "an epoch that is delivered exactly once is in the checkpoint, and for 'none' nothing is kept";
            OutboxSettings::refuse(options, "'sink.delivery-guarantee' = 'at-least-once'", because)?;
            None
        };
        if is_upsert {
            OutboxSettings::expect_order(outbox.as_ref(), options)?;
        }
        let properties = Properties::read(options)?;
        super::sink::check(options.owner(), properties.producer())?;
        let timeout_ms = options
            .parse::<u64>("properties.transaction.timeout.ms", "a number of milliseconds")?
            .unwrap_or(60_000);
        Ok(Self {
            table: table.name.clone(),
            topic,
            properties,
            codec: columns.value_codec(table)?,
            key_codec: if columns.key.is_empty() { None } else { Some(columns.key_codec(table)?) },
            key_schema: columns.key_schema(table),
            value_schema: columns.value_schema(table),
            columns,
            is_upsert,
            is_fixed,
            waits,
            transactional_id_prefix: prefix.filter(|_| is_exact),
            transaction_timeout: Duration::from_millis(timeout_ms),
            outlet_bytes_max: options
                .size_bytes("outlet.max-bytes")?
                .unwrap_or(if is_exact { 64 << 20 } else { 4 << 20 })
                .max(1),
            outbox,
            on_error: on_error(options)?,
            told: Told::default(),
        })
    }
    /// The formats, with what they are given.
    pub fn formats(&self) -> Vec<(Arc<dyn Codec>, SchemaRef)> {
        let mut formats = vec![(Arc::clone(&self.codec), Arc::clone(&self.value_schema))];
        if let Some(codec) = &self.key_codec {
            formats.push((Arc::clone(codec), Arc::clone(&self.key_schema)));
        }
        formats
    }
}
