//! GROUPING SETS, ROLLUP and CUBE: which expressions an aggregation groups by, in which sets, and GROUPING_ID.
//!
//! With sets the rows in front of the aggregation are expanded, once a set, and the set's number is one more key. Flink:
//! FlinkAggregateExpandGroupingSetsRule.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::GroupingSet;
use datafusion_expr::utils::{grouping_set_to_exprlist, powerset};
use datafusion_expr::{BinaryExpr, Expr, Operator, lit};

use super::build::bind_all;
use super::columns::column;
use super::rel::{Rel, RelKind};
use super::window::unaliased;
use crate::functions::FunctionContext;
use crate::plan::aggregates::is_grouping;
use crate::plan::error::PlanError;

/// Keys of which sets may be made: the bits of a set's number.
const KEYS_MAX: usize = 32;

/// What an aggregation groups by.
pub(super) struct Grouping {
    /// The expressions, each once, over the columns of the input.
    pub exprs: Vec<Expr>,
    /// Of each set, by which of them it groups; none for all of them at once.
    sets: Option<Vec<Vec<bool>>>,
    /// The key that each expression became; none for what is no key of its own.
    pub keys: Vec<Option<usize>>,
    /// The key that holds the set's number.
    number: Option<usize>,
}

impl Grouping {
    pub fn of(
        plan: &datafusion_expr::logical_plan::Aggregate,
        input: &Rel,
        functions: &FunctionContext,
    ) -> Result<Self, PlanError> {
        let all: Vec<Expr> = grouping_set_to_exprlist(&plan.group_expr)?.into_iter().cloned().collect();
        let sets = match plan.group_expr.as_slice() {
            [Expr::GroupingSet(set)] => {
                let sets: Vec<Vec<&Expr>> = match set {
                    GroupingSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
                    GroupingSet::Rollup(exprs) => {
                        (0..=exprs.len()).rev().map(|until| exprs[..until].iter().collect()).collect()
                    }
                    GroupingSet::Cube(exprs) => powerset(exprs)?,
                };
                let of = |set: &Vec<&Expr>| all.iter().map(|expr| set.contains(&expr)).collect();
                Some(sets.iter().map(of).collect())
            }
            _ => None,
        };
        let exprs = bind_all(&all, &plan.input, input, functions)?;
        Ok(Self { keys: vec![None; exprs.len()], exprs, sets, number: None })
    }

    /// The plan's fields of what is grouped by.
    pub fn fields(&self, plan: &datafusion_expr::logical_plan::Aggregate) -> Vec<FieldRef> {
        plan.schema.fields().iter().take(self.exprs.len()).cloned().collect()
    }

    pub fn has_sets(&self) -> bool {
        self.sets.is_some()
    }

    /// The rows in front of the aggregation and their keys, for each set.
    pub fn expanded(&self, input: Rel, keys: Vec<usize>) -> Result<(Rel, Vec<usize>), PlanError> {
        let Some(sets) = &self.sets else { return Ok((input, keys)) };
        if keys.len() > KEYS_MAX {
            let message =
                format!("grouping sets are of at most {KEYS_MAX} columns, and these of {}", keys.len());
            return Err(PlanError::new(message).remedy("write two queries, put together with UNION ALL"));
        }
        for set in sets {
            if self.keys.iter().zip(set).any(|(key, groups)| key.is_none() && !groups) {
                return Err(PlanError::new("window_start and window_end belong into every grouping set")
                    .remedy("write GROUP BY window_start, window_end, ROLLUP (a, b)"));
            }
        }
        let groups_by = |set: &Vec<bool>, key: usize| {
            self.keys.iter().zip(set).any(|(of, groups)| *of == Some(key) && *groups)
        };
        let sets = sets.iter().map(|set| (0..keys.len()).map(|key| groups_by(set, key)).collect()).collect();
        let width = input.fields.len();
        let mut fields = input.fields.clone();
        let copy = |key: &usize| Arc::new(input.fields[*key].as_ref().clone().with_nullable(true));
        fields.extend(keys.iter().map(copy));
        fields.push(Arc::new(Field::new("grouping_set", DataType::Int64, false)));
        let expanded: Vec<usize> = (width..=width + keys.len()).collect();
        let kind = RelKind::Expand { input: Box::new(input), keys, sets };
        Ok((Rel { kind, fields }, expanded))
    }

    /// There are so many keys. Answers what stands for the column that the planner puts behind what is grouped by, where
    /// there are sets.
    pub fn settle(
        &mut self,
        keys: usize,
        plan: &datafusion_expr::logical_plan::Aggregate,
    ) -> Result<Option<Expr>, PlanError> {
        if self.sets.is_none() {
            return Ok(None);
        }
        self.number = Some(keys);
        let kind = plan.schema.field(self.exprs.len()).data_type();
        Ok(Some(Expr::Literal(ScalarValue::new_zero(kind)?, None)))
    }

    /// GROUPING and GROUPING_ID over the aggregation's keys: a bit for each argument, 1 where the row's set does not group
    /// by it. None for other functions.
    pub fn bits(
        &self,
        expr: &Expr,
        plan: &datafusion_expr::logical_plan::Aggregate,
        input: &Rel,
        functions: &FunctionContext,
    ) -> Result<Option<Expr>, PlanError> {
        let Expr::AggregateFunction(function) = unaliased(expr) else { return Ok(None) };
        if !is_grouping(&function.func) {
            return Ok(None);
        }
        let arguments = bind_all(&function.params.args, &plan.input, input, functions)?;
        let mut sum: Option<Expr> = None;
        for argument in &arguments {
            let at = self.exprs.iter().position(|expr| expr == argument).ok_or_else(|| {
                PlanError::new("GROUPING is about what the query groups by")
                    .remedy("name columns of GROUP BY: GROUPING_ID(a, b)")
            })?;
            let binary = |left: Expr, op: Operator, right: i64| {
                Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(lit(right))))
            };
            let bit = match (self.number, self.keys[at]) {
                (Some(number), Some(key)) => {
                    let shifted = binary(column(number), Operator::BitwiseShiftRight, key as i64);
                    binary(shifted, Operator::BitwiseAnd, 1)
                }
                _ => lit(0_i64),
            };
            sum = Some(match sum {
                Some(sum) => binary(sum, Operator::Multiply, 2) + bit,
                None => bit,
            });
        }
        Ok(Some(sum.unwrap_or_else(|| lit(0_i64))))
    }
}
