//! A join with a table as it was at each row's time: `FOR SYSTEM_TIME AS OF ts`.
//!
//! The right side's rows are versions: each holds for its key from its own time until the next one's, and a `-D` ends it.
//! A row of the left waits until the watermark has passed its time, so that every version up to it is there, and leaves
//! with the version that held then. So results are final. Versions are forgotten when a newer one has been passed by the
//! watermark; the last of a key stays, unless it was not written for the time to live.
//! Flink: TemporalRowTimeJoinOperator.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_select::take::take;
use millstream_engine::batch::record_batch;
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Batch, ChangeKind, Error, Firing, Operator, Output, Result};

use super::{JoinKind, JoinSpec, Matcher};
use crate::keyed::{Keyed, next_forgetting_ms, state_rows};
use crate::row_store::RowStore;

/// Rows joined at a time.
const CHUNK_ROWS: usize = 4_096;

/// What holds for a key from a time on: the row's number, or that there is none any more.
type Version = (i64, Option<u32>);

/// See the module's page.
pub struct TemporalJoin {
    matcher: Matcher,
    /// The event-time column of each side.
    times: [usize; 2],
    /// The event-time column of the result.
    event_time: Option<usize>,
    keys: Keyed,
    rows: [RowStore; 2],
    /// By key, by time; equal times as they came, the last of which counts.
    versions: Vec<Vec<Version>>,
    /// By key: when a version was last written, by the wall clock.
    written_ms: Vec<i64>,
    /// Rows of the left by time and arrival: key and number.
    waiting: BTreeSet<(i64, u64, u32, u32)>,
    arrivals: u64,
    /// Keys with a version that the next one makes useless, by the time from which it does.
    stale: BTreeSet<(i64, u32)>,
    time_ms: i64,
}

impl TemporalJoin {
    /// A join of `spec`, inner or left, by the columns `times` of its sides.
    ///
    /// # Errors
    /// If it is of another kind, or a column cannot be kept.
    pub fn new(spec: &JoinSpec, times: [usize; 2], event_time: Option<usize>) -> Result<Self> {
        if !matches!(spec.kind, JoinKind::Inner | JoinKind::Left) {
            return Err(Error::config("FOR SYSTEM_TIME AS OF joins inner or left")
                .remedy("write JOIN or LEFT JOIN, with the table of versions at the right"));
        }
        let store = |side: usize| {
            RowStore::new(spec.inputs[side].fields().iter().map(|field| field.data_type().clone()))
        };
        Ok(Self {
            matcher: Matcher::new(spec),
            times,
            event_time,
            keys: Keyed::new(&spec.inputs[0], &spec.keys[0])?,
            rows: [store(0)?, store(1)?],
            versions: Vec::new(),
            written_ms: Vec::new(),
            waiting: BTreeSet::new(),
            arrivals: 0,
            stale: BTreeSet::new(),
            time_ms: i64::MIN,
        })
    }

    fn number(&mut self, side: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> =
            self.matcher.spec.keys[side].iter().map(|key| Arc::clone(rows.column(*key))).collect();
        self.keys.number_columns(&columns, rows.num_rows())?;
        self.versions.resize_with(self.keys.table.len(), Vec::new);
        self.written_ms.resize(self.keys.table.len(), 0);
        Ok(self.keys.numbers.clone())
    }

    fn times_of(&self, side: usize, rows: &RecordBatch) -> Result<Vec<i64>> {
        let column = rows.column(self.times[side]).as_primitive_opt::<TimestampMillisecondType>();
        match column.filter(|times| times.null_count() == 0) {
            Some(times) => Ok(times.values().to_vec()),
            None => Err(Error::internal("the time of a join is no TIMESTAMP(3), or NULL")),
        }
    }

    fn wait(&mut self, key: u32, time_ms: i64, row: &[u8]) {
        let slot = self.rows[0].insert(row);
        self.arrivals += 1;
        self.waiting.insert((time_ms, self.arrivals, key, slot));
    }

    fn add_version(&mut self, key: u32, time_ms: i64, row: Option<&[u8]>) {
        let slot = row.map(|row| self.rows[1].insert(row));
        let versions = &mut self.versions[key as usize];
        let at = versions.partition_point(|(time, _)| *time <= time_ms);
        versions.insert(at, (time_ms, slot));
        if let Some((second_ms, _)) = versions.get(1) {
            self.stale.insert((*second_ms, key));
        }
    }

    /// The version of `key` that holds at `time_ms`.
    fn version(&self, key: u32, time_ms: i64) -> Option<u32> {
        let versions = &self.versions[key as usize];
        let until = versions.partition_point(|(time, _)| *time <= time_ms);
        versions.get(until.checked_sub(1)?)?.1
    }

    /// Joins a chunk of the rows whose time has passed.
    fn answer(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let mut due: Vec<(Option<u32>, u32)> = Vec::new();
        while due.len() < CHUNK_ROWS && self.waiting.first().is_some_and(|(time, ..)| *time <= self.time_ms) {
            if let Some((time_ms, _, key, slot)) = self.waiting.pop_first() {
                due.push((self.version(key, time_ms), slot));
            }
        }
        if !due.is_empty() {
            let batch = self.joined(&due)?;
            due.iter().for_each(|(_, slot)| self.rows[0].remove(*slot));
            out.emit(batch)?;
        }
        if due.len() >= CHUNK_ROWS {
            return Ok(Firing::More);
        }
        self.drop_stale();
        Ok(Firing::Done)
    }

    /// Rows of the left with the versions that hold for them.
    fn joined(&self, due: &[(Option<u32>, u32)]) -> Result<Batch> {
        let left = self.rows[0].columns(due.iter().map(|(_, slot)| *slot))?;
        let mut found = Vec::new();
        let mut places: Vec<Option<u32>> = due
            .iter()
            .map(|(version, _)| {
                found.push((*version)?);
                Some(found.len() as u32 - 1)
            })
            .collect();
        let versions = self.rows[1].columns(found.into_iter())?;
        let pick = |columns: &[ArrayRef], places: &UInt32Array| {
            columns.iter().map(|column| Ok(take(column, places, None)?)).collect::<Result<Vec<ArrayRef>>>()
        };
        if let Some(filter) = &self.matcher.spec.filter {
            let right = pick(&versions, &places.iter().copied().collect())?;
            let pairs =
                record_batch(Arc::clone(&self.matcher.pairs), [left.clone(), right].concat(), due.len())?;
            let matches = filter.evaluate(&pairs)?;
            let matches = matches.as_boolean_opt();
            let matches = matches.ok_or_else(|| Error::internal("the condition of a join is no BOOLEAN"))?;
            for (row, place) in places.iter_mut().enumerate() {
                *place = place.filter(|_| matches.is_valid(row) && matches.value(row));
            }
        }
        let pads = self.matcher.spec.kind == JoinKind::Left;
        let kept: UInt32Array = (0_u32..)
            .zip(&places)
            .filter(|(_, place)| pads || place.is_some())
            .map(|(row, _)| Some(row))
            .collect();
        let places: UInt32Array = places.into_iter().filter(|place| pads || place.is_some()).collect();
        let columns = [pick(&left, &kept)?, pick(&versions, &places)?].concat();
        let mut batch = Batch::new(record_batch(Arc::clone(&self.matcher.output), columns, kept.len())?);
        batch.event_time = self.event_time;
        Ok(batch)
    }

    fn drop_stale(&mut self) {
        while let Some(&(from_ms, key)) = self.stale.first() {
            if from_ms > self.time_ms {
                break;
            }
            self.stale.pop_first();
            let versions = &mut self.versions[key as usize];
            let until = versions.partition_point(|(time, _)| *time <= self.time_ms);
            for (_, slot) in versions.drain(..until.saturating_sub(1)) {
                slot.into_iter().for_each(|slot| self.rows[1].remove(slot));
            }
            // A key that was deleted is as one that never was.
            if let [(time_ms, None)] = versions.as_slice()
                && *time_ms <= self.time_ms
            {
                versions.clear();
            }
            if let Some((second_ms, _)) = versions.get(1) {
                self.stale.insert((*second_ms, key));
            }
        }
    }

    fn compact(&mut self) -> Result<()> {
        if !self.keys.is_stale(self.rows[0].len() + self.rows[1].len()) {
            return Ok(());
        }
        let waits: BTreeSet<u32> = self.waiting.iter().map(|(_, _, key, _)| *key).collect();
        let live: Vec<u32> = (0..self.versions.len() as u32)
            .filter(|key| !self.versions[*key as usize].is_empty() || waits.contains(key))
            .collect();
        let new: std::collections::BTreeMap<u32, u32> = live.iter().copied().zip(0..).collect();
        self.keys.table = self.keys.table.subset(&live)?;
        self.versions = live.iter().map(|key| std::mem::take(&mut self.versions[*key as usize])).collect();
        self.written_ms = live.iter().map(|key| self.written_ms[*key as usize]).collect();
        let renumbered = |key: &u32| new.get(key).copied();
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter_map(|(time, arrival, key, slot)| Some((time, arrival, renumbered(&key)?, slot)))
            .collect();
        self.stale = self.stale.iter().filter_map(|(time, key)| Some((*time, renumbered(key)?))).collect();
        Ok(())
    }
}

impl Operator for TemporalJoin {
    fn process(&mut self, port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let side = port.min(1);
        let keys = self.number(side, &batch.rows)?;
        let times = self.times_of(side, &batch.rows)?;
        let encoded = self.rows[side].encode(batch.rows.columns())?;
        let matchable = self.matcher.spec.matchable(side, &batch.rows);
        let now_ms = out.now_ms();
        for (row, key) in keys.iter().enumerate() {
            let bytes = encoded.row(row);
            if side == 0 {
                self.wait(*key, times[row], bytes);
                continue;
            }
            if !matchable[row] {
                continue;
            }
            self.written_ms[*key as usize] = now_ms;
            match batch.changes.as_ref().map_or(ChangeKind::Insert, |kinds| kinds[row]) {
                ChangeKind::Insert | ChangeKind::UpdateAfter => {
                    self.add_version(*key, times[row], Some(bytes))
                }
                // The new form of the row follows.
                ChangeKind::UpdateBefore => {}
                ChangeKind::Delete => self.add_version(*key, times[row], None),
            }
        }
        if let Some(ttl) = self.matcher.spec.ttl_ms {
            out.set_timer(now_ms.saturating_add(ttl));
        }
        self.compact()
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = time_ms;
        self.answer(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.answer(out)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        let Some(ttl) = self.matcher.spec.ttl_ms else { return Ok(Firing::Done) };
        let mut oldest_ms = i64::MAX;
        for (versions, written_ms) in self.versions.iter_mut().zip(&self.written_ms) {
            if versions.is_empty() {
                continue;
            }
            if now_ms.saturating_sub(*written_ms) >= ttl {
                versions.drain(..).filter_map(|(_, slot)| slot).for_each(|slot| self.rows[1].remove(slot));
            } else {
                oldest_ms = oldest_ms.min(*written_ms);
            }
        }
        if oldest_ms < i64::MAX {
            out.set_timer(next_forgetting_ms(oldest_ms, now_ms, ttl));
        }
        self.compact()?;
        Ok(Firing::Done)
    }

    /// Per key group a byte for what follows: 0, rows that wait and their times, in order; 1, versions with their times and
    /// when they were written; 2, the keys of deleted rows with the times of that.
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        let ints = |values: &mut dyn Iterator<Item = i64>| {
            Arc::new(Int64Array::from_iter_values(values)) as ArrayRef
        };
        let all = self.waiting.iter().map(|(time, _, key, slot)| (*key, (*time, *slot)));
        for (group, rows) in self.keys.by_key_group(all) {
            let mut columns = self.rows[0].columns(rows.iter().map(|(_, slot)| *slot))?;
            columns.push(ints(&mut rows.iter().map(|(time, _)| *time)));
            state.put_group(group, [&[0][..], &encode_rows(&state_rows(columns)?)?].concat());
        }
        let versions = || {
            let of_key = |(key, versions): (u32, &'_ Vec<Version>)| {
                versions.iter().map(|(time, slot)| (key, *time, *slot)).collect::<Vec<_>>()
            };
            (0_u32..).zip(&self.versions).flat_map(of_key)
        };
        let rows = versions().filter_map(|(key, time, slot)| Some((key, (key, time, slot?))));
        for (group, rows) in self.keys.by_key_group(rows) {
            let mut columns = self.rows[1].columns(rows.iter().map(|(_, _, slot)| *slot))?;
            columns.push(ints(&mut rows.iter().map(|(_, time, _)| *time)));
            columns.push(ints(&mut rows.iter().map(|(key, ..)| self.written_ms[*key as usize])));
            state.put_group(group, [&[1][..], &encode_rows(&state_rows(columns)?)?].concat());
        }
        let gone = versions().filter(|(_, _, slot)| slot.is_none()).map(|(key, time, _)| (key, (key, time)));
        for (group, rows) in self.keys.by_key_group(gone) {
            let keys: Vec<u32> = rows.iter().map(|(key, _)| *key).collect();
            let mut columns = self.keys.table.columns(&keys)?;
            columns.push(ints(&mut rows.iter().map(|(_, time)| *time)));
            state.put_group(group, [&[2][..], &encode_rows(&state_rows(columns)?)?].concat());
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for (_, bytes) in state.groups() {
            let (what, bytes) = bytes.split_first().ok_or_else(|| Error::state("a join's state is empty"))?;
            let rows = decode_rows(bytes)?;
            let int = |column: &ArrayRef| column.as_primitive::<Int64Type>().clone();
            if *what == 2 {
                let (keys, times) = rows.columns().split_at(self.keys.width());
                self.keys.number_columns(keys, rows.num_rows())?;
                self.versions.resize_with(self.keys.table.len(), Vec::new);
                self.written_ms.resize(self.keys.table.len(), 0);
                let keys = self.keys.numbers.clone();
                keys.iter()
                    .zip(int(&times[0]).values())
                    .for_each(|(key, time)| self.add_version(*key, *time, None));
                continue;
            }
            let side = usize::from(*what).min(1);
            let (columns, beside) = rows.columns().split_at(self.matcher.spec.inputs[side].fields().len());
            let columns =
                RecordBatch::try_new(Arc::clone(&self.matcher.spec.inputs[side]), columns.to_vec())?;
            let keys = self.number(side, &columns)?;
            let encoded = self.rows[side].encode(columns.columns())?;
            let times = int(&beside[0]);
            for (row, key) in keys.iter().enumerate() {
                let bytes = encoded.row(row);
                if side == 0 {
                    self.wait(*key, times.value(row), bytes);
                } else {
                    self.add_version(*key, times.value(row), Some(bytes));
                    self.written_ms[*key as usize] = int(&beside[1]).value(row);
                }
            }
        }
        Ok(())
    }

    fn starts_with_timer(&self) -> bool {
        self.matcher.spec.ttl_ms.is_some()
    }
}
