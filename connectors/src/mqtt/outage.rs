//! When to connect again, and what the log and the metrics say meanwhile.
//!
//! The n-th attempt of an outage waits between half and all of `initial * 2^(n-1)`, at most the maximum. What somebody
//! has to mend (credentials, rights, a client id used twice) is tried at the maximum from the start: trying faster
//! could lock an account. A connection that did not last does not end the outage, so that two clients that throw each
//! other out do so ever more slowly. There is no last attempt.
//!
//! Of several brokers, the next is tried at once when an attempt fails or a connection did not last, and the wait comes
//! when all were tried; when a connection that lasted is lost, it begins with the first again.
//!
//! The log gets a line when an outage begins, when its reason changes, every five minutes, and when it ends.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use millstream_engine::keys::hash_bytes;
use millstream_engine::metrics::{Link as LinkState, OperatorMetrics};
use millstream_engine::{ClockRef, Error, ErrorKind, InstanceContext};

use super::broker::Broker;
use super::settings::Link;

/// A connection that lasted as long ends the outage before it.
const LASTING_NS: u64 = 10_000_000_000;
/// Lines about the same reason are this far apart.
const REPEAT_NS: u64 = 300_000_000_000;
/// Lines about different reasons are this far apart.
const CHANGE_NS: u64 = 5_000_000_000;
/// Connections in a row that did not last before the log suspects another client.
const SHORT_LIVED: u32 = 4;

/// The state of one connection over its lives.
pub(super) struct Outage {
    link: Arc<Link>,
    client_id: String,
    /// Which of the link's brokers is tried, or connected to.
    turn: usize,
    random: SmallRng,
    clock: ClockRef,
    metrics: Arc<OperatorMetrics>,
    /// Attempts and short connections since the last lasting one.
    failures: u32,
    short_lived: u32,
    /// When the connection that is up came up.
    up_ns: Option<u64>,
    was_up: bool,
    /// For each broker, what the log was told of it.
    logged: Vec<Logged>,
}

/// What the log was told of one broker since the last connection.
#[derive(Default)]
struct Logged {
    reason: Option<String>,
    next_repeat_ns: u64,
    next_change_ns: u64,
}

impl Outage {
    pub fn new(link: Arc<Link>, client_id: &str, context: &InstanceContext) -> Self {
        let seed = hash_bytes(client_id.as_bytes()) ^ context.clock.monotonic_ns();
        context.metrics.set_link(LinkState::Down);
        let logged = link.brokers.iter().map(|_| Logged::default()).collect();
        Self {
            link,
            client_id: client_id.to_owned(),
            turn: 0,
            random: SmallRng::seed_from_u64(seed),
            clock: ClockRef::clone(&context.clock),
            metrics: Arc::clone(&context.metrics),
            failures: 0,
            short_lived: 0,
            up_ns: None,
            was_up: false,
            logged,
        }
    }

    /// The broker whose turn it is.
    pub fn broker(&self) -> &Broker {
        self.link.broker(self.turn)
    }

    /// The connection is up and does its work.
    pub fn up(&mut self) {
        self.metrics.set_link(LinkState::Up);
        if self.was_up {
            self.metrics.reconnects.add(1);
        }
        self.was_up = true;
        self.up_ns = Some(self.clock.monotonic_ns());
        if self.logged.iter_mut().filter_map(|logged| logged.reason.take()).count() > 0 {
            tracing::info!(table = %self.link.table, attempts = self.failures, "{} is connected again", self.broker());
        } else {
            tracing::debug!(table = %self.link.table, client_id = %self.client_id, "{} is connected", self.broker());
        }
    }

    /// The connection is gone, or did not come about. Answers how long to wait before the next.
    pub fn down(&mut self, error: &Error) -> Duration {
        self.metrics.set_link(LinkState::Down);
        let now_ns = self.clock.monotonic_ns();
        let failed = self.turn;
        let has_lasted = self.up_ns.is_some_and(|up_ns| now_ns.saturating_sub(up_ns) >= LASTING_NS);
        match self.up_ns.take() {
            Some(_) if has_lasted => {
                self.failures = 0;
                self.short_lived = 0;
            }
            Some(_) => self.short_lived += 1,
            None => self.short_lived = 0,
        }
        self.turn = if has_lasted { 0 } else { (failed + 1) % self.link.brokers.len() };
        if self.turn > 0 {
            self.log(error, failed, Duration::ZERO, now_ns);
            return Duration::ZERO;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = self.link.backoff(self.failures, error.kind(), &mut self.random);
        self.log(error, failed, wait, now_ns);
        wait
    }

    fn log(&mut self, error: &Error, failed: usize, wait: Duration, now_ns: u64) {
        let mut text = error.to_string();
        if self.short_lived >= SHORT_LIVED {
            text += &format!(
                " ({} times soon after connecting: does another client use client id '{}'?)",
                self.short_lived, self.client_id
            );
        }
        let (broker, reason) = (self.link.broker(failed), error.to_string());
        let logged = &mut self.logged[failed];
        let is_new = logged.reason.as_ref() != Some(&reason);
        if now_ns < if is_new { logged.next_change_ns } else { logged.next_repeat_ns } {
            return;
        }
        logged.reason = Some(reason);
        logged.next_change_ns = now_ns + CHANGE_NS;
        logged.next_repeat_ns = now_ns + REPEAT_NS;
        let next = match wait {
            Duration::ZERO => format!("the next is {}", self.broker()),
            wait => format!("next attempt in {wait:.1?}"),
        };
        let (table, attempts) = (&self.link.table, self.failures);
        if error.kind() == ErrorKind::Config {
            tracing::error!(%table, attempts, "{broker}: {text}; {next}");
        } else {
            tracing::warn!(%table, attempts, "{broker}: {text}; {next}");
        }
    }
}
