//! Syntax that only Flink has, brought into calls of functions by name before planning.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, LimitClause, Spanned, Subscript, Value, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::context::Functions;
use super::fields;
use super::named_casts::{self, name_casts};
use super::versions::{self, and, constraint_mut, plain_asof, take_version};
use super::{lag, names, row_lists};
use crate::parse::{arguments_of, call, number, string};

/// Rewrites `node` in place.
pub(super) fn rewrite<V: VisitMut>(node: &mut V, functions: &Functions) {
    walk(node, &mut Rewrite { functions });
}

/// Has `visitor` change `node` in place. All walks that change something go through this one, because each type of
/// visitor makes the compiler generate the walk over every node of the syntax again.
pub(super) fn walk<V: VisitMut>(node: &mut V, visitor: &mut dyn VisitorMut<Break = ()>) {
    let _ = node.visit(&mut Walk(visitor));
}

struct Walk<'a>(&'a mut dyn VisitorMut<Break = ()>);

impl VisitorMut for Walk<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        self.0.pre_visit_query(query)
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        self.0.pre_visit_select(select)
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.pre_visit_expr(expr)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.post_visit_expr(expr)
    }
}

struct Rewrite<'a> {
    functions: &'a Functions,
}

impl VisitorMut for Rewrite<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        limit_of_fetch(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        names::name_columns(select);
        for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
            plain_asof(&mut join.join_operator);
            let Some(time) = take_version(&mut join.relation) else { continue };
            let span = time.span();
            if let Some(on) = constraint_mut(&mut join.join_operator) {
                *on = and(take(on), call(versions::VERSION, vec![time], span));
            }
        }
        super::unnest::gather(&mut select.from);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call) => units_of(call),
            Expr::InSubquery { .. } | Expr::InList { .. } => row_lists::plain(expr),
            Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
                if let (Some(first), Some(second)) = (period(left), period(right)) {
                    let span = expr.span();
                    *expr = call("overlaps", first.into_iter().chain(second).collect(), span);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let span = expr.span();
        super::intervals::plain(expr);
        if let Some(lag) = lag::with_default(expr) {
            *expr = lag;
            return ControlFlow::Continue(());
        }
        let replacement = match expr {
            Expr::Extract { field, expr, .. } => {
                Some(call("extract_field", vec![unit(field), take(expr)], span))
            }
            Expr::Floor { expr, field } => Some(rounding("floor", take(expr), field, span)),
            Expr::Ceil { expr, field } => Some(rounding("ceil", take(expr), field, span)),
            Expr::CompoundFieldAccess { root, access_chain } => accessed(root, access_chain, span),
            Expr::Position { expr, r#in } => Some(call("position", vec![take(expr), take(r#in)], span)),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let from = substring_from.as_mut().map_or_else(|| number("1"), |from| take(from));
                let mut arguments = vec![take(expr), from];
                arguments.extend(substring_for.as_mut().map(|length| take(length)));
                Some(call("substring", arguments, span))
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![take(expr), take(overlay_what), take(overlay_from)];
                arguments.extend(overlay_for.as_mut().map(|length| take(length)));
                Some(call("overlay", arguments, span))
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let mut arguments = vec![take(expr)];
                arguments.extend(trim_what.as_mut().map(|what| take(what)));
                Some(call(name, arguments, span))
            }
            // A type carries no length: text is cut to it or filled up here.
            Expr::Cast { data_type, expr: inner, kind, .. } if length_of(data_type).is_some() => {
                let (name, length) = length_of(data_type).unwrap_or_default();
                let text = Expr::Cast {
                    kind: kind.clone(),
                    expr: Box::new(take(inner)),
                    data_type: ast::DataType::String(None),
                    array: false,
                    format: None,
                };
                let mut arguments = vec![text, number(&length.to_string())];
                if name == "rpad" {
                    arguments.push(string(" ".into()));
                }
                Some(call(name, arguments, span))
            }
            // 1e3 is a DOUBLE, 1000.0 a DECIMAL.
            Expr::Value(ast::ValueWithSpan { value: Value::Number(text, _), .. })
                if text.to_string().contains(['e', 'E']) =>
            {
                Some(Expr::Cast {
                    kind: ast::CastKind::Cast,
                    expr: Box::new(string(text.to_string())),
                    data_type: ast::DataType::Double(ast::ExactNumberInfo::None),
                    array: false,
                    format: None,
                })
            }
            Expr::Function(percentile) if frequency(percentile).is_some() => frequency(percentile),
            Expr::Function(aggregate)
                if self.functions.is_aggregate(&aggregate.name.to_string())
                    && !is_count_of_rows(aggregate) =>
            {
                name_casts(aggregate, |cast, kind| {
                    let span = cast.span();
                    call(named_casts::NAME, vec![cast, string(kind)], span)
                });
                None
            }
            // COUNT(*) counts rows, as COUNT of anything that is never NULL does.
            Expr::Function(count) if count.name.to_string().eq_ignore_ascii_case("count") => {
                if let FunctionArguments::List(list) = &mut count.args {
                    for argument in &mut list.args {
                        if matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)) {
                            *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(number("1")));
                        }
                    }
                }
                None
            }
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}

/// The function that gives text the length of CHAR(n) or VARCHAR(n), and the length.
fn length_of(data_type: &ast::DataType) -> Option<(&'static str, u64)> {
    use ast::{CharacterLength, DataType as T};
    match data_type {
        T::Char(Some(CharacterLength::IntegerLength { length, .. }))
        | T::Character(Some(CharacterLength::IntegerLength { length, .. })) => Some(("rpad", *length)),
        T::Varchar(Some(CharacterLength::IntegerLength { length, .. }))
        | T::CharVarying(Some(CharacterLength::IntegerLength { length, .. }))
            if i32::try_from(*length).is_ok_and(|length| length < i32::MAX) =>
        {
            Some(("left", *length))
        }
        _ => None,
    }
}

/// `FETCH FIRST n ROWS ONLY` is LIMIT n.
fn limit_of_fetch(query: &mut ast::Query) {
    let Some(rows) = query.fetch.take().and_then(|fetch| fetch.quantity) else { return };
    let offset = match query.limit_clause.take() {
        Some(LimitClause::LimitOffset { offset, .. }) => offset,
        _ => None,
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(rows), offset, limit_by: Vec::new() });
}

/// `PERCENTILE(v, p, n)` as `PERCENTILE(ROW(v, n), p)`: an aggregate has one argument.
fn frequency(percentile: &Function) -> Option<Expr> {
    if !percentile.name.to_string().eq_ignore_ascii_case("percentile") {
        return None;
    }
    let [value, fraction, times] = <[Expr; 3]>::try_from(arguments_of(percentile)?).ok()?;
    let span = percentile.name.span();
    let pair = call("row", vec![value, times], span);
    match call("percentile", vec![pair, fraction], span) {
        Expr::Function(Function { args, .. }) => {
            Some(Expr::Function(Function { args, ..percentile.clone() }))
        }
        _ => None,
    }
}

/// COUNT(*).
fn is_count_of_rows(call: &Function) -> bool {
    let FunctionArguments::List(list) = &call.args else { return false };
    list.args.iter().any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)))
}

/// Start and end of a period `(start, end)` or `(start, INTERVAL …)`.
fn period(tuple: &mut Expr) -> Option<[Expr; 2]> {
    let Expr::Tuple(parts) = tuple else { return None };
    let [start, end] = parts.as_mut_slice() else { return None };
    let start = take(start);
    let end = match end {
        Expr::Interval(_) => Expr::BinaryOp {
            left: Box::new(start.clone()),
            op: BinaryOperator::Plus,
            right: Box::new(take(end)),
        },
        other => take(other),
    };
    Some([start, end])
}

/// `TIMESTAMPADD(HOUR, 1, ts)`: the bare unit becomes a string.
fn units_of(call: &mut Function) {
    let name = call.name.to_string();
    let with_unit = ["TIMESTAMPADD", "TIMESTAMPDIFF"].iter().any(|known| known.eq_ignore_ascii_case(&name));
    let FunctionArguments::List(list) = &mut call.args else { return };
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut()
        && let Expr::Identifier(ident) = first
        && with_unit
    {
        *first = string(ident.value.to_uppercase());
    }
}

fn rounding(name: &str, expr: Expr, field: &CeilFloorKind, span: Span) -> Expr {
    match field {
        CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => call(name, vec![expr], span),
        CeilFloorKind::DateTimeField(field) => call(&format!("{name}_time"), vec![unit(field), expr], span),
        CeilFloorKind::Scale(scale) => call(name, vec![expr, Expr::Value(scale.clone())], span),
    }
}

fn unit(field: &ast::DateTimeField) -> Expr {
    string(field.to_string().to_uppercase())
}

/// An expression out of its place.
pub(super) fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

/// `array[1]`, `map['k']` and `array[1].field` as calls; `None` for slices, which are not Flink's.
fn accessed(root: &mut Expr, chain: &mut Vec<AccessExpr>, span: Span) -> Option<Expr> {
    let is_known = |access: &AccessExpr| {
        matches!(
            access,
            AccessExpr::Dot(Expr::Identifier(_)) | AccessExpr::Subscript(Subscript::Index { .. })
        )
    };
    if !chain.iter().all(is_known) {
        return None;
    }
    let mut value = take(root);
    for access in chain.drain(..) {
        value = match (access, value) {
            // A column of a table, or a field of a row column: the planner knows which.
            (AccessExpr::Dot(Expr::Identifier(name)), Expr::Identifier(first)) => {
                Expr::CompoundIdentifier(vec![first, name])
            }
            (AccessExpr::Dot(Expr::Identifier(name)), Expr::CompoundIdentifier(mut names)) => {
                names.push(name);
                Expr::CompoundIdentifier(names)
            }
            (AccessExpr::Dot(Expr::Identifier(name)), value) => {
                call(fields::NAME, vec![value, string(name.value)], span)
            }
            (AccessExpr::Subscript(Subscript::Index { index }), value) => {
                call("item", vec![value, index], span)
            }
            (_, value) => value,
        };
    }
    Some(value)
}
