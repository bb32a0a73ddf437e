//! One transactional id: a producer whose transactions carry an epoch's output and the record that it was written.
//!
//! Invariants: the record is an offset of a consumer group named after id and lineage, whose number is the epoch; it is
//! committed in the epoch's own transaction, so the topic has the epoch's messages when, and only when, the group has
//! its number. Opening initialises transactions: a former run under the same id can write nothing more, and what it
//! left open is aborted. A transaction is never resumed by another producer, but written anew where the record is missing.
//!
//! librdkafka's calls block, so this runs on a thread of its own (committer.rs). What is away is waited for without end;
//! an id that another run has taken over fails the job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::{ClockRef, Error, Result, failpoint};

use super::flight::is_about_the_row;
use super::output::Output;
use super::watch::{Context, Watch};
use super::writing::Writing;

/// How long one call may block before it is looked whether the job goes on.
const CALL: Duration = Duration::from_secs(5);
/// What is waited between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// Producers in a row that may fail for good before the job does.
const PRODUCERS_MAX: u32 = 5;

/// What a transaction needs of its sink.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub writing: Arc<Writing>,
    pub watch: Arc<Watch>,
    pub clock: ClockRef,
    pub errors: RowErrors,
    /// The sink is gone.
    pub is_stopping: Arc<AtomicBool>,
}

/// A producer under a transactional id.
pub(super) struct Transactions {
    around: Surroundings,
    pub id: String,
    group: String,
    producer: ThreadedProducer<Reports>,
    consumer: BaseConsumer<Context>,
    refused: Refused,
}

/// Messages that the brokers refuse for good, by their number, with the reason.
type Refused = Arc<Mutex<Vec<(usize, String)>>>;

/// Takes librdkafka's reports.
struct Reports {
    watch: Arc<Watch>,
    refused: Refused,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context(Arc::clone(&self.watch)).log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.report(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result
            && error.rdkafka_error_code().is_some_and(is_about_the_row)
        {
            self.refused.lock().push((number, error.to_string()));
        }
    }
}

/// Why a call did not come through.
enum Trouble {
    /// The transaction is to be aborted and written again.
    Abort(String),
    /// The producer is of no more use.
    Fatal(RDKafkaErrorCode, String),
    /// The sink is gone, or the error is somebody's to mend.
    Ends(Error),
}

impl Transactions {
    /// Takes `id` over, waiting for the brokers as long as it takes.
    ///
    /// # Errors
    /// If the brokers refuse, or the sink is gone.
    pub fn open(around: &Surroundings, id: &str, lineage: u64) -> Result<Self> {
        let group = format!("{id}-{lineage:016x}");
        let wrong = |what: &str, error: KafkaError| {
            Error::config(format!("Kafka's {what} does not start: {error}")).at(&around.writing.table)
        };
        let refused = Refused::default();
        let mut config = ClientConfig::new();
        config.set("linger.ms", "5").set("partitioner", "murmur2_random");
        around.writing.properties.producer().for_each(|(key, value)| {
            config.set(key, value);
        });
        config
            .set("transactional.id", id)
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2147483647");
        let reports = Reports { watch: Arc::clone(&around.watch), refused: Arc::clone(&refused) };
        let producer =
            config.create_with_context(reports).map_err(|error| wrong("transactional producer", error))?;
        let mut config = ClientConfig::new();
        around.writing.properties.consumer().for_each(|(key, value)| {
            config.set(key, value);
        });
        config
            .set("group.id", &group)
            .set("enable.auto.commit", "false")
            // So that an offset whose transaction is not settled is waited for.
            .set("isolation.level", "read_committed");
        let consumer = config
            .create_with_context(Context(Arc::clone(&around.watch)))
            .map_err(|error| wrong("consumer", error))?;
        let opened = Self { around: around.clone(), id: id.to_owned(), group, producer, consumer, refused };
        match opened.insist(|| opened.producer.init_transactions(CALL)) {
            Ok(()) => {
                opened.around.watch.up();
                Ok(opened)
            }
            Err(Trouble::Ends(error)) => Err(error),
            Err(Trouble::Abort(text) | Trouble::Fatal(_, text)) => {
                Err(Error::config(format!("transactional id '{id}' cannot be used: {text}"))
                    .at(&around.writing.table)
                    .remedy(
                        "allow the user WRITE and DESCRIBE on it, and READ on the consumer group of its name",
                    ))
            }
        }
    }

    /// The last epoch that was written, if the brokers know one.
    ///
    /// # Errors
    /// If the brokers refuse, or the sink is gone.
    pub fn progress(&self) -> Result<Option<Epoch>> {
        let topic = &self.around.writing.topic;
        loop {
            self.check()?;
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(topic, 0);
            match self.consumer.committed_offsets(wanted, CALL) {
                Ok(found) => {
                    let offset = found.find_partition(topic, 0).map(|entry| entry.offset());
                    return Ok(match offset {
                        Some(Offset::Offset(epoch)) => u64::try_from(epoch).ok(),
                        _ => None,
                    });
                }
                Err(error)
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) =>
                {
                    return Err(Error::config(format!(
                        "consumer group '{}' may not be used: {error}",
                        self.group
                    ))
                    .at(&self.around.writing.table)
                    .remedy(
                        "allow the user READ on groups with the prefix of 'sink.transactional-id-prefix'",
                    ));
                }
                Err(error) => self.pause(&error.to_string()),
            }
        }
    }

    /// Writes `output` and the record of its epoch in one transaction, however many attempts it takes.
    ///
    /// # Errors
    /// If another run has taken the id over, the brokers refuse for good, or the sink is gone.
    pub fn write(&mut self, output: &Output, lineage: u64) -> Result<()> {
        let mut without: Vec<usize> = Vec::new();
        let mut producers = 0;
        loop {
            let started_ns = self.around.clock.monotonic_ns();
            match self.attempt(output, &without) {
                Ok(()) => {
                    self.around.watch.up();
                    return Ok(());
                }
                Err(Trouble::Ends(error)) => return Err(error),
                Err(Trouble::Abort(text)) => {
                    match self.insist(|| self.producer.abort_transaction(CALL)) {
                        Ok(()) => {}
                        Err(Trouble::Ends(error)) => return Err(error),
                        // It may be that what cannot be aborted is committed.
                        Err(Trouble::Abort(text) | Trouble::Fatal(_, text)) => {
                            if self.replace(&text, output.epoch, lineage, &mut producers)? {
                                return Ok(());
                            }
                        }
                    }
                    let refused = std::mem::take(&mut *self.refused.lock());
                    if refused.is_empty() {
                        self.pause(&text);
                    }
                    self.reject(output, &refused, &mut without)?;
                }
                Err(Trouble::Fatal(code, text)) => {
                    let is_fenced =
                        matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced);
                    let open_ns = self.around.clock.monotonic_ns().saturating_sub(started_ns);
                    // The brokers fence a transaction that was open for too long, as after an outage, the same way.
                    if is_fenced && u128::from(open_ns) < self.around.writing.transaction_timeout.as_nanos() {
                        return Err(Error::closed(format!(
                            "another run has taken over transactional id '{}': {text}",
                            self.id
                        ))
                        .at(&self.around.writing.table)
                        .remedy("stop one of them, or give it a 'sink.transactional-id-prefix' of its own"));
                    }
                    if self.replace(&text, output.epoch, lineage, &mut producers)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Goes on with another producer. Answers whether the one before has written `epoch` all the same.
    fn replace(&mut self, text: &str, epoch: Epoch, lineage: u64, producers: &mut u32) -> Result<bool> {
        *producers += 1;
        if *producers > PRODUCERS_MAX {
            return Err(Error::unavailable(format!("{producers} transactional producers failed: {text}"))
                .at(&self.around.writing.table));
        }
        tracing::warn!(id = %self.id, "a transactional producer cannot go on: {text}; another takes over");
        *self = Self::open(&self.around.clone(), &self.id.clone(), lineage)?;
        Ok(self.progress()?.is_some_and(|written| written >= epoch))
    }

    fn attempt(&self, output: &Output, without: &[usize]) -> std::result::Result<(), Trouble> {
        let topic = &self.around.writing.topic;
        self.refused.lock().clear();
        self.insist(|| self.producer.begin_transaction())?;
        for (number, message) in output.messages().enumerate() {
            let message = message.map_err(Trouble::Ends)?;
            if without.contains(&number) {
                continue;
            }
            let mut record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(topic, number);
            record.payload = message.payload;
            record.key = message.key;
            record.partition = message.partition;
            if let Err((error, _)) = self.producer.send(record) {
                let code = error.rdkafka_error_code();
                if code.is_some_and(is_about_the_row) {
                    self.refused.lock().push((number, error.to_string()));
                }
                return Err(Trouble::Abort(error.to_string()));
            }
        }
        failpoint::hit("kafka-messages-sent");
        let mut offsets = TopicPartitionList::new();
        let epoch = i64::try_from(output.epoch).unwrap_or(i64::MAX);
        offsets.add_partition_offset(topic, 0, Offset::Offset(epoch)).map_err(|error| {
            Trouble::Ends(Error::internal(format!("epoch {epoch} is no offset: {error}")))
        })?;
        let group = self.consumer.group_metadata();
        let group = group.ok_or_else(|| Trouble::Ends(Error::internal("a consumer without a group")))?;
        self.insist(|| self.producer.send_offsets_to_transaction(&offsets, &group, CALL))?;
        failpoint::hit("kafka-before-commit");
        self.insist(|| self.producer.commit_transaction(CALL))?;
        failpoint::hit("kafka-after-commit");
        Ok(())
    }

    /// Calls until librdkafka does not ask to be called again.
    fn insist(&self, call: impl Fn() -> KafkaResult<()>) -> std::result::Result<(), Trouble> {
        loop {
            self.check().map_err(Trouble::Ends)?;
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() => self.pause(&error.to_string()),
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Err(Trouble::Abort(error.to_string()));
                }
                Err(KafkaError::Transaction(error)) => {
                    return Err(Trouble::Fatal(error.code(), error.to_string()));
                }
                Err(error) => return Err(Trouble::Abort(error.to_string())),
            }
        }
    }

    /// Sends what the brokers refuse to the dead letters, once each.
    fn reject(&self, output: &Output, refused: &[(usize, String)], without: &mut Vec<usize>) -> Result<()> {
        for (number, text) in refused {
            if without.contains(number) {
                continue;
            }
            without.push(*number);
            if let Some(message) = output.messages().nth(*number) {
                let error = Error::data(format!("Kafka refused the message: {text}"));
                self.around.errors.reject(message?.payload.unwrap_or_default(), error)?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.around.is_stopping.load(Ordering::Acquire) {
            return Err(Error::closed("the sink is gone"));
        }
        Ok(())
    }

    fn pause(&self, reason: &str) {
        self.around.watch.down(reason);
        std::thread::sleep(self.around.clock.sleep_for(PAUSE));
    }
}
