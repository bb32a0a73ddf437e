//! Columns to JSON objects, as Flink's JSON format writes them: keys in column order, nulls as `null`, timestamps in
//! ISO-8601 with as many digits as needed, BYTES in base 64.
//!
//! The encoder writes into one buffer that is reused, and tells where each row ends, so that sinks send rows as slices
//! of it. Column types are resolved once a batch; per row there is no allocation.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millstream_engine::format::Encoded;
use millstream_engine::{Batch, Encoder, Error, Result};

/// Encodes rows. One per sink instance.
#[derive(Debug, Default)]
pub struct JsonEncoder {
    out: Encoded,
    /// Writes the change kind as a first key `op`.
    with_op: bool,
}

impl JsonEncoder {
    /// An encoder; with `with_op` every object starts with the change kind, `"op":"+I"`.
    pub fn new(with_op: bool) -> Self {
        Self { with_op, ..Self::default() }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.out.clear();
        let out = &mut self.out.bytes;
        let mut first = Vec::new();
        for row in 0..batch.num_rows() {
            first.clear();
            if self.with_op {
                let kind = batch.changes.as_ref().map_or("+I", |kinds| kinds[row].short_name());
                write!(first, "\"op\":\"{kind}\"").map_err(unwritable)?;
            }
            out.push(b'{');
            out.extend_from_slice(&first);
            write_fields(out, &batch.rows, row, !first.is_empty())?;
            out.push(b'}');
            self.out.ends.push(out.len());
        }
        Ok(())
    }

    fn encoded(&self) -> &Encoded {
        &self.out
    }
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("a value cannot be written as JSON: {error}"))
}

fn write_fields(out: &mut Vec<u8>, rows: &RecordBatch, row: usize, mut comma: bool) -> Result<()> {
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        write_field(out, field.name(), column, row, &mut comma)?;
    }
    Ok(())
}

fn write_field(out: &mut Vec<u8>, name: &str, column: &ArrayRef, row: usize, comma: &mut bool) -> Result<()> {
    if std::mem::replace(comma, true) {
        out.push(b',');
    }
    write_text(out, name);
    out.push(b':');
    write_value(out, column, row)
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Names and most values need no escape.
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if serde_json::to_writer(&mut *out, text).is_err() {
        // Writing into memory does not fail.
        out.extend_from_slice(b"null");
    }
}

/// Writes one value as it stands in an object.
pub(crate) fn write_value(out: &mut Vec<u8>, column: &ArrayRef, row: usize) -> Result<()> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    macro_rules! number {
        ($kind:ty) => {
            out.extend_from_slice(
                itoa::Buffer::new().format(column.as_primitive::<$kind>().value(row)).as_bytes(),
            )
        };
    }
    match column.data_type() {
        DataType::Boolean => {
            out.extend_from_slice(if column.as_boolean().value(row) { b"true" } else { b"false" });
        }
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::Float32 => write_float(out, column.as_primitive::<Float32Type>().value(row))?,
        DataType::Float64 => write_float(out, column.as_primitive::<Float64Type>().value(row))?,
        DataType::Decimal128(_, _) => {
            let text = column.as_primitive::<Decimal128Type>().value_as_string(row);
            out.extend_from_slice(text.as_bytes());
        }
        DataType::Utf8 => write_text(out, column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_text(out, column.as_string::<i64>().value(row)),
        DataType::Utf8View => write_text(out, column.as_string_view().value(row)),
        DataType::Timestamp(unit, zone) => {
            out.push(b'"');
            write_moment(out, column, row, (*unit, zone.is_some()), b'T');
            out.push(b'"');
        }
        DataType::Date32 => {
            let (year, month, day) = civil(i64::from(column.as_primitive::<Date32Type>().value(row)));
            write!(out, "\"{year:04}-{month:02}-{day:02}\"").map_err(unwritable)?;
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            let ms = i64::from(column.as_primitive::<Time32MillisecondType>().value(row));
            out.push(b'"');
            write_time_of_day(out, ms / 1_000, (ms % 1_000) as u32 * 1_000_000);
            out.push(b'"');
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct();
            out.push(b'{');
            let mut comma = false;
            for (field, column) in fields.iter().zip(columns.columns()) {
                write_field(out, field.name(), column, row, &mut comma)?;
            }
            out.push(b'}');
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            out.push(b'[');
            for index in 0..values.len() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, &values, index)?;
            }
            out.push(b']');
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            out.push(b'{');
            for index in 0..entries.len() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(out, &array_value_to_string(keys, index)?);
                out.push(b':');
                write_value(out, values, index)?;
            }
            out.push(b'}');
        }
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            let start = out.len() + 1;
            out.resize(start + bytes.len().div_ceil(3) * 4, b'"');
            out[start - 1] = b'"';
            let length = STANDARD.encode_slice(bytes, &mut out[start..]).map_err(unwritable)?;
            out.truncate(start + length);
            out.push(b'"');
        }
        // Intervals and the like: as text.
        _ => write_text(out, &array_value_to_string(column, row)?),
    }
    Ok(())
}

/// A single value as text without quotes, for formats of lines: times in SQL form, `2026-01-01 00:00:10.5`.
pub(in crate::format) fn write_plain(out: &mut Vec<u8>, column: &ArrayRef, row: usize) -> Result<()> {
    let start = out.len();
    match column.data_type() {
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => out.extend_from_slice(column.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => out.extend_from_slice(column.as_string_view().value(row).as_bytes()),
        DataType::Binary => out.extend_from_slice(column.as_binary::<i32>().value(row)),
        DataType::Timestamp(unit, zone) => write_moment(out, column, row, (*unit, zone.is_some()), b' '),
        _ => {
            write_value(out, column, row)?;
            if out.get(start) == Some(&b'"') {
                out.remove(start);
                out.pop();
            }
        }
    }
    Ok(())
}

/// Finite numbers in shortest form; the others as strings, as Jackson writes them.
fn write_float<F: Into<f64> + serde::Serialize + Copy>(out: &mut Vec<u8>, value: F) -> Result<()> {
    let wide: f64 = value.into();
    if wide.is_finite() {
        return serde_json::to_writer(out, &value).map_err(unwritable);
    }
    let text = if wide.is_nan() {
        "NaN"
    } else if wide > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    write_text(out, text);
    Ok(())
}

/// Appends a TIMESTAMP of any precision, with `Z` behind one of a zone.
fn write_moment(
    out: &mut Vec<u8>,
    column: &ArrayRef,
    row: usize,
    (unit, has_zone): (TimeUnit, bool),
    separator: u8,
) {
    let (value, per_second) = match unit {
        TimeUnit::Second => (column.as_primitive::<TimestampSecondType>().value(row), 1),
        TimeUnit::Millisecond => (column.as_primitive::<TimestampMillisecondType>().value(row), 1_000),
        TimeUnit::Microsecond => (column.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000),
        TimeUnit::Nanosecond => (column.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000),
    };
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    write_timestamp(out, value.div_euclid(per_second), nanos as u32, separator);
    if has_zone {
        out.push(b'Z');
    }
}

/// `2026-01-01T00:00:10.5`: seconds since 1970 and nanoseconds, the fraction with the digits it needs.
pub fn write_timestamp(out: &mut Vec<u8>, seconds: i64, nanos: u32, separator: u8) {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    push_digits(out, year.unsigned_abs(), 4);
    out.push(b'-');
    push_digits(out, u64::from(month), 2);
    out.push(b'-');
    push_digits(out, u64::from(day), 2);
    out.push(separator);
    write_time_of_day(out, seconds.rem_euclid(86_400), nanos);
}

fn write_time_of_day(out: &mut Vec<u8>, seconds: i64, nanos: u32) {
    let seconds = seconds.unsigned_abs();
    push_digits(out, seconds / 3_600, 2);
    out.push(b':');
    push_digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_digits(out, seconds % 60, 2);
    if nanos > 0 {
        out.push(b'.');
        let end = out.len() + 9;
        push_digits(out, u64::from(nanos), 9);
        out.truncate(end);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

fn push_digits(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let (mut at, mut rest) = (digits.len(), value);
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// Year, month and day of a day number since 1970 (proleptic Gregorian; Howard Hinnant's days-to-civil).
fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{
        BinaryArray, Decimal128Array, Float64Array, Int32Array, StringArray, StructArray,
        TimestampMillisecondArray, TimestampNanosecondArray,
    };
    use arrow_schema::{Field, Fields, Schema};
    use millstream_engine::ChangeKind;

    #[test]
    fn writes_what_flink_writes() {
        let inner: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let row =
            StructArray::new(Fields::from(vec![Field::new("i", DataType::Int32, true)]), vec![inner], None);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("s", Arc::new(StringArray::from(vec!["a\"\n\u{e9}", ""]))),
            ("f", Arc::new(Float64Array::from(vec![21.5, f64::NAN]))),
            ("t", Arc::new(TimestampMillisecondArray::from(vec![1_767_225_610_000, -1]))),
            ("z", Arc::new(TimestampMillisecondArray::from(vec![500, 120]).with_timezone("UTC"))),
            ("n", Arc::new(TimestampNanosecondArray::from(vec![1, 1_000_000_000]))),
            ("d", Arc::new(Decimal128Array::from(vec![-105, 5]).with_precision_and_scale(5, 2).unwrap())),
            ("b", Arc::new(BinaryArray::from(vec![&[0, 255, 62][..], b"?"]))),
            ("r", Arc::new(row)),
        ];
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect();
        let rows = RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns.into_iter().map(|(_, column)| column).collect(),
        )
        .unwrap();
        let mut batch = Batch::new(rows);
        batch.changes = Some([ChangeKind::Insert, ChangeKind::Delete].into());
        let mut encoder = JsonEncoder::new(true);
        encoder.encode(&batch).unwrap();
        let mut lines = Vec::new();
        encoder.encoded().lines(&mut lines);
        let text = String::from_utf8(lines).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"op":"+I","s":"a\"\né","f":21.5,"t":"2026-01-01T00:00:10","z":"1970-01-01T00:00:00.5Z","#,
                r#""n":"1970-01-01T00:00:00.000000001","d":-1.05,"b":"AP8+","r":{"i":1}}"#,
                "\n",
                r#"{"op":"-D","s":"","f":"NaN","t":"1969-12-31T23:59:59.999","z":"1970-01-01T00:00:00.12Z","#,
                r#""n":"1970-01-01T00:00:01","d":0.05,"b":"Pw==","r":{"i":null}}"#,
                "\n"
            )
        );
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn a_map_is_an_object() {
        let keys = arrow_array::builder::StringBuilder::new();
        let values = arrow_array::builder::Int32Builder::new();
        let mut builder = arrow_array::builder::MapBuilder::new(None, keys, values);
        builder.keys().append_value("a\"b");
        builder.values().append_value(1);
        builder.keys().append_value("c");
        builder.values().append_null();
        builder.append(true).unwrap();
        builder.append(false).unwrap();
        let map: ArrayRef = Arc::new(builder.finish());
        let schema = Schema::new(vec![Field::new("m", map.data_type().clone(), true)]);
        let mut encoder = JsonEncoder::new(false);
        encoder.encode(&Batch::new(RecordBatch::try_new(Arc::new(schema), vec![map]).unwrap())).unwrap();
        let rows: Vec<_> =
            encoder.encoded().rows().map(|row| String::from_utf8_lossy(row).into_owned()).collect();
        assert_eq!(rows, [r#"{"m":{"a\"b":1,"c":null}}"#, r#"{"m":null}"#]);
    }
}
