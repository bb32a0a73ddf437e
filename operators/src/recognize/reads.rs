//! What definitions and measures read of a match: fields of its rows, and aggregates over them.
//!
//! A pattern is without gaps, so rows go by number: the rows of a variable are those behind the rows of the variables
//! before it. In a definition the row that may come next counts as one of its variable's. Flink: MatchCodeGenerator.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use millstream_engine::Result;

use crate::aggregate::{Accumulator, AggregateCall};
use crate::expr::ExpressionRef;

/// A value of a match, or of one that may become one.
#[derive(Debug, Clone)]
pub enum Read {
    /// A field of one of the rows of a variable: `FIRST(A.x, 1)`, `LAST(A.x, 1)`; NULL where there is no such row.
    Row {
        /// The variable; none for the rows of all.
        variable: Option<usize>,
        /// Counted from the last row, or from the first.
        from_last: bool,
        /// How many rows on.
        offset: usize,
        /// The column of the input.
        column: usize,
    },
    /// An aggregate over the rows of a variable.
    Aggregate {
        /// The variable; none for the rows of all.
        variable: Option<usize>,
        /// Its argument is a column of the input.
        call: AggregateCall,
    },
    /// When the match was certain, as a timestamp of this type; for measures.
    Time(DataType),
}

/// A column of the result.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub read: Read,
}

impl Read {
    /// Its column, over rows of `input`.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn field(&self, input: &SchemaRef) -> Result<FieldRef> {
        let (name, kind) = match self {
            Self::Row { column, .. } => {
                let field = input.field(*column);
                (field.name().as_str(), field.data_type().clone())
            }
            Self::Aggregate { call, .. } => {
                (call.name.as_str(), call.kind.output_type(&argument_type(call, input))?)
            }
            Self::Time(kind) => ("match_rowtime", kind.clone()),
        };
        Ok(Arc::new(Field::new(name, kind, true)))
    }

    /// The column of the input that it reads.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Row { column, .. } => Some(*column),
            Self::Aggregate { call, .. } => call.argument,
            Self::Time(_) => None,
        }
    }

    /// The same, of columns that `at` finds elsewhere.
    ///
    /// # Errors
    /// What `at` answers.
    pub fn moved<E>(
        &self,
        at: impl Fn(usize) -> std::result::Result<usize, E>,
    ) -> std::result::Result<Self, E> {
        let mut moved = self.clone();
        match &mut moved {
            Self::Row { column, .. } => *column = at(*column)?,
            Self::Aggregate { call, .. } => call.argument = call.argument.map(at).transpose()?,
            Self::Time(_) => {}
        }
        Ok(moved)
    }

    /// The number of the row that it reads, of rows from number `first` on of which each variable has so many as `counts`
    /// says, and `current`, if any, one more.
    pub(super) fn row(&self, first: u64, counts: &[u32], current: Option<usize>) -> Option<u64> {
        let Self::Row { variable, from_last, offset, .. } = *self else { return None };
        let (first, rows) = rows_of(variable, first, counts, current);
        let offset = offset as u64;
        (offset < rows).then(|| if from_last { first + rows - 1 - offset } else { first + offset })
    }

    /// How far from the last row of its variable it reads; none if it counts from the first.
    pub(super) fn steps_back(&self) -> Option<u64> {
        match self {
            Self::Row { from_last: true, offset, .. } => Some(*offset as u64),
            _ => None,
        }
    }
}

/// The rows of a variable, or of all: the number of the first, and how many.
pub(super) fn rows_of(
    variable: Option<usize>,
    first: u64,
    counts: &[u32],
    current: Option<usize>,
) -> (u64, u64) {
    let sum = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
    match variable {
        None => (first, sum(counts) + u64::from(current.is_some())),
        Some(variable) => {
            let rows = u64::from(counts[variable]) + u64::from(current == Some(variable));
            (first + sum(&counts[..variable]), rows)
        }
    }
}

/// What a row must be for a variable to take it.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What it reads.
    pub reads: Vec<Read>,
    /// The condition, over what it reads.
    pub condition: ExpressionRef,
    /// It reads nothing but the row itself, and can be computed for any row without failing: so it is, for many at once.
    pub is_plain: bool,
}

fn argument_type(call: &AggregateCall, input: &SchemaRef) -> DataType {
    call.argument.map_or(DataType::Int64, |column| input.field(column).data_type().clone())
}

/// A fresh accumulator of `call` over rows of `input`.
pub(super) fn accumulator(call: &AggregateCall, input: &SchemaRef) -> Result<Box<dyn Accumulator>> {
    call.accumulator(&argument_type(call, input))
}

/// The column that `call` is over, of `columns`, in the type that its accumulator takes.
pub(super) fn argument(
    call: &AggregateCall,
    columns: &[ArrayRef],
    accumulator: &dyn Accumulator,
) -> Result<Option<ArrayRef>> {
    call.argument.map(|column| crate::aggregate::to_input(&columns[column], accumulator)).transpose()
}
