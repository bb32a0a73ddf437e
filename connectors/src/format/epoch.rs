//! Times that payloads hold as numbers since 1970: which unit, and how they become a timestamp column.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use millstream_engine::batch::record_batch;
use millstream_engine::{Error, Result};

/// The unit of a number since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Epoch {
    /// Seconds, with a fraction where there is one.
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// The words of the `'time-format'` option; `text` is no epoch.
pub(super) const CHOICES: &[(&str, Option<Epoch>)] = &[
    ("text", None),
    ("epoch-seconds", Some(Epoch::Seconds)),
    ("epoch-millis", Some(Epoch::Millis)),
    ("epoch-micros", Some(Epoch::Micros)),
    ("epoch-nanos", Some(Epoch::Nanos)),
];

impl Epoch {
    /// The number column to decode in place of the timestamp column `field`; `None` for other types.
    pub fn raw_field(self, field: &Field) -> Option<Field> {
        matches!(field.data_type(), DataType::Timestamp(..)).then(|| {
            let kind = if self == Self::Seconds { DataType::Float64 } else { DataType::Int64 };
            field.clone().with_data_type(kind)
        })
    }

    fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }
}

/// `rows` with their number columns of `epochs` as the timestamps of `schema`.
///
/// # Errors
/// `Data` when a number is beyond what the column can hold.
pub(super) fn to_timestamps(
    rows: &RecordBatch,
    schema: &SchemaRef,
    epochs: &[(usize, Epoch)],
) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    for (index, epoch) in epochs {
        let field = schema.field(*index);
        columns[*index] = timestamps(&columns[*index], field.data_type(), *epoch).ok_or_else(|| {
            Error::data(format!("a number in '{}' is no time since 1970 in this unit", field.name()))
                .remedy("see whether 'time-format' names the unit that the device sends")
        })?;
    }
    record_batch(Arc::clone(schema), columns, rows.num_rows())
}

fn timestamps(numbers: &ArrayRef, kind: &DataType, epoch: Epoch) -> Option<ArrayRef> {
    let DataType::Timestamp(unit, _) = kind else { return None };
    let per_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let values: Int64Array = if epoch == Epoch::Seconds {
        let numbers = numbers.as_primitive_opt::<Float64Type>()?;
        // Rounded, so that 1767225610.1 is .100 s and not .099; what a double cannot say exactly is not there to keep.
        let scaled = |seconds: f64| {
            let value = (seconds * per_second as f64).round();
            (value.is_finite() && value.abs() < 9.2e18).then_some(value as i64)
        };
        numbers
            .iter()
            .map(|seconds| seconds.map_or(Some(None), |seconds| scaled(seconds).map(Some)))
            .collect::<Option<_>>()?
    } else {
        let numbers = numbers.as_primitive_opt::<Int64Type>()?;
        let from = epoch.per_second();
        if from == per_second {
            numbers.clone()
        } else if from > per_second {
            numbers.unary(|value| value.div_euclid(from / per_second))
        } else {
            numbers
                .try_unary::<_, Int64Type, ()>(|value| value.checked_mul(per_second / from).ok_or(()))
                .ok()?
        }
    };
    // The same 64 bits under the timestamp's type.
    cast(&(Arc::new(values) as ArrayRef), kind).ok()
}

#[cfg(test)]
mod tests {
    use super::super::payload::testing::decode;
    use super::*;
    use arrow_array::Array;
    use arrow_array::types::TimestampMillisecondType;
    use arrow_schema::Schema;

    #[test]
    fn every_unit_becomes_the_columns_own() {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let names = ["s", "ms", "us", "text"];
        let schema: SchemaRef =
            Arc::new(Schema::new(names.map(|name| Field::new(name, time.clone(), true)).to_vec()));
        let payloads: [&[u8]; 3] = [
            br#"{"s":1767225610.1,"ms":1767225610100,"us":1767225610100999,"text":"2026-01-01T00:00:10.1"}"#,
            br#"{"s":null,"us":-1}"#,
            br#"{"s":1e300}"#,
        ];
        let pairs = [
            ("time-format", "epoch-millis"),
            ("time-format.s", "epoch-seconds"),
            ("time-format.us", "epoch-micros"),
            ("time-format.text", "text"),
        ];
        let (rows, numbers, errors) = decode(schema, pairs, &payloads);
        assert_eq!(numbers, vec![0, 1]);
        assert!(
            errors.len() == 1 && errors[0].contains("'s'") && errors[0].contains("time-format"),
            "{errors:?}"
        );
        let first: Vec<_> = rows
            .columns()
            .iter()
            .map(|column| column.as_primitive::<TimestampMillisecondType>().value(0))
            .collect();
        assert_eq!(first, vec![1_767_225_610_100; 4]);
        // Times before 1970 round down, too.
        assert_eq!(rows.column(2).as_primitive::<TimestampMillisecondType>().value(1), -1);
        assert!(rows.column(0).is_null(1));
    }
}
