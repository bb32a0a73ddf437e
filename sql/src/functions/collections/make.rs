//! ARRAY[…], MAP[…], ROW(…) and MAP_FROM_ARRAYS.

use std::sync::Arc;

use arrow_array::{ArrayRef, StructArray, UInt64Array};
use arrow_schema::{DataType, Field, Fields};
use arrow_select::take::take;
use datafusion_common::{Result, exec_err, internal_err};
use datafusion_expr::ScalarUDF;

use super::lists::{Lists, Picks, joined};
use super::same::{Same, Set};
use super::{alike, common, item_of, list_of, map_of, plain};
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, List};
    vec![
        Function::new(
            Subject::Collection,
            "array",
            "ARRAY[value, …]",
            "An array of values of one type.",
            &[Any],
            DataType::Null,
            array,
        )
        .rest(Any)
        .accepts(alike)
        .returns(|given| given.types.first().cloned().map(list_of))
        .build(),
        Function::new(
            Subject::Collection,
            "map",
            "MAP[key, value, …]",
            "A map of keys and values of one type each; of two values of one key the later counts. A key that is NULL is an error.",
            &[Any, Any],
            DataType::Null,
            map,
        )
        .rest(Any)
        .accepts(|types| {
            let keys = common(types.iter().step_by(2))?;
            let values = common(types.iter().skip(1).step_by(2))?;
            let of_pair = |at: usize| if at.is_multiple_of(2) { keys.clone() } else { values.clone() };
            types.len().is_multiple_of(2).then(|| (0..types.len()).map(of_pair).collect())
        })
        .returns(|given| match given.types {
            [key, value, ..] => Some(map_of(key.clone(), value.clone())),
            _ => None,
        })
        .build(),
        Function::new(
            Subject::Collection,
            "row",
            "ROW(value, …)",
            "A row of values, whose fields are named EXPR$0, EXPR$1 and so on.",
            &[Any],
            DataType::Null,
            row,
        )
        .rest(Any)
        .accepts(|types| types.iter().all(|kind| !kind.is_null()).then(|| types.iter().map(plain).collect()))
        .returns(|given| {
            let fields = given.types.iter().enumerate();
            let fields: Fields = fields.map(|(at, kind)| Field::new(format!("EXPR${at}"), kind.clone(), true)).collect();
            Some(DataType::Struct(fields))
        })
        .build(),
        Function::new(
            Subject::Collection,
            "map_from_arrays",
            "MAP_FROM_ARRAYS(keys, values)",
            "A map of an array of keys and one of values, which must be as many.",
            &[List, List],
            DataType::Null,
            map_from_arrays,
        )
        .accepts(|types| Some(types.iter().map(plain).collect()))
        .returns(|given| match given.types {
            [keys, values] => Some(map_of(item_of(keys)?, item_of(values)?)),
            _ => None,
        })
        .build(),
    ]
}

fn columns(call: &Call<'_>, first: usize, step: usize) -> Result<(ArrayRef, Vec<usize>)> {
    let columns = (first..call.len()).step_by(step).map(|index| call.column(index));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    joined(&columns.iter().collect::<Vec<_>>())
}

fn array(call: &Call<'_>) -> Result<ArrayRef> {
    let (items, starts) = columns(call, 0, 1)?;
    let mut picks = Picks::of(call);
    for row in 0..call.rows {
        picks.extend(starts.iter().map(|start| start + row));
        picks.end(true)?;
    }
    picks.lists(&items, call.returns)
}

/// The entries of one map in the making.
pub(super) struct Entries<'a> {
    known: Set<'a>,
    /// Numbers of the values, in order of their keys.
    numbers: Vec<usize>,
}

impl<'a> Entries<'a> {
    pub fn of(keys: &'a Same) -> Self {
        Self { known: keys.set(), numbers: Vec::new() }
    }

    /// An entry, which takes the place of one with its key.
    pub fn put(&mut self, number: usize) {
        match self.known.place(number, self.numbers.len()) {
            Some(place) => self.numbers[place] = number,
            None => self.numbers.push(number),
        }
    }

    /// Ends the map of a row.
    pub fn end(&mut self, picks: &mut Picks) -> Result<()> {
        self.known.clear();
        picks.extend(self.numbers.drain(..));
        picks.end(true)
    }
}

fn map(call: &Call<'_>) -> Result<ArrayRef> {
    let (keys, starts) = columns(call, 0, 2)?;
    let (values, _) = columns(call, 1, 2)?;
    let same = Same::of(&keys)?;
    let (mut entries, mut picks) = (Entries::of(&same), Picks::of(call));
    for row in 0..call.rows {
        starts.iter().for_each(|start| entries.put(start + row));
        entries.end(&mut picks)?;
    }
    picks.maps(&keys, &values, call.returns)
}

fn row(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = call.returns else { return internal_err!("{} is no row", call.returns) };
    let columns = (0..call.len()).map(|index| call.column(index)).collect::<Result<_>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

fn map_from_arrays(call: &Call<'_>) -> Result<ArrayRef> {
    let (keys, values) = (Lists::of(call, 0)?, Lists::of(call, 1)?);
    let same = Same::of(keys.items())?;
    let (mut known, mut picks) = (same.set(), Picks::of(call));
    // The values of all maps, and where those of this row begin.
    let mut of_values: Vec<u64> = Vec::new();
    for row in 0..call.rows {
        let (Some(keys), Some(values)) = (keys.range(row), values.range(row)) else {
            picks.end(false)?;
            continue;
        };
        if keys.len() != values.len() {
            return exec_err!(
                "MAP_FROM_ARRAYS takes as many values as keys, not {} keys and {} values",
                keys.len(),
                values.len()
            );
        }
        known.clear();
        let first = of_values.len();
        for (key, value) in keys.zip(values) {
            match known.place(key, of_values.len() - first) {
                Some(place) => of_values[first + place] = value as u64,
                None => {
                    picks.push(key);
                    of_values.push(value as u64);
                }
            }
        }
        picks.end(true)?;
    }
    let values = take(values.items(), &UInt64Array::from(of_values), None)?;
    picks.maps_to(keys.items(), values, call.returns)
}
