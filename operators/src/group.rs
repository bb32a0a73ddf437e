//! `GROUP BY` without a window, and `SELECT DISTINCT`: one row a key that changes as rows come and go.
//!
//! A batch is answered at once: each key it touches gives the change from what was last said of it to what holds now,
//! nothing if that is the same. So under load many changes of a key become one, and at rest every row shows; with a
//! mini-batch (mini_batch.rs) those of several batches do, and what was last said of a key is kept until then. Rows that
//! the input takes back are taken out of the aggregates; a key without rows is deleted and its state forgotten.
//!
//! With a time to live, a key that was not written for that long is forgotten without a word, and its next
//! row begins anew, as in Flink (StateTtlConfig OnCreateAndWrite). Flink: GroupAggFunction.
//!
//! A snapshot is written in pieces (frozen.rs); while one is, keys are not renumbered.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;
use bytes::Bytes;
use millstream_engine::batch::record_batch;
use millstream_engine::state::{StateReader, StateWriter, encode_rows};
use millstream_engine::{Batch, ChangeKind, Firing, Operator, Output, Result};

use crate::aggregate::{Accumulator, AggregateCall, merge_states, to_input};
use crate::frozen::KeyedSnapshot;
use crate::keyed::{Keyed, next_forgetting_ms, own_rows, state_rows};
use crate::mini_batch::{Held, MiniBatch};

/// An aggregation without a window.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// The rows coming in.
    pub input: SchemaRef,
    /// The columns that are grouped by; none for one group of everything.
    pub keys: Vec<usize>,
    /// What is computed.
    pub aggregates: Vec<AggregateCall>,
    /// The input takes rows back.
    pub updates: bool,
    /// Say what a row was before it changes (`-U`), which all readers want but a sink that goes by the key.
    pub before: bool,
    /// How long a key lives that is not written, in ms.
    pub ttl_ms: Option<i64>,
    /// How long changes are held back, if they are.
    pub mini_batch: Option<MiniBatch>,
}

impl GroupSpec {
    /// Columns of the result: keys, aggregates.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn output_schema(&self) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = self.keys.iter().map(|key| self.input.field(*key).clone()).collect();
        for call in &self.aggregates {
            fields.push(Field::new(&call.name, call.kind.output_type(&self.argument_type(call))?, true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// True when the result only ever gains rows: a distinct list of keys of rows that stay.
    pub fn is_insert_only(&self) -> bool {
        self.aggregates.is_empty() && !self.updates
    }

    fn argument_type(&self, call: &AggregateCall) -> DataType {
        call.argument.map_or(DataType::Int64, |column| self.input.field(column).data_type().clone())
    }

    fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        let of_call = |call: &AggregateCall| {
            let kind = self.argument_type(call);
            if self.updates { call.accumulator_taking_back(&kind) } else { call.accumulator(&kind) }
        };
        self.aggregates.iter().map(of_call).collect()
    }
}

/// The keys that have been touched since the last answer.
#[derive(Default)]
struct Touched {
    /// Those that were there, and by batch the results they had.
    known: Vec<u32>,
    before: Vec<Vec<ArrayRef>>,
    /// Those that were not.
    new: Vec<u32>,
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.known.is_empty() && self.new.is_empty()
    }

    /// The results that the known keys had.
    fn before(&self) -> Result<Vec<ArrayRef>> {
        match self.before.as_slice() {
            [] => Ok(Vec::new()),
            [one] => Ok(one.clone()),
            several => (0..several[0].len())
                .map(|column| {
                    let parts: Vec<&dyn Array> = several.iter().map(|part| part[column].as_ref()).collect();
                    Ok(concat(&parts)?)
                })
                .collect(),
        }
    }
}

/// See the module's page.
pub struct Group {
    spec: GroupSpec,
    keys: Keyed,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// By key: how many rows it holds. Zero: it is not there.
    rows: Vec<i64>,
    /// By key: when it was last written, by the job's time.
    written_ms: Vec<i64>,
    /// By key: the answer that it was last listed for, so that each is listed once.
    touched_in: Vec<u64>,
    /// Which answer is being gathered, from 1.
    answers: u64,
    touched: Touched,
    held: Held,
    /// When keys are to be forgotten.
    forget_at_ms: i64,
    live: usize,
    output: SchemaRef,
    snapshot: KeyedSnapshot,
    /// Tells whether results have changed; none without aggregates.
    comparer: Option<RowConverter>,
}

impl Group {
    /// An aggregation of `spec`.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type, or cannot take rows back where the input does.
    pub fn new(spec: &GroupSpec) -> Result<Self> {
        let output = spec.output_schema()?;
        let results = output.fields()[spec.keys.len()..].iter();
        let results: Vec<SortField> =
            results.map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self {
            keys: Keyed::new(&spec.input, &spec.keys)?,
            accumulators: spec.accumulators()?,
            rows: Vec::new(),
            written_ms: Vec::new(),
            touched_in: Vec::new(),
            answers: 1,
            touched: Touched::default(),
            held: Held::new(spec.mini_batch.filter(|_| !spec.is_insert_only())),
            forget_at_ms: i64::MAX,
            live: 0,
            output,
            snapshot: KeyedSnapshot::default(),
            comparer: if results.is_empty() { None } else { Some(RowConverter::new(results)?) },
            spec: spec.clone(),
        })
    }

    fn grow(&mut self) {
        let keys = self.keys.table.len();
        self.rows.resize(keys, 0);
        self.written_ms.resize(keys, 0);
        self.touched_in.resize(keys, 0);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(keys));
    }

    /// Lists the keys of the batch numbered last, each once, in order; those that are there with what they show.
    fn touch(&mut self, now_ms: i64) -> Result<()> {
        let first = self.touched.known.len();
        for number in &self.keys.numbers {
            let key = *number as usize;
            if self.touched_in[key] == self.answers {
                self.written_ms[key] = now_ms;
                continue;
            }
            self.touched_in[key] = self.answers;
            let expired =
                self.spec.ttl_ms.is_some_and(|ttl| now_ms.saturating_sub(self.written_ms[key]) >= ttl);
            if self.rows[key] > 0 && expired {
                self.rows[key] = 0;
                self.live -= 1;
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.reset(key));
            }
            self.written_ms[key] = now_ms;
            let is_there = self.rows[key] > 0;
            if is_there { self.touched.known.push(*number) } else { self.touched.new.push(*number) }
        }
        if self.touched.known.len() > first {
            let before = self.results(&self.touched.known[first..])?;
            self.touched.before.push(before);
        }
        Ok(())
    }

    fn add(&mut self, batch: &Batch) -> Result<()> {
        let groups = &self.keys.numbers;
        let back = batch
            .changes
            .as_ref()
            .map(|kinds| kinds.iter().map(|kind| kind.takes_back()).collect::<Vec<bool>>());
        match &back {
            None => groups.iter().for_each(|key| self.rows[*key as usize] += 1),
            Some(back) => groups
                .iter()
                .zip(back)
                .for_each(|(key, back)| self.rows[*key as usize] += if *back { -1 } else { 1 }),
        }
        let back = back.filter(|back| back.contains(&true));
        for (call, accumulator) in self.spec.aggregates.iter().zip(&mut self.accumulators) {
            let column = match call.argument {
                Some(column) => Some(to_input(batch.rows.column(column), accumulator.as_ref())?),
                None => None,
            };
            let filter = call.filter.and_then(|filter| batch.rows.column(filter).as_boolean_opt());
            let Some(back) = &back else {
                accumulator.update(groups, column.as_ref(), filter)?;
                continue;
            };
            // What comes is added before what goes is taken out: the order does not matter to the answer, and a batch
            // is done in two calls.
            for sign in [false, true] {
                let passes = |row: usize| filter.is_none_or(|filter| row_passes(filter, row));
                let mask: BooleanArray =
                    back.iter().enumerate().map(|(row, back)| Some(*back == sign && passes(row))).collect();
                if sign {
                    accumulator.retract(groups, column.as_ref(), Some(&mask))?;
                } else {
                    accumulator.update(groups, column.as_ref(), Some(&mask))?;
                }
            }
        }
        Ok(())
    }

    fn results(&self, keys: &[u32]) -> Result<Vec<ArrayRef>> {
        self.accumulators.iter().map(|accumulator| accumulator.evaluate(keys)).collect()
    }

    /// Says what has changed since the last answer.
    fn answer(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.held.clear();
        if self.touched.is_empty() {
            return Ok(());
        }
        self.answers += 1;
        let touched = std::mem::take(&mut self.touched);
        let before = if touched.known.is_empty() { self.results(&[])? } else { touched.before()? };
        let changes = self.changes(&touched.known, &touched.new, &before)?;
        self.compact()?;
        match changes {
            Some(batch) => out.emit(batch),
            None => Ok(()),
        }
    }

    /// What has changed: `known` keys had the results `before`, `new` ones were not there.
    fn changes(&mut self, known: &[u32], new: &[u32], before: &[ArrayRef]) -> Result<Option<Batch>> {
        let all: Vec<u32> = known.iter().chain(new).copied().collect();
        let after = self.results(&all)?;
        let same = match &self.comparer {
            _ if self.spec.ttl_ms.is_some() || known.is_empty() => None,
            None => None,
            Some(comparer) => Some((comparer.convert_columns(before)?, comparer.convert_columns(&after)?)),
        };
        let (mut keys, mut kinds, mut from) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |key: u32, kind: ChangeKind, row: (usize, usize)| {
            keys.push(key);
            kinds.push(kind);
            from.push(row);
        };
        for (at, key) in all.iter().enumerate() {
            let (was, number) = (at < known.len(), *key as usize);
            let is = self.rows[number] > 0;
            match (was, is) {
                (true, true) => {
                    let same = same.as_ref().is_some_and(|(before, after)| before.row(at) == after.row(at));
                    if same || (self.accumulators.is_empty() && self.spec.ttl_ms.is_none()) {
                        continue;
                    }
                    if self.spec.before {
                        push(*key, ChangeKind::UpdateBefore, (0, at));
                    }
                    push(*key, ChangeKind::UpdateAfter, (1, at));
                }
                (false, true) => {
                    self.live += 1;
                    push(*key, ChangeKind::Insert, (1, at));
                }
                (true, false) => {
                    self.live -= 1;
                    push(*key, ChangeKind::Delete, (0, at));
                }
                (false, false) => {}
            }
            if !is {
                self.rows[number] = 0;
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.reset(number));
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let mut columns = self.keys.table.columns(&keys)?;
        for (before, after) in before.iter().zip(&after) {
            columns.push(interleave(&[before.as_ref(), after.as_ref()], &from)?);
        }
        let mut batch = Batch::new(record_batch(Arc::clone(&self.output), columns, keys.len())?);
        batch.changes = (!self.spec.is_insert_only()).then(|| kinds.into());
        Ok(Some(batch))
    }

    /// Renumbers the keys that are left, when most are gone.
    fn compact(&mut self) -> Result<()> {
        if self.snapshot.is_open() || !self.touched.is_empty() || !self.keys.is_stale(self.live) {
            return Ok(());
        }
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
        self.rows = live.iter().map(|key| self.rows[*key as usize]).collect();
        self.written_ms = live.iter().map(|key| self.written_ms[*key as usize]).collect();
        self.touched_in = vec![0; live.len()];
        Ok(())
    }

    /// Writes those of `keys` that a snapshot has still to write, for they are about to change.
    fn claim(&mut self, keys: &[u32]) -> Result<()> {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        let done = snapshot.claim(keys.iter().copied(), |keys| self.state_of(keys));
        self.snapshot = snapshot;
        done
    }

    /// The state of those of `keys` that are there, as rows of: keys, how many rows, when written, states.
    fn state_of(&self, keys: &[u32]) -> Result<Vec<Bytes>> {
        let keys: Vec<u32> = keys.iter().copied().filter(|key| self.rows[*key as usize] > 0).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = self.keys.table.columns(&keys)?;
        for numbers in [&self.rows, &self.written_ms] {
            let numbers = keys.iter().map(|key| numbers[*key as usize]);
            columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        }
        for accumulator in &self.accumulators {
            columns.extend(accumulator.state(&keys)?);
        }
        Ok(vec![encode_rows(&state_rows(columns)?)?])
    }

    fn live_keys(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.rows).filter(|(_, rows)| **rows > 0).map(|(key, _)| key)
    }
}

fn row_passes(filter: &BooleanArray, row: usize) -> bool {
    filter.is_valid(row) && filter.value(row)
}

impl Operator for Group {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        self.keys.number(&batch.rows)?;
        self.grow();
        if self.snapshot.is_open() {
            let numbers = std::mem::take(&mut self.keys.numbers);
            self.claim(&numbers)?;
            self.keys.numbers = numbers;
        }
        let now_ms = out.now_ms();
        self.touch(now_ms)?;
        self.add(&batch)?;
        if let Some(ttl) = self.spec.ttl_ms {
            self.forget_at_ms = self.forget_at_ms.min(now_ms.saturating_add(ttl));
            out.set_timer(self.forget_at_ms);
        }
        if self.held.add(batch.num_rows(), out) {
            self.answer(out)?;
        }
        Ok(())
    }

    fn on_barrier(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.answer(out)?;
        Ok(Firing::Done)
    }

    fn on_end(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.answer(out)?;
        Ok(Firing::Done)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if self.held.is_due(now_ms) {
            self.answer(out)?;
        }
        self.held.set_timer(out);
        let Some(ttl) = self.spec.ttl_ms else { return Ok(Firing::Done) };
        if now_ms < self.forget_at_ms {
            out.set_timer(self.forget_at_ms);
            return Ok(Firing::Done);
        }
        self.answer(out)?;
        self.forget_at_ms = i64::MAX;
        let mut oldest_ms = i64::MAX;
        let mut old = Vec::new();
        for key in self.live_keys() {
            let written_ms = self.written_ms[key as usize];
            if now_ms.saturating_sub(written_ms) >= ttl {
                old.push(key);
            } else {
                oldest_ms = oldest_ms.min(written_ms);
            }
        }
        self.claim(&old)?;
        for key in old {
            self.rows[key as usize] = 0;
            self.live -= 1;
            self.accumulators.iter_mut().for_each(|accumulator| accumulator.reset(key as usize));
        }
        if self.live > 0 {
            self.forget_at_ms = next_forgetting_ms(oldest_ms, now_ms, ttl);
            out.set_timer(self.forget_at_ms);
        }
        self.compact()?;
        Ok(Firing::Done)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.snapshot.begin(self.keys.table.len());
        self.resume_snapshot(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        let written = snapshot.write(state, |_| 1, |keys| self.state_of(keys));
        self.snapshot = snapshot;
        written
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for rows in own_rows(state, self.keys.width()) {
            let rows = rows?;
            let (keys, rest) = rows.columns().split_at(self.keys.width());
            self.keys.number_columns(keys, rows.num_rows())?;
            self.grow();
            let (counts, written) =
                (rest[0].as_primitive::<Int64Type>(), rest[1].as_primitive::<Int64Type>());
            for (row, key) in self.keys.numbers.iter().enumerate() {
                self.rows[*key as usize] = counts.value(row);
                self.written_ms[*key as usize] = written.value(row);
            }
            self.live += rows.num_rows();
            // What was restored is looked at once the job runs.
            self.forget_at_ms = i64::MIN;
            merge_states(&mut self.accumulators, &self.keys.numbers, &rest[2..])?;
        }
        Ok(())
    }

    /// With a time to live, what was restored has to be looked at once the job runs.
    fn starts_with_timer(&self) -> bool {
        self.spec.ttl_ms.is_some()
    }
}

#[cfg(test)]
mod tests;
