//! Windows kept per key: sessions, and every kind over a stream whose keys have clocks of their own.
//!
//! A key has a short list of open windows, sorted by start. A session grows with its rows, and two that touch become
//! one. A key's windows close when its own clock (seen on its rows) passes their end, or when the stream's watermark
//! does. A row is late when, after merging, its window has already closed by the row's clock. Flink: WindowOperator
//! with MergingWindowSet; TimeWindow.intersects counts touching windows as one.
//!
//! A window is answered once. Where keys have clocks of their own, the stream passes a key that fell idle and closes its
//! windows; when the device comes back and sends what it had kept, rows of the windows that were answered are late,
//! and all others count. That is remembered for [`ANSWERED_KEPT_MS`] of event time.
//!
//! A snapshot is written in pieces, key by key (frozen.rs); while one is, keys and states are not renumbered.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use bytes::Bytes;
use millstream_engine::operator::LATE;
use millstream_engine::state::{StateReader, StateWriter, encode_rows};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};
use smallvec::SmallVec;

use super::{TimeMode, WindowAggregateSpec, WindowAssigner, clock_of};
use crate::aggregate::{Accumulator, merge_states, to_input};
use crate::frozen::KeyedSnapshot;
use crate::keyed::{own_rows, state_rows};
use crate::keys::KeyTable;
use millstream_engine::keys::KeyHasher;

/// Rows of one emitted chunk.
const CHUNK_ROWS: usize = 4_096;
/// For how long it is remembered up to where the stream closed an idle key's windows. A device that was silent for
/// longer and sends rows of a window that it had begun before makes a second row of that window.
const ANSWERED_KEPT_MS: i64 = 7 * 86_400_000;

/// An open window of a key, and the number of its state.
#[derive(Debug, Clone, Copy)]
struct Open {
    start_ms: i64,
    end_ms: i64,
    slot: u32,
}

/// See the module's page.
pub(super) struct PerKeyWindows {
    spec: WindowAggregateSpec,
    /// Rows are judged by their key's own clock alone, even where the stream is further.
    keyed_clocks: bool,
    hasher: KeyHasher,
    keys: KeyTable,
    /// Open windows of each key, by start.
    open: Vec<SmallVec<[Open; 2]>>,
    /// The last time (end - 1) of a window of each key that the stream's watermark closed; `i64::MIN` for none.
    answered_ms: Vec<i64>,
    /// Every open window as (end, key, start), so that those to close are found in order.
    by_end: BTreeSet<(i64, u32, i64)>,
    accumulators: Vec<Box<dyn Accumulator>>,
    slots: u32,
    /// Closed windows on their way out: key, start, end, slot.
    closed: Vec<(u32, Open)>,
    snapshot: KeyedSnapshot,
    output: SchemaRef,
    time_ms: i64,
    hashes: Vec<u64>,
    groups: Vec<u32>,
}

impl PerKeyWindows {
    /// Windows of `spec`; with `keyed_clocks` each row is judged by its key's own clock.
    pub fn new(spec: &WindowAggregateSpec, keyed_clocks: bool) -> Result<Self> {
        Ok(Self {
            spec: spec.clone(),
            keyed_clocks,
            hasher: KeyHasher::new(&spec.key_types())?,
            keys: KeyTable::new(&spec.key_types())?,
            open: Vec::new(),
            answered_ms: Vec::new(),
            by_end: BTreeSet::new(),
            accumulators: spec.accumulators()?,
            slots: 0,
            closed: Vec::new(),
            snapshot: KeyedSnapshot::default(),
            output: spec.output_schema()?,
            time_ms: i64::MIN,
            hashes: Vec::new(),
            groups: Vec::new(),
        })
    }

    /// Gives the window `start_ms .. end_ms` of `key` a slot, merging sessions that it touches.
    fn open_window(&mut self, key: u32, start_ms: i64, end_ms: i64) -> u32 {
        let session = matches!(self.spec.window, WindowAssigner::Session { .. });
        let windows = &mut self.open[key as usize];
        let mut merged = Open { start_ms, end_ms, slot: u32::MAX };
        let mut absorbed: SmallVec<[u32; 2]> = SmallVec::new();
        windows.retain(|window| {
            let same = if session {
                window.start_ms <= merged.end_ms && merged.start_ms <= window.end_ms
            } else {
                window.start_ms == start_ms && window.end_ms == end_ms
            };
            if same {
                self.by_end.remove(&(window.end_ms, key, window.start_ms));
                merged.start_ms = merged.start_ms.min(window.start_ms);
                merged.end_ms = merged.end_ms.max(window.end_ms);
                absorbed.push(window.slot);
            }
            !same
        });
        merged.slot = match absorbed.first() {
            Some(slot) => *slot,
            None => {
                self.slots += 1;
                self.accumulators.iter_mut().for_each(|one| one.resize(self.slots as usize));
                self.slots - 1
            }
        };
        for slot in absorbed.iter().skip(1) {
            for accumulator in &mut self.accumulators {
                // State columns of one group: merging is rare, per pair of sessions and not per row.
                if let Ok(columns) = accumulator.state(&[*slot]) {
                    // The same accumulator, so the types fit.
                    let _ = accumulator.merge_state(&[merged.slot], &columns);
                }
            }
        }
        let at = windows.partition_point(|window| window.start_ms < merged.start_ms);
        windows.insert(at, merged);
        self.by_end.insert((merged.end_ms, key, merged.start_ms));
        merged.slot
    }

    /// End of the session that a row at `time_ms` of `key` would be in.
    fn session_end_ms(&self, key: u32, time_ms: i64, gap_ms: i64) -> i64 {
        let (mut start, mut end) = (time_ms, time_ms + gap_ms);
        for window in &self.open[key as usize] {
            if window.start_ms <= end && start <= window.end_ms {
                start = start.min(window.start_ms);
                end = end.max(window.end_ms);
            }
        }
        end
    }

    /// Closes `key`'s windows that end at or before `time_ms`.
    fn close_key(&mut self, key: u32, time_ms: i64) {
        let windows = &mut self.open[key as usize];
        let (by_end, closed) = (&mut self.by_end, &mut self.closed);
        windows.retain(|window| {
            let done = window.end_ms - 1 <= time_ms;
            if done {
                by_end.remove(&(window.end_ms, key, window.start_ms));
                closed.push((key, *window));
            }
            !done
        });
    }

    /// Closes every key's windows up to the time, at most a chunk of them.
    fn close_due(&mut self) -> Result<bool> {
        if self.snapshot.is_open() {
            let due = self.by_end.iter().take_while(|(end_ms, ..)| end_ms - 1 <= self.time_ms);
            let due: Vec<u32> = due.take(CHUNK_ROWS).map(|(_, key, _)| *key).collect();
            self.claim(due)?;
        }
        while self.closed.len() < CHUNK_ROWS {
            let Some(&(end_ms, key, start_ms)) = self.by_end.first() else { return Ok(false) };
            if end_ms - 1 > self.time_ms {
                return Ok(false);
            }
            self.by_end.pop_first();
            let windows = &mut self.open[key as usize];
            if let Some(at) =
                windows.iter().position(|window| window.start_ms == start_ms && window.end_ms == end_ms)
            {
                self.closed.push((key, windows.remove(at)));
                if self.keyed_clocks {
                    let answered_ms = &mut self.answered_ms[key as usize];
                    *answered_ms = (*answered_ms).max(end_ms - 1);
                }
            }
        }
        Ok(true)
    }

    /// Writes the windows of those of `keys` that a snapshot has still to write, for they are about to change.
    fn claim(&mut self, keys: impl IntoIterator<Item = u32>) -> Result<()> {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        let done = snapshot.claim(keys, |keys| self.state_of(keys));
        self.snapshot = snapshot;
        done
    }

    /// The open windows of `keys`, and up to where their windows were answered.
    fn state_of(&self, keys: &[u32]) -> Result<Vec<Bytes>> {
        let mut parts = Vec::new();
        let mut windows: Vec<(u32, Open)> = Vec::new();
        for key in keys {
            windows.extend(self.open[*key as usize].iter().map(|window| (*key, *window)));
        }
        if !windows.is_empty() {
            parts.push(encode_rows(&self.rows(&windows)?)?);
        }
        let answered: Vec<u32> = keys.iter().copied().filter(|key| self.is_answered(*key)).collect();
        if !answered.is_empty() {
            parts.push(encode_rows(&self.answered_rows(&answered)?)?);
        }
        Ok(parts)
    }

    fn emit_closed(&mut self, out: &mut Output<'_>) -> Result<()> {
        if self.closed.is_empty() {
            return Ok(());
        }
        let keys: Vec<u32> = self.closed.iter().map(|(key, _)| *key).collect();
        let slots: Vec<u32> = self.closed.iter().map(|(_, window)| window.slot).collect();
        let mut columns = self.keys.columns(&keys)?;
        for accumulator in &self.accumulators[..self.spec.aggregates.len()] {
            columns.push(accumulator.evaluate(&slots)?);
        }
        let zone = match &self.spec.time_type {
            DataType::Timestamp(TimeUnit::Millisecond, zone) => zone.clone(),
            _ => None,
        };
        let time_min_ms = self.closed.iter().map(|(_, window)| window.end_ms - 1).min().unwrap_or(i64::MIN);
        let times: [fn(&Open) -> i64; 3] = [|w| w.start_ms, |w| w.end_ms, |w| w.end_ms - 1];
        for time in times {
            let column: TimestampMillisecondArray =
                self.closed.iter().map(|(_, window)| Some(time(window))).collect();
            columns.push(Arc::new(column.with_timezone_opt(zone.clone())) as ArrayRef);
        }
        self.closed.clear();
        let rows = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        let event_time = rows.num_columns() - 1;
        let mut batch = Batch::with_event_time(rows, event_time)?;
        batch.time_min_ms = time_min_ms;
        out.emit(batch)?;
        self.compact()
    }

    /// Renumbers states and keys when most of them are of windows that are gone.
    fn compact(&mut self) -> Result<()> {
        let live = self.by_end.len();
        if self.snapshot.is_open() || (self.slots as usize) < 4 * live + 4_096 {
            return Ok(());
        }
        let mut rebuilt = Self::new(&self.spec, self.keyed_clocks)?;
        rebuilt.time_ms = self.time_ms;
        rebuilt.adopt(&self.rows(&self.live())?)?;
        rebuilt.adopt_answered(&self.answered_rows(&self.answered())?)?;
        *self = rebuilt;
        Ok(())
    }

    fn live(&self) -> Vec<(u32, Open)> {
        let windows = self.open.iter().enumerate();
        windows.flat_map(|(key, windows)| windows.iter().map(move |window| (key as u32, *window))).collect()
    }

    /// Open windows as rows: keys, start, end, states.
    fn rows(&self, windows: &[(u32, Open)]) -> Result<RecordBatch> {
        let keys: Vec<u32> = windows.iter().map(|(key, _)| *key).collect();
        let slots: Vec<u32> = windows.iter().map(|(_, window)| window.slot).collect();
        let mut columns = self.keys.columns(&keys)?;
        columns
            .push(Arc::new(Int64Array::from_iter_values(windows.iter().map(|(_, window)| window.start_ms))));
        columns.push(Arc::new(Int64Array::from_iter_values(windows.iter().map(|(_, window)| window.end_ms))));
        for accumulator in &self.accumulators {
            columns.extend(accumulator.state(&slots)?);
        }
        state_rows(columns)
    }

    /// Keys whose answered windows still have to be remembered.
    fn answered(&self) -> Vec<u32> {
        (0..self.answered_ms.len() as u32).filter(|key| self.is_answered(*key)).collect()
    }

    fn is_answered(&self, key: u32) -> bool {
        self.answered_ms[key as usize] > self.time_ms.saturating_sub(ANSWERED_KEPT_MS)
    }

    /// Up to where windows were answered, as rows: keys, time.
    fn answered_rows(&self, keys: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.keys.columns(keys)?;
        let times = keys.iter().map(|key| self.answered_ms[*key as usize]);
        columns.push(Arc::new(Int64Array::from_iter_values(times)));
        state_rows(columns)
    }

    fn adopt_answered(&mut self, rows: &RecordBatch) -> Result<()> {
        let (keys, times) = rows.columns().split_at(self.spec.keys.len());
        self.number(keys, rows.num_rows())?;
        for (key, time) in self.groups.iter().zip(times[0].as_primitive::<Int64Type>().values()) {
            self.answered_ms[*key as usize] = *time;
        }
        Ok(())
    }

    fn adopt(&mut self, rows: &RecordBatch) -> Result<()> {
        let width = self.spec.keys.len();
        let (keys, rest) = rows.columns().split_at(width);
        self.number(keys, rows.num_rows())?;
        let starts = rest[0].as_primitive::<Int64Type>().clone();
        let ends = rest[1].as_primitive::<Int64Type>().clone();
        let groups = std::mem::take(&mut self.groups);
        let slots: Vec<u32> = groups
            .iter()
            .enumerate()
            .map(|(row, key)| self.open_window(*key, starts.value(row), ends.value(row)))
            .collect();
        self.groups = groups;
        merge_states(&mut self.accumulators, &slots, &rest[2..])
    }

    fn number(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        self.hasher.hash(keys, rows, &mut self.hashes)?;
        let prepared = self.keys.prepare(keys, rows)?;
        self.keys.intern(&prepared, &self.hashes, 0, rows, &mut self.groups);
        self.open.resize_with(self.keys.len(), SmallVec::new);
        self.answered_ms.resize(self.keys.len(), i64::MIN);
        Ok(())
    }

    /// Adds row `row`'s windows to `targets` as (row, slot). False when it is late for all of them.
    fn assign(&mut self, row: usize, time_ms: i64, clock_ms: i64, targets: &mut Vec<(u32, u32)>) -> bool {
        let key = self.groups[row];
        if let WindowAssigner::Session { gap_ms } = self.spec.window {
            if self.session_end_ms(key, time_ms, gap_ms) - 1 <= clock_ms {
                return false;
            }
            let slot = self.open_window(key, time_ms, time_ms + gap_ms);
            targets.push((row as u32, slot));
            return true;
        }
        let window = self.spec.window;
        let mut end_ms = window.slice_start_ms(time_ms) + window.slide_ms();
        let last_ms = window.last_window_end_ms(end_ms);
        let mut on_time = false;
        while end_ms <= last_ms {
            if end_ms - 1 > clock_ms {
                on_time = true;
                let slot = self.open_window(key, window.window_start_ms(end_ms), end_ms);
                targets.push((row as u32, slot));
            }
            end_ms += window.slide_ms();
        }
        on_time
    }

    /// Adds rows to their windows' states.
    fn add(&mut self, batch: &Batch, targets: &[(u32, u32)]) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        let rows = arrow_array::UInt32Array::from_iter_values(targets.iter().map(|(row, _)| *row));
        let slots: Vec<u32> = targets.iter().map(|(_, slot)| *slot).collect();
        let taken = batch.take(&rows)?;
        for (number, accumulator) in self.accumulators.iter_mut().enumerate() {
            let call = self.spec.aggregates.get(number);
            let column = match call.and_then(|call| call.argument) {
                Some(column) => Some(to_input(taken.rows.column(column), accumulator.as_ref())?),
                None => None,
            };
            let filter = call
                .and_then(|call| call.filter)
                .and_then(|filter| taken.rows.column(filter).as_boolean_opt().cloned());
            accumulator.update(&slots, column.as_ref(), filter.as_ref())?;
        }
        Ok(())
    }
}

impl Operator for PerKeyWindows {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now = out.wall_ms();
        if self.spec.time == TimeMode::Processing
            && let Some((end_ms, ..)) = self.by_end.last()
            && self.spec.window.is_far_ahead(*end_ms, now)
        {
            // The clock was set back: what is open of a time far ahead is over, and does not wait until it comes again.
            self.time_ms = *end_ms;
            while self.close_due()? {
                self.emit_closed(out)?;
            }
            self.emit_closed(out)?;
        }
        let keys: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| Arc::clone(batch.rows.column(*key))).collect();
        self.number(&keys, batch.num_rows())?;
        if self.snapshot.is_open() {
            let groups = std::mem::take(&mut self.groups);
            self.claim(groups.iter().copied())?;
            self.groups = groups;
        }
        let times: Vec<i64> = match self.spec.time {
            TimeMode::Processing => vec![now; batch.num_rows()],
            TimeMode::Event => batch
                .event_times_ms()
                .ok_or_else(|| Error::internal("rows without event time reached an event-time window"))?
                .to_vec(),
        };
        let mut targets = Vec::with_capacity(batch.num_rows());
        let mut late = Vec::new();
        for (row, time_ms) in times.into_iter().enumerate() {
            let key = self.groups[row];
            let clock_ms = match (self.spec.time, &batch.clocks) {
                (TimeMode::Processing, _) => i64::MIN,
                (TimeMode::Event, Some(clocks)) if self.keyed_clocks => {
                    clocks.value(row).max(self.answered_ms[key as usize])
                }
                (TimeMode::Event, _) => clock_of(&batch, row, out),
            };
            let due = |window: &Open| window.end_ms - 1 <= clock_ms;
            if batch.clocks.is_some() && self.open[key as usize].iter().any(due) {
                // The key's own clock has closed windows: everything up to here must be in them first.
                self.add(&batch, &targets)?;
                targets.clear();
                self.close_key(key, clock_ms);
            }
            if !self.assign(row, time_ms, clock_ms, &mut targets) {
                late.push(row);
            } else if matches!(self.spec.window, WindowAssigner::Session { .. }) {
                // A later merge may move the state of rows that are not in it yet.
                let moved = self.open[key as usize].len() > 1;
                if moved {
                    self.add(&batch, &targets)?;
                    targets.clear();
                }
            }
        }
        self.add(&batch, &targets)?;
        if !late.is_empty() {
            out.metrics().rows_late.add(late.len() as u64);
            if out.is_connected(LATE) {
                let mut mask = vec![false; batch.num_rows()];
                late.iter().for_each(|row| mask[*row] = true);
                out.emit_to(LATE, batch.filter(&BooleanArray::from(mask))?)?;
            }
        }
        if self.spec.time == TimeMode::Processing
            && let Some((end_ms, _, _)) = self.by_end.first()
        {
            out.set_wall_timer(*end_ms);
        }
        self.emit_closed(out)
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = time_ms;
        self.resume(out)
    }

    fn on_timer(&mut self, _now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        let now_ms = out.wall_ms();
        self.time_ms = now_ms;
        if let Some((end_ms, _, _)) = self.by_end.first() {
            out.set_wall_timer((*end_ms).max(now_ms + 1));
        }
        self.resume(out)
    }

    /// Windows that were restored fire though no row comes.
    fn starts_with_timer(&self) -> bool {
        self.spec.time == TimeMode::Processing
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let more = self.close_due()?;
        self.emit_closed(out)?;
        Ok(if more { Firing::More } else { Firing::Done })
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.snapshot.begin(self.keys.len());
        self.resume_snapshot(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        let rows = |key: u32| self.open[key as usize].len();
        let written = snapshot.write(state, rows, |keys| self.state_of(keys));
        self.snapshot = snapshot;
        written
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in own_rows(state, self.spec.keys.len()) {
            let rows = rows?;
            // Windows have a start, an end and states behind the keys; what was answered has one time.
            if rows.num_columns() == self.spec.keys.len() + 1 {
                self.adopt_answered(&rows)?;
            } else {
                self.adopt(&rows)?;
            }
        }
        Ok(())
    }
}
