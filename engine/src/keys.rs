//! Keys: which rows belong together, and which worker they live on.
//!
//! A key's hash decides its key group (one of [`KEY_GROUPS`]), and the group decides the instance: instance `i` of
//! `n` owns a contiguous range of groups. Hash and grouping are part of the state format: they must never change
//! for a given type, or restored state would be looked for on the wrong instance. Hence xxh3, whose output is
//! specified, and a fixed mixer for integers, rather than a hasher that may change with a library's version.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, TimeUnit};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;

/// How many groups keys fall into: the most instances a keyed operator can have.
pub const KEY_GROUPS: u16 = 128;

/// One of [`KEY_GROUPS`] groups of keys.
pub type KeyGroup = u16;

/// The key group of a hash. Taken from the middle bits: hash tables use the lowest and the highest.
#[inline]
pub fn key_group(hash: u64) -> KeyGroup {
    ((hash >> 32) as u16) % KEY_GROUPS
}

/// The key groups that instance `instance` of `parallelism` owns.
pub fn key_group_range(instance: usize, parallelism: usize) -> Range<KeyGroup> {
    let groups = usize::from(KEY_GROUPS);
    let start = (instance * groups).div_ceil(parallelism);
    let end = ((instance + 1) * groups).div_ceil(parallelism);
    // At most KEY_GROUPS, which fits.
    start as KeyGroup..end as KeyGroup
}

/// The instance of `parallelism` that owns `group`.
#[inline]
pub fn owner(group: KeyGroup, parallelism: usize) -> usize {
    usize::from(group) * parallelism / usize::from(KEY_GROUPS)
}

/// Spreads the bits of an integer (the finaliser of MurmurHash3).
#[inline]
pub fn hash_u64(value: u64) -> u64 {
    let mut h = value ^ 0x9E37_79B9_7F4A_7C15;
    h = (h ^ (h >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h = (h ^ (h >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

/// Hash of a key's bytes.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The hash of a null key.
pub const NULL_HASH: u64 = 0x6E75_6C6C_6B65_7921;

/// Hashes the key columns of batches. Make one per exchange or operator and reuse it.
#[derive(Debug)]
pub struct KeyHasher {
    converter: Option<RowConverter>,
}

impl KeyHasher {
    /// A hasher for key columns of these types.
    ///
    /// # Errors
    /// If a type cannot be a key.
    pub fn new(types: &[DataType]) -> Result<Self> {
        let converter = match types {
            [] => None,
            [single] if is_fast(single) => None,
            several => Some(RowConverter::new(several.iter().cloned().map(SortField::new).collect())?),
        };
        Ok(Self { converter })
    }

    /// Writes one hash a row into `hashes`, replacing its content.
    ///
    /// # Errors
    /// If the columns are not of the types given to [`KeyHasher::new`].
    pub fn hash(&self, columns: &[ArrayRef], num_rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
        hashes.clear();
        if let Some(converter) = &self.converter {
            let rows = converter.convert_columns(columns)?;
            hashes.extend(rows.iter().map(|row| hash_bytes(row.as_ref())));
        } else if let [column] = columns {
            hash_column(column, hashes);
        } else {
            hashes.resize(num_rows, 0);
        }
        Ok(())
    }
}

/// Types whose single column is hashed without going through arrow-row.
fn is_fast(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(_, _)
            | DataType::Utf8
            | DataType::Utf8View
    )
}

fn hash_column(column: &ArrayRef, hashes: &mut Vec<u64>) {
    macro_rules! integers {
        ($kind:ty) => {{
            let array = column.as_primitive::<$kind>();
            if array.null_count() == 0 {
                hashes.extend(array.values().iter().map(|value| hash_u64(i64::from(*value) as u64)));
            } else {
                hashes.extend(
                    array
                        .iter()
                        .map(|value| value.map_or(NULL_HASH, |value| hash_u64(i64::from(value) as u64))),
                );
            }
        }};
    }
    match column.data_type() {
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::Date32 => integers!(Date32Type),
        DataType::Timestamp(TimeUnit::Second, _) => integers!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integers!(TimestampNanosecondType),
        DataType::Utf8 if column.null_count() == 0 => {
            let strings = column.as_string::<i32>();
            let data = strings.value_data();
            let spans = strings.value_offsets().windows(2);
            hashes.extend(spans.map(|span| hash_bytes(&data[span[0] as usize..span[1] as usize])));
        }
        DataType::Utf8 => hashes.extend(
            column
                .as_string::<i32>()
                .iter()
                .map(|value| value.map_or(NULL_HASH, |text| hash_bytes(text.as_bytes()))),
        ),
        DataType::Utf8View => hashes.extend(
            column
                .as_string_view()
                .iter()
                .map(|value| value.map_or(NULL_HASH, |text| hash_bytes(text.as_bytes()))),
        ),
        _ => hashes.resize(hashes.len() + column.len(), NULL_HASH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{Int32Array, Int64Array, StringArray};

    #[test]
    fn every_group_has_the_owner_whose_range_holds_it() {
        for parallelism in 1..=usize::from(KEY_GROUPS) {
            let mut covered = 0;
            for instance in 0..parallelism {
                for group in key_group_range(instance, parallelism) {
                    assert_eq!(owner(group, parallelism), instance);
                    covered += 1;
                }
            }
            assert_eq!(covered, KEY_GROUPS);
        }
    }

    /// The state format: these values may never change.
    #[test]
    fn hashes_are_pinned() {
        let mut hashes = Vec::new();
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(1), None]));
        KeyHasher::new(&[DataType::Int64]).unwrap().hash(&[ints], 3, &mut hashes).unwrap();
        assert_eq!(hashes, vec![hash_u64(0), hash_u64(1), NULL_HASH]);
        assert_eq!((hash_u64(0), hash_u64(1)), (0x9CA0_66F1_A4AB_2EEA, 0x25B7_75FA_ECA8_F520));
    }

    #[test]
    fn several_columns_hash_as_one_key() {
        let hasher = KeyHasher::new(&[DataType::Int32, DataType::Utf8]).unwrap();
        let columns: [ArrayRef; 2] =
            [Arc::new(Int32Array::from(vec![1, 1, 2])), Arc::new(StringArray::from(vec!["a", "a", "a"]))];
        let mut hashes = Vec::new();
        hasher.hash(&columns, 3, &mut hashes).unwrap();
        assert_eq!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
    }
}
