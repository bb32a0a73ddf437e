//! `JOIN t FOR SYSTEM_TIME AS OF x`: DataFusion's planner would forget the version, so it travels as part of the condition,
//! a call that lowering takes out again.

use arrow_schema::DataType;
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::{JoinConstraint, JoinOperator, TableFactor, TableVersion, TableWithJoins};

use super::error::PlanError;

/// Name of the function.
pub(super) const NAME: &str = "row_version";

/// The function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(RowVersion { signature: Signature::any(1, Volatility::Immutable) })
}

/// The time of the version that a condition asks for.
pub(crate) fn as_version(condition: &Expr) -> Option<&Expr> {
    match condition {
        Expr::ScalarFunction(call) if call.func.name() == NAME => call.args.first(),
        _ => None,
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
struct RowVersion {
    signature: Signature,
}

impl ScalarUDFImpl for RowVersion {
    fn name(&self) -> &str {
        NAME
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
