//! Text as values. Blanks around numbers, dates and clocks do not count, around timestamps they do. What is no value is an
//! error in CAST and NULL in TRY_CAST.

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Decimal128Array, PrimitiveArray, StringArray};
use arrow_cast::cast as arrow_cast;
use arrow_schema::DataType;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use chrono_tz::Tz;
use datafusion_common::{Result, exec_err};

use super::Kernel;
use super::numbers::decimal_in;
use super::time::{build, digits_of, instant};
use millstream_engine::type_name;

/// `None` where arrow does the same.
pub(super) fn kernel(to: &DataType, try_cast: bool, zone: Tz) -> Option<Kernel> {
    use DataType as T;
    let read: fn(&StringArray, &DataType, bool, Tz) -> Result<ArrayRef> = match to {
        T::Int8 => |texts, to, lenient, _| whole::<Int8Type>(texts, to, lenient),
        T::Int16 => |texts, to, lenient, _| whole::<Int16Type>(texts, to, lenient),
        T::Int32 => |texts, to, lenient, _| whole::<Int32Type>(texts, to, lenient),
        T::Int64 => |texts, to, lenient, _| whole::<Int64Type>(texts, to, lenient),
        T::Float32 => |texts, to, lenient, _| {
            primitive::<Float32Type>(texts, to, lenient, |text| java_number(text)?.parse().ok())
        },
        T::Float64 => |texts, to, lenient, _| {
            primitive::<Float64Type>(texts, to, lenient, |text| java_number(text)?.parse().ok())
        },
        T::Boolean => boolean,
        T::Decimal128(..) => decimal,
        T::Timestamp(..) | T::Date32 | T::Time32(_) => times,
        _ => return None,
    };
    let to = to.clone();
    Some(Box::new(move |column| {
        let column = arrow_cast(column, &DataType::Utf8)?;
        read(column.as_string::<i32>(), &to, try_cast, zone)
    }))
}

/// NULL, or an error that shows the text.
fn missing<T>(text: &str, to: &DataType, try_cast: bool) -> Result<Option<T>> {
    if try_cast {
        return Ok(None);
    }
    let shown: String = text.chars().take(60).collect();
    exec_err!("'{shown}' is no {}", type_name(to))
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    to: &DataType,
    try_cast: bool,
    read: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let values = texts.iter().map(|text| match text {
        None => Ok(None),
        Some(text) => match read(text) {
            Some(value) => Ok(Some(value)),
            None => missing(text, to, try_cast),
        },
    });
    Ok(Arc::new(values.collect::<Result<PrimitiveArray<T>>>()?))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(' ')
}

/// Digits after a point are dropped: '12.75' is 12.
fn whole<T: ArrowPrimitiveType>(texts: &StringArray, to: &DataType, try_cast: bool) -> Result<ArrayRef>
where
    T::Native: TryFrom<i64>,
{
    primitive::<T>(texts, to, try_cast, |text| {
        let text = trimmed(text);
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value = match whole {
            "" | "+" | "-" if !fraction.is_empty() => 0,
            whole => whole.parse::<i64>().ok()?,
        };
        T::Native::try_from(value).ok()
    })
}

/// What Java reads as a DOUBLE, without the letter that may end it.
fn java_number(text: &str) -> Option<&str> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return Some(text);
    }
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    is_number.then(|| text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text))
}

fn boolean(texts: &StringArray, to: &DataType, try_cast: bool, _zone: Tz) -> Result<ArrayRef> {
    let is_one_of = |text: &str, words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    let mut values = BooleanBuilder::with_capacity(texts.len());
    for text in texts {
        values.append_option(match text {
            None => None,
            Some(text) if is_one_of(text, &["true", "t", "yes", "y", "1"]) => Some(true),
            Some(text) if is_one_of(text, &["false", "f", "no", "n", "0"]) => Some(false),
            Some(text) => missing(text, to, try_cast)?,
        });
    }
    Ok(Arc::new(values.finish()))
}

fn decimal(texts: &StringArray, to: &DataType, try_cast: bool, _zone: Tz) -> Result<ArrayRef> {
    let (precision, scale) = match to {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => (38, 0),
    };
    let values = texts.iter().map(|text| match text {
        None => Ok(None),
        Some(text) => match decimal_in(trimmed(text), precision, scale) {
            Some(value) => Ok(Some(value)),
            None => missing(text, to, try_cast),
        },
    });
    Ok(Arc::new(values.collect::<Result<Decimal128Array>>()?.with_precision_and_scale(precision, scale)?))
}

fn times(texts: &StringArray, to: &DataType, try_cast: bool, zone: Tz) -> Result<ArrayRef> {
    let read = |text: &str| match to {
        DataType::Date32 => date(text).map(|date| date.and_time(NaiveTime::MIN)),
        DataType::Time32(_) => Some(NaiveDate::default().and_time(clock(trimmed(text))?)),
        DataType::Timestamp(unit, local) => {
            let time = timestamp(text)?;
            let time = if local.is_some() { instant(time, zone)? } else { time };
            // Nanoseconds reach from 1677 to 2262.
            let fits = digits_of(*unit) < 9 || time.and_utc().timestamp_nanos_opt().is_some();
            fits.then_some(time)
        }
        _ => None,
    };
    let values = texts.iter().map(|text| match text {
        None => Ok(None),
        Some(text) => match read(text) {
            Some(value) => Ok(Some(value)),
            None => missing(text, to, try_cast),
        },
    });
    build(values.collect::<Result<Vec<Option<NaiveDateTime>>>>()?.into_iter(), to)
}

/// `2026-01-02`, `2026-1`, `2026`; a time after a blank is ignored.
fn date(text: &str) -> Option<NaiveDate> {
    let text = match text.find(' ') {
        Some(at) if at > 0 => &text[..at],
        _ => text,
    };
    let mut parts = text.splitn(3, '-').map(str::trim);
    let year = i32::try_from(number_in(parts.next()?)?).ok()?;
    let month = parts.next().map_or(Some(1), number_in)?;
    let day = parts.next().map_or(Some(1), number_in)?;
    NaiveDate::from_ymd_opt(year, month, day).filter(|_| (0..=9999).contains(&year))
}

/// `12`, `12:34`, `12:34:56`, `12:34:56.789`
fn clock(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = match text.split_once('.') {
        // Only seconds have a fraction.
        Some((clock, fraction)) if clock.matches(':').count() == 2 => (clock, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let mut parts = clock.splitn(3, ':');
    let hour = number_in(parts.next()?)?;
    let (minute, second) =
        (parts.next().map_or(Some(0), number_in)?, parts.next().map_or(Some(0), number_in)?);
    NaiveTime::from_hms_nano_opt(hour, minute, second, nanoseconds(fraction)?)
}

fn number_in(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn nanoseconds(fraction: &str) -> Option<u32> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{:0<9.9}", fraction).parse().ok()
}

/// `2026-01-02`, `2026-01-02 03:04:05.678`; a day that the month does not have is its last.
fn timestamp(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = match text.split_once(' ') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let (year, month, day) = (i32::try_from(number_in(year)?).ok()?, number_in(month)?, number_in(day)?);
    if !(1..=31).contains(&day) {
        return None;
    }
    let date =
        (28..=day.max(28)).rev().find_map(|last| NaiveDate::from_ymd_opt(year, month, last.min(day)))?;
    let time = match time {
        None => NaiveTime::MIN,
        Some(time) if time.matches(':').count() == 2 => clock(time)?,
        Some(_) => return None,
    };
    Some(date.and_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_flink_reads_them() {
        let shown = |text| timestamp(text).map(|time| time.to_string());
        assert_eq!(shown("2026-01-02 03:04:05.678").as_deref(), Some("2026-01-02 03:04:05.678"));
        assert_eq!(shown("2026-02-30").as_deref(), Some("2026-02-28 00:00:00"));
        assert_eq!(shown("2026-1-2").as_deref(), Some("2026-01-02 00:00:00"));
        assert_eq!(shown("2026-01-02T03:04:05"), None);
        assert_eq!(date("42").map(|date| date.to_string()).as_deref(), Some("0042-01-01"));
        assert_eq!(date("2026-02-30"), None);
        assert_eq!(clock("10:5"), NaiveTime::from_hms_opt(10, 5, 0));
        assert_eq!(clock("25:00"), None);
    }
}
