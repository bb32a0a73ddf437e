//! TIMESTAMPADD, TIMESTAMPDIFF, OVERLAPS, and what `+`, `-` and `*` mean for TIME and INTERVAL.

use std::sync::Arc;

use arrow_array::types::IntervalMonthDayNano;
use arrow_array::{ArrayRef, Int32Array, IntervalMonthDayNanoArray};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::calendar::{DAY_MS, Unit, add_months, months_between};
use super::columns::{Moments, Numbers, Sort, collect};
use super::formatter::Moment;
use super::{constant_text, unit_named};
use crate::functions::call::Call;
use crate::functions::function::{Function, Given, Kind, Subject};
use crate::functions::type_name;
use crate::plan::error::PlanError;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new(
            Subject::Time,
            "timestampadd",
            "TIMESTAMPADD(unit, count, timepoint)",
            "A timepoint moved by units of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR.",
            &[Kind::Text, Kind::Whole, Kind::Any],
            DataType::Null,
            add,
        )
        .returns(|given| Some(sum_type(given.text(0), &given.types[2])))
        .checks(|given| check_unit(given).and_then(|()| check_point("TIMESTAMPADD", &given.types[2])))
        .build(),
        Function::new(
            Subject::Time,
            "timestampdiff",
            "TIMESTAMPDIFF(unit, from, to)",
            "How many whole units of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR lie between two timepoints.",
            &[Kind::Text, Kind::Any, Kind::Any],
            DataType::Int32,
            difference,
        )
        .checks(|given| {
            check_unit(given)?;
            check_point("TIMESTAMPDIFF", &given.types[1])?;
            check_point("TIMESTAMPDIFF", &given.types[2])?;
            same_sort("TIMESTAMPDIFF", &given.types[1..])
        })
        .build(),
        Function::new(
            Subject::Time,
            "overlaps",
            "(start, end) OVERLAPS (start, end)",
            "Whether two periods have a time in common; an end may be an INTERVAL after its start.",
            &[Kind::Any, Kind::Any, Kind::Any, Kind::Any],
            DataType::Boolean,
            overlaps,
        )
        .checks(|given| {
            given.types.iter().try_for_each(|data_type| check_point("OVERLAPS", data_type))?;
            same_sort("OVERLAPS", given.types)
        })
        .build(),
    ]
}

/// `TIME + INTERVAL`, where a day that is over begins anew.
pub(crate) fn time_plus_interval() -> Arc<ScalarUDF> {
    Function::new(
        Subject::Time,
        "time_plus_interval",
        "time + interval",
        "A time of the day moved by an interval.",
        &[Kind::Any, Kind::Any],
        DataType::Time32(TimeUnit::Millisecond),
        |call| {
            let (times, intervals) = (Moments::of(call, 0)?, Moments::of(call, 1)?);
            collect(call.returns, call.rows, |row| {
                let ms = times.get(row)?.ms + intervals.interval(row)?.ms.rem_euclid(DAY_MS);
                Some(Moment { ms, nanos: 0 })
            })
        },
    )
    .build()
}

/// `INTERVAL * number`.
pub(crate) fn interval_times() -> Arc<ScalarUDF> {
    Function::new(
        Subject::Time,
        "interval_times",
        "interval * count",
        "An interval so many times.",
        &[Kind::Any, Kind::Any],
        DataType::Interval(IntervalUnit::MonthDayNano),
        |call| {
            let (intervals, counts) = (Moments::of(call, 0)?, Numbers::of(call, 1)?);
            let product = |row: usize| {
                let (interval, count) = (intervals.interval(row)?, counts.whole(row)?);
                let months = i32::try_from(interval.months.checked_mul(count)?).ok()?;
                let nanoseconds = interval.ms.checked_mul(count)?.checked_mul(1_000_000)?;
                Some(IntervalMonthDayNano { months, days: 0, nanoseconds })
            };
            Ok(Arc::new((0..call.rows).map(product).collect::<IntervalMonthDayNanoArray>()))
        },
    )
    .build()
}

fn check_unit(given: &Given<'_>) -> Result<(), PlanError> {
    let unit = unit_named(given.text(0))?;
    if matches!(
        unit,
        Unit::Second
            | Unit::Minute
            | Unit::Hour
            | Unit::Day
            | Unit::Week
            | Unit::Month
            | Unit::Quarter
            | Unit::Year
    ) {
        return Ok(());
    }
    Err(PlanError::new(format!("times cannot be counted in '{}'", unit.name()))
        .remedy("units are SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER and YEAR"))
}

fn check_point(name: &str, data_type: &DataType) -> Result<(), PlanError> {
    match Sort::of(data_type) {
        Some(Sort::Interval) | None => {
            Err(PlanError::new(format!("'{name}' does not take {}", type_name(data_type)))
                .remedy("give DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ; TO_TIMESTAMP makes one of a string"))
        }
        Some(_) => Ok(()),
    }
}

/// Wall clocks and instants cannot be compared without a zone; dates are wall clocks.
fn same_sort(name: &str, types: &[DataType]) -> Result<(), PlanError> {
    let kinds = |data_type: &DataType| match Sort::of(data_type) {
        Some(Sort::Local) => Some(1),
        Some(Sort::Time) => Some(2),
        Some(Sort::Date | Sort::Timestamp) => Some(3),
        _ => None,
    };
    let mut found = types.iter().filter_map(|data_type| Some((kinds(data_type)?, data_type)));
    let Some((first, first_type)) = found.next() else { return Ok(()) };
    match found.find(|(kind, _)| *kind != first) {
        None => Ok(()),
        Some((_, other)) => Err(PlanError::new(format!(
            "'{name}' cannot take {} and {} together",
            type_name(first_type),
            type_name(other)
        ))
        .remedy("CAST one to the type of the other")),
    }
}

/// A date with hours added is a timestamp.
fn sum_type(unit: Option<&str>, point: &DataType) -> DataType {
    let short = unit.and_then(Unit::named).and_then(Unit::ms).is_some_and(|ms| ms < DAY_MS);
    match point {
        DataType::Date32 if short => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Null => DataType::Timestamp(TimeUnit::Millisecond, None),
        other => other.clone(),
    }
}

fn add(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = unit_named(constant_text(call, 0))?;
    let (counts, points) = (Numbers::of(call, 1)?, Moments::of(call, 2)?);
    collect(call.returns, call.rows, |row| {
        let (count, point) = (counts.whole(row)?, points.get(row)?);
        let ms = match (unit.months(), unit.ms()) {
            (Some(months), _) => {
                let days = add_months(point.ms.div_euclid(DAY_MS), count.checked_mul(months)?);
                days.checked_mul(DAY_MS)?.checked_add(point.ms.rem_euclid(DAY_MS))?
            }
            (None, Some(ms)) => point.ms.checked_add(count.checked_mul(ms)?)?,
            (None, None) => return None,
        };
        Some(Moment { ms, ..point })
    })
}

fn difference(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = unit_named(constant_text(call, 0))?;
    let (from, to) = (Moments::of(call, 1)?, Moments::of(call, 2)?);
    let of = |row: usize| {
        let (from, to) = (from.get(row)?.ms, to.get(row)?.ms);
        let count = match (unit.months(), unit.ms()) {
            (Some(months), _) => months_between(to, from) / months,
            (None, Some(ms)) => to.checked_sub(from)? / ms,
            (None, None) => return None,
        };
        // As in Flink, an INT that overflows starts over.
        Some(count as i32)
    };
    Ok(Arc::new((0..call.rows).map(of).collect::<Int32Array>()))
}

fn overlaps(call: &Call<'_>) -> Result<ArrayRef> {
    let points = (0..4).map(|index| Moments::of(call, index)).collect::<Result<Vec<_>>>()?;
    call.boolean(|row| {
        let at = |index: usize| points.get(index)?.get(row).map(|moment: Moment| (moment.ms, moment.nanos));
        // As Flink writes it out: a comparison with NULL takes the second of the two.
        let later = |a: Option<_>, b: Option<_>| if a.zip(b).is_some_and(|(a, b)| a <= b) { b } else { a };
        let earlier = |a: Option<_>, b: Option<_>| if a.zip(b).is_some_and(|(a, b)| a <= b) { a } else { b };
        let (a, b, c, d) = (at(0), at(1), at(2), at(3));
        let reaches = |end: Option<_>, start: Option<_>| end.zip(start).map(|(end, start)| end >= start);
        match (reaches(later(a, b), earlier(c, d)), reaches(later(c, d), earlier(a, b))) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    })
}
