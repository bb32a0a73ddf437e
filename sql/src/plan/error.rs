//! Errors inside planning, which has spans but no text, and their way out as [`SqlError`]s.

use std::fmt;

use datafusion_common::{Column, DataFusionError, SchemaError};
use millstream_engine::suggest::did_you_mean;
use sqlparser::tokenizer::{Location, Span};

use crate::error::SqlError;
use crate::parse::Text;

/// An error at a span of the text.
#[derive(Debug, Clone)]
pub(crate) struct PlanError {
    pub message: String,
    pub span: Option<Span>,
    pub remedy: Option<String>,
}

impl PlanError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, remedy: None }
    }

    pub fn at(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span: Some(span), remedy: None }
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// With its place in `text`; `statement` is where an error without a span points to.
    pub fn resolve(self, text: &Text<'_>, statement: &std::ops::Range<usize>) -> SqlError {
        let range = match self.span {
            Some(span) if span.start.line > 0 => text.range(span),
            _ => named_in(&self.message, text, statement).unwrap_or_else(|| first_word(text, statement)),
        };
        let error = SqlError::at(self.message, text.as_str(), range);
        match self.remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PlanError {}

impl From<PlanError> for DataFusionError {
    fn from(error: PlanError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<millstream_engine::Error> for PlanError {
    fn from(error: millstream_engine::Error) -> Self {
        let place = error.place().map_or(String::new(), |place| format!("{place}: "));
        Self {
            message: format!("{place}{}", error.message()),
            span: None,
            remedy: error.remedy_text().map(str::to_owned),
        }
    }
}

impl From<DataFusionError> for PlanError {
    fn from(error: DataFusionError) -> Self {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(to_sqlparser);
        match error.find_root() {
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None => Self { message: inner.to_string(), span, remedy: None },
            },
            DataFusionError::SchemaError(schema, _) => from_schema_error(schema, span),
            DataFusionError::Plan(message)
            | DataFusionError::NotImplemented(message)
            | DataFusionError::Execution(message)
            | DataFusionError::Internal(message)
            | DataFusionError::Configuration(message) => {
                let first = message.lines().next().unwrap_or_default();
                ungrouped(first, span).unwrap_or_else(|| Self { message: plain(first), span, remedy: None })
            }
            other => Self { message: plain(&other.strip_backtrace()), span, remedy: None },
        }
    }
}

/// A column beside aggregates that is not grouped by, out of a message that says so at length.
fn ungrouped(message: &str, span: Option<Span>) -> Option<PlanError> {
    let (_, rest) =
        message.split_once("column \"").filter(|_| message.contains("must appear in the GROUP BY"))?;
    let column = rest.split('"').next()?;
    let column = column.rsplit('.').next().unwrap_or(column);
    let error = PlanError::new(format!("'{column}' is neither in GROUP BY nor in an aggregate"));
    Some(
        PlanError { span, ..error }.remedy(format!("group by it, or say which of its values: MAX({column})")),
    )
}

fn from_schema_error(error: &SchemaError, span: Option<Span>) -> PlanError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields }
            if unknown_table(field, valid_fields).is_some() =>
        {
            let (table, known) = unknown_table(field, valid_fields).unwrap_or_default();
            let near = did_you_mean(&table, known.iter().map(String::as_str));
            let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
            PlanError {
                message: format!("FROM has no table '{table}'"),
                span: span.or_else(|| field.spans().first().map(to_sqlparser)),
                remedy: Some(format!("{near}The tables here are: {}", known.join(", "))),
            }
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
            let near = did_you_mean(&field.name, names.iter().copied());
            let listed = names.iter().take(30).copied().collect::<Vec<_>>().join(", ");
            PlanError {
                message: format!("there is no column '{}'", field.name),
                span: span.or_else(|| field.spans().first().map(to_sqlparser)),
                remedy: Some(match near {
                    Some(near) => format!("did you mean '{near}'? The columns here are: {listed}"),
                    None if names.is_empty() => "there are no columns here: is FROM missing?".to_owned(),
                    None => format!("the columns here are: {listed}"),
                }),
            }
        }
        SchemaError::AmbiguousReference { field } => PlanError {
            message: format!("the column '{}' is ambiguous", field.name),
            span: span.or_else(|| field.spans().first().map(to_sqlparser)),
            remedy: Some("write the table's name in front of it".into()),
        },
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => PlanError {
            message: format!("two columns are called '{name}'"),
            span,
            remedy: Some("rename one: AS other_name".into()),
        },
    }
}

/// The table that `field` names in front of its column and that none of `valid` is of, and those that are there.
fn unknown_table(field: &Column, valid: &[Column]) -> Option<(String, Vec<String>)> {
    let of = |column: &Column| column.relation.as_ref().map(|table| table.table().to_owned());
    let table = of(field)?;
    let mut known: Vec<String> = valid.iter().filter_map(of).collect();
    known.dedup();
    (!known.is_empty() && !known.contains(&table)).then_some((table, known))
}

/// DataFusion's messages call types by Arrow's names in places; the worst of its decoration is taken off.
fn plain(message: &str) -> String {
    let message = message
        .trim_start_matches("Error during planning: ")
        .trim_start_matches("This feature is not implemented: ");
    let mut chars = message.chars();
    // A word of SQL stays as it is written.
    let is_word = message.chars().take(2).all(char::is_uppercase);
    match chars.next() {
        Some(first) if !is_word => first.to_lowercase().chain(chars).collect(),
        _ => message.to_owned(),
    }
}

pub(crate) fn to_sqlparser(span: datafusion_common::Span) -> Span {
    let place =
        |location: datafusion_common::Location| Location { line: location.line, column: location.column };
    Span { start: place(span.start), end: place(span.end) }
}

/// A message mostly names the culprit in quotes: point at its first mention in the statement.
fn named_in(
    message: &str,
    text: &Text<'_>,
    statement: &std::ops::Range<usize>,
) -> Option<std::ops::Range<usize>> {
    let body = text.slice(statement);
    let mut quoted = message.split('\'').skip(1).step_by(2).filter(|name| !name.is_empty());
    quoted.find_map(|name| {
        let at = body.to_lowercase().find(&name.to_lowercase())?;
        Some(statement.start + at..statement.start + at + name.len())
    })
}

fn first_word(text: &Text<'_>, statement: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let body = text.slice(statement);
    let word = body.find(|c: char| !c.is_alphanumeric()).unwrap_or(body.len());
    statement.start..statement.start + word
}
