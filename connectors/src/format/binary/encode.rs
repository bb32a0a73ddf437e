//! Columns to the values of a self-describing format: a map a row, keys in column order, NULL written out.
//!
//! Times of day, dates and decimals are text, as in JSON; timestamps are what the format has for them.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use millstream_engine::format::Encoded;
use millstream_engine::{Batch, Encoder, Error, Result};

use crate::format::write_timestamp;

/// Writes values of one format to the end of `out`.
pub(super) trait Writer: Send + Default + 'static {
    fn null(out: &mut Vec<u8>);
    fn bool(out: &mut Vec<u8>, value: bool);
    fn int(out: &mut Vec<u8>, value: i64);
    fn float(out: &mut Vec<u8>, value: f32);
    fn double(out: &mut Vec<u8>, value: f64);
    fn text(out: &mut Vec<u8>, value: &str);
    fn bytes(out: &mut Vec<u8>, value: &[u8]);
    /// So many items follow.
    fn array(out: &mut Vec<u8>, items: usize);
    /// So many pairs follow.
    fn map(out: &mut Vec<u8>, pairs: usize);
    /// Seconds since 1970 and nanoseconds.
    fn timestamp(out: &mut Vec<u8>, seconds: i64, nanos: u32);
}

/// Encodes rows. One per sink instance.
#[derive(Default)]
pub(super) struct ValueEncoder<W> {
    out: Encoded,
    scratch: Vec<u8>,
    writer: std::marker::PhantomData<W>,
}

impl<W: Writer> Encoder for ValueEncoder<W> {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.out.clear();
        let schema = batch.rows.schema_ref();
        for row in 0..batch.num_rows() {
            W::map(&mut self.out.bytes, schema.fields().len());
            for (field, column) in schema.fields().iter().zip(batch.rows.columns()) {
                W::text(&mut self.out.bytes, field.name());
                write_value::<W>(&mut self.out.bytes, &mut self.scratch, column, row)
                    .map_err(|error| error.at(format!("column {}", field.name())))?;
            }
            self.out.end_row();
        }
        Ok(())
    }

    fn encoded(&self) -> &Encoded {
        &self.out
    }
}

fn write_value<W: Writer>(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    column: &ArrayRef,
    row: usize,
) -> Result<()> {
    if column.is_null(row) {
        W::null(out);
        return Ok(());
    }
    macro_rules! int {
        ($kind:ty) => {
            W::int(out, i64::from(column.as_primitive::<$kind>().value(row)))
        };
    }
    macro_rules! time {
        ($kind:ty, $per_second:expr) => {{
            let value = column.as_primitive::<$kind>().value(row);
            let nanos = value.rem_euclid($per_second) * (1_000_000_000 / $per_second);
            W::timestamp(out, value.div_euclid($per_second), nanos as u32);
        }};
    }
    match column.data_type() {
        DataType::Boolean => W::bool(out, column.as_boolean().value(row)),
        DataType::Int8 => int!(Int8Type),
        DataType::Int16 => int!(Int16Type),
        DataType::Int32 => int!(Int32Type),
        DataType::Int64 => int!(Int64Type),
        DataType::Float32 => W::float(out, column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => W::double(out, column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => W::text(out, column.as_string::<i32>().value(row)),
        DataType::Utf8View => W::text(out, column.as_string_view().value(row)),
        DataType::Binary => W::bytes(out, column.as_binary::<i32>().value(row)),
        DataType::Timestamp(TimeUnit::Second, _) => time!(TimestampSecondType, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => time!(TimestampMillisecondType, 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => time!(TimestampMicrosecondType, 1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => time!(TimestampNanosecondType, 1_000_000_000),
        DataType::Date32 => {
            let days = i64::from(column.as_primitive::<Date32Type>().value(row));
            W::text(out, before_and_after(scratch, days * 86_400, 0)?.0);
        }
        DataType::Time32(TimeUnit::Second) => {
            let seconds = i64::from(column.as_primitive::<Time32SecondType>().value(row));
            W::text(out, before_and_after(scratch, seconds, 0)?.1);
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            let ms = i64::from(column.as_primitive::<Time32MillisecondType>().value(row));
            let nanos = ms.rem_euclid(1_000) as u32 * 1_000_000;
            W::text(out, before_and_after(scratch, ms.div_euclid(1_000), nanos)?.1);
        }
        DataType::Decimal128(_, scale) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            W::text(out, decimal(scratch, value, u32::try_from(*scale).unwrap_or(0))?);
        }
        DataType::Struct(fields) => {
            W::map(out, fields.len());
            for (field, inner) in fields.iter().zip(column.as_struct().columns()) {
                W::text(out, field.name());
                write_value::<W>(out, scratch, inner, row)?;
            }
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
            W::array(out, end - start);
            for index in start..end {
                write_value::<W>(out, scratch, list.values(), index)?;
            }
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            let (start, end) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
            W::map(out, end - start);
            for index in start..end {
                write_value::<W>(out, scratch, map.keys(), index)?;
                write_value::<W>(out, scratch, map.values(), index)?;
            }
        }
        other => return Err(Error::data(format!("values of type {other} have no form in this format"))),
    }
    Ok(())
}

/// The date and the time of day of a timestamp, as text.
fn before_and_after(scratch: &mut Vec<u8>, seconds: i64, nanos: u32) -> Result<(&str, &str)> {
    scratch.clear();
    write_timestamp(scratch, seconds, nanos, b'T');
    let text = std::str::from_utf8(scratch).map_err(|_| Error::internal("a timestamp is ASCII"))?;
    text.split_once('T').ok_or_else(|| Error::internal("a timestamp has two parts"))
}

/// A decimal's text, with all digits of its scale.
fn decimal(scratch: &mut Vec<u8>, value: i128, scale: u32) -> Result<&str> {
    scratch.clear();
    let unwritable = |_| Error::internal("memory takes what is written");
    let (sign, digits) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    match 10_u128.checked_pow(scale) {
        Some(unit) if scale > 0 => {
            let width = scale as usize;
            write!(scratch, "{sign}{}.{:0width$}", digits / unit, digits % unit).map_err(unwritable)?;
        }
        _ => write!(scratch, "{value}").map_err(unwritable)?,
    }
    std::str::from_utf8(scratch).map_err(|_| Error::internal("a decimal is ASCII"))
}
