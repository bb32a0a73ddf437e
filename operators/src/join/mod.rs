//! Joins of two streams: rows of one side meet the rows of the other that are kept under the same key.
//!
//! [`RegularJoin`] (regular.rs) keeps both sides for as long as they hold, and takes results back when rows are taken
//! back. [`TimedJoin`] (timed.rs) joins rows whose times lie within bounds, or that are of one window; its rows stay, and
//! leave the state when time has passed what could match them. [`TemporalJoin`] (temporal.rs) joins rows with a table as it
//! was at their time, or with the last row before them, [`LookupJoin`] (lookup.rs) with a table outside as it is when they come. All put pairs together here. Invariants: a NULL in a key matches
//! nothing; a pair is a match when the filter is true; rows of a side are encoded once (side.rs).
//! Flink: StreamingJoinOperator, StreamingSemiAntiJoinOperator, TimeIntervalJoin, WindowJoinOperator.

mod lookup;
mod regular;
mod side;
mod temporal;
mod timed;
mod versions;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take;
use millstream_engine::batch::record_batch;
use millstream_engine::{Batch, ChangeKind, Error, Result};

use crate::expr::ExpressionRef;
use side::Side;

pub use lookup::LookupJoin;
pub use regular::RegularJoin;
pub use temporal::TemporalJoin;
pub use timed::{TimeBounds, TimedJoin};
pub use versions::AsOf;

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// And rows of the left that match nothing, with NULLs.
    Left,
    /// And rows of the right that match nothing, with NULLs.
    Right,
    /// Both.
    Full,
    /// Rows of the left that match something.
    Semi,
    /// Rows of the left that match nothing.
    Anti,
}

impl JoinKind {
    /// True when rows of side `side` that match nothing are in the result.
    pub fn pads(self, side: usize) -> bool {
        match self {
            Self::Inner | Self::Semi => false,
            Self::Full => true,
            Self::Left | Self::Anti => side == 0,
            Self::Right => side == 1,
        }
    }

    /// True when the result has the columns of the left only.
    pub fn is_left_only(self) -> bool {
        matches!(self, Self::Semi | Self::Anti)
    }
}

/// A join.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// The rows coming in, left and right; at least one column each.
    pub inputs: [SchemaRef; 2],
    /// The columns that must be equal, of the same types in pairs.
    pub keys: [Vec<usize>; 2],
    /// What must be true of a pair besides, over the columns of the left and then of the right.
    pub filter: Option<ExpressionRef>,
    /// Which rows are given.
    pub kind: JoinKind,
    /// Whether NULLs are equal to each other.
    pub nulls_equal: bool,
    /// Which inputs take rows back.
    pub updates: [bool; 2],
    /// How long a row is kept, in ms; for regular joins.
    pub ttl_ms: Option<i64>,
}

impl JoinSpec {
    /// Columns of the result.
    pub fn output_schema(&self) -> SchemaRef {
        let sides = if self.kind.is_left_only() { &self.inputs[..1] } else { &self.inputs[..] };
        let fields = sides.iter().flat_map(|side| side.fields().iter());
        // A side may be missing.
        Arc::new(Schema::new(
            fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ))
    }

    fn pair_schema(&self) -> SchemaRef {
        let fields = self.inputs.iter().flat_map(|side| side.fields().iter());
        Arc::new(Schema::new(
            fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ))
    }

    /// By row: whether its key can match anything.
    fn matchable(&self, side: usize, rows: &RecordBatch) -> Vec<bool> {
        let mut matchable = vec![true; rows.num_rows()];
        if !self.nulls_equal {
            for key in &self.keys[side] {
                let column = rows.column(*key);
                if column.null_count() > 0 {
                    let valid = (0..column.len()).map(|row| column.is_valid(row));
                    matchable.iter_mut().zip(valid).for_each(|(may, valid)| *may &= valid);
                }
            }
        }
        matchable
    }
}

/// Pairs put together at a time, about: what they need of memory is bounded by it, and by one row's matches.
const PAIRS_MAX: usize = 8_192;

/// Pairs of some rows of a batch with rows of the other side.
struct Pairs {
    /// Row of the batch, by pair; in order.
    rows: Vec<u32>,
    /// Row of the other side, by pair.
    slots: Vec<u32>,
    /// The other side's columns, by pair.
    others: Vec<ArrayRef>,
    /// Whether the pair matches.
    matches: Option<arrow_array::BooleanArray>,
}

impl Pairs {
    fn is_match(&self, pair: usize) -> bool {
        self.matches.as_ref().is_none_or(|matches| matches.is_valid(pair) && matches.value(pair))
    }
}

/// What finds pairs and puts rows together: the parts of a join that know no time.
struct Matcher {
    spec: JoinSpec,
    output: SchemaRef,
    pairs: SchemaRef,
}

impl Matcher {
    fn new(spec: &JoinSpec) -> Self {
        Self { output: spec.output_schema(), pairs: spec.pair_schema(), spec: spec.clone() }
    }

    /// Evaluates the filter over pairs of rows of `batch`, which come from side `side`, with rows of `other`.
    fn pairs(
        &self,
        side: usize,
        batch: &RecordBatch,
        other: &Side,
        rows: Vec<u32>,
        slots: Vec<u32>,
    ) -> Result<Pairs> {
        let others = other.columns(&slots)?;
        let matches = match &self.spec.filter {
            None => None,
            Some(_) if rows.is_empty() => None,
            Some(filter) => {
                let taken = UInt32Array::from(rows.clone());
                let own = batch.columns().iter().map(|column| Ok(take(column, &taken, None)?));
                let own = own.collect::<Result<Vec<ArrayRef>>>()?;
                let columns = if side == 0 { [own, others.clone()] } else { [others.clone(), own] }.concat();
                let joined = record_batch(Arc::clone(&self.pairs), columns, rows.len())?;
                let found = filter.evaluate(&joined)?;
                let found = found.as_boolean_opt().cloned();
                Some(found.ok_or_else(|| Error::internal("the condition of a join is no BOOLEAN"))?)
            }
        };
        Ok(Pairs { rows, slots, others, matches })
    }

    /// The result rows of `changes`.
    fn batch(
        &self,
        side: usize,
        batch: &RecordBatch,
        others: &[ArrayRef],
        changes: &Changes,
    ) -> Result<Batch> {
        let pick = |columns: &[ArrayRef], from: &[Option<u32>]| {
            let from: UInt32Array = from.iter().copied().collect();
            columns.iter().map(|column| Ok(take(column, &from, None)?)).collect::<Result<Vec<ArrayRef>>>()
        };
        let own = || pick(batch.columns(), &changes.own);
        let theirs = || pick(others, &changes.other);
        let columns = match (self.spec.kind.is_left_only(), side) {
            (true, 0) => own()?,
            (true, _) => theirs()?,
            (false, 0) => [own()?, theirs()?].concat(),
            (false, _) => [theirs()?, own()?].concat(),
        };
        Ok(Batch::new(record_batch(Arc::clone(&self.output), columns, changes.kinds.len())?))
    }

    /// Rows `slots` of side `side`, with NULLs for the other.
    fn padded(&self, side: usize, kept: &Side, slots: &[u32]) -> Result<Batch> {
        let own = kept.columns(slots)?;
        let columns = if self.spec.kind.is_left_only() {
            own
        } else {
            let nulls = self.spec.inputs[1 - side].fields().iter();
            let nulls =
                nulls.map(|field| arrow_array::new_null_array(field.data_type(), slots.len())).collect();
            if side == 0 { [own, nulls].concat() } else { [nulls, own].concat() }
        };
        Ok(Batch::new(record_batch(Arc::clone(&self.output), columns, slots.len())?))
    }
}

/// Result rows on their way out: each of a row of the batch, or of a row of the other side, or of both.
#[derive(Default)]
struct Changes {
    kinds: Vec<ChangeKind>,
    own: Vec<Option<u32>>,
    other: Vec<Option<u32>>,
}

impl Changes {
    fn push(&mut self, kind: ChangeKind, own: Option<u32>, other: Option<u32>) {
        self.kinds.push(kind);
        self.own.push(own);
        self.other.push(other);
    }
}

#[cfg(test)]
mod tests;
