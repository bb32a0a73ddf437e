//! JSON_OBJECT, JSON_ARRAY, JSON_STRING and JSON: text made of values.
//!
//! The parser (parse/json.rs) puts what to do with NULL in front, and in front of each value a mark: 'JSON' where the value
//! is the text of another of these functions, which is taken as it stands.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;

use super::document::{Nodes, ROOT};
use super::encode;
use super::write::{Writer, string, utf16_order};
use crate::functions::call::{Call, Texts};
use crate::functions::function::{Function, Given, Kind, Subject};
use crate::plan::error::PlanError;
use millstream_engine::type_name;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, Text};
    let make = |name, usage, about, parameters, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Json, name, usage, about, parameters, DataType::Utf8, kernel)
    };
    vec![
        make(
            "json_object",
            "JSON_OBJECT([[KEY] key VALUE value, …] [NULL | ABSENT ON NULL])",
            "An object of JSON, its keys in order. A value from JSON_OBJECT, JSON_ARRAY or JSON becomes part of it, other text a string. NULL becomes null, or is left out with ABSENT ON NULL.",
            &[Text],
            object,
        )
        .rest(Any)
        .accepts(|types| {
            let keys = types.iter().enumerate().map(|(at, kind)| if at % 3 == 1 { Text.accepts(kind) } else { Some(typed(kind)) });
            keys.collect()
        })
        .checks(|given| check(given, 3, 3))
        .build(),
        make(
            "json_array",
            "JSON_ARRAY([value, …] [NULL | ABSENT ON NULL])",
            "A list of JSON, of values as with JSON_OBJECT. NULL is left out, or becomes null with NULL ON NULL.",
            &[Text],
            array,
        )
        .rest(Any)
        .accepts(|types| Some(types.iter().map(typed).collect()))
        .checks(|given| check(given, 2, 2))
        .build(),
        make(
            "json_string",
            "JSON_STRING(value)",
            "The value as JSON: a number, string, object or list.",
            &[Text, Any],
            text_of,
        )
        .accepts(|types| Some(types.iter().map(typed).collect()))
        .checks(|given| check(given, 1, 1))
        .build(),
        make(
            "json",
            "JSON(string)",
            "Text of JSON, for JSON_OBJECT and JSON_ARRAY to take as it is; an error if it is none.",
            &[Text],
            json,
        )
        .build(),
    ]
}

/// A bare NULL as one of a type that has columns.
fn typed(kind: &DataType) -> DataType {
    if kind.is_null() { DataType::Utf8 } else { kind.clone() }
}

/// Refuses values that JSON has no form for: every `step`th argument from `first` on.
fn check(given: &Given<'_>, first: usize, step: usize) -> Result<(), PlanError> {
    match given.types.iter().skip(first).step_by(step).find_map(encode::misfit) {
        Some(kind) => Err(PlanError::new(format!("{} has no form in JSON", type_name(kind)))
            .remedy("CAST it to STRING; the keys of a MAP must be strings")),
        None => Ok(()),
    }
}

/// A value and what it is.
struct Part {
    column: ArrayRef,
    is_json: bool,
}

impl Part {
    /// The value in argument `index`, its mark in front of it.
    fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        let is_json = call.texts(index - 1)?.get(0) == Some("JSON");
        Ok(Self { column: call.column(index)?, is_json })
    }

    fn write(&self, row: usize, out: &mut String) -> Result<()> {
        if self.is_json && self.column.is_valid(row) {
            out.push_str(self.column.as_string::<i32>().value(row));
            return Ok(());
        }
        encode::write(&self.column, row, out)
    }
}

fn keeps_null(call: &Call<'_>) -> Result<bool> {
    Ok(call.texts(0)?.get(0) == Some("NULL"))
}

fn object(call: &Call<'_>) -> Result<ArrayRef> {
    let keeps_null = keeps_null(call)?;
    let entries = (1..call.len()).step_by(3).map(|key| Ok((call.texts(key)?, Part::of(call, key + 2)?)));
    let entries: Vec<(Texts<'_>, Part)> = entries.collect::<Result<_>>()?;
    let mut order: Vec<(&str, usize)> = Vec::with_capacity(entries.len());
    call.text(|row, out| {
        order.clear();
        for (number, (keys, part)) in entries.iter().enumerate() {
            if keeps_null || part.column.is_valid(row) {
                order.push((keys.get(row).unwrap_or_default(), number));
            }
        }
        order.sort_by(|(a, first), (b, second)| utf16_order(a, b).then(first.cmp(second)));
        out.push('{');
        let start = out.len();
        for (at, (key, number)) in order.iter().enumerate() {
            // Of two values of one key the later counts.
            if order.get(at + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            if out.len() > start {
                out.push(',');
            }
            string(key, out);
            out.push(':');
            entries[*number].1.write(row, out)?;
        }
        out.push('}');
        Ok(true)
    })
}

fn array(call: &Call<'_>) -> Result<ArrayRef> {
    let keeps_null = keeps_null(call)?;
    let parts: Vec<Part> =
        (2..call.len()).step_by(2).map(|value| Part::of(call, value)).collect::<Result<_>>()?;
    call.text(|row, out| {
        out.push('[');
        let start = out.len();
        for part in parts.iter().filter(|part| keeps_null || part.column.is_valid(row)) {
            if out.len() > start {
                out.push(',');
            }
            part.write(row, out)?;
        }
        out.push(']');
        Ok(true)
    })
}

fn text_of(call: &Call<'_>) -> Result<ArrayRef> {
    let part = Part::of(call, 1)?;
    call.text(|row, out| {
        part.write(row, out)?;
        Ok(part.column.is_valid(row))
    })
}

fn json(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let (mut nodes, mut writer) = (Nodes::default(), Writer::default());
    call.text(|row, out| {
        let Some(text) = texts.get(row).filter(|text| !text.trim_ascii().is_empty()) else {
            return Ok(false);
        };
        match nodes.read_distinct(text) {
            Some(document) => {
                writer.value(document, ROOT, out);
                Ok(true)
            }
            None => exec_err!("JSON takes text of JSON, not '{text}'"),
        }
    })
}
