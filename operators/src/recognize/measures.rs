//! Matches as rows: the partition's keys, and what the measures read.
//!
//! Comes from the matches of a chunk (mod.rs), while their rows are still kept; leaves as one batch.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use millstream_engine::Result;
use millstream_engine::batch::record_batch;

use super::RecognizeSpec;
use super::matcher::{Counts, Found};
use super::reads::{Measure, Read, accumulator, argument, rows_of};
use crate::aggregate::Accumulator;
use crate::kept_type::as_type;
use crate::row_store::RowStore;

/// See the module's page.
pub(super) struct Measures {
    pub reads: Vec<Read>,
    pub output: SchemaRef,
    /// By read; for aggregates.
    accumulators: Vec<Option<Box<dyn Accumulator>>>,
}

/// The rows that matches read, each by number, and where those of each match begin.
struct Wanted {
    numbers: Vec<u64>,
    of: Vec<Range<usize>>,
}

impl Measures {
    /// The measures of `spec`.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn new(spec: &RecognizeSpec) -> Result<Self> {
        let accumulator_of = |read: &Read| match read {
            Read::Aggregate { call, .. } => accumulator(call, &spec.input).map(Some),
            Read::Row { .. } | Read::Time(_) => Ok(None),
        };
        let reads: Vec<Read> = spec.measures.iter().map(|measure| measure.read.clone()).collect();
        Ok(Self {
            accumulators: reads.iter().map(accumulator_of).collect::<Result<_>>()?,
            reads,
            output: output_schema(spec)?,
        })
    }

    /// The rows of matches; `slot_of` says where row `number` of the `i`-th match is kept.
    ///
    /// # Errors
    /// If a value cannot be computed.
    pub fn rows(
        &mut self,
        keys: Vec<ArrayRef>,
        found: &[Found],
        counts: &Counts,
        store: &RowStore,
        slot_of: impl Fn(usize, u64) -> u32,
    ) -> Result<arrow_array::RecordBatch> {
        let wanted = self.wanted(found, counts);
        let slots = (0..found.len())
            .flat_map(|at| wanted.numbers[wanted.of[at].clone()].iter().map(move |number| (at, *number)));
        let slots: Vec<u32> = slots.map(|(at, number)| slot_of(at, number)).collect();
        let columns = if slots.is_empty() { Vec::new() } else { store.columns(slots.into_iter())? };
        let mut values = keys;
        for (read, accumulator) in self.reads.iter().zip(&mut self.accumulators) {
            values.push(match (read, accumulator) {
                (Read::Row { column, .. }, _) => {
                    let places: UInt32Array = (0_usize..)
                        .zip(found)
                        .map(|(at, found)| {
                            wanted.place(at, read.row(found.first, counts.of(found.slot), None)?)
                        })
                        .collect();
                    match columns.get(*column) {
                        Some(column) => take(column, &places, None)?,
                        None => arrow_array::new_null_array(
                            self.output.field(values.len()).data_type(),
                            found.len(),
                        ),
                    }
                }
                (Read::Aggregate { variable, call }, Some(accumulator)) => {
                    accumulator.clear();
                    accumulator.resize(found.len());
                    let (mut groups, mut places) = (Vec::new(), Vec::new());
                    for (at, found) in found.iter().enumerate() {
                        let (first, rows) = rows_of(*variable, found.first, counts.of(found.slot), None);
                        for number in first..first + rows {
                            groups.push(at as u32);
                            places.extend(wanted.place(at, number));
                        }
                    }
                    let column = argument(call, &columns, accumulator.as_ref())?;
                    let places = UInt32Array::from(places);
                    let column = column.map(|column| take(&column, &places, None)).transpose()?;
                    accumulator.update(&groups, column.as_ref(), None)?;
                    let all: Vec<u32> = (0..found.len() as u32).collect();
                    accumulator.evaluate(&all)?
                }
                (read, _) => {
                    let times = Int64Array::from_iter_values(found.iter().map(|found| found.time_ms));
                    let kind = match read {
                        Read::Time(kind) => kind.clone(),
                        _ => DataType::Int64,
                    };
                    as_type(&(Arc::new(times) as ArrayRef), &kind)?
                }
            });
        }
        record_batch(Arc::clone(&self.output), values, found.len())
    }

    fn wanted(&self, found: &[Found], counts: &Counts) -> Wanted {
        let mut wanted = Wanted { numbers: Vec::new(), of: Vec::with_capacity(found.len()) };
        let mut own: Vec<u64> = Vec::new();
        for found in found {
            own.clear();
            for read in &self.reads {
                match read {
                    Read::Row { .. } => own.extend(read.row(found.first, counts.of(found.slot), None)),
                    Read::Aggregate { variable, call } if call.argument.is_some() => {
                        let (first, rows) = rows_of(*variable, found.first, counts.of(found.slot), None);
                        own.extend(first..first + rows);
                    }
                    Read::Aggregate { .. } | Read::Time(_) => {}
                }
            }
            own.sort_unstable();
            own.dedup();
            let start = wanted.numbers.len();
            wanted.numbers.extend_from_slice(&own);
            wanted.of.push(start..wanted.numbers.len());
        }
        wanted
    }
}

impl Wanted {
    /// Where row `number` of match `at` is among the rows.
    fn place(&self, at: usize, number: u64) -> Option<u32> {
        let of = self.of[at].clone();
        self.numbers[of.clone()].binary_search(&number).ok().map(|place| (of.start + place) as u32)
    }
}

/// Columns of the result: the partition's, then what is read.
pub(super) fn output_schema(spec: &RecognizeSpec) -> Result<SchemaRef> {
    let mut fields: Vec<Field> =
        spec.partition.iter().map(|key| spec.input.field(*key).clone().with_nullable(true)).collect();
    for Measure { name, read } in &spec.measures {
        fields.push(read.field(&spec.input)?.as_ref().clone().with_name(name));
    }
    Ok(Arc::new(Schema::new(fields)))
}
