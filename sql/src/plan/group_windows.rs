//! Flink's older windows, `GROUP BY key, TUMBLE(ts, INTERVAL '10' SECOND)`, brought into the table functions that have taken
//! their place: the window goes around the table in FROM, and TUMBLE_START and its kin become the window's columns.
//!
//! It runs before all checks, so that what is wrong with the result is told as of a table function; every token keeps its
//! place. Flink: SqlGroupedWindowFunction, LogicalWindowAggregateRule.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, ObjectName, SelectItem, Spanned, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::error::PlanError;
use super::rewrite::walk;
use super::windows::is_window_function;
use crate::parse::PARTITION_ARGUMENT;
use crate::parse::{arguments_of, call};

/// Rewrites `node` in place.
///
/// # Errors
/// If a group window stands where none can.
pub(super) fn rewrite<V: VisitMut>(node: &mut V) -> Result<(), PlanError> {
    let mut selects = Selects { error: None };
    walk(node, &mut selects);
    selects.error.map_or(Ok(()), Err)
}

struct Selects {
    error: Option<PlanError>,
}

impl VisitorMut for Selects {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        match select_with_window(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// A window of GROUP BY.
struct Window {
    /// TUMBLE, HOP or SESSION.
    name: String,
    arguments: Vec<Expr>,
    span: Span,
}

impl Window {
    fn of(expr: &Expr) -> Option<Self> {
        let Expr::Function(function) = expr else { return None };
        let name = function.name.to_string().to_ascii_uppercase();
        let arguments = arguments_of(function)?;
        is_window_function(&name).then(|| Self { name, arguments, span: function.name.span() })
    }
}

fn select_with_window(select: &mut ast::Select) -> Result<(), PlanError> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(()) };
    let Some(at) = keys.iter().position(|key| Window::of(key).is_some()) else { return Ok(()) };
    let Some(window) = Window::of(&keys[at]) else { return Ok(()) };
    if let Some(second) = keys[at + 1..].iter().find_map(Window::of) {
        return Err(PlanError::at("GROUP BY has two windows", second.span).remedy("keep one of them"));
    }
    let column = |name: &str| Expr::Identifier(Ident::with_span(window.span, name));
    keys.splice(at..=at, ["window_start", "window_end", "window_time"].map(column));

    let relation = match select.from.as_mut_slice() {
        [from] if from.joins.is_empty() => &mut from.relation,
        _ => {
            return Err(PlanError::at(
                format!("GROUP BY {} goes by the time of one table", window.name),
                window.span,
            )
            .remedy("put the join into a view or a subquery, and group that"));
        }
    };
    *relation = windowed(relation, &window)?;

    let mut parts = Parts { window: &window, error: None };
    for (index, item) in select.projection.iter_mut().enumerate() {
        // The name that the column has without ours in its place.
        if let SelectItem::UnnamedExpr(expr @ Expr::Function(_)) = item
            && parts.part_of(expr).is_some()
        {
            let unnamed = std::mem::replace(expr, Expr::Value(ast::Value::Null.into()));
            *item = SelectItem::ExprWithAlias { expr: unnamed, alias: Ident::new(format!("EXPR${index}")) };
        }
    }
    walk(&mut select.projection, &mut parts);
    if let Some(having) = &mut select.having {
        walk(having, &mut parts);
    }
    parts.error.map_or(Ok(()), Err)
}

/// `TABLE(SESSION(TABLE t, DESCRIPTOR(ts), …)) AS t`, for the table `relation`.
fn windowed(relation: &TableFactor, window: &Window) -> Result<TableFactor, PlanError> {
    let span = window.span;
    let (data, alias) = match relation {
        TableFactor::Table { name, alias, args: None, version: None, .. } => {
            let ident = name.0.last().and_then(|part| part.as_ident()).cloned();
            let ident = ident.ok_or_else(|| PlanError::at("this is no table's name", name.span()))?;
            let own = || TableAlias { explicit: true, name: ident.clone(), columns: Vec::new(), at: None };
            (Expr::Identifier(ident.clone()), alias.clone().or_else(|| Some(own())))
        }
        TableFactor::Derived { subquery, alias, .. } => (Expr::Subquery(subquery.clone()), alias.clone()),
        other => {
            return Err(PlanError::at(
                format!("GROUP BY {} reads a table or a subquery", window.name),
                other.span(),
            )
            .remedy("put this into a view, and group that"));
        }
    };
    if let Some(alias) = alias.as_ref().filter(|alias| !alias.columns.is_empty()) {
        return Err(PlanError::at(
            format!("GROUP BY {} keeps the names of its table's columns", window.name),
            alias.name.span,
        )
        .remedy("rename them in a subquery: FROM (SELECT a AS b FROM t)"));
    }
    let [time, lengths @ ..] = window.arguments.as_slice() else {
        return Err(PlanError::at(format!("{} lacks its time column", window.name), span)
            .remedy(format!("write GROUP BY {}(ts, INTERVAL '10' SECOND)", window.name)));
    };
    let time = match time {
        Expr::Identifier(ident) => ident.clone(),
        Expr::CompoundIdentifier(idents) if !idents.is_empty() => idents[idents.len() - 1].clone(),
        other => {
            return Err(PlanError::at(
                format!("{} goes by a column that is a time attribute", window.name),
                other.span(),
            )
            .remedy("name the column that WATERMARK FOR names, or one declared AS PROCTIME()"));
        }
    };
    let mut arguments = vec![data, call("DESCRIPTOR", vec![Expr::Identifier(time)], span)];
    arguments.extend(lengths.iter().cloned());
    let Expr::Function(mut function) = call(&window.name, arguments, span) else {
        return Err(PlanError::new("a window is a function"));
    };
    if let FunctionArguments::List(list) = &mut function.args
        && window.name == "SESSION"
    {
        // Sessions are of what is grouped by, whatever that is.
        list.args.insert(1, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(of_all_keys(span)))));
    }
    Ok(TableFactor::TableFunction { expr: Expr::Function(function), alias })
}

/// What stands for PARTITION BY the keys of the aggregation.
fn of_all_keys(span: Span) -> Function {
    Function {
        name: ObjectName::from(vec![Ident::with_span(span, PARTITION_ARGUMENT)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// Replaces TUMBLE_START(…) and its kin by columns of the window.
struct Parts<'a> {
    window: &'a Window,
    error: Option<PlanError>,
}

impl Parts<'_> {
    /// Which part of the window `expr` asks for.
    fn part_of(&self, expr: &Expr) -> Option<(&'static str, Span)> {
        let Expr::Function(function) = expr else { return None };
        let name = function.name.to_string().to_ascii_uppercase();
        let part = name.strip_prefix(&self.window.name)?;
        let column = match part {
            "_START" => "window_start",
            "_END" => "window_end",
            "_ROWTIME" => "window_time",
            "_PROCTIME" => "proctime",
            _ => return None,
        };
        Some((column, function.name.span()))
    }
}

impl VisitorMut for Parts<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Some((column, span)) = self.part_of(expr) else { return ControlFlow::Continue(()) };
        let same = match expr {
            Expr::Function(function) => {
                arguments_of(function).is_some_and(|own| same_arguments(&own, &self.window.arguments))
            }
            _ => false,
        };
        if !same {
            let name = &self.window.name;
            let error = PlanError::at(format!("{expr} is of a window that GROUP BY does not have"), span);
            let listed: Vec<String> = self.window.arguments.iter().map(ToString::to_string).collect();
            self.error =
                Some(error.remedy(format!("give it the arguments of {name}({})", listed.join(", "))));
            return ControlFlow::Break(());
        }
        *expr = match column {
            "proctime" => call("PROCTIME", Vec::new(), span),
            column => Expr::Identifier(Ident::with_span(span, column)),
        };
        ControlFlow::Continue(())
    }
}

/// `B.ts` is `ts`, and intervals are what they say.
fn same_arguments(one: &[Expr], other: &[Expr]) -> bool {
    let plain = |expr: &Expr| match expr {
        Expr::CompoundIdentifier(idents) => {
            idents.last().map_or_else(String::new, |ident| ident.value.clone())
        }
        Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| plain(one) == plain(other))
}
