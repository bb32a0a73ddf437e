//! ARRAY_JOIN.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::list_of;
use super::lists::Lists;
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{List, Text};
    vec![
        Function::new(
            Subject::Collection,
            "array_join",
            "ARRAY_JOIN(array, separator [, null])",
            "The strings of an array with the separator between; those that are NULL are left out, or become the third string.",
            &[List, Text],
            DataType::Utf8,
            join,
        )
        .optional(&[Text])
        .accepts(|types| {
            let strings = list_of(DataType::Utf8);
            let is_strings = super::plain(types.first()?) == strings;
            is_strings.then(|| std::iter::once(strings).chain(types.iter().skip(1).cloned()).collect())
        })
        .build(),
    ]
}

fn join(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, separators) = (Lists::of(call, 0)?, call.texts(1)?);
    let nulls = if call.len() > 2 { Some(call.texts(2)?) } else { None };
    let items = lists.items().as_string::<i32>();
    call.text(|row, out| {
        let (Some(range), Some(separator)) = (lists.range(row), separators.get(row)) else {
            return Ok(false);
        };
        let null = match &nulls {
            None => None,
            Some(nulls) => match nulls.get(row) {
                None => return Ok(false),
                null => null,
            },
        };
        let pieces =
            range.filter_map(|item| if items.is_valid(item) { Some(items.value(item)) } else { null });
        for (number, piece) in pieces.enumerate() {
            if number > 0 {
                out.push_str(separator);
            }
            out.push_str(piece);
        }
        Ok(true)
    })
}
