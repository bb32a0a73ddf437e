//! Values of payloads to the values of columns, by Flink's lenient rules; what does not fit is an error that shows it.

// csv alone uses a part of this.
#![cfg_attr(not(any(feature = "cbor", feature = "msgpack", feature = "protobuf")), allow(dead_code))]

use std::fmt::Write;

use arrow_array::types::{Date32Type, Time32MillisecondType};
use arrow_cast::parse::{Parser, string_to_datetime};
use arrow_schema::{DataType, TimeUnit};
use chrono::Utc;
use millstream_engine::{Error, Result};

/// How much of a value an error shows.
const SHOWN_CHARS_MAX: usize = 60;

/// A value as a format gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond the range of `Int`.
    UInt(u64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A time since 1970-01-01 00:00:00 UTC; `nanos` is below a thousand million.
    Time {
        seconds: i64,
        nanos: u32,
    },
}

impl Scalar<'_> {
    fn shown(&self) -> String {
        let text = match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::UInt(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(text) => format!("the text '{text}'"),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::Time { seconds, .. } => format!("a time ({seconds} s since 1970)"),
        };
        match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    }
}

/// The error of a value that the type cannot hold.
pub(super) fn mismatch(value: &Scalar<'_>, kind: &DataType) -> Error {
    let wanted = match kind {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 | DataType::Float64 => "number".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 => "text".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time32(_) => "TIME".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Struct(_) => "ROW".to_owned(),
        DataType::List(_) => "ARRAY".to_owned(),
        DataType::Map(..) => "MAP".to_owned(),
        other => other.to_string(),
    };
    Error::data(format!("{} is no {wanted}", value.shown()))
}

pub(super) fn boolean(value: Scalar<'_>) -> Result<bool> {
    match value {
        Scalar::Bool(value) => Ok(value),
        Scalar::Text(text) if text.trim().eq_ignore_ascii_case("true") => Ok(true),
        Scalar::Text(text) if text.trim().eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(mismatch(&value, &DataType::Boolean)),
    }
}

/// A whole number, date, time or timestamp of type `kind`, in the type's own unit.
pub(super) fn whole(value: Scalar<'_>, kind: &DataType) -> Result<i64> {
    let wrong = || mismatch(&value, kind);
    match kind {
        DataType::Date32 => match value {
            Scalar::Text(text) => Date32Type::parse(text.trim()).map(i64::from).ok_or_else(wrong),
            Scalar::Time { seconds, .. } => {
                let days = seconds.div_euclid(86_400);
                i32::try_from(days).map(i64::from).map_err(|_| wrong())
            }
            _ => integer(value, kind).filter(|days| i32::try_from(*days).is_ok()).ok_or_else(wrong),
        },
        DataType::Time32(_) => match value {
            Scalar::Text(text) => Time32MillisecondType::parse(text.trim()).map(i64::from).ok_or_else(wrong),
            Scalar::Time { seconds, nanos } => {
                Ok(seconds.rem_euclid(86_400) * 1_000 + i64::from(nanos / 1_000_000))
            }
            _ => integer(value, kind).filter(|ms| (0..86_400_000).contains(ms)).ok_or_else(wrong),
        },
        DataType::Timestamp(unit, _) => match value {
            Scalar::Text(text) => {
                // Without a zone a text is in UTC, as Flink reads TIMESTAMP; with one, it is turned to it.
                let time = string_to_datetime(&Utc, text.trim()).map_err(|_| wrong())?;
                in_unit(time.timestamp(), time.timestamp_subsec_nanos(), *unit).ok_or_else(wrong)
            }
            Scalar::Time { seconds, nanos } => in_unit(seconds, nanos, *unit).ok_or_else(wrong),
            _ => integer(value, kind).ok_or_else(wrong),
        },
        _ => integer(value, kind).ok_or_else(wrong),
    }
}

fn in_unit(seconds: i64, nanos: u32, unit: TimeUnit) -> Option<i64> {
    let (per_second, per_unit) = match unit {
        TimeUnit::Second => (1, 1_000_000_000),
        TimeUnit::Millisecond => (1_000, 1_000_000),
        TimeUnit::Microsecond => (1_000_000, 1_000),
        TimeUnit::Nanosecond => (1_000_000_000, 1),
    };
    seconds.checked_mul(per_second)?.checked_add(i64::from(nanos) / per_unit)
}

/// A whole number in the range of `kind`.
fn integer(value: Scalar<'_>, kind: &DataType) -> Option<i64> {
    let whole = match value {
        Scalar::Int(value) => value,
        Scalar::UInt(value) => i64::try_from(value).ok()?,
        // 2^63 itself is out of range.
        Scalar::Float(value)
            if value.fract() == 0.0 && (-(2_f64.powi(63))..2_f64.powi(63)).contains(&value) =>
        {
            value as i64
        }
        Scalar::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let fits = match kind {
        DataType::Int8 => i8::try_from(whole).is_ok(),
        DataType::Int16 => i16::try_from(whole).is_ok(),
        DataType::Int32 => i32::try_from(whole).is_ok(),
        _ => true,
    };
    fits.then_some(whole)
}

/// A number for a column of type `kind`, FLOAT or DOUBLE.
pub(super) fn float(value: Scalar<'_>, kind: &DataType) -> Result<f64> {
    let number = number(value)?;
    // Beyond a FLOAT it would silently become an infinity. Its largest value as short text is a little above it.
    if *kind == DataType::Float32 && number.is_finite() && (number as f32).is_infinite() {
        return Err(mismatch(&value, kind));
    }
    Ok(number)
}

fn number(value: Scalar<'_>) -> Result<f64> {
    match value {
        Scalar::Int(value) => Ok(value as f64),
        Scalar::UInt(value) => Ok(value as f64),
        Scalar::Float(value) => Ok(value),
        Scalar::Text(text) => text.trim().parse().map_err(|_| mismatch(&value, &DataType::Float64)),
        _ => Err(mismatch(&value, &DataType::Float64)),
    }
}

pub(super) fn decimal(value: Scalar<'_>, kind: &DataType) -> Result<i128> {
    let wrong = || mismatch(&value, kind);
    let DataType::Decimal128(precision, scale) = kind else { return Err(wrong()) };
    let parse = |text: &str| parse_decimal(text, *precision, *scale).ok_or_else(wrong);
    match value {
        Scalar::Int(value) => parse(&value.to_string()),
        Scalar::UInt(value) => parse(&value.to_string()),
        Scalar::Float(value) if value.is_finite() => parse(&value.to_string()),
        Scalar::Text(text) => parse(text.trim()),
        _ => Err(wrong()),
    }
}

/// The decimal of a text, in units of its last digit; further digits are cut off. Arrow's own overflows on exponents.
fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if (whole.is_empty() && fraction.is_empty()) || !digits.clone().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut value = 0_i128;
    for _ in 0..kept {
        let digit = digits.next();
        // Zeros may follow without end, but those of a number that is not zero soon overflow.
        if digit.is_none() && value == 0 {
            break;
        }
        let digit = i128::from(digit.unwrap_or(b'0') - b'0');
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let is_within = value < 10_i128.checked_pow(u32::from(precision))?;
    is_within.then_some(if text.starts_with('-') { -value } else { value })
}

/// Appends text or bytes.
pub(super) fn bytes(value: Scalar<'_>, out: &mut Vec<u8>, is_text: bool) -> Result<()> {
    let kind = if is_text { DataType::Utf8 } else { DataType::Binary };
    match value {
        Scalar::Text(text) => out.extend_from_slice(text.as_bytes()),
        Scalar::Bytes(bytes) if !is_text || std::str::from_utf8(bytes).is_ok() => {
            out.extend_from_slice(bytes)
        }
        Scalar::Bool(_) | Scalar::Int(_) | Scalar::UInt(_) | Scalar::Float(_) if is_text => {
            let mut text = String::new();
            // Writing to a string does not fail.
            let _ = match value {
                Scalar::Bool(value) => write!(text, "{value}"),
                Scalar::Int(value) => write!(text, "{value}"),
                Scalar::UInt(value) => write!(text, "{value}"),
                Scalar::Float(value) => write!(text, "{value:?}"),
                _ => Ok(()),
            };
            out.extend_from_slice(text.as_bytes());
        }
        Scalar::Time { seconds, nanos } if is_text => super::write_timestamp(out, seconds, nanos, b'T'),
        _ => return Err(mismatch(&value, &kind)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn decimals_are_cut_and_never_overflow() {
        let good = [
            ("0", 0),
            ("-1.05", -105),
            ("+1.059", 105),
            (".5", 50),
            ("5.", 500),
            ("00012", 1_200),
            ("1.5e2", 15_000),
            ("12345e-4", 123),
            ("99999999.99", 9_999_999_999),
            ("1e-2147483648", 0),
            ("0e2147483647", 0),
        ];
        for (text, value) in good {
            assert_eq!(parse_decimal(text, 10, 2), Some(value), "{text}");
        }
        let long = "9".repeat(300);
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e99999",
            "1e2147483647",
            "1e9999999999",
            "100000000",
            "1.2.3",
            "--1",
            "1_0",
            &long,
        ] {
            assert_eq!(parse_decimal(text, 10, 2), None, "{text}");
        }
    }
}
