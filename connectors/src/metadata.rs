//! Types of the metadata columns that several connectors offer.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};

/// `MAP<STRING, STRING>`, as DDL makes it.
#[cfg(any(feature = "http", feature = "mqtt"))]
pub(crate) fn text_map_type() -> DataType {
    map_type(DataType::Utf8)
}

/// A MAP of STRING to `value`, as DDL makes it.
pub(crate) fn map_type(value: DataType) -> DataType {
    let entry =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}
