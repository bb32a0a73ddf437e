//! Top-N and deduplication: the first rows of each partition by an order, as `ROW_NUMBER() … <= n` says it.
//!
//! [`TopN`] keeps them while rows come and go, and tells what has changed after each batch or mini-batch: which rows
//! entered and left, or, where the row's number is asked for, what each place holds now. Over rows that stay only the first n are kept; over
//! rows that are taken back all are. [`WindowTopN`] (window.rs) answers once for each window, when it closes.
//! Deduplication is the first row alone, by time; where the last is kept, the newest of equal times wins, as in Flink
//! (RowTimeDeduplicateFunction). Flink: RetractableTopNFunction, AppendOnlyTopNFunction.

mod lists;
mod window;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use arrow_row::SortField;
use arrow_schema::{DataType, Field, Schema, SchemaRef, SortOptions};
use millstream_engine::batch::record_batch;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ChangeKind, Firing, Operator, Output, Result};

use crate::keyed::next_forgetting_ms;
use crate::mini_batch::{Held, MiniBatch};

use lists::{List, Lists};
pub use window::WindowTopN;

/// A column that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Its index in the input.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// Nulls in front of everything else.
    pub nulls_first: bool,
}

impl SortKey {
    /// How rows of `schema` are encoded to be compared by it.
    pub(crate) fn field(&self, schema: &SchemaRef) -> SortField {
        let options = SortOptions { descending: self.descending, nulls_first: self.nulls_first };
        SortField::new_with_options(schema.field(self.column).data_type().clone(), options)
    }
}

/// The first rows of each partition.
#[derive(Debug, Clone)]
pub struct TopSpec {
    /// The rows coming in, at least one column.
    pub input: SchemaRef,
    /// The columns whose values have a list each; none for one list.
    pub partition: Vec<usize>,
    /// What the lists are ordered by; none for the order of arrival.
    pub order: Vec<SortKey>,
    /// Of rows that are equal in order, the newest comes first.
    pub newest_first: bool,
    /// The first place that is wanted, from 1.
    pub from: usize,
    /// The last.
    pub to: usize,
    /// Name of a column with the row's place behind the others, if it is wanted.
    pub number: Option<String>,
    /// The input takes rows back.
    pub updates: bool,
    /// The result only ever gains rows: the first row to arrive is the first for good.
    pub is_insert_only: bool,
    /// Say what a place held before (`-U`).
    pub before: bool,
    /// How long a partition lives that is not written, in ms.
    pub ttl_ms: Option<i64>,
    /// How long changes are held back, if they are.
    pub mini_batch: Option<MiniBatch>,
}

impl TopSpec {
    /// Columns of the result.
    pub fn output_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.input.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(self.number.iter().map(|name| Field::new(name, DataType::Int64, false)));
        Arc::new(Schema::new(fields))
    }
}

/// See the module's page.
pub struct TopN {
    spec: TopSpec,
    output: SchemaRef,
    lists: Lists,
    /// By partition: the answer that it was last listed for.
    touched_in: Vec<u64>,
    /// Which answer is being gathered, from 1.
    answers: u64,
    /// The partitions that have been touched since the last one, and what they showed.
    touched: Vec<(u32, List)>,
    held: Held,
    /// When partitions are to be forgotten.
    forget_at_ms: i64,
}

/// Changes on their way out.
#[derive(Default)]
struct Changes {
    slots: Vec<u32>,
    numbers: Vec<i64>,
    kinds: Vec<ChangeKind>,
}

impl Changes {
    fn push(&mut self, slot: u32, number: usize, kind: ChangeKind) {
        self.slots.push(slot);
        self.numbers.push(number as i64);
        self.kinds.push(kind);
    }
}

impl TopN {
    /// A Top-N of `spec`.
    ///
    /// # Errors
    /// If a column cannot be kept or ordered.
    pub fn new(spec: &TopSpec) -> Result<Self> {
        Ok(Self {
            output: spec.output_schema(),
            lists: Lists::new(spec)?,
            touched_in: Vec::new(),
            answers: 1,
            touched: Vec::new(),
            held: Held::new(spec.mini_batch.filter(|_| !spec.is_insert_only)),
            forget_at_ms: i64::MAX,
            spec: spec.clone(),
        })
    }

    /// Lists the partitions that a batch touches, each once, with what is shown of them.
    fn touch(&mut self, keys: &[u32], now_ms: i64) {
        self.touched_in.resize(self.lists.partitions() as usize, 0);
        for key in keys {
            if std::mem::replace(&mut self.touched_in[*key as usize], self.answers) == self.answers {
                continue;
            }
            if let Some(ttl) = self.spec.ttl_ms {
                self.lists.expire_key(*key, now_ms, ttl);
            }
            self.touched.push((*key, List::from_slice(self.lists.shown(*key))));
        }
    }

    /// Says what has changed since the last answer.
    fn answer(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.held.clear();
        self.answers += 1;
        let mut changes = Changes::default();
        for (key, old) in std::mem::take(&mut self.touched) {
            self.changes_of(&old, self.lists.shown(key), &mut changes);
        }
        if !changes.slots.is_empty() {
            let mut batch = batch_of(&self.spec, &self.output, &self.lists, &changes.slots, changes.numbers)?;
            batch.changes = (!self.spec.is_insert_only).then(|| changes.kinds.into());
            out.emit(batch)?;
        }
        let partitions = self.lists.partitions();
        self.lists.release()?;
        if self.lists.partitions() < partitions {
            self.touched_in.clear();
        }
        Ok(())
    }

    fn changes_of(&self, old: &[u32], new: &[u32], changes: &mut Changes) {
        let places = self.spec.number.is_some() || self.spec.to == self.spec.from;
        if !places {
            old.iter()
                .filter(|slot| !new.contains(slot))
                .for_each(|slot| changes.push(*slot, 0, ChangeKind::Delete));
            new.iter()
                .filter(|slot| !old.contains(slot))
                .for_each(|slot| changes.push(*slot, 0, ChangeKind::Insert));
            return;
        }
        for at in 0..old.len().max(new.len()) {
            let number = self.spec.from + at;
            match (old.get(at), new.get(at)) {
                (Some(old), Some(new)) if self.lists.same(*old, *new) => {}
                (Some(old), Some(new)) => {
                    if self.spec.before {
                        changes.push(*old, number, ChangeKind::UpdateBefore);
                    }
                    changes.push(*new, number, ChangeKind::UpdateAfter);
                }
                (Some(old), None) => changes.push(*old, number, ChangeKind::Delete),
                (None, Some(new)) => changes.push(*new, number, ChangeKind::Insert),
                (None, None) => {}
            }
        }
    }
}

/// The rows `slots` with their numbers as a batch.
fn batch_of(
    spec: &TopSpec,
    output: &SchemaRef,
    lists: &Lists,
    slots: &[u32],
    numbers: Vec<i64>,
) -> Result<Batch> {
    let mut columns = lists.columns(slots)?;
    if spec.number.is_some() {
        columns.push(Arc::new(Int64Array::from(numbers)) as ArrayRef);
    }
    Ok(Batch::new(record_batch(Arc::clone(output), columns, slots.len())?))
}

impl Operator for TopN {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now_ms = out.now_ms();
        let keys = self.lists.number(&batch.rows)?;
        self.touch(&keys, now_ms);
        self.lists.apply(&batch, &keys, now_ms)?;
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
        if now_ms >= self.forget_at_ms {
            self.answer(out)?;
            let oldest_ms = self.lists.expire(now_ms, ttl)?;
            self.forget_at_ms = oldest_ms.map_or(i64::MAX, |oldest| next_forgetting_ms(oldest, now_ms, ttl));
            self.touched_in.clear();
        }
        if self.forget_at_ms < i64::MAX {
            out.set_timer(self.forget_at_ms);
        }
        Ok(Firing::Done)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.lists.freeze();
        self.lists.write_frozen(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.lists.write_frozen(state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        // What was restored is looked at once the job runs.
        self.forget_at_ms = i64::MIN;
        self.lists.restore(state)
    }

    fn starts_with_timer(&self) -> bool {
        self.spec.ttl_ms.is_some()
    }
}

#[cfg(test)]
mod tests;
