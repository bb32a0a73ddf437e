//! What travels on every edge of the graph.
//!
//! Order matters: an element says something about everything before it on its channel, never about what another
//! channel carries. The input gate (gate.rs) is where channels meet.

use crate::batch::Batch;

/// Number of a checkpoint, counting up from 1 within a job and continuing after a restore.
pub type Epoch = u64;

/// The watermark that says no row will come any more: windows that are still open close.
pub const WATERMARK_MAX_MS: i64 = i64::MAX;
/// The watermark before anything was seen.
pub const WATERMARK_MIN_MS: i64 = i64::MIN;

/// One thing on a channel.
#[derive(Debug, Clone)]
pub enum Element {
    /// Rows.
    Batch(Batch),
    /// No row with an event time at or below this is expected on this channel any more.
    Watermark {
        /// Milliseconds since 1970.
        time_ms: i64,
        /// Stamp of the batch that moved it, for latency (see [`Batch::ingested_ns`]); 0 when none did.
        ingested_ns: u64,
    },
    /// This channel has gone quiet: it leaves the minimum of watermarks until its next batch or watermark.
    Idle,
    /// Everything before belongs to checkpoint `epoch`, everything after to the next.
    Barrier(Epoch),
    /// Nothing follows.
    End,
}

impl Element {
    /// Bytes this element counts against a queue's limit.
    pub fn num_bytes(&self) -> usize {
        match self {
            // A floor keeps a flood of tiny batches from being free.
            Self::Batch(batch) => batch.num_bytes().max(64),
            _ => 16,
        }
    }
}
