//! Values as text: numbers as Java writes them, times with all digits of their precision, rows and lists in brackets.

use std::fmt::{Debug, LowerExp, Write};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast as arrow_cast;
use arrow_schema::DataType;
use chrono::{NaiveDateTime, NaiveTime, TimeZone as _};
use chrono_tz::Tz;
use datafusion_common::Result;

use super::Kernel;
use super::time::{Times, digits_of};

/// `None` for the types that arrow writes as Flink does.
pub(super) fn kernel(from: &DataType, zone: Tz) -> Option<Kernel> {
    if from.is_integer() || from.is_string() {
        return None;
    }
    Some(Box::new(move |column| {
        let mut builder = StringBuilder::with_capacity(column.len(), column.len() * 8);
        let mut buffer = String::new();
        for row in 0..column.len() {
            if column.is_null(row) {
                builder.append_null();
                continue;
            }
            buffer.clear();
            write(column, row, zone, &mut buffer)?;
            builder.append_value(&buffer);
        }
        Ok(Arc::new(builder.finish()))
    }))
}

fn write(column: &ArrayRef, row: usize, zone: Tz, out: &mut String) -> Result<()> {
    if column.is_null(row) {
        out.push_str("NULL");
        return Ok(());
    }
    match column.data_type() {
        DataType::Boolean => out.push_str(if column.as_boolean().value(row) { "TRUE" } else { "FALSE" }),
        DataType::Float64 => java_double(column.as_primitive::<Float64Type>().value(row), out),
        DataType::Float32 => java_float(column.as_primitive::<Float32Type>().value(row), out),
        DataType::Decimal128(_, scale) => {
            decimal(column.as_primitive::<Decimal128Type>().value(row), *scale, out)
        }
        DataType::Binary => out.push_str(&String::from_utf8_lossy(column.as_binary::<i32>().value(row))),
        DataType::Utf8 => out.push_str(column.as_string::<i32>().value(row)),
        DataType::Timestamp(unit, local) => {
            if let Some(time) = Times::of(column)?.value(row) {
                let time = if local.is_some() { zone.from_utc_datetime(&time).naive_local() } else { time };
                timestamp(time, digits_of(*unit), out);
            }
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            if let Some(time) = Times::of(column)?.value(row) {
                clock(time.time(), 0, out);
            }
        }
        DataType::Struct(_) => {
            out.push('(');
            for (index, child) in column.as_struct().columns().iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(child, row, zone, out)?;
            }
            out.push(')');
        }
        DataType::List(_) => {
            out.push('[');
            let items = column.as_list::<i32>().value(row);
            for item in 0..items.len() {
                if item > 0 {
                    out.push_str(", ");
                }
                write(&items, item, zone, out)?;
            }
            out.push(']');
        }
        DataType::Map(..) => {
            out.push('{');
            let entries = column.as_map().value(row);
            for entry in 0..entries.len() {
                if entry > 0 {
                    out.push_str(", ");
                }
                write(entries.column(0), entry, zone, out)?;
                out.push('=');
                write(entries.column(1), entry, zone, out)?;
            }
            out.push('}');
        }
        _ => {
            let text = arrow_cast(&column.slice(row, 1), &DataType::Utf8)?;
            out.push_str(text.as_string::<i32>().value(0));
        }
    }
    Ok(())
}

/// `2026-01-01 00:00:10.000`
fn timestamp(time: NaiveDateTime, digits: usize, out: &mut String) {
    let _ = write!(out, "{} ", time.date().format("%Y-%m-%d"));
    clock(time.time(), digits, out);
}

fn clock(time: NaiveTime, digits: usize, out: &mut String) {
    use chrono::Timelike;
    let _ = write!(out, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    if digits > 0 {
        let fraction = format!("{:09}", time.nanosecond() % 1_000_000_000);
        let _ = write!(out, ".{}", &fraction[..digits]);
    }
}

fn decimal(value: i128, scale: i8, out: &mut String) {
    let scale = usize::from(scale.unsigned_abs());
    if value < 0 {
        out.push('-');
    }
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// As `Double.toString`: `1.0`, `1.0E10`, `NaN`, `-Infinity`.
pub(in crate::functions) fn java_double(value: f64, out: &mut String) {
    // Of the shortest forms, 5E-324, Java takes the two digits nearest to the value.
    if value.to_bits() == 1 {
        out.push_str("4.9E-324");
        return;
    }
    java(value, value.abs(), out);
}

/// As `Float.toString`.
pub(in crate::functions) fn java_float(value: f32, out: &mut String) {
    if value.to_bits() == 1 {
        out.push_str("1.4E-45");
        return;
    }
    java(value.into(), value.abs(), out);
}

/// `value` in Java's form, with the digits that `magnitude` needs in its own type.
fn java(value: f64, magnitude: impl LowerExp + Debug, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
        return;
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        out.push_str("Infinity");
        return;
    }
    let large = value.abs() >= 1e7 || (value.abs() < 1e-3 && value != 0.0);
    let digits = if large { format!("{magnitude:e}") } else { format!("{magnitude:?}") };
    if !large {
        out.push_str(&digits);
        return;
    }
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    out.push_str(mantissa);
    if !mantissa.contains('.') {
        out.push_str(".0");
    }
    out.push('E');
    out.push_str(exponent);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_java_does() {
        let text = |value| {
            let mut out = String::new();
            java_double(value, &mut out);
            out
        };
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e10, "1.0E10"),
            (1e-5, "1.0E-5"),
            (0.001, "0.001"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (123_456_789.125, "1.23456789125E8"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (0.0, "0.0"),
        ];
        for (value, written) in cases {
            assert_eq!(text(value), written);
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        let text = |value, scale| {
            let mut out = String::new();
            decimal(value, scale, &mut out);
            out
        };
        assert_eq!([text(-50, 3), text(0, 3), text(12345, 0)], ["-0.050", "0.000", "12345"]);
    }
}
