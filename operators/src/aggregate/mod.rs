//! Aggregate functions over numbered groups, with Flink's meaning.
//!
//! An [`Accumulator`] keeps one aggregate's state for all groups of a table in plain vectors, updated column by column.
//! Invariants: nulls are ignored (all null gives null, COUNT gives 0); reading state never changes it; `merge` after
//! `state` gives the same answers as updating directly, to the bit for those that say `is_order_insensitive`.
//! Result types are Flink's: a SUM or AVG of an integer type has that type and wraps as Java does.

mod collected;
mod count;
mod custom;
mod distinct;
mod hyperloglog;
mod lag;
mod lists;
mod multiset;
mod percentile;
mod pick;
mod sketch;
mod sum;
mod values;
mod variance;
mod versioned;

pub use custom::{AggregateFunction, Custom, GroupState, PerGroup};
pub use percentile::Fractions;

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::{DataType, Field};
use millstream_engine::{Error, Result, type_name};

/// Which aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AggregateKind {
    /// `COUNT(*)` or `COUNT(x)`.
    Count,
    /// `SUM(x)`.
    Sum,
    /// `MIN(x)`.
    Min,
    /// `MAX(x)`.
    Max,
    /// `AVG(x)`.
    Avg,
    /// `STDDEV_POP(x)`.
    StddevPop,
    /// `STDDEV_SAMP(x)`, `STDDEV(x)`.
    StddevSamp,
    /// `VAR_POP(x)`.
    VarPop,
    /// `VAR_SAMP(x)`, `VARIANCE(x)`.
    VarSamp,
    /// `FIRST_VALUE(x)`: the first that is not null.
    FirstValue,
    /// `LAST_VALUE(x)`: the last that is not null.
    LastValue,
    /// `LISTAGG(x, separator)`: the text of all, in the order they came.
    ListAgg(Cow<'static, str>),
    /// `ARRAY_AGG(x)`: all, in the order they came.
    ArrayAgg,
    /// `COLLECT(x)`: how often each value came.
    Collect,
    /// `PERCENTILE(x, p)`: the value at a fraction of the way, in proportion between two.
    Percentile(Fractions),
    /// `APPROX_PERCENTILE(x, p)`: the same to within a hundredth, in bounded memory.
    ApproxPercentile(Fractions),
    /// `APPROX_COUNT_DISTINCT(x)`: how many different values, about.
    ApproxCountDistinct,
    /// `LAG(x, n)`: the value of so many rows before; with OVER only.
    Lag(usize),
    /// A function of the program's own.
    Custom(Custom),
}

impl AggregateKind {
    /// The SQL name, in capitals.
    pub fn name(&self) -> &str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Avg => "AVG",
            Self::StddevPop => "STDDEV_POP",
            Self::StddevSamp => "STDDEV_SAMP",
            Self::VarPop => "VAR_POP",
            Self::VarSamp => "VAR_SAMP",
            Self::FirstValue => "FIRST_VALUE",
            Self::LastValue => "LAST_VALUE",
            Self::ListAgg(_) => "LISTAGG",
            Self::ArrayAgg => "ARRAY_AGG",
            Self::Collect => "COLLECT",
            Self::Percentile(_) => "PERCENTILE",
            Self::ApproxPercentile(_) => "APPROX_PERCENTILE",
            Self::ApproxCountDistinct => "APPROX_COUNT_DISTINCT",
            Self::Lag(_) => "LAG",
            Self::Custom(Custom(function)) => function.name(),
        }
    }

    /// The type of the result for an argument of type `argument` (any type for `COUNT(*)`).
    ///
    /// # Errors
    /// If the function does not take that type.
    pub fn output_type(&self, argument: &DataType) -> Result<DataType> {
        let refuse = || {
            Err(Error::config(format!(
                "{} does not take an argument of type {}",
                self.name(),
                type_name(argument)
            ))
            .remedy("CAST the argument to a number"))
        };
        Ok(match self {
            Self::Count | Self::ApproxCountDistinct => DataType::Int64,
            Self::Percentile(fractions) | Self::ApproxPercentile(fractions) if argument.is_numeric() => {
                fractions.output_type()
            }
            // A value, and how often it counts.
            Self::Percentile(fractions)
                if matches!(argument, DataType::Struct(pair) if pair.len() == 2
                    && pair[0].data_type().is_numeric() && pair[1].data_type().is_integer()) =>
            {
                fractions.output_type()
            }
            Self::ListAgg(_) if matches!(argument, DataType::Utf8 | DataType::Utf8View) => argument.clone(),
            Self::ListAgg(_) => {
                return Err(Error::config(format!(
                    "LISTAGG does not take an argument of type {}",
                    type_name(argument)
                ))
                .remedy("CAST it to STRING"));
            }
            Self::ArrayAgg => DataType::List(Arc::new(Field::new("item", argument.clone(), true))),
            Self::Collect => multiset::output_type(argument),
            Self::Lag(_) => argument.clone(),
            Self::Custom(Custom(function)) => function.return_type(argument)?,
            Self::Min | Self::Max | Self::FirstValue | Self::LastValue => {
                if argument.is_nested() {
                    return refuse();
                }
                argument.clone()
            }
            _ => match argument {
                kind if kind.is_integer() || kind.is_floating() => kind.clone(),
                DataType::Decimal128(_, scale) if *self == Self::Sum => DataType::Decimal128(38, *scale),
                DataType::Decimal128(_, scale) => DataType::Decimal128(38, (*scale).max(6)),
                _ => return refuse(),
            },
        })
    }
}

/// One aggregate of a query: `kind([DISTINCT] argument) [FILTER (WHERE filter)]`.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// Which function.
    pub kind: AggregateKind,
    /// The column it is over; none for `COUNT(*)`.
    pub argument: Option<usize>,
    /// A boolean column: only rows where it is true count.
    pub filter: Option<usize>,
    /// Equal values count once.
    pub distinct: bool,
    /// Name of the result column.
    pub name: String,
}

impl AggregateCall {
    /// A fresh accumulator for an argument of type `argument`.
    ///
    /// # Errors
    /// If the function does not take that type.
    pub fn accumulator(&self, argument: &DataType) -> Result<Box<dyn Accumulator>> {
        use AggregateKind as K;
        let out = self.kind.output_type(argument)?;
        let plain: Box<dyn Accumulator> = match &self.kind {
            K::Count => Box::new(count::Count::default()),
            K::Sum => sum::sum(&out)?,
            K::Avg => sum::avg(argument, &out)?,
            K::Min | K::Max | K::FirstValue | K::LastValue => pick::pick(&self.kind, &out)?,
            K::ListAgg(_) | K::ArrayAgg => Box::new(collected::Collected::new(&self.kind, argument, &out)?),
            K::Collect => Box::new(multiset::Multiset::new(argument)?),
            K::Percentile(fractions) => {
                Box::new(percentile::Percentile::<percentile::Exact>::new(fractions, argument))
            }
            K::ApproxPercentile(fractions) => {
                Box::new(percentile::Percentile::<sketch::Sketch>::new(fractions, argument))
            }
            K::ApproxCountDistinct => Box::new(hyperloglog::ApproxDistinct::new(argument)?),
            K::Lag(rows) => Box::new(lag::Lag::new(*rows, &out)?),
            K::Custom(Custom(function)) => function.accumulator(argument)?,
            K::StddevPop | K::StddevSamp | K::VarPop | K::VarSamp => variance::variance(&self.kind, out),
        };
        // A repeated value changes no extreme, and no count of different ones.
        let repeats = !matches!(self.kind, K::Min | K::Max | K::ApproxCountDistinct);
        let distinct = self.distinct && self.argument.is_some() && repeats;
        Ok(if distinct { Box::new(distinct::Distinct::new(plain, argument)?) } else { plain })
    }

    /// A fresh accumulator that takes rows back, over a stream that updates: extremes and first and last values then
    /// have to remember every value, not one.
    ///
    /// # Errors
    /// If the function does not take that type, or cannot take rows back.
    pub fn accumulator_taking_back(&self, argument: &DataType) -> Result<Box<dyn Accumulator>> {
        use AggregateKind as K;
        let remembers = matches!(self.kind, K::Min | K::Max | K::FirstValue | K::LastValue);
        if !remembers {
            let found = self.accumulator(argument)?;
            if found.takes_back() {
                return Ok(found);
            }
            return Err(Error::config(format!("{} cannot take rows back", self.kind.name()))
                .remedy("use it over a stream of new rows only: over a table, or over windows"));
        }
        let plain = values::values(&self.kind, &self.kind.output_type(argument)?)?;
        let distinct = self.distinct && matches!(self.kind, K::FirstValue | K::LastValue);
        Ok(if distinct { Box::new(distinct::Distinct::new(plain, argument)?) } else { plain })
    }
}

/// Adds row `i` of state columns, those of one accumulator after those of the other, to group `groups[i]`.
///
/// # Errors
/// If the columns have other types.
pub(crate) fn merge_states(
    accumulators: &mut [Box<dyn Accumulator>],
    groups: &[u32],
    mut columns: &[ArrayRef],
) -> Result<()> {
    for accumulator in accumulators {
        let (own, rest) = columns
            .split_at_checked(accumulator.state_types().len())
            .ok_or_else(|| Error::state("columns of an aggregate's state are missing"))?;
        accumulator.merge_state(groups, own)?;
        columns = rest;
    }
    Ok(())
}

/// The state of one aggregate for all groups of a table.
pub trait Accumulator: Send {
    /// The type its argument column must be brought to before `update`; `None` for any.
    fn input_type(&self) -> Option<DataType>;

    /// Makes room for groups `0 .. groups`.
    fn resize(&mut self, groups: usize);

    /// Adds row `i` of `column` to group `groups[i]`, where `filter` (if any) is true.
    ///
    /// # Errors
    /// If the column has another type.
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()>;

    /// Takes row `i` of `column`, which was added before, out of group `groups[i]` again, where `filter` (if any) is
    /// true. Only where [`Accumulator::takes_back`].
    ///
    /// # Errors
    /// If the column has another type, or rows cannot be taken back.
    fn retract(
        &mut self,
        _groups: &[u32],
        _column: Option<&ArrayRef>,
        _filter: Option<&BooleanArray>,
    ) -> Result<()> {
        Err(Error::internal("rows are taken back from an aggregate that cannot"))
    }

    /// True when [`Accumulator::retract`] undoes [`Accumulator::update`].
    fn takes_back(&self) -> bool {
        false
    }

    /// Forgets what `group` has seen.
    fn reset(&mut self, group: usize);

    /// Adds group `i` of `other`, an accumulator of the same kind, to group `groups[i]`.
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]);

    /// Takes group `i` of `other` out of group `groups[i]`; only where [`Accumulator::is_invertible`].
    fn retract_from(&mut self, _other: &dyn Accumulator, _groups: &[u32]) {}

    /// Fields of the state columns, without names.
    fn state_types(&self) -> Vec<DataType>;

    /// The state of `groups` as columns. Does not change it.
    ///
    /// # Errors
    /// If it cannot be brought into columns.
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Adds row `i` of state columns to group `groups[i]`.
    ///
    /// # Errors
    /// If the columns have other types.
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// The results of `groups`. Does not change the state.
    ///
    /// # Errors
    /// If a result cannot be represented.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef>;

    /// Forgets all groups and keeps the memory.
    fn clear(&mut self);

    /// An empty accumulator of the same kind.
    fn fresh(&self) -> Box<dyn Accumulator>;

    /// True when `retract_from` undoes `merge_from` exactly.
    fn is_invertible(&self) -> bool {
        false
    }

    /// True when the answer does not depend, to the bit, on the order or grouping of additions, so that rows may be
    /// aggregated in parts before an exchange. Not so for sums of floating point.
    fn is_order_insensitive(&self) -> bool {
        false
    }

    /// For `merge_from`.
    fn as_any(&self) -> &dyn Any;
}

/// Calls `add(row)` for the rows that count: not null, and let through by the filter.
#[inline]
fn for_each_row(
    len: usize,
    column: Option<&dyn Array>,
    filter: Option<&BooleanArray>,
    mut add: impl FnMut(usize),
) {
    let nulls = column.and_then(Array::nulls).filter(|nulls| nulls.null_count() > 0);
    match (nulls, filter) {
        (None, None) => (0..len).for_each(add),
        (Some(nulls), None) => {
            for row in 0..len {
                if nulls.is_valid(row) {
                    add(row);
                }
            }
        }
        (nulls, Some(filter)) => {
            for row in 0..len {
                if filter.is_valid(row) && filter.value(row) && nulls.is_none_or(|nulls| nulls.is_valid(row))
                {
                    add(row);
                }
            }
        }
    }
}

/// Calls `add(group, value)` for the rows that count, as [`for_each_row`] does, over values that lie in a row.
#[inline]
fn for_each_value<T: Copy>(
    groups: &[u32],
    values: &[T],
    column: &dyn Array,
    filter: Option<&BooleanArray>,
    mut add: impl FnMut(usize, T),
) {
    if filter.is_none() && column.null_count() == 0 {
        for (group, value) in groups.iter().zip(values) {
            add(*group as usize, *value);
        }
    } else {
        for_each_row(groups.len(), Some(column), filter, |row| add(groups[row] as usize, values[row]));
    }
}

/// The accumulator behind `other`, which the caller knows to be of type `T`.
fn same<T: 'static>(other: &dyn Accumulator) -> Option<&T> {
    let found = other.as_any().downcast_ref();
    debug_assert!(found.is_some(), "accumulators of two kinds");
    found
}

/// Fields for the state columns of several accumulators, named by aggregate and place.
pub fn state_fields(accumulators: &[Box<dyn Accumulator>]) -> Vec<Field> {
    accumulators
        .iter()
        .enumerate()
        .flat_map(|(number, accumulator)| {
            accumulator
                .state_types()
                .into_iter()
                .enumerate()
                .map(move |(place, kind)| Field::new(format!("state_{number}_{place}"), kind, true))
        })
        .collect()
}

/// Brings an argument column to the type that an accumulator works on.
///
/// # Errors
/// If the types do not convert.
pub(crate) fn to_input(column: &ArrayRef, accumulator: &dyn Accumulator) -> Result<ArrayRef> {
    match accumulator.input_type() {
        Some(kind) => crate::kept_type::as_type(column, &kind),
        None => Ok(std::sync::Arc::clone(column)),
    }
}

#[cfg(test)]
mod tests;
