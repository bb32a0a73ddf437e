//! Arguments of arrays by row, and results that are picked from items.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, UInt64Array};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::take::take;
use datafusion_common::{Result, exec_err, internal_err};

use crate::functions::call::Call;

/// An argument that is an array.
pub(super) struct Lists(ListArray);

impl Lists {
    pub fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        match call.column(index)?.as_list_opt::<i32>() {
            Some(lists) => Ok(Self(lists.clone())),
            None => internal_err!("argument {index} of a function is no array"),
        }
    }

    /// The items of all rows.
    pub fn items(&self) -> &ArrayRef {
        self.0.values()
    }

    /// Which items are a row's; `None` if its array is NULL.
    pub fn range(&self, row: usize) -> Option<Range<usize>> {
        self.0.is_valid(row).then(|| range(self.0.value_offsets(), row))
    }
}

/// An argument that is a map.
pub(super) struct Maps(MapArray);

impl Maps {
    pub fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        match call.column(index)?.as_map_opt() {
            Some(maps) => Ok(Self(maps.clone())),
            None => internal_err!("argument {index} of a function is no map"),
        }
    }

    pub fn keys(&self) -> &ArrayRef {
        self.0.keys()
    }

    pub fn values(&self) -> &ArrayRef {
        self.0.values()
    }

    /// Which entries are a row's; `None` if its map is NULL.
    pub fn range(&self, row: usize) -> Option<Range<usize>> {
        self.0.is_valid(row).then(|| range(self.0.value_offsets(), row))
    }

    /// An array a map, of something that there is once an entry.
    pub fn lists(&self, items: ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        let DataType::List(field) = returns else { return internal_err!("{returns} is no array") };
        let lists =
            ListArray::try_new(Arc::clone(field), self.0.offsets().clone(), items, self.0.nulls().cloned())?;
        Ok(Arc::new(lists))
    }
}

// Offsets are never negative.
fn range(offsets: &[i32], row: usize) -> Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The items of several columns one after the other, and where those of each begin.
pub(super) fn joined(columns: &[&ArrayRef]) -> Result<(ArrayRef, Vec<usize>)> {
    let starts = columns.iter().scan(0, |next, column| {
        let start = *next;
        *next += column.len();
        Some(start)
    });
    let starts = starts.collect();
    let parts: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
    Ok((concat(&parts)?, starts))
}

/// Arrays or maps in the making, of items by their numbers.
pub(super) struct Picks {
    numbers: Vec<u64>,
    ends: Vec<i32>,
    is_there: Vec<bool>,
}

impl Picks {
    pub fn of(call: &Call<'_>) -> Self {
        let mut ends = Vec::with_capacity(call.rows + 1);
        ends.push(0);
        Self { numbers: Vec::new(), ends, is_there: Vec::with_capacity(call.rows) }
    }

    /// The next item of the row.
    pub fn push(&mut self, number: usize) {
        self.numbers.push(number as u64);
    }

    pub fn extend(&mut self, numbers: impl IntoIterator<Item = usize>) {
        self.numbers.extend(numbers.into_iter().map(|number| number as u64));
    }

    /// Ends the row; NULL if it is not `there`.
    pub fn end(&mut self, there: bool) -> Result<()> {
        let Ok(end) = i32::try_from(self.numbers.len()) else {
            return exec_err!("the arrays of one batch come to more than {} items", i32::MAX);
        };
        self.ends.push(end);
        self.is_there.push(there);
        Ok(())
    }

    fn finish(self) -> (UInt64Array, OffsetBuffer<i32>, Option<NullBuffer>) {
        let nulls = NullBuffer::from(self.is_there);
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        (UInt64Array::from(self.numbers), OffsetBuffer::new(ScalarBuffer::from(self.ends)), nulls)
    }

    pub fn lists(self, items: &ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        let DataType::List(field) = returns else { return internal_err!("{returns} is no array") };
        let (numbers, offsets, nulls) = self.finish();
        let items = take(items, &numbers, None)?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls)?))
    }

    /// Maps of the picked keys and values.
    pub fn maps(self, keys: &ArrayRef, values: &ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        let values = take(values, &UInt64Array::from(self.numbers.clone()), None)?;
        self.maps_to(keys, values, returns)
    }

    /// Maps of the picked keys to `values`, one a key.
    pub fn maps_to(self, keys: &ArrayRef, values: ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        let DataType::Map(field, is_sorted) = returns else { return internal_err!("{returns} is no map") };
        let DataType::Struct(parts) = field.data_type() else {
            return internal_err!("{returns} has no entries");
        };
        let (numbers, offsets, nulls) = self.finish();
        let keys = take(keys, &numbers, None)?;
        if keys.null_count() > 0 {
            return exec_err!("the key of a map is NULL: COALESCE(key, …) gives it another value");
        }
        let entries = StructArray::try_new(parts.clone(), vec![keys, values], None)?;
        Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, nulls, *is_sorted)?))
    }
}

/// One item a row, NULL where `pick` finds none.
pub(super) fn one_each(
    call: &Call<'_>,
    items: &ArrayRef,
    mut pick: impl FnMut(usize) -> Result<Option<usize>>,
) -> Result<ArrayRef> {
    let numbers = (0..call.rows).map(|row| Ok(pick(row)?.map(|number| number as u64)));
    let numbers: UInt64Array = numbers.collect::<Result<_>>()?;
    Ok(take(items, &numbers, None)?)
}
