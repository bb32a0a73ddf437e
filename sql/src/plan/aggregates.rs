//! Aggregate functions as the planner sees them: names and result types. What they do is in the operators crate.

use std::any::Any;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_common::{Result, not_impl_err, plan_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use millstream_operators::AggregateKind;

use super::error::PlanError;

/// SQL names of the aggregate functions.
const NAMES: &[(&str, AggregateKind)] = &[
    ("count", AggregateKind::Count),
    ("sum", AggregateKind::Sum),
    ("min", AggregateKind::Min),
    ("max", AggregateKind::Max),
    ("avg", AggregateKind::Avg),
    ("stddev_pop", AggregateKind::StddevPop),
    ("stddev_samp", AggregateKind::StddevSamp),
    ("stddev", AggregateKind::StddevSamp),
    ("var_pop", AggregateKind::VarPop),
    ("var_samp", AggregateKind::VarSamp),
    ("variance", AggregateKind::VarSamp),
    ("first_value", AggregateKind::FirstValue),
    ("last_value", AggregateKind::LastValue),
];

/// All of them, by lower-case name.
pub(super) fn aggregates() -> impl Iterator<Item = (&'static str, Arc<AggregateUDF>)> {
    NAMES.iter().map(|&(name, kind)| (name, Arc::new(AggregateUDF::from(Planned::new(name, kind)))))
}

pub(crate) fn is_aggregate(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Which aggregate a planned function is.
pub(crate) fn kind_of(function: &AggregateUDF) -> Option<AggregateKind> {
    (function.inner().as_ref() as &dyn Any).downcast_ref::<Planned>().map(|planned| planned.kind)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    kind: AggregateKind,
    signature: Signature,
}

impl Planned {
    fn new(name: &'static str, kind: AggregateKind) -> Self {
        Self { name, kind, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [argument] => self.kind.output_type(argument).map_err(|error| PlanError::from(error).into()),
            _ => plan_err!("'{}' takes one argument, found {}", self.kind.name(), arguments.len()),
        }
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("aggregates run as operators")
    }
}
