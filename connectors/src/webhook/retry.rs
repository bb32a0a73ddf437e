//! When a failed request is tried again: jittered exponential backoff, `Retry-After`, attempts and deadline.
//!
//! The n-th retry waits between half and all of `initial * 2^(n-1)`, at most `max`; never less than what the
//! receiver's `Retry-After` says. No attempt begins after the deadline, which runs from the first attempt: a wait that
//! would reach past it is cut, so that the last attempt happens at the deadline rather than never. Jitter comes from a
//! seeded generator that the dispatcher owns.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// How the attempts at one request stand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    /// Attempts begun.
    pub attempts: u32,
    /// Those of them that reached nobody, where that does not count: what waits in an outbox waits for the line.
    unreached: u32,
    /// When the first attempt that counts began, by the monotonic clock; what does not count is taken out.
    started_ns: u64,
    /// How long it had been tried when an attempt last counted.
    elapsed_ns: u64,
    /// The time counts.
    is_running: bool,
}

impl Tries {
    /// An attempt begins.
    pub fn begin(&mut self, now_ns: u64) {
        if !std::mem::replace(&mut self.is_running, true) {
            self.started_ns = now_ns.saturating_sub(self.elapsed_ns);
        }
        self.attempts += 1;
    }

    /// An attempt has failed: how many have, of those that count, and how long they took.
    pub fn fail(&mut self, now_ns: u64) -> (u32, Duration) {
        self.elapsed_ns = now_ns.saturating_sub(self.started_ns);
        (self.attempts - self.unreached, Duration::from_nanos(self.elapsed_ns))
    }

    /// An attempt has reached nobody, and does not count: neither does the time from the last that did to the next.
    pub fn reach_nobody(&mut self) {
        self.unreached += 1;
        self.is_running = false;
    }

    /// Attempts that reached nobody and did not count.
    pub fn unreached(&self) -> u32 {
        self.unreached
    }
}

/// How often and how long a request is tried.
#[derive(Debug, Clone)]
pub(super) struct RetryPolicy {
    /// Attempts in all; at least one.
    pub attempts_max: u32,
    /// What the first retry waits at most.
    pub initial: Duration,
    /// What any retry's own backoff waits at most.
    pub max: Duration,
    /// How long after the first attempt the last one may begin.
    pub deadline: Duration,
}

impl RetryPolicy {
    /// How long to wait before the next attempt, after `attempts` of them over `elapsed`; `None` to give up.
    pub fn wait(
        &self,
        attempts: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
        random: &mut SmallRng,
    ) -> Option<Duration> {
        if attempts >= self.attempts_max || elapsed >= self.deadline {
            return None;
        }
        let backoff = self.backoff(attempts, random);
        let wanted = retry_after.map_or(backoff, |after| after.max(backoff));
        Some(wanted.min(self.deadline - elapsed))
    }

    /// How long to wait after `attempts` of them, whatever the deadline.
    pub fn backoff(&self, attempts: u32, random: &mut SmallRng) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(random.random_range(0.5..=1.0))
    }
}

/// Reads a `Retry-After` header: seconds, or an HTTP date, which lies `now_ms` in the past or ahead.
pub(super) fn retry_after(header: &str, now_ms: i64) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(header).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).ok()?);
    Some(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 10,
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
        }
    }

    #[test]
    fn backoff_doubles_within_its_limits_and_ends() {
        let random = &mut SmallRng::seed_from_u64(1);
        for (attempts, full_ms) in [(1, 200), (2, 400), (5, 3_200), (9, 30_000)] {
            for _ in 0..100 {
                let wait = policy().wait(attempts, Duration::ZERO, None, random).unwrap();
                let full = Duration::from_millis(full_ms);
                assert!(wait >= full / 2 && wait <= full, "{attempts}: {wait:?}");
            }
        }
        assert_eq!(policy().wait(10, Duration::ZERO, None, random), None);
        assert_eq!(policy().wait(1, Duration::from_secs(300), None, random), None);
        let unlimited = RetryPolicy { attempts_max: u32::MAX, ..policy() };
        assert!(unlimited.wait(u32::MAX - 1, Duration::ZERO, None, random).unwrap() <= policy().max);
    }

    #[test]
    fn attempts_that_reach_nobody_take_neither_attempts_nor_time() {
        let (mut tries, second) = (Tries::default(), 1_000_000_000);
        for n in 0..5 {
            tries.begin(n * second);
            tries.reach_nobody();
        }
        tries.begin(10 * second);
        assert_eq!(tries.fail(12 * second), (1, Duration::from_secs(2)));
        tries.begin(15 * second);
        tries.reach_nobody();
        tries.begin(200 * second);
        assert_eq!(tries.fail(201 * second), (2, Duration::from_secs(3)));
    }

    #[test]
    fn retry_after_is_a_floor_cut_at_the_deadline() {
        let random = &mut SmallRng::seed_from_u64(1);
        let after = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(policy().wait(1, Duration::ZERO, after(7), random), after(7));
        assert_eq!(policy().wait(1, Duration::from_secs(290), after(3_600), random), after(10));
        assert!(policy().wait(1, Duration::ZERO, after(0), random).unwrap() >= Duration::from_millis(100));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 120 ", 0), Some(Duration::from_secs(120)));
        let date = "Thu, 01 Jan 1970 00:01:00 GMT";
        assert_eq!(retry_after(date, 20_500), Some(Duration::from_millis(39_500)));
        assert_eq!(retry_after(date, 90_000), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0), None);
        assert_eq!(retry_after("-1", 0), None);
    }
}
