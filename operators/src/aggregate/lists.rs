//! Row-encoded values that an aggregate keeps several of a group: as a column of its state, and as the results.
//!
//! A list is its values one after the other, each with its length (4 bytes, little endian) in front.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_row::RowConverter;
use arrow_schema::DataType;
use arrow_select::take::take;
use millstream_engine::{Error, Result};

/// A column of one list a group; `of` gives a group's values in order.
pub(super) fn write<'a, I: Iterator<Item = &'a [u8]>>(groups: &[u32], of: impl Fn(usize) -> I) -> ArrayRef {
    let mut column = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for group in groups {
        bytes.clear();
        for value in of(*group as usize) {
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        column.append_value(&bytes);
    }
    Arc::new(column.finish())
}

/// Gives `each` every value of row `i` of `column` with the group `groups[i]`.
///
/// # Errors
/// If a list is cut short.
pub(super) fn read(groups: &[u32], column: &ArrayRef, mut each: impl FnMut(usize, &[u8])) -> Result<()> {
    let lists = column.as_binary::<i32>();
    for (row, group) in groups.iter().enumerate() {
        let mut rest = lists.value(row);
        while let Some((head, tail)) = rest.split_first_chunk::<4>() {
            let Some((value, after)) = tail.split_at_checked(u32::from_le_bytes(*head) as usize) else {
                return Err(Error::state("a list of values is cut short"));
            };
            each(*group as usize, value);
            rest = after;
        }
    }
    Ok(())
}

/// Values of `converter` as a column of type `out`, null where there is none.
///
/// # Errors
/// If they are not of that converter.
pub(super) fn decode<'a>(
    converter: &RowConverter,
    out: &DataType,
    picked: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<ArrayRef> {
    let parser = converter.parser();
    let mut values = Vec::with_capacity(picked.size_hint().0);
    let places: UInt32Array = picked
        .map(|value| {
            values.push(parser.parse(value?));
            Some(values.len() as u32 - 1)
        })
        .collect();
    if values.is_empty() {
        return Ok(new_null_array(out, places.len()));
    }
    let found = converter.convert_rows(values)?.swap_remove(0);
    Ok(if places.null_count() == 0 { found } else { take(&found, &places, None)? })
}
