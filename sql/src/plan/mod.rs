//! Queries to logical plans: checks and rewritings of the syntax, DataFusion's planner with our context, then types.
//!
//! A plan that leaves here has every expression typed; lowering (lower/) turns it into a graph.

pub(crate) mod aggregates;
mod check;
mod context;
pub(crate) mod error;
pub(crate) mod fields;
mod group_windows;
mod intervals;
mod lag;
mod lateral;
mod literals;
pub(crate) mod named_casts;
mod names;
pub(crate) mod ranking;
pub(crate) mod recognize;
mod rewrite;
mod row_lists;
mod temporal;
mod types;
pub(crate) mod unnest;
pub(crate) mod versions;
pub(crate) mod windows;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, TableSource};
use datafusion_optimizer::analyzer::type_coercion::{TypeCoercion, TypeCoercionRewriter};
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::{AnalyzerRule, OptimizerContext, OptimizerRule};
use datafusion_sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast;

use context::Context;
pub(crate) use context::Functions;
use error::PlanError;

use crate::functions::{type_expression, type_plan};

/// Plans the queries and expressions of one compilation.
pub(crate) struct Planner {
    pub tables: HashMap<String, Arc<dyn TableSource>>,
    pub functions: Functions,
    options: ConfigOptions,
}

impl Planner {
    pub fn new(functions: Functions) -> Self {
        Self { tables: HashMap::new(), functions, options: ConfigOptions::new() }
    }

    /// The plan of a query.
    pub fn query(&self, mut query: Box<ast::Query>) -> Result<LogicalPlan, PlanError> {
        group_windows::rewrite(query.as_mut())?;
        check::check(query.as_ref(), &self.functions)?;
        rewrite::rewrite(query.as_mut(), &self.functions);
        let context = Context::new(&self.tables, &self.functions, &self.options);
        let plan = SqlToRel::new_with_options(&context, parser_options())
            .sql_statement_to_plan(ast::Statement::Query(query))
            .map_err(|error| first_error(&context, error))?;
        Ok(typed(plan, &self.options)?)
    }

    /// A typed expression over the columns of `schema`: a computed column or watermark.
    pub fn expression(&self, mut expr: ast::Expr, schema: &DFSchema) -> Result<Expr, PlanError> {
        check::check(&expr, &self.functions)?;
        rewrite::rewrite(&mut expr, &self.functions);
        let context = Context::new(&self.tables, &self.functions, &self.options);
        let expr = SqlToRel::new_with_options(&context, parser_options())
            .sql_to_expr(expr, schema, &mut PlannerContext::new())
            .map_err(|error| first_error(&context, error))?;
        let expr = type_expression(retype(expr)?.data, schema)?;
        Ok(expr.rewrite(&mut TypeCoercionRewriter::new(schema))?.data)
    }
}

/// Gives a plan's expressions their final types.
fn typed(plan: LogicalPlan, options: &ConfigOptions) -> datafusion_common::Result<LogicalPlan> {
    let plan = type_plan(retype_plan(without_subqueries(plan)?)?)?;
    TypeCoercion::new().analyze(plan, options)
}

/// `change`s an expression of a plan under the name it has there: of grouping sets each expression in them.
pub(crate) fn keeping_names(
    expr: Expr,
    names: &NamePreserver,
    change: &mut dyn FnMut(Expr) -> datafusion_common::Result<Transformed<Expr>>,
) -> datafusion_common::Result<Transformed<Expr>> {
    if matches!(expr, Expr::GroupingSet(_)) {
        return expr.map_children(|inner| keeping_names(inner, names, change));
    }
    let name = names.save(&expr);
    Ok(change(expr)?.update_data(|expr| name.restore(expr)))
}

/// Gives an expression's literals the types that Flink gives them.
fn retype(expr: Expr) -> datafusion_common::Result<Transformed<Expr>> {
    literals::int_literals(expr)?.transform_data(temporal::expression)
}

/// `IN (SELECT …)`, `EXISTS (SELECT …)`, subqueries that give a value and LATERAL ones as joins.
fn without_subqueries(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    let mut options = ConfigOptions::new();
    // There is no operator here that waits for a value and then goes on.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let config = OptimizerContext::new_with_config_options(Arc::new(options));
    let plan = lateral::without_laterals(plan, &config)?;
    let (predicates, values) = (DecorrelatePredicateSubquery::new(), ScalarSubqueryToJoin::new());
    let plan = plan.transform_down(|plan| predicates.rewrite(plan, &config)).data()?;
    plan.transform_down(|plan| values.rewrite(plan, &config)).data()
}

/// Retypes the expressions of a whole plan; the names of columns stay.
fn retype_plan(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_up(|plan| {
        // The columns of VALUES have one type each already.
        if matches!(plan, LogicalPlan::Values(_) | LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| keeping_names(expr, &names, &mut retype))?
            .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

fn first_error(context: &Context<'_>, error: DataFusionError) -> PlanError {
    context.field_error.lock().take().unwrap_or_else(|| error.into())
}

fn parser_options() -> ParserOptions {
    ParserOptions::new()
        .with_enable_ident_normalization(false)
        .with_parse_float_as_decimal(true)
        .with_collect_spans(true)
        // Flink: NULL is the lowest value.
        .with_default_null_ordering(NullOrdering::NullsMin)
        .with_map_string_types_to_utf8view(false)
}
