//! Types of the metadata columns that several connectors offer.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};

/// `MAP<STRING, STRING>`, as DDL makes it.
pub(crate) fn text_map_type() -> DataType {
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}
