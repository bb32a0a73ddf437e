//! Keys to dense numbers: the hash table in front of every keyed state.
//!
//! A table numbers the keys it has seen 0, 1, 2 …, so that state is kept in plain vectors. A single integer-like or
//! string key is typed; several columns go through arrow-row. Invariants: a key is copied once, on first sight;
//! probing borrows; numbers stay valid until `clear`. Hashes are the engine's (they decide key groups too).

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use hashbrown::HashTable;
use millstream_engine::Result;

use crate::kept_type::as_type;

/// Numbers the distinct keys of a stream.
#[derive(Debug)]
pub struct KeyTable {
    types: Vec<DataType>,
    store: Store,
    table: HashTable<u32>,
    hashes: Vec<u64>,
}

#[derive(Debug)]
enum Store {
    /// No key columns: one group.
    Unit { seen: bool },
    /// One integer-like column; the number of the null key, if it was seen.
    Int { values: Vec<i64>, null: Option<u32> },
    /// One string column, as bytes with end offsets.
    Text { bytes: Vec<u8>, ends: Vec<usize>, null: Option<u32> },
    /// Several columns, row-encoded.
    Rows { bytes: Vec<u8>, ends: Vec<usize>, converter: RowConverter },
}

/// A batch's key columns, brought into the form a [`KeyTable`] of the same types probes with.
pub enum KeyColumns {
    /// No key columns, this many rows.
    Unit(usize),
    /// Integer-like.
    Int(Int64Array),
    /// Strings.
    Text(StringArray),
    /// Row-encoded.
    Rows(arrow_row::Rows),
}

impl KeyTable {
    /// A table for key columns of these types.
    ///
    /// # Errors
    /// If a type cannot be a key.
    pub fn new(types: &[DataType]) -> Result<Self> {
        let store = match types {
            [] => Store::Unit { seen: false },
            [single] if is_int(single) => Store::Int { values: Vec::new(), null: None },
            [DataType::Utf8 | DataType::Utf8View] => {
                Store::Text { bytes: Vec::new(), ends: Vec::new(), null: None }
            }
            several => Store::Rows {
                bytes: Vec::new(),
                ends: Vec::new(),
                converter: RowConverter::new(several.iter().cloned().map(SortField::new).collect())?,
            },
        };
        Ok(Self { types: types.to_vec(), store, table: HashTable::new(), hashes: Vec::new() })
    }

    /// How many keys are numbered.
    pub fn len(&self) -> usize {
        match &self.store {
            Store::Unit { seen } => usize::from(*seen),
            _ => self.hashes.len(),
        }
    }

    /// True before the first key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of each key, by number.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Forgets all keys and keeps the memory.
    pub fn clear(&mut self) {
        self.table.clear();
        self.hashes.clear();
        match &mut self.store {
            Store::Unit { seen } => *seen = false,
            Store::Int { values, null } => {
                values.clear();
                *null = None;
            }
            Store::Text { bytes, ends, null } => {
                bytes.clear();
                ends.clear();
                *null = None;
            }
            Store::Rows { bytes, ends, .. } => {
                bytes.clear();
                ends.clear();
            }
        }
    }

    /// Brings a batch's key columns into the form to probe with: once a batch.
    ///
    /// # Errors
    /// If the columns are not of this table's types.
    pub fn prepare(&self, columns: &[ArrayRef], num_rows: usize) -> Result<KeyColumns> {
        Ok(match &self.store {
            Store::Unit { .. } => KeyColumns::Unit(num_rows),
            Store::Int { .. } => {
                KeyColumns::Int(as_type(&columns[0], &DataType::Int64)?.as_primitive().clone())
            }
            Store::Text { .. } => {
                KeyColumns::Text(as_type(&columns[0], &DataType::Utf8)?.as_string().clone())
            }
            Store::Rows { converter, .. } => KeyColumns::Rows(converter.convert_columns(columns)?),
        })
    }

    /// Numbers the keys of rows `start .. start + len`, whose hashes are `hashes[start..]`, into `groups`.
    pub fn intern(
        &mut self,
        keys: &KeyColumns,
        hashes: &[u64],
        start: usize,
        len: usize,
        groups: &mut Vec<u32>,
    ) {
        groups.clear();
        let rows = start..start + len;
        let (table, stored) = (&mut self.table, &mut self.hashes);
        match (&mut self.store, keys) {
            (Store::Unit { seen }, _) => {
                *seen |= len > 0;
                if stored.is_empty() {
                    stored.push(0);
                }
                groups.resize(len, 0);
            }
            (Store::Int { values, null }, KeyColumns::Int(column)) => {
                let raw = column.values()[rows.clone()].iter().zip(&hashes[rows.clone()]);
                match column.nulls().filter(|nulls| nulls.null_count() > 0) {
                    None => {
                        groups.extend(raw.map(|(key, hash)| intern_int(table, stored, values, *key, *hash)))
                    }
                    Some(nulls) => groups.extend(raw.zip(rows).map(|((key, hash), row)| {
                        if nulls.is_null(row) {
                            null_group(null, *hash, stored, || values.push(0))
                        } else {
                            intern_int(table, stored, values, *key, *hash)
                        }
                    })),
                }
            }
            (Store::Text { bytes, ends, null }, KeyColumns::Text(column)) => {
                let (data, offsets) = (column.value_data(), column.value_offsets());
                let raw = offsets[start..=start + len].windows(2).zip(&hashes[rows.clone()]);
                let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
                groups.extend(raw.zip(rows).map(|((span, hash), row)| {
                    if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                        return null_group(null, *hash, stored, || ends.push(bytes.len()));
                    }
                    let key = &data[span[0] as usize..span[1] as usize];
                    intern_bytes(table, stored, bytes, ends, key, *hash)
                }));
            }
            (Store::Rows { bytes, ends, .. }, KeyColumns::Rows(encoded)) => {
                groups.extend(rows.map(|row| {
                    intern_bytes(table, stored, bytes, ends, encoded.row(row).as_ref(), hashes[row])
                }));
            }
            _ => debug_assert!(false, "keys prepared for another table"),
        }
    }

    /// Numbers every key of `other` (of the same types) here: entry `i` of `groups` is the number of its key `i`.
    pub fn intern_all(&mut self, other: &KeyTable, groups: &mut Vec<u32>) {
        let count = other.len();
        match &other.store {
            Store::Unit { .. } => self.intern(&KeyColumns::Unit(count), &[], 0, count, groups),
            Store::Int { values, null } => {
                // Only the null key's place holds no value; an array without nulls is the common case.
                let column: Int64Array = match null {
                    None => Int64Array::from_iter_values(values.iter().copied()),
                    Some(null) => (0_u32..)
                        .zip(values)
                        .map(|(group, value)| (group != *null).then_some(*value))
                        .collect(),
                };
                self.intern(&KeyColumns::Int(column), &other.hashes, 0, count, groups);
            }
            Store::Text { bytes: from, ends: from_ends, null: from_null } => {
                let Store::Text { bytes, ends, null } = &mut self.store else { return };
                groups.clear();
                for group in 0..count {
                    let hash = other.hashes[group];
                    groups.push(if from_null.is_some_and(|null| null as usize == group) {
                        null_group(null, hash, &mut self.hashes, || ends.push(bytes.len()))
                    } else {
                        let key = slice_of(from, from_ends, group);
                        intern_bytes(&mut self.table, &mut self.hashes, bytes, ends, key, hash)
                    });
                }
            }
            Store::Rows { bytes: from, ends: from_ends, .. } => {
                let Store::Rows { bytes, ends, .. } = &mut self.store else { return };
                groups.clear();
                for group in 0..count {
                    let key = slice_of(from, from_ends, group);
                    let (table, hashes) = (&mut self.table, &mut self.hashes);
                    groups.push(intern_bytes(table, hashes, bytes, ends, key, other.hashes[group]));
                }
            }
        }
    }

    /// A table of `groups` alone: key `groups[i]` has number `i` there.
    ///
    /// # Errors
    /// If the stored keys cannot be decoded, which would be a defect.
    pub fn subset(&self, groups: &[u32]) -> Result<KeyTable> {
        let mut kept = Self::new(&self.types)?;
        let columns = self.columns(groups)?;
        let hashes: Vec<u64> = groups.iter().map(|group| self.hashes[*group as usize]).collect();
        let prepared = kept.prepare(&columns, groups.len())?;
        kept.intern(&prepared, &hashes, 0, groups.len(), &mut Vec::new());
        Ok(kept)
    }

    /// The key columns of `groups`, in that order.
    ///
    /// # Errors
    /// If the stored keys cannot be decoded, which would be a defect.
    pub fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.store {
            Store::Unit { .. } => Vec::new(),
            Store::Int { values, null } => {
                let mut column = Int64Builder::with_capacity(groups.len());
                for group in groups {
                    column.append_option((*null != Some(*group)).then(|| values[*group as usize]));
                }
                vec![as_type(&(Arc::new(column.finish()) as ArrayRef), &self.types[0])?]
            }
            Store::Text { bytes, ends, null } => {
                let mut column = StringBuilder::with_capacity(groups.len(), groups.len() * 16);
                for group in groups {
                    let text =
                        std::str::from_utf8(slice_of(bytes, ends, *group as usize)).unwrap_or_default();
                    column.append_option((*null != Some(*group)).then_some(text));
                }
                vec![as_type(&(Arc::new(column.finish()) as ArrayRef), &self.types[0])?]
            }
            Store::Rows { bytes, ends, converter } => {
                let parser = converter.parser();
                let rows = groups.iter().map(|group| parser.parse(slice_of(bytes, ends, *group as usize)));
                converter.convert_rows(rows)?
            }
        })
    }
}

/// Types kept as 64-bit integers.
fn is_int(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(_, _)
    )
}

fn slice_of<'a>(bytes: &'a [u8], ends: &[usize], index: usize) -> &'a [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    &bytes[start..ends[index]]
}

/// The number of the null key, which is not in the table: nothing is equal to it.
#[cold]
fn null_group(null: &mut Option<u32>, hash: u64, hashes: &mut Vec<u64>, push: impl FnOnce()) -> u32 {
    *null.get_or_insert_with(|| {
        push();
        hashes.push(hash);
        (hashes.len() - 1) as u32
    })
}

#[inline]
fn intern_int(
    table: &mut HashTable<u32>,
    hashes: &mut Vec<u64>,
    values: &mut Vec<i64>,
    key: i64,
    hash: u64,
) -> u32 {
    if let Some(group) = table.find(hash, |group| values[*group as usize] == key) {
        return *group;
    }
    values.push(key);
    add(table, hashes, hash)
}

#[inline]
fn intern_bytes(
    table: &mut HashTable<u32>,
    hashes: &mut Vec<u64>,
    bytes: &mut Vec<u8>,
    ends: &mut Vec<usize>,
    key: &[u8],
    hash: u64,
) -> u32 {
    if let Some(group) = table.find(hash, |group| same_bytes(slice_of(bytes, ends, *group as usize), key)) {
        return *group;
    }
    bytes.extend_from_slice(key);
    ends.push(bytes.len());
    add(table, hashes, hash)
}

/// Numbers a key that is not there yet.
fn add(table: &mut HashTable<u32>, hashes: &mut Vec<u64>, hash: u64) -> u32 {
    let group = hashes.len() as u32;
    hashes.push(hash);
    table.insert_unique(hash, group, |group| hashes[*group as usize]);
    group
}

/// Equality of short keys in two comparisons that may overlap, without a call.
#[inline]
fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        8..=16 => {
            one.first_chunk::<8>() == other.first_chunk() && one.last_chunk::<8>() == other.last_chunk()
        }
        17..=32 => {
            one.first_chunk::<16>() == other.first_chunk() && one.last_chunk::<16>() == other.last_chunk()
        }
        _ => one == other,
    }
}

/// The values of an integer column, for tests and typed callers.
pub fn int_values(column: &ArrayRef) -> Option<&[i64]> {
    column.as_primitive_opt::<Int64Type>().map(|column| column.values().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int32Array, TimestampMillisecondArray};
    use arrow_schema::TimeUnit;
    use millstream_engine::keys::KeyHasher;

    /// Interns the columns twice through two tables, and gives back the numbers and the keys.
    fn numbered(columns: &[ArrayRef]) -> (Vec<u32>, Vec<ArrayRef>) {
        let types: Vec<_> = columns.iter().map(|column| column.data_type().clone()).collect();
        let rows = columns.first().map_or(3, |column| column.len());
        let mut table = KeyTable::new(&types).unwrap();
        let mut hashes = Vec::new();
        KeyHasher::new(&types).unwrap().hash(columns, rows, &mut hashes).unwrap();
        let keys = table.prepare(columns, rows).unwrap();
        let mut groups = Vec::new();
        table.intern(&keys, &hashes, 0, rows, &mut groups);
        let mut copy = KeyTable::new(&types).unwrap();
        let mut all = Vec::new();
        copy.intern_all(&table, &mut all);
        assert_eq!(all, (0..table.len() as u32).collect::<Vec<_>>());
        assert_eq!(copy.hashes(), table.hashes());
        let again = copy.columns(&all).unwrap();
        assert_eq!(again, table.columns(&all).unwrap());
        (groups, again)
    }

    #[test]
    fn each_type_numbers_its_keys_and_gives_them_back() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, Some(0), Some(7), None]));
        let (groups, keys) = numbered(&[Arc::clone(&ints)]);
        assert_eq!(groups, vec![0, 1, 2, 0, 1]);
        assert_eq!(keys[0].as_ref(), &Int32Array::from(vec![Some(7), None, Some(0)]) as &dyn Array);
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("a"), Some("")]));
        let (groups, keys) = numbered(&[Arc::clone(&texts)]);
        assert_eq!(groups, vec![0, 1, 2, 0, 1]);
        assert_eq!(keys[0].as_ref(), &StringArray::from(vec![Some("a"), Some(""), None]) as &dyn Array);
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5, 6, 5, 6, 5]));
        let (groups, keys) = numbered(&[times]);
        assert_eq!(
            (groups, keys[0].data_type()),
            (vec![0, 1, 0, 1, 0], &DataType::Timestamp(TimeUnit::Millisecond, None))
        );
        let (groups, keys) = numbered(&[ints, texts]);
        assert_eq!((groups, keys.len()), (vec![0, 1, 2, 0, 1], 2));
        assert_eq!(numbered(&[]).0, vec![0, 0, 0]);
    }
}
