//! Columns of one type to columns of another: what Avro's types give to what the table declares, and back.
//!
//! Invariants: fields of a ROW are matched by name, one that is missing is NULL; a value that does not fit the wanted
//! type is an error, never a silent NULL.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

/// `column` as type `wanted`.
///
/// # Errors
/// `Data` if a value does not fit, or the types have nothing in common.
pub(super) fn conform(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    use DataType as T;
    Ok(match (column.data_type(), wanted) {
        (have, wanted) if have == wanted => Arc::clone(column),
        (T::Struct(_), T::Struct(fields)) => {
            let rows = column.as_struct();
            let mut columns = Vec::with_capacity(fields.len());
            for field in fields {
                columns.push(match rows.column_by_name(field.name()) {
                    Some(inner) => conform(inner, field.data_type())
                        .map_err(|error| Error::data(format!("'{}': {}", field.name(), error.message())))?,
                    None => new_null_array(field.data_type(), rows.len()),
                });
            }
            match fields.is_empty() {
                true => Arc::new(StructArray::new_empty_fields(rows.len(), rows.nulls().cloned())),
                false => Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?),
            }
        }
        (T::List(_), T::List(item)) => {
            let list = column.as_list::<i32>();
            let items = conform(list.values(), item.data_type())?;
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                list.offsets().clone(),
                items,
                list.nulls().cloned(),
            )?)
        }
        (T::Map(_, _), T::Map(entries, sorted)) => {
            let T::Struct(fields) = entries.data_type() else {
                return Err(Error::internal("a map without entries"));
            };
            let map = column.as_map();
            let columns = vec![
                conform(map.keys(), fields[0].data_type())?,
                conform(map.values(), fields[1].data_type())?,
            ];
            let pairs = StructArray::try_new(fields.clone(), columns, None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?)
        }
        (_, wanted) => {
            cast_with_options(column, wanted, &CastOptions { safe: false, ..CastOptions::default() })?
        }
    })
}
