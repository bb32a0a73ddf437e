//! What the worker, the pump and the connector's task share of an outbox: its ledger, behind a lock, and who is rung.
//!
//! Invariants: the gauges of the metrics follow each change; room is given back in steps, so that the log's thread is not
//! woken for every record; a pump that waits for room among refused rows is rung when there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::ledger::{Ledger, Refused};
use crate::error::Error;
use crate::journal::Tail;
use crate::metrics::OperatorMetrics;
use crate::park::Signal;

/// Records that are done before their room is asked back, while others are not.
const RELEASE_STEP: u64 = 64;
/// Bytes of refused rows that may wait for the worker before nothing more is sent.
pub(super) const REFUSED_BYTES_MAX: usize = 4 << 20;

/// See the module's page.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Nothing more is to be sent: the sink is going away.
    pub is_ending: AtomicBool,
    /// The worker wants to be rung now and then, to see whether something goes on.
    pub is_watched: AtomicBool,
    tail: Tail,
    metrics: Arc<OperatorMetrics>,
    worker: Arc<Signal>,
    pub pump: Arc<Signal>,
}

struct Inner {
    ledger: Ledger,
    released: u64,
    /// How many records were settled in all.
    settled: u64,
    failed: Option<Error>,
}

impl Shared {
    pub fn new(tail: Tail, metrics: Arc<OperatorMetrics>, worker: Arc<Signal>, pump: Arc<Signal>) -> Self {
        let inner = Inner { ledger: Ledger::default(), released: 0, settled: 0, failed: None };
        Self {
            inner: Mutex::new(inner),
            is_ending: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            tail,
            metrics,
            worker,
            pump,
        }
    }

    /// Reads or changes the ledger.
    pub fn with<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = change(&mut inner.ledger);
        self.follow(&mut inner);
        result
    }

    /// All from `first` to `last` are through.
    pub fn done(&self, first: u64, last: u64) {
        let mut inner = self.inner.lock();
        inner.ledger.done(first, last);
        inner.settled += 1;
        self.follow(&mut inner);
        if inner.ledger.pending() == 0 {
            // An end may wait for it.
            self.worker.notify();
        }
    }

    /// A record will not be sent: the worker is to route its rows.
    pub fn refuse(&self, refused: Refused) {
        let mut inner = self.inner.lock();
        inner.ledger.refuse(refused);
        inner.settled += 1;
        drop(inner);
        self.worker.notify();
    }

    /// How many records were settled in all.
    pub fn settled(&self) -> u64 {
        self.inner.lock().settled
    }

    /// The pump cannot go on.
    pub fn fail(&self, error: Error) {
        self.inner.lock().failed.get_or_insert(error);
        self.worker.notify();
    }

    /// Why the pump cannot go on.
    pub fn failed(&self) -> Option<Error> {
        self.inner.lock().failed.clone()
    }

    /// Rings the worker, if it watches.
    pub fn ring_watcher(&self) {
        if self.is_watched.load(Ordering::Acquire) {
            self.worker.notify();
        }
    }

    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    fn follow(&self, inner: &mut MutexGuard<'_, Inner>) {
        let (pending, released) = (inner.ledger.pending(), inner.ledger.released());
        if released >= inner.released + RELEASE_STEP || (pending == 0 && released > inner.released) {
            inner.released = released;
            self.tail.release(released);
        }
        self.metrics.outbox_depth.store(pending, Ordering::Relaxed);
        self.metrics.outbox_bytes.store(self.tail.disk_bytes(), Ordering::Relaxed);
        let oldest_ms = inner.ledger.oldest_ms().unwrap_or(0);
        self.metrics.outbox_oldest_ms.store(oldest_ms, Ordering::Relaxed);
    }
}
