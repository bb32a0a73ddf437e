//! SQL's names of types, for messages, TYPEOF and EXPLAIN.

use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};

/// Flink's name of a type; lengths of strings are not carried in the type, so every string is a STRING.
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match data_type {
        T::Null => "NULL".into(),
        T::Boolean => "BOOLEAN".into(),
        T::Int8 => "TINYINT".into(),
        T::Int16 => "SMALLINT".into(),
        T::Int32 => "INT".into(),
        T::Int64 => "BIGINT".into(),
        T::Float32 => "FLOAT".into(),
        T::Float64 => "DOUBLE".into(),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "STRING".into(),
        T::Binary | T::LargeBinary | T::BinaryView => "BYTES".into(),
        T::FixedSizeBinary(length) => format!("BINARY({length})"),
        T::Date32 | T::Date64 => "DATE".into(),
        T::Time32(_) | T::Time64(_) => "TIME(0)".into(),
        T::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        T::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        T::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        T::Interval(_) | T::Duration(_) => "INTERVAL DAY TO SECOND".into(),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => format!("ARRAY<{}>", inner(item)),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(fields) if fields.len() == 2 => {
                format!("MAP<{}, {}>", type_name(fields[0].data_type()), inner(&fields[1]))
            }
            other => format!("MAP<{other}>"),
        },
        T::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", quoted(field.name()), inner(field)));
            format!("ROW<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        T::Dictionary(_, value) => type_name(value),
        other => other.to_string(),
    }
}

fn inner(field: &Field) -> String {
    type_name(field.data_type())
}

/// A field's name, in back ticks if it could not stand without.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !name.is_empty() { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_flinks_names() {
        let row = DataType::Struct(
            vec![Field::new("a", DataType::Int32, true), Field::new("b c", DataType::Utf8, true)].into(),
        );
        let list = DataType::List(Field::new("item", DataType::Float64, true).into());
        let cases = [
            (DataType::Utf8, "STRING"),
            (DataType::Int64, "BIGINT"),
            (DataType::Decimal128(10, 2), "DECIMAL(10, 2)"),
            (DataType::Timestamp(TimeUnit::Millisecond, None), "TIMESTAMP(3)"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "TIMESTAMP_LTZ(6)"),
            (row, "ROW<a INT, `b c` STRING>"),
            (list, "ARRAY<DOUBLE>"),
        ];
        for (kind, name) in cases {
            assert_eq!(type_name(&kind), name);
        }
    }
}
