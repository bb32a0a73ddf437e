//! EXTRACT(unit FROM x), YEAR(x) and its kin.
//!
//! Moments before 1970 are cut towards zero, as in Flink: the hour of 1969-12-31 23:00 is -1, its day January 1.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::calendar::{DAY_MS, Unit, date_field};
use super::columns::{Interval, Moments, Sort};
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
    let named = |name: &'static str, usage, about, unit: Unit| {
        let kernel = move |call: &Call<'_>| extract(call, 0, unit, zone);
        Function::new(Subject::Time, name, usage, about, &[Kind::Any], DataType::Int64, kernel)
            .checks(move |given: &Given<'_>| check(unit, &given.types[0]))
            .build()
    };
    let kernel = move |call: &Call<'_>| extract(call, 1, unit_named(constant_text(call, 0))?, zone);
    vec![
        Function::new(
            Subject::Time,
            "extract_field",
            "EXTRACT(unit FROM temporal)",
            "A field of a date, time, timestamp or interval: YEAR, QUARTER, MONTH, WEEK, DAY, DOY, DOW, ISODOW, ISOYEAR, \
             HOUR, MINUTE, SECOND, MILLISECOND, MICROSECOND, NANOSECOND, EPOCH, DECADE, CENTURY, MILLENNIUM.",
            &[Kind::Text, Kind::Any],
            DataType::Int64,
            kernel,
        )
        .checks(|given| check(unit_named(given.text(0))?, &given.types[1]))
        .build(),
        named("year", "YEAR(date)", "The year.", Unit::Year),
        named("quarter", "QUARTER(date)", "The quarter of the year, 1 to 4.", Unit::Quarter),
        named("month", "MONTH(date)", "The month of the year, 1 to 12.", Unit::Month),
        named("week", "WEEK(date)", "The ISO week of the year, 1 to 53.", Unit::Week),
        named("dayofyear", "DAYOFYEAR(date)", "The day of the year, 1 to 366.", Unit::DayOfYear),
        named("dayofmonth", "DAYOFMONTH(date)", "The day of the month, 1 to 31.", Unit::Day),
        named("dayofweek", "DAYOFWEEK(date)", "The day of the week, 1 (Sunday) to 7.", Unit::DayOfWeek),
        named("hour", "HOUR(timestamp)", "The hour of the day, 0 to 23.", Unit::Hour),
        named("minute", "MINUTE(timestamp)", "The minute of the hour, 0 to 59.", Unit::Minute),
        named("second", "SECOND(timestamp)", "The second of the minute, 0 to 59.", Unit::Second),
    ]
}

fn check(unit: Unit, data_type: &DataType) -> Result<(), PlanError> {
    let name = unit.name();
    match Sort::of(data_type) {
        None => Err(PlanError::new(format!("there is no {name} in {}", type_name(data_type)))
            .remedy("EXTRACT reads DATE, TIME, TIMESTAMP, TIMESTAMP_LTZ and INTERVAL; make one with TO_TIMESTAMP or CAST")),
        Some(Sort::Time) if unit.is_of_date() => {
            Err(PlanError::new(format!("there is no {name} in TIME"))
                .remedy("a TIME has HOUR, MINUTE, SECOND and MILLISECOND"))
        }
        Some(Sort::Interval)
            if !matches!(
                unit,
                Unit::Year | Unit::Quarter | Unit::Month | Unit::Day | Unit::Hour | Unit::Minute | Unit::Second
                    | Unit::Millisecond | Unit::Epoch
            ) =>
        {
            Err(PlanError::new(format!("there is no {name} in INTERVAL"))
                .remedy("an INTERVAL has YEAR and MONTH, or DAY, HOUR, MINUTE and SECOND"))
        }
        Some(_) => Ok(()),
    }
}

fn extract(call: &Call<'_>, index: usize, unit: Unit, zone: Zone) -> Result<ArrayRef> {
    let moments = Moments::of(call, index)?;
    let sort = moments.sort;
    let of = |row: usize| match sort {
        Sort::Interval => moments.interval(row).and_then(|interval| of_interval(unit, interval)),
        Sort::Local => moments
            .get(row)
            .and_then(|moment| of_moment(unit, Moment { ms: zone.to_local(moment.ms), ..moment })),
        _ => moments.get(row).and_then(|moment| of_moment(unit, moment)),
    };
    Ok(Arc::new((0..call.rows).map(of).collect::<Int64Array>()))
}

fn of_moment(unit: Unit, moment: Moment) -> Option<i64> {
    let Moment { ms, nanos } = moment;
    Some(match unit {
        Unit::Hour => ms % DAY_MS / 3_600_000,
        Unit::Minute => ms % 3_600_000 / 60_000,
        Unit::Second => ms % 60_000 / 1_000,
        Unit::Millisecond => ms % 1_000,
        Unit::Microsecond => ms % 1_000 * 1_000 + nanos / 1_000,
        Unit::Nanosecond => ms % 1_000 * 1_000_000 + nanos,
        Unit::Epoch => ms / 1_000,
        _ => return date_field(unit, ms / DAY_MS),
    })
}

fn of_interval(unit: Unit, interval: Interval) -> Option<i64> {
    let Interval { months, ms } = interval;
    Some(match unit {
        Unit::Year => months / 12,
        Unit::Quarter => (months % 12 - 1) / 3 + 1,
        Unit::Month => months % 12,
        Unit::Day => ms / DAY_MS,
        _ => return of_moment(unit, Moment { ms, nanos: 0 }),
    })
}
