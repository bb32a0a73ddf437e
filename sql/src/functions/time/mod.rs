//! Functions of dates and times, with Flink's meaning down to its cut towards zero before 1970.
//!
//! current.rs tells the time, extract.rs, rounding.rs and arithmetic.rs compute with it, text.rs reads and writes it;
//! under them are the calendar (calendar.rs), zones (zone.rs), and Java's two pattern languages (pattern.rs and what
//! reads and writes with them: format.rs, formatter.rs, simple.rs). columns.rs is how kernels see Arrow's types.
//!
//! A TIMESTAMP is what a clock on a wall shows; a TIMESTAMP_LTZ is an instant, shown in the session's zone.

mod arithmetic;
mod calendar;
mod columns;
mod current;
mod extract;
mod format;
mod formatter;
mod pattern;
mod patterns;
mod rounding;
mod simple;
#[cfg(test)]
mod tests;
mod text;
mod zone;

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::{ColumnarValue, ScalarUDF};

use super::FunctionContext;
use super::call::Call;
use crate::plan::error::PlanError;
use calendar::Unit;
use millstream_engine::suggest::did_you_mean;

pub(crate) use arithmetic::{interval_times, time_plus_interval};

/// All functions of this subject.
pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    let mut all = current::functions(context);
    all.extend(extract::functions(context));
    all.extend(rounding::functions(context));
    all.extend(arithmetic::functions());
    all.extend(text::functions(context));
    all
}

/// Whether `text` is a value of a literal DATE, TIME or TIMESTAMP; the digits of a second's fraction of the last two.
pub(crate) fn literal_precision(kind: LiteralKind, text: &str) -> Option<usize> {
    let digits = |part: &str, width: std::ops::RangeInclusive<usize>| {
        width.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let two =
        |part: &str, most: u32| digits(part, 1..=2) && part.parse().is_ok_and(|value: u32| value <= most);
    let time = |text: &str| {
        let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
        let parts: Vec<&str> = clock.split(':').collect();
        let valid = matches!(parts[..], [h, m, s] if two(h, 23) && two(m, 59) && two(s, 59));
        (valid && digits(fraction, 0..=9) && !text.ends_with('.')).then_some(fraction.len())
    };
    let date = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        let usual =
            matches!(parts[..], [y, m, d] if digits(y, 4..=4) && digits(m, 1..=2) && digits(d, 1..=2));
        // February 30 is no literal, though TO_TIMESTAMP would read it.
        (usual && text::date(text).is_some()).then_some(0)
    };
    match kind {
        LiteralKind::Date => date(text),
        LiteralKind::Time => time(text),
        LiteralKind::Timestamp => {
            let (day, clock) = text.split_once(' ')?;
            date(day)?;
            time(clock)
        }
    }
}

/// The value of a literal's text in a type of time without a zone, if it has one.
pub(crate) fn literal_value(data_type: &DataType, text: &str) -> Option<ScalarValue> {
    let time = |clock: &str| {
        let moment = formatter::read_default(&format!("1970-01-01 {clock}"))?;
        Some((moment.ms, moment.nanos))
    };
    match data_type {
        DataType::Date32 => {
            literal_precision(LiteralKind::Date, text)?;
            Some(ScalarValue::Date32(Some(i32::try_from(text::date(text)?).ok()?)))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            literal_precision(LiteralKind::Time, text)?;
            Some(ScalarValue::Time32Millisecond(Some(i32::try_from(time(text)?.0).ok()?)))
        }
        DataType::Timestamp(unit, None) => {
            literal_precision(LiteralKind::Timestamp, text)?;
            let formatter::Moment { ms, nanos } = formatter::read_default(text)?;
            Some(match unit {
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(ms), None),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(
                    Some(ms.checked_mul(1_000)?.checked_add(nanos / 1_000)?),
                    None,
                ),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(
                    Some(ms.checked_mul(1_000_000)?.checked_add(nanos)?),
                    None,
                ),
                TimeUnit::Second => return None,
            })
        }
        _ => None,
    }
}

/// Literals of time: `DATE '2024-02-09'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    Date,
    Time,
    Timestamp,
}

/// The constant string given as argument `index`, where units are.
fn constant_text<'a>(call: &Call<'a>, index: usize) -> Option<&'a str> {
    match call.arguments.get(index) {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))) => Some(text),
        _ => None,
    }
}

fn unit_named(name: Option<&str>) -> Result<Unit, PlanError> {
    const LISTED: [&str; 8] = ["SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"];
    let name = name.ok_or_else(|| PlanError::new("a unit of time is a bare word, such as HOUR"))?;
    Unit::named(name).ok_or_else(|| {
        let remedy = match did_you_mean(&name.to_ascii_uppercase(), LISTED) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("units are {}", LISTED.join(", ")),
        };
        PlanError::new(format!("there is no unit of time '{name}'")).remedy(remedy)
    })
}
