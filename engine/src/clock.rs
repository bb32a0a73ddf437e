//! The only door through which time enters.
//!
//! Operators, connectors and metrics ask a [`Clock`]; clippy.toml bans the standard clocks everywhere else.
//! So a test, and later a simulation, can hold time still or step it. What time it is, for people and for columns, is the
//! wall clock's, which may be set to any other time under a running job; how long something lasts never is.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time. Cheap to ask: called several times a batch.
pub trait Clock: Send + Sync + Debug {
    /// Wall-clock time in milliseconds since 1970-01-01 UTC; may step backwards.
    fn now_ms(&self) -> i64;
    /// Milliseconds since 1970-01-01 UTC as the wall clock was when the process began, and what has passed since: never
    /// steps, whatever the wall clock is set to. For what lasts a while, and may last over a restart.
    fn steady_ms(&self) -> i64;
    /// Nanoseconds since an arbitrary start; never steps backwards.
    fn monotonic_ns(&self) -> u64;
    /// How long a thread may really sleep for `wait` of this clock's time. A clock that a test steps
    /// answers with something short, so that sleepers look again.
    fn sleep_for(&self, wait: Duration) -> Duration {
        wait
    }
}

/// Shared handle to a clock.
pub type ClockRef = Arc<dyn Clock>;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// What the wall clock showed then.
    start_ms: i64,
}

impl SystemClock {
    /// A handle to the machine's clocks.
    pub fn shared() -> ClockRef {
        Arc::new(Self::default())
    }
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn default() -> Self {
        Self { start: Instant::now(), start_ms: wall_ms() }
    }
}

#[allow(clippy::disallowed_methods)]
fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        wall_ms()
    }

    fn steady_ms(&self) -> i64 {
        let since_ms = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(since_ms)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until somebody moves it.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    steady_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `now_ms` until moved.
    pub fn at(now_ms: i64) -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicI64::new(now_ms), steady_ms: AtomicI64::new(now_ms) })
    }

    /// Lets `ms` pass.
    pub fn advance(&self, ms: i64) {
        self.steady_ms.fetch_add(ms, Ordering::SeqCst);
        self.step(ms);
    }

    /// Sets the wall clock forward by `ms`, or back, while no time passes.
    pub fn step(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.steady_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.steady_ms()).unwrap_or(0).saturating_mul(1_000_000)
    }

    fn sleep_for(&self, wait: Duration) -> Duration {
        wait.min(Duration::from_millis(1))
    }
}
