//! JSON_QUERY: objects and lists at a path.
//!
//! The parser (parse/json.rs) brings its clauses into arguments: text, path, a NULL of the type behind RETURNING, how
//! to wrap, and what to do ON EMPTY and ON ERROR.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_schema::{DataType, Field};
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;

use super::document::{Document, Kind};
use super::evaluate::{Found, Item};
use super::look::{Lookups, Outcome, Why, is_scalar};
use super::path::Spec;
use super::write::{Writer, scalar};
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind as Takes, Subject};
use crate::functions::text::Compiled;
use crate::plan::error::PlanError;
use millstream_engine::type_name;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Takes::{Any, Text};
    let specs = Compiled::new(Spec::compile);
    vec![
        Function::new(
            Subject::Json,
            "json_query",
            "JSON_QUERY(json, path [RETURNING type] [WITHOUT | WITH [CONDITIONAL] WRAPPER] [NULL | ERROR | EMPTY ARRAY | EMPTY OBJECT ON EMPTY] [… ON ERROR])",
            "The object or list at a path of JSON text, as JSON or as an ARRAY<STRING>; NULL if there is none or the value is neither, if not said otherwise. A wrapper puts values into a list.",
            &[Text, Text],
            DataType::Utf8,
            move |call| query(call, &specs),
        )
        .optional(&[Any, Text, Text, Text])
        .accepts(|types| matches!(types.len(), 2 | 6).then(|| types.to_vec()))
        .checks(|given| match given.types.get(2) {
            None | Some(DataType::Utf8) => Ok(()),
            Some(DataType::List(item)) if item.data_type() == &DataType::Utf8 => {
                if (4..6).any(|at| given.text(at) == Some("EMPTY OBJECT")) {
                    return Err(PlanError::new("EMPTY OBJECT is no ARRAY").remedy("write EMPTY ARRAY, NULL or ERROR"));
                }
                Ok(())
            }
            Some(other) => Err(PlanError::new(format!("JSON_QUERY does not return {}", type_name(other)))
                .remedy("it returns STRING or ARRAY<STRING>")),
        })
        .returns(|given| Some(given.types.get(2).cloned().unwrap_or(DataType::Utf8)))
        .build(),
    ]
}

/// What a row gives, before it is written.
enum Answer<'a> {
    Null,
    EmptyList,
    EmptyObject,
    /// In a list of its own or not.
    One(Document<'a>, Item, bool),
    Many(Document<'a>, Vec<Item>, bool),
}

struct Queries<'a> {
    lookups: Lookups<'a>,
    wrapper: Option<&'a str>,
    on_empty: Option<&'a str>,
    on_error: Option<&'a str>,
    is_list: bool,
}

impl Queries<'_> {
    fn row(&mut self, row: usize) -> Result<Answer<'_>> {
        let Some((outcome, is_lax)) = self.lookups.row(row)? else { return Ok(Answer::Null) };
        let is_wrapped = self.wrapper == Some("UNCONDITIONAL");
        let why = match outcome {
            Outcome::Found(document, Found::Many(items)) => {
                return Ok(Answer::Many(document, items, is_wrapped));
            }
            Outcome::Found(document, Found::One(item)) => {
                let is_list = match &item {
                    Item::Place(place) => document.kind(*place) == Kind::List,
                    item => matches!(item, Item::Keys(_)),
                };
                let is_wrapped = is_wrapped || (self.wrapper == Some("CONDITIONAL") && !is_list);
                if !is_wrapped && is_scalar(document, &item) {
                    if is_lax { Why::Empty } else { Why::IsScalar }
                } else if self.is_list && !is_wrapped && !is_list {
                    Why::OtherType
                } else {
                    return Ok(Answer::One(document, item, is_wrapped));
                }
            }
            Outcome::Found(_, Found::Nothing) | Outcome::Empty => Why::Empty,
            Outcome::Failed(why) => why,
        };
        match if why == Why::Empty { self.on_empty } else { self.on_error } {
            Some("ERROR") => exec_err!("JSON_QUERY: {why}"),
            Some("EMPTY ARRAY") => Ok(Answer::EmptyList),
            Some("EMPTY OBJECT") => Ok(Answer::EmptyObject),
            _ => Ok(Answer::Null),
        }
    }
}

fn query(call: &Call<'_>, specs: &Compiled<Spec>) -> Result<ArrayRef> {
    let clause = |index| -> Result<Option<&str>> {
        if call.len() > index { Ok(call.texts(index)?.get(0)) } else { Ok(None) }
    };
    let is_list = matches!(call.returns, DataType::List(_));
    let mut queries = Queries {
        lookups: Lookups::new(call, specs, true)?,
        wrapper: clause(3)?,
        on_empty: clause(4)?,
        on_error: clause(5)?,
        is_list,
    };
    let mut writer = Writer::default();
    if is_list {
        return lists(call.rows, &mut queries, &mut writer);
    }
    call.text(|row, out| {
        match queries.row(row)? {
            Answer::Null => return Ok(false),
            Answer::EmptyList => out.push_str("[]"),
            Answer::EmptyObject => out.push_str("{}"),
            Answer::One(document, item, is_wrapped) => {
                wrapped(is_wrapped, out, |out| writer.item(document, &item, out));
            }
            Answer::Many(document, items, is_wrapped) => {
                wrapped(is_wrapped, out, |out| writer.items(document, &items, out));
            }
        }
        Ok(true)
    })
}

fn wrapped(is_wrapped: bool, out: &mut String, write: impl FnOnce(&mut String)) {
    if is_wrapped {
        out.push('[');
    }
    write(out);
    if is_wrapped {
        out.push(']');
    }
}

/// An ARRAY of strings a row: scalars as text, others as JSON.
fn lists(rows: usize, queries: &mut Queries<'_>, writer: &mut Writer) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", DataType::Utf8, true));
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(field);
    let mut buffer = String::new();
    for row in 0..rows {
        let answer = queries.row(row)?;
        let mut push = |document: Document<'_>, item: &Item| {
            let is_null = matches!(item, Item::Null)
                || matches!(item, Item::Place(place) if document.kind(*place) == Kind::Null);
            if is_null {
                lists.values().append_null();
                return;
            }
            buffer.clear();
            if is_scalar(document, item) {
                scalar(document, item, &mut buffer);
            } else {
                writer.item(document, item, &mut buffer);
            }
            lists.values().append_value(&buffer);
        };
        match answer {
            Answer::Null | Answer::EmptyObject => {
                lists.append_null();
                continue;
            }
            Answer::EmptyList => {}
            Answer::One(document, item, true) => push(document, &item),
            Answer::One(document, Item::Place(list), false) => {
                document.items(list).for_each(|item| push(document, &Item::Place(item)));
            }
            Answer::One(document, item, false) => {
                if let Item::Keys(object) = item {
                    document.entries(object).for_each(|(key, _)| push(document, &Item::Place(key)));
                }
            }
            Answer::Many(document, items, false) => items.iter().for_each(|item| push(document, item)),
            Answer::Many(document, items, true) => {
                buffer.clear();
                writer.items(document, &items, &mut buffer);
                lists.values().append_value(&buffer);
            }
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}
