//! What is known of the connections: the link's state in the metrics, and lines in the log.
//!
//! Invariants: librdkafka tries again for ever by itself; here is only told of an outage, with one line when it begins,
//! one a minute while it lasts and one when it ends. That all brokers are away is only a suspicion, since librdkafka's
//! report may be old when it is read: whoever owns the client asks the brokers and says what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;

use millstream_engine::ClockRef;
use millstream_engine::metrics::{Link, OperatorMetrics};

/// An outage that lasts is told again after as long.
const AGAIN_NS: u64 = 60_000_000_000;

/// One client's link.
pub(super) struct Watch {
    table: String,
    brokers: String,
    metrics: Arc<OperatorMetrics>,
    clock: ClockRef,
    is_up: AtomicBool,
    is_suspect: AtomicBool,
    /// Rung when the link is suspect.
    suspicion: Notify,
    outage: Mutex<Outage>,
}

/// What was told of an outage, by the monotonic clock.
#[derive(Debug, Default)]
struct Outage {
    since_ns: Option<u64>,
    told_ns: u64,
    /// Why, where librdkafka knew it better than those who ask.
    cause: Option<String>,
    was_up: bool,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Begins,
    Lasts(Duration),
}

impl Outage {
    fn down(&mut self, now_ns: u64) -> Option<News> {
        let news = match self.since_ns {
            None => {
                self.since_ns = Some(now_ns);
                News::Begins
            }
            Some(_) if now_ns.saturating_sub(self.told_ns) < AGAIN_NS => return None,
            Some(since_ns) => News::Lasts(Duration::from_nanos(now_ns.saturating_sub(since_ns))),
        };
        self.told_ns = now_ns;
        Some(news)
    }

    /// How long it was, if there was one.
    fn up(&mut self, now_ns: u64) -> Option<Duration> {
        self.cause = None;
        self.since_ns.take().map(|since_ns| Duration::from_nanos(now_ns.saturating_sub(since_ns)))
    }
}

impl Watch {
    pub fn new(table: &str, brokers: &str, metrics: &Arc<OperatorMetrics>, clock: &ClockRef) -> Arc<Self> {
        metrics.set_link(Link::Down);
        Arc::new(Self {
            table: table.to_owned(),
            brokers: brokers.to_owned(),
            metrics: Arc::clone(metrics),
            clock: Arc::clone(clock),
            is_up: AtomicBool::new(false),
            is_suspect: AtomicBool::new(true),
            suspicion: Notify::new(),
            outage: Mutex::default(),
        })
    }

    /// Whether the brokers have to be asked: they did not answer last, or may be away.
    pub fn has_to_ask(&self) -> bool {
        !self.is_up.load(Ordering::Relaxed) || self.is_suspect.load(Ordering::Relaxed)
    }

    /// Waits until the brokers have to be asked.
    pub async fn suspected(&self) {
        while !self.has_to_ask() {
            self.suspicion.notified().await;
        }
    }

    /// A broker has answered.
    pub fn up(&self) {
        if !self.has_to_ask() {
            return;
        }
        let mut outage = self.outage.lock();
        self.is_suspect.store(false, Ordering::Relaxed);
        if self.is_up.swap(true, Ordering::Relaxed) {
            return;
        }
        self.metrics.set_link(Link::Up);
        if std::mem::replace(&mut outage.was_up, true) {
            self.metrics.reconnects.add(1);
        }
        if let Some(lasted) = outage.up(self.clock.monotonic_ns()) {
            tracing::info!(table = %self.table, "Kafka at {} can be used again after {} s", self.brokers, lasted.as_secs());
        }
    }

    /// No broker can be used, for `reason`.
    pub fn down(&self, reason: &str) {
        let mut outage = self.outage.lock();
        self.is_up.store(false, Ordering::Relaxed);
        self.metrics.set_link(Link::Down);
        let news = outage.down(self.clock.monotonic_ns());
        let reason = outage.cause.as_deref().unwrap_or(reason);
        match news {
            None => {}
            Some(News::Begins) => {
                tracing::warn!(table = %self.table, "Kafka at {}: {reason}; trying again until it answers", self.brokers);
            }
            Some(News::Lasts(time)) => {
                let seconds = time.as_secs();
                tracing::warn!(table = %self.table, "Kafka at {}: {reason}; for {seconds} s now, still trying", self.brokers);
            }
        }
        self.suspicion.notify_one();
    }

    /// What librdkafka reports on its own.
    pub fn report(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.is_suspect.store(true, Ordering::Relaxed);
                self.suspicion.notify_one();
            }
            Some(RDKafkaErrorCode::Authentication) => {
                let cause = format!(
                    "authentication failed: look at 'properties.sasl.*' and 'properties.ssl.*' ({reason})"
                );
                self.outage.lock().cause = Some(cause);
                self.down("authentication failed");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_each_minute_and_when_it_ends() {
        let mut outage = Outage::default();
        let second = 1_000_000_000;
        assert_eq!(outage.up(0), None, "there was none");
        let told: Vec<(u64, News)> =
            (10..150).filter_map(|at| outage.down(at * second).map(|news| (at, news))).collect();
        let lasts = |seconds| News::Lasts(Duration::from_secs(seconds));
        assert_eq!(told, vec![(10, News::Begins), (70, lasts(60)), (130, lasts(120))]);
        assert_eq!(outage.up(155 * second), Some(Duration::from_secs(145)));
        assert_eq!(outage.up(156 * second), None);
        assert_eq!(outage.down(157 * second), Some(News::Begins));
    }
}
