//! `FROM t CROSS JOIN UNNEST(t.list) AS item (name, …)`: what stands left of it is read by it, which DataFusion's planner does
//! not know of UNNEST. `LATERAL TABLE(f(t.x)) AS item (name, …)` is the same, of the list that a function returns.
//!
//! Before planning, everything left of one is put into parentheses together with it; the planner of relations
//! then plans that, and an [`UnnestNode`] over it. With nothing left of it, a row without columns is there. Lowering makes
//! the operator of the node. Flink: LogicalUnnestRule, StreamPhysicalCorrelate.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::logical_plan::{Extension, UserDefinedLogicalNodeCore};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use millstream_operators::item_fields;
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, Spanned, TableAlias, TableFactor,
    TableWithJoins, Value,
};

use sqlparser::tokenizer::Span;

use super::error::PlanError;

/// An UNNEST in a logical plan: the input's columns, and those of an item.
#[derive(Debug, Clone)]
pub(crate) struct UnnestNode {
    pub input: LogicalPlan,
    /// The list or map, over the input's columns.
    pub list: Expr,
    /// A row without items stays.
    pub outer: bool,
    /// An item's place is the last column.
    pub ordinality: bool,
    /// What its columns are called, as far as that is said.
    names: Vec<String>,
    alias: Option<String>,
    schema: DFSchemaRef,
}

impl UnnestNode {
    fn new(
        input: LogicalPlan,
        list: Expr,
        (outer, ordinality): (bool, bool),
        names: Vec<String>,
        alias: Option<String>,
    ) -> Result<Self> {
        let mut items = item_fields(&list.get_type(input.schema())?)
            .map_err(|error| PlanError::new(error.message().to_owned()))?
            .iter()
            .map(|item| item.as_ref().clone())
            .collect::<Vec<Field>>();
        if ordinality {
            items.push(Field::new("ORDINALITY", DataType::Int32, true));
        }
        if names.len() > items.len() {
            return Err(PlanError::new(format!(
                "UNNEST gives {} here, and {} are named",
                match items.len() {
                    1 => "1 column".to_owned(),
                    more => format!("{more} columns"),
                },
                names.len()
            ))
            .remedy("name as many as an item has: one, a ROW's fields, or a map's key and value")
            .into());
        }
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        let qualifier = alias.as_ref().map(|alias| TableReference::bare(alias.as_str()));
        let single = items.len() - usize::from(ordinality) == 1;
        for (index, item) in items.into_iter().enumerate() {
            let name = match names.get(index) {
                Some(name) => name.clone(),
                // An item of its own has no name; Flink calls it so.
                None if single && index == 0 && item.name() == Field::LIST_FIELD_DEFAULT_NAME => {
                    "EXPR$0".into()
                }
                None => item.name().clone(),
            };
            fields.push((qualifier.clone(), Arc::new(item.with_name(name).with_nullable(true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Self { input, list, outer, ordinality, names, alias, schema })
    }

    fn identity(&self) -> (&LogicalPlan, &Expr, bool, bool, &[String], &Option<String>) {
        (&self.input, &self.list, self.outer, self.ordinality, &self.names, &self.alias)
    }
}

impl PartialEq for UnnestNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for UnnestNode {}

impl Hash for UnnestNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for UnnestNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.identity().partial_cmp(&other.identity())
    }
}

impl UserDefinedLogicalNodeCore for UnnestNode {
    fn name(&self) -> &str {
        "Unnest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.list.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnest: {}", self.list)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(list), Some(input)) = (exprs.pop(), inputs.pop()) else {
            return Err(PlanError::new("UNNEST has an input and a list").into());
        };
        Self::new(input, list, (self.outer, self.ordinality), self.names.clone(), self.alias.clone())
    }
}

/// True for an UNNEST, and for a LATERAL TABLE(function).
pub(super) fn is_unnest(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, args: Some(_), .. } if name.to_string().eq_ignore_ascii_case("UNNEST"))
        || is_lateral(factor)
}

fn is_lateral(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Function { lateral: true, name, .. } if name.to_string().eq_ignore_ascii_case("TABLE"))
}

/// What stands in an UNNEST or a LATERAL TABLE, and what its items are called.
struct Lists {
    /// As it is called in messages.
    name: &'static str,
    span: Span,
    list: ast::Expr,
    alias: Option<TableAlias>,
    ordinality: bool,
}

impl Lists {
    fn of(factor: TableFactor) -> Result<Self, PlanError> {
        let span = factor.span();
        let (name, takes, remedy, arguments, alias, ordinality) = match factor {
            TableFactor::Function { args, alias, with_ordinality, .. } => {
                if with_ordinality {
                    let wrong = "LATERAL TABLE has no WITH ORDINALITY";
                    return Err(PlanError::at(wrong, span)
                        .remedy("write CROSS JOIN UNNEST(f(t.x)) WITH ORDINALITY AS item (name, place)"));
                }
                let remedy = "write LATERAL TABLE(f(t.x)) AS item (name)";
                ("LATERAL TABLE", "one function", remedy, args, alias, false)
            }
            TableFactor::Table { args, alias, with_ordinality, .. } => {
                let arguments = args.map(|arguments| arguments.args).unwrap_or_default();
                ("UNNEST", "one list or map", "write UNNEST(t.list)", arguments, alias, with_ordinality)
            }
            _ => return Err(PlanError::at("UNNEST or LATERAL TABLE is expected here", span)),
        };
        match <[FunctionArg; 1]>::try_from(arguments) {
            Ok([FunctionArg::Unnamed(FunctionArgExpr::Expr(list))])
                if name == "UNNEST" || matches!(list, ast::Expr::Function(_)) =>
            {
                Ok(Self { name, span, list, alias, ordinality })
            }
            Ok([FunctionArg::Unnamed(FunctionArgExpr::Expr(_))]) => {
                Err(PlanError::at(format!("{name} takes a function"), span).remedy(remedy))
            }
            _ => Err(PlanError::at(format!("{name} takes {takes}"), span).remedy(remedy)),
        }
    }

    /// The node over `input`.
    fn over(
        self,
        input: LogicalPlan,
        outer: bool,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let list = context.sql_to_expr(self.list, input.schema())?;
        let names = self.alias.iter().flat_map(|alias| &alias.columns);
        let names = names.map(|column| column.name.value.clone()).collect();
        let alias = self.alias.map(|alias| alias.name.value);
        let node = UnnestNode::new(input, list, (outer, self.ordinality), names, alias).map_err(|error| {
            let PlanError { message, remedy, .. } = PlanError::from(error);
            let lists = "a function that returns an ARRAY gives a row for each item, and a column for each field of a ROW";
            let remedy = remedy.or_else(|| (self.name != "UNNEST").then(|| lists.to_owned()));
            PlanError { message: message.replace("UNNEST", self.name), span: Some(self.span), remedy }
        })?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

/// Puts each UNNEST of a FROM into parentheses with all that stands left of it.
pub(super) fn gather(from: &mut Vec<TableWithJoins>) {
    // A comma joins as CROSS JOIN does.
    for index in (1..from.len()).rev() {
        if is_unnest(&from[index].relation) {
            let TableWithJoins { relation, joins } = from.remove(index);
            let before = &mut from[index - 1].joins;
            before.push(Join {
                relation,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            });
            before.extend(joins);
        }
    }
    for table in from {
        while let Some(place) = table.joins.iter().position(|join| is_unnest(&join.relation)) {
            let behind = table.joins.split_off(place + 1);
            let relation = TableFactor::NestedJoin { table_with_joins: Box::new(table.clone()), alias: None };
            *table = TableWithJoins { relation, joins: behind };
        }
    }
}

/// Plans what [`gather`] put together.
#[derive(Debug)]
pub(super) struct UnnestPlanner;

impl RelationPlanner for UnnestPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let mut nested = match relation {
            TableFactor::NestedJoin { table_with_joins, alias: None } => table_with_joins,
            other if is_unnest(&other) => {
                let lists = Lists::of(other)?;
                let input = LogicalPlanBuilder::empty(true).build()?;
                return planned(lists.over(input, false, context)?);
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let Some(join) = nested.joins.pop_if(|join| is_unnest(&join.relation)) else {
            let relation = TableFactor::NestedJoin { table_with_joins: nested, alias: None };
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let left = match nested.joins.is_empty() {
            true => nested.relation,
            false => TableFactor::NestedJoin { table_with_joins: nested, alias: None },
        };
        let lists = Lists::of(join.relation)?;
        let (name, span) = (lists.name, lists.span);
        let input = context.plan(left)?;
        let (outer, condition) = match join.join_operator {
            JoinOperator::CrossJoin(_) => (false, None),
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (false, on(constraint)),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (true, on(constraint)),
            _ => {
                let wrong = format!("{name} is joined by CROSS, INNER or LEFT JOIN");
                return Err(PlanError::at(wrong, span).remedy(format!("write CROSS JOIN {name}(…)")).into());
            }
        };
        let condition = condition.filter(|condition| !is_true(condition));
        if outer && condition.is_some() {
            let wrong = format!("LEFT JOIN {name} has no condition but TRUE");
            let remedy = format!("write LEFT JOIN {name}(…) AS item ON TRUE, and filter in WHERE");
            return Err(PlanError::at(wrong, span).remedy(remedy).into());
        }
        let mut plan = lists.over(input, outer, context)?;
        if let Some(condition) = condition {
            let condition = context.sql_to_expr(condition, plan.schema())?;
            plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?;
        }
        planned(plan)
    }
}

fn planned(plan: LogicalPlan) -> Result<RelationPlanning> {
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
}

fn on(constraint: JoinConstraint) -> Option<ast::Expr> {
    match constraint {
        JoinConstraint::On(condition) => Some(condition),
        _ => None,
    }
}

fn is_true(condition: &ast::Expr) -> bool {
    match condition {
        ast::Expr::Value(value) => value.value == Value::Boolean(true),
        ast::Expr::Nested(inner) => is_true(inner),
        _ => false,
    }
}
