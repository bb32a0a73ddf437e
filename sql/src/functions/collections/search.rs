//! Arrays searched for a value.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::lists::{Lists, Picks, joined};
use super::same::Same;
use super::with_item;
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let make = |name, usage, about, returns, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        let parameters = &[Kind::List, Kind::Any];
        Function::new(Subject::Collection, name, usage, about, parameters, returns, kernel).accepts(with_item)
    };
    vec![
        make(
            "array_contains",
            "ARRAY_CONTAINS(array, value)",
            "Whether an item is equal to the value, NULL to NULL.",
            DataType::Boolean,
            contains,
        )
        .build(),
        make(
            "array_position",
            "ARRAY_POSITION(array, value)",
            "Where the value first is, from 1; 0 if nowhere, NULL for NULL.",
            DataType::Int32,
            position,
        )
        .build(),
        make(
            "array_remove",
            "ARRAY_REMOVE(array, value)",
            "The array without items equal to the value, NULL to NULL.",
            DataType::Null,
            remove,
        )
        .returns(|given| given.types.first().cloned())
        .build(),
    ]
}

/// Arrays and a value a row.
struct Search {
    lists: Lists,
    values: ArrayRef,
    same: Same,
    first_value: usize,
}

impl Search {
    fn of(call: &Call<'_>) -> Result<Self> {
        let (lists, values) = (Lists::of(call, 0)?, call.column(1)?);
        let (items, starts) = joined(&[lists.items(), &values])?;
        Ok(Self { lists, values, same: Same::of(&items)?, first_value: starts[1] })
    }

    /// Whether an item is the value of a row.
    fn is_value(&self, row: usize, item: usize) -> bool {
        self.same.equal(self.first_value + row, item)
    }
}

fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::of(call)?;
    call.boolean(|row| Some(search.lists.range(row)?.any(|item| search.is_value(row, item))))
}

fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::of(call)?;
    call.int(|row| {
        let mut range = search.lists.range(row).filter(|_| search.values.is_valid(row))?;
        let found = range.position(|item| search.is_value(row, item));
        found.map_or(Some(0), |at| i32::try_from(at + 1).ok())
    })
}

fn remove(call: &Call<'_>) -> Result<ArrayRef> {
    let search = Search::of(call)?;
    let mut picks = Picks::of(call);
    for row in 0..call.rows {
        let range = search.lists.range(row);
        picks.extend(range.iter().cloned().flatten().filter(|item| !search.is_value(row, *item)));
        picks.end(range.is_some())?;
    }
    picks.lists(search.lists.items(), call.returns)
}
