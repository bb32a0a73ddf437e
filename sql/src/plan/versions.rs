//! `JOIN t FOR SYSTEM_TIME AS OF x`: DataFusion's planner would forget the version, so it travels as part of the condition,
//! a call that lowering takes out again. So does the MATCH_CONDITION of an ASOF join.

use arrow_schema::DataType;
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint, JoinOperator, Spanned,
    TableFactor, TableVersion, TableWithJoins,
};

use super::error::PlanError;
use super::rewrite::take;
use crate::parse::ASOF_LEFT;
use crate::parse::call;

/// Names of the functions.
pub(super) const VERSION: &str = "row_version";
const AS_OF: &str = "as_of";

/// The function of that name.
pub(super) fn function(name: &str) -> Option<ScalarUDF> {
    let name = [VERSION, AS_OF].into_iter().find(|known| *known == name)?;
    Some(ScalarUDF::from(OfJoin { name, signature: Signature::any(1, Volatility::Immutable) }))
}

/// The time of the version that a condition asks for.
pub(crate) fn as_version(condition: &Expr) -> Option<&Expr> {
    argument(condition, VERSION)
}

/// The MATCH_CONDITION that a condition is.
pub(crate) fn as_match(condition: &Expr) -> Option<&Expr> {
    argument(condition, AS_OF)
}

fn argument<'a>(condition: &'a Expr, name: &str) -> Option<&'a Expr> {
    match condition {
        Expr::ScalarFunction(call) if call.func.name() == name => call.args.first(),
        _ => None,
    }
}

/// `a ASOF [LEFT] JOIN b MATCH_CONDITION (…) ON …` as a join with one condition more.
pub(super) fn plain_asof(operator: &mut JoinOperator) {
    let JoinOperator::AsOf { match_condition, constraint } = operator else { return };
    let left = asof_left(match_condition).map(take);
    let is_left = left.is_some();
    let condition = left.unwrap_or_else(|| take(match_condition));
    let span = condition.span();
    let matches = call(AS_OF, vec![condition], span);
    let on = JoinConstraint::On(match std::mem::replace(constraint, JoinConstraint::None) {
        JoinConstraint::On(on) => and(on, matches),
        _ => matches,
    });
    *operator = if is_left { JoinOperator::LeftOuter(on) } else { JoinOperator::Inner(on) };
}

/// What stands in `__ASOF_LEFT(…)`.
fn asof_left(condition: &mut ast::Expr) -> Option<&mut ast::Expr> {
    let ast::Expr::Function(function) = condition else { return None };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))]
            if function.name.to_string() == ASOF_LEFT =>
        {
            Some(condition)
        }
        _ => None,
    }
}

/// Refuses what an ASOF join cannot be.
pub(super) fn check_asof(operator: &JoinOperator) -> Result<(), PlanError> {
    match operator {
        JoinOperator::AsOf { constraint: JoinConstraint::On(_) | JoinConstraint::None, .. } => Ok(()),
        JoinOperator::AsOf { match_condition, .. } => {
            Err(PlanError::at("an ASOF join takes ON", match_condition.span())
                .remedy("write a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key"))
        }
        _ => Ok(()),
    }
}

/// `one AND other`.
pub(super) fn and(one: ast::Expr, other: ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp {
        left: Box::new(ast::Expr::Nested(Box::new(one))),
        op: ast::BinaryOperator::And,
        right: Box::new(other),
    }
}

/// A table of `from` with a version that stands where none can: anywhere but in a join with a condition.
pub(super) fn misplaced(from: &[TableWithJoins]) -> Option<(&TableFactor, PlanError)> {
    let versioned = |factor: &TableFactor| matches!(factor, TableFactor::Table { version: Some(_), .. });
    let has_condition = |operator: &JoinOperator| constraint(operator).is_some();
    let first = from.iter().map(|from| &from.relation).find(|factor| versioned(factor));
    let joined = from.iter().flat_map(|from| &from.joins);
    let without = joined
        .filter(|join| versioned(&join.relation) && !has_condition(&join.join_operator))
        .map(|join| &join.relation);
    let factor = first.or(without.into_iter().next())?;
    let error = PlanError::new("FOR SYSTEM_TIME AS OF stands at the right of a join that has ON");
    Some((factor, error.remedy("write FROM a JOIN t FOR SYSTEM_TIME AS OF a.ts ON a.key = t.key")))
}

/// The condition of a join that has one.
pub(super) fn constraint(operator: &JoinOperator) -> Option<&sqlparser::ast::Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Right(JoinConstraint::On(on))
        | JoinOperator::RightOuter(JoinConstraint::On(on))
        | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
        _ => None,
    }
}

/// As [`constraint`].
pub(super) fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut sqlparser::ast::Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Right(JoinConstraint::On(on))
        | JoinOperator::RightOuter(JoinConstraint::On(on))
        | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
        _ => None,
    }
}

/// Takes the version off a table.
pub(super) fn take_version(factor: &mut TableFactor) -> Option<sqlparser::ast::Expr> {
    let TableFactor::Table { version, .. } = factor else { return None };
    match version.take() {
        Some(TableVersion::ForSystemTimeAsOf(time)) => Some(time),
        other => {
            *version = other;
            None
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfJoin {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for OfJoin {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        not_impl_err!("a version is found by a join")
    }
}
