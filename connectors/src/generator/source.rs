//! Polls the rows of a generated table, at their time or as fast as they are taken.
//!
//! Paced, a row is due at the start plus its scheduled time, by the job's monotonic clock; between rows the worker
//! sleeps. The start is kept in checkpoints, so a restored source catches up with the clock, as nexmark-flink's does.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_array::RecordBatch;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ClockRef, Error, InstanceContext, Output, Result, Source, SourcePoll};

use super::origin::Origin;
use super::{BaseTime, Lanes, Schedule};

/// Rows in a block when nothing paces them: a batch of the default size.
const BLOCK_ROWS: u64 = 4_096;
/// Paced, an instance makes at most this share of a second's rows before it is the next one's turn, so that no
/// instance holds back event time for longer.
const BLOCKS_PER_SECOND: u64 = 500;

/// Makes rows by their number.
pub(crate) trait Rows: Send {
    /// Rows `first .. first + len` of a table whose row 0 has time `base_ms`.
    ///
    /// # Errors
    /// Ends the job.
    fn rows(&mut self, first: u64, len: usize, base_ms: i64) -> Result<RecordBatch>;
}

/// How a table's rows come; shared by all instances of its source.
#[derive(Debug)]
pub(crate) struct Plan {
    pub schedule: Schedule,
    /// Rows come at their time, not as fast as they are taken.
    pub paced: bool,
    pub base: BaseTime,
    /// How many rows there are; `u64::MAX` for no end.
    pub rows: u64,
    /// When all rows are made, wait instead of ending.
    pub keep_alive: bool,
    origin: OnceLock<Origin>,
}

impl Plan {
    pub fn new(schedule: Schedule, paced: bool, base: BaseTime, rows: u64, keep_alive: bool) -> Self {
        Self { schedule, paced, base, rows, keep_alive, origin: OnceLock::new() }
    }

    /// True when the source ends by itself.
    pub fn is_bounded(&self) -> bool {
        self.rows < u64::MAX && !self.keep_alive
    }

    fn block_rows(&self) -> u64 {
        if self.paced {
            (self.schedule.first_rate() / BLOCKS_PER_SECOND).clamp(1, BLOCK_ROWS)
        } else {
            BLOCK_ROWS
        }
    }
}

/// One instance of a generated source.
pub(crate) struct GeneratedSource<R> {
    plan: Arc<Plan>,
    lanes: Lanes,
    rows: R,
    /// None until the first poll or a restore.
    origin: Option<Origin>,
    clock: Option<ClockRef>,
    /// The monotonic clock at the start; negative when that was before the clock's own.
    started_ns: i128,
    rows_max: u64,
}

impl<R: Rows> GeneratedSource<R> {
    pub fn new(plan: Arc<Plan>, rows: R, instance: usize, parallelism: usize) -> Self {
        let lanes = Lanes::new(plan.block_rows(), plan.rows, instance, parallelism);
        Self { plan, lanes, rows, origin: None, clock: None, started_ns: 0, rows_max: BLOCK_ROWS }
    }

    /// The origin; the first instance that asks sets it for all, unless a checkpoint did.
    fn origin(&mut self, clock: &ClockRef) -> Origin {
        if let Some(origin) = self.origin {
            return origin;
        }
        let origin = *self.plan.origin.get_or_init(|| Origin::starting(self.plan.base, &**clock));
        self.start_at(origin, clock);
        origin
    }

    fn start_at(&mut self, origin: Origin, clock: &ClockRef) {
        let running_ms = clock.now_ms().saturating_sub(origin.started_ms);
        self.started_ns = i128::from(clock.monotonic_ns()) - i128::from(running_ms) * 1_000_000;
        self.origin = Some(origin);
    }

    /// How many rows from `next` on are due, or how long until the first is.
    fn due(&self, next: u64, clock: &ClockRef) -> std::result::Result<u64, Duration> {
        let elapsed_ns = i128::from(clock.monotonic_ns()) - self.started_ns;
        let elapsed_ms = u64::try_from(elapsed_ns.div_euclid(1_000_000)).ok();
        match elapsed_ms.map_or(0, |ms| self.plan.schedule.rows_due(ms)).saturating_sub(next) {
            0 => {
                let wait_ns = i128::from(self.plan.schedule.time_ms(next)) * 1_000_000 - elapsed_ns;
                Err(Duration::from_nanos(u64::try_from(wait_ns.max(1)).unwrap_or(u64::MAX)))
            }
            rows => Ok(rows),
        }
    }
}

impl<R: Rows> Source for GeneratedSource<R> {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.clock = Some(Arc::clone(&context.clock));
        self.rows_max = context.batch_rows_max.max(1) as u64;
        Ok(())
    }

    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let Some(clock) = self.clock.clone() else {
            return Err(Error::internal("polled before it was opened"));
        };
        let origin = self.origin(&clock);
        let Some((first, run)) = self.lanes.peek() else {
            return Ok(if self.plan.keep_alive { SourcePoll::Waiting } else { SourcePoll::Finished });
        };
        let mut len = run.min(self.rows_max);
        if self.plan.paced {
            match self.due(first, &clock) {
                Ok(due) => len = len.min(due),
                Err(wait) => return Ok(SourcePoll::Sleep(wait)),
            }
        }
        let rows = self.rows.rows(first, usize::try_from(len).unwrap_or(1), origin.base_ms)?;
        self.lanes.advance(len);
        out.metrics().rows_in.add(len);
        out.emit(Batch::new(rows))?;
        Ok(SourcePoll::Ready)
    }

    /// One blob: whether there is an origin, the origin, the lanes.
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        let origin = self.origin.unwrap_or(Origin { base_ms: 0, started_ms: 0 });
        let mut blob = vec![u8::from(self.origin.is_some())];
        blob.extend_from_slice(&origin.base_ms.to_le_bytes());
        blob.extend_from_slice(&origin.started_ms.to_le_bytes());
        self.lanes.write(&mut blob);
        state.put_blob(blob);
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let mut positions = Vec::new();
        let mut origin = None;
        for blob in state.blobs() {
            let cut_short = || Error::state("the position of a generated source is cut short");
            let (flag, rest) = blob.split_first().ok_or_else(cut_short)?;
            let (base_ms, rest) = rest.split_first_chunk().ok_or_else(cut_short)?;
            let (started_ms, lanes) = rest.split_first_chunk().ok_or_else(cut_short)?;
            if *flag == 1 {
                origin = Some(Origin {
                    base_ms: i64::from_le_bytes(*base_ms),
                    started_ms: i64::from_le_bytes(*started_ms),
                });
            }
            positions.push(lanes);
        }
        self.lanes.restore(positions.into_iter())?;
        if let (Some(origin), Some(clock)) = (origin, self.clock.clone()) {
            self.start_at(origin, &clock);
        }
        Ok(())
    }
}
