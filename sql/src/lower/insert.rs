//! `INSERT INTO table [(columns)] query`: the query's columns to the table's, by position.
//!
//! What can be converted without loss is converted; everything else is an error that shows both lists, as in Flink.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, cast};

use super::columns::{as_column, column, indexed, with_flink_casts};
use super::rel::{Rel, RelKind};
use crate::functions::{FunctionContext, type_name};
use crate::parse::Name;
use crate::plan::error::PlanError;

/// `query` with exactly the columns of `sink`.
pub(crate) fn insert(
    query: Rel,
    table: &str,
    sink: &SchemaRef,
    named: &[Name],
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let fields: Vec<FieldRef> = sink.fields().iter().cloned().collect();
    let targets: Vec<usize> = if named.is_empty() {
        (0..fields.len()).collect()
    } else {
        named
            .iter()
            .map(|name| {
                sink.index_of(&name.text).map_err(|_| {
                    let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                    PlanError::new(format!("the table '{table}' has no column '{}' to write", name.text))
                        .remedy(format!("its columns are: {}", known.join(", ")))
                })
            })
            .collect::<Result<_, _>>()?
    };
    if targets.len() != query.fields.len() {
        return Err(PlanError::new(format!(
            "the query gives {} columns, the table '{table}' takes {}",
            query.fields.len(),
            targets.len()
        ))
        .remedy(both_lists(&query.fields, targets.iter().map(|index| &fields[*index]))));
    }
    let schema = indexed(&query.fields);
    let mut columns: Vec<Expr> = fields
        .iter()
        .map(|field| ScalarValue::try_new_null(field.data_type()).map(|null| Expr::Literal(null, None)))
        .collect::<Result<_, _>>()?;
    for (position, target) in targets.iter().enumerate() {
        let (from, to) = (query.fields[position].data_type(), fields[*target].data_type());
        if !converts(from, to) && !literal_fits(&query, position, to) {
            return Err(PlanError::new(format!(
                "column {} of the query is {}, column '{}' of the table '{table}' is {}",
                position + 1,
                type_name(from),
                fields[*target].name(),
                type_name(to)
            ))
            .remedy(format!(
                "write CAST({} AS {}). {}",
                query.fields[position].name(),
                type_name(to),
                both_lists(&query.fields, targets.iter().map(|index| &fields[*index]))
            )));
        }
        let expr = column(position);
        columns[*target] = if from == to || same_row(from, to) { expr } else { cast(expr, to.clone()) };
    }
    for (field, expr) in fields.iter().zip(&columns) {
        if !field.is_nullable() && matches!(expr, Expr::Literal(..)) {
            return Err(PlanError::new(format!(
                "the column '{}' of '{table}' is NOT NULL and gets no value",
                field.name()
            )));
        }
    }
    let columns = columns
        .into_iter()
        .map(|expr| with_flink_casts(expr, &schema, functions))
        .collect::<Result<Vec<_>, _>>()?;
    let fields = fields.iter().map(|field| Arc::new(Field::clone(field).with_nullable(true))).collect();
    Ok(Rel::calc(query, None, columns, fields))
}

fn both_lists<'a>(query: &[FieldRef], table: impl Iterator<Item = &'a FieldRef>) -> String {
    let list = |fields: &mut dyn Iterator<Item = &FieldRef>| {
        fields
            .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut table = table;
    format!("Query: [{}]. Table: [{}]", list(&mut query.iter()), list(&mut table))
}

/// Flink's implicit conversions: to a wider number, between lengths and precisions, dates to timestamps, and part by part.
fn converts(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to || from.is_null() || same_row(from, to) {
        return true;
    }
    let width = |kind: &DataType| match kind {
        T::Int8 => Some(1),
        T::Int16 => Some(2),
        T::Int32 => Some(3),
        T::Int64 => Some(4),
        T::Decimal128(..) => Some(5),
        T::Float32 => Some(6),
        T::Float64 => Some(7),
        _ => None,
    };
    match (from, to) {
        (T::Timestamp(..), T::Timestamp(..)) | (T::Date32, T::Timestamp(TimeUnit::Millisecond, _)) => true,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        // A DECIMAL takes every number, and is NULL where that does not fit.
        (from, T::Decimal128(..)) if from.is_numeric() => true,
        // ROWs go by position; the names of fields may differ.
        (T::Struct(from), T::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| converts(from.data_type(), to.data_type()))
        }
        (T::List(from), T::List(to)) => converts(from.data_type(), to.data_type()),
        (T::Map(from, _), T::Map(to, _)) => converts(from.data_type(), to.data_type()),
        (from, to) => matches!((width(from), width(to)), (Some(from), Some(to)) if from <= to),
    }
}

/// ROWs that are the same but for what may be NULL.
fn same_row(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name() == to.name()
                        && (from.data_type() == to.data_type() || same_row(from.data_type(), to.data_type()))
                })
        }
        _ => false,
    }
}

/// A whole number of the text fits a narrower column if its value does.
fn literal_fits(query: &Rel, position: usize, to: &DataType) -> bool {
    let fits = |value: &ScalarValue| value.cast_to(to).is_ok_and(|value| !value.is_null());
    match &query.kind {
        RelKind::Calc { input, columns, .. } => match &columns[position] {
            Expr::Literal(value, _) => fits(value),
            expr => as_column(expr).is_some_and(|below| literal_fits(input, below, to)),
        },
        RelKind::Values(rows) => {
            let cells = rows.column(position);
            cells.data_type().is_numeric()
                && (0..cells.len()).all(|row| {
                    ScalarValue::try_from_array(cells, row).is_ok_and(|value| value.is_null() || fits(&value))
                })
        }
        RelKind::Union { inputs } => inputs.iter().all(|input| literal_fits(input, position, to)),
        _ => false,
    }
}
