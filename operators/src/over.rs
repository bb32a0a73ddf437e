//! Aggregates with OVER: every row with what is computed over the rows before it, in order of time.
//!
//! Rows wait until the watermark has passed their time, so that the order is final, and leave with their results then;
//! by the wall clock they leave at once. Peers (rows of equal time) see each other in a RANGE frame, and in order of
//! arrival in a ROWS frame. Keys whose rows are due are done side by side: the first row of each, the second of each, …,
//! so that each step is one call over columns.
//!
//! Invariants: a row is late exactly when its frame was answered by the clock it came under (Flink: unbounded frames go
//! by the watermark, bounded ones by the last row that was answered, so that a row behind its clock may be taken: it is
//! answered with the next watermark, and makes none late before); late rows are counted. Rows that have left a bounded
//! frame are taken out of the aggregates and forgotten. Flink: RowTimeRangeBoundedPrecedingFunction and its kin.

mod partition;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use millstream_engine::batch::record_batch;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use crate::aggregate::{Accumulator, AggregateCall, to_input};
use crate::keyed::{Keyed, next_forgetting_ms};
use crate::row_store::RowStore;
use crate::window::{TimeMode, clock_of, count_late};
use partition::{Partition, Row, Waiting};

/// Rows done at a time, about.
const CHUNK_ROWS: usize = 4_096;

/// The rows that a row's aggregates are over: from so far back up to the row itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// All rows before it.
    Rows,
    /// All rows before it, and its peers.
    Range,
    /// So many rows before it.
    RowsBefore(usize),
    /// Rows that are at most so many ms older, and its peers.
    RangeBefore(i64),
}

impl Frame {
    fn has_peers(self) -> bool {
        matches!(self, Self::Range | Self::RangeBefore(_))
    }

    fn is_bounded(self) -> bool {
        matches!(self, Self::RowsBefore(_) | Self::RangeBefore(_))
    }
}

/// Aggregates with OVER.
#[derive(Debug, Clone)]
pub struct OverSpec {
    /// The rows coming in.
    pub input: SchemaRef,
    /// The columns of PARTITION BY.
    pub partition: Vec<usize>,
    /// Event time, or the wall clock.
    pub time: TimeMode,
    /// The event-time column; any for the wall clock.
    pub event_time: usize,
    /// The rows that are aggregated.
    pub frame: Frame,
    /// What is computed.
    pub aggregates: Vec<AggregateCall>,
    /// How long a partition lives that is not written, in ms.
    pub ttl_ms: Option<i64>,
}

impl OverSpec {
    /// Columns of the result: the input's, aggregates.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn output_schema(&self) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = self.input.fields().iter().map(|field| field.as_ref().clone()).collect();
        for call in &self.aggregates {
            fields.push(Field::new(&call.name, call.kind.output_type(&self.argument_type(call))?, true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn argument_type(&self, call: &AggregateCall) -> DataType {
        call.argument.map_or(DataType::Int64, |column| self.input.field(column).data_type().clone())
    }

    fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        let of_call = |call: &AggregateCall| {
            let kind = self.argument_type(call);
            if self.frame.is_bounded() {
                call.accumulator_taking_back(&kind)
            } else {
                call.accumulator(&kind)
            }
        };
        self.aggregates.iter().map(of_call).collect()
    }
}

/// See the module's page.
pub struct Over {
    spec: OverSpec,
    output: SchemaRef,
    keys: Keyed,
    rows: RowStore,
    partitions: Vec<Partition>,
    /// The partitions with rows behind their clocks.
    behind: BTreeSet<u32>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// The partitions with waiting rows, by the time of their first.
    due: BTreeSet<(i64, u32)>,
    time_ms: i64,
    live: usize,
}

impl Over {
    /// Aggregates of `spec`.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type, or cannot take rows back where the frame is bounded.
    pub fn new(spec: &OverSpec) -> Result<Self> {
        Ok(Self {
            output: spec.output_schema()?,
            keys: Keyed::new(&spec.input, &spec.partition)?,
            rows: RowStore::new(spec.input.fields().iter().map(|field| field.data_type().clone()))?,
            partitions: Vec::new(),
            behind: BTreeSet::new(),
            accumulators: spec.accumulators()?,
            due: BTreeSet::new(),
            time_ms: i64::MIN,
            live: 0,
            spec: spec.clone(),
        })
    }

    fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        self.keys.number(rows)?;
        self.grow();
        Ok(self.keys.numbers.clone())
    }

    fn grow(&mut self) {
        let keys = self.keys.table.len();
        self.partitions.resize_with(keys, Partition::default);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(keys));
    }

    /// True when the row's frame has been answered by the clock it comes under.
    fn is_late(&mut self, key: u32, time_ms: i64, clock_ms: i64) -> bool {
        if time_ms > clock_ms || !self.spec.frame.is_bounded() {
            return time_ms <= clock_ms;
        }
        self.pass(key, clock_ms);
        self.partitions[key as usize].answered_by(clock_ms).is_some_and(|answered| time_ms <= answered)
    }

    /// Keeps a row of `time_ms` that came under `clock_ms` until the watermark has passed both.
    fn wait(&mut self, key: u32, time_ms: i64, clock_ms: i64, row: &[u8]) {
        let slot = self.rows.insert(row);
        if time_ms > clock_ms {
            self.wait_for_time(key, Waiting { time_ms, slot, clock_ms: i64::MIN });
        } else {
            self.partitions[key as usize].wait_behind(Waiting { time_ms, slot, clock_ms });
            self.behind.insert(key);
        }
    }

    fn wait_for_time(&mut self, key: u32, row: Waiting) {
        let waiting = &mut self.partitions[key as usize].waiting;
        let first = waiting.front().map(|first| first.time_ms);
        let at = waiting.partition_point(|other| other.time_ms <= row.time_ms);
        waiting.insert(at, row);
        if at == 0 {
            if let Some(first) = first {
                self.due.remove(&(first, key));
            }
            self.due.insert((row.time_ms, key));
        }
    }

    /// Has the rows of a partition that came under clocks before `clock_ms` wait for their time.
    fn pass(&mut self, key: u32, clock_ms: i64) {
        while let Some(row) = self.partitions[key as usize].next_behind(clock_ms) {
            self.wait_for_time(key, row);
        }
        if self.partitions[key as usize].behind.is_empty() {
            self.behind.remove(&key);
        }
    }

    /// Answers a chunk of the rows that are due.
    fn answer(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let mut due: Vec<(u32, Vec<Waiting>)> = Vec::new();
        let mut count = 0;
        while count < CHUNK_ROWS {
            let Some(&(first_ms, key)) = self.due.first() else { break };
            if first_ms > self.time_ms {
                break;
            }
            self.due.pop_first();
            let waiting = &mut self.partitions[key as usize].waiting;
            let until = waiting.partition_point(|row| row.time_ms <= self.time_ms);
            let rows: Vec<Waiting> = waiting.drain(..until).collect();
            if let Some(next) = waiting.front() {
                self.due.insert((next.time_ms, key));
            }
            count += rows.len();
            due.push((key, rows));
        }
        if due.is_empty() {
            return Ok(Firing::Done);
        }
        let slots = due.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.slot));
        let columns = self.rows.columns(slots)?;
        // Where each partition's rows begin among the columns.
        let mut starts = Vec::with_capacity(due.len());
        let mut start = 0;
        for (_, rows) in &due {
            starts.push(start);
            start += rows.len();
        }
        let mut done = vec![0_usize; due.len()];
        loop {
            let (mut keys, mut rows, mut clocks) = (Vec::new(), Vec::new(), Vec::new());
            let mut leaving: Vec<Row> = Vec::new();
            let mut leaving_keys = Vec::new();
            for (at, (key, all)) in due.iter().enumerate() {
                let Some(Waiting { time_ms, .. }) = all.get(done[at]) else { continue };
                let peers = if self.spec.frame.has_peers() {
                    all[done[at]..].iter().take_while(|row| row.time_ms == *time_ms).count()
                } else {
                    1
                };
                for (offset, row) in all[done[at]..done[at] + peers].iter().enumerate() {
                    keys.push(*key);
                    rows.push((starts[at] + done[at] + offset) as u32);
                    clocks.push(row.clock_ms);
                    self.enter(*key, (row.time_ms, row.slot));
                }
                done[at] += peers;
                let before = leaving.len();
                self.partitions[*key as usize].leave(self.spec.frame, *time_ms, &mut leaving);
                leaving_keys.resize(leaving_keys.len() + leaving.len() - before, *key);
            }
            if keys.is_empty() {
                break;
            }
            self.round(&columns, (&keys, rows, clocks), (&leaving_keys, &leaving), out)?;
        }
        if !self.spec.frame.is_bounded() {
            let gone = due.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.slot));
            gone.for_each(|slot| self.rows.remove(slot));
        }
        Ok(if self.due.first().is_some_and(|(first, _)| *first <= self.time_ms) {
            Firing::More
        } else {
            Firing::Done
        })
    }

    fn enter(&mut self, key: u32, row: Row) {
        let partition = &mut self.partitions[key as usize];
        partition.answered_ms = Some(row.0);
        if self.spec.frame.is_bounded() {
            partition.frame.push_back(row);
        }
    }

    /// Adds one step's rows to their aggregates, takes out what leaves, and emits the rows with their results.
    fn round(
        &mut self,
        columns: &[ArrayRef],
        (keys, rows, clocks): (&[u32], Vec<u32>, Vec<i64>),
        (leaving_keys, leaving): (&[u32], &[Row]),
        out: &mut Output<'_>,
    ) -> Result<()> {
        let rows = UInt32Array::from(rows);
        let mut result =
            columns.iter().map(|column| Ok(take(column, &rows, None)?)).collect::<Result<Vec<ArrayRef>>>()?;
        let gone = if leaving.is_empty() {
            None
        } else {
            Some(self.rows.columns(leaving.iter().map(|(_, slot)| *slot))?)
        };
        let mut answers = Vec::with_capacity(self.accumulators.len());
        for (call, accumulator) in self.spec.aggregates.iter().zip(&mut self.accumulators) {
            let argument = |columns: &[ArrayRef], accumulator: &dyn Accumulator| {
                let column = call.argument.map(|index| to_input(&columns[index], accumulator)).transpose()?;
                let filter = call.filter.and_then(|index| columns[index].as_boolean_opt().cloned());
                Ok::<_, Error>((column, filter))
            };
            let (column, filter) = argument(&result, accumulator.as_ref())?;
            accumulator.update(keys, column.as_ref(), filter.as_ref())?;
            if let Some(gone) = &gone {
                let (column, filter) = argument(gone, accumulator.as_ref())?;
                accumulator.retract(leaving_keys, column.as_ref(), filter.as_ref())?;
            }
            answers.push(accumulator.evaluate(keys)?);
        }
        leaving.iter().for_each(|(_, slot)| self.rows.remove(*slot));
        result.extend(answers);
        let mut batch = Batch::new(record_batch(Arc::clone(&self.output), result, rows.len())?);
        batch.event_time = (self.spec.time == TimeMode::Event).then_some(self.spec.event_time);
        // A row behind the clock it came under must look so to what comes next, however the rows came in batches.
        if clocks.iter().any(|clock_ms| *clock_ms > i64::MIN) {
            batch.clocks = Some(Int64Array::from(clocks));
        }
        out.emit(batch)
    }

    /// Forgets the partitions that were not written for their time to live.
    fn forget(&mut self, now_ms: i64, ttl_ms: i64) -> Result<Option<i64>> {
        let mut oldest = None;
        for (key, partition) in self.partitions.iter_mut().enumerate() {
            if partition.answered_ms.is_none() || partition.has_waiting() {
                continue;
            }
            if now_ms.saturating_sub(partition.written_ms) >= ttl_ms {
                partition.frame.iter().for_each(|(_, slot)| self.rows.remove(*slot));
                *partition = Partition::default();
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.reset(key));
            } else {
                oldest =
                    Some(oldest.map_or(partition.written_ms, |oldest: i64| oldest.min(partition.written_ms)));
            }
        }
        self.live = self.live_keys().count();
        if self.keys.is_stale(self.live) {
            self.compact()?;
        }
        Ok(oldest)
    }

    fn compact(&mut self) -> Result<()> {
        let live: Vec<u32> = self.live_keys().collect();
        let numbers: Vec<u32> = (0..live.len() as u32).collect();
        self.keys.table = self.keys.table.subset(&live)?;
        for accumulator in &mut self.accumulators {
            let state = accumulator.state(&live)?;
            let mut fresh = accumulator.fresh();
            fresh.resize(live.len());
            fresh.merge_state(&numbers, &state)?;
            *accumulator = fresh;
        }
        self.partitions =
            live.iter().map(|key| std::mem::take(&mut self.partitions[*key as usize])).collect();
        self.due = (0_u32..)
            .zip(&self.partitions)
            .filter_map(|(key, partition)| Some((partition.waiting.front()?.time_ms, key)))
            .collect();
        let is_behind = |(_, partition): &(u32, &Partition)| !partition.behind.is_empty();
        self.behind = (0_u32..).zip(&self.partitions).filter(is_behind).map(|(key, _)| key).collect();
        Ok(())
    }

    fn live_keys(&self) -> impl Iterator<Item = u32> {
        let lives = |partition: &Partition| partition.answered_ms.is_some() || partition.has_waiting();
        (0_u32..).zip(&self.partitions).filter(move |(_, partition)| lives(partition)).map(|(key, _)| key)
    }
}

impl Operator for Over {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now_ms = out.now_ms();
        let keys = self.number(&batch.rows)?;
        let encoded = self.rows.encode(batch.rows.columns())?;
        keys.iter().for_each(|key| self.partitions[*key as usize].written_ms = now_ms);
        if let Some(ttl) = self.spec.ttl_ms {
            out.set_timer(now_ms.saturating_add(ttl));
        }
        if self.spec.time == TimeMode::Processing {
            for (row, key) in keys.iter().enumerate() {
                self.wait(*key, now_ms, i64::MIN, encoded.row(row));
            }
            self.time_ms = now_ms;
            while self.answer(out)? == Firing::More {}
            return Ok(());
        }
        let times = batch.event_times_ms();
        let times = times.ok_or_else(|| Error::internal("rows without event time reached OVER"))?;
        let mut late = vec![false; times.len()];
        for (row, time_ms) in times.iter().enumerate() {
            let clock_ms = clock_of(&batch, row, out);
            late[row] = self.is_late(keys[row], *time_ms, clock_ms);
            if !late[row] {
                self.wait(keys[row], *time_ms, clock_ms, encoded.row(row));
            }
        }
        count_late(&batch, late, out)?;
        Ok(())
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if self.spec.time == TimeMode::Processing {
            return Ok(Firing::Done);
        }
        self.time_ms = time_ms;
        let behind: Vec<u32> = self.behind.iter().copied().collect();
        behind.into_iter().for_each(|key| self.pass(key, time_ms));
        self.answer(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.answer(out)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if let Some(ttl) = self.spec.ttl_ms
            && let Some(oldest_ms) = self.forget(now_ms, ttl)?
        {
            out.set_timer(next_forgetting_ms(oldest_ms, now_ms, ttl));
        }
        Ok(Firing::Done)
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.write_state(state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.read_state(state)
    }

    fn starts_with_timer(&self) -> bool {
        self.spec.ttl_ms.is_some()
    }
}

#[cfg(test)]
mod tests;
