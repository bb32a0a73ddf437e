//! The worker's side of a webhook: rows become JSON, get their ids, and leave as requests through the outlet.
//!
//! Invariants: every row written is in exactly one request, or with the dead letters if it cannot be encoded; a batch
//! that is open stays so no longer than the stream is busy (`on_quiet`), or [`OPEN_MAX_NS`] on one that never rests.
//! Open batches hold at most 'batch.max-bytes' a lane, lanes are at most 'max-in-flight'; behind them the outlet bounds
//! what waits. A barrier passes when all before it is delivered or with the dead letters, so the state is only the ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ArrayRef;

use millstream_engine::element::Epoch;
use millstream_engine::keys::{KeyHasher, hash_bytes};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ChangeKind, ClockRef, Error, InstanceContext, Ready, Result, Sink};

use super::dispatch::Delivery;
use super::ids::Ids;
use super::request::{BodyBuilder, Content};
use super::settings::Settings;

/// How long a batch may stay open on a stream that never rests; looked at with every write.
const OPEN_MAX_NS: u64 = 100_000_000;
/// Bytes of a CloudEvents envelope, roughly: only used to close a batch in time.
const ENVELOPE_BYTES: usize = 256;

/// One instance of a webhook sink.
pub(super) struct WebhookSink {
    settings: Arc<Settings>,
    /// Requests being filled, by lane.
    open: BTreeMap<u64, BodyBuilder>,
    /// Numbers the lanes of requests without a key: each is a lane of its own.
    next_lane: u64,
    running: Option<Running>,
}

/// What there is once the sink is open.
struct Running {
    delivery: Delivery,
    ids: Ids,
    clock: ClockRef,
}
