//! MAP_KEYS, MAP_VALUES, MAP_ENTRIES and MAP_UNION.

use std::sync::Arc;

use arrow_array::{ArrayRef, StructArray};
use arrow_schema::{DataType, Field, Fields};
use datafusion_common::{Result, internal_err};
use datafusion_expr::ScalarUDF;

use super::lists::{Maps, Picks, joined};
use super::make::Entries;
use super::same::Same;
use super::{alike, list_of, parts_of, plain};
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::Map;
    let make = |name, usage, about, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Collection, name, usage, about, &[Map], DataType::Null, kernel)
            .accepts(|types| Some(types.iter().map(plain).collect()))
    };
    vec![
        make("map_keys", "MAP_KEYS(map)", "An array of the keys.", |call| {
            let maps = Maps::of(call, 0)?;
            maps.lists(Arc::clone(maps.keys()), call.returns)
        })
        .returns(|given| parts_of(given.types.first()?).map(|(key, _)| list_of(key)))
        .build(),
        make("map_values", "MAP_VALUES(map)", "An array of the values, in the order of the keys.", |call| {
            let maps = Maps::of(call, 0)?;
            maps.lists(Arc::clone(maps.values()), call.returns)
        })
        .returns(|given| parts_of(given.types.first()?).map(|(_, value)| list_of(value)))
        .build(),
        make("map_entries", "MAP_ENTRIES(map)", "An array of rows of key and value.", entries)
            .returns(|given| {
                let (key, value) = parts_of(given.types.first()?)?;
                let fields = vec![Field::new("key", key, true), Field::new("value", value, true)];
                Some(list_of(DataType::Struct(Fields::from(fields))))
            })
            .build(),
        make(
            "map_union",
            "MAP_UNION(map, …)",
            "A map of the entries of all; of two values of one key that of the later map counts.",
            union,
        )
        .rest(Map)
        .accepts(alike)
        .returns(|given| given.types.first().cloned())
        .build(),
    ]
}

fn entries(call: &Call<'_>) -> Result<ArrayRef> {
    let maps = Maps::of(call, 0)?;
    let DataType::List(item) = call.returns else { return internal_err!("{} is no array", call.returns) };
    let DataType::Struct(fields) = item.data_type() else { return internal_err!("{item} is no row") };
    let columns = vec![Arc::clone(maps.keys()), Arc::clone(maps.values())];
    maps.lists(Arc::new(StructArray::try_new(fields.clone(), columns, None)?), call.returns)
}

fn union(call: &Call<'_>) -> Result<ArrayRef> {
    let maps: Vec<Maps> = (0..call.len()).map(|index| Maps::of(call, index)).collect::<Result<_>>()?;
    let (keys, starts) = joined(&maps.iter().map(Maps::keys).collect::<Vec<_>>())?;
    let (values, _) = joined(&maps.iter().map(Maps::values).collect::<Vec<_>>())?;
    let same = Same::of(&keys)?;
    let (mut entries, mut picks) = (Entries::of(&same), Picks::of(call));
    for row in 0..call.rows {
        if maps.iter().any(|map| map.range(row).is_none()) {
            picks.end(false)?;
            continue;
        }
        for (map, start) in maps.iter().zip(&starts) {
            map.range(row).into_iter().flatten().for_each(|entry| entries.put(start + entry));
        }
        entries.end(&mut picks)?;
    }
    picks.maps(&keys, &values, call.returns)
}
