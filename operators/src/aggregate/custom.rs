//! Aggregate functions of a program's own, which SQL calls by name.
//!
//! An [`AggregateFunction`] makes accumulators. Most need no accumulator of their own: [`PerGroup`] keeps a
//! [`GroupState`], the state of one group and window, for each group, and carries it through windows, exchanges and
//! checkpoints as bytes.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray};
use arrow_schema::DataType;
use millstream_engine::Result;

use super::{Accumulator, for_each_row, same};

/// An aggregate function of one argument.
pub trait AggregateFunction: Send + Sync {
    /// Its name in SQL, whatever the case.
    fn name(&self) -> &str;

    /// One sentence, for lists of functions.
    fn about(&self) -> &str {
        ""
    }

    /// The type of its result for an argument of type `argument`.
    ///
    /// # Errors
    /// If it does not take that type.
    fn return_type(&self, argument: &DataType) -> Result<DataType>;

    /// Makes an accumulator for an argument of type `argument`.
    ///
    /// # Errors
    /// If it does not take that type.
    fn accumulator(&self, argument: &DataType) -> Result<Box<dyn Accumulator>>;
}

/// [`AggregateFunction`] as a kind of aggregate: equal by name.
#[derive(Clone)]
pub struct Custom(pub Arc<dyn AggregateFunction>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Custom {}

impl Hash for Custom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

/// What an aggregate remembers of one group.
pub trait GroupState: Clone + Send + 'static {
    /// Adds row `row` of `column`, which is not null there.
    fn update(&mut self, column: &ArrayRef, row: usize);

    /// Adds what another state of the same group has seen.
    fn merge(&mut self, other: &Self);

    /// Appends the state to `bytes`.
    fn save(&self, bytes: &mut Vec<u8>);

    /// Reads what [`GroupState::save`] of this version or an earlier one wrote; `self` is a fresh state.
    ///
    /// # Errors
    /// If it cannot be read.
    fn load(&mut self, bytes: &[u8]) -> Result<()>;

    /// The results of groups, one row each.
    ///
    /// # Errors
    /// If a result cannot be represented.
    fn results<'a>(states: impl ExactSizeIterator<Item = &'a Self>) -> Result<ArrayRef>;
}

/// An accumulator that keeps a `S` for each group.
pub struct PerGroup<S> {
    fresh: S,
    states: Vec<S>,
    input: Option<DataType>,
}

impl<S: GroupState> PerGroup<S> {
    /// Every group begins with a copy of `fresh`. Arguments are cast to `input` first, if it is given.
    pub fn new(fresh: S, input: Option<DataType>) -> Self {
        Self { fresh, states: Vec::new(), input }
    }
}

impl<S: GroupState> Accumulator for PerGroup<S> {
    fn input_type(&self) -> Option<DataType> {
        self.input.clone()
    }

    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, self.fresh.clone());
    }

    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Ok(()) };
        let states = &mut self.states;
        for_each_row(groups.len(), Some(column as &dyn Array), filter, |row| {
            states[groups[row] as usize].update(column, row);
        });
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.states[group] = self.fresh.clone();
    }

    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, state) in groups.iter().zip(&other.states) {
            self.states[*group as usize].merge(state);
        }
    }

    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut bytes = Vec::new();
        let blobs = groups.iter().map(|group| {
            bytes.clear();
            self.states[*group as usize].save(&mut bytes);
            Some(bytes.clone())
        });
        Ok(vec![Arc::new(blobs.collect::<BinaryArray>())])
    }

    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let blobs = columns[0].as_binary::<i32>();
        for (row, group) in groups.iter().enumerate() {
            let mut other = self.fresh.clone();
            other.load(blobs.value(row))?;
            self.states[*group as usize].merge(&other);
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        S::results(groups.iter().map(|group| &self.states[*group as usize]))
    }

    fn clear(&mut self) {
        self.states.clear();
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.fresh.clone(), self.input.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
