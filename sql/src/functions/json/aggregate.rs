//! JSON_OBJECTAGG and JSON_ARRAYAGG: text made of the list of all values of a group.
//!
//! The parser (parse/json_aggregates.rs) puts ARRAY_AGG around the values, each the text of its JSON, with its key in a ROW, and
//! says behind it what to do with NULL. Flink: JsonObjectAggFunction, JsonArrayAggFunction.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, StringArray};
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err, internal_err};
use datafusion_expr::ScalarUDF;
use millstream_engine::type_name;

use super::write::{string, utf16_order};
use crate::functions::call::Call;
use crate::functions::function::{Function, Given, Kind, Subject};
use crate::plan::error::PlanError;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{List, Text};
    let make = |name, usage, about, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Json, name, usage, about, &[List, Text], DataType::Utf8, kernel)
    };
    vec![
        make(
            "json_objectagg",
            "JSON_OBJECTAGG([KEY] key VALUE value [NULL | ABSENT ON NULL])",
            "An aggregate: an object of JSON of all keys with their values, in order of the keys, as with JSON_OBJECT. A key that is NULL, or comes twice, is an error.",
            object,
        )
        .checks(check_key)
        .build(),
        make(
            "json_arrayagg",
            "JSON_ARRAYAGG(value [NULL | ABSENT ON NULL])",
            "An aggregate: a list of JSON of all values in the order they arrive, as with JSON_ARRAY.",
            array,
        )
        .build(),
    ]
}

/// Refuses keys that are no text.
fn check_key(given: &Given<'_>) -> Result<(), PlanError> {
    let key = match given.types.first() {
        Some(DataType::List(item)) => match item.data_type() {
            DataType::Struct(fields) => fields.first().map(|field| field.data_type().clone()),
            _ => None,
        },
        _ => None,
    };
    match key {
        Some(DataType::Utf8) => Ok(()),
        other => {
            let found = other.map_or_else(String::new, |kind| format!(", not {}", type_name(&kind)));
            Err(PlanError::new(format!("the key of JSON_OBJECTAGG is a STRING{found}"))
                .remedy("write JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE v)"))
        }
    }
}

/// The lists of a call, and whether NULLs are among their values.
fn lists(call: &Call<'_>) -> Result<(ListArray, bool)> {
    let keeps_null = call.texts(1)?.get(0) == Some("NULL");
    match call.column(0)?.as_list_opt::<i32>() {
        Some(lists) => Ok((lists.clone(), keeps_null)),
        None => internal_err!("a list of values is none"),
    }
}

/// Where the items of row `row` are.
fn items(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    if lists.is_null(row) { 0..0 } else { offsets[row] as usize..offsets[row + 1] as usize }
}

fn value(values: &StringArray, at: usize) -> &str {
    if values.is_valid(at) { values.value(at) } else { "null" }
}

fn object(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, keeps_null) = lists(call)?;
    let entries = lists.values().as_struct();
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let mut order: Vec<usize> = Vec::new();
    call.text(|row, out| {
        order.clear();
        order.extend(items(&lists, row).filter(|at| keeps_null || values.is_valid(*at)));
        if order.iter().any(|at| keys.is_null(*at)) {
            return exec_err!(
                "a key of JSON_OBJECTAGG is NULL; leave such rows out in WHERE, or write COALESCE(key, '')"
            );
        }
        order.sort_by(|a, b| utf16_order(keys.value(*a), keys.value(*b)));
        out.push('{');
        for (number, at) in order.iter().enumerate() {
            let key = keys.value(*at);
            if order.get(number + 1).is_some_and(|next| keys.value(*next) == key) {
                return exec_err!(
                    "the key '{key}' comes twice in a JSON_OBJECTAGG; group by what tells its rows apart, or keep the \
                     last row of a key with ROW_NUMBER"
                );
            }
            if number > 0 {
                out.push(',');
            }
            string(key, out);
            out.push(':');
            out.push_str(value(values, *at));
        }
        out.push('}');
        Ok(true)
    })
}

fn array(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, keeps_null) = lists(call)?;
    let values = lists.values().as_string::<i32>();
    call.text(|row, out| {
        out.push('[');
        let start = out.len();
        for at in items(&lists, row).filter(|at| keeps_null || values.is_valid(*at)) {
            if out.len() > start {
                out.push(',');
            }
            out.push_str(value(values, at));
        }
        out.push(']');
        Ok(true)
    })
}
