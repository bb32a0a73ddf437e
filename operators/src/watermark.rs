//! The watermark assigner: how far event time has come, decided row by row in source order.
//!
//! Flink's assigner advances the watermark after every row. Here whole batches pass, and answers are the same: where a
//! row lies at or just above a watermark that earlier rows of its own batch have made, the batch is cut there and the
//! watermark goes between the pieces; a batch without such a row (the common case) passes whole with one watermark
//! after it. What is downstream may relax this ([`CutRule`]). So lateness never depends on where batches end. With several partitions, or with keys (one clock a
//! device), each row instead carries the watermark of its own clock, and the stream's watermark is the minimum over the
//! clocks that are not idle.
//!
//! Rows without an event time, or too far ahead of the wall clock, are bad rows: they are reported, and move no clock.
//! Rows come from the source (with computed columns added) and go to everything else. Flink: WatermarkAssignerOperator.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, PrimitiveArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::element::{WATERMARK_MAX_MS, WATERMARK_MIN_MS};
use millstream_engine::keys::KeyHasher;
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Batch, Error, Firing, InstanceContext, Operator, Output, Result};

use crate::expr::ExpressionRef;
use crate::keys::KeyTable;
use crate::row_text::row_text;

/// With keys and no idle timeout, a device that falls silent leaves the minimum after this long.
const KEYED_IDLE_TIMEOUT_MS: i64 = 60_000;
/// Up to this many keys the minimum is taken anew after every batch, above it once per as many rows as keys.
const KEYS_PER_SCAN: usize = 4_096;

/// When a row's lateness against a watermark from inside its own batch must show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CutRule {
    /// Always: cut the batch in front of the row.
    #[default]
    Always,
    /// Only windows with these slice lengths and offsets (ms) are downstream: cut where a watermark passes one of
    /// their boundaries, and nowhere else, so that rows of equal time do not make crumbs.
    Boundaries(Vec<(i64, i64)>),
    /// Only operators that go by each row's own clock are downstream (windows per key): never cut, send clocks.
    Clocks,
}

impl CutRule {
    /// The lowest running watermark that makes a difference to a row when `sent_ms` was the last one sent.
    fn cuts_from_ms(&self, sent_ms: i64) -> i64 {
        match self {
            Self::Always | Self::Clocks => sent_ms.saturating_add(1),
            Self::Boundaries(boundaries) => boundaries
                .iter()
                .map(|(slide, offset)| {
                    // A watermark of one below a boundary closes the slice that ends there.
                    let into = sent_ms.saturating_add(1).saturating_sub(*offset).rem_euclid(*slide);
                    sent_ms.saturating_add(slide - into)
                })
                .min()
                .unwrap_or(i64::MAX),
        }
    }
}

/// What a table says about its time.
#[derive(Debug, Clone)]
pub struct WatermarkSpec {
    /// The event-time column, `Timestamp(Millisecond)`.
    pub event_time: usize,
    /// The watermark that each row makes: `ts - INTERVAL '5' SECOND`.
    pub watermark: ExpressionRef,
    /// Columns whose every value keeps a clock of its own; empty for one clock a partition.
    pub keys: Vec<usize>,
    /// After this long without a row a clock leaves the minimum.
    pub idle_timeout_ms: Option<i64>,
    /// How far ahead of the wall clock an event time may be.
    pub ahead_max_ms: Option<i64>,
    /// What bad rows do.
    pub on_error: OnError,
    /// Where batches must be cut, which depends on what is downstream.
    pub cut: CutRule,
}

/// See the module's page.
pub struct WatermarkAssigner {
    spec: WatermarkSpec,
    errors: Option<RowErrors>,
    clocks: Clocks,
    idle_timeout_ms: Option<i64>,
    idle: bool,
    /// State was put back, and the stream has not been told its watermark yet.
    restored: bool,
    /// There are no other instances, whose partitions' clocks it could be that are restored.
    is_single: bool,
    rows_since_scan: usize,
    hashes: Vec<u64>,
    groups: Vec<u32>,
}

/// The running watermark of each clock.
#[derive(Default)]
struct Clocks {
    /// Numbers the keys; without keys, clocks are numbered by `partitions`.
    table: Option<(KeyTable, KeyHasher)>,
    partitions: BTreeMap<u32, u32>,
    /// Restored clocks of partitions that may be another instance's now: they count from when the source names them.
    former_ms: BTreeMap<u32, i64>,
    watermark_ms: Vec<i64>,
    /// When the clock last had a row, by the wall clock.
    seen_ms: Vec<i64>,
}

impl WatermarkAssigner {
    /// An assigner for a stream that `spec` describes.
    pub fn new(spec: WatermarkSpec) -> Self {
        let idle_timeout_ms = spec
            .idle_timeout_ms
            .or((!spec.keys.is_empty()).then_some(KEYED_IDLE_TIMEOUT_MS))
            .filter(|ms| *ms > 0);
        Self {
            spec,
            errors: None,
            clocks: Clocks::default(),
            idle_timeout_ms,
            idle: false,
            restored: false,
            is_single: true,
            rows_since_scan: 0,
            hashes: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Takes out rows that have no usable event time, and reports them.
    fn without_bad_rows(&self, batch: Batch, now_ms: i64) -> Result<Batch> {
        let column = batch.rows.column(self.spec.event_time);
        let times = column.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(|| {
            Error::internal(format!("the event-time column is {}, not TIMESTAMP(3)", column.data_type()))
        })?;
        let latest_ms = self.spec.ahead_max_ms.map_or(i64::MAX, |ahead| now_ms.saturating_add(ahead));
        if times.null_count() == 0 && times.values().iter().all(|time| *time <= latest_ms) {
            return Ok(batch);
        }
        let mut keep = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            let good = times.is_valid(row) && times.value(row) <= latest_ms;
            keep.push(good);
            if good {
                continue;
            }
            let error = if times.is_null(row) {
                Error::data("the event-time column is NULL")
                    .remedy("send a time, or filter such rows at the source")
            } else {
                let days = times.value(row).saturating_sub(now_ms) as f64 / 86_400_000.0;
                Error::data(format!("the event time is {days:.1} days ahead of this machine's clock")).remedy(
                    "set the device's clock, or raise 'scan.watermark.ahead-max' if such times are meant",
                )
            };
            match &self.errors {
                Some(errors) => errors.reject(row_text(&batch.rows, row).as_bytes(), error)?,
                None => return Err(error),
            }
        }
        batch.filter(&BooleanArray::from(keep))
    }

    /// One clock: cut where a row lies at or below a watermark made inside the batch.
    fn emit_in_order(
        &mut self,
        mut batch: Batch,
        marks: &PrimitiveArray<TimestampMillisecondType>,
        out: &mut Output<'_>,
    ) -> Result<()> {
        let before_ms = self.clocks.watermark_ms[0];
        let times = batch.event_times_ms().unwrap_or_default();
        let min_ms = times.iter().copied().min().unwrap_or(i64::MAX);
        let mut running_ms = before_ms;
        match marks.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => running_ms = marks.values().iter().copied().fold(running_ms, i64::max),
            Some(_) => running_ms = marks.iter().flatten().fold(running_ms, i64::max),
        }
        // Looking row by row is for the batch that reaches a watermark that matters with a row at or below it.
        let mut cuts: Vec<(usize, i64)> = Vec::new();
        if running_ms >= self.spec.cut.cuts_from_ms(before_ms) && min_ms <= running_ms.saturating_add(1) {
            running_ms = self.cuts(times, marks, &mut cuts);
        }
        batch.time_min_ms = min_ms;
        self.clocks.watermark_ms[0] = running_ms;
        let mut from = 0;
        for (row, watermark_ms) in cuts {
            if row > from {
                out.emit(batch.slice(from, row - from))?;
            }
            out.watermark(watermark_ms)?;
            from = row;
        }
        let rest = if from == 0 { batch } else { batch.slice(from, batch.num_rows() - from) };
        out.emit(rest)?;
        out.watermark(running_ms)
    }

    /// Where the batch must be cut, and the watermark that goes there; the watermark after its last row.
    fn cuts(
        &self,
        times: &[i64],
        marks: &PrimitiveArray<TimestampMillisecondType>,
        cuts: &mut Vec<(usize, i64)>,
    ) -> i64 {
        let mut running_ms = self.clocks.watermark_ms[0];
        let mut cuts_from_ms = self.spec.cut.cuts_from_ms(running_ms);
        for (row, time) in times.iter().enumerate() {
            // One above the watermark counts too: a session that ends there has closed, and would take the row in.
            if *time <= running_ms.saturating_add(1) && running_ms >= cuts_from_ms {
                cuts.push((row, running_ms));
                cuts_from_ms = self.spec.cut.cuts_from_ms(running_ms);
            }
            if marks.is_valid(row) {
                running_ms = running_ms.max(marks.value(row));
            }
        }
        running_ms
    }

    /// Several clocks: every row carries its own.
    fn emit_with_clocks(
        &mut self,
        mut batch: Batch,
        marks: &[i64],
        valid: impl Fn(usize) -> bool,
        out: &mut Output<'_>,
    ) -> Result<()> {
        let mut own = Vec::with_capacity(batch.num_rows());
        for (row, group) in self.groups.iter().enumerate() {
            let clock = &mut self.clocks.watermark_ms[*group as usize];
            own.push(*clock);
            if valid(row) {
                *clock = (*clock).max(marks[row]);
            }
        }
        batch.time_min_ms =
            batch.event_times_ms().and_then(|times| times.iter().copied().min()).unwrap_or(i64::MIN);
        batch.clocks = Some(Int64Array::from(own));
        self.rows_since_scan += batch.num_rows();
        out.emit(batch)?;
        let clocks = self.clocks.watermark_ms.len();
        if clocks <= KEYS_PER_SCAN || self.rows_since_scan >= clocks {
            self.send_minimum(out)?;
        }
        Ok(())
    }

    /// After a restore: clocks count as seen now, so that none is passed for the time that the program was away, and
    /// what is downstream learns how far the stream had come before it sees a row.
    fn take_up(&mut self, out: &mut Output<'_>) -> Result<()> {
        if !std::mem::take(&mut self.restored) {
            return Ok(());
        }
        self.clocks.seen_ms.fill(out.now_ms());
        self.send_minimum(out)
    }

    /// The minimum over the clocks that are not idle.
    fn send_minimum(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.rows_since_scan = 0;
        let oldest_ms = self.idle_timeout_ms.map_or(i64::MIN, |timeout| out.now_ms().saturating_sub(timeout));
        let active =
            self.clocks.watermark_ms.iter().zip(&self.clocks.seen_ms).filter(|(_, seen)| **seen >= oldest_ms);
        if let Some(time_ms) = active.map(|(watermark, _)| *watermark).min() {
            out.watermark(time_ms)?;
        }
        Ok(())
    }
}

impl Clocks {
    /// The number of a partition's clock.
    fn of_partition(&mut self, partition: u32, now_ms: i64) -> u32 {
        let next = self.partitions.len() as u32;
        let group = *self.partitions.entry(partition).or_insert(next);
        if self.watermark_ms.len() < self.partitions.len() {
            self.watermark_ms.push(self.former_ms.remove(&partition).unwrap_or(WATERMARK_MIN_MS));
        }
        self.seen_ms.resize(self.partitions.len(), now_ms);
        group
    }

    /// Numbers the clock of each row of `batch` into `groups`. True when there is one clock in all.
    fn number(
        &mut self,
        batch: &Batch,
        keys: &[usize],
        hashes: &mut Vec<u64>,
        groups: &mut Vec<u32>,
        now_ms: i64,
    ) -> Result<bool> {
        let rows = batch.num_rows();
        if keys.is_empty() {
            let group = self.of_partition(batch.partition, now_ms);
            groups.clear();
            groups.resize(rows, group);
        } else {
            let columns: Vec<ArrayRef> = keys.iter().map(|key| Arc::clone(batch.rows.column(*key))).collect();
            let (table, hasher) = match &mut self.table {
                Some(table) => table,
                None => {
                    let types: Vec<_> = columns.iter().map(|column| column.data_type().clone()).collect();
                    self.table.insert((KeyTable::new(&types)?, KeyHasher::new(&types)?))
                }
            };
            hasher.hash(&columns, rows, hashes)?;
            let prepared = table.prepare(&columns, rows)?;
            table.intern(&prepared, hashes, 0, rows, groups);
        }
        let clocks = self.table.as_ref().map_or(self.partitions.len(), |(table, _)| table.len());
        self.watermark_ms.resize(clocks, WATERMARK_MIN_MS);
        self.seen_ms.resize(clocks, now_ms);
        if keys.is_empty() {
            self.seen_ms[groups[0] as usize] = now_ms;
        } else {
            for group in groups.iter() {
                self.seen_ms[*group as usize] = now_ms;
            }
        }
        Ok(keys.is_empty() && clocks == 1)
    }
}

impl Operator for WatermarkAssigner {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.errors = Some(context.row_errors(self.spec.on_error));
        self.is_single = context.parallelism == 1;
        Ok(())
    }

    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now_ms = out.now_ms();
        self.take_up(out)?;
        let mut batch = self.without_bad_rows(batch, now_ms)?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.event_time = Some(self.spec.event_time);
        if self.idle {
            self.idle = false;
            if let Some(timeout) = self.idle_timeout_ms {
                out.set_timer(now_ms.saturating_add(timeout));
            }
        }
        let marks = self.spec.watermark.evaluate(&batch.rows)?;
        let marks = marks
            .as_primitive_opt::<TimestampMillisecondType>()
            .ok_or_else(|| {
                Error::internal(format!("the watermark is {}, not TIMESTAMP(3)", marks.data_type()))
            })?
            .clone();
        let one = self.clocks.number(&batch, &self.spec.keys, &mut self.hashes, &mut self.groups, now_ms)?;
        batch.partition = 0;
        if one && self.spec.cut != CutRule::Clocks {
            self.emit_in_order(batch, &marks, out)
        } else {
            self.emit_with_clocks(batch, marks.values(), |row| marks.is_valid(row), out)
        }
    }

    /// The partition's clock is there before its first row, so that those that are read first do not run ahead of it.
    fn expect_partition(&mut self, partition: u32, has_rows: bool, now_ms: i64) {
        let is_former = self.clocks.former_ms.contains_key(&partition);
        if self.spec.keys.is_empty() && (has_rows || is_former) {
            self.clocks.of_partition(partition, now_ms);
            self.restored |= is_former;
        }
    }

    /// The source's own watermarks end here, but for the last one, which closes everything.
    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if time_ms == WATERMARK_MAX_MS {
            out.watermark(WATERMARK_MAX_MS)?;
        }
        Ok(Firing::Done)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        let Some(timeout) = self.idle_timeout_ms else { return Ok(Firing::Done) };
        self.take_up(out)?;
        match self.clocks.seen_ms.iter().max() {
            // Nothing has come since the start: give it one timeout.
            None if !self.idle && self.rows_since_scan == 0 => {
                self.rows_since_scan = 1;
                out.set_timer(now_ms.saturating_add(timeout));
            }
            Some(last) if now_ms.saturating_sub(*last) < timeout => {
                self.send_minimum(out)?;
                // The clock that will fall idle next decides when to look again.
                let oldest_ms = now_ms.saturating_sub(timeout);
                let next = self.clocks.seen_ms.iter().filter(|seen| **seen > oldest_ms).min().copied();
                out.set_timer(next.unwrap_or(now_ms).saturating_add(timeout).max(now_ms + 1));
            }
            _ => {
                self.idle = true;
                out.idle()?;
            }
        }
        Ok(Firing::Done)
    }

    fn starts_with_timer(&self) -> bool {
        self.idle_timeout_ms.is_some()
    }

    fn forwards_watermarks(&self) -> bool {
        false
    }

    /// One blob: the clocks as rows of (partition or key columns, watermark).
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        let clocks = &self.clocks;
        let mut columns: Vec<ArrayRef> = match &clocks.table {
            Some((table, _)) => table.columns(&(0..table.len() as u32).collect::<Vec<_>>())?,
            None => {
                let mut partitions = vec![0_i64; clocks.partitions.len()];
                clocks
                    .partitions
                    .iter()
                    .for_each(|(partition, group)| partitions[*group as usize] = i64::from(*partition));
                partitions.extend(clocks.former_ms.keys().map(|partition| i64::from(*partition)));
                vec![Arc::new(Int64Array::from(partitions))]
            }
        };
        let marks = clocks.watermark_ms.iter().chain(clocks.former_ms.values()).copied();
        columns.push(Arc::new(Int64Array::from_iter_values(marks)));
        let fields: Vec<_> =
            columns.iter().map(|column| Field::new("c", column.data_type().clone(), true)).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        state.put_blob(encode_rows(&rows)?);
        Ok(())
    }

    /// Of several former instances' clocks of one key, the one that is furthest back counts: no row that was not
    /// late then is late now. A partition has had one reader; what others wrote of it is older, so the furthest counts.
    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.restored = true;
        for blob in state.blobs() {
            let rows = decode_rows(blob)?;
            if rows.num_rows() == 0 {
                continue;
            }
            let (marks, names) =
                (rows.column(rows.num_columns() - 1), &rows.columns()[..rows.num_columns() - 1]);
            let marks = marks.as_primitive::<Int64Type>();
            let known = self.clocks.watermark_ms.len();
            if self.spec.keys.is_empty() {
                for (partition, mark) in
                    names[0].as_primitive::<Int64Type>().values().iter().zip(marks.values())
                {
                    let partition = u32::try_from(*partition).unwrap_or(0);
                    let former_ms = self.clocks.former_ms.entry(partition).or_insert(*mark);
                    *former_ms = (*former_ms).max(*mark);
                }
                continue;
            }
            let types: Vec<DataType> = names.iter().map(|column| column.data_type().clone()).collect();
            let (table, hasher) = match &mut self.clocks.table {
                Some(table) => table,
                None => self.clocks.table.insert((KeyTable::new(&types)?, KeyHasher::new(&types)?)),
            };
            hasher.hash(names, rows.num_rows(), &mut self.hashes)?;
            let prepared = table.prepare(names, rows.num_rows())?;
            table.intern(&prepared, &self.hashes, 0, rows.num_rows(), &mut self.groups);
            for (group, mark) in self.groups.iter().zip(marks.values()) {
                let group = *group as usize;
                if group >= known {
                    self.clocks.watermark_ms.resize(group + 1, *mark);
                    self.clocks.seen_ms.resize(group + 1, i64::MIN);
                    self.clocks.watermark_ms[group] = *mark;
                } else {
                    self.clocks.watermark_ms[group] = self.clocks.watermark_ms[group].min(*mark);
                }
            }
        }
        if self.is_single {
            for partition in self.clocks.former_ms.keys().copied().collect::<Vec<_>>() {
                self.clocks.of_partition(partition, i64::MIN);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{StringArray, TimestampMillisecondArray};
    use arrow_schema::TimeUnit;
    use millstream_engine::harness::{Emitted, OperatorHarness};

    use crate::expr::Expression;

    /// `ts - delay`.
    #[derive(Debug)]
    struct Behind(i64);
    impl Expression for Behind {
        fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
            let times = rows.column(0).as_primitive::<TimestampMillisecondType>();
            Ok(Arc::new(times.unary::<_, TimestampMillisecondType>(|time| time - self.0)))
        }
    }

    fn batch(rows: &[(Option<i64>, &str)]) -> Batch {
        let schema = Arc::new(Schema::new(vec![
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("device", DataType::Utf8, true),
        ]));
        let times: TimestampMillisecondArray = rows.iter().map(|row| row.0).collect();
        let names: StringArray = rows.iter().map(|row| Some(row.1)).collect();
        Batch::new(RecordBatch::try_new(schema, vec![Arc::new(times), Arc::new(names)]).unwrap())
    }

    fn times(times: &[i64]) -> Batch {
        batch(&times.iter().map(|time| (Some(*time), "a")).collect::<Vec<_>>())
    }

    fn spec() -> WatermarkSpec {
        WatermarkSpec {
            event_time: 0,
            watermark: Arc::new(Behind(5)),
            keys: Vec::new(),
            idle_timeout_ms: None,
            ahead_max_ms: None,
            on_error: OnError::DeadLetter,
            cut: CutRule::Always,
        }
    }

    fn text(emitted: &[Emitted]) -> String {
        let show = |item: &Emitted| match item {
            Emitted::Rows(batch) => match &batch.clocks {
                Some(clocks) => {
                    format!("{:?}@{:?}", batch.event_times_ms().unwrap(), clocks.values().to_vec())
                }
                None => format!("{:?}", batch.event_times_ms().unwrap()),
            },
            Emitted::Late(_) => "late".into(),
            Emitted::Watermark(i64::MAX) => "wmax".into(),
            Emitted::Watermark(time) => format!("w{time}"),
        };
        emitted.iter().map(show).collect::<Vec<_>>().join(" ").replace(&i64::MIN.to_string(), "-")
    }

    #[test]
    fn a_partition_with_a_backlog_holds_the_watermark_before_its_first_row() {
        let mut assigner = WatermarkAssigner::new(spec());
        assigner.expect_partition(7, true, 0);
        let mut run = OperatorHarness::new(Box::new(assigner)).unwrap();
        assert_eq!(text(&run.batch(times(&[10])).unwrap()), "[10]@[-]");
        let other = Batch { partition: 7, ..times(&[8]) };
        assert_eq!(text(&run.batch(other).unwrap()), "[8]@[-] w3");
    }

    /// The clock of a partition that another instance reads now holds nothing back.
    #[test]
    fn restored_clocks_count_where_their_partition_is_read() {
        let mut before = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
        before.batch(times(&[10])).unwrap();
        before.batch(Batch { partition: 7, ..times(&[100]) }).unwrap();
        let state = OperatorHarness::gather_all(&[before.snapshot().unwrap().1]);
        let mut assigner = WatermarkAssigner::new(spec());
        assigner.is_single = false;
        assigner.restore(&state).unwrap();
        assigner.expect_partition(7, false, 0);
        assigner.expect_partition(8, false, 0);
        let mut after = OperatorHarness::new(Box::new(assigner)).unwrap();
        assert_eq!(text(&after.batch(Batch { partition: 7, ..times(&[200]) }).unwrap()), "w95 [200] w195");
        // Nothing is forgotten of the others, should this instance have them after another restore.
        let state = OperatorHarness::gather_all(&[after.snapshot().unwrap().1]);
        let single = Box::new(WatermarkAssigner::new(spec()));
        let mut single = OperatorHarness::instance_of(single, 0, 1, &state).unwrap();
        assert_eq!(text(&single.batch(times(&[300])).unwrap()), "w5 [300]@[5] w195");
    }

    #[test]
    fn a_batch_in_order_passes_whole() {
        let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
        assert_eq!(text(&harness.batch(times(&[10, 12, 9, 14])).unwrap()), "[10, 12, 9, 14] w9");
        // Below what was already sent: no cut is needed, the channel's watermark says it.
        assert_eq!(text(&harness.batch(times(&[3])).unwrap()), "[3]");
        assert_eq!(text(&harness.watermark(50).unwrap()), "");
        assert_eq!(text(&harness.watermark(i64::MAX).unwrap()), "wmax");
    }

    #[test]
    fn a_late_row_is_cut_off_behind_the_watermark_that_makes_it_late() {
        let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
        let out = harness.batch(times(&[10, 20, 16, 14, 30, 27, 25])).unwrap();
        assert_eq!(text(&out), "[10, 20] w15 [16, 14, 30, 27] w25 [25]");
    }

    #[test]
    fn each_key_has_its_own_clock() {
        let spec = WatermarkSpec { keys: vec![1], ..spec() };
        let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec.clone()))).unwrap();
        let rows = batch(&[(Some(100), "a"), (Some(10), "b"), (Some(90), "a"), (Some(11), "b")]);
        assert_eq!(text(&harness.batch(rows).unwrap()), "[100, 10, 90, 11]@[-, -, 95, 5] w6");
        let (_, snapshot) = harness.snapshot().unwrap();
        let state = OperatorHarness::gather_all(&[snapshot]);
        let mut restored =
            OperatorHarness::instance_of(Box::new(WatermarkAssigner::new(spec)), 0, 1, &state).unwrap();
        assert_eq!(text(&restored.batch(batch(&[(Some(20), "b")])).unwrap()), "w6 [20]@[6] w15");
    }

    #[test]
    fn a_silent_key_leaves_the_minimum_and_a_silent_stream_is_idle() {
        let spec = WatermarkSpec { keys: vec![1], idle_timeout_ms: Some(1_000), ..spec() };
        let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
        harness.advance(0).unwrap();
        assert_eq!(
            text(&harness.batch(batch(&[(Some(100), "a"), (Some(10), "b")])).unwrap()),
            "[100, 10]@[-, -] w5"
        );
        harness.advance(600).unwrap();
        harness.batch(batch(&[(Some(110), "a")])).unwrap();
        assert_eq!(text(&harness.advance(500).unwrap()), "w105");
    }

    #[test]
    fn bad_times_are_reported_and_move_nothing() {
        let spec = WatermarkSpec { ahead_max_ms: Some(1_000), ..spec() };
        let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
        let out =
            harness.batch(batch(&[(None, "a"), (Some(10), "b"), (Some(315_576_000_000), "c")])).unwrap();
        assert_eq!(text(&out), "[10] w5");
        assert_eq!(harness.metrics().rows_dead_letter.get(), 2);
    }

    /// What was late before the program stopped is late after it has started again.
    #[test]
    fn a_restored_assigner_says_its_watermark_before_the_first_row() {
        let mut before = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
        before.batch(times(&[1_000])).unwrap();
        let state = OperatorHarness::gather_all(&[before.snapshot().unwrap().1]);
        let after = Box::new(WatermarkAssigner::new(spec()));
        let mut after = OperatorHarness::instance_of(after, 0, 1, &state).unwrap();
        assert_eq!(text(&after.batch(times(&[10])).unwrap()), "w995 [10]");
    }
}
