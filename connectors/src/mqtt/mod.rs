//! The `mqtt` connector: topics of an MQTT broker as tables, read and written at least once.
//!
//! ```sql
//! CREATE TABLE telemetry (site STRING, device STRING, t DOUBLE, ts TIMESTAMP(3), topic STRING METADATA) WITH (
//!   'connector' = 'mqtt', 'url' = 'mqtt://localhost:1883', 'topic' = 'plant/{site}/{device}/telemetry');
//! CREATE TABLE alerts (device STRING, level STRING, t DOUBLE) WITH (
//!   'connector' = 'mqtt', 'url' = 'mqtt://localhost:1883', 'topic' = 'alerts/{device}/{level}');
//! ```
//!
//! Both sides have a task on the I/O runtime that keeps one [`connection`] over the packets of either version
//! ([`packets`]: rumqttc's codecs; its event loop is not used, because it reads on while we want to push back, closes
//! on a message over the limit, and writes each acknowledgement on its own). What carries the bytes is a [`stream`]:
//! TCP, TLS, or websockets (websocket.rs) over either; broker.rs has the addresses. Reading: receive.rs hands messages
//! through an inlet bounded in bytes to source.rs, on the worker, which decodes them together and fills the columns that
//! come from the topic and the properties (pattern.rs, columns.rs). Writing: sink.rs, on the worker, makes each row a
//! message with a topic (topic.rs) and properties (headers.rs) out of its columns; an outlet bounded in bytes carries
//! them to publish.rs, which keeps them (waiting.rs, flight.rs) until the broker has acknowledged them. At QoS 1 with state on disk they
//! go into an outbox (handover.rs, stored.rs), which fills the outlet. options.rs declares the
//! options, settings.rs reads them, client_id.rs has the session's name, answers.rs and refusal.rs the words for what
//! a broker and TLS have against us.
//!
//! What one can rely on when reading at QoS 1 or 2:
//! - A message is acknowledged when its rows have been taken into the pipeline. Until then the broker keeps it, also
//!   while we are away: the session lives on over disconnects, and over restarts, as long as 'session-expiry' says.
//! - A query that is slower than its messages holds them back: nothing is read while the inlet is full, then the
//!   broker holds back (QoS 1: up to 'receive-maximum' are on the way), and what it does then is its setting.
//! - Messages may come twice after a reconnect; those the broker marks are counted as retries, and the metadata column
//!   'duplicate' shows them.
//! - Of readers with one 'shared-group' each message reaches one. A member that is away keeps its share until it is back
//!   or its session has expired, so give the members of a changing group a short 'session-expiry'.
//! - A payload that is no row goes where 'on-error' says, one over 'payload.max-bytes' too, and is acknowledged. An
//!   empty payload, which is how a retained message is deleted, is counted as skipped.
//!
//! What one can rely on when writing at QoS 1: a row is delivered when the broker has acknowledged it; a barrier, or the
//! end, waits for that; with an outbox a barrier waits for the disk only, and what a kill has left there is sent by the next
//! run, first or last as 'outbox.order' says. Messages of a topic stay in order. After a reconnect what was not acknowledged is sent again, in order. A row whose topic would be
//! NULL, empty or hold a wildcard, that the broker refuses with a reason, or that is over its limits, goes where
//! 'on-error' says. Columns used in the topic stay in the payload; metadata columns that are not VIRTUAL become
//! properties and leave it. The will ('will.topic') is what the broker publishes when the connection breaks or the job
//! fails, not when it ends.
//!
//! When the broker cannot be used, the job stays up, the link is shown down, and it is tried again for ever:
//! - not reachable, or busy, at the start or later: with jittered backoff, since a gateway may boot before its broker;
//! - wrong credentials or certificates, no right to the topic, the client id in use elsewhere, a version it does not
//!   speak: at once at 'reconnect.backoff.max', with an error in the log that names the option, so that a mended broker is enough, nobody
//!   has to restart anything, and no account is locked by our trying;
//!   (A broker that throws a client out without a word, as Mosquitto 2.0 does for a client id used twice, is come back to
//!   ever more slowly, and the log names the suspicion.)
//! - of several brokers in 'url', the next is tried at once, and the wait comes when all were tried; a broker whose
//!   connection lasted is left for the first of the list. Sessions do not move between brokers: at a switch what the
//!   former one kept waits there;
//! - a schema registry that the format needs is asked again in the same way (prepare.rs), and messages and rows wait;
//! - reason and remedy are logged when an outage begins, when its reason changes, and every five minutes (outage.rs).
//!
//! A broker that does not speak MQTT 5 is not tried with 3.1.1 by itself: sessions, and so messages, would change
//! places with every update of a broker. The error says to set 'version'.

mod answers;
mod broker;
mod client_id;
mod columns;
mod connection;
mod flight;
mod handover;
mod headers;
mod journaled;
mod options;
mod outage;
mod pace;
mod packets;
mod pattern;
mod prepare;
mod properties;
mod publish;
mod receive;
mod recent;
mod refusal;
mod settings;
mod sink;
mod source;
mod stored;
mod stream;
#[cfg(test)]
mod tests;
mod topic;
mod waiting;
mod websocket;

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;

use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::outbox::{OUTBOX_OPTIONS, OutboxSettings};
use millstream_engine::registry::{Connector, MetadataSpec, SinkProvider, SourceProvider, Table};
use millstream_engine::{Codec, Error, Result, Sink, Source};

use crate::format::{PAYLOAD_OPTIONS, PayloadOptions};
use crate::tls::TLS_OPTIONS;

use columns::Plan;
use headers::Headers;
use pattern::Patterns;
use publish::Sending;
use settings::Link;
use sink::{MqttSink, Writing};
use source::{MqttSource, Reading};
use topic::Template;

/// How far ahead of our clock a device's clock may be: more than any mistaken time zone.
const AHEAD_MAX_MS: i64 = 24 * 3_600_000;

/// Its name.
const MQTT: &str = "mqtt";

/// `'connector' = 'mqtt'`.
#[derive(Debug)]
pub struct Mqtt;

impl Connector for Mqtt {
    fn name(&self) -> &'static str {
        MQTT
    }

    fn help(&self) -> &'static str {
        "Reads and writes topics of an MQTT broker (5 or 3.1.1), at least once at QoS 1."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [options::OPTIONS, OUTBOX_OPTIONS, TLS_OPTIONS, PAYLOAD_OPTIONS].concat()
    }

    fn metadata(&self) -> Vec<MetadataSpec> {
        columns::metadata()
    }

    fn writable_metadata(&self) -> &'static [&'static str] {
        headers::WRITABLE
    }

    fn letters(&self, table: &Table) -> Result<Arc<dyn Codec>> {
        if let Some((column, _)) = table.metadata.first() {
            let name = table.schema.field(*column).name();
            return Err(Error::config(format!("its dead letters do not have the metadata column '{name}'"))
                .at(table.options.owner())
                .remedy(
                    "look at them with dead-letters list --rows, and write them by a query of your own",
                ));
        }
        table.codec()
    }

    fn outbox_rows(&self, record: &Bytes) -> Option<Vec<Bytes>> {
        stored::read(record.clone()).map(|publication| vec![publication.payload])
    }

    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        let options = &table.options;
        let link = Arc::new(Link::read(table)?);
        let patterns = Patterns::parse(options.require("topic")?, options.get("shared-group"))
            .map_err(|error| error.at(options.owner()))?;
        let segments = columns::segment_columns(table, &patterns)?;
        let reading = Reading {
            link,
            patterns,
            codec: table.codec_for(&payload_columns(table, &segments))?,
            payload: PayloadOptions::from_options(options)?,
            inlet_bytes_max: options.size_bytes("inlet.max-bytes")?.unwrap_or(4 << 20).max(1),
        };
        Ok(Arc::new(SourceSide { table: table.clone(), reading: Arc::new(reading), segments }))
    }

    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        let options = &table.options;
        let link = Arc::new(Link::read(table)?);
        if link.qos > 1 {
            return Err(Error::config("option 'qos': QoS 2 is for tables that are read")
                .at(options.owner())
                .remedy("use '1' where the table is written: every row arrives at least once"));
        }
        let codec = table.codec()?;
        let template =
            Template::parse(options.require("topic")?).map_err(|error| error.at(options.owner()))?;
        let columns = sink::template_columns(table, &template)?;
        let in_flight_max = match options.parse::<u16>("max-in-flight", "a number from 1 to 65535")? {
            Some(0) => return Err(options.invalid("max-in-flight", "a number from 1 to 65535")),
            given => given.unwrap_or(256).into(),
        };
        let headers = Headers::of(table, link.version)?;
        let retain = options.bool("retain")?.unwrap_or(false);
        let width = table.schema.fields().len();
        let payload_columns: Vec<usize> =
            (0..width).filter(|column| table.metadata_key(*column).is_none()).collect();
        let payload_schema = Arc::new(table.schema.project(&payload_columns)?);
        let sending = Sending {
            outbox: outbox(options, link.qos)?,
            link,
            codec: Arc::clone(&codec),
            payload_schema: Arc::clone(&payload_schema),
            needs_retain: retain || headers.retained.is_some(),
            in_flight_max,
            outlet_bytes_max: options.size_bytes("outlet.max-bytes")?.unwrap_or(4 << 20).max(1),
        };
        Ok(Arc::new(SinkSide {
            writing: Arc::new(Writing {
                sending: Arc::new(sending),
                template,
                columns,
                codec,
                retain,
                headers,
                payload_columns,
                payload_schema,
            }),
        }))
    }
}

/// What a table that is written to says of its outbox; at QoS 0 it has none.
fn outbox(options: &Options, qos: u8) -> Result<Option<OutboxSettings>> {
    if qos > 0 {
        return OutboxSettings::read(options);
    }
    OutboxSettings::refuse(options, "'qos' = '1'", "at QoS 0 a message may be lost anyway")?;
    Ok(None)
}

/// The columns that payloads fill: neither metadata nor segments of the topic.
fn payload_columns(table: &Table, segments: &[usize]) -> SchemaRef {
    let fields = table.schema.fields().iter().enumerate();
    let of_payload =
        fields.filter(|(index, _)| table.metadata_key(*index).is_none() && !segments.contains(index));
    Arc::new(Schema::new(of_payload.map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>()))
}

struct SourceSide {
    table: Table,
    reading: Arc<Reading>,
    /// The columns that the topic's segments fill.
    segments: Vec<usize>,
}

impl SourceProvider for SourceSide {
    fn is_bounded(&self) -> bool {
        false
    }

    fn ahead_max_ms(&self) -> Option<i64> {
        Some(AHEAD_MAX_MS)
    }

    fn create(&self, schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        let plan = Plan::new(&self.table, &self.segments, &schema)?;
        Ok(Box::new(MqttSource::new(Arc::clone(&self.reading), plan)?))
    }

    fn describe(&self) -> String {
        let Reading { link, patterns, .. } = self.reading.as_ref();
        format!("{} {} QoS {}", link.broker_names(), patterns.filters.join(";"), link.qos)
    }
}

struct SinkSide {
    writing: Arc<Writing>,
}

impl SinkProvider for SinkSide {
    /// One connection, so that rows leave in order.
    fn parallelism(&self, workers: usize) -> usize {
        workers.min(1)
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(MqttSink::new(Arc::clone(&self.writing))?))
    }

    fn describe(&self) -> String {
        let Writing { sending, template, .. } = self.writing.as_ref();
        format!("{} {template} QoS {}", sending.link.broker_names(), sending.link.qos)
    }
}
