//! `MATCH_RECOGNIZE (…)` as a node of the logical plan: the pattern, and definitions and measures as typed expressions.
//!
//! Those are over the input's columns once for each pattern variable, qualified by its name, and once more for the rows of
//! all variables, which is what a column without a name in front of it stands for. FIRST and LAST are calls that lowering
//! (lower/recognize.rs) takes out again. Flink: SqlMatchRecognize, MatchCodeGenerator.

mod functions;
mod node;
mod pattern;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, Result, TableReference};
use datafusion_expr::expr_schema::ExprSchemable;
use datafusion_expr::logical_plan::Extension;
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use millstream_engine::suggest::did_you_mean;
use millstream_operators::SortKey;
use millstream_operators::recognize::{AfterMatch, Pattern, Variable};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Spanned, TableFactor, VisitorMut};

use super::error::PlanError;
use super::rewrite::walk;
use crate::functions::{type_expression, type_name};
use crate::parse::{QUERY, WITHIN};
use functions::PROCTIME;
use pattern::{pattern_place, variables, within_ms};

pub(crate) use functions::{FIRST, LAST, ROWTIME};
pub(super) use functions::{function, instead_of, is_function};
pub(crate) use node::RecognizeNode;

/// The name that stands for the rows of all variables.
const ALL: &str = "*";

/// Plans MATCH_RECOGNIZE in FROM.
#[derive(Debug)]
pub(super) struct RecognizePlanner;

impl RelationPlanner for RecognizePlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let place = relation.span();
        let TableFactor::MatchRecognize {
            table,
            partition_by,
            order_by,
            measures,
            after_match_skip,
            pattern,
            symbols,
            alias,
            rows_per_match: _,
        } = relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let input = context.plan(unwrapped(*table))?;
        // What definitions compute with has its type now, and not as a query's expressions do at its end.
        let input = super::typed(input, context.context_provider().options())?;
        let columns = Columns { input: &input };
        let partition =
            partition_by.iter().map(|column| columns.find(column)).collect::<Result<Vec<_>, _>>()?;
        let order = order_by.iter().map(|by| columns.sort_key(by)).collect::<Result<Vec<_>, _>>()?;
        let (within, symbols): (Vec<_>, Vec<_>) =
            symbols.into_iter().partition(|symbol| symbol.symbol.value == WITHIN);
        let variables = variables(&pattern, place)?;
        let position = |name: &ast::Ident| {
            variables.iter().position(|variable| variable.name == name.value).ok_or_else(|| {
                let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
                PlanError::at(format!("the pattern has no variable {}", name.value), name.span)
                    .remedy(format!("its variables are {}", names.join(", ")))
            })
        };
        let after = match &after_match_skip {
            // The standard's default is past the last row, and Calcite's, so Flink's, is this.
            None | Some(ast::AfterMatchSkip::ToNextRow) => AfterMatch::ToNextRow,
            Some(ast::AfterMatchSkip::PastLastRow) => AfterMatch::PastLastRow,
            Some(ast::AfterMatchSkip::ToFirst(variable)) => AfterMatch::ToFirst(position(variable)?),
            Some(ast::AfterMatchSkip::ToLast(variable)) => AfterMatch::ToLast(position(variable)?),
        };
        let within_ms = within.first().map(|symbol| within_ms(&symbol.definition)).transpose()?;
        let placed = |error: millstream_engine::Error| PlanError {
            span: Some(pattern_place(&pattern, place)),
            ..error.into()
        };
        let names = columns.by_variable(&variables)?;
        let mut definitions = vec![None; variables.len()];
        for symbol in symbols {
            let at = position(&symbol.symbol)?;
            if definitions[at].is_some() {
                let message = format!("{} is defined twice", symbol.symbol.value);
                return Err(PlanError::at(message, symbol.symbol.span)
                    .remedy("put both conditions together with AND")
                    .into());
            }
            let span = symbol.definition.span();
            let expr = columns.expression(symbol.definition, &variables, &names, context)?;
            let kind = expr.get_type(&names)?;
            if kind != DataType::Boolean {
                let message =
                    format!("{} is defined by a value of type {}", symbol.symbol.value, type_name(&kind));
                return Err(PlanError::at(message, span).remedy("write a condition: A AS A.x > 10").into());
            }
            definitions[at] = Some(expr);
        }
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            partition.iter().map(|column| (None, Arc::clone(&input.schema().fields()[*column]))).collect();
        let mut exprs = Vec::new();
        for ast::Measure { expr, alias } in measures {
            if fields.iter().any(|(_, field)| *field.name() == alias.value) {
                let message = format!("two columns of the result are called '{}'", alias.value);
                return Err(PlanError::at(message, alias.span).remedy("give one another name").into());
            }
            let expr = columns.expression(expr, &variables, &names, context)?;
            fields.push((None, Arc::new(Field::new(alias.value, expr.get_type(&names)?, true))));
            exprs.push(expr);
        }
        if fields.is_empty() {
            return Err(PlanError::at("MATCH_RECOGNIZE gives no columns", place)
                .remedy("write MEASURES A.x AS x, or PARTITION BY a key")
                .into());
        }
        let node = RecognizeNode {
            partition,
            order,
            pattern: Pattern::new(variables, after, within_ms).map_err(placed)?,
            names: Arc::new(names),
            definitions,
            measures: exprs,
            place,
            schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
            input,
        };
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The query that parse/tokens.rs has wrapped.
fn unwrapped(table: TableFactor) -> TableFactor {
    match &table {
        TableFactor::Table { name, args: Some(arguments), alias, .. } if name.to_string() == QUERY => {
            match arguments.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query)))] => {
                    TableFactor::Derived {
                        lateral: false,
                        subquery: query.clone(),
                        alias: alias.clone(),
                        sample: None,
                    }
                }
                _ => table,
            }
        }
        _ => table,
    }
}

/// The columns of the input.
struct Columns<'a> {
    input: &'a LogicalPlan,
}

impl Columns<'_> {
    fn named(&self, ident: &ast::Ident) -> Result<usize, PlanError> {
        let fields = self.input.schema().fields();
        fields.iter().position(|field| *field.name() == ident.value).ok_or_else(|| {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let near = did_you_mean(&ident.value, names.iter().copied());
            let error = PlanError::at(format!("there is no column '{}'", ident.value), ident.span);
            error.remedy(match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("the columns are: {}", names.join(", ")),
            })
        })
    }

    fn find(&self, expr: &ast::Expr) -> Result<usize, PlanError> {
        match expr {
            ast::Expr::Identifier(ident) => self.named(ident),
            ast::Expr::CompoundIdentifier(parts) if parts.len() == 2 => self.named(&parts[1]),
            other => Err(PlanError::at("only columns can stand here", other.span())
                .remedy("compute it in a query below: FROM (SELECT …) MATCH_RECOGNIZE (…)")),
        }
    }

    fn sort_key(&self, by: &ast::OrderByExpr) -> Result<SortKey, PlanError> {
        let descending = by.options.asc == Some(false);
        // NULL is the lowest value, as everywhere in Flink.
        let nulls_first = by.options.nulls_first.unwrap_or(!descending);
        Ok(SortKey { column: self.find(&by.expr)?, descending, nulls_first })
    }

    /// The columns under the name of each variable, then under that of all.
    fn by_variable(&self, variables: &[Variable]) -> Result<DFSchema> {
        let names = variables.iter().map(|variable| variable.name.as_str()).chain([ALL]);
        let fields = names.flat_map(|name| {
            let own = self.input.schema().fields().iter();
            own.map(move |field| {
                let field = field.as_ref().clone().with_nullable(true);
                (Some(TableReference::bare(name)), Arc::new(field))
            })
        });
        DFSchema::new_with_metadata(fields.collect(), Default::default())
    }

    /// A definition or measure, typed.
    fn expression(
        &self,
        mut expr: ast::Expr,
        variables: &[Variable],
        names: &DFSchema,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Expr> {
        let mut qualify = Qualify { columns: self, variables, error: None };
        walk(&mut expr, &mut qualify);
        if let Some(error) = qualify.error {
            return Err(error.into());
        }
        let expr = context.sql_to_expr(expr, names)?;
        let expr = type_expression(super::retype(expr)?.data, names)?;
        Ok(datafusion_common::tree_node::TreeNode::rewrite(expr, &mut TypeCoercionRewriter::new(names))?.data)
    }
}

/// Writes the variable in front of each column, that of all where there is none.
struct Qualify<'a> {
    columns: &'a Columns<'a>,
    variables: &'a [Variable],
    error: Option<PlanError>,
}

impl Qualify<'_> {
    fn qualified(&self, parts: &[ast::Ident]) -> Result<Vec<ast::Ident>, PlanError> {
        let (first, rest) = match parts {
            [first, rest @ ..] => (first, rest),
            [] => return Ok(Vec::new()),
        };
        let is_variable = self.variables.iter().any(|variable| variable.name == first.value);
        if let (true, Some(column)) = (is_variable, rest.first()) {
            self.columns.named(column)?;
            return Ok(parts.to_vec());
        }
        self.columns.named(first).map_err(|error| match rest {
            [] => error,
            _ => PlanError { remedy: None, ..error }.remedy(format!(
                "neither is there a variable {}; write A.x, or x alone for the rows of all variables",
                first.value
            )),
        })?;
        Ok([&[ast::Ident::with_span(first.span, ALL)], parts].concat())
    }
}

impl VisitorMut for Qualify<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        let parts = match expr {
            ast::Expr::Identifier(ident) => std::slice::from_ref(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.as_slice(),
            ast::Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(PROCTIME) => {
                call.name = ast::ObjectName::from(vec![ast::Ident::with_span(call.name.span(), "PROCTIME")]);
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        match self.qualified(parts) {
            Ok(parts) => *expr = ast::Expr::CompoundIdentifier(parts),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
        ControlFlow::Continue(())
    }
}
