//! What each operator instance counts, and how others read it.
//!
//! Invariant: every row that is dropped, late, malformed, retried or dead-lettered is in one of these counters.
//! An instance's counters have one writer, its worker (or its one I/O task), so adding is a plain add; readers see
//! a recent value. Counted per batch, not per row.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::element::{WATERMARK_MAX_MS, WATERMARK_MIN_MS};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a connector reaches its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// There is no other end.
    None,
    /// Connected.
    Up,
    /// Not (yet, or any more) connected.
    Down,
}

/// The counters of one operator instance.
#[derive(Debug)]
pub struct OperatorMetrics {
    /// Stable identity of the operator in its graph.
    pub operator: String,
    /// `source`, `sink`, or what the operator does.
    pub kind: String,
    /// Which of the operator's instances.
    pub instance: usize,
    /// Rows taken in.
    pub rows_in: Counter,
    /// Rows passed on.
    pub rows_out: Counter,
    /// Bytes taken in (sources: payload bytes).
    pub bytes_in: Counter,
    /// Bytes passed on.
    pub bytes_out: Counter,
    /// Nanoseconds inside the operator's own code.
    pub busy_ns: Counter,
    /// Rows dropped (or routed to the late output) because every window they belong to had closed.
    pub rows_late: Counter,
    /// Payloads and rows that went to the dead letters.
    pub rows_dead_letter: Counter,
    /// Bad rows dropped because the table says `'on-error' = 'skip'`.
    pub rows_skipped: Counter,
    /// Deliveries tried again.
    pub retries: Counter,
    /// Connections made after the first.
    pub reconnects: Counter,
    /// Messages that came again and were in the journal already.
    pub duplicates: Counter,
    /// Bytes of the journal on disk.
    pub journal_bytes: AtomicU64,
    /// Times the journal's disk was made to sync.
    pub journal_syncs: AtomicU64,
    /// Damaged pieces of the journal that were set aside when it was opened.
    pub journal_damaged: AtomicU64,
    /// Requests or messages that wait in the outbox, or are on their way.
    pub outbox_depth: AtomicU64,
    /// Bytes of the outbox on disk.
    pub outbox_bytes: AtomicU64,
    /// When the oldest of those that wait was put in, about, in ms since 1970; 0 when none waits.
    pub outbox_oldest_ms: AtomicI64,
    /// Bytes waiting in the queues in front of this operator.
    pub queue_bytes: AtomicU64,
    watermark_ms: AtomicI64,
    link: AtomicU8,
    latency: Mutex<Option<Histogram<u64>>>,
}

impl OperatorMetrics {
    /// Counters at zero.
    pub fn new(operator: &str, kind: &str, instance: usize) -> Arc<Self> {
        Arc::new(Self {
            operator: operator.to_owned(),
            kind: kind.to_owned(),
            instance,
            rows_in: Counter::default(),
            rows_out: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            busy_ns: Counter::default(),
            rows_late: Counter::default(),
            rows_dead_letter: Counter::default(),
            rows_skipped: Counter::default(),
            retries: Counter::default(),
            reconnects: Counter::default(),
            duplicates: Counter::default(),
            journal_bytes: AtomicU64::new(0),
            journal_syncs: AtomicU64::new(0),
            journal_damaged: AtomicU64::new(0),
            outbox_depth: AtomicU64::new(0),
            outbox_bytes: AtomicU64::new(0),
            outbox_oldest_ms: AtomicI64::new(0),
            queue_bytes: AtomicU64::new(0),
            watermark_ms: AtomicI64::new(WATERMARK_MIN_MS),
            link: AtomicU8::new(0),
            latency: Mutex::new(None),
        })
    }

    /// When the oldest of what waits in the outbox was put in, about.
    pub fn outbox_oldest_ms(&self) -> Option<i64> {
        Some(self.outbox_oldest_ms.load(Ordering::Relaxed)).filter(|time_ms| *time_ms != 0)
    }

    /// The last watermark passed on, if there was one.
    pub fn watermark_ms(&self) -> Option<i64> {
        match self.watermark_ms.load(Ordering::Relaxed) {
            WATERMARK_MIN_MS => None,
            time => Some(time),
        }
    }

    pub(crate) fn set_watermark_ms(&self, time_ms: i64) {
        if time_ms != WATERMARK_MAX_MS {
            self.watermark_ms.store(time_ms, Ordering::Relaxed);
        }
    }

    /// Whether the connector reaches its other end.
    pub fn link(&self) -> Link {
        match self.link.load(Ordering::Relaxed) {
            1 => Link::Up,
            2 => Link::Down,
            _ => Link::None,
        }
    }

    /// Connectors call this when their connection comes and goes.
    pub fn set_link(&self, link: Link) {
        let value = match link {
            Link::None => 0,
            Link::Up => 1,
            Link::Down => 2,
        };
        self.link.store(value, Ordering::Relaxed);
    }

    /// Records that a batch of `rows` took `ns` from entering the process to here. One uncontended lock a batch.
    pub fn record_latency(&self, ns: u64, rows: u64) {
        let mut latency = self.latency.lock();
        if latency.is_none() {
            // 1 us to 10 minutes at two digits: 10 kB.
            *latency = Histogram::new_with_bounds(1_000, 600_000_000_000, 2).ok();
        }
        if let Some(histogram) = latency.as_mut() {
            histogram.saturating_record_n(ns.max(1_000), rows);
        }
    }

    /// A copy of the latencies recorded so far, in nanoseconds.
    pub fn latency(&self) -> Option<Histogram<u64>> {
        self.latency.lock().clone()
    }
}
