//! STR_TO_MAP: text of pairs as a MAP.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_schema::{DataType, Field, Fields};
use datafusion_expr::ScalarUDF;
use regex::Regex;

use super::pattern::{ByRow, Compiled};
use super::similar::java_regex;
use crate::functions::call::Values;
use crate::functions::function::{Function, Kind, Subject};

fn map_type() -> DataType {
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

/// Pieces between matches; empty ones at the end do not count, as in Java.
fn split<'a>(pattern: &Regex, text: &'a str) -> Vec<&'a str> {
    let mut pieces: Vec<&str> = pattern.split(text).collect();
    while pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    pieces
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::Text;
    let (lists, pairs) = (Compiled::new(java_regex), Compiled::new(java_regex));
    vec![
        Function::new(Subject::Text, "str_to_map", "STR_TO_MAP(string [, between pairs, between key and value])", "A MAP of the pairs in a string, separated by ',' and '=' if not said otherwise; separators are patterns.", &[Text], map_type(), move |call| {
            let texts = call.texts(0)?;
            let (commas, equals) = if call.len() > 1 { (call.texts(1)?, call.texts(2)?) } else { (Values::Constant(Some(",")), Values::Constant(Some("="))) };
            let (mut commas, mut equals) = (ByRow::new(commas, &lists), ByRow::new(equals, &pairs));
            let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
            let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
            for row in 0..call.rows {
                let (text, comma, equal) = (texts.get(row), commas.get(row)?, equals.get(row)?);
                let (Some(text), Some(Some(comma)), Some(Some(equal))) = (text, comma.as_deref(), equal.as_deref()) else {
                    maps.append(false)?;
                    continue;
                };
                let mut entries: Vec<(&str, Option<&str>)> = Vec::new();
                for pair in split(comma, text).into_iter().filter(|_| !text.is_empty()) {
                    let (key, value) = match equal.find(pair) {
                        Some(found) => (&pair[..found.start()], Some(&pair[found.end()..])),
                        None => (pair, None),
                    };
                    // Of two values of one key the later counts.
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((key, value)),
                    }
                }
                for (key, value) in entries {
                    maps.keys().append_value(key);
                    maps.values().append_option(value);
                }
                maps.append(true)?;
            }
            Ok(Arc::new(maps.finish()))
        })
        .optional(&[Text, Text])
        .accepts(|types| (types.len() != 2).then(|| types.to_vec()))
        .build(),
    ]
}
