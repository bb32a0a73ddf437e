//! The worker's side of writing: rows become messages of librdkafka's idempotent producer.
//!
//! Invariants: every row written is in one message. Its bytes count as in flight (flight.rs) until the brokers have
//! acknowledged it, or it is with the dead letters; at 'outlet.max-bytes' the sink is not ready. A barrier and the end
//! wait until nothing is in flight, so there is no state, but that of a checkpoint which was to be delivered exactly once
//! (exactly_once.rs), whose messages are written again. What is away is waited for, by librdkafka, in order, for ever
//! or for as long as 'properties.delivery.timeout.ms' says, and then fails the job: a row is never lost unsaid.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use millstream_engine::element::Epoch;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Ready, Result, Sink};

use super::flight::{Flight, Reports, is_about_the_row};
use super::messages::Messages;
use super::output::Output;
use super::prepare::{Ask, Preparation};
use super::watch::Watch;
use super::writing::Writing;

/// What a message costs in librdkafka beside its key and payload, about.
const MESSAGE_BYTES: usize = 128;
/// How long one question to the brokers may take.
const REQUEST: Duration = Duration::from_secs(5);

/// One instance of a Kafka sink.
pub(super) struct KafkaSink {
    writing: Arc<Writing>,
    instance: usize,
    parallelism: usize,
    messages: Messages,
    running: Option<Running>,
}

struct Running {
    producer: Arc<ThreadedProducer<Reports>>,
    flight: Arc<Flight>,
    preparation: Preparation,
}

impl KafkaSink {
    /// A sink that is still to be opened.
    ///
    /// # Errors
    /// If a format cannot encode the columns.
    pub fn new(writing: Arc<Writing>, instance: usize) -> Result<Self> {
        let messages = Messages::new(Arc::clone(&writing))?;
        Ok(Self { writing, instance, parallelism: 1, messages, running: None })
    }

    fn flight(&self) -> Result<&Arc<Flight>> {
        let running =
            self.running.as_ref().ok_or_else(|| Error::internal("the Kafka sink was not opened"))?;
        running.flight.check()?;
        Ok(&running.flight)
    }

    fn drained(&self) -> Result<Ready> {
        let is_drained = self.flight()?.is_empty();
        // A failure is stored before its bytes are taken off, so this second look finds it.
        self.flight()?;
        Ok(if is_drained { Ready::Yes } else { Ready::NotYet })
    }
}

impl Running {
    /// Gives librdkafka a message.
    fn send(
        &self,
        writing: &Writing,
        partition: Option<i32>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Result<()> {
        let bytes = payload.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len) + MESSAGE_BYTES;
        let mut record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&writing.topic, bytes);
        (record.payload, record.key, record.partition) = (payload, key, partition);
        self.flight.add(bytes);
        if let Err((error, _)) = self.producer.send(record) {
            self.flight.done(bytes);
            let text = format!("Kafka's producer refused the message: {error}");
            if !error.rdkafka_error_code().is_some_and(is_about_the_row) {
                return Err(Error::unavailable(text).at(&writing.table));
            }
            self.flight.errors.reject(payload.unwrap_or_default(), Error::data(text))?;
        }
        Ok(())
    }
}

impl Sink for KafkaSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.parallelism = context.parallelism;
        let writing = &self.writing;
        let watch = Watch::new(&writing.table, &writing.properties.brokers, &writing.told, context);
        let flight = Flight::new(writing, watch, context);
        let mut config = ClientConfig::new();
        config
            .set("linger.ms", "5")
            // For ever: a gateway may be longer without its brokers than any timeout.
            .set("message.timeout.ms", "0")
            // As Java's clients, so that a key has the same partition whoever writes it; in turn without one.
            .set("partitioner", "murmur2_random");
        writing.properties.producer().for_each(|(key, value)| {
            config.set(key, value);
        });
        config
            .set("enable.idempotence", "true")
            // The outlet is the limit, so that librdkafka never refuses a message for lack of room.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2147483647");
        let producer: ThreadedProducer<Reports> =
            config.create_with_context(Reports(Arc::clone(&flight))).map_err(|error| {
                Error::config(format!("Kafka's producer does not start: {error}")).at(&writing.table)
            })?;
        let producer = Arc::new(producer);
        let (asked, topic) = (Arc::clone(&producer), writing.topic.clone());
        let ask: Ask = Arc::new(move || partitions(asked.client(), &topic));
        let failing = Arc::clone(&flight);
        let fail = move |error| failing.fail(error);
        let preparation =
            Preparation::start(writing.formats(), (ask, writing.is_fixed), context, &flight.watch, fail)?;
        self.running = Some(Running { producer, flight, preparation });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let Self { writing, instance, messages, running, .. } = self;
        let Some(running) = running else {
            return Err(Error::internal("the Kafka sink was not opened"));
        };
        running.flight.check()?;
        let partitions = running.preparation.partitions().max(1);
        let partition = writing.is_fixed.then_some((*instance % partitions) as i32);
        messages.each(&batch, |key, payload| running.send(writing, partition, key, payload))?;
        running.flight.show();
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        for blob in state.blobs() {
            let (owner, _, output) = Output::read(blob)?;
            if owner.instance as usize % self.parallelism == self.instance {
                for message in output.messages() {
                    let message = message?;
                    running.send(&self.writing, message.partition, message.key, message.payload)?;
                }
            }
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        // After a failure the next write, which reports it, is not kept out.
        self.running.as_ref().is_some_and(|Running { flight, preparation, .. }| {
            (preparation.is_done() && flight.has_room()) || flight.has_failed()
        })
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.flight().map(|_| ())
    }

    fn on_barrier(&mut self, _epoch: Epoch, _state: &mut StateWriter) -> Result<Ready> {
        if self.writing.waits { self.drained() } else { self.flight().map(|_| Ready::Yes) }
    }

    fn finish(&mut self) -> Result<Ready> {
        self.drained()
    }
}

/// How many partitions `topic` has, as the brokers answer.
pub(super) fn partitions<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<usize> {
    let metadata = client.fetch_metadata(Some(topic), REQUEST)?;
    let found = metadata.topics().first();
    match found.and_then(MetadataTopic::error) {
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
        None => Ok(found.map_or(0, |topic| topic.partitions().len())),
    }
}

/// Checks the settings without brokers: librdkafka connects in the background.
///
/// # Errors
/// If librdkafka does not take a property.
pub(super) fn check<'a>(table: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    let mut config = ClientConfig::new();
    pairs.for_each(|(key, value)| {
        config.set(key, value);
    });
    config.create_native_config().map(|_| ()).map_err(|error| match error {
        // Only the name: the value may be a secret.
        KafkaError::ClientConfig(_, _, key, _) => {
            Error::config(format!("librdkafka does not take the value of 'properties.{key}'")).at(table)
        }
        other => Error::config(other.to_string()).at(table),
    })
}
