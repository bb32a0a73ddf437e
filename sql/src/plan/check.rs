//! What a query may not contain yet, found in its syntax, where the place is known: OVER, subqueries that give a
//! value, unknown functions. Each refusal says what to write instead.

use std::ops::ControlFlow;

use millstream_engine::suggest::did_you_mean;
use sqlparser::ast::{self, Expr, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, Visit, Visitor};

use super::context::Functions;
use super::error::PlanError;
use super::ranking::window_function;
use super::recognize;
use super::row_lists;
use super::versions::{check_asof, misplaced};
use super::windows::is_window_function;
use crate::parse::{ASOF_LEFT, PARTITION_ARGUMENT};

/// Walks `node` and refuses the first thing that cannot be planned.
pub(super) fn check<V: Visit>(node: &V, functions: &Functions) -> Result<(), PlanError> {
    match node.visit(&mut Check { functions, depth: 0, patterns: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// How deep an expression may be nested; a chain such as `a OR b OR c` is as deep as it is long. Workers evaluate
/// expressions by recursion, on stacks of the usual size.
const EXPRESSION_DEPTH_MAX: usize = 400;

/// What stands in TABLE(…) or behind a join, by lower-case name.
const TABLE_FUNCTIONS: [&str; 5] = ["tumble", "hop", "cumulate", "session", "unnest"];

struct Check<'a> {
    functions: &'a Functions,
    depth: usize,
    /// How many MATCH_RECOGNIZE there are around.
    patterns: usize,
}

type Flow = ControlFlow<PlanError>;

fn refuse(message: impl Into<String>, span: sqlparser::tokenizer::Span, remedy: &str) -> Flow {
    ControlFlow::Break(PlanError::at(message, span).remedy(remedy))
}

impl Visitor for Check<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, query: &ast::Query) -> Flow {
        if let Some(fetch) = &query.fetch
            && (fetch.with_ties || fetch.percent || fetch.quantity.is_none())
        {
            return refuse(
                "FETCH takes a number of rows, and nothing else",
                query.span(),
                "write FETCH FIRST 10 ROWS ONLY, or LIMIT 10, which means the same",
            );
        }
        if let Some(with) = &query.with
            && with.recursive
        {
            return refuse("WITH RECURSIVE is not supported", query.span(), "streams have no recursion");
        }
        self.set_expr(&query.body)
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> Flow {
        if let Some(ast::Distinct::On(_)) = &select.distinct {
            return refuse(
                "DISTINCT ON is not Flink's",
                select.projection.first().map_or_else(|| select.span(), Spanned::span),
                "number the rows of a key: ROW_NUMBER() OVER (PARTITION BY key ORDER BY ts) in a subquery, and keep row 1",
            );
        }
        if let Some((factor, error)) = misplaced(&select.from) {
            return ControlFlow::Break(PlanError { span: Some(factor.span()), ..error });
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let Err(error) = check_asof(&join.join_operator) {
                return ControlFlow::Break(error);
            }
        }
        if let Some(qualify) = &select.qualify {
            return refuse("QUALIFY is not supported yet", qualify.span(), "leave it out");
        }
        if let ast::GroupByExpr::Expressions(_, modifiers) = &select.group_by
            && !modifiers.is_empty()
        {
            return refuse(
                "GROUP BY takes no modifiers",
                select.span(),
                "GROUP BY window_start, window_end, key",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { version: Some(version), .. }
                if !matches!(version, ast::TableVersion::ForSystemTimeAsOf(_)) =>
            {
                refuse(
                    "this version of a table is not Flink's",
                    factor.span(),
                    "write FOR SYSTEM_TIME AS OF a.ts",
                )
            }
            TableFactor::NestedJoin { .. } => {
                refuse("joins in parentheses are not supported", factor.span(), "leave the parentheses out")
            }
            TableFactor::MatchRecognize { rows_per_match: Some(ast::RowsPerMatch::AllRows(_)), .. } => {
                refuse(
                    "ALL ROWS PER MATCH is not supported",
                    factor.span(),
                    "write ONE ROW PER MATCH, with FIRST, LAST and aggregates in MEASURES",
                )
            }
            TableFactor::MatchRecognize { .. } => {
                self.patterns += 1;
                ControlFlow::Continue(())
            }
            TableFactor::UNNEST { .. } => {
                refuse("UNNEST is not supported yet", factor.span(), "read the ROW's fields by name")
            }
            TableFactor::Function { name, .. } if !name.to_string().eq_ignore_ascii_case("TABLE") => refuse(
                format!("{name} stands in FROM without TABLE"),
                factor.span(),
                &format!("write LATERAL TABLE({name}(t.x)) AS item (name)"),
            ),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        self.patterns -= usize::from(matches!(factor, TableFactor::MatchRecognize { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return refuse(
                format!("an expression is nested more than {EXPRESSION_DEPTH_MAX} deep"),
                expr.span(),
                "list values with IN ('a', 'b'), or compute parts of it in a view",
            );
        }
        match expr {
            Expr::Function(call) => self.function(call),
            Expr::InSubquery { .. } => {
                row_lists::check(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue)
            }
            Expr::Interval(_) | Expr::TypedString(_) => {
                super::intervals::check(expr).map_or(ControlFlow::Continue(()), ControlFlow::Break)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Check<'_> {
    fn set_expr(&self, body: &SetExpr) -> Flow {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = body else {
            return ControlFlow::Continue(());
        };
        let by_place =
            matches!(set_quantifier, SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None);
        if !by_place || !matches!(op, SetOperator::Union | SetOperator::Intersect | SetOperator::Except) {
            return refuse(
                format!("{op} {set_quantifier} is not Flink's"),
                right.span(),
                "write UNION, INTERSECT or EXCEPT, each with ALL where equal rows count",
            );
        }
        self.set_expr(left)?;
        self.set_expr(right)
    }

    fn function(&self, call: &ast::Function) -> Flow {
        let name = call.name.to_string();
        let name = name.trim_matches('`');
        let span = call.name.span();
        if call.over.is_some() {
            if window_function(name).is_some() || self.functions.is_aggregate(name) {
                return ControlFlow::Continue(());
            }
            if name.eq_ignore_ascii_case("lead") {
                return refuse(
                    "LEAD reads rows that have not come yet",
                    span,
                    "look back from the later row: LAG(v) OVER (PARTITION BY key ORDER BY ts); or match both: MATCH_RECOGNIZE with \
                     PATTERN (a b)",
                );
            }
            return refuse(
                format!("{name}(…) OVER is not supported"),
                span,
                "with OVER there are ROW_NUMBER, LAG, and the aggregates: SUM(x) OVER (PARTITION BY key ORDER BY ts)",
            );
        }
        let internal = ["DESCRIPTOR", PARTITION_ARGUMENT, ASOF_LEFT].contains(&name)
            || name.eq_ignore_ascii_case("descriptor");
        if is_window_function(name) {
            // As table functions they are no expressions to the visitor's eye except as the argument of TABLE(…).
            return ControlFlow::Continue(());
        }
        if internal || self.functions.is_aggregate(name) || self.functions.scalar(name).is_some() {
            return ControlFlow::Continue(());
        }
        if self.patterns > 0 {
            if recognize::is_function(name) {
                return ControlFlow::Continue(());
            }
            if let Some(remedy) = recognize::instead_of(name) {
                return refuse(format!("{name} is not supported"), span, remedy);
            }
        }
        let group_window = name.rsplit_once('_').is_some_and(|(window, part)| {
            is_window_function(window)
                && ["START", "END", "ROWTIME", "PROCTIME"]
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(part))
        });
        if group_window {
            return refuse(
                format!("{name} belongs to a window in GROUP BY"),
                span,
                "write GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), or read FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), \
                 INTERVAL '10' SECOND)) and select window_start, window_end",
            );
        }
        let known = self.functions.names();
        let near =
            did_you_mean(&name.to_ascii_lowercase(), known.iter().map(String::as_str).chain(TABLE_FUNCTIONS))
                .map(str::to_uppercase);
        let remedy = match near {
            Some(near) => format!("did you mean {near}?"),
            None => "docs/functions.md lists the functions there are".to_owned(),
        };
        refuse(format!("there is no function {name}"), span, &remedy)
    }
}
