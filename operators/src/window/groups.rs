//! The groups of one slice (or of a window being put together): numbered keys, and each aggregate's state by number.
//!
//! A snapshot of them is written in pieces ([`Groups::freeze`], [`write_frozen`]), as partial rows; a group that rows are
//! added to before its turn is written first.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use millstream_engine::keys::KeyHasher;
use millstream_engine::state::{StateWriter, encode_rows};
use millstream_engine::{Batch, Firing, Result};

use super::WindowAggregateSpec;
use crate::aggregate::{Accumulator, to_input};
use crate::frozen::{CHUNK_ROWS, Frozen};
use crate::keys::{KeyColumns, KeyTable};

/// Keys and their states.
pub(super) struct Groups {
    pub keys: KeyTable,
    /// One a call, then a count of rows where that is kept apart.
    pub accumulators: Vec<Box<dyn Accumulator>>,
    /// How many of them are calls.
    calls: usize,
    /// The one that counts rows, where groups may be without.
    row_count: Option<usize>,
    snapshot: Option<Box<GroupsSnapshot>>,
}

/// What is left to be written of a slice's groups.
struct GroupsSnapshot {
    frozen: Frozen,
    slice_end_ms: i64,
    schema: SchemaRef,
    /// Encoded groups that were about to change.
    claimed: Vec<Bytes>,
}

impl Groups {
    pub fn new(spec: &WindowAggregateSpec) -> Result<Self> {
        Ok(Self {
            keys: KeyTable::new(&spec.key_types())?,
            accumulators: spec.accumulators()?,
            calls: spec.aggregates.len(),
            row_count: spec.row_count()?,
            snapshot: None,
        })
    }

    /// Adds rows `start .. start + len` of `input`.
    pub fn update(
        &mut self,
        input: &Prepared,
        start: usize,
        len: usize,
        numbers: &mut Vec<u32>,
    ) -> Result<()> {
        self.keys.intern(&input.keys, &input.hashes, start, len, numbers);
        if self.snapshot.is_some() {
            self.claim(numbers)?;
        }
        let groups = self.keys.len();
        for (accumulator, argument) in self.accumulators.iter_mut().zip(&input.arguments) {
            accumulator.resize(groups);
            match argument {
                Argument::Rows { column, filter } if len == input.rows => {
                    accumulator.update(numbers, column.as_ref(), filter.as_ref())?;
                }
                Argument::Rows { column, filter } => {
                    let column = column.as_ref().map(|column| column.slice(start, len));
                    let filter = filter.as_ref().map(|filter| filter.slice(start, len));
                    accumulator.update(numbers, column.as_ref(), filter.as_ref())?;
                }
                Argument::States(columns) => {
                    let columns: Vec<ArrayRef> =
                        columns.iter().map(|column| column.slice(start, len)).collect();
                    accumulator.merge_state(numbers, &columns)?;
                }
            }
        }
        Ok(())
    }

    /// Adds all groups of `other`.
    pub fn merge(&mut self, other: &Groups, numbers: &mut Vec<u32>) {
        self.keys.intern_all(&other.keys, numbers);
        let groups = self.keys.len();
        for (mine, theirs) in self.accumulators.iter_mut().zip(&other.accumulators) {
            mine.resize(groups);
            mine.merge_from(theirs.as_ref(), numbers);
        }
    }

    /// Takes all groups of `other` out again.
    pub fn retract(&mut self, other: &Groups, numbers: &mut Vec<u32>) {
        self.keys.intern_all(&other.keys, numbers);
        for (mine, theirs) in self.accumulators.iter_mut().zip(&other.accumulators) {
            mine.retract_from(theirs.as_ref(), numbers);
        }
    }

    pub fn clear(&mut self) {
        debug_assert!(!self.is_frozen(), "groups that are still to be written");
        self.keys.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
    }

    /// Of groups `from .. until`, those that hold rows.
    pub fn occupied(&self, from: u32, until: u32) -> Result<Vec<u32>> {
        let mut numbers: Vec<u32> = (from..until).collect();
        if let Some(row_count) = self.row_count {
            let counts = self.accumulators[row_count].evaluate(&numbers)?;
            let counts = counts.as_primitive::<arrow_array::types::Int64Type>();
            numbers.retain(|number| counts.value((number - from) as usize) > 0);
        }
        Ok(numbers)
    }

    /// Keys and results of `numbers`.
    pub fn results(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.keys.columns(numbers)?;
        for accumulator in &self.accumulators[..self.calls] {
            columns.push(accumulator.evaluate(numbers)?);
        }
        Ok(columns)
    }

    /// Partial rows of `numbers`: keys, slice end, states.
    pub fn partials(&self, numbers: &[u32], slice_end_ms: i64, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns = self.keys.columns(numbers)?;
        columns.push(Arc::new(Int64Array::from_value(slice_end_ms, numbers.len())));
        for accumulator in &self.accumulators {
            columns.extend(accumulator.state(numbers)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }

    /// Begins a snapshot of the groups as partial rows.
    pub fn freeze(&mut self, slice_end_ms: i64, schema: &SchemaRef) {
        let (frozen, schema) = (Frozen::new(self.keys.len()), Arc::clone(schema));
        self.snapshot = Some(Box::new(GroupsSnapshot { frozen, slice_end_ms, schema, claimed: Vec::new() }));
    }

    /// True while some of them are still to be written.
    pub fn is_frozen(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Writes those of `numbers` that are still to be written, for they are about to change.
    fn claim(&mut self, numbers: &[u32]) -> Result<()> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(()) };
        let claimed = snapshot.frozen.claim(numbers.iter().copied());
        if !claimed.is_empty() {
            let rows = self.partials(&claimed, snapshot.slice_end_ms, &snapshot.schema)?;
            snapshot.claimed.push(encode_rows(&rows)?);
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Writes a chunk of what is left, and answers how many groups that were.
    fn write_frozen(&mut self, state: &mut StateWriter) -> Result<usize> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(0) };
        snapshot.claimed.drain(..).for_each(|bytes| state.put_keyed(bytes));
        let chunk = snapshot.frozen.next_chunk(|_| 1);
        if !chunk.is_empty() {
            let rows = self.partials(&chunk, snapshot.slice_end_ms, &snapshot.schema)?;
            state.put_keyed(encode_rows(&rows)?);
        }
        if !snapshot.frozen.is_done() {
            self.snapshot = Some(snapshot);
        }
        Ok(chunk.len())
    }
}

/// Writes a piece of the snapshot of `slices`.
pub(super) fn write_frozen<'a>(
    slices: impl IntoIterator<Item = &'a mut Groups>,
    state: &mut StateWriter,
) -> Result<Firing> {
    let mut written = 0;
    for groups in slices {
        while groups.is_frozen() {
            if written >= CHUNK_ROWS {
                return Ok(Firing::More);
            }
            written += groups.write_frozen(state)?;
        }
    }
    Ok(Firing::Done)
}

/// A batch made ready to be added: keys hashed and encoded, arguments in the accumulators' types.
pub(super) struct Prepared {
    rows: usize,
    keys: KeyColumns,
    hashes: Vec<u64>,
    arguments: Vec<Argument>,
}

enum Argument {
    Rows { column: Option<ArrayRef>, filter: Option<BooleanArray> },
    States(Vec<ArrayRef>),
}

/// Prepares batches for the groups of one operator.
pub(super) struct Preparer {
    spec: WindowAggregateSpec,
    hasher: KeyHasher,
    model: Groups,
}

impl Preparer {
    pub fn new(spec: &WindowAggregateSpec) -> Result<Self> {
        Ok(Self { spec: spec.clone(), hasher: KeyHasher::new(&spec.key_types())?, model: Groups::new(spec)? })
    }

    /// Rows as they come from the stream.
    pub fn rows(&self, batch: &Batch) -> Result<Prepared> {
        let keys: Vec<ArrayRef> =
            self.spec.keys.iter().map(|key| Arc::clone(batch.rows.column(*key))).collect();
        let mut arguments = Vec::with_capacity(self.model.accumulators.len());
        for (number, accumulator) in self.model.accumulators.iter().enumerate() {
            let call = self.spec.aggregates.get(number);
            let column = match call.and_then(|call| call.argument) {
                Some(column) => Some(to_input(batch.rows.column(column), accumulator.as_ref())?),
                None => None,
            };
            let filter = call
                .and_then(|call| call.filter)
                .and_then(|filter| batch.rows.column(filter).as_boolean_opt().cloned());
            arguments.push(Argument::Rows { column, filter });
        }
        self.prepared(&keys, arguments, batch.num_rows())
    }

    /// Partial rows: keys, slice end, states.
    pub fn partials(&self, rows: &RecordBatch) -> Result<Prepared> {
        let keys = &rows.columns()[..self.spec.keys.len()];
        let mut at = self.spec.keys.len() + 1;
        let mut arguments = Vec::with_capacity(self.model.accumulators.len());
        for accumulator in &self.model.accumulators {
            let width = accumulator.state_types().len();
            arguments.push(Argument::States(rows.columns()[at..at + width].to_vec()));
            at += width;
        }
        self.prepared(keys, arguments, rows.num_rows())
    }

    /// The slice ends of partial rows.
    pub fn slice_ends<'a>(&self, rows: &'a RecordBatch) -> &'a [i64] {
        rows.column(self.spec.keys.len()).as_primitive::<arrow_array::types::Int64Type>().values()
    }

    fn prepared(&self, keys: &[ArrayRef], arguments: Vec<Argument>, rows: usize) -> Result<Prepared> {
        let mut hashes = Vec::with_capacity(rows);
        self.hasher.hash(keys, rows, &mut hashes)?;
        Ok(Prepared { rows, keys: self.model.keys.prepare(keys, rows)?, hashes, arguments })
    }
}
