//! SQL types to Arrow's, as Flink writes them: `TIMESTAMP(3)`, `ROW<a INT, b STRING>`, `DECIMAL(10, 2) NOT NULL`.
//!
//! TIMESTAMP(0..3) is in milliseconds, (4..6) in micro-, (7..9) in nanoseconds; TIMESTAMP_LTZ is the same in UTC.
//! Lengths of CHAR, VARCHAR, BINARY and VARBINARY are read and not enforced.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::error::SqlError;

/// The zone of TIMESTAMP_LTZ inside; how it is shown is the session's matter.
pub(crate) const LTZ: &str = "UTC";

/// The unit that holds `precision` digits of a second.
pub(crate) fn time_unit(precision: u32) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// A type and whether it takes NULL.
pub(super) fn data_type(cursor: &mut Cursor<'_>) -> Result<(DataType, bool), SqlError> {
    let name = cursor.identifier("a type")?;
    let kind = match name.text.to_ascii_uppercase().as_str() {
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "FLOAT" => DataType::Float32,
        "DOUBLE" => {
            let _ = cursor.take_words(&["PRECISION"]);
            DataType::Float64
        }
        "BOOLEAN" => DataType::Boolean,
        "DECIMAL" | "NUMERIC" | "DEC" => decimal(cursor)?,
        "STRING" => DataType::Utf8,
        "CHAR" | "VARCHAR" => {
            optional_number(cursor)?;
            DataType::Utf8
        }
        "BYTES" => DataType::Binary,
        "BINARY" | "VARBINARY" => {
            optional_number(cursor)?;
            DataType::Binary
        }
        "DATE" => DataType::Date32,
        "TIME" => {
            optional_number(cursor)?;
            let _ = cursor.take_words(&["WITHOUT", "TIME", "ZONE"]);
            DataType::Time32(TimeUnit::Millisecond)
        }
        "TIMESTAMP" => {
            let unit = time_unit(optional_number(cursor)?.unwrap_or(6));
            let local = cursor.take_words(&["WITH", "LOCAL", "TIME", "ZONE"]);
            if !local {
                let _ = cursor.take_words(&["WITHOUT", "TIME", "ZONE"]);
            }
            DataType::Timestamp(unit, local.then(|| LTZ.into()))
        }
        "TIMESTAMP_LTZ" => {
            DataType::Timestamp(time_unit(optional_number(cursor)?.unwrap_or(6)), Some(LTZ.into()))
        }
        "ARRAY" => {
            cursor.expect(&Token::Lt, "'<'")?;
            let (item, nullable) = data_type(cursor)?;
            cursor.expect_close_angle()?;
            DataType::List(Arc::new(Field::new("item", item, nullable)))
        }
        "MAP" => {
            cursor.expect(&Token::Lt, "'<'")?;
            let (key, _) = data_type(cursor)?;
            cursor.expect(&Token::Comma, "','")?;
            let (value, nullable) = data_type(cursor)?;
            cursor.expect_close_angle()?;
            let entry =
                Fields::from(vec![Field::new("key", key, false), Field::new("value", value, nullable)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
        }
        "ROW" => row(cursor)?,
        other => {
            return Err(cursor.error_at(format!("there is no type {other}"), name.range).remedy(
                "types are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), STRING, VARCHAR(n), \
                 BYTES, DATE, TIME, TIMESTAMP(p), TIMESTAMP_LTZ(p), ARRAY<…>, MAP<…, …> and ROW<name type, …>",
            ));
        }
    };
    let nullable = !cursor.take_words(&["NOT", "NULL"]);
    if nullable {
        let _ = cursor.take_words(&["NULL"]);
    }
    Ok((kind, nullable))
}

fn row(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    let bracket = cursor.take(&Token::LParen);
    if !bracket {
        cursor.expect(&Token::Lt, "'<' after ROW")?;
    }
    let mut fields = Vec::new();
    loop {
        let name = cursor.identifier("the name of a field")?;
        let (kind, nullable) = data_type(cursor)?;
        if matches!(cursor.peek(), Token::SingleQuotedString(_)) {
            cursor.next();
        }
        fields.push(Field::new(name.text, kind, nullable));
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    if bracket {
        cursor.expect(&Token::RParen, "')'")?;
    } else {
        cursor.expect_close_angle()?;
    }
    Ok(DataType::Struct(fields.into()))
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    let range = cursor.range();
    let (mut precision, mut scale) = (10, 0);
    if cursor.take(&Token::LParen) {
        precision = cursor.number("the precision")?;
        if cursor.take(&Token::Comma) {
            scale = cursor.number("the scale")?;
        }
        cursor.expect(&Token::RParen, "')'")?;
    }
    if !(1..=38).contains(&precision) || scale > precision {
        return Err(cursor
            .error_at(format!("DECIMAL({precision}, {scale}) does not exist"), range)
            .remedy("the precision is 1 to 38, the scale 0 to the precision"));
    }
    let (precision, scale) = (u8::try_from(precision).unwrap_or(38), i8::try_from(scale).unwrap_or(0));
    Ok(DataType::Decimal128(precision, scale))
}

fn optional_number(cursor: &mut Cursor<'_>) -> Result<Option<u32>, SqlError> {
    if !cursor.take(&Token::LParen) {
        return Ok(None);
    }
    let number = cursor.number("a length")?;
    cursor.expect(&Token::RParen, "')'")?;
    Ok(Some(number))
}
