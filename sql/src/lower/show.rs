//! Expressions and windows as EXPLAIN shows them, with names in the place of numbers.

use arrow_schema::{FieldRef, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::Expr;
use millstream_operators::{AggregateCall, AggregateKind, ExpandSpec, SortKey, WindowAssigner};

use super::columns::{as_column, as_path, substitute};

/// `expr` over columns called as in `fields`.
pub(super) fn expression(expr: &Expr, fields: &[FieldRef]) -> String {
    let name =
        |index: usize| fields.get(index).map_or_else(|| format!("${index}"), |field| field.name().clone());
    if let Some((index, path)) = as_path(expr) {
        return std::iter::once(name(index)).chain(path).collect::<Vec<_>>().join(".");
    }
    let named = substitute(expr, &|index| Expr::Column(Column::new_unqualified(name(index))));
    let spelled = named.clone().transform_up(|expr| {
        Ok(match literal(&expr) {
            Some(text) => Transformed::yes(Expr::Column(Column::new_unqualified(text))),
            None => Transformed::no(expr),
        })
    });
    spelled.data().unwrap_or(named).human_display().to_string()
}

/// A literal as it is written.
fn literal(expr: &Expr) -> Option<String> {
    let Expr::Literal(literal, _) = expr else { return None };
    let value = match literal {
        ScalarValue::IntervalMonthDayNano(Some(value)) => value,
        ScalarValue::Utf8(Some(text)) => return Some(format!("'{}'", text.replace('\'', "''"))),
        number if number.data_type().is_numeric() && !number.is_null() => return Some(number.to_string()),
        _ => return None,
    };
    if value.months != 0 {
        return Some(format!("INTERVAL '{}' MONTH", value.months));
    }
    let ms = i64::from(value.days) * 86_400_000 + value.nanoseconds / 1_000_000;
    Some(match ms {
        ms if ms % 86_400_000 == 0 && ms != 0 => format!("INTERVAL '{}' DAY", ms / 86_400_000),
        ms if ms % 1_000 == 0 => format!("INTERVAL '{}' SECOND", ms / 1_000),
        ms => format!("INTERVAL '{}.{:03}' SECOND", ms / 1_000, ms % 1_000),
    })
}

/// A projection's columns, and its filter.
pub(super) fn calc(
    filter: Option<&Expr>,
    columns: &[Expr],
    names: &[FieldRef],
    input: &[FieldRef],
) -> String {
    let columns = columns.iter().zip(names).map(|(expr, name)| {
        let shown = expression(expr, input);
        if shown == *name.name() { shown } else { format!("{shown} AS {}", name.name()) }
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    filter.map_or_else(|| columns.clone(), |filter| format!("{columns} where {}", expression(filter, input)))
}

/// `GROUPING SETS ((a, b), (a), ())`.
pub(super) fn grouping_sets(spec: &ExpandSpec) -> String {
    let set = |set: &Vec<bool>| {
        let keys = spec.keys.iter().zip(set).filter(|(_, groups)| **groups);
        let names = keys.map(|(key, _)| spec.input.field(*key).name().as_str());
        format!("({})", names.collect::<Vec<_>>().join(", "))
    };
    format!("GROUPING SETS ({})", spec.sets.iter().map(set).collect::<Vec<_>>().join(", "))
}

/// What a projection does beside picking columns: the filter, and columns that are computed or get other names; none where
/// it only picks.
pub(super) fn computed(
    filter: Option<&Expr>,
    columns: &[Expr],
    names: &[FieldRef],
    input: &[FieldRef],
) -> Option<String> {
    let picks = |(expr, name): &(&Expr, &FieldRef)| {
        as_column(expr).is_some_and(|index| input.get(index).is_some_and(|field| field.name() == name.name()))
    };
    let (made, of): (Vec<Expr>, Vec<FieldRef>) = columns
        .iter()
        .zip(names)
        .filter(|column| !picks(column))
        .map(|(expr, name)| (expr.clone(), FieldRef::clone(name)))
        .unzip();
    (filter.is_some() || !made.is_empty()).then(|| calc(filter, &made, &of, input))
}

/// Columns with their types.
pub(super) fn typed(schema: &Schema, columns: &[usize]) -> String {
    let typed = columns.iter().map(|column| {
        let field = schema.field(*column);
        format!("{} {}", field.name(), field.data_type())
    });
    typed.collect::<Vec<_>>().join(", ")
}

/// All columns with their types.
pub(super) fn all_typed(schema: &Schema) -> String {
    typed(schema, &(0..schema.fields().len()).collect::<Vec<_>>())
}

pub(super) fn window(window: &WindowAssigner) -> String {
    match *window {
        WindowAssigner::Tumble { size_ms, .. } => format!("TUMBLE({})", time(size_ms)),
        WindowAssigner::Hop { size_ms, slide_ms, .. } => {
            format!("HOP(slide {}, size {})", time(slide_ms), time(size_ms))
        }
        WindowAssigner::Cumulate { max_ms, step_ms, .. } => {
            format!("CUMULATE(step {}, max {})", time(step_ms), time(max_ms))
        }
        WindowAssigner::Session { gap_ms } => format!("SESSION(gap {})", time(gap_ms)),
    }
}

/// `AVG(DISTINCT x) FILTER (WHERE y)`; `name` says what a column is called.
pub(super) fn call(call: &AggregateCall, name: &dyn Fn(usize) -> String) -> String {
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let of = call.argument.map_or_else(|| "*".to_owned(), name);
    let filter = call.filter.map_or_else(String::new, |index| format!(" FILTER (WHERE {})", name(index)));
    let of = match &call.kind {
        AggregateKind::Percentile(at) | AggregateKind::ApproxPercentile(at) => format!("{of}, {at}"),
        _ => of,
    };
    format!("{}({distinct}{of}){filter}", call.kind.name())
}

/// A column that rows of `schema` are ordered by.
pub(super) fn sort_key(key: &SortKey, schema: &Schema) -> String {
    format!("{}{}", schema.field(key.column).name(), if key.descending { " DESC" } else { "" })
}

fn time(ms: i64) -> String {
    match ms {
        ms if ms % 86_400_000 == 0 => format!("{} d", ms / 86_400_000),
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
