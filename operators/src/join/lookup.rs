//! Join of a stream with a table that is looked up in: each row with the table's rows of its key, as they are when it comes.
//!
//! Rows whose keys are all known leave at once; others wait for answers, and what comes behind them waits too, so that rows,
//! and watermarks between them, keep their order. While rows wait, the stage is fed nothing new (Operator::is_waiting), which
//! bounds them; a barrier waits for them, so there is no state. Invariants: a key is asked for once at a time, however many
//! rows wait for it; a key with NULL is not asked for, and matches nothing; what is kept is what the table's settings
//! say, but for the keys of the rows that wait. Flink: LookupJoinRunner, AsyncLookupJoinRunner (ordered), LookupCache.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, UInt32Array};
use arrow_select::take::take;
use millstream_engine::lookup::{LookupCache, LookupClient, LookupProvider};
use millstream_engine::{Batch, ChangeKind, Error, Firing, InstanceContext, Operator, Output, Result};

use super::side::Side;
use super::{Changes, JoinKind, JoinSpec, Matcher, PAIRS_MAX};
use crate::keyed::Keyed;

/// Of the keys that are kept at most, so many fourths are left when it is time to forget some.
const KEPT_FOURTHS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Asked,
    /// Its rows are there, since this time.
    Found(i64),
}

/// What waits, in order.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are rows")]
enum Item {
    /// Rows with the numbers of their keys.
    Rows(Batch, Vec<u32>),
    Watermark(i64),
}

/// See the module's page.
pub struct LookupJoin {
    matcher: Matcher,
    /// The event-time column of the left, if it has one.
    event_time: Option<usize>,
    provider: Arc<dyn LookupProvider>,
    client: Option<LookupClient>,
    cache: LookupCache,
    keys: Keyed,
    found: Side,
    states: Vec<State>,
    /// Keys that were found without rows since rows last waited.
    missing: Vec<u32>,
    /// When the whole table was read, where it is.
    read_ms: Option<i64>,
    is_reading: bool,
    queue: VecDeque<Item>,
}

impl LookupJoin {
    /// A join of the left of `spec` with the table of `provider`, whose columns and keys are the right.
    ///
    /// # Errors
    /// If there is no key, or its types are none that keys can have.
    pub fn new(
        spec: &JoinSpec,
        provider: Arc<dyn LookupProvider>,
        event_time: Option<usize>,
    ) -> Result<Self> {
        if spec.keys[0].is_empty() || !matches!(spec.kind, JoinKind::Inner | JoinKind::Left) {
            return Err(Error::internal("a lookup is an inner or left join with a key"));
        }
        Ok(Self {
            matcher: Matcher::new(spec),
            event_time,
            cache: provider.settings().cache,
            provider,
            client: None,
            keys: Keyed::new(&spec.inputs[0], &spec.keys[0])?,
            found: Side::new(&spec.inputs[1], false)?,
            states: Vec::new(),
            missing: Vec::new(),
            read_ms: None,
            is_reading: false,
            queue: VecDeque::new(),
        })
    }

    fn client(&mut self) -> Result<&mut LookupClient> {
        self.client.as_mut().ok_or_else(|| Error::internal("rows came before the join was opened"))
    }

    fn grow(&mut self) {
        let keys = self.keys.table.len();
        self.states.resize(keys, State::Unknown);
        self.found.grow(keys);
    }

    /// The numbers of the keys of `batch`; keys that are not known, or not any more, are asked for.
    fn number(&mut self, batch: &RecordBatch, now_ms: i64) -> Result<Vec<u32>> {
        self.keys.number(batch)?;
        self.grow();
        let numbers = self.keys.numbers.clone();
        let (is_whole, ttl_ms) = match self.cache {
            LookupCache::Full { reload_ms } => {
                let is_due = self
                    .read_ms
                    .is_none_or(|read| reload_ms.is_some_and(|ms| now_ms.saturating_sub(read) >= ms));
                if is_due && !self.is_reading {
                    self.is_reading = true;
                    self.client()?.ask(None)?;
                }
                (true, None)
            }
            LookupCache::Partial { ttl_ms, .. } => (false, ttl_ms),
            LookupCache::None => (false, None),
        };
        if is_whole {
            return Ok(numbers);
        }
        let mut asked = Vec::new();
        for (number, matchable) in numbers.iter().zip(self.matcher.spec.matchable(0, batch)) {
            let state = &mut self.states[*number as usize];
            let wants = match *state {
                State::Unknown => true,
                State::Asked => false,
                State::Found(since) => ttl_ms.is_some_and(|ttl| now_ms.saturating_sub(since) >= ttl),
            };
            if wants && matchable {
                *state = State::Asked;
                asked.push(*number);
            }
        }
        if !asked.is_empty() {
            let columns = self.keys.table.columns(&asked)?;
            let schema = self.matcher.spec.inputs[1].project(&self.matcher.spec.keys[1])?;
            let keys = millstream_engine::batch::record_batch(Arc::new(schema), columns, asked.len())?;
            self.client()?.ask(Some((keys, asked)))?;
        }
        Ok(numbers)
    }

    /// Takes in the answers that have come.
    fn take_answers(&mut self, now_ms: i64) -> Result<()> {
        for answer in self.client()?.take() {
            let rows = match answer.rows {
                // What was read before still holds, better than nothing; it is read again at the next interval.
                Err(error) if answer.numbers.is_none() && self.read_ms.is_some() => {
                    tracing::warn!("a table was not read again, and goes on as it was: {error}");
                    (self.read_ms, self.is_reading) = (Some(now_ms), false);
                    continue;
                }
                rows => rows?,
            };
            match answer.numbers {
                Some(numbers) => {
                    for number in &numbers {
                        let old: Vec<u32> = self.found.list(*number).collect();
                        old.into_iter().for_each(|slot| self.found.remove(slot));
                    }
                    rows.iter().try_for_each(|rows| self.add(rows, true))?;
                    for number in numbers {
                        self.states[number as usize] = State::Found(now_ms);
                        if self.found.is_empty(number) {
                            self.missing.push(number);
                        }
                    }
                }
                None => {
                    self.forget_all()?;
                    rows.iter().try_for_each(|rows| self.add(rows, false))?;
                    (self.read_ms, self.is_reading) = (Some(now_ms), false);
                    // The keys have new numbers.
                    for item in &mut self.queue {
                        if let Item::Rows(batch, numbers) = item {
                            self.keys.number(&batch.rows)?;
                            numbers.clone_from(&self.keys.numbers);
                        }
                    }
                    self.grow();
                }
            }
        }
        Ok(())
    }

    /// Adds rows of the table; with `asked` only those whose keys were asked for.
    fn add(&mut self, rows: &RecordBatch, asked: bool) -> Result<()> {
        let spec = &self.matcher.spec;
        let columns: Vec<_> = spec.keys[1].iter().map(|key| Arc::clone(rows.column(*key))).collect();
        let matchable = spec.matchable(1, rows);
        self.keys.number_columns(&columns, rows.num_rows())?;
        self.grow();
        let encoded = self.found.encode(rows.columns())?;
        for (row, number) in self.keys.numbers.iter().enumerate() {
            if matchable[row] && (!asked || self.states[*number as usize] == State::Asked) {
                self.found.add(*number, encoded.row(row), 0, 0);
            }
        }
        Ok(())
    }

    /// True when every key of the rows is known.
    fn is_known(&self, batch: &Batch, numbers: &[u32]) -> bool {
        if matches!(self.cache, LookupCache::Full { .. }) {
            return self.read_ms.is_some();
        }
        let known = |number: &u32| self.states[*number as usize] != State::Asked;
        batch.is_empty() || numbers.iter().all(known)
    }

    /// Emits what waits for nothing any more.
    fn advance(&mut self, out: &mut Output<'_>) -> Result<()> {
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Watermark(time_ms) => out.watermark(time_ms)?,
                Item::Rows(batch, numbers) if self.is_known(&batch, &numbers) => {
                    self.join(&batch, &numbers, out)?;
                }
                waiting @ Item::Rows(..) => {
                    self.queue.push_front(waiting);
                    return Ok(());
                }
            }
        }
        self.forget()
    }

    /// Emits the rows of `batch` with those of the table.
    fn join(&self, batch: &Batch, numbers: &[u32], out: &mut Output<'_>) -> Result<()> {
        let matchable = self.matcher.spec.matchable(0, &batch.rows);
        let (mut first, mut rows, mut slots) = (0, Vec::new(), Vec::new());
        for (row, number) in numbers.iter().enumerate() {
            if matchable[row] {
                let before = slots.len();
                slots.extend(self.found.list(*number));
                rows.resize(rows.len() + slots.len() - before, row as u32);
            }
            if slots.len() >= PAIRS_MAX {
                self.emit(
                    batch,
                    first..row + 1,
                    (std::mem::take(&mut rows), std::mem::take(&mut slots)),
                    out,
                )?;
                first = row + 1;
            }
        }
        self.emit(batch, first..numbers.len(), (rows, slots), out)
    }

    /// Emits the pairs of some rows of `batch`, and where the join is a left one those without.
    fn emit(
        &self,
        batch: &Batch,
        rows: std::ops::Range<usize>,
        (of_pairs, slots): (Vec<u32>, Vec<u32>),
        out: &mut Output<'_>,
    ) -> Result<()> {
        let pairs = self.matcher.pairs(0, &batch.rows, &self.found, of_pairs, slots)?;
        let (mut changes, mut pair) = (Changes::default(), 0);
        for row in rows {
            let mut matched = false;
            while pairs.rows.get(pair) == Some(&(row as u32)) {
                if pairs.is_match(pair) {
                    matched = true;
                    changes.push(ChangeKind::Insert, Some(row as u32), Some(pair as u32));
                }
                pair += 1;
            }
            if !matched && self.matcher.spec.kind == JoinKind::Left {
                changes.push(ChangeKind::Insert, Some(row as u32), None);
            }
        }
        if changes.kinds.is_empty() {
            return Ok(());
        }
        let mut joined = self.matcher.batch(0, &batch.rows, &pairs.others, &changes)?;
        joined.event_time = self.event_time;
        joined.time_min_ms = batch.time_min_ms;
        joined.ingested_ns = batch.ingested_ns;
        if let Some(clocks) = &batch.clocks {
            let own: UInt32Array = changes.own.iter().copied().collect();
            joined.clocks = take(clocks, &own, None)?.as_any().downcast_ref::<Int64Array>().cloned();
        }
        out.emit(joined)
    }

    /// Forgets what is not to be kept, now that no rows wait.
    fn forget(&mut self) -> Result<()> {
        match self.cache {
            LookupCache::Full { .. } => Ok(()),
            LookupCache::None => self.forget_all(),
            LookupCache::Partial { keys_max, keeps_missing, .. } => {
                let missing = std::mem::take(&mut self.missing);
                if !keeps_missing {
                    missing.iter().for_each(|number| self.states[*number as usize] = State::Unknown);
                }
                if self.keys.table.len() > keys_max { self.forget_oldest(keys_max) } else { Ok(()) }
            }
        }
    }

    fn forget_all(&mut self) -> Result<()> {
        let spec = &self.matcher.spec;
        self.keys = Keyed::new(&spec.inputs[0], &spec.keys[0])?;
        self.found = Side::new(&spec.inputs[1], false)?;
        self.states.clear();
        self.missing.clear();
        Ok(())
    }

    /// Keeps the keys that were found last, so many that it is a while until the next time.
    fn forget_oldest(&mut self, keys_max: usize) -> Result<()> {
        let since = |number: &u32| match self.states[*number as usize] {
            State::Found(since) => Some(since),
            State::Unknown | State::Asked => None,
        };
        let mut kept: Vec<u32> =
            (0..self.states.len() as u32).filter(|number| since(number).is_some()).collect();
        kept.sort_by_key(|number| std::cmp::Reverse(since(number)));
        let gone = kept.split_off(kept.len().min((keys_max * KEPT_FOURTHS / 4).max(1)));
        for number in gone {
            let slots: Vec<u32> = self.found.list(number).collect();
            slots.into_iter().for_each(|slot| self.found.remove(slot));
        }
        self.keys.table = self.keys.table.subset(&kept)?;
        self.states = kept.iter().map(|number| self.states[*number as usize]).collect();
        self.found.renumber(&kept);
        Ok(())
    }
}

impl Operator for LookupJoin {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let spec = &self.matcher.spec;
        let lookup = self.provider.create(Arc::clone(&spec.inputs[1]), &spec.keys[1], context)?;
        self.client = Some(LookupClient::new(lookup, self.provider.settings(), context.clone()));
        Ok(())
    }

    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now_ms = out.now_ms();
        self.take_answers(now_ms)?;
        let numbers = self.number(&batch.rows, now_ms)?;
        self.queue.push_back(Item::Rows(batch, numbers));
        self.advance(out)
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if self.queue.is_empty() {
            out.watermark(time_ms)?;
        } else {
            self.queue.push_back(Item::Watermark(time_ms));
        }
        Ok(Firing::Done)
    }

    fn on_barrier(&mut self, _out: &mut Output<'_>) -> Result<Firing> {
        Ok(if self.queue.is_empty() { Firing::Done } else { Firing::More })
    }

    fn on_end(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.on_barrier(out)
    }

    /// Only called when nothing waits any more.
    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.on_barrier(out)
    }

    fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    fn on_ring(&mut self, out: &mut Output<'_>) -> Result<bool> {
        let before = self.queue.len();
        self.take_answers(out.now_ms())?;
        self.advance(out)?;
        Ok(self.queue.len() < before)
    }

    fn forwards_watermarks(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
