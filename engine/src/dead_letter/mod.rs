//! Where bad rows go: counted always, logged at a limited rate, the last ones kept for inspection, and all of them
//! to the table that `'dead-letter'` names (route.rs).
//!
//! A table's `'on-error'` option decides what a bad row does: `dead-letter` (default) puts it here, `skip` only
//! counts it, `fail` ends the job. [`RowErrors`] is what a connector instance holds and calls; [`DeadLetters`] is
//! the job's one ring, bounded in entries and bytes, oldest out first (its counter remembers them).

mod route;

pub use route::{Route, check_schema};

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::ClockRef;
use crate::error::{Error, Result};
use crate::metrics::OperatorMetrics;
use crate::options::{OptionSpec, Options};

/// The `'on-error'` option, shared by all connectors that decode or deliver.
pub const ON_ERROR_OPTION: OptionSpec = OptionSpec::new(
    "on-error",
    "dead-letter | skip | fail",
    "dead-letter",
    "What a row that cannot be decoded or delivered does: kept among the dead letters, only counted, or the job ends.",
);

/// Entries the ring keeps.
const LETTERS_MAX: usize = 1_000;
/// Payload bytes the ring keeps.
const LETTERS_BYTES_MAX: usize = 4 << 20;
/// Bytes of one payload that are kept.
const PAYLOAD_BYTES_MAX: usize = 4 << 10;
/// At most one log line in this time per connector instance.
const LOG_INTERVAL_NS: u64 = 5_000_000_000;

/// What a bad row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Counted, logged at a limited rate, kept for inspection.
    #[default]
    DeadLetter,
    /// Counted.
    Skip,
    /// The job ends with the row's error.
    Fail,
}

impl OnError {
    /// Reads the `'on-error'` option.
    ///
    /// # Errors
    /// If its value is unknown.
    pub fn from_options(options: &Options) -> Result<Self> {
        let choices = [("dead-letter", Self::DeadLetter), ("skip", Self::Skip), ("fail", Self::Fail)];
        Ok(options.choice(ON_ERROR_OPTION.key, &choices)?.unwrap_or_default())
    }
}

/// One bad row.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The operator (table) it came from or was going to.
    pub operator: String,
    /// What is wrong with it.
    pub error: String,
    /// Its payload, cut at 4 KiB.
    pub payload: Vec<u8>,
    /// How long the payload really was, in bytes.
    pub payload_bytes: usize,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
}

/// The last bad rows of a job.
#[derive(Debug, Default)]
pub struct DeadLetters {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
}

impl DeadLetters {
    /// The kept letters, oldest first.
    pub fn last(&self) -> Vec<DeadLetter> {
        self.ring.lock().letters.iter().cloned().collect()
    }

    fn push(&self, letter: DeadLetter) {
        let mut ring = self.ring.lock();
        ring.bytes += letter.payload.len();
        ring.letters.push_back(letter);
        while ring.letters.len() > LETTERS_MAX || ring.bytes > LETTERS_BYTES_MAX {
            match ring.letters.pop_front() {
                Some(oldest) => ring.bytes -= oldest.payload.len(),
                None => break,
            }
        }
    }
}

/// A connector instance's way to report bad rows.
#[derive(Debug, Clone)]
pub struct RowErrors {
    on_error: OnError,
    letters: Arc<DeadLetters>,
    metrics: Arc<OperatorMetrics>,
    clock: ClockRef,
    route: Option<Arc<Route>>,
    log: Arc<Mutex<LogLimit>>,
}

#[derive(Debug, Default)]
struct LogLimit {
    next_ns: u64,
    unlogged: u64,
}

impl RowErrors {
    /// For the instance that `metrics` belongs to.
    pub fn new(
        on_error: OnError,
        letters: Arc<DeadLetters>,
        metrics: Arc<OperatorMetrics>,
        clock: ClockRef,
    ) -> Self {
        Self { on_error, letters, metrics, clock, route: None, log: Arc::default() }
    }

    /// Sends letters to a table, too.
    #[must_use]
    pub fn with_route(self, route: Option<Arc<Route>>) -> Self {
        Self { route, ..self }
    }

    /// Reports one bad row. Returns when the row is counted and routed, and the work can go on.
    ///
    /// # Errors
    /// The row's own error, when the table says `'on-error' = 'fail'`.
    pub fn reject(&self, payload: &[u8], error: Error) -> Result<()> {
        match self.on_error {
            OnError::Fail => {
                return Err(error.at(&self.metrics.operator).remedy(
                    "the table says 'on-error' = 'fail'; 'dead-letter' would keep such rows aside and go on",
                ));
            }
            OnError::Skip => self.metrics.rows_skipped.add(1),
            OnError::DeadLetter => {
                self.metrics.rows_dead_letter.add(1);
                self.log_limited(payload, &error);
                let time_ms = self.clock.now_ms();
                let text = error.to_string();
                if let Some(route) = &self.route {
                    route.push(payload, text.clone(), &self.metrics.operator, time_ms);
                }
                self.letters.push(DeadLetter {
                    operator: self.metrics.operator.clone(),
                    error: text,
                    payload: payload[..payload.len().min(PAYLOAD_BYTES_MAX)].to_vec(),
                    payload_bytes: payload.len(),
                    time_ms,
                });
            }
        }
        Ok(())
    }

    fn log_limited(&self, payload: &[u8], error: &Error) {
        let now = self.clock.monotonic_ns();
        let mut log = self.log.lock();
        if now < log.next_ns {
            log.unlogged += 1;
            return;
        }
        let more = std::mem::take(&mut log.unlogged);
        log.next_ns = now + LOG_INTERVAL_NS;
        drop(log);
        tracing::warn!(
            table = %self.metrics.operator,
            unlogged = more,
            payload = %String::from_utf8_lossy(&payload[..payload.len().min(120)]),
            "bad row to the dead letters: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn errors(on_error: OnError) -> (RowErrors, Arc<DeadLetters>, Arc<OperatorMetrics>) {
        let (letters, metrics) =
            (Arc::<DeadLetters>::default(), OperatorMetrics::new("sensors", "source", 0));
        let errors = RowErrors::new(on_error, Arc::clone(&letters), Arc::clone(&metrics), ManualClock::at(5));
        (errors, letters, metrics)
    }

    #[test]
    fn keeps_the_last_within_its_limits_and_counts_all() {
        let (errors, letters, metrics) = errors(OnError::DeadLetter);
        for _ in 0..LETTERS_MAX + 500 {
            errors.reject(&[b'x'; PAYLOAD_BYTES_MAX * 2], Error::data("bad")).unwrap();
        }
        let kept = letters.last();
        assert_eq!(metrics.rows_dead_letter.get(), LETTERS_MAX as u64 + 500);
        assert!(kept.len() <= LETTERS_MAX && kept.len() * PAYLOAD_BYTES_MAX <= LETTERS_BYTES_MAX);
        assert_eq!(kept[0].payload_bytes, PAYLOAD_BYTES_MAX * 2);
        assert_eq!((kept[0].time_ms, kept[0].operator.as_str()), (5, "sensors"));
    }

    #[test]
    fn skip_counts_and_fail_fails() {
        let (skip, letters, metrics) = errors(OnError::Skip);
        skip.reject(b"x", Error::data("bad")).unwrap();
        assert_eq!((metrics.rows_skipped.get(), letters.last().len()), (1, 0));
        let (fail, _, _) = errors(OnError::Fail);
        assert!(fail.reject(b"x", Error::data("bad")).unwrap_err().to_string().contains("sensors: bad"));
    }
}
