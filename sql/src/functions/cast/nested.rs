//! Arrays, maps and rows cast part by part: fields of rows by their place, whatever their names, as in Flink.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_cast::cast as arrow_cast;
use arrow_schema::{DataType, FieldRef, Fields};
use arrow_select::nullif::nullif;
use chrono_tz::Tz;
use datafusion_common::{Result, exec_err};

use super::Kernel;

/// `None` unless both are arrays, maps, or rows of as many fields.
pub(super) fn kernel(from: &DataType, to: &DataType, try_cast: bool, zone: Tz) -> Option<Kernel> {
    use DataType as T;
    match (from, to) {
        (T::List(from), T::List(to)) => {
            let (items, field) = (part(from, to, try_cast, zone), Arc::clone(to));
            Some(Box::new(move |column| {
                let lists = column.as_list::<i32>();
                let items = items(lists.values())?;
                let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
                Ok(Arc::new(ListArray::try_new(Arc::clone(&field), offsets, items, nulls)?))
            }))
        }
        (T::Struct(from), T::Struct(to)) if from.len() == to.len() => {
            let (parts, fields) = (parts(from, to, try_cast, zone), to.clone());
            Some(Box::new(move |column| Ok(Arc::new(row(column.as_struct(), &parts, &fields)?))))
        }
        (T::Map(from, _), T::Map(field, is_sorted)) => {
            let (T::Struct(from), T::Struct(to)) = (from.data_type(), field.data_type()) else { return None };
            let (parts, fields) = (parts(from, to, try_cast, zone), to.clone());
            let (field, is_sorted) = (Arc::clone(field), *is_sorted);
            Some(Box::new(move |column| {
                let maps = column.as_map();
                let entries = row(maps.entries(), &parts, &fields)?;
                let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
                Ok(Arc::new(MapArray::try_new(Arc::clone(&field), offsets, entries, nulls, is_sorted)?))
            }))
        }
        _ => None,
    }
}

fn parts(from: &Fields, to: &Fields, try_cast: bool, zone: Tz) -> Vec<Kernel> {
    from.iter().zip(to).map(|(from, to)| part(from, to, try_cast, zone)).collect()
}

fn part(from: &FieldRef, to: &FieldRef, try_cast: bool, zone: Tz) -> Kernel {
    let (from, to) = (from.data_type(), to.data_type().clone());
    if *from == to {
        return Box::new(|column| Ok(Arc::clone(column)));
    }
    super::kernel(from, &to, try_cast, zone)
        .unwrap_or_else(|| Box::new(move |column| Ok(arrow_cast(column, &to)?)))
}

fn row(rows: &StructArray, parts: &[Kernel], fields: &Fields) -> Result<StructArray> {
    let cast = |((column, part), field): ((&ArrayRef, &Kernel), &FieldRef)| {
        // What stands in a field of a row that is NULL is no value, and must not fail.
        let column = match rows.nulls() {
            Some(nulls) if nulls.null_count() > 0 => nullif(column, &(!nulls.inner()).into())?,
            _ => Arc::clone(column),
        };
        let column = part(&column)?;
        if !field.is_nullable() && column.null_count() > 0 {
            return exec_err!("{} of a map is NULL after its CAST: only values may be", field.name());
        }
        Ok(column)
    };
    let columns = rows.columns().iter().zip(parts).zip(fields).map(cast).collect::<Result<Vec<_>>>()?;
    Ok(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?)
}
