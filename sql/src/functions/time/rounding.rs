//! FLOOR(x TO unit) and CEIL(x TO unit).
//!
//! A TIMESTAMP_LTZ is rounded on the clocks of the session's zone, with the zone's offset at the time itself (not at
//! the result), as in Flink: on the day of a change of clocks the result is an hour off midnight.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::calendar::{DAY_MS, Unit, round_date};
use super::columns::{Moments, Sort, collect};
use super::formatter::Moment;
use super::zone::Zone;
use super::{constant_text, unit_named};
use crate::functions::FunctionContext;
use crate::functions::call::Call;
use crate::functions::function::{Function, Given, Kind, Subject};
use crate::functions::type_name;
use crate::plan::error::PlanError;

pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    let zone = Zone::of(context.time_zone);
    let function = |name: &'static str, usage, about, up: bool| {
        let kernel = move |call: &Call<'_>| round(call, zone, up);
        Function::new(Subject::Time, name, usage, about, &[Kind::Text, Kind::Any], DataType::Null, kernel)
            .returns(|given| Some(given.types[1].clone()))
            .checks(check)
            .build()
    };
    vec![
        function(
            "floor_time",
            "FLOOR(temporal TO unit)",
            "The beginning of the unit that a time is in.",
            false,
        ),
        function(
            "ceil_time",
            "CEIL(temporal TO unit)",
            "A time, or the beginning of the unit after it.",
            true,
        ),
    ]
}

fn check(given: &Given<'_>) -> Result<(), PlanError> {
    let unit = unit_named(given.text(0))?;
    let sort = Sort::of(&given.types[1]).filter(|sort| *sort != Sort::Interval);
    let rounds = match (sort, unit.ms(), unit.months()) {
        (None, ..) => {
            return Err(PlanError::new(format!(
                "{} cannot be rounded to a unit of time",
                type_name(&given.types[1])
            ))
            .remedy("FLOOR(x TO unit) takes DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ"));
        }
        (Some(Sort::Time), Some(ms), _) => ms < DAY_MS,
        (Some(Sort::Time), None, _) => false,
        (_, ms, months) => ms.is_some() || months.is_some(),
    };
    if rounds {
        return Ok(());
    }
    Err(PlanError::new(format!("{} cannot be rounded to '{}'", type_name(&given.types[1]), unit.name())).remedy(
        "units are MILLISECOND, SECOND, MINUTE and HOUR; of dates also DAY, WEEK, MONTH, QUARTER, YEAR, DECADE, CENTURY \
         and MILLENNIUM",
    ))
}

fn round(call: &Call<'_>, zone: Zone, up: bool) -> Result<ArrayRef> {
    let unit = unit_named(constant_text(call, 0))?;
    let moments = Moments::of(call, 1)?;
    let sort = moments.sort;
    if sort == Sort::Null {
        return Ok(arrow_array::new_null_array(call.returns, call.rows));
    }
    collect(call.returns, call.rows, |row| {
        let ms = moments.get(row)?.ms;
        let by_zone = sort == Sort::Local && (unit.months().is_some() || unit.ms() >= Some(3_600_000));
        let offset = if by_zone { zone.offset_ms(ms) } else { 0 };
        Some(Moment { ms: one(sort, unit, ms.saturating_add(offset), up)?.saturating_sub(offset), nanos: 0 })
    })
}

fn one(sort: Sort, unit: Unit, ms: i64, up: bool) -> Option<i64> {
    let length = match (sort, unit) {
        (Sort::Date, _) if unit.ms().is_some_and(|length| length < DAY_MS) => return Some(ms),
        (Sort::Date, Unit::Day) | (_, Unit::Week) => None,
        _ => unit.ms(),
    };
    match length {
        Some(length) => {
            let down = ms.div_euclid(length).saturating_mul(length);
            Some(if up && down < ms { down.saturating_add(length) } else { down })
        }
        None => Some(round_date(unit, ms / DAY_MS, up)?.saturating_mul(DAY_MS)),
    }
}
