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

use millstream_engine::metrics::{Link, OperatorMetrics};
use millstream_engine::{ClockRef, InstanceContext};

/// An outage that lasts is told again after as long.
const AGAIN_NS: u64 = 60_000_000_000;

/// One client's link.
pub(super) struct Watch {
    pub table: String,
    brokers: String,
    metrics: Arc<OperatorMetrics>,
    clock: ClockRef,
    is_up: AtomicBool,
    is_suspect: AtomicBool,
    was_up: AtomicBool,
    /// Whether this instance counts in the outage.
    is_away: AtomicBool,
    /// Rung when the link is suspect.
    suspicion: Notify,
    outage: Told,
}

/// What is told of a table's outages, shared by its instances.
pub(super) type Told = Arc<Mutex<Outage>>;

/// An outage, by the monotonic clock, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since_ns: Option<u64>,
    told_ns: u64,
    /// Instances that have no link, or may have none.
    away: usize,
    /// Why, where librdkafka knew it better than those who ask.
    cause: Option<String>,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Begins,
    Lasts(Duration),
}

impl Outage {
    fn down(&mut self, is_new: bool, now_ns: u64) -> Option<News> {
        self.away += usize::from(is_new);
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

    /// How long it was, if there was one and the last instance is back.
    fn up(&mut self, now_ns: u64) -> Option<Duration> {
        self.away = self.away.saturating_sub(1);
        if self.away > 0 {
            return None;
        }
        self.cause = None;
        self.since_ns.take().map(|since_ns| Duration::from_nanos(now_ns.saturating_sub(since_ns)))
    }
}

impl Watch {
    pub fn new(table: &str, brokers: &str, outage: &Told, context: &InstanceContext) -> Arc<Self> {
        context.metrics.set_link(Link::Down);
        Arc::new(Self {
            table: table.to_owned(),
            brokers: brokers.to_owned(),
            metrics: Arc::clone(&context.metrics),
            clock: Arc::clone(&context.clock),
            was_up: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            is_up: AtomicBool::new(false),
            is_suspect: AtomicBool::new(true),
            suspicion: Notify::new(),
            outage: Arc::clone(outage),
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
        if !self.is_up.swap(true, Ordering::Relaxed) {
            self.metrics.set_link(Link::Up);
            if self.was_up.swap(true, Ordering::Relaxed) {
                self.metrics.reconnects.add(1);
            }
        }
        if self.is_away.swap(false, Ordering::Relaxed)
            && let Some(lasted) = outage.up(self.clock.monotonic_ns())
        {
            tracing::info!(table = %self.table, "Kafka at {} can be used again after {} s", self.brokers, lasted.as_secs());
        }
    }

    /// No broker can be used, for `reason`.
    pub fn down(&self, reason: &str) {
        let mut outage = self.outage.lock();
        self.is_up.store(false, Ordering::Relaxed);
        self.metrics.set_link(Link::Down);
        let is_new = !self.is_away.swap(true, Ordering::Relaxed);
        let news = outage.down(is_new, self.clock.monotonic_ns());
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

    /// The brokers may be away: they have to be asked.
    pub fn suspect(&self) {
        // It counts from now on: otherwise an instance that learns of the outage only after another one is back would
        // tell it once more.
        let mut outage = self.outage.lock();
        outage.away += usize::from(!self.is_away.swap(true, Ordering::Relaxed));
        self.is_suspect.store(true, Ordering::Relaxed);
        self.suspicion.notify_one();
    }

    /// What librdkafka reports on its own.
    pub fn report(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.suspect();
            }
            Some(RDKafkaErrorCode::Authentication) => {
                let cause = format!(
                    "authentication failed: look at 'properties.sasl.*' and 'properties.ssl.*' ({reason})"
                );
                self.outage.lock().cause = Some(cause);
                self.down("authentication failed");
            }
            Some(RDKafkaErrorCode::SSL) => {
                self.outage.lock().cause = Some(format!("TLS failed: look at 'properties.ssl.*' ({reason})"));
                self.down("TLS failed");
            }
            // Says which broker and why, where asking says only that nobody answered.
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
                self.outage.lock().cause = Some(reason.to_owned());
            }
            _ => tracing::debug!(table = %self.table, "Kafka at {}: {error}: {reason}", self.brokers),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.is_away.load(Ordering::Relaxed) {
            self.outage.lock().up(0);
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
    fn an_outage_is_told_when_it_begins_each_minute_and_when_the_last_instance_is_back() {
        let mut outage = Outage::default();
        let second = 1_000_000_000;
        let told: Vec<(u64, News)> =
            (10..150).filter_map(|at| outage.down(at < 12, at * second).map(|news| (at, news))).collect();
        let lasts = |seconds| News::Lasts(Duration::from_secs(seconds));
        assert_eq!(told, vec![(10, News::Begins), (70, lasts(60)), (130, lasts(120))]);
        assert_eq!(outage.up(150 * second), None, "one of two instances is still away");
        assert_eq!(outage.up(155 * second), Some(Duration::from_secs(145)));
        assert_eq!(outage.down(true, 157 * second), Some(News::Begins));
    }
}
