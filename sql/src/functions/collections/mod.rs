//! Arrays, maps and rows: made, looked into, and made of each other.
//!
//! A result is a choice among items that are there: lists.rs lays the items of all arguments into one column, a kernel picks
//! their numbers row by row, and one `take` makes the column of results. same.rs says which items are equal. Types are
//! brought into one form first ([`plain`]), so that items of two arguments fit into one column.

mod item;
mod join;
mod lists;
mod make;
mod maps;
mod order;
mod same;
mod search;
mod sets;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};
use datafusion_expr::ScalarUDF;

use super::conditional::wider;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        make::functions(),
        item::functions(),
        search::functions(),
        sets::functions(),
        order::functions(),
        join::functions(),
        maps::functions(),
    ]
    .concat()
}

/// `ARRAY<item>`
pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// `MAP<key, value>`
pub(crate) fn map_of(key: DataType, value: DataType) -> DataType {
    let entry = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

/// The type with every part of it that may be NULL, and with the names of parts that all types have here.
pub(super) fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::List(item) => list_of(plain(item.data_type())),
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|field| Field::new(field.name(), plain(field.data_type()), true)).collect(),
        ),
        _ => match parts_of(kind) {
            Some((key, value)) => map_of(plain(&key), plain(&value)),
            None => kind.clone(),
        },
    }
}

/// The type of an array's items.
fn item_of(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::List(item) => Some(item.data_type().clone()),
        _ => None,
    }
}

/// The types of a map's keys and values.
pub(super) fn parts_of(kind: &DataType) -> Option<(DataType, DataType)> {
    let DataType::Map(entries, _) = kind else { return None };
    let DataType::Struct(fields) = entries.data_type() else { return None };
    match fields.as_ref() {
        [key, value] => Some((key.data_type().clone(), value.data_type().clone())),
        _ => None,
    }
}

/// The one type that holds all of these; `None` also if they are all a bare NULL.
fn common<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Option<DataType> {
    let common = types.into_iter().try_fold(DataType::Null, |common, kind| wider(&common, &plain(kind)))?;
    (!common.is_null()).then_some(common)
}

/// All arguments in the one type that holds them all.
fn alike(types: &[DataType]) -> Option<Vec<DataType>> {
    Some(vec![common(types)?; types.len()])
}

/// An array and a value to be one of its items: the value in their type, if nothing of it is lost.
fn with_item(types: &[DataType]) -> Option<Vec<DataType>> {
    let [list, value] = types else { return None };
    let (list, value) = (plain(list), plain(value));
    let item = item_of(&list)?;
    let fits = match &item {
        DataType::Decimal128(..) => {
            value.is_null() || value.is_integer() || matches!(value, DataType::Decimal128(..))
        }
        DataType::Float32 => value.is_null() || (value.is_numeric() && value != DataType::Float64),
        item => wider(item, &value).as_ref() == Some(item),
    };
    fits.then(|| vec![list, item])
}
