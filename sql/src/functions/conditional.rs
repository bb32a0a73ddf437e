//! COALESCE, IFNULL, NULLIF, IF, GREATEST and LEAST.
//!
//! The first four are CASE in other words, which computes only what it needs: IF(x <> 0, y / x, 0) never divides by
//! zero. COALESCE stays a function where its further arguments cost nothing and cannot fail.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_ord::cmp;
use arrow_schema::{DataType, Field, FieldRef, Fields};
use arrow_select::zip::zip;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::expr::Case;
use datafusion_expr::{BinaryExpr, Expr, Operator, ScalarUDF};

use super::call::Call;
use super::collections::{list_of, map_of, parts_of};
use super::function::{Function, Kind, Subject};
use super::math::decimal::shape_of;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, Boolean};
    let make = |name, usage, about, parameters, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Conditional, name, usage, about, parameters, DataType::Null, kernel)
    };
    vec![
        make("coalesce", "COALESCE(value, …)", "The first value that is not NULL.", &[Any], coalesce)
            .rest(Any)
            .accepts(|types| alike(types, 0))
            .returns(|given| given.types.first().cloned())
            .build(),
        make(
            "ifnull",
            "IFNULL(value, otherwise)",
            "The value, or the other one if it is NULL.",
            &[Any, Any],
            coalesce,
        )
        .accepts(|types| alike(types, 0))
        .returns(|given| given.types.first().cloned())
        .build(),
        make(
            "nullif",
            "NULLIF(value, other)",
            "NULL if both are equal, the value if not.",
            &[Any, Any],
            |_| internal_err!("NULLIF is a CASE"),
        )
        .returns(|given| given.types.first().cloned())
        .build(),
        make(
            "if",
            "IF(condition, then, otherwise)",
            "One of two values, by a condition; NULL counts as FALSE.",
            &[Boolean, Any, Any],
            |_| internal_err!("IF is a CASE"),
        )
        .accepts(|types| alike(types, 1))
        .returns(|given| given.types.get(1).cloned())
        .build(),
        make("greatest", "GREATEST(value, …)", "The greatest value; NULL if one is NULL.", &[Any], |call| {
            extreme(call, cmp::gt)
        })
        .rest(Any)
        .accepts(|types| alike(types, 0))
        .returns(|given| given.types.first().cloned())
        .build(),
        make("least", "LEAST(value, …)", "The least value; NULL if one is NULL.", &[Any], |call| {
            extreme(call, cmp::lt)
        })
        .rest(Any)
        .accepts(|types| alike(types, 0))
        .returns(|given| given.types.first().cloned())
        .build(),
    ]
}

/// All arguments from `first` on in the one type that holds them all.
fn alike(types: &[DataType], first: usize) -> Option<Vec<DataType>> {
    let common = types.iter().skip(first).try_fold(DataType::Null, |common, kind| wider(&common, kind))?;
    Some(
        types
            .iter()
            .enumerate()
            .map(|(index, kind)| if index < first { kind.clone() } else { common.clone() })
            .collect(),
    )
}

/// The least type that holds the values of both.
pub(super) fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    let real = |kind: &DataType| matches!(kind, T::Float32 | T::Float64);
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => Some(T::Utf8),
        (T::Timestamp(a, zone), T::Timestamp(b, other)) if zone.is_some() == other.is_some() => {
            Some(T::Timestamp(*a.max(b), zone.clone()))
        }
        (T::Date32, T::Timestamp(..)) => Some(b.clone()),
        (T::Timestamp(..), T::Date32) => Some(a.clone()),
        (a, b) if (real(a) && b.is_numeric()) || (a.is_numeric() && real(b)) => Some(T::Float64),
        (a, b) if a.is_integer() && b.is_integer() => {
            Some(if a.primitive_width() >= b.primitive_width() { a.clone() } else { b.clone() })
        }
        (T::List(a), T::List(b)) => Some(list_of(wider(a.data_type(), b.data_type())?)),
        (T::Struct(a), T::Struct(b)) if a.len() == b.len() => {
            let field = |(a, b): (&FieldRef, &FieldRef)| {
                Some(Field::new(a.name(), wider(a.data_type(), b.data_type())?, true))
            };
            Some(T::Struct(a.iter().zip(b.iter()).map(field).collect::<Option<Fields>>()?))
        }
        (T::Map(..), T::Map(..)) => {
            let ((key, value), (other_key, other_value)) = (parts_of(a)?, parts_of(b)?);
            Some(map_of(wider(&key, &other_key)?, wider(&value, &other_value)?))
        }
        (a, b) => {
            let ((p1, s1), (p2, s2)) = (shape_of(a)?, shape_of(b)?);
            let scale = s1.max(s2);
            let whole = p1.saturating_sub(s1.unsigned_abs()).max(p2.saturating_sub(s2.unsigned_abs()));
            Some(T::Decimal128((whole + scale.unsigned_abs()).min(38), scale))
        }
    }
}

/// The CASE that a call stands for.
pub(super) fn as_case(name: &str, arguments: &[Expr]) -> Option<Case> {
    let case = |when: Expr, then: Expr, otherwise: Expr| Case {
        expr: None,
        when_then_expr: vec![(Box::new(when), Box::new(then))],
        else_expr: Some(Box::new(otherwise)),
    };
    match (name, arguments) {
        ("if", [condition, then, otherwise]) => {
            Some(case(condition.clone(), then.clone(), otherwise.clone()))
        }
        ("nullif", [value, other]) => {
            let equal = Expr::BinaryExpr(BinaryExpr::new(
                Box::new(value.clone()),
                Operator::Eq,
                Box::new(other.clone()),
            ));
            Some(case(equal, Expr::Literal(ScalarValue::Null, None), value.clone()))
        }
        ("coalesce" | "ifnull", [first @ .., last])
            if !first.is_empty() && !arguments[1..].iter().all(is_free) =>
        {
            Some(Case {
                expr: None,
                when_then_expr: first
                    .iter()
                    .map(|value| {
                        (Box::new(Expr::IsNotNull(Box::new(value.clone()))), Box::new(value.clone()))
                    })
                    .collect(),
                else_expr: Some(Box::new(last.clone())),
            })
        }
        _ => None,
    }
}

/// Costs nothing and cannot fail.
fn is_free(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => is_free(&alias.expr),
        _ => false,
    }
}

fn coalesce(call: &Call<'_>) -> Result<ArrayRef> {
    let mut result = call.column(0)?;
    for index in 1..call.len() {
        if result.null_count() == 0 {
            break;
        }
        let present = present_in(&result);
        result = zip(&present, &result, &call.column(index)?)?;
    }
    Ok(result)
}

fn present_in(column: &ArrayRef) -> BooleanArray {
    match column.nulls() {
        Some(nulls) => BooleanArray::new(nulls.inner().clone(), None),
        None => BooleanArray::from(vec![true; column.len()]),
    }
}

/// Keeps the first of two values where `wins` holds between them; NULL if one is NULL.
fn extreme(
    call: &Call<'_>,
    wins: fn(
        &dyn arrow_array::Datum,
        &dyn arrow_array::Datum,
    ) -> std::result::Result<BooleanArray, arrow_schema::ArrowError>,
) -> Result<ArrayRef> {
    let mut result = call.column(0)?;
    for index in 1..call.len() {
        let other = call.column(index)?;
        let stays = wins(&result, &other)?;
        // Where the comparison is NULL one side is: that one is taken, whichever it is.
        let stays = BooleanArray::from_iter(
            (0..call.rows)
                .map(|row| Some(if stays.is_valid(row) { stays.value(row) } else { result.is_null(row) })),
        );
        result = zip(&stays, &result, &other)?;
    }
    Ok(result)
}
