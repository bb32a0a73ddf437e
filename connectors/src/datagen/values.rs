//! Makes columns: the values of [`Column`]s for rows, as Arrow arrays of the wanted types.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use arrow_array::{ArrayRef, BooleanArray, ListArray, PrimitiveArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};
use millstream_engine::{Error, Result};

use super::fields::{Column, Fleet, Values};
use crate::generator::{Draws, Texts, below, unit};

const DAY_MS: i64 = 86_400_000;
const HEX: &str = "0123456789abcdef";

/// What a row's values are made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub n: u64,
    pub time_ms: i64,
    pub device: u64,
    /// How many rows the device had before.
    pub reading: u64,
}

/// The values of `column` in type `data_type`: its own, or of a ROW some of its fields.
pub(super) fn make(column: &Column, data_type: &DataType, fleet: &Fleet, rows: &[Row]) -> Result<ArrayRef> {
    let nulls = nulls(column, rows);
    let draws = column.draws;
    Ok(match &column.values {
        Values::Device if *data_type == DataType::Utf8 => {
            let digits = fleet.digits;
            texts(rows, fleet.prefix.len() + digits, nulls, |row, text| {
                text.add(&fleet.prefix);
                text.add(&format!("{:0digits$}", row.device));
            })?
        }
        Values::Device => whole(data_type, rows, nulls, |row| i128::from(row.device))?,
        Values::Whole(series) => whole(data_type, rows, nulls, |row| series.whole(draws, row))?,
        Values::Real(series) if *data_type == DataType::Float32 => {
            primitive::<Float32Type>(rows, nulls, |row| series.real(draws, row) as f32)
        }
        Values::Real(series) => primitive::<Float64Type>(rows, nulls, |row| series.real(draws, row)),
        Values::Time { max_past_ms } => {
            let past = max_past_ms.saturating_add(u64::from(*max_past_ms > 0));
            time(data_type, rows, nulls, |row| row.time_ms.saturating_sub_unsigned(draws.below(row.n, past)))?
        }
        Values::Boolean => {
            Arc::new(BooleanArray::new(rows.iter().map(|row| draws.at(row.n) & 1 == 1).collect(), nulls))
        }
        Values::Pick(list) => texts(rows, 16, nulls, |row, text| {
            let value = list.get(draws.below(row.n, list.len() as u64) as usize);
            text.add(value.map_or("", String::as_str));
        })?,
        Values::SequenceText { start } => {
            texts(rows, 8, nulls, |row, text| text.add(&(start + i128::from(row.n)).to_string()))?
        }
        Values::Random { len, var_len } if *data_type == DataType::Utf8 => {
            texts(rows, *len, nulls, |row, text| {
                random_bytes(draws, row.n, length(draws, row.n, *len, *var_len), |byte| {
                    text.add(&HEX[usize::from(byte & 15)..][..1]);
                });
            })?
        }
        Values::Random { len, var_len } => {
            let mut bytes = BinaryBuilder::with_capacity(rows.len(), rows.len() * len);
            let mut value = Vec::with_capacity(*len);
            for (at, row) in rows.iter().enumerate() {
                value.clear();
                random_bytes(draws, row.n, length(draws, row.n, *len, *var_len), |byte| value.push(byte));
                bytes.append_option(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)).then_some(&value));
            }
            Arc::new(bytes.finish())
        }
        Values::Row(columns) => {
            let DataType::Struct(fields) = data_type else { return Err(misfit(column, data_type)) };
            let made = fields
                .iter()
                .map(|field| {
                    let child = columns.iter().find(|child| child.name == *field.name());
                    make(child.ok_or_else(|| misfit(column, data_type))?, field.data_type(), fleet, rows)
                })
                .collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), made, nulls, rows.len())?)
        }
        Values::List { len, var_len, item } => {
            let DataType::List(field) = data_type else { return Err(misfit(column, data_type)) };
            let lengths: Vec<usize> = rows.iter().map(|row| length(draws, row.n, *len, *var_len)).collect();
            let items: Vec<Row> = rows
                .iter()
                .zip(&lengths)
                .flat_map(|(row, length)| {
                    let first = row.n.wrapping_mul(*len as u64);
                    (0..*length as u64).map(move |at| Row { n: first.wrapping_add(at), ..*row })
                })
                .collect();
            let made = make(item, field.data_type(), fleet, &items)?;
            Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), made, nulls)?)
        }
    })
}

fn misfit(column: &Column, data_type: &DataType) -> Error {
    Error::internal(format!("datagen cannot make column '{}' as {data_type}", column.name))
}

fn nulls(column: &Column, rows: &[Row]) -> Option<NullBuffer> {
    let chance = column.draws.derived();
    (column.null_rate > 0.0)
        .then(|| NullBuffer::from_iter(rows.iter().map(|row| unit(chance.at(row.n)) >= column.null_rate)))
}

/// A length from 1 to `len`, or `len`.
fn length(draws: Draws, n: u64, len: usize, var_len: bool) -> usize {
    if var_len { 1 + below(draws.at(n), len as u64) as usize } else { len }
}

fn random_bytes(draws: Draws, n: u64, len: usize, mut take: impl FnMut(u8)) {
    let own = draws.derived();
    let first = n.wrapping_mul(len.div_ceil(8) as u64 + 1);
    for at in 0..len {
        take(own.at(first.wrapping_add(at as u64 / 8)).to_le_bytes()[at % 8]);
    }
}

fn primitive<T: ArrowPrimitiveType>(
    rows: &[Row],
    nulls: Option<NullBuffer>,
    value: impl Fn(&Row) -> T::Native,
) -> ArrayRef {
    let values: Vec<T::Native> = rows.iter().map(value).collect();
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

fn texts(
    rows: &[Row],
    bytes: usize,
    nulls: Option<NullBuffer>,
    mut value: impl FnMut(&Row, &mut Texts),
) -> Result<ArrayRef> {
    let mut texts = Texts::with_capacity(rows.len(), rows.len() * bytes);
    for row in rows {
        value(row, &mut texts);
        texts.end();
    }
    texts.finish(nulls)
}

/// Values are within their type's bounds, which reading the options made sure of.
fn whole(
    data_type: &DataType,
    rows: &[Row],
    nulls: Option<NullBuffer>,
    value: impl Fn(&Row) -> i128,
) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Int8 => primitive::<Int8Type>(rows, nulls, |row| value(row) as i8),
        DataType::Int16 => primitive::<Int16Type>(rows, nulls, |row| value(row) as i16),
        DataType::Int32 => primitive::<Int32Type>(rows, nulls, |row| value(row) as i32),
        DataType::Int64 => primitive::<Int64Type>(rows, nulls, |row| value(row) as i64),
        DataType::Decimal128(precision, scale) => {
            let values: Vec<i128> = rows.iter().map(value).collect();
            let column = PrimitiveArray::<Decimal128Type>::new(values.into(), nulls);
            Arc::new(column.with_precision_and_scale(*precision, *scale)?)
        }
        other => return Err(Error::internal(format!("datagen cannot make {other}"))),
    })
}

fn time(
    data_type: &DataType,
    rows: &[Row],
    nulls: Option<NullBuffer>,
    time_ms: impl Fn(&Row) -> i64,
) -> Result<ArrayRef> {
    fn stamps<T>(
        rows: &[Row],
        nulls: Option<NullBuffer>,
        zone: Option<Arc<str>>,
        value: impl Fn(&Row) -> i64,
    ) -> ArrayRef
    where
        T: arrow_array::types::ArrowTimestampType,
    {
        let values: Vec<i64> = rows.iter().map(value).collect();
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_timezone_opt(zone))
    }
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            stamps::<TimestampMillisecondType>(rows, nulls, zone.clone(), time_ms)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            stamps::<TimestampMicrosecondType>(rows, nulls, zone.clone(), |row| {
                time_ms(row).saturating_mul(1_000)
            })
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            stamps::<TimestampNanosecondType>(rows, nulls, zone.clone(), |row| {
                time_ms(row).saturating_mul(1_000_000)
            })
        }
        DataType::Date32 => primitive::<Date32Type>(rows, nulls, |row| {
            i32::try_from(time_ms(row).div_euclid(DAY_MS)).unwrap_or(i32::MAX)
        }),
        DataType::Time32(TimeUnit::Millisecond) => {
            primitive::<Time32MillisecondType>(rows, nulls, |row| time_ms(row).rem_euclid(DAY_MS) as i32)
        }
        other => return Err(Error::internal(format!("datagen cannot make {other}"))),
    })
}
