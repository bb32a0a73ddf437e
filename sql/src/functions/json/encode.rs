//! Values of a column as JSON, in the text that Flink's node tree gives them.
//!
//! Keys of rows and maps are in order. A DOUBLE is written as the decimal number that its shortest text is, or as a string
//! if it is none; a time in ISO's form.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion_common::{Result, exec_err};

use super::number;
use super::write::{string, utf16_order};
use crate::functions::cast::{Times, java_double};

/// What is in a type that JSON has no form for.
pub(super) fn misfit(kind: &DataType) -> Option<&DataType> {
    match kind {
        DataType::Null | DataType::Boolean | DataType::Utf8 | DataType::Binary | DataType::Timestamp(..) => {
            None
        }
        kind if kind.is_numeric() => None,
        DataType::List(item) => misfit(item.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|field| misfit(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields[0].data_type() == &DataType::Utf8 => {
                misfit(fields[1].data_type())
            }
            _ => Some(kind),
        },
        other => Some(other),
    }
}

/// Writes the value of a row.
pub(super) fn write(column: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
    if column.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match column.data_type() {
        DataType::Utf8 => string(column.as_string::<i32>().value(row), out),
        DataType::Boolean => out.push_str(if column.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Float32 => double(f64::from(column.as_primitive::<Float32Type>().value(row)), out),
        DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal128(_, scale) => {
            let digits = column.as_primitive::<Decimal128Type>().value(row);
            number::write(&format!("{digits}e{}", -i32::from(*scale)), false, out);
        }
        DataType::Binary => {
            out.push('"');
            STANDARD.encode_string(column.as_binary::<i32>().value(row), out);
            out.push('"');
        }
        DataType::Timestamp(_, zone) => {
            if let Some(time) = Times::of(column)?.value(row) {
                let zone = if zone.is_some() { "Z" } else { "" };
                let time = time.format("%Y-%m-%dT%H:%M:%S%.f").to_string();
                let time = if time.contains('.') { time.trim_end_matches('0') } else { &time };
                let _ = write!(out, "\"{time}{zone}\"");
            }
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            out.push('[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push(',');
                }
                write(&items, item, out)?;
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            let mut order: Vec<usize> = (0..fields.len()).collect();
            order.sort_by(|a, b| utf16_order(fields[*a].name(), fields[*b].name()));
            let columns = column.as_struct().columns();
            entries(order.iter().map(|at| (fields[*at].name().as_str(), &columns[*at], row)), out)?;
        }
        DataType::Map(..) => {
            let map = column.as_map().value(row);
            let keys = map.column(0).as_string::<i32>();
            let mut order: Vec<usize> = (0..keys.len()).collect();
            order.sort_by(|a, b| utf16_order(keys.value(*a), keys.value(*b)));
            entries(order.iter().map(|at| (keys.value(*at), map.column(1), *at)), out)?;
        }
        kind if kind.is_integer() => {
            let format = FormatOptions::new();
            let _ = write!(out, "{}", ArrayFormatter::try_new(column, &format)?.value(row));
        }
        other => return exec_err!("a value of type {other} has no form in JSON"),
    }
    Ok(())
}

fn entries<'a>(
    entries: impl Iterator<Item = (&'a str, &'a ArrayRef, usize)>,
    out: &mut String,
) -> Result<()> {
    out.push('{');
    for (number, (key, column, row)) in entries.enumerate() {
        if number > 0 {
            out.push(',');
        }
        string(key, out);
        out.push(':');
        write(column, row, out)?;
    }
    out.push('}');
    Ok(())
}

fn double(value: f64, out: &mut String) {
    let mut text = String::new();
    java_double(value, &mut text);
    if value.is_finite() {
        number::write(&text, false, out);
    } else {
        string(&text, out);
    }
}
