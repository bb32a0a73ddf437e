//! Which variables can take a row: definitions computed for many partitions and attempts at once.
//!
//! The rows of a chunk lie in columns: first those that are due, partition by partition, then the few older ones that an
//! open attempt may read. A definition that reads nothing but the row is computed for all due rows in one call; the others
//! once a round, over one row of each partition. Comes from the operator (mod.rs), goes to matcher.rs as bits.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use millstream_engine::batch::record_batch;
use millstream_engine::{Error, Result};

use super::aggregates::Aggregates;
use super::matcher::{Attempt, Counts, NOT_BEGUN};
use super::reads::{Definition, Read};

/// A partition's rows of a chunk.
#[derive(Debug)]
pub(super) struct Lane {
    pub key: u32,
    /// Those that are due: their times and where they are kept.
    pub rows: Vec<(i64, u32)>,
    /// How many of them are done.
    pub done: usize,
    /// All that are due are here.
    pub is_all: bool,
    /// The number of the first due row, and its place in the columns.
    pub first: u64,
    pub place: usize,
    /// Older rows by number, and their places in the columns.
    pub older: Vec<(u64, u32)>,
}

impl Lane {
    fn place_of(&self, number: u64) -> Option<u32> {
        if let Some(behind) = number.checked_sub(self.first) {
            return Some((self.place as u64 + behind) as u32);
        }
        let found = self.older.binary_search_by_key(&number, |(number, _)| *number);
        found.ok().map(|found| self.older[found].1)
    }
}

/// A row that a variable may take as the next one of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// Where its answer goes.
    pub answer: usize,
    pub lane: usize,
    pub attempt: Attempt,
    /// The row, by number and place.
    pub number: u64,
    pub place: u32,
}

/// See the module's page.
pub(super) struct Conditions {
    definitions: Vec<Option<Definition>>,
    /// The columns of what each definition reads.
    schemas: Vec<SchemaRef>,
    pub aggregates: Aggregates,
    /// Variables that take any row.
    any: u64,
    /// Of each variable whose definition reads nothing but the row, for which due rows it holds.
    plain: Vec<(u64, BooleanArray)>,
    /// The others.
    rest: Vec<usize>,
    trials: Vec<Vec<Trial>>,
    none: Vec<u32>,
}

impl Conditions {
    /// The definitions by variable, over rows of `input`.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn new(definitions: &[Option<Definition>], input: &SchemaRef) -> Result<Self> {
        let schema = |definition: &Option<Definition>| {
            let reads = definition.iter().flat_map(|definition| &definition.reads);
            let fields = reads.map(|read| read.field(input)).collect::<Result<Vec<FieldRef>>>()?;
            Ok(Arc::new(Schema::new(fields)))
        };
        let any = definitions.iter().enumerate().filter(|(_, definition)| definition.is_none());
        let is_rest =
            |definition: &Option<Definition>| definition.as_ref().is_some_and(|known| !known.is_plain);
        Ok(Self {
            schemas: definitions.iter().map(schema).collect::<Result<_>>()?,
            aggregates: Aggregates::new(definitions.iter().flatten(), input)?,
            any: any.fold(0, |bits, (variable, _)| bits | 1 << variable),
            plain: Vec::new(),
            rest: (0..definitions.len()).filter(|at| is_rest(&definitions[*at])).collect(),
            trials: vec![Vec::new(); definitions.len()],
            none: vec![0; definitions.len()],
            definitions: definitions.to_vec(),
        })
    }

    /// The older rows that definitions may read as the next row of `attempt`, and of what becomes of it, by number.
    pub fn older(&self, attempt: &Attempt, counts: &Counts, wanted: &mut Vec<u64>) {
        if attempt.first == NOT_BEGUN {
            return;
        }
        for variable in &self.rest {
            for read in self.definitions[*variable].iter().flat_map(|definition| &definition.reads) {
                let Read::Row { variable: of, column, .. } = *read else { continue };
                let Some(back) = read.steps_back() else {
                    wanted.extend(read.row(attempt.first, counts.of(attempt.slot), None));
                    continue;
                };
                // As rows come, what lies so far back is nearer to the end.
                let nearer = (0..=back as usize).map(|offset| Read::Row {
                    variable: of,
                    from_last: true,
                    offset,
                    column,
                });
                wanted
                    .extend(nearer.filter_map(|read| read.row(attempt.first, counts.of(attempt.slot), None)));
            }
        }
    }

    /// Computes what can be for the first `due` rows of `columns`.
    ///
    /// # Errors
    /// If a definition cannot be computed.
    pub fn prepare(&mut self, columns: &[ArrayRef], due: usize) -> Result<()> {
        self.plain.clear();
        for (variable, definition) in self.definitions.iter().enumerate() {
            let Some(definition) = definition.as_ref().filter(|definition| definition.is_plain) else {
                continue;
            };
            let reads = definition.reads.iter().filter_map(|read| match read {
                Read::Row { column, .. } => Some(columns[*column].slice(0, due)),
                Read::Aggregate { .. } | Read::Time(_) => None,
            });
            let rows = record_batch(Arc::clone(&self.schemas[variable]), reads.collect(), due)?;
            self.plain.push((1 << variable, truth_of(&definition.condition.evaluate(&rows)?)?));
        }
        Ok(())
    }

    /// The variables in `needs` that can take the row of `trial` as far as is known at once; the others are put on the list.
    pub fn try_row(&mut self, needs: u64, trial: Trial) -> u64 {
        let holds =
            |truth: &BooleanArray| truth.is_valid(trial.place as usize) && truth.value(trial.place as usize);
        let plain = self.plain.iter().filter(|(bit, truth)| needs & bit != 0 && holds(truth));
        let known = plain.fold(self.any, |bits, (bit, _)| bits | bit);
        for variable in self.rest.iter().filter(|variable| needs & (1 << **variable) != 0) {
            self.trials[*variable].push(trial);
        }
        known
    }

    /// Computes what was put on the list into `answers`.
    ///
    /// # Errors
    /// If a definition cannot be computed.
    pub fn answer(
        &mut self,
        lanes: &[Lane],
        counts: &Counts,
        columns: &[ArrayRef],
        answers: &mut [u64],
    ) -> Result<()> {
        for variable in &self.rest {
            let trials = &mut self.trials[*variable];
            let Some(definition) = self.definitions[*variable].as_ref().filter(|_| !trials.is_empty()) else {
                continue;
            };
            let mut reads = Vec::with_capacity(definition.reads.len());
            for read in &definition.reads {
                reads.push(match read {
                    Read::Aggregate { variable: of, call } => {
                        let from =
                            |trial: &Trial| (trial.attempt.first != NOT_BEGUN).then_some(trial.attempt.slot);
                        let from: Vec<Option<u32>> = trials.iter().map(from).collect();
                        let rows = UInt32Array::from_iter_values(trials.iter().map(|trial| trial.place));
                        self.aggregates.tried((*of, call), *variable, &from, columns, &rows)?
                    }
                    Read::Row { column, .. } => {
                        let places: UInt32Array = trials
                            .iter()
                            .map(|trial| {
                                let begun = trial.attempt.first != NOT_BEGUN;
                                let (first, counts) = if begun {
                                    (trial.attempt.first, counts.of(trial.attempt.slot))
                                } else {
                                    (trial.number, self.none.as_slice())
                                };
                                lanes[trial.lane].place_of(read.row(first, counts, Some(*variable))?)
                            })
                            .collect();
                        take(&columns[*column], &places, None)?
                    }
                    Read::Time(_) => return Err(Error::internal("a definition reads the time of its match")),
                });
            }
            let rows = record_batch(Arc::clone(&self.schemas[*variable]), reads, trials.len())?;
            let truth = truth_of(&definition.condition.evaluate(&rows)?)?;
            for (row, trial) in trials.iter().enumerate() {
                if truth.is_valid(row) && truth.value(row) {
                    answers[trial.answer] |= 1 << variable;
                }
            }
            trials.clear();
        }
        Ok(())
    }
}

fn truth_of(column: &ArrayRef) -> Result<BooleanArray> {
    let truth = column.as_boolean_opt().cloned();
    truth.ok_or_else(|| Error::internal("the definition of a pattern variable is no BOOLEAN"))
}
