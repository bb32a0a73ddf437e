//! What is in flight to the brokers: bytes, and what librdkafka's reports of deliveries come to.
//!
//! Invariants: a message counts until it is acknowledged or with the dead letters; a failure is stored before its bytes
//! are taken off, so a sink that finds nothing in flight and no failure has delivered all. Only what the brokers refuse
//! for good is a bad row, and what has waited longer than its outbox keeps it; what else is not delivered in
//! 'properties.delivery.timeout.ms' fails the job. Bytes of an outbox's records are its outlet's (consignment.rs).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::outbox::expired;
use millstream_engine::park::Signal;
use millstream_engine::{ClockRef, Error, InstanceContext, Result};

use super::consignment::Consignment;
use super::watch::Watch;
use super::writing::Writing;

/// What delivery reports change; shared with librdkafka's thread.
pub(super) struct Flight {
    bytes: AtomicUsize,
    bytes_max: usize,
    waker: Arc<Signal>,
    pub errors: RowErrors,
    metrics: Arc<OperatorMetrics>,
    pub watch: Arc<Watch>,
    clock: ClockRef,
    table: String,
    failure: Mutex<Option<Error>>,
}

/// Takes librdkafka's reports.
pub(super) struct Reports(pub Arc<Flight>);

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
    type DeliveryOpaque = Arc<Consignment>;

    fn delivery(&self, result: &DeliveryResult<'_>, consignment: Arc<Consignment>) {
        let (error, message) = match result {
            Ok(_) => {
                self.0.watch.up();
                return consignment.settle();
            }
            Err(failed) => failed,
        };
        let code = error.rdkafka_error_code();
        let waited_ms = consignment.expired_ms(self.0.clock.steady_ms());
        let why = match (code, waited_ms) {
            (Some(code), _) if is_about_the_row(code) => {
                Error::data(format!("Kafka refused the message: {error}"))
            }
            (Some(RDKafkaErrorCode::MessageTimedOut), Some(waited_ms)) => expired(waited_ms),
            _ => {
                return self.0.fail(
                    Error::unavailable(format!("a message was not delivered: {error}"))
                        .remedy("raise 'properties.delivery.timeout.ms', or leave it out"),
                );
            }
        };
        if let Err(error) = consignment.refuse(message.payload(), why, &self.0.errors) {
            self.0.fail(error);
        }
    }
}

/// The context of a producer that only asks.
pub(super) struct Quiet(pub Arc<Watch>);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::watch::Context(Arc::clone(&self.0)).log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.report(&error, reason);
    }
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// What sending again, or waiting, would not mend.
pub(super) fn is_about_the_row(code: RDKafkaErrorCode) -> bool {
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
    /// Nothing in flight yet.
    pub fn new(writing: &Writing, watch: Arc<Watch>, context: &InstanceContext) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            bytes_max: writing.outlet_bytes_max,
            waker: Arc::clone(&context.waker),
            errors: context.row_errors(writing.on_error),
            metrics: Arc::clone(&context.metrics),
            watch,
            clock: Arc::clone(&context.clock),
            table: writing.table.clone(),
            failure: Mutex::new(None),
        })
    }

    /// What ends the job with the next call of the sink; the first failure stays.
    pub fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert_with(|| error.at(&self.table));
        self.waker.notify();
    }

    /// A message of `bytes` is handed to librdkafka.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// A message of `bytes` is delivered, or with the dead letters.
    pub fn done(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let after = before - bytes;
        if after == 0 || (before >= self.bytes_max && after < self.bytes_max) {
            self.waker.notify();
        }
    }

    /// # Errors
    /// The failure, if there is one.
    pub fn check(&self) -> Result<()> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// True when there is a failure.
    pub fn has_failed(&self) -> bool {
        self.failure.lock().is_some()
    }

    /// True while less than the limit is in flight.
    pub fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Acquire) < self.bytes_max
    }

    /// True when all is delivered, or with the dead letters.
    pub fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Acquire) == 0
    }

    /// Shows in the metrics how much is in flight.
    pub fn show(&self) {
        self.metrics.queue_bytes.store(self.bytes.load(Ordering::Relaxed) as u64, Ordering::Relaxed);
    }
}
