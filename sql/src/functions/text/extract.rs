//! REGEXP_EXTRACT_ALL.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_schema::{DataType, Field};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use regex::Regex;

use super::pattern::{ByRow, Compiled};
use super::similar;
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};
use crate::functions::list_of;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Text, Whole};
    let patterns = Compiled::new(similar::java_regex);
    vec![
        Function::new(
            Subject::Text,
            "regexp_extract_all",
            "REGEXP_EXTRACT_ALL(string, pattern [, group])",
            "An ARRAY of the group of every match, 0 being all of it and 1 what is taken if none is said; NULL without the group or for a wrong pattern.",
            &[Text, Text],
            list_of(DataType::Utf8),
            move |call| extract_all(call, &patterns),
        )
        .optional(&[Whole])
        .build(),
    ]
}

fn extract_all(call: &Call<'_>, patterns: &Compiled<Option<Regex>>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let groups = if call.len() > 2 { Some(call.wholes(2)?) } else { None };
    let mut patterns = ByRow::new(call.texts(1)?, patterns);
    let mut lists =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, true));
    for row in 0..call.rows {
        let group = groups.as_ref().map_or(Some(1), |groups| groups.get(row));
        let group = group.and_then(|group| usize::try_from(group).ok());
        let pattern = patterns.get(row)?;
        let pattern = pattern.as_deref().and_then(Option::as_ref);
        let (Some(text), Some(group), Some(pattern)) = (texts.get(row), group, pattern) else {
            lists.append_null();
            continue;
        };
        if group >= pattern.captures_len() {
            lists.append_null();
            continue;
        }
        for captures in pattern.captures_iter(text) {
            lists.values().append_option(captures.get(group).map(|found| found.as_str()));
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}
