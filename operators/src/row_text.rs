//! A row as text, `ts=NULL, device=a`: what the log and the dead letters show of a row that was decoded already.
//!
//! Comes from an operator that refuses a row, and goes to [`RowErrors`](millstream_engine::dead_letter::RowErrors).
//! Bad rows are the exception, so this may allocate.

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// Every column of row `row` with its name.
pub(crate) fn row_text(rows: &RecordBatch, row: usize) -> String {
    let shown = rows.schema_ref().fields().iter().zip(rows.columns());
    let shown: Vec<String> =
        shown.map(|(field, column)| format!("{}={}", field.name(), value_text(column, row))).collect();
    shown.join(", ")
}

fn value_text(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".into();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Decimal128(_, _) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Struct(fields) => {
            let inside = fields.iter().zip(column.as_struct().columns());
            let inside: Vec<String> = inside
                .map(|(field, column)| format!("{}={}", field.name(), value_text(column, row)))
                .collect();
            format!("{{{}}}", inside.join(", "))
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            let inside: Vec<String> = (0..values.len()).map(|index| value_text(&values, index)).collect();
            format!("[{}]", inside.join(", "))
        }
        _ => debug_text(column, row),
    }
}

/// Numbers and times as Arrow's debugging output has them, without the type and the list around the value.
fn debug_text(column: &dyn Array, row: usize) -> String {
    let text = format!("{:?}", column.slice(row, 1));
    let inside =
        text.split_once('[').map_or(text.as_str(), |(_, rest)| rest.trim_end_matches([']', ',', '\n', ' ']));
    inside.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        ArrayRef, Float64Array, Int32Array, ListArray, StringArray, StructArray, TimestampMillisecondArray,
    };
    use std::sync::Arc;

    #[test]
    fn every_column_is_shown_with_its_name() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(3)]));
        let list = ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>([
            None,
            Some(vec![Some(1), None]),
        ]);
        let nested =
            StructArray::try_from(vec![("n", Arc::clone(&numbers)), ("m", Arc::clone(&numbers))]).unwrap();
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("n", numbers, true),
            ("ts", Arc::new(TimestampMillisecondArray::from(vec![Some(0), Some(1_500)])) as ArrayRef, true),
            ("name", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef, true),
            ("x", Arc::new(Float64Array::from(vec![0.5, 1.5])) as ArrayRef, true),
            ("list", Arc::new(list) as ArrayRef, true),
            ("nested", Arc::new(nested) as ArrayRef, true),
        ])
        .unwrap();
        assert_eq!(
            row_text(&rows, 1),
            "n=3, ts=1970-01-01T00:00:01.500, name=b, x=1.5, list=[1, NULL], nested={n=3, m=3}"
        );
        assert!(row_text(&rows, 0).starts_with("n=NULL, ts=1970-01-01T00:00:00, name=a, x=0.5, list=NULL"));
    }
}
