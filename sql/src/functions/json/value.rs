//! JSON_VALUE, JSON_EXISTS and IS JSON.
//!
//! The parser (parse/json.rs) brings the clauses of JSON_VALUE into arguments: text, path, a NULL of the type behind
//! RETURNING, then for ON EMPTY and ON ERROR what to do and the value behind DEFAULT.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int32Array};
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;

use super::document::{Document, Kind, Nodes, ROOT};
use super::evaluate::{Found, Item};
use super::look::{Lookups, Outcome, Why, is_scalar};
use super::path::Spec;
use super::write::scalar;
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind as Takes, Subject};
use crate::functions::text::Compiled;
use crate::plan::error::PlanError;
use millstream_engine::type_name;

/// The arguments of the values behind DEFAULT.
const DEFAULT_ON_EMPTY: usize = 4;
const DEFAULT_ON_ERROR: usize = 6;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Takes::{Any, Text};
    let (values, tests) = (Compiled::new(Spec::compile), Compiled::new(Spec::compile));
    let mut functions = vec![
        Function::new(
            Subject::Json,
            "json_value",
            "JSON_VALUE(json, path [RETURNING type] [NULL | ERROR | DEFAULT value ON EMPTY] [… ON ERROR])",
            "The value at a path of JSON text, a STRING, BOOLEAN, INTEGER or DOUBLE; NULL if there is none or it is an object or list, if not said otherwise. Paths are strict, where nothing found is an error, or lax, where it is empty: 'lax $.a[0]'.",
            &[Text, Text],
            DataType::Utf8,
            move |call| value(call, &values),
        )
        .optional(&[Any, Text, Any, Text, Any])
        .accepts(|types| match types {
            [_, _] => Some(types.to_vec()),
            [text, path, returns, empty, _, error, _] => Some(vec![
                text.clone(),
                path.clone(),
                returns.clone(),
                empty.clone(),
                returns.clone(),
                error.clone(),
                returns.clone(),
            ]),
            _ => None,
        })
        .checks(|given| match given.types.get(2) {
            None | Some(DataType::Utf8 | DataType::Boolean | DataType::Int32 | DataType::Float64) => Ok(()),
            Some(other) => {
                Err(PlanError::new(format!("JSON_VALUE does not return {}", type_name(other)))
                    .remedy("it returns STRING, BOOLEAN, INTEGER or DOUBLE: CAST(JSON_VALUE(…) AS …) gives other types"))
            }
        })
        .returns(|given| Some(given.types.get(2).cloned().unwrap_or(DataType::Utf8)))
        .build(),
        Function::new(
            Subject::Json,
            "json_exists",
            "JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR])",
            "Whether there is a value at a path of JSON text that is not null; FALSE on an error, if not said otherwise.",
            &[Text, Text],
            DataType::Boolean,
            move |call| exists(call, &tests),
        )
        .optional(&[Text])
        .build(),
    ];
    let is_json = |name, usage, about, is_kind: fn(Kind) -> bool| {
        Function::new(Subject::Json, name, usage, about, &[Text], DataType::Boolean, move |call| {
            let texts = call.texts(0)?;
            let mut nodes = Nodes::default();
            let mut test = |text| nodes.read(text).is_some_and(|document| is_kind(document.kind(ROOT)));
            // NULL is no JSON, and that is known.
            call.boolean(|row| Some(texts.get(row).is_some_and(&mut test)))
        })
        .build()
    };
    functions.extend([
        is_json("is_json_value", "string IS [NOT] JSON [VALUE]", "Whether the string is JSON.", |_| true),
        is_json(
            "is_json_object",
            "string IS [NOT] JSON OBJECT",
            "Whether it is an object of JSON.",
            |kind| kind == Kind::Object,
        ),
        is_json("is_json_array", "string IS [NOT] JSON ARRAY", "Whether it is a list of JSON.", |kind| {
            kind == Kind::List
        }),
        is_json(
            "is_json_scalar",
            "string IS [NOT] JSON SCALAR",
            "Whether it is JSON, and neither an object nor a list.",
            |kind| !matches!(kind, Kind::Object | Kind::List),
        ),
    ]);
    functions
}

/// What a call gives where there is no value.
#[derive(Clone, Copy)]
enum Otherwise {
    Null,
    Error,
    /// The value of an argument.
    Default(usize),
}

impl Otherwise {
    fn of(call: &Call<'_>, behaviour: usize, default: usize) -> Result<Self> {
        if call.len() <= behaviour {
            return Ok(Self::Null);
        }
        Ok(match call.texts(behaviour)?.get(0) {
            Some("ERROR") => Self::Error,
            Some("DEFAULT") => Self::Default(default),
            _ => Self::Null,
        })
    }
}

/// What a row of JSON_VALUE gives.
enum Answer {
    Given,
    Null,
    Default(usize),
}

struct Values<'a> {
    lookups: Lookups<'a>,
    on_empty: Otherwise,
    on_error: Otherwise,
}

impl Values<'_> {
    /// Has `take` take the value of a row; it says whether that is of its type.
    fn row(&mut self, row: usize, take: impl FnOnce(Document<'_>, &Item) -> bool) -> Result<Answer> {
        let Some((outcome, is_lax)) = self.lookups.row(row)? else { return Ok(Answer::Null) };
        let why = match outcome {
            Outcome::Found(document, Found::One(item)) if is_scalar(document, &item) => {
                if take(document, &item) {
                    return Ok(Answer::Given);
                }
                Why::OtherType
            }
            Outcome::Found(..) if is_lax => Why::Empty,
            Outcome::Found(..) => Why::NotScalar,
            Outcome::Empty => Why::Empty,
            Outcome::Failed(why) => why,
        };
        match if why == Why::Empty { self.on_empty } else { self.on_error } {
            Otherwise::Null => Ok(Answer::Null),
            Otherwise::Default(argument) => Ok(Answer::Default(argument)),
            Otherwise::Error => exec_err!("JSON_VALUE: {why}"),
        }
    }
}

fn value(call: &Call<'_>, specs: &Compiled<Spec>) -> Result<ArrayRef> {
    let mut values = Values {
        lookups: Lookups::new(call, specs, false)?,
        on_empty: Otherwise::of(call, 3, DEFAULT_ON_EMPTY)?,
        on_error: Otherwise::of(call, 5, DEFAULT_ON_ERROR)?,
    };
    let default = |argument: usize| {
        let argument = if call.len() > argument { argument } else { 0 };
        call.column(argument)
    };
    let (on_empty, on_error) = (default(DEFAULT_ON_EMPTY)?, default(DEFAULT_ON_ERROR)?);
    let default = |argument| if argument == DEFAULT_ON_EMPTY { &on_empty } else { &on_error };
    match call.returns {
        DataType::Boolean => (0..call.rows)
            .map(|row| {
                let mut found = None;
                let take = |document: Document<'_>, item: &Item| {
                    found = of_kind(document, item, Kind::Boolean).map(|text| text == "true");
                    found.is_some()
                };
                match values.row(row, take)? {
                    Answer::Default(argument) => {
                        Ok(given(default(argument), row, |column| column.as_boolean().value(row)))
                    }
                    Answer::Given | Answer::Null => Ok(found),
                }
            })
            .collect::<Result<BooleanArray>>()
            .map(|column| Arc::new(column) as ArrayRef),
        DataType::Int32 => (0..call.rows)
            .map(|row| {
                let mut found = None;
                let take = |document: Document<'_>, item: &Item| {
                    found = match item {
                        Item::Count(count) => i32::try_from(*count).ok(),
                        item => of_kind(document, item, Kind::Whole).and_then(|text| text.parse().ok()),
                    };
                    found.is_some()
                };
                match values.row(row, take)? {
                    Answer::Default(argument) => Ok(given(default(argument), row, |column| {
                        column.as_primitive::<Int32Type>().value(row)
                    })),
                    Answer::Given | Answer::Null => Ok(found),
                }
            })
            .collect::<Result<Int32Array>>()
            .map(|column| Arc::new(column) as ArrayRef),
        DataType::Float64 => (0..call.rows)
            .map(|row| {
                let mut found = None;
                let take = |document: Document<'_>, item: &Item| {
                    found = match item {
                        Item::Number(number) => Some(*number),
                        Item::Count(count) => Some(*count as f64),
                        item => of_kind(document, item, Kind::Fraction)
                            .or_else(|| of_kind(document, item, Kind::Whole))
                            .and_then(|text| text.parse().ok()),
                    };
                    found.is_some()
                };
                match values.row(row, take)? {
                    Answer::Default(argument) => Ok(given(default(argument), row, |column| {
                        column.as_primitive::<Float64Type>().value(row)
                    })),
                    Answer::Given | Answer::Null => Ok(found),
                }
            })
            .collect::<Result<Float64Array>>()
            .map(|column| Arc::new(column) as ArrayRef),
        _ => call.text(|row, out| {
            let take = |document: Document<'_>, item: &Item| {
                scalar(document, item, out);
                true
            };
            match values.row(row, take)? {
                Answer::Given => Ok(true),
                Answer::Null => Ok(false),
                Answer::Default(argument) => {
                    let text = given(default(argument), row, |column| column.as_string::<i32>().value(row));
                    out.push_str(text.unwrap_or_default());
                    Ok(text.is_some())
                }
            }
        }),
    }
}

fn given<'a, T>(column: &'a ArrayRef, row: usize, of: impl FnOnce(&'a ArrayRef) -> T) -> Option<T> {
    column.is_valid(row).then(|| of(column))
}

/// The text of a value if it is of that kind.
fn of_kind<'a>(document: Document<'a>, item: &Item, kind: Kind) -> Option<&'a str> {
    match item {
        Item::Place(place) if document.kind(*place) == kind => Some(document.raw(*place)),
        _ => None,
    }
}

fn exists(call: &Call<'_>, specs: &Compiled<Spec>) -> Result<ArrayRef> {
    let on_error = if call.len() > 2 { call.texts(2)?.get(0) } else { None };
    let mut lookups = Lookups::new(call, specs, false)?;
    let tests = (0..call.rows).map(|row| {
        Ok(match lookups.row(row)? {
            None => None,
            Some((Outcome::Found(..), _)) => Some(true),
            Some((Outcome::Empty, _)) => Some(false),
            Some((Outcome::Failed(why), _)) => match on_error {
                Some("TRUE") => Some(true),
                Some("UNKNOWN") => None,
                Some("ERROR") => return exec_err!("JSON_EXISTS: {why}"),
                _ => Some(false),
            },
        })
    });
    Ok(Arc::new(tests.collect::<Result<BooleanArray>>()?))
}
