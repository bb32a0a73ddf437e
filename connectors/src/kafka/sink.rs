//! The worker's side of writing: rows become messages of librdkafka's idempotent producer.
//!
//! Invariants: every row written is in one message. Its bytes count as in flight until the brokers have acknowledged
//! it, or it is with the dead letters; at 'outlet.max-bytes' the sink is not ready. A barrier and the end wait until
//! nothing is in flight, so there is no state. Only what the brokers refuse for good is a bad row; all else is sent
//! again by librdkafka, in order, for ever or for as long as 'properties.delivery.timeout.ms' says, and then fails the
//! job: a row is never lost unsaid.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_schema::SchemaRef;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::element::Epoch;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::park::Signal;
use millstream_engine::state::StateWriter;
use millstream_engine::{Batch, ChangeKind, Codec, Encoder, Error, InstanceContext, Ready, Result, Sink};

use super::prepare::{Ask, Preparation};
use super::properties::Properties;
use super::watch::Watch;

/// What a message costs in librdkafka beside its key and payload, about.
const MESSAGE_BYTES: usize = 128;
/// How long one question to the brokers may take.
const REQUEST: Duration = Duration::from_secs(5);

/// What a table that is written to says.
pub(super) struct Writing {
    pub table: String,
    pub topic: String,
    pub properties: Properties,
    pub codec: Arc<dyn Codec>,
    pub key_codec: Option<Arc<dyn Codec>>,
    pub schema: SchemaRef,
    /// Columns of the key, and of the payload.
    pub key: Vec<usize>,
    pub value: Vec<usize>,
    pub is_round_robin: bool,
    pub waits: bool,
    pub outlet_bytes_max: usize,
    pub on_error: OnError,
}

/// What delivery reports change; shared with librdkafka's thread.
struct Flight {
    bytes: AtomicUsize,
    bytes_max: usize,
    waker: Arc<Signal>,
    errors: RowErrors,
    metrics: Arc<OperatorMetrics>,
    watch: Arc<Watch>,
    table: String,
    failure: Mutex<Option<Error>>,
}

struct Reports(Arc<Flight>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::watch::Context(Arc::clone(&self.0.watch)).log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.0.fail(Error::unavailable(format!("the idempotent producer cannot go on: {reason}")));
        }
        self.0.watch.report(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, bytes: usize) {
        match result {
            Ok(_) => self.0.watch.up(),
            Err((error, message)) => {
                let code = error.rdkafka_error_code();
                let text = format!("Kafka refused the message: {error}");
                if code.is_some_and(is_about_the_row) {
                    if let Err(error) =
                        self.0.errors.reject(message.payload().unwrap_or_default(), Error::data(text))
                    {
                        self.0.fail(error);
                    }
                } else {
                    self.0.fail(
                        Error::unavailable(text)
                            .remedy("raise 'properties.delivery.timeout.ms', or leave it out"),
                    );
                }
            }
        }
        self.0.done(bytes);
    }
}

/// What sending again, or waiting, would not mend.
fn is_about_the_row(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
    )
}

impl Flight {
    fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert_with(|| error.at(&self.table));
        self.waker.notify();
    }

    fn done(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let after = before - bytes;
        if after == 0 || (before >= self.bytes_max && after < self.bytes_max) {
            self.waker.notify();
        }
    }

    fn check(&self) -> Result<()> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }
}

/// One instance of a Kafka sink.
pub(super) struct KafkaSink {
    writing: Arc<Writing>,
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
    pub fn new(writing: Arc<Writing>) -> Result<Self> {
        let encoder = writing.codec.encoder(Arc::new(writing.schema.project(&writing.value)?))?;
        let key_encoder = match &writing.key_codec {
            Some(codec) => Some(codec.encoder(Arc::new(writing.schema.project(&writing.key)?))?),
            None => None,
        };
        Ok(Self { writing, encoder, key_encoder, running: None })
    }

    fn flight(&self) -> Result<&Arc<Flight>> {
        let running =
            self.running.as_ref().ok_or_else(|| Error::internal("the Kafka sink was not opened"))?;
        running.flight.check()?;
        Ok(&running.flight)
    }

    fn drained(&self) -> Result<Ready> {
        let is_drained = self.flight()?.bytes.load(Ordering::Acquire) == 0;
        // A failure is stored before its bytes are taken off, so this second look finds it.
        self.flight()?;
        Ok(if is_drained { Ready::Yes } else { Ready::NotYet })
    }
}

fn project(batch: &Batch, columns: &[usize]) -> Result<Batch> {
    if columns.len() == batch.rows.num_columns() {
        return Ok(batch.clone());
    }
    Ok(Batch::new(batch.rows.project(columns)?))
}

impl Sink for KafkaSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let writing = &self.writing;
        let watch = Watch::new(&writing.table, &writing.properties.brokers, &context.metrics, &context.clock);
        let flight = Arc::new(Flight {
            bytes: AtomicUsize::new(0),
            bytes_max: writing.outlet_bytes_max,
            waker: Arc::clone(&context.waker),
            errors: context.row_errors(writing.on_error),
            metrics: Arc::clone(&context.metrics),
            watch,
            table: writing.table.clone(),
            failure: Mutex::new(None),
        });
        let mut config = ClientConfig::new();
        config
            .set("linger.ms", "5")
            // For ever: a gateway may be longer without its brokers than any timeout.
            .set("message.timeout.ms", "0")
            // As Java's clients, so that a key has the same partition whoever writes it.
            .set("partitioner", if writing.is_round_robin { "random" } else { "murmur2_random" });
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
        let mut formats =
            vec![(Arc::clone(&writing.codec), Arc::new(writing.schema.project(&writing.value)?))];
        if let Some(codec) = &writing.key_codec {
            formats.push((Arc::clone(codec), Arc::new(writing.schema.project(&writing.key)?)));
        }
        let producer = Arc::new(producer);
        let (asked, topic) = (Arc::clone(&producer), writing.topic.clone());
        let ask: Ask = Arc::new(move || partitions(asked.client(), &topic));
        let failing = Arc::clone(&flight);
        let fail = move |error| failing.fail(error);
        let preparation = Preparation::start(formats, (ask, false), context, &flight.watch, fail)?;
        self.running = Some(Running { producer, flight, preparation });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.changes.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != ChangeKind::Insert)) {
            return Err(
                Error::internal("a Kafka topic was given rows that update others").at(&self.writing.table)
            );
        }
        self.flight()?;
        self.encoder.encode(&project(&batch, &self.writing.value)?)?;
        if let Some(encoder) = &mut self.key_encoder {
            encoder.encode(&project(&batch, &self.writing.key)?)?;
        }
        let Some(Running { producer, flight, .. }) = &self.running else { return Ok(()) };
        let mut keys = self.key_encoder.as_ref().map(|encoder| encoder.encoded().rows());
        for payload in self.encoder.encoded().rows() {
            let key = keys.as_mut().and_then(Iterator::next);
            let bytes = payload.len() + key.map_or(0, <[u8]>::len) + MESSAGE_BYTES;
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&self.writing.topic, bytes).payload(payload);
            if let Some(key) = key {
                record = record.key(key);
            }
            flight.bytes.fetch_add(bytes, Ordering::AcqRel);
            if let Err((error, _)) = producer.send(record) {
                flight.done(bytes);
                let text = format!("Kafka's producer refused the message: {error}");
                if error.rdkafka_error_code().is_some_and(is_about_the_row) {
                    flight.errors.reject(payload, Error::data(text))?;
                } else {
                    return Err(Error::unavailable(text).at(&self.writing.table));
                }
            }
        }
        flight.metrics.queue_bytes.store(flight.bytes.load(Ordering::Relaxed) as u64, Ordering::Relaxed);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        // After a failure the next write, which reports it, is not kept out.
        self.running.as_ref().is_some_and(|Running { flight, preparation, .. }| {
            (preparation.is_done() && flight.bytes.load(Ordering::Acquire) < flight.bytes_max)
                || flight.failure.lock().is_some()
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
