//! Windowed aggregation on slices: rows (or partial rows of `local.rs`) in, one row a key and window out.
//!
//! Invariants: a row is late exactly when every window it belongs to has closed by the clock it came under, never by
//! what other channels delivered meanwhile; windows fire in order of their end, once; a window without rows is not
//! visited, however long the gap. A firing is emitted in chunks, with room for the consumers in between.
//! Flink: AbstractSliceWindowAggProcessor.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millstream_engine::element::WATERMARK_MIN_MS;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use super::assign::{Assigned, Run, assign, runs};
use super::groups::{Prepared, Preparer};
use super::slices::Slices;
use super::{TimeMode, WindowAggregateSpec, window_columns};
use crate::keyed::own_rows;

/// Rows of one emitted chunk.
const CHUNK_ROWS: usize = 4_096;

/// See the module's page.
pub(super) struct SliceAggregate {
    spec: WindowAggregateSpec,
    /// The input is partial rows.
    partials: bool,
    preparer: Preparer,
    slices: Slices,
    output: SchemaRef,
    /// End of the last window that fired, or of the last that can have.
    fired_ms: i64,
    /// The watermark (or wall clock) that windows fire up to.
    time_ms: i64,
    /// The window that is being emitted, and how many of its groups are out.
    emitting: Option<(i64, usize)>,
}

impl SliceAggregate {
    pub fn new(spec: &WindowAggregateSpec, partials: bool) -> Result<Self> {
        Ok(Self {
            spec: spec.clone(),
            partials,
            preparer: Preparer::new(spec)?,
            slices: Slices::new(spec, spec.window)?,
            output: spec.output_schema()?,
            fired_ms: WATERMARK_MIN_MS,
            time_ms: WATERMARK_MIN_MS,
            emitting: None,
        })
    }

    /// Adds rows, run by run of equal slices.
    fn add(&mut self, input: &Prepared, runs: &[Run]) -> Result<()> {
        runs.iter().try_for_each(|run| self.slices.update(run.end_ms, input, run.start, run.len))
    }

    /// Adds partial rows.
    fn add_partials(&mut self, rows: &RecordBatch) -> Result<()> {
        let prepared = self.preparer.partials(rows)?;
        let (runs, _) = runs(self.preparer.slice_ends(rows));
        self.add(&prepared, &runs)
    }

    fn fire_next(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        loop {
            let (end_ms, done) = match self.emitting {
                Some(emitting) => emitting,
                None => {
                    let Some(end_ms) = self.slices.next_window_end_ms(self.fired_ms) else { break };
                    if end_ms - 1 > self.time_ms {
                        break;
                    }
                    self.slices.fire(end_ms)?;
                    (end_ms, 0)
                }
            };
            let Some(groups) = self.slices.window(end_ms) else {
                return Err(Error::internal("a window without groups fired"));
            };
            let all = groups.keys.len();
            let until = all.min(done + CHUNK_ROWS);
            let numbers = groups.occupied(done as u32, until as u32)?;
            if !numbers.is_empty() {
                let mut columns = groups.results(&numbers)?;
                let start_ms = self.spec.window.window_start_ms(end_ms);
                columns.extend(window_columns(start_ms, end_ms, numbers.len(), &self.spec.time_type));
                let rows = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
                let event_time = rows.num_columns() - 1;
                let mut batch = Batch::with_event_time(rows, event_time)?;
                batch.time_min_ms = end_ms - 1;
                out.emit(batch)?;
            }
            if until < all {
                self.emitting = Some((end_ms, until));
                return Ok(Firing::More);
            }
            self.emitting = None;
            self.slices.fired(end_ms);
            self.fired_ms = end_ms;
            if all >= CHUNK_ROWS {
                return Ok(Firing::More);
            }
        }
        // Windows up to the time have fired, with rows or not.
        if self.time_ms < i64::MAX - self.spec.window.slide_ms() {
            self.fired_ms = self.fired_ms.max(self.spec.window.slice_start_ms(self.time_ms + 1));
        }
        Ok(Firing::Done)
    }

    /// By the wall clock: when the next window fires that holds rows.
    fn set_timer(&self, out: &mut Output<'_>) {
        if self.spec.time == TimeMode::Processing
            && let Some(end_ms) = self.slices.next_window_end_ms(self.fired_ms)
        {
            out.set_wall_timer(end_ms);
        }
    }

    /// Where the wall clock was set back: what is open far ahead fires now, not when the clock shows that time again; and
    /// windows that have fired take rows once more, and fire once more.
    fn follow_the_clock(&mut self, now_ms: i64, end_ms: i64, out: &mut Output<'_>) -> Result<()> {
        if let Some(last_ms) = self.slices.last_end_ms()
            && self.spec.window.is_far_ahead(last_ms, now_ms)
        {
            self.time_ms = self.spec.window.last_window_end_ms(last_ms);
            while self.fire_next(out)? == Firing::More {}
        }
        if end_ms <= self.fired_ms {
            self.fired_ms = end_ms - self.spec.window.slide_ms();
            self.slices.reopen();
        }
        Ok(())
    }

    fn process_rows(&mut self, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let window = self.spec.window;
        let Assigned { rows, runs } = match self.spec.time {
            TimeMode::Event => assign(&window, batch, out)?,
            TimeMode::Processing => {
                let now_ms = out.wall_ms();
                let end_ms = window.slice_start_ms(now_ms) + window.slide_ms();
                self.follow_the_clock(now_ms, end_ms, out)?;
                out.set_wall_timer(end_ms);
                let run = Run { end_ms, start: 0, len: batch.num_rows() };
                Assigned { rows: batch, runs: vec![run] }
            }
        };
        let prepared = self.preparer.rows(&rows)?;
        self.add(&prepared, &runs)
    }
}

impl Operator for SliceAggregate {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        if self.partials {
            return self.add_partials(&batch.rows);
        }
        self.process_rows(batch, out)
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = time_ms;
        self.fire_next(out)
    }

    fn on_timer(&mut self, _now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = out.wall_ms();
        let firing = self.fire_next(out)?;
        if firing == Firing::Done {
            self.set_timer(out);
        }
        Ok(firing)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let firing = self.fire_next(out)?;
        if firing == Firing::Done {
            self.set_timer(out);
        }
        Ok(firing)
    }

    /// Windows that were restored fire though no row comes.
    fn starts_with_timer(&self) -> bool {
        self.spec.time == TimeMode::Processing
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        state.put_blob(self.fired_ms.to_le_bytes().to_vec());
        self.slices.freeze(&self.spec.partial_schema()?);
        self.slices.write_frozen(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.slices.write_frozen(state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        // Instances fire at the same barrier-aligned watermark, so their positions agree; the lowest is safe.
        let positions = state.blobs().filter_map(|blob| Some(i64::from_le_bytes(blob.try_into().ok()?)));
        self.fired_ms = positions.min().unwrap_or(WATERMARK_MIN_MS);
        for rows in own_rows(state, self.spec.keys.len()) {
            self.add_partials(&rows?)?;
        }
        Ok(())
    }
}
