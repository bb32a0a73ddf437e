//! What librdkafka says about its connections: the link's state in the metrics, and lines in the log.
//!
//! Invariant: librdkafka tries again for ever by itself; here is only told when an outage begins, when its reason
//! changes, and when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use millstream_engine::metrics::{Link, OperatorMetrics};

/// One client's link.
pub(super) struct Watch {
    table: String,
    brokers: String,
    metrics: Arc<OperatorMetrics>,
    is_up: AtomicBool,
    /// Why it is down, as it was last logged, and whether it was up before.
    logged: Mutex<(Option<String>, bool)>,
}

impl Watch {
    pub fn new(table: &str, brokers: &str, metrics: &Arc<OperatorMetrics>) -> Arc<Self> {
        metrics.set_link(Link::Down);
        Arc::new(Self {
            table: table.to_owned(),
            brokers: brokers.to_owned(),
            metrics: Arc::clone(metrics),
            is_up: AtomicBool::new(false),
            logged: Mutex::new((None, false)),
        })
    }

    /// Whether the brokers answered last.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// A broker has answered.
    pub fn up(&self) {
        if self.is_up.swap(true, Ordering::Relaxed) {
            return;
        }
        self.metrics.set_link(Link::Up);
        let mut logged = self.logged.lock();
        if std::mem::replace(&mut logged.1, true) {
            self.metrics.reconnects.add(1);
        }
        if logged.0.take().is_some() {
            tracing::info!(table = %self.table, "Kafka at {} is connected again", self.brokers);
        }
    }

    /// No broker can be used, for `reason`.
    pub fn down(&self, reason: &str) {
        self.is_up.store(false, Ordering::Relaxed);
        self.metrics.set_link(Link::Down);
        let mut logged = self.logged.lock();
        if logged.0.as_deref() != Some(reason) {
            logged.0 = Some(reason.to_owned());
            tracing::warn!(table = %self.table, "Kafka at {}: {reason}; trying again until it answers", self.brokers);
        }
    }

    /// What librdkafka reports on its own.
    pub fn report(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.down("no broker can be reached"),
            Some(RDKafkaErrorCode::Authentication) => {
                self.down(&format!(
                    "authentication failed: look at 'properties.sasl.*' and 'properties.ssl.*' ({reason})"
                ));
            }
            _ => tracing::debug!(table = %self.table, "Kafka at {}: {error}: {reason}", self.brokers),
        }
    }
}

/// Hands librdkafka's reports to the watch.
pub(super) struct Context(pub Arc<Watch>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(table = %self.0.table, "librdkafka {facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.report(&error, reason);
    }
}

impl ConsumerContext for Context {}
