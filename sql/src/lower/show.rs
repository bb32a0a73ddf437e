//! Expressions and windows as EXPLAIN shows them, with names in the place of numbers.

use arrow_schema::FieldRef;
use datafusion_common::Column;
use datafusion_expr::Expr;
use millstream_operators::{AggregateCall, WindowAssigner};

use super::columns::{as_path, substitute};

/// `expr` over columns called as in `fields`.
pub(super) fn expression(expr: &Expr, fields: &[FieldRef]) -> String {
    let name = |index: usize| fields.get(index).map_or_else(|| format!("${index}"), |field| field.name().clone());
    if let Some((index, path)) = as_path(expr) {
        return std::iter::once(name(index)).chain(path).collect::<Vec<_>>().join(".");
    }
    substitute(expr, &|index| Expr::Column(Column::new_unqualified(name(index)))).human_display().to_string()
}

/// A projection's columns, and its filter.
pub(super) fn calc(filter: Option<&Expr>, columns: &[Expr], names: &[FieldRef], input: &[FieldRef]) -> String {
    let columns = columns.iter().zip(names).map(|(expr, name)| {
        let shown = expression(expr, input);
        if shown == *name.name() { shown } else { format!("{shown} AS {}", name.name()) }
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    filter.map_or_else(|| columns.clone(), |filter| format!("{columns} where {}", expression(filter, input)))
}

pub(super) fn window(window: &WindowAssigner) -> String {
    match *window {
        WindowAssigner::Tumble { size_ms, .. } => format!("TUMBLE({})", time(size_ms)),
        WindowAssigner::Hop { size_ms, slide_ms, .. } => format!("HOP(slide {}, size {})", time(slide_ms), time(size_ms)),
        WindowAssigner::Cumulate { max_ms, step_ms, .. } => format!("CUMULATE(step {}, max {})", time(step_ms), time(max_ms)),
        WindowAssigner::Session { gap_ms } => format!("SESSION(gap {})", time(gap_ms)),
    }
}

pub(super) fn call(call: &AggregateCall, fields: &[FieldRef], argument: &dyn Fn(usize) -> String) -> String {
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let of = call.argument.map_or_else(|| "*".to_owned(), argument);
    let filter = call.filter.map_or_else(String::new, |index| {
        let _ = fields;
        format!(" FILTER (WHERE {})", argument(index))
    });
    format!("{}({distinct}{of}){filter}", call.kind.name())
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
