//! Decimals, which arrow-json reads as text for us: its own parser overflows on exponents.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, PrimitiveArray, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use millstream_engine::{Error, Result};

use crate::format::convert::{self, Scalar};

/// `schema` with text for its decimals.
pub(super) fn as_text(schema: &SchemaRef) -> SchemaRef {
    match schema.fields().iter().any(|field| has_decimals(field.data_type())) {
        true => Arc::new(Schema::new(text_fields(schema.fields()))),
        false => Arc::clone(schema),
    }
}

fn has_decimals(kind: &DataType) -> bool {
    match kind {
        DataType::Decimal128(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_decimals(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => has_decimals(item.data_type()),
        _ => false,
    }
}

fn text_fields(fields: &Fields) -> Fields {
    fields.iter().map(text_field).collect()
}

fn text_field(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Decimal128(..) => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(text_fields(fields)),
        DataType::List(item) => DataType::List(text_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(text_field(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

/// The rows of [`as_text`] in the columns of `schema`.
///
/// # Errors
/// `Data` if a text is no decimal, or beyond its column.
pub(super) fn from_text(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows);
    }
    let convert = |(column, field): (&ArrayRef, &FieldRef)| {
        decimals(column, field.data_type())
            .map_err(|error| Error::data(format!("'{}': {}", field.name(), error.message())))
    };
    let columns = rows.columns().iter().zip(schema.fields()).map(convert).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn decimals(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    Ok(match wanted {
        DataType::Decimal128(..) => {
            let texts = column.as_string::<i32>().iter();
            let values = texts
                .map(|text| text.map(|text| convert::decimal(Scalar::Text(text), wanted)).transpose())
                .collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
            Arc::new(values.with_data_type(wanted.clone()))
        }
        DataType::Struct(fields) => Arc::new(inner(column.as_struct(), fields)?),
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            let items = decimals(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?)
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::internal("a map without entries"));
            };
            let map = column.as_map();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let pairs = inner(map.entries(), fields)?;
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?)
        }
        _ => return Err(Error::internal("only decimals are read as text")),
    })
}

fn inner(rows: &StructArray, fields: &Fields) -> Result<StructArray> {
    let columns = rows.columns().iter().zip(fields);
    let columns =
        columns.map(|(column, field)| decimals(column, field.data_type())).collect::<Result<_>>()?;
    Ok(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?)
}
