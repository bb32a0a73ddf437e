//! Rows cut to the columns that a query reads: what a source may make whole and give away in part.
//!
//! [`SourceProvider::create`](crate::SourceProvider::create) is told the columns that are wanted. A source that can leave
//! the others unread does so; for one that has them anyway, [`prune`] drops them, without copying any.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

use crate::batch::record_batch;
use crate::error::{Error, Result};
use crate::type_name::type_name;

/// The columns of `schema`, which is a subset of the rows' own by name, ROW columns included.
///
/// # Errors
/// If the rows lack a column, or have it in another type.
pub fn prune(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = rows
            .column_by_name(field.name())
            .ok_or_else(|| Error::config(format!("the rows have no column '{}'", field.name())))?;
        columns.push(match (field.data_type(), column.data_type()) {
            (wanted, found) if wanted == found => Arc::clone(column),
            (DataType::Struct(wanted), DataType::Struct(_)) => prune_struct(column, wanted)?,
            (wanted, found) => {
                return Err(Error::config(format!(
                    "column '{}' is {}, {} was declared",
                    field.name(),
                    type_name(found),
                    type_name(wanted)
                )));
            }
        });
    }
    record_batch(Arc::clone(schema), columns, rows.num_rows())
}

fn prune_struct(column: &ArrayRef, wanted: &Fields) -> Result<ArrayRef> {
    let whole = column.as_struct();
    // The fields' own NULLs are looked at, not the row's: those stay with the row.
    let nullable = |fields: &Fields| -> Vec<Field> {
        fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
    };
    let fields = Arc::new(Schema::new(nullable(whole.fields())));
    let inner = record_batch(fields, whole.columns().to_vec(), whole.len())?;
    let pruned = prune(&inner, &Arc::new(Schema::new(nullable(wanted))))?;
    let columns = pruned.columns().to_vec();
    Ok(Arc::new(StructArray::try_new_with_length(
        wanted.clone(),
        columns,
        whole.nulls().cloned(),
        whole.len(),
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};

    fn rows() -> RecordBatch {
        let fields =
            Fields::from(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)]);
        let inner: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["a", "b"]))];
        let row = StructArray::new(fields.clone(), inner, Some(vec![true, false].into()));
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("r", DataType::Struct(fields), true),
        ]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![7, 8])), Arc::new(row)])
            .unwrap()
    }

    #[test]
    fn fields_of_rows_are_dropped_and_no_columns_keep_the_count() {
        let only_y = Fields::from(vec![Field::new("y", DataType::Utf8, true)]);
        let schema = Arc::new(Schema::new(vec![Field::new("r", DataType::Struct(only_y), true)]));
        let pruned = prune(&rows(), &schema).unwrap();
        let row = pruned.column(0).as_struct();
        assert_eq!((row.num_columns(), row.null_count()), (1, 1));
        assert_eq!(row.column(0).as_string::<i32>().value(0), "a");
        assert_eq!(prune(&rows(), &Arc::new(Schema::empty())).unwrap().num_rows(), 2);
    }

    #[test]
    fn a_missing_column_and_another_type_are_named() {
        let wanted = |name: &str, kind| Arc::new(Schema::new(vec![Field::new(name, kind, true)]));
        let missing = prune(&rows(), &wanted("m", DataType::Int64)).unwrap_err().to_string();
        assert!(missing.contains("no column 'm'"), "{missing}");
        let other = prune(&rows(), &wanted("n", DataType::Utf8)).unwrap_err().to_string();
        assert!(other.contains("column 'n' is BIGINT, STRING was declared"), "{other}");
    }
}
