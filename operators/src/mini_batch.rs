//! Mini-batches: what changes is held back for a while, so that many changes of a key become one.
//!
//! Without one an operator answers each batch. With one it answers when the first change it holds back has waited for so
//! long, when so many rows have come, at a barrier and at the end: what is held back is no state. Flink:
//! MiniBatchGroupAggFunction and the triggers of its bundles.

use millstream_engine::Output;

/// How long changes may be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MiniBatch {
    /// So long.
    pub latency_ms: i64,
    /// Until so many rows have come.
    pub rows_max: usize,
}

/// What is held back, as far as time and number go.
#[derive(Debug)]
pub(crate) struct Held {
    limit: Option<MiniBatch>,
    rows: usize,
    due_ms: i64,
}

impl Held {
    pub fn new(limit: Option<MiniBatch>) -> Self {
        Self { limit, rows: 0, due_ms: i64::MAX }
    }

    /// Counts rows that came. True when they are to be answered now; else a timer is set for it.
    pub fn add(&mut self, rows: usize, out: &mut Output<'_>) -> bool {
        let Some(limit) = self.limit else { return true };
        if self.rows == 0 {
            self.due_ms = out.now_ms().saturating_add(limit.latency_ms);
        }
        self.rows += rows;
        out.set_timer(self.due_ms);
        self.rows >= limit.rows_max
    }

    /// True when what is held back has waited long enough.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.rows > 0 && self.due_ms <= now_ms
    }

    /// Sets the timer again that another one has passed over.
    pub fn set_timer(&self, out: &mut Output<'_>) {
        if self.rows > 0 {
            out.set_timer(self.due_ms);
        }
    }

    /// All is answered.
    pub fn clear(&mut self) {
        self.rows = 0;
    }
}
