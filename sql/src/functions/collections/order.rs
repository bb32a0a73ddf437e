//! Arrays in another order, cut, and put together.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, SortOptions};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::item::check_order;
use super::lists::{Lists, Picks, joined};
use super::{alike, plain, with_item};
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, Boolean, List, Whole};
    let make = |name, usage, about, parameters, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Collection, name, usage, about, parameters, DataType::Null, kernel)
            .accepts(|types| Some(types.iter().map(plain).collect()))
            .returns(|given| given.types.first().cloned())
    };
    vec![
        make("array_reverse", "ARRAY_REVERSE(array)", "The items in reverse order.", &[List], reverse).build(),
        make(
            "array_slice",
            "ARRAY_SLICE(array, start [, end])",
            "The items from a position to another, or to the last one; both count, from 1, below 0 from the end.",
            &[List, Whole],
            slice,
        )
        .optional(&[Whole])
        .build(),
        make(
            "array_sort",
            "ARRAY_SORT(array [, ascending [, nulls_first]])",
            "The items in order, ascending if not said otherwise; NULLs first where it is ascending, last where not.",
            &[List],
            sort,
        )
        .optional(&[Boolean, Boolean])
        .checks(|given| check_order(given.types))
        .build(),
        make("array_concat", "ARRAY_CONCAT(array, …)", "All arrays after each other.", &[List], concat)
            .rest(List)
            .accepts(alike)
            .build(),
        make("array_append", "ARRAY_APPEND(array, value)", "With the value at the end.", &[List, Any], |call| {
            with_value(call, false)
        })
        .accepts(with_item)
        .build(),
        make(
            "array_prepend",
            "ARRAY_PREPEND(array, value)",
            "With the value in front.",
            &[List, Any],
            |call| with_value(call, true),
        )
        .accepts(with_item)
        .build(),
    ]
}

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let mut picks = Picks::of(call);
    for row in 0..call.rows {
        let range = lists.range(row);
        picks.extend(range.iter().cloned().flatten().rev());
        picks.end(range.is_some())?;
    }
    picks.lists(lists.items(), call.returns)
}

/// The items from `start` to `end`, both counted from 1, or from the end where they are negative; 0 is 1.
fn cut(range: Range<usize>, start: i64, end: i64) -> Range<usize> {
    let length = range.len() as i64;
    let place = |position: i64| match position {
        0 => 1,
        ..0 => position.saturating_add(length + 1),
        _ => position,
    };
    let (start, end) = (place(start).max(1), place(end).min(length));
    if start > end {
        return range.start..range.start;
    }
    // Both lie in 1 to the length here.
    range.start + start as usize - 1..range.start + end as usize
}

fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, starts) = (Lists::of(call, 0)?, call.wholes(1)?);
    let ends = if call.len() > 2 { Some(call.wholes(2)?) } else { None };
    let mut picks = Picks::of(call);
    for row in 0..call.rows {
        let end = ends.as_ref().map_or(Some(i64::MAX), |ends| ends.get(row));
        let range = lists.range(row).zip(starts.get(row)).zip(end);
        let range = range.map(|((range, start), end)| cut(range, start, end));
        let is_there = range.is_some();
        picks.extend(range.into_iter().flatten());
        picks.end(is_there)?;
    }
    picks.lists(lists.items(), call.returns)
}

/// Arguments of conditions, by row.
fn condition(call: &Call<'_>, index: usize) -> Result<Option<ArrayRef>> {
    if index < call.len() { call.column(index).map(Some) } else { Ok(None) }
}

fn sort(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let (ascending, nulls_first) = (condition(call, 1)?, condition(call, 2)?);
    let items = lists.items();
    let compare = make_comparator(items, items, SortOptions::default())?;
    let holds = |column: &Option<ArrayRef>, row: usize, otherwise: bool| match column {
        None => Some(otherwise),
        Some(column) => column.is_valid(row).then(|| column.as_boolean().value(row)),
    };
    let mut picks = Picks::of(call);
    let mut order: Vec<usize> = Vec::new();
    for row in 0..call.rows {
        let ascending = holds(&ascending, row, true);
        let nulls_first = ascending.and_then(|ascending| holds(&nulls_first, row, ascending));
        let (Some(range), Some(ascending), Some(nulls_first)) = (lists.range(row), ascending, nulls_first)
        else {
            picks.end(false)?;
            continue;
        };
        order.clear();
        order.extend(range.clone().filter(|item| items.is_valid(*item)));
        if ascending {
            order.sort_by(|a, b| compare(*a, *b));
        } else {
            order.sort_by(|a, b| compare(*b, *a));
        }
        let nulls = range.filter(|item| items.is_null(*item));
        if nulls_first {
            picks.extend(nulls.chain(order.iter().copied()));
        } else {
            picks.extend(order.iter().copied().chain(nulls));
        }
        picks.end(true)?;
    }
    picks.lists(items, call.returns)
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let lists: Vec<Lists> = (0..call.len()).map(|index| Lists::of(call, index)).collect::<Result<_>>()?;
    let (items, starts) = joined(&lists.iter().map(Lists::items).collect::<Vec<_>>())?;
    let mut picks = Picks::of(call);
    for row in 0..call.rows {
        let is_there = lists.iter().all(|list| list.range(row).is_some());
        if is_there {
            for (list, start) in lists.iter().zip(&starts) {
                picks.extend(list.range(row).into_iter().flatten().map(|item| start + item));
            }
        }
        picks.end(is_there)?;
    }
    picks.lists(&items, call.returns)
}

fn with_value(call: &Call<'_>, in_front: bool) -> Result<ArrayRef> {
    let (lists, values) = (Lists::of(call, 0)?, call.column(1)?);
    let (items, starts) = joined(&[lists.items(), &values])?;
    let mut picks = Picks::of(call);
    for row in 0..call.rows {
        let range = lists.range(row);
        let is_there = range.is_some();
        if is_there && in_front {
            picks.push(starts[1] + row);
        }
        picks.extend(range.into_iter().flatten());
        if is_there && !in_front {
            picks.push(starts[1] + row);
        }
        picks.end(is_there)?;
    }
    picks.lists(&items, call.returns)
}
