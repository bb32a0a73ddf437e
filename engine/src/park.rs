//! Parking: how a worker sleeps when nothing is to be done, and how whoever makes work for it wakes it.
//!
//! Invariant: a [`Signal::notify`] that happens after the owner last looked for work and before it parks is never
//! lost: `park` then returns at once. The owner looks, parks, looks again; a notifier makes the work visible,
//! then notifies. std's own park token is not used alone because a library on the same thread may swallow it.

use std::sync::OnceLock;
use std::time::Duration;

use crate::sync::{AtomicU32, Ordering, thread};

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// One worker's bell. Anybody may ring it; only the worker that owns it parks on it.
#[derive(Debug)]
pub struct Signal {
    state: AtomicU32,
    owner: OnceLock<thread::Thread>,
}

impl Default for Signal {
    fn default() -> Self {
        Self { state: AtomicU32::new(EMPTY), owner: OnceLock::new() }
    }
}

impl Signal {
    /// Makes the calling thread the one that parks. A notification before this is kept.
    pub fn own(&self) {
        // A second call from the same thread changes nothing; a signal never changes threads.
        let _ = self.owner.set(thread::current());
    }

    /// Wakes the owner, or makes its next `park` return at once. One swap when the owner is running.
    pub fn notify(&self) {
        // Release: what the notifier wrote before is seen by the owner, whose park acquires. The swap also
        // orders against the owner's compare_exchange, so one of the two sees the other.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED
            && let Some(owner) = self.owner.get()
        {
            owner.unpark();
        }
    }

    /// Sleeps until notified, or for `timeout`. Returns at once when notified since the last `park`.
    pub fn park(&self, timeout: Option<Duration>) {
        if self.state.compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            loop {
                match timeout {
                    Some(limit) => park_timeout(limit),
                    None => thread::park(),
                }
                // A spurious wake-up with no deadline sleeps on; with one, returning early is harmless.
                if timeout.is_some() || self.state.load(Ordering::Acquire) == NOTIFIED {
                    break;
                }
            }
        }
        // Whatever woke us, the caller looks at every queue next, so the notification is spent. Acquire pairs
        // with the notifier's release even when the load above saw PARKED.
        self.state.swap(EMPTY, Ordering::AcqRel);
    }
}

#[cfg(not(loom))]
fn park_timeout(limit: Duration) {
    thread::park_timeout(limit);
}

#[cfg(loom)]
fn park_timeout(_limit: Duration) {
    thread::yield_now();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_notification_before_parking_is_kept() {
        let signal = Signal::default();
        signal.own();
        signal.notify();
        signal.park(None);
    }

    #[test]
    fn another_thread_wakes_the_owner() {
        let signal = Arc::new(Signal::default());
        signal.own();
        let ringer = Arc::clone(&signal);
        let other = std::thread::spawn(move || ringer.notify());
        signal.park(None);
        other.join().unwrap();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::{Arc, AtomicBool};

    #[test]
    fn no_wakeup_is_lost() {
        loom::model(|| {
            let signal = Arc::new(Signal::default());
            let work = Arc::new(AtomicBool::new(false));
            signal.own();
            let (ringer, made) = (Arc::clone(&signal), Arc::clone(&work));
            let other = thread::spawn(move || {
                made.store(true, Ordering::Relaxed);
                ringer.notify();
            });
            while !work.load(Ordering::Relaxed) {
                signal.park(None);
            }
            other.join().unwrap();
        });
    }
}
