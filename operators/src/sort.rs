//! `ORDER BY ts, …` of a stream: rows leave in order of time, and by further columns among those of one time.
//!
//! By event time rows wait until the watermark has passed their time, so that none before them can come; by the wall
//! clock they leave at once, each batch in order of the further columns. Rows come from anywhere, gathered in one
//! instance, and go to a sink.
//!
//! Invariants: what leaves is in order. A row whose time the watermark has passed, while nothing of that time
//! or later had left, leaves with the next watermark, as in Flink. A row is late when a row of its
//! time, or a later one, has been answered by the clock it came under; late rows are counted. Flink: RowTimeSortOperator.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_row::{RowConverter, Rows};
use arrow_schema::SchemaRef;
use millstream_engine::batch::record_batch;
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use crate::keyed::state_rows;
use crate::row_store::RowStore;
use crate::top::SortKey;
use crate::window::{TimeMode, clock_of, count_late};

/// Rows that leave at a time, about.
const CHUNK_ROWS: usize = 4_096;

/// An order of a stream.
#[derive(Debug, Clone)]
pub struct SortSpec {
    /// The rows coming in.
    pub input: SchemaRef,
    /// Event time, or the wall clock.
    pub time: TimeMode,
    /// The event-time column; any for the wall clock.
    pub event_time: usize,
    /// What rows of one time are ordered by; those that are equal leave as they came.
    pub order: Vec<SortKey>,
}

/// A row by its time, its arrival, its number, and the clock it came under.
type Waiting = (i64, u64, u32, i64);

/// See the module's page.
pub struct Sort {
    spec: SortSpec,
    rows: RowStore,
    order: Option<RowConverter>,
    waiting: BTreeSet<Waiting>,
    /// Rows that came behind the clock they are under, by that clock first: they leave with the first watermark above it,
    /// and nothing is late against them before.
    behind: BTreeSet<(i64, i64, u64, u32)>,
    arrivals: u64,
    /// The time of the last row that left.
    answered_ms: Option<i64>,
    time_ms: i64,
}

impl Sort {
    /// An order of `spec`.
    ///
    /// # Errors
    /// If a column cannot be kept or ordered.
    pub fn new(spec: &SortSpec) -> Result<Self> {
        let order = spec.order.iter().map(|key| key.field(&spec.input)).collect::<Vec<_>>();
        Ok(Self {
            rows: RowStore::new(spec.input.fields().iter().map(|field| field.data_type().clone()))?,
            order: if order.is_empty() { None } else { Some(RowConverter::new(order)?) },
            waiting: BTreeSet::new(),
            behind: BTreeSet::new(),
            arrivals: 0,
            answered_ms: None,
            time_ms: i64::MIN,
            spec: spec.clone(),
        })
    }

    fn encode_order(&self, columns: &[ArrayRef]) -> Result<Option<Rows>> {
        let Some(converter) = &self.order else { return Ok(None) };
        let by: Vec<ArrayRef> = self.spec.order.iter().map(|key| Arc::clone(&columns[key.column])).collect();
        Ok(Some(converter.convert_columns(&by)?))
    }

    /// Puts the rows that leave with a watermark of `clock_ms` among those that wait for their time.
    fn pass(&mut self, clock_ms: i64) {
        while self.behind.first().is_some_and(|(under_ms, ..)| *under_ms < clock_ms) {
            let Some((under_ms, time_ms, arrival, slot)) = self.behind.pop_first() else { break };
            self.waiting.insert((time_ms, arrival, slot, under_ms));
        }
    }

    /// True when a row of that time or later has been answered by the clock the row comes under.
    fn is_late(&mut self, time_ms: i64, clock_ms: i64) -> bool {
        if time_ms > clock_ms {
            return false;
        }
        self.pass(clock_ms);
        let due = self.waiting.range(..=(clock_ms, u64::MAX, u32::MAX, i64::MAX)).next_back();
        due.map(|(due_ms, ..)| *due_ms).or(self.answered_ms).is_some_and(|answered| time_ms <= answered)
    }

    fn wait(&mut self, time_ms: i64, clock_ms: i64, order: &[u8], row: &[u8]) {
        let slot = self.rows.insert_with(order, row);
        self.arrivals += 1;
        if time_ms > clock_ms {
            self.waiting.insert((time_ms, self.arrivals, slot, clock_ms));
        } else {
            self.behind.insert((clock_ms, time_ms, self.arrivals, slot));
        }
    }

    /// Sends a chunk of the rows that are due, those of one time together.
    fn answer(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let mut due: Vec<Waiting> = Vec::new();
        while let Some(&(time_ms, ..)) = self.waiting.first() {
            let is_new_time = due.last().is_none_or(|(last_ms, ..)| *last_ms != time_ms);
            if time_ms > self.time_ms || (is_new_time && due.len() >= CHUNK_ROWS) {
                break;
            }
            due.extend(self.waiting.pop_first());
        }
        let Some(&(last_ms, ..)) = due.last() else { return Ok(Firing::Done) };
        self.answered_ms = Some(last_ms);
        if self.order.is_some() {
            for peers in due.chunk_by_mut(|one, other| one.0 == other.0) {
                peers.sort_by(|one, other| self.rows.prefix(one.2).cmp(self.rows.prefix(other.2)));
            }
        }
        let columns = self.rows.columns(due.iter().map(|(_, _, slot, _)| *slot))?;
        due.iter().for_each(|(_, _, slot, _)| self.rows.remove(*slot));
        let mut batch = Batch::new(record_batch(Arc::clone(&self.spec.input), columns, due.len())?);
        batch.event_time = Some(self.spec.event_time);
        // A row behind the clock it came under must look so to what comes next, however the rows came in batches.
        if due.iter().any(|(time_ms, _, _, clock_ms)| time_ms <= clock_ms) {
            let clocks = due.iter().map(|(_, _, _, clock_ms)| *clock_ms);
            batch.clocks = Some(Int64Array::from_iter_values(clocks));
        }
        out.emit(batch)?;
        let is_due = self.waiting.first().is_some_and(|(time_ms, ..)| *time_ms <= self.time_ms);
        Ok(if is_due { Firing::More } else { Firing::Done })
    }
}

impl Operator for Sort {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let order = self.encode_order(batch.rows.columns())?;
        if self.spec.time == TimeMode::Processing {
            let Some(order) = order else { return out.emit(batch) };
            let mut places: Vec<u32> = (0..batch.num_rows() as u32).collect();
            places.sort_by_key(|row| order.row(*row as usize));
            return out.emit(batch.take(&UInt32Array::from(places))?);
        }
        let times = batch.event_times_ms();
        let times = times.ok_or_else(|| Error::internal("rows without event time reached ORDER BY"))?;
        let encoded = self.rows.encode(batch.rows.columns())?;
        let mut late = vec![false; times.len()];
        for (row, time_ms) in times.iter().enumerate() {
            let clock_ms = clock_of(&batch, row, out);
            late[row] = self.is_late(*time_ms, clock_ms);
            if !late[row] {
                let order = order.as_ref().map_or(&[][..], |order| order.row(row).data());
                self.wait(*time_ms, clock_ms, order, encoded.row(row));
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
        self.pass(time_ms);
        self.answer(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.answer(out)
    }

    /// The time of the last row that left, then rows that wait, as they came, with the clocks they came under.
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        if let Some(answered_ms) = self.answered_ms {
            state.put_keyed([&[0][..], &answered_ms.to_le_bytes()].concat());
        }
        let behind = self.behind.iter().map(|(clock, time, arrival, slot)| (*time, *arrival, *slot, *clock));
        let mut waiting: Vec<Waiting> = self.waiting.iter().copied().chain(behind).collect();
        waiting.sort_by_key(|(_, arrival, ..)| *arrival);
        for rows in waiting.chunks(CHUNK_ROWS) {
            let mut columns = self.rows.columns(rows.iter().map(|(_, _, slot, _)| *slot))?;
            let clocks = rows.iter().map(|(_, _, _, clock_ms)| *clock_ms);
            columns.push(Arc::new(Int64Array::from_iter_values(clocks)));
            state.put_keyed([&[1][..], &encode_rows(&state_rows(columns)?)?].concat());
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let broken = || Error::state("the state of ORDER BY cannot be read");
        for (_, bytes) in state.groups() {
            let (what, bytes) = bytes.split_first().ok_or_else(broken)?;
            if *what == 0 {
                let answered_ms = i64::from_le_bytes(bytes.try_into().map_err(|_| broken())?);
                self.answered_ms = Some(self.answered_ms.map_or(answered_ms, |known| known.max(answered_ms)));
                continue;
            }
            let rows = decode_rows(bytes)?;
            let (columns, beside) =
                rows.columns().split_at_checked(self.spec.input.fields().len()).ok_or_else(broken)?;
            let columns = RecordBatch::try_new(Arc::clone(&self.spec.input), columns.to_vec())?;
            let clocks = beside.first().and_then(|clocks| clocks.as_primitive_opt::<Int64Type>());
            let batch = Batch::with_event_time(columns, self.spec.event_time)?;
            let times = batch.event_times_ms().ok_or_else(broken)?;
            let clocks = clocks.filter(|clocks| clocks.len() == times.len()).ok_or_else(broken)?;
            let order = self.encode_order(batch.rows.columns())?;
            let encoded = self.rows.encode(batch.rows.columns())?;
            for (row, time_ms) in times.iter().enumerate() {
                let order = order.as_ref().map_or(&[][..], |order| order.row(row).data());
                self.wait(*time_ms, clocks.value(row), order, encoded.row(row));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
