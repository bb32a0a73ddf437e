//! Aggregation of rows that carry their window in columns: of what windows, window joins and window Top-N gave before.
//!
//! Invariants: a window's groups are given once, when the watermark passes its end, windows in order of their ends; a row
//! is late exactly when its window had closed by the clock it came under. Rows come from another windowed operator.
//! Flink: WindowAggregate with a WindowAttachedWindowingStrategy.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use super::groups::{Groups, Prepared, Preparer, write_frozen};
use super::{WindowAggregateSpec, WindowAssigner, without_late};
use crate::keyed::own_rows;

/// Rows of one emitted chunk.
const CHUNK_ROWS: usize = 4_096;

/// See the module's page.
pub(super) struct AttachedWindows {
    /// With the window's start as the last key.
    spec: WindowAggregateSpec,
    window_end: usize,
    preparer: Preparer,
    windows: BTreeMap<i64, Groups>,
    /// Windows that were given, and that are still to be written to a snapshot.
    leaving: Vec<Groups>,
    output: SchemaRef,
    time_ms: i64,
    /// How many groups of the window that is being emitted are out.
    done: usize,
    numbers: Vec<u32>,
}

impl AttachedWindows {
    /// Windows whose start and end are columns of the input. The windows of `spec` itself are not looked at.
    pub fn new(spec: &WindowAggregateSpec, [window_start, window_end]: [usize; 2]) -> Result<Self> {
        let output = spec.output_schema()?;
        let mut spec = spec.clone();
        spec.keys.push(window_start);
        // Slices that are never put together.
        spec.window = WindowAssigner::Tumble { size_ms: 1, offset_ms: 0 };
        Ok(Self {
            preparer: Preparer::new(&spec)?,
            spec,
            window_end,
            windows: BTreeMap::new(),
            leaving: Vec::new(),
            output,
            time_ms: i64::MIN,
            done: 0,
            numbers: Vec::new(),
        })
    }

    fn ends(&self, rows: &RecordBatch) -> Result<Vec<i64>> {
        let ends = rows.column(self.window_end).as_primitive_opt::<TimestampMillisecondType>();
        match ends.filter(|ends| ends.null_count() == 0) {
            Some(ends) => Ok(ends.values().to_vec()),
            None => Err(Error::internal("the end of a window is no TIMESTAMP(3), or NULL")),
        }
    }

    fn update(&mut self, end_ms: i64, input: &Prepared, start: usize, len: usize) -> Result<()> {
        let groups = match self.windows.entry(end_ms) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(Groups::new(&self.spec)?),
        };
        groups.update(input, start, len, &mut self.numbers)
    }

    /// Adds rows in runs of equal windows: rows of a window mostly come together.
    fn add(&mut self, input: &Prepared, ends: &[i64]) -> Result<()> {
        let mut start = 0;
        for run in ends.chunk_by(|one, other| one == other) {
            self.update(run[0], input, start, run.len())?;
            start += run.len();
        }
        Ok(())
    }

    fn fire(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        while let Some((&end_ms, groups)) = self.windows.first_key_value() {
            if end_ms - 1 > self.time_ms {
                break;
            }
            let all = groups.keys.len();
            let until = all.min(self.done + CHUNK_ROWS);
            let numbers: Vec<u32> = (self.done as u32..until as u32).collect();
            if !numbers.is_empty() {
                let mut columns = groups.results(&numbers)?;
                let start = columns.remove(self.spec.keys.len() - 1);
                columns.extend(self.window_columns(&start, end_ms)?);
                let rows = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
                let event_time = rows.num_columns() - 1;
                let mut batch = Batch::with_event_time(rows, event_time)?;
                batch.time_min_ms = end_ms - 1;
                out.emit(batch)?;
            }
            self.done = until;
            if until < all {
                return Ok(Firing::More);
            }
            self.leaving.extend(self.windows.pop_first().map(|(_, groups)| groups).filter(Groups::is_frozen));
            self.done = 0;
            if all >= CHUNK_ROWS {
                return Ok(Firing::More);
            }
        }
        Ok(Firing::Done)
    }

    /// `window_start`, `window_end` and `window_time` of rows that start at `start`.
    fn window_columns(&self, start: &ArrayRef, end_ms: i64) -> Result<[ArrayRef; 3]> {
        let zone = match &self.spec.time_type {
            DataType::Timestamp(TimeUnit::Millisecond, zone) => zone.clone(),
            _ => None,
        };
        let starts = start.as_primitive_opt::<TimestampMillisecondType>();
        let starts = starts.ok_or_else(|| Error::internal("the start of a window is no TIMESTAMP(3)"))?;
        let of =
            |times: TimestampMillisecondArray| Arc::new(times.with_timezone_opt(zone.clone())) as ArrayRef;
        let rows = starts.len();
        Ok([
            of(starts.clone()),
            of(TimestampMillisecondArray::from_value(end_ms, rows)),
            of(TimestampMillisecondArray::from_value(end_ms - 1, rows)),
        ])
    }
}

impl Operator for AttachedWindows {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let mut ends = self.ends(&batch.rows)?;
        let rows = without_late(batch, out, |row, clock_ms| ends[row] - 1 <= clock_ms)?;
        if rows.num_rows() < ends.len() {
            ends = self.ends(&rows.rows)?;
        }
        let prepared = self.preparer.rows(&rows)?;
        self.add(&prepared, &ends)
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = time_ms;
        self.fire(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.fire(out)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        let schema = self.spec.partial_schema()?;
        self.windows.iter_mut().for_each(|(end_ms, groups)| groups.freeze(*end_ms, &schema));
        self.resume_snapshot(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        let firing = write_frozen(self.leaving.iter_mut().chain(self.windows.values_mut()), state)?;
        self.leaving.retain(Groups::is_frozen);
        Ok(firing)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        // Rows find their instance by the keys without the window's start, which is the last.
        for rows in own_rows(state, self.spec.keys.len() - 1) {
            let rows = rows?;
            let prepared = self.preparer.partials(&rows)?;
            let ends = self.preparer.slice_ends(&rows).to_vec();
            self.add(&prepared, &ends)?;
        }
        Ok(())
    }
}
