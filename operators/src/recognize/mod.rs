//! MATCH_RECOGNIZE: runs of a partition's rows that fit a pattern, one row a match.
//!
//! Rows wait until the watermark has passed their time, so that the order is final, and then go one by one to the automaton
//! of their partition: the first due row of each partition, the second of each, …, so that definitions are computed over
//! columns. Rows stay as long as an attempt that is open, or complete and not yet certain, has them. WITHIN gives up attempts
//! by event time (by the wall clock where rows go by that), and with them their rows; without it a partition that is not
//! written for the time to live is forgotten.
//!
//! pattern.rs is what is looked for, automaton.rs that compiled, matcher.rs and queue.rs the attempts, reads.rs what
//! definitions and measures read, conditions.rs and aggregates.rs definitions, measures.rs the result, chunk.rs the way of rows
//! through these, state.rs checkpoints.
//! Flink: CepOperator.

mod aggregates;
mod automaton;
mod chunk;
mod conditions;
mod matcher;
mod measures;
mod pattern;
mod queue;
mod reads;
mod state;

use std::collections::{BTreeSet, VecDeque};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{SchemaRef, SortOptions};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use crate::keyed::{Keyed, next_forgetting_ms};
use crate::row_store::RowStore;
use crate::top::SortKey;
use crate::window::{TimeMode, clock_of, count_late};
use conditions::Conditions;
use matcher::{Attempts, Found, Matcher};
use measures::Measures;

pub use pattern::{AfterMatch, Pattern, Quantifier, Variable};
pub use reads::{Definition, Measure, Read};

/// What is looked for, and what is told of it.
#[derive(Debug, Clone)]
pub struct RecognizeSpec {
    /// The rows coming in, at least one column.
    pub input: SchemaRef,
    /// The columns of PARTITION BY.
    pub partition: Vec<usize>,
    /// Event time, or the wall clock.
    pub time: TimeMode,
    /// The event-time column; any for the wall clock.
    pub event_time: usize,
    /// The order of rows of one time; none for that of arrival. By event time only.
    pub order: Vec<SortKey>,
    /// The pattern.
    pub pattern: Pattern,
    /// Of each of its variables, which rows it takes; none for any.
    pub definitions: Vec<Option<Definition>>,
    /// The columns of the result behind those of the partition.
    pub measures: Vec<Measure>,
    /// How long a partition lives that is not written, in ms.
    pub ttl_ms: Option<i64>,
}

impl RecognizeSpec {
    /// Columns of the result: the partition's, what the measures read.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn output_schema(&self) -> Result<SchemaRef> {
        measures::output_schema(self)
    }
}

/// A partition's rows and attempts.
#[derive(Debug)]
struct Partition {
    attempts: Attempts,
    /// The rows of its attempts; the first has number `base`.
    rows: VecDeque<u32>,
    base: u64,
    /// Rows that wait for the watermark, by time and order.
    waiting: VecDeque<(i64, u32)>,
    /// When it is next looked at, by event time.
    due_ms: Option<i64>,
    /// When it was last written, by the job's time.
    written_ms: i64,
    is_live: bool,
}

/// See the module's page.
pub struct MatchRecognize {
    spec: RecognizeSpec,
    keys: Keyed,
    rows: RowStore,
    /// Encodes what rows of one time are ordered by, in front of the rows.
    order: Option<RowConverter>,
    matcher: Matcher,
    conditions: Conditions,
    measures: Measures,
    partitions: Vec<Partition>,
    due: BTreeSet<(i64, u32)>,
    time_ms: i64,
    live: usize,
    /// Matches of a chunk, and their partitions.
    found: Vec<Found>,
    found_keys: Vec<u32>,
}

impl MatchRecognize {
    /// The operator of `spec`.
    ///
    /// # Errors
    /// If a column cannot be kept or ordered, or an aggregate does not take its argument's type.
    pub fn new(spec: &RecognizeSpec) -> Result<Self> {
        let sort = |key: &SortKey| {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            SortField::new_with_options(spec.input.field(key.column).data_type().clone(), options)
        };
        let order = if spec.order.is_empty() {
            None
        } else {
            Some(RowConverter::new(spec.order.iter().map(sort).collect())?)
        };
        Ok(Self {
            keys: Keyed::new(&spec.input, &spec.partition)?,
            rows: RowStore::new(spec.input.fields().iter().map(|field| field.data_type().clone()))?,
            order,
            matcher: Matcher::new(&spec.pattern),
            conditions: Conditions::new(&spec.definitions, &spec.input)?,
            measures: Measures::new(spec)?,
            partitions: Vec::new(),
            due: BTreeSet::new(),
            time_ms: i64::MIN,
            live: 0,
            found: Vec::new(),
            found_keys: Vec::new(),
            spec: spec.clone(),
        })
    }

    fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        self.keys.number(rows)?;
        self.grow();
        Ok(self.keys.numbers.clone())
    }

    fn grow(&mut self) {
        let matcher = &self.matcher;
        self.partitions.resize_with(self.keys.table.len(), || Partition {
            attempts: matcher.attempts(),
            rows: VecDeque::new(),
            base: 0,
            waiting: VecDeque::new(),
            due_ms: None,
            written_ms: 0,
            is_live: false,
        });
    }

    /// Keeps the rows of a batch until they are due; those of `times_ms` without a time are left out.
    fn wait(
        &mut self,
        keys: &[u32],
        times_ms: impl Fn(usize) -> Option<i64>,
        columns: &[ArrayRef],
    ) -> Result<()> {
        let encoded = self.rows.encode(columns)?;
        let by = self.spec.order.iter().map(|key| columns[key.column].clone()).collect::<Vec<_>>();
        let order = self.order.as_ref().map(|order| order.convert_columns(&by)).transpose()?;
        for (row, key) in keys.iter().enumerate() {
            let Some(time_ms) = times_ms(row) else { continue };
            let prefix = order.as_ref().map_or(&[][..], |order| order.row(row).data());
            let slot = self.rows.insert_with(prefix, encoded.row(row));
            let (partition, rows) = (&mut self.partitions[*key as usize], &self.rows);
            let is_before = |(time, other): &(i64, u32)| (*time, rows.prefix(*other)) <= (time_ms, prefix);
            let at = if partition.waiting.back().is_none_or(is_before) {
                partition.waiting.len()
            } else {
                partition.waiting.partition_point(is_before)
            };
            partition.waiting.insert(at, (time_ms, slot));
            if !std::mem::replace(&mut partition.is_live, true) {
                self.live += 1;
            }
            if at == 0 {
                self.set_due(*key);
            }
        }
        Ok(())
    }

    /// Looks at a partition again when its next row is due, or an attempt is to be given up.
    fn set_due(&mut self, key: u32) {
        let partition = &mut self.partitions[key as usize];
        let row = partition.waiting.front().map(|(time, _)| *time);
        let first = partition.attempts.first_ms();
        let end = self.spec.pattern.within_ms().and_then(|within| Some(first?.saturating_add(within)));
        let due_ms = row.into_iter().chain(end).min();
        let before = std::mem::replace(&mut partition.due_ms, due_ms);
        if before != due_ms {
            if let Some(before) = before {
                self.due.remove(&(before, key));
            }
            self.due.extend(due_ms.map(|due_ms| (due_ms, key)));
        }
    }

    /// Forgets the partitions that were not written for their time to live.
    fn forget(&mut self, now_ms: i64, ttl_ms: i64) -> Result<Option<i64>> {
        let mut oldest_ms: Option<i64> = None;
        for key in 0..self.partitions.len() as u32 {
            let partition = &mut self.partitions[key as usize];
            if !partition.is_live || !partition.waiting.is_empty() {
                continue;
            }
            if now_ms.saturating_sub(partition.written_ms) >= ttl_ms {
                let empty = self.matcher.attempts();
                self.matcher.give_up(&std::mem::replace(&mut partition.attempts, empty));
                self.clean(key);
            } else {
                let oldest = oldest_ms.get_or_insert(partition.written_ms);
                *oldest = partition.written_ms.min(*oldest);
            }
        }
        self.compact()?;
        Ok(oldest_ms)
    }

    /// Renumbers the keys that are left, when most are gone.
    fn compact(&mut self) -> Result<()> {
        if !self.keys.is_stale(self.live) {
            return Ok(());
        }
        let live: Vec<u32> =
            (0_u32..).zip(&self.partitions).filter(|(_, known)| known.is_live).map(|(key, _)| key).collect();
        self.keys.table = self.keys.table.subset(&live)?;
        let mut all: Vec<Option<Partition>> = self.partitions.drain(..).map(Some).collect();
        self.partitions = live.iter().filter_map(|key| all[*key as usize].take()).collect();
        let due =
            (0_u32..).zip(&self.partitions).filter_map(|(key, partition)| Some((partition.due_ms?, key)));
        self.due = due.collect();
        Ok(())
    }

    /// Without event time: when attempts are to be given up.
    fn set_timer(&self, out: &mut Output<'_>) {
        if self.spec.time == TimeMode::Processing
            && let Some((due_ms, _)) = self.due.first()
        {
            out.set_timer(*due_ms);
        }
    }

    fn answer_by_the_clock(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.time_ms = out.now_ms();
        while self.answer(out)? == Firing::More {}
        self.set_timer(out);
        Ok(())
    }
}

impl Operator for MatchRecognize {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now_ms = out.now_ms();
        let keys = self.number(&batch.rows)?;
        keys.iter().for_each(|key| self.partitions[*key as usize].written_ms = now_ms);
        if let Some(ttl) = self.spec.ttl_ms {
            out.set_timer(now_ms.saturating_add(ttl));
        }
        if self.spec.time == TimeMode::Processing {
            self.wait(&keys, |_| Some(now_ms), batch.rows.columns())?;
            return self.answer_by_the_clock(out);
        }
        let times = batch.event_times_ms();
        let times =
            times.ok_or_else(|| Error::internal("rows without event time reached MATCH_RECOGNIZE"))?;
        let late: Vec<bool> =
            times.iter().enumerate().map(|(row, time)| *time <= clock_of(&batch, row, out)).collect();
        self.wait(&keys, |row| (!late[row]).then(|| times[row]), batch.rows.columns())?;
        count_late(&batch, late, out)?;
        Ok(())
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if self.spec.time == TimeMode::Processing {
            return Ok(Firing::Done);
        }
        self.time_ms = time_ms;
        self.answer(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.answer(out)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if self.spec.time == TimeMode::Processing {
            self.answer_by_the_clock(out)?;
        }
        if let Some(ttl) = self.spec.ttl_ms
            && let Some(oldest_ms) = self.forget(now_ms, ttl)?
        {
            out.set_timer(next_forgetting_ms(oldest_ms, now_ms, ttl));
        }
        Ok(Firing::Done)
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.write(state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.read(state)
    }

    fn starts_with_timer(&self) -> bool {
        self.spec.ttl_ms.is_some() || self.spec.time == TimeMode::Processing
    }
}

#[cfg(test)]
mod tests;
