//! Arrays as sets: every item once, in the order in which it first comes.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::lists::{Lists, Picks, joined};
use super::same::Same;
use super::{alike, plain};
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::List;
    let make = |name, usage, about, parameters, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Collection, name, usage, about, parameters, DataType::Null, kernel)
            .returns(|given| given.types.first().cloned())
    };
    vec![
        make("array_distinct", "ARRAY_DISTINCT(array)", "Every item once.", &[List], distinct)
            .accepts(|types| Some(types.iter().map(plain).collect()))
            .build(),
        make("array_union", "ARRAY_UNION(array, array)", "Every item of both once.", &[List, List], union)
            .accepts(alike)
            .build(),
        make(
            "array_except",
            "ARRAY_EXCEPT(array, array)",
            "Every item of the first once that is not in the second.",
            &[List, List],
            |call| compared(call, false),
        )
        .accepts(alike)
        .build(),
        make(
            "array_intersect",
            "ARRAY_INTERSECT(array, array)",
            "Every item of the first once that is in the second too.",
            &[List, List],
            |call| compared(call, true),
        )
        .accepts(alike)
        .build(),
    ]
}

fn distinct(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let same = Same::of(lists.items())?;
    let (mut seen, mut picks) = (same.set(), Picks::of(call));
    for row in 0..call.rows {
        seen.clear();
        let range = lists.range(row);
        picks.extend(range.iter().cloned().flatten().filter(|item| seen.insert(*item)));
        picks.end(range.is_some())?;
    }
    picks.lists(lists.items(), call.returns)
}

fn union(call: &Call<'_>) -> Result<ArrayRef> {
    let (first, second) = (Lists::of(call, 0)?, Lists::of(call, 1)?);
    let (items, starts) = joined(&[first.items(), second.items()])?;
    let same = Same::of(&items)?;
    let (mut seen, mut picks) = (same.set(), Picks::of(call));
    for row in 0..call.rows {
        let both = first.range(row).zip(second.range(row));
        let is_there = both.is_some();
        if let Some((a, b)) = both {
            seen.clear();
            picks.extend(a.chain(b.map(|item| starts[1] + item)).filter(|item| seen.insert(*item)));
        }
        picks.end(is_there)?;
    }
    picks.lists(&items, call.returns)
}

/// The items of the first array that are in the second, or that are not.
fn compared(call: &Call<'_>, is_in: bool) -> Result<ArrayRef> {
    let (first, second) = (Lists::of(call, 0)?, Lists::of(call, 1)?);
    let (items, starts) = joined(&[first.items(), second.items()])?;
    let same = Same::of(&items)?;
    let (mut others, mut seen, mut picks) = (same.set(), same.set(), Picks::of(call));
    for row in 0..call.rows {
        let both = first.range(row).zip(second.range(row));
        let is_there = both.is_some();
        if let Some((a, b)) = both {
            seen.clear();
            others.clear();
            for item in b {
                others.insert(starts[1] + item);
            }
            picks.extend(a.filter(|item| others.contains(*item) == is_in && seen.insert(*item)));
        }
        picks.end(is_there)?;
    }
    picks.lists(&items, call.returns)
}
