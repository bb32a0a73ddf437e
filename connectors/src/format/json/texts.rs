//! Decimals and BYTES, which arrow-json reads as text for us: its own parser overflows on exponents, and takes BYTES for
//! hexadecimal, where Flink has base 64.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, PrimitiveArray, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millstream_engine::{Error, Result};

use crate::format::convert::{self, Scalar};

/// `schema` with text for its decimals and BYTES.
pub(super) fn as_text(schema: &SchemaRef) -> SchemaRef {
    match schema.fields().iter().any(|field| has_texts(field.data_type())) {
        true => Arc::new(Schema::new(text_fields(schema.fields()))),
        false => Arc::clone(schema),
    }
}

fn has_texts(kind: &DataType) -> bool {
    match kind {
        DataType::Decimal128(..) | DataType::Binary => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_texts(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => has_texts(item.data_type()),
        _ => false,
    }
}

fn text_fields(fields: &Fields) -> Fields {
    fields.iter().map(text_field).collect()
}

fn text_field(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Decimal128(..) | DataType::Binary => DataType::Utf8,
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
/// `Data` if a text is no decimal, is beyond its column, or is not in base 64.
pub(super) fn from_text(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows);
    }
    let convert = |(column, field): (&ArrayRef, &FieldRef)| {
        values(column, field.data_type())
            .map_err(|error| Error::data(format!("'{}': {}", field.name(), error.message())))
    };
    let columns = rows.columns().iter().zip(schema.fields()).map(convert).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn values(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
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
        DataType::Binary => {
            let texts = column.as_string::<i32>();
            let (mut all, mut bytes) =
                (BinaryBuilder::with_capacity(texts.len(), texts.values().len()), Vec::new());
            for text in texts {
                if let Some(text) = text {
                    bytes.clear();
                    STANDARD
                        .decode_vec(text, &mut bytes)
                        .map_err(|error| Error::data(format!("BYTES are in base 64 here: {error}")))?;
                }
                all.append_option(text.map(|_| bytes.as_slice()));
            }
            Arc::new(all.finish())
        }
        DataType::Struct(fields) => Arc::new(inner(column.as_struct(), fields)?),
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            let items = values(list.values(), item.data_type())?;
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
        _ => return Err(Error::internal("only decimals and BYTES are read as text")),
    })
}

fn inner(rows: &StructArray, fields: &Fields) -> Result<StructArray> {
    let columns = rows.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| values(column, field.data_type())).collect::<Result<_>>()?;
    Ok(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?)
}
