//! Times from strings and numbers, and back: TO_TIMESTAMP, TO_DATE, DATE_FORMAT, FROM_UNIXTIME, UNIX_TIMESTAMP,
//! CONVERT_TZ.
//!
//! What cannot be read is NULL (of UNIX_TIMESTAMP the least BIGINT, as in Flink). A constant pattern is checked while
//! planning and compiled once.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, TimestampMillisecondArray};
use arrow_schema::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{ColumnarValue, ScalarUDF};
use millstream_engine::ClockRef;

use super::calendar::{DAY_MS, civil, days_of, last_day};
use super::columns::{Moments, Numbers, Sort, collect, local_ms_type};
use super::format::{Shown, write};
use super::formatter::{Moment, read_default, read_with_fallback};
use super::pattern::{Flavour, Pattern};
use super::patterns::Patterns;
use super::simple;
use super::zone::{Overlap, Zone};
use crate::functions::FunctionContext;
use crate::functions::call::{Call, Texts};
use crate::functions::function::{Function, Given, Kind, Subject};
use crate::functions::type_name;
use crate::parse::types::LTZ;
use crate::plan::error::PlanError;

/// SimpleDateFormat's pattern where none is given.
const USUAL: &str = "yyyy-MM-dd HH:mm:ss";
/// From year 0 to the end of 9999, beyond which Flink's TO_TIMESTAMP_LTZ gives NULL.
const LTZ_RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    let zone = Zone::of(context.time_zone);
    let text = Text { patterns: Arc::default(), zone, clock: Arc::clone(&context.clock) };
    let with = |kernel: fn(&Text, &Call<'_>) -> Result<ArrayRef>| {
        let text = text.clone();
        move |call: &Call<'_>| kernel(&text, call)
    };
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let subject = Subject::Time;
    vec![
        Function::new(
            subject,
            "to_timestamp",
            "TO_TIMESTAMP(string [, pattern])",
            "A TIMESTAMP(3) of a string, by default 'yyyy-MM-dd HH:mm:ss' with or without a fraction; NULL if it is none.",
            &[Kind::Text],
            timestamp,
            with(Text::to_timestamp),
        )
        .optional(&[Kind::Text])
        .checks(|given| check_pattern(given, 1, Flavour::Formatter))
        .build(),
        Function::new(
            subject,
            "to_timestamp_ltz",
            "TO_TIMESTAMP_LTZ(number [, precision]) or TO_TIMESTAMP_LTZ(string [, pattern [, zone]])",
            "A TIMESTAMP_LTZ(3) of seconds (precision 0) or milliseconds (precision 3) since 1970, or of a string in a zone (UTC).",
            &[Kind::Any],
            local_ms_type(),
            with(Text::to_timestamp_ltz),
        )
        .optional(&[Kind::Any, Kind::Text])
        .checks(check_ltz)
        .build(),
        Function::new(
            subject,
            "to_date",
            "TO_DATE(string [, pattern])",
            "A DATE of a string, by default 'yyyy-MM-dd'; NULL if it is none.",
            &[Kind::Text],
            DataType::Date32,
            with(Text::to_date),
        )
        .optional(&[Kind::Text])
        .checks(|given| check_pattern(given, 1, Flavour::Simple))
        .build(),
        Function::new(
            subject,
            "date_format",
            "DATE_FORMAT(timestamp, pattern)",
            "A timestamp (or a string 'yyyy-MM-dd HH:mm:ss') as a string of the pattern.",
            &[Kind::Any, Kind::Text],
            DataType::Utf8,
            with(Text::date_format),
        )
        .checks(check_date_format)
        .build(),
        Function::new(
            subject,
            "from_unixtime",
            "FROM_UNIXTIME(seconds [, pattern])",
            "Seconds since 1970 as a string in table.local-time-zone, by default 'yyyy-MM-dd HH:mm:ss'.",
            &[Kind::Number],
            DataType::Utf8,
            with(Text::unixtime_text),
        )
        .optional(&[Kind::Text])
        .checks(|given| check_pattern(given, 1, Flavour::Simple))
        .build(),
        Function::new(
            subject,
            "unix_timestamp",
            "UNIX_TIMESTAMP([string [, pattern]])",
            "Seconds since 1970: now, or of a string in table.local-time-zone, by default 'yyyy-MM-dd HH:mm:ss'.",
            &[],
            DataType::Int64,
            with(Text::unix_timestamp),
        )
        .optional(&[Kind::Text, Kind::Text])
        .checks(|given| check_pattern(given, 1, Flavour::Simple))
        .build(),
        Function::new(
            subject,
            "convert_tz",
            "CONVERT_TZ(string, from_zone, to_zone)",
            "A string 'yyyy-MM-dd HH:mm:ss' of one zone's clocks as another zone's clocks show it.",
            &[Kind::Text, Kind::Text, Kind::Text],
            DataType::Utf8,
            with(Text::convert_tz),
        )
        .checks(|given| check_zone(given, 1).and_then(|()| check_zone(given, 2)))
        .build(),
    ]
}

/// A date `yyyy-MM-dd`, of which months, days and what follows a blank may be missing.
pub(super) fn date(text: &str) -> Option<i64> {
    let text = text.find(' ').filter(|at| *at > 0).map_or(text, |at| &text[..at]);
    let number = |part: &str| {
        let part = part.trim();
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<i64>().ok()).flatten()
    };
    let mut parts = text.splitn(3, '-');
    let year = number(parts.next()?)?;
    let month = parts.next().map_or(Some(1), number)?;
    let day = parts.next().map_or(Some(1), number)?;
    let exists = year <= 9_999 && (1..=12).contains(&month) && day >= 1 && day <= last_day(year, month);
    exists.then(|| days_of(year, month, day))
}

fn check_pattern(given: &Given<'_>, index: usize, flavour: Flavour) -> Result<(), PlanError> {
    let Some(text) = given.text(index) else { return Ok(()) };
    Pattern::compile(text, flavour).map(drop).map_err(|reason| no_pattern(text, &reason))
}

fn no_pattern(text: &str, reason: &str) -> PlanError {
    PlanError::new(format!("'{text}' is no pattern of a time: {reason}")).remedy(
        "letters are those of Java: yyyy-MM-dd HH:mm:ss.SSS, EEE a weekday, a AM or PM; other text stands in quotes, ''T''",
    )
}

fn check_zone(given: &Given<'_>, index: usize) -> Result<(), PlanError> {
    match given.text(index) {
        // Java takes a name it does not know for GMT; a misspelt constant is better told.
        Some(name) if Zone::named(name).is_none() => {
            Err(PlanError::new(format!("there is no time zone '{name}'"))
                .remedy("write a name such as 'Europe/Berlin', 'UTC' or 'GMT+05:30'"))
        }
        _ => Ok(()),
    }
}

fn check_ltz(given: &Given<'_>) -> Result<(), PlanError> {
    match (&given.types[0], given.types.get(1)) {
        (DataType::Utf8, None) => Ok(()),
        (DataType::Utf8 | DataType::Null, Some(DataType::Utf8)) => {
            check_pattern(given, 1, Flavour::Formatter)?;
            check_zone(given, 2)
        }
        (number, precision) if (number.is_numeric() || number.is_null()) && given.types.len() < 3 => {
            let (Some(_), Some(precision)) = (precision, given.whole(1)) else { return Ok(()) };
            if precision == 0 || precision == 3 {
                return Ok(());
            }
            Err(PlanError::new(format!("TO_TIMESTAMP_LTZ takes precision 0 or 3, not {precision}"))
                .remedy("0 means the number counts seconds, 3 milliseconds"))
        }
        (other, _) => Err(PlanError::new(format!("'TO_TIMESTAMP_LTZ' does not take {} so", type_name(other)))
            .remedy("write TO_TIMESTAMP_LTZ(milliseconds, 3) or TO_TIMESTAMP_LTZ(string, 'yyyy-MM-dd HH:mm:ss', 'UTC')")),
    }
}

fn check_date_format(given: &Given<'_>) -> Result<(), PlanError> {
    let data_type = &given.types[0];
    let flavour = match (data_type, Sort::of(data_type)) {
        (DataType::Utf8 | DataType::Null, _) => Flavour::Simple,
        (_, Some(Sort::Timestamp | Sort::Local)) => Flavour::Formatter,
        _ => {
            return Err(PlanError::new(format!("'DATE_FORMAT' does not take {}", type_name(data_type)))
                .remedy("give a TIMESTAMP or a string; a DATE is one after CAST(d AS TIMESTAMP(3))"));
        }
    };
    check_pattern(given, 1, flavour)?;
    let zone = given.text(1).and_then(|text| Some((text, Pattern::compile(text, flavour).ok()?)));
    match zone {
        Some((text, pattern)) if flavour == Flavour::Formatter && pattern.needs_zone() => {
            Err(PlanError::new(format!("the pattern '{text}' shows a time zone, which a timestamp has not"))
                .remedy("leave z, Z, X and V out"))
        }
        _ => Ok(()),
    }
}

/// The patterns of the rows of a call.
enum RowPatterns<'a> {
    Constant(Option<Arc<Pattern>>),
    Column { text: &'a Text, texts: Texts<'a>, flavour: Flavour },
}

impl RowPatterns<'_> {
    fn get(&self, row: usize) -> Result<Option<Arc<Pattern>>> {
        match self {
            Self::Constant(pattern) => Ok(pattern.clone()),
            Self::Column { text, texts, flavour } => {
                texts.get(row).map(|pattern| text.compile(pattern, *flavour)).transpose()
            }
        }
    }
}

#[derive(Clone)]
struct Text {
    patterns: Arc<Patterns>,
    zone: Zone,
    clock: ClockRef,
}

impl Text {
    /// The patterns of argument `index`, or the usual one where it is left out.
    fn patterns<'a>(&'a self, call: &Call<'a>, index: usize, flavour: Flavour) -> Result<RowPatterns<'a>> {
        if index >= call.len() {
            return Ok(RowPatterns::Constant(Some(self.compile(USUAL, flavour)?)));
        }
        Ok(match call.texts(index)? {
            Texts::Constant(text) => {
                RowPatterns::Constant(text.map(|text| self.compile(text, flavour)).transpose()?)
            }
            texts @ Texts::Column(_) => RowPatterns::Column { text: self, texts, flavour },
        })
    }

    fn compile(&self, pattern: &str, flavour: Flavour) -> Result<Arc<Pattern>> {
        Ok(self.patterns.get(pattern, flavour).map_err(|reason| no_pattern(pattern, &reason))?)
    }

    fn this_year(&self) -> i64 {
        civil(self.clock.now_ms().div_euclid(DAY_MS)).year
    }

    fn to_timestamp(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let moment = self.wall_clocks(call)?;
        collect(call.returns, call.rows, |row| moment(row).map(|moment| Moment { nanos: 0, ..moment }))
    }

    /// The wall clock that argument 0 shows, read with the pattern of argument 1.
    fn wall_clocks<'a>(&'a self, call: &Call<'a>) -> Result<Box<dyn Fn(usize) -> Option<Moment> + 'a>> {
        let texts = call.texts(0)?;
        if call.len() < 2 {
            return Ok(Box::new(move |row| read_default(texts.get(row)?)));
        }
        let patterns = call.texts(1)?;
        if let Texts::Constant(constant) = patterns {
            // What is no pattern has been refused while planning.
            let pattern = constant.and_then(|text| self.patterns.get(text, Flavour::Formatter).ok());
            return Ok(Box::new(move |row| read_with_fallback(pattern.as_ref()?, texts.get(row)?)));
        }
        Ok(Box::new(move |row| {
            let pattern = self.patterns.get(patterns.get(row)?, Flavour::Formatter).ok()?;
            read_with_fallback(&pattern, texts.get(row)?)
        }))
    }

    fn to_timestamp_ltz(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let is_text =
            |index: usize| call.arguments.get(index).is_some_and(|value| value.data_type() == DataType::Utf8);
        if is_text(0) || is_text(1) {
            if call.arguments[0].data_type().is_null() {
                return Ok(arrow_array::new_null_array(call.returns, call.rows));
            }
            let moment = self.wall_clocks(call)?;
            let zones = if call.len() > 2 { Some(call.texts(2)?) } else { None };
            return collect(call.returns, call.rows, |row| {
                let zone = match &zones {
                    None => Zone::UTC,
                    Some(zones) => Zone::named(zones.get(row)?)?,
                };
                let ms = zone.to_utc(moment(row)?.ms, Overlap::Earlier);
                Some(Moment { ms, nanos: 0 })
            });
        }
        let precision = match call.arguments.get(1) {
            None => Some(3),
            Some(ColumnarValue::Scalar(value)) => match value.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(value) => value,
                _ => None,
            },
            Some(ColumnarValue::Array(_)) => {
                return exec_err!("the precision of TO_TIMESTAMP_LTZ is a constant, 0 or 3");
            }
        };
        if let (Some(3), Some(ColumnarValue::Array(column))) = (precision, call.arguments.first())
            && let Some(array) = whole_milliseconds(column)
        {
            return Ok(array);
        }
        let numbers = Numbers::of(call, 0)?;
        collect(call.returns, call.rows, |row| {
            let ms = match (precision?, &numbers) {
                (0, Numbers::Real(column, constant)) => {
                    let row = if *constant { 0 } else { row };
                    let seconds = column.is_valid(row).then(|| column.value(row))?;
                    (seconds * 1_000.0) as i64
                }
                (0, Numbers::Whole(..)) => numbers.whole(row)?.checked_mul(1_000)?,
                _ => numbers.whole(row)?,
            };
            LTZ_RANGE_MS.contains(&ms).then_some(Moment { ms, nanos: 0 })
        })
    }

    fn to_date(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let texts = call.texts(0)?;
        let day = |days: i64| Moment { ms: days * DAY_MS, nanos: 0 };
        if call.len() < 2 {
            return collect(call.returns, call.rows, |row| date(texts.get(row)?).map(day));
        }
        let (patterns, this_year) = (self.patterns(call, 1, Flavour::Simple)?, self.this_year());
        let read = |row: usize| -> Result<Option<Moment>> {
            let Some(pattern) = patterns.get(row)? else { return Ok(None) };
            let ms = texts.get(row).and_then(|text| simple::read(&pattern, text, Zone::UTC, this_year));
            Ok(ms.map(|ms| day(ms.div_euclid(DAY_MS))))
        };
        let moments = (0..call.rows).map(read).collect::<Result<Vec<_>>>()?;
        collect(call.returns, call.rows, |row| moments[row])
    }

    fn date_format(&self, call: &Call<'_>) -> Result<ArrayRef> {
        if call.arguments[0].data_type().is_null() {
            return Ok(arrow_array::new_null_array(call.returns, call.rows));
        }
        if call.arguments[0].data_type() == DataType::Utf8 {
            let (texts, this_year) = (call.texts(0)?, self.this_year());
            let patterns = self.patterns(call, 1, Flavour::Simple)?;
            let usual = self.compile(USUAL, Flavour::Simple)?;
            return call.text(|row, out| {
                let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)?) else {
                    return Ok(false);
                };
                let Some(ms) = simple::read(&usual, text, Zone::UTC, this_year) else { return Ok(false) };
                write(&pattern, &Shown::at(ms, Zone::UTC), out);
                Ok(true)
            });
        }
        let moments = Moments::of(call, 0)?;
        let zone = if moments.sort == Sort::Local { self.zone } else { Zone::UTC };
        let patterns = self.patterns(call, 1, Flavour::Formatter)?;
        let of_minutes = matches!(&patterns, RowPatterns::Constant(Some(pattern)) if pattern.is_of_minutes());
        // Days and minutes mostly stay from one row to the next.
        let (mut last_minute, mut last) = (None, String::new());
        call.text(|row, out| {
            let (Some(moment), Some(pattern)) = (moments.get(row), patterns.get(row)?) else {
                return Ok(false);
            };
            let local_ms = zone.to_local(moment.ms);
            let minute = of_minutes.then(|| local_ms.div_euclid(60_000));
            if minute.is_some() && minute == last_minute {
                out.push_str(&last);
                return Ok(true);
            }
            if pattern.needs_zone() {
                return exec_err!("a pattern of DATE_FORMAT shows a time zone, which a timestamp has not");
            }
            write(&pattern, &Shown::local(local_ms, moment.nanos), out);
            last_minute = minute;
            last.clear();
            last.push_str(out);
            Ok(true)
        })
    }

    fn unixtime_text(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let seconds = Numbers::of(call, 0)?;
        let patterns = self.patterns(call, 1, Flavour::Simple)?;
        call.text(|row, out| {
            let pattern = patterns.get(row)?;
            let ms = seconds.whole(row).and_then(|seconds| seconds.checked_mul(1_000));
            let (Some(pattern), Some(ms)) = (pattern, ms) else { return Ok(false) };
            write(&pattern, &Shown::at(ms, self.zone), out);
            Ok(true)
        })
    }

    fn unix_timestamp(&self, call: &Call<'_>) -> Result<ArrayRef> {
        if call.len() == 0 {
            return Ok(Arc::new(Int64Array::from(vec![self.clock.now_ms().div_euclid(1_000); call.rows])));
        }
        let texts = call.texts(0)?;
        let patterns = self.patterns(call, 1, Flavour::Simple)?;
        let this_year = self.this_year();
        let read = |row: usize| -> Result<Option<i64>> {
            let (Some(pattern), Some(text)) = (patterns.get(row)?, texts.get(row)) else { return Ok(None) };
            let ms = simple::read(&pattern, text, self.zone, this_year);
            Ok(Some(ms.map_or(i64::MIN, |ms| ms / 1_000)))
        };
        Ok(Arc::new((0..call.rows).map(read).collect::<Result<Int64Array>>()?))
    }

    fn convert_tz(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let (texts, from, to) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
        let this_year = self.this_year();
        let usual = self.compile(USUAL, Flavour::Simple)?;
        // As in Java, a name in a column that is none means GMT.
        let zone = |name: &str| Zone::named(name).unwrap_or(Zone::UTC);
        call.text(|row, out| {
            let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else {
                return Ok(false);
            };
            let Some(ms) = simple::read(&usual, text, zone(from), this_year) else { return Ok(false) };
            write(&usual, &Shown::at(ms, zone(to)), out);
            Ok(true)
        })
    }
}

/// A BIGINT column of milliseconds as it is, if all of them are timestamps: no row is copied.
fn whole_milliseconds(column: &ArrayRef) -> Option<ArrayRef> {
    let values = column.as_primitive_opt::<Int64Type>()?;
    if !values.values().iter().all(|ms| LTZ_RANGE_MS.contains(ms)) {
        return None;
    }
    let array = TimestampMillisecondArray::new(values.values().clone(), values.nulls().cloned());
    Some(Arc::new(array.with_timezone(LTZ)))
}
