//! Joins that time limits: of rows whose times lie within bounds of each other, and of rows of the same window.
//!
//! Every row that is kept has a time after which nothing can match it; when the watermark has passed it, the row leaves,
//! and where its side is outer and nothing matched, it is given with NULLs then. So results are final. Pairs are given as
//! soon as both rows are there.
//!
//! Invariants: of rows that are on time, the answer does not depend on which side came first. A late row of an interval
//! join still meets what is kept, as in Flink; a late row of a window join is counted and goes to the late output.
//! An interval join holds the watermark back by its bounds, so that both sides' times stay ahead of it.
//! Flink: TimeIntervalJoin, WindowJoinOperator.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use millstream_engine::element::WATERMARK_MAX_MS;
use millstream_engine::operator::LATE;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ChangeKind, Error, Firing, Operator, Output, Result};

use super::regular::{Part, restored, state_of, write};
use super::side::Side;
use super::{Changes, JoinKind, JoinSpec, Matcher, PAIRS_MAX, Pairs};
use crate::frozen::KeyedSnapshot;
use crate::keyed::Keyed;
use crate::row_format::EncodedRows;
use crate::window::clock_of;

/// Rows of one emitted chunk.
const CHUNK_ROWS: usize = 4_096;

/// Which times may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeBounds {
    /// The left time less the right one lies between these, both included.
    Interval {
        /// The least difference, in ms.
        least_ms: i64,
        /// The greatest.
        most_ms: i64,
    },
    /// The times are the ends of windows, which are equal; they are among the keys.
    Window,
}

impl TimeBounds {
    /// When a row of `side` at `time_ms` can match nothing any more.
    fn until_ms(self, side: usize, time_ms: i64) -> i64 {
        match (self, side) {
            (Self::Interval { least_ms, .. }, 0) => time_ms.saturating_sub(least_ms),
            (Self::Interval { most_ms, .. }, _) => time_ms.saturating_add(most_ms),
            (Self::Window, _) => time_ms - 1,
        }
    }

    /// How far results may lie behind the watermark.
    fn delay_ms(self) -> i64 {
        match self {
            Self::Interval { least_ms, most_ms } => most_ms.max(least_ms.saturating_neg()).max(0),
            Self::Window => 0,
        }
    }
}

/// See the module's page.
pub struct TimedJoin {
    matcher: Matcher,
    bounds: TimeBounds,
    /// The time column of each side: event time, or the window's end.
    times: [usize; 2],
    /// The event-time column of the result.
    event_time: Option<usize>,
    keys: Keyed,
    sides: [Side; 2],
    /// Rows by when they leave: time, side, number.
    leaving: BTreeSet<(i64, usize, u32)>,
    snapshot: KeyedSnapshot,
    time_ms: i64,
}

impl TimedJoin {
    /// A join of `spec` by the columns `times` of its sides.
    ///
    /// # Errors
    /// If a column cannot be kept, or a key cannot be compared.
    pub fn new(
        spec: &JoinSpec,
        bounds: TimeBounds,
        times: [usize; 2],
        event_time: Option<usize>,
    ) -> Result<Self> {
        Ok(Self {
            matcher: Matcher::new(spec),
            bounds,
            times,
            event_time,
            keys: Keyed::new(&spec.inputs[0], &spec.keys[0])?,
            sides: [Side::new(&spec.inputs[0], false)?, Side::new(&spec.inputs[1], false)?],
            leaving: BTreeSet::new(),
            snapshot: KeyedSnapshot::default(),
            time_ms: i64::MIN,
        })
    }

    fn number(&mut self, side: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> =
            self.matcher.spec.keys[side].iter().map(|key| Arc::clone(rows.column(*key))).collect();
        self.keys.number_columns(&columns, rows.num_rows())?;
        self.sides.iter_mut().for_each(|side| side.grow(self.keys.table.len()));
        Ok(self.keys.numbers.clone())
    }

    fn times_of(&self, side: usize, rows: &RecordBatch) -> Result<Vec<i64>> {
        let column = rows.column(self.times[side]).as_primitive_opt::<TimestampMillisecondType>();
        match column {
            Some(times) if times.null_count() == 0 => Ok(times.values().to_vec()),
            _ => Err(Error::internal("the time of a join is no TIMESTAMP(3), or NULL")),
        }
    }

    /// Whether rows at these times of `side` and the other match.
    fn fits(&self, side: usize, own_ms: i64, other_until_ms: i64) -> bool {
        let TimeBounds::Interval { least_ms, most_ms } = self.bounds else { return true };
        // What is kept of the other row is when it leaves, which says its time.
        let (left, right) = match side {
            0 => (own_ms, other_until_ms.saturating_sub(most_ms)),
            _ => (other_until_ms.saturating_add(least_ms), own_ms),
        };
        let apart = left.saturating_sub(right);
        apart >= least_ms && apart <= most_ms
    }

    fn keep(&mut self, side: usize, key: u32, row: &[u8], matches: u32, until_ms: i64) {
        let slot = self.sides[side].add(key, row, matches, until_ms);
        self.leaving.insert((until_ms, side, slot));
    }

    /// Joins rows of `side` whose pairs are found, and keeps those that may match more.
    fn join(
        &mut self,
        side: usize,
        range: std::ops::Range<usize>,
        (keys, times, matchable): (&[u32], &[i64], &[bool]),
        pairs: &Pairs,
        encoded: &EncodedRows,
    ) -> Changes {
        let kind = self.matcher.spec.kind;
        let (mut changes, mut pair) = (Changes::default(), 0);
        for row in range {
            let own = row as u32;
            let mut found = 0;
            while pairs.rows.get(pair) == Some(&own) {
                if pairs.is_match(pair) {
                    found += 1;
                    let matches = self.sides[1 - side].matches_mut(pairs.slots[pair]);
                    *matches += 1;
                    match (kind, side) {
                        (JoinKind::Anti, _) => {}
                        // A row of the left is given with its first match.
                        (JoinKind::Semi, 0) if found == 1 => {
                            changes.push(ChangeKind::Insert, Some(own), None)
                        }
                        (JoinKind::Semi, 1) if *matches == 1 => {
                            changes.push(ChangeKind::Insert, None, Some(pair as u32));
                        }
                        (JoinKind::Semi, _) => {}
                        _ => changes.push(ChangeKind::Insert, Some(own), Some(pair as u32)),
                    }
                }
                pair += 1;
            }
            let until_ms = self.bounds.until_ms(side, times[row]);
            if matchable[row] && until_ms > self.time_ms {
                self.keep(side, keys[row], encoded.row(row), found, until_ms);
            } else if found == 0 && kind.pads(side) {
                changes.push(ChangeKind::Insert, Some(own), None);
            }
        }
        changes
    }

    /// Lets the rows go that nothing can match any more.
    fn expire(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let mut padded: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
        let mut gone = Vec::new();
        while let Some(&(until_ms, side, slot)) = self.leaving.first() {
            if until_ms > self.time_ms || gone.len() >= CHUNK_ROWS {
                break;
            }
            self.leaving.pop_first();
            if self.sides[side].matches(slot) == 0 && self.matcher.spec.kind.pads(side) {
                padded[side].push(slot);
            }
            gone.push((side, slot));
        }
        for (side, slots) in padded.iter().enumerate().filter(|(_, slots)| !slots.is_empty()) {
            let batch = self.matcher.padded(side, &self.sides[side], slots)?;
            out.emit(self.timed(batch))?;
        }
        let more = gone.len() >= CHUNK_ROWS;
        let keys = gone.iter().map(|(side, slot)| self.sides[*side].key(*slot));
        self.snapshot.claim(keys, |keys| state_of(&self.sides, keys))?;
        gone.into_iter().for_each(|(side, slot)| self.sides[side].remove(slot));
        if more {
            return Ok(Firing::More);
        }
        self.compact()?;
        if self.time_ms == WATERMARK_MAX_MS {
            out.watermark(WATERMARK_MAX_MS)?;
        } else {
            out.watermark(self.time_ms.saturating_sub(self.bounds.delay_ms()))?;
        }
        Ok(Firing::Done)
    }

    /// A result with its event time: only where no row lacks it.
    fn timed(&self, mut batch: Batch) -> Batch {
        batch.event_time = self.event_time.filter(|time| batch.rows.column(*time).null_count() == 0);
        batch
    }

    fn compact(&mut self) -> Result<()> {
        if self.snapshot.is_open() || !self.keys.is_stale(self.sides[0].len() + self.sides[1].len()) {
            return Ok(());
        }
        let live: Vec<u32> = (0..self.keys.table.len() as u32)
            .filter(|key| self.sides.iter().any(|side| !side.is_empty(*key)))
            .collect();
        self.keys.table = self.keys.table.subset(&live)?;
        self.sides.iter_mut().for_each(|side| side.renumber(&live));
        Ok(())
    }

    /// Sorts out the rows whose window has closed.
    fn on_time(&self, side: usize, batch: Batch, out: &mut Output<'_>) -> Result<Batch> {
        if self.bounds != TimeBounds::Window {
            return Ok(batch);
        }
        let ends = self.times_of(side, &batch.rows)?;
        let on_time: Vec<bool> =
            ends.iter().enumerate().map(|(row, end)| end - 1 > clock_of(&batch, row, out)).collect();
        let late = on_time.iter().filter(|on_time| !**on_time).count();
        if late == 0 {
            return Ok(batch);
        }
        out.metrics().rows_late.add(late as u64);
        if out.is_connected(LATE) {
            let mask: BooleanArray = on_time.iter().map(|on_time| Some(!on_time)).collect();
            out.emit_to(LATE, batch.filter(&mask)?)?;
        }
        batch.filter(&BooleanArray::from(on_time))
    }
}

impl Operator for TimedJoin {
    fn process(&mut self, port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let side = port.min(1);
        let batch = self.on_time(side, batch, out)?;
        let keys = self.number(side, &batch.rows)?;
        self.snapshot.claim(keys.iter().copied(), |keys| state_of(&self.sides, keys))?;
        let times = self.times_of(side, &batch.rows)?;
        let encoded = self.sides[side].encode(batch.rows.columns())?;
        let matchable = self.matcher.spec.matchable(side, &batch.rows);
        let mut start = 0;
        while start < batch.num_rows() {
            let (mut rows, mut slots, mut end) = (Vec::new(), Vec::new(), start);
            let other = &self.sides[1 - side];
            while end < batch.num_rows() && slots.len() < PAIRS_MAX {
                if matchable[end] {
                    let fits = |slot: &u32| self.fits(side, times[end], other.time_ms(*slot));
                    slots.extend(other.list(keys[end]).filter(fits));
                    rows.resize(slots.len(), end as u32);
                }
                end += 1;
            }
            let pairs = self.matcher.pairs(side, &batch.rows, other, rows, slots)?;
            let changes = self.join(side, start..end, (&keys, &times, &matchable), &pairs, &encoded);
            if !changes.kinds.is_empty() {
                let result = self.matcher.batch(side, &batch.rows, &pairs.others, &changes)?;
                out.emit(self.timed(result))?;
            }
            start = end;
        }
        Ok(())
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = self.time_ms.max(time_ms);
        self.expire(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.expire(out)
    }

    fn forwards_watermarks(&self) -> bool {
        false
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.snapshot.begin(self.keys.table.len());
        self.resume_snapshot(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        write(&mut self.snapshot, &self.sides, state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let parts = restored(&self.matcher.spec, state).collect::<Result<Vec<_>>>()?;
        for Part { side, rows, matches, times } in parts {
            let keys = self.number(side, &rows)?;
            let encoded = self.sides[side].encode(rows.columns())?;
            for (row, key) in keys.iter().enumerate() {
                let matches = matches.value(row) as u32;
                self.keep(side, *key, encoded.row(row), matches, times.value(row));
            }
        }
        Ok(())
    }
}
