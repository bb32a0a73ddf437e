//! Aggregate functions as the planner sees them: names and result types. What they do is in the operators crate.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use datafusion_common::{Result, ScalarValue, not_impl_err, plan_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use millstream_operators::aggregate::{Custom, Fractions};
use millstream_operators::{AggregateFunction, AggregateKind};

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
    ("listagg", AggregateKind::ListAgg(Cow::Borrowed(","))),
    ("array_agg", AggregateKind::ArrayAgg),
    ("collect", AggregateKind::Collect),
    ("approx_count_distinct", AggregateKind::ApproxCountDistinct),
];

/// The aggregate that is asked for values of some ranks.
type OfFractions = fn(Fractions) -> AggregateKind;

/// Those whose second argument says which values are asked for.
const PERCENTILES: &[(&str, OfFractions)] =
    &[("percentile", AggregateKind::Percentile), ("approx_percentile", AggregateKind::ApproxPercentile)];

/// Functions that say by which grouping set a row is.
const GROUPING: [&str; 2] = ["grouping", "grouping_id"];

/// All of them, by lower-case name.
pub(super) fn aggregates() -> impl Iterator<Item = (&'static str, Arc<AggregateUDF>)> {
    let grouping = GROUPING.iter().map(|name| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        (*name, Arc::new(AggregateUDF::from(Grouping { name, signature })))
    });
    // Until its call is lowered, a percentile is the median.
    let median = Fractions::new(&[0.5], false).ok();
    let percentiles = PERCENTILES
        .iter()
        .filter_map(move |(name, kind)| Some((*name, planned(name, kind(median.clone()?)))));
    NAMES.iter().map(|(name, kind)| (*name, planned(name, kind.clone()))).chain(percentiles).chain(grouping)
}

/// True for GROUPING and GROUPING_ID, which are no aggregates but stand where those do.
pub(crate) fn is_grouping(function: &AggregateUDF) -> bool {
    GROUPING.contains(&function.name())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Grouping {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Grouping {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is read from the set's number", self.name)
    }
}

/// A function of the program's own.
pub(super) fn custom(function: Arc<dyn AggregateFunction>) -> Arc<AggregateUDF> {
    planned(&function.name().to_ascii_lowercase(), AggregateKind::Custom(Custom(Arc::clone(&function))))
}

fn planned(name: &str, kind: AggregateKind) -> Arc<AggregateUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(AggregateUDF::from(Planned { name: name.to_owned(), kind, signature }))
}

/// Which aggregate a planned function is.
pub(crate) fn kind_of(function: &AggregateUDF) -> Option<AggregateKind> {
    (function.inner().as_ref() as &dyn Any).downcast_ref::<Planned>().map(|planned| planned.kind.clone())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: String,
    kind: AggregateKind,
    signature: Signature,
}

impl AggregateUDFImpl for Planned {
    fn name(&self) -> &str {
        &self.name
    }

    /// What it is of no rows: subqueries that become joins have it where nothing matches.
    fn default_value(&self, kind: &DataType) -> Result<ScalarValue> {
        match self.kind {
            AggregateKind::Count | AggregateKind::ApproxCountDistinct => ScalarValue::new_zero(kind),
            _ => ScalarValue::try_from(kind),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let is_percentile =
            matches!(self.kind, AggregateKind::Percentile(_) | AggregateKind::ApproxPercentile(_));
        match arguments {
            [argument, fraction] if is_percentile => {
                self.kind.output_type(argument).map_err(|error| match argument {
                    DataType::Struct(_) => PlanError::new(format!(
                        "{} takes a number, a fraction, and how often the number counts, a whole number",
                        self.kind.name()
                    ))
                    .remedy("write PERCENTILE(v, 0.95, n)"),
                    _ => PlanError::from(error),
                })?;
                let is_list = matches!(fraction, DataType::List(_));
                let item = Arc::new(Field::new("item", DataType::Float64, true));
                Ok(if is_list { DataType::List(item) } else { DataType::Float64 })
            }
            [argument, _] if matches!(self.kind, AggregateKind::ListAgg(_)) => {
                self.kind.output_type(argument).map_err(|error| PlanError::from(error).into())
            }
            [argument] if !is_percentile => {
                self.kind.output_type(argument).map_err(|error| PlanError::from(error).into())
            }
            _ if is_percentile => {
                let name = self.kind.name();
                Err(PlanError::new(format!("'{name}' takes a number and a fraction"))
                    .remedy(format!(
                        "write {name}(v, 0.95){}",
                        if name == "PERCENTILE" {
                            ", or PERCENTILE(v, 0.95, n), where v counts n times"
                        } else {
                            ""
                        }
                    ))
                    .into())
            }
            _ => plan_err!("'{}' takes one argument, found {}", self.kind.name(), arguments.len()),
        }
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("aggregates run as operators")
    }
}
