//! The keys of an operator's rows as numbers, and what keyed operators share about them: numbering a batch, splitting
//! state by key group, taking one's own out of state that holds any, forgetting keys.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use millstream_engine::Result;
use millstream_engine::keys::{KeyGroup, KeyHasher, key_group};
use millstream_engine::state::{StateReader, decode_rows};

use crate::keys::KeyTable;

/// Dead keys that are not worth renumbering the others for.
const DEAD_KEYS_MIN: usize = 4_096;

/// Numbers the keys of batches.
#[derive(Debug)]
pub(crate) struct Keyed {
    columns: Vec<usize>,
    hasher: KeyHasher,
    pub table: KeyTable,
    hashes: Vec<u64>,
    /// The number of each row's key, of the batch numbered last.
    pub numbers: Vec<u32>,
}

impl Keyed {
    /// Keys in `columns` of `input`.
    ///
    /// # Errors
    /// If a type cannot be a key.
    pub fn new(input: &SchemaRef, columns: &[usize]) -> Result<Self> {
        let types: Vec<DataType> =
            columns.iter().map(|column| input.field(*column).data_type().clone()).collect();
        Ok(Self {
            columns: columns.to_vec(),
            hasher: KeyHasher::new(&types)?,
            table: KeyTable::new(&types)?,
            hashes: Vec::new(),
            numbers: Vec::new(),
        })
    }

    /// Numbers the keys of `rows` into `self.numbers`.
    ///
    /// # Errors
    /// If the columns are of other types.
    pub fn number(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys: Vec<ArrayRef> =
            self.columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        self.number_columns(&keys, rows.num_rows())
    }

    /// Numbers `rows` keys, whose columns are given.
    ///
    /// # Errors
    /// If the columns are of other types.
    pub fn number_columns(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        self.hasher.hash(keys, rows, &mut self.hashes)?;
        let prepared = self.table.prepare(keys, rows)?;
        self.table.intern(&prepared, &self.hashes, 0, rows, &mut self.numbers);
        Ok(())
    }

    /// How many key columns there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// True when so many of the keys are dead that renumbering the `live` ones pays.
    pub fn is_stale(&self, live: usize) -> bool {
        self.table.len() > 4 * live + DEAD_KEYS_MIN
    }

    /// Items by the key group of their key's number.
    pub fn by_key_group<T>(&self, items: impl Iterator<Item = (u32, T)>) -> BTreeMap<KeyGroup, Vec<T>> {
        let mut of_group: BTreeMap<KeyGroup, Vec<T>> = BTreeMap::new();
        for (number, item) in items {
            of_group.entry(key_group(self.table.hashes()[number as usize])).or_default().push(item);
        }
        of_group
    }
}

/// The rows that `state` holds, the first `width` columns of which are keys, without those of others' keys.
pub(crate) fn own_rows(state: &StateReader, width: usize) -> impl Iterator<Item = Result<RecordBatch>> {
    let keys: Vec<usize> = (0..width).collect();
    state.groups().map(move |(of, bytes)| own(state, of, decode_rows(bytes)?, &keys))
}

/// Of `rows`, which are state of the key groups `of`, those whose keys are the reader's own. `keys` are their columns.
pub(crate) fn own(
    state: &StateReader,
    of: &Range<KeyGroup>,
    rows: RecordBatch,
    keys: &[usize],
) -> Result<RecordBatch> {
    if state.owns_all(of) {
        return Ok(rows);
    }
    let keys: Vec<ArrayRef> = keys.iter().map(|key| Arc::clone(rows.column(*key))).collect();
    let types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
    let mut hashes = Vec::new();
    KeyHasher::new(&types)?.hash(&keys, rows.num_rows(), &mut hashes)?;
    let is_own: BooleanArray = hashes.iter().map(|hash| Some(state.owns(key_group(*hash)))).collect();
    Ok(filter_record_batch(&rows, &is_own)?)
}

/// Columns of state as rows to be encoded.
pub(crate) fn state_rows(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields: Vec<_> =
        columns.iter().map(|column| Field::new("c", column.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// When state of which the `oldest_ms` was last written is to be looked at again, at `now_ms`, to forget what is older
/// than `ttl_ms`: not for each key that grows old by itself, a tenth of the time to live is soon enough.
pub(crate) fn next_forgetting_ms(oldest_ms: i64, now_ms: i64, ttl_ms: i64) -> i64 {
    oldest_ms.saturating_add(ttl_ms).max(now_ms.saturating_add(ttl_ms / 10 + 1))
}
