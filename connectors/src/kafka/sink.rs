//! The worker's side of writing: rows become messages of librdkafka's idempotent producer.
//!
//! Invariants: every row written is in one message. Its bytes count as in flight (flight.rs) until the brokers have
//! acknowledged it, or it is with the dead letters; at 'outlet.max-bytes' the sink is not ready. A barrier and the end
//! wait until nothing is in flight, so there is no state. What is away is waited for, by librdkafka, in order, for ever
//! or for as long as 'properties.delivery.timeout.ms' says, and then fails the job: a row is never lost unsaid.
//! An upserting sink writes a tombstone for a row that goes, and nothing for the old form of a row whose new form, of
//! the same key, follows.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use millstream_engine::element::Epoch;
use millstream_engine::state::StateWriter;
use millstream_engine::{Batch, ChangeKind, Encoder, Error, InstanceContext, Ready, Result, Sink};

use super::flight::{Flight, Reports, is_about_the_row};
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
    encoder: Box<dyn Encoder>,
    key_encoder: Option<Box<dyn Encoder>>,
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
        let encoder = writing.codec.encoder(Arc::clone(&writing.value_schema))?;
        let key_encoder = match &writing.key_codec {
            Some(codec) => Some(codec.encoder(Arc::clone(&writing.key_schema))?),
            None => None,
        };
        Ok(Self { writing, instance, encoder, key_encoder, running: None })
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

/// Some columns of a batch, under the names that `schema` gives them.
fn project(batch: &Batch, columns: &[usize], schema: &SchemaRef) -> Result<Batch> {
    let columns = columns.iter().map(|column| Arc::clone(batch.rows.column(*column))).collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(Batch::new(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?))
}

impl Sink for KafkaSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
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
        let mut formats = vec![(Arc::clone(&writing.codec), Arc::clone(&writing.value_schema))];
        if let Some(codec) = &writing.key_codec {
            formats.push((Arc::clone(codec), Arc::clone(&writing.key_schema)));
        }
        let producer = Arc::new(producer);
        let (asked, topic) = (Arc::clone(&producer), writing.topic.clone());
        let ask: Ask = Arc::new(move || partitions(asked.client(), &topic));
        let failing = Arc::clone(&flight);
        let fail = move |error| failing.fail(error);
        let preparation = Preparation::start(formats, (ask, writing.is_fixed), context, &flight.watch, fail)?;
        self.running = Some(Running { producer, flight, preparation });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let Self { writing, instance, encoder, key_encoder, running } = self;
        let changes = batch.changes.as_deref().filter(|all| all.iter().any(|one| *one != ChangeKind::Insert));
        if changes.is_some() && !writing.is_upsert {
            let what = "a Kafka topic was given rows that update others";
            return Err(Error::internal(what).at(&writing.table));
        }
        let Some(Running { producer, flight, preparation }) = running else {
            return Err(Error::internal("the Kafka sink was not opened"));
        };
        flight.check()?;
        encoder.encode(&project(&batch, &writing.columns.value, &writing.value_schema)?)?;
        if let Some(encoder) = key_encoder {
            encoder.encode(&project(&batch, &writing.columns.key, &writing.key_schema)?)?;
        }
        let mut keys = key_encoder.as_ref().map(|encoder| encoder.encoded().rows().peekable());
        for (row, payload) in encoder.encoded().rows().enumerate() {
            let key = keys.as_mut().and_then(Iterator::next);
            let kind = changes.map_or(ChangeKind::Insert, |kinds| kinds[row]);
            let payload = match kind {
                ChangeKind::Insert | ChangeKind::UpdateAfter => Some(payload),
                ChangeKind::UpdateBefore if keys.as_mut().and_then(|keys| keys.peek().copied()) == key => {
                    continue;
                }
                ChangeKind::UpdateBefore | ChangeKind::Delete => None,
            };
            let bytes = payload.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len) + MESSAGE_BYTES;
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&writing.topic, bytes);
            if let Some(payload) = payload {
                record = record.payload(payload);
            }
            if let Some(key) = key {
                record = record.key(key);
            }
            if writing.is_fixed {
                record = record.partition((*instance % preparation.partitions().max(1)) as i32);
            }
            flight.add(bytes);
            if let Err((error, _)) = producer.send(record) {
                flight.done(bytes);
                let text = format!("Kafka's producer refused the message: {error}");
                if error.rdkafka_error_code().is_some_and(is_about_the_row) {
                    flight.errors.reject(payload.unwrap_or_default(), Error::data(text))?;
                } else {
                    return Err(Error::unavailable(text).at(&writing.table));
                }
            }
        }
        flight.show();
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
fn partitions(client: &Client<Reports>, topic: &str) -> KafkaResult<usize> {
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
