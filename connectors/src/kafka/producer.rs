//! The idempotent producer of a sink that delivers at least once.
//!
//! Invariants: librdkafka never refuses a message for lack of room, for the sink's limits, or its outbox's outlet, are what
//! bounds it; it keeps the order of each partition, and what is away is waited for without end, unless
//! 'properties.delivery.timeout.ms' or 'outbox.ttl' say otherwise. Messages come from sink.rs, or out of the outbox from
//! forward.rs; what becomes of them goes to flight.rs.

use std::sync::Arc;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use millstream_engine::{Error, Result};

use super::consignment::Consignment;
use super::flight::{Flight, Reports, is_about_the_row};
use super::output::Message;
use super::prepare::Ask;
use super::sink::partitions;
use super::writing::Writing;

/// What a message costs in librdkafka beside its key and payload, about.
pub(super) const MESSAGE_BYTES: usize = 128;

/// See the module's page.
pub(super) struct Producer {
    client: Arc<ThreadedProducer<Reports>>,
    flight: Arc<Flight>,
    writing: Arc<Writing>,
}

impl Producer {
    /// Starts it. `is_behind_outbox`: its messages have the outbox's time to live.
    ///
    /// # Errors
    /// If librdkafka does not take the settings.
    pub fn start(writing: &Arc<Writing>, flight: &Arc<Flight>, is_behind_outbox: bool) -> Result<Self> {
        let ttl = writing.outbox.filter(|_| is_behind_outbox).and_then(|outbox| outbox.ttl);
        // 0 is for ever: a gateway may be longer without its brokers than any timeout.
        let timeout_ms = ttl.map_or(0, |ttl| ttl.as_millis().clamp(1, i32::MAX as u128));
        let mut config = ClientConfig::new();
        config
            .set("linger.ms", "5")
            .set("message.timeout.ms", timeout_ms.to_string())
            // As Java's clients, so that a key has the same partition whoever writes it; in turn without one.
            .set("partitioner", "murmur2_random");
        writing.properties.producer().for_each(|(key, value)| {
            config.set(key, value);
        });
        config
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2147483647");
        let client = config.create_with_context(Reports(Arc::clone(flight))).map_err(|error| {
            Error::config(format!("Kafka's producer does not start: {error}")).at(&writing.table)
        })?;
        Ok(Self { client: Arc::new(client), flight: Arc::clone(flight), writing: Arc::clone(writing) })
    }

    /// What asks the brokers how many partitions the topic has.
    pub fn ask(&self) -> Ask {
        let (asked, topic) = (Arc::clone(&self.client), self.writing.topic.clone());
        Arc::new(move || partitions(asked.client(), &topic))
    }

    /// Gives librdkafka a message, which does not wait.
    ///
    /// # Errors
    /// If that ends the job.
    pub fn send(&self, message: &Message<'_>, consignment: &Arc<Consignment>) -> Result<()> {
        let Message { partition, key, payload } = *message;
        let bytes = payload.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len) + MESSAGE_BYTES;
        let mut record: BaseRecord<'_, [u8], [u8], Arc<Consignment>> =
            BaseRecord::with_opaque_to(&self.writing.topic, Arc::clone(consignment));
        (record.payload, record.key, record.partition) = (payload, key, partition);
        consignment.add(bytes);
        if let Err((error, _)) = self.client.send(record) {
            let text = format!("Kafka's producer refused the message: {error}");
            if !error.rdkafka_error_code().is_some_and(is_about_the_row) {
                return Err(Error::unavailable(text).at(&self.writing.table));
            }
            consignment.refuse(payload, Error::data(text), &self.flight.errors)?;
        }
        Ok(())
    }
}
