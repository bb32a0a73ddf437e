//! What a format fetches from elsewhere, such as a schema registry: on the I/O side, before a source's messages go to the
//! worker and before a sink's first row is encoded.
//!
//! Invariants: a registry that is away or refuses us costs no message: it is asked again for ever with jittered backoff
//! (at 'reconnect.backoff.max' at once where somebody has to mend something), and the link is shown down meanwhile. What
//! is wrong with a payload itself is for its decoder to say. The log gets a line when this begins, when the reason
//! changes, every five minutes, and when it ends.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use millstream_engine::format::Prepare;
use millstream_engine::keys::hash_bytes;
use millstream_engine::metrics::{Link as LinkState, OperatorMetrics};
use millstream_engine::{ClockRef, Error, ErrorKind, InstanceContext};

use super::settings::Link;

/// Lines about the same reason are this far apart.
const REPEAT_NS: u64 = 300_000_000_000;

/// One side's attempts.
pub(super) struct Preparing {
    link: Arc<Link>,
    clock: ClockRef,
    metrics: Arc<OperatorMetrics>,
    random: SmallRng,
    /// Attempts since the last that worked.
    failures: u32,
    /// What the log was told, and when it is told of it again.
    logged: Option<(String, u64)>,
}

impl Preparing {
    pub fn new(link: &Arc<Link>, client_id: &str, context: &InstanceContext) -> Self {
        Self {
            link: Arc::clone(link),
            clock: ClockRef::clone(&context.clock),
            metrics: Arc::clone(&context.metrics),
            random: SmallRng::seed_from_u64(hash_bytes(client_id.as_bytes()) ^ context.clock.monotonic_ns()),
            failures: 0,
            logged: None,
        }
    }

    /// Tries once. Answers how long to wait before the next attempt, `None` when it would bring nothing new.
    pub async fn attempt(&mut self, prepare: Prepare) -> Option<Duration> {
        let error = match prepare.await {
            Err(error) if error.kind() != ErrorKind::Data => error,
            _ => {
                if self.logged.take().is_some() {
                    tracing::info!(table = %self.link.table, attempts = self.failures, "what the format needs is there again");
                }
                self.failures = 0;
                return None;
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.metrics.set_link(LinkState::Down);
        self.metrics.retries.add(1);
        let wait = self.link.backoff(self.failures, error.kind(), &mut self.random);
        self.log(&error, wait);
        Some(wait)
    }

    fn log(&mut self, error: &Error, wait: Duration) {
        let (now_ns, text) = (self.clock.monotonic_ns(), error.to_string());
        if self.logged.as_ref().is_some_and(|(logged, until_ns)| *logged == text && now_ns < *until_ns) {
            return;
        }
        let (table, attempts) = (&self.link.table, self.failures);
        if error.kind() == ErrorKind::Config {
            tracing::error!(%table, attempts, "messages wait for what their format needs: {text}; next attempt in {wait:.1?}");
        } else {
            tracing::warn!(%table, attempts, "messages wait for what their format needs: {text}; next attempt in {wait:.1?}");
        }
        self.logged = Some((text, now_ns.saturating_add(REPEAT_NS)));
    }
}
