//! One thing of an array or map: an item, the only one, the least, the greatest; how many there are.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, SortOptions};
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;

use super::lists::{Lists, Maps, joined, one_each};
use super::same::Same;
use super::{item_of, parts_of, plain};
use crate::functions::call::Call;
use crate::functions::conditional::wider;
use crate::functions::function::{Function, Kind, Subject};
use crate::plan::error::PlanError;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Collection, List};
    let of_list = |name, usage, about, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Collection, name, usage, about, &[List], DataType::Null, kernel)
            .accepts(|types| Some(types.iter().map(plain).collect()))
            .returns(|given| item_of(given.types.first()?))
    };
    vec![
        Function::new(
            Subject::Collection,
            "item",
            "array[index], map[key]",
            "The item of that index, from 1, or the value of that key; NULL if there is none.",
            &[Collection, Kind::Any],
            DataType::Null,
            item,
        )
        .accepts(|types| {
            let [collection, index] = types else { return None };
            let collection = plain(collection);
            let index = match parts_of(&collection) {
                None => Kind::Whole.accepts(index)?,
                Some((key, _)) if index.is_integer() && key.is_integer() => key,
                Some((key, _)) => wider(&key, &plain(index)).filter(|both| *both == key)?,
            };
            Some(vec![collection, index])
        })
        .checks(|given| match (given.types.first(), given.whole(1)) {
            (Some(DataType::List(_)), Some(..=0)) => Err(PlanError::new("an array has no item below 1")
                .remedy("the first item of an array is array[1]")),
            _ => Ok(()),
        })
        .returns(|given| {
            let collection = given.types.first()?;
            item_of(collection).or_else(|| parts_of(collection).map(|(_, value)| value))
        })
        .build(),
        Function::new(
            Subject::Collection,
            "cardinality",
            "CARDINALITY(array | map)",
            "The number of items or entries.",
            &[Collection],
            DataType::Int32,
            cardinality,
        )
        .build(),
        of_list(
            "element",
            "ELEMENT(array)",
            "The only item of an array; NULL if it is empty, an error if there are more.",
            element,
        )
        .build(),
        of_list(
            "array_max",
            "ARRAY_MAX(array)",
            "The greatest item; NULL if there is none that is not NULL.",
            |call| extreme(call, Ordering::Greater),
        )
        .checks(|given| check_order(given.types))
        .build(),
        of_list(
            "array_min",
            "ARRAY_MIN(array)",
            "The least item; NULL if there is none that is not NULL.",
            |call| extreme(call, Ordering::Less),
        )
        .checks(|given| check_order(given.types))
        .build(),
    ]
}

/// Refuses an array whose items are in no order.
pub(super) fn check_order(types: &[DataType]) -> Result<(), PlanError> {
    match types.first().and_then(item_of) {
        Some(item) if item.is_nested() || item == DataType::Boolean => {
            let item = millstream_engine::type_name(&item);
            Err(PlanError::new(format!("items of type {item} are in no order"))
                .remedy("they must be numbers, strings, bytes or times"))
        }
        _ => Ok(()),
    }
}

fn item(call: &Call<'_>) -> Result<ArrayRef> {
    if matches!(call.argument_type(0), Some(DataType::List(_))) {
        let (lists, indexes) = (Lists::of(call, 0)?, call.wholes(1)?);
        return one_each(call, lists.items(), |row| {
            let found = lists.range(row).zip(indexes.get(row)).and_then(|(mut range, index)| {
                let index = usize::try_from(index).ok()?.checked_sub(1)?;
                range.nth(index)
            });
            Ok(found)
        });
    }
    let (maps, wanted) = (Maps::of(call, 0)?, call.column(1)?);
    let (keys, starts) = joined(&[maps.keys(), &wanted])?;
    let same = Same::of(&keys)?;
    one_each(call, maps.values(), |row| {
        Ok(maps.range(row).and_then(|mut entries| entries.find(|entry| same.equal(starts[1] + row, *entry))))
    })
}

fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let length = |range: std::ops::Range<usize>| i32::try_from(range.len()).ok();
    if matches!(call.argument_type(0), Some(DataType::List(_))) {
        let lists = Lists::of(call, 0)?;
        return call.int(|row| lists.range(row).and_then(length));
    }
    let maps = Maps::of(call, 0)?;
    call.int(|row| maps.range(row).and_then(length))
}

fn element(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    one_each(call, lists.items(), |row| match lists.range(row) {
        Some(range) if range.len() > 1 => {
            exec_err!("ELEMENT takes an array of one item, not of {}: array[1] is the first one", range.len())
        }
        range => Ok(range.and_then(|mut range| range.next())),
    })
}

fn extreme(call: &Call<'_>, wins: Ordering) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let items = lists.items();
    let compare = make_comparator(items, items, SortOptions::default())?;
    one_each(call, items, |row| {
        let Some(range) = lists.range(row) else { return Ok(None) };
        Ok(range
            .filter(|item| items.is_valid(*item))
            .reduce(|best, item| if compare(item, best) == wins { item } else { best }))
    })
}
