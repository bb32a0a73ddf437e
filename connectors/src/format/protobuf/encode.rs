//! Columns to messages: NULL is a field that is not there, and inside an ARRAY or MAP, which cannot lack an item, the
//! default value, as in Flink.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use millstream_engine::format::Encoded;
use millstream_engine::{Batch, Encoder, Error, Result};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::shape::{Member, Shape, members};

/// Encodes rows as messages of one type. One per sink instance.
pub(super) struct ProtobufEncoder {
    message: MessageDescriptor,
    members: Vec<Member>,
    out: Encoded,
}

impl ProtobufEncoder {
    /// An encoder for the columns of `schema`.
    ///
    /// # Errors
    /// If the message has no such fields.
    pub fn new(schema: &SchemaRef, message: MessageDescriptor) -> Result<Self> {
        let members = members(schema.fields(), &message)?;
        Ok(Self { message, members, out: Encoded::default() })
    }
}

impl Encoder for ProtobufEncoder {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.out.clear();
        let columns = typed_all(&self.members, batch.rows.columns())?;
        for row in 0..batch.num_rows() {
            let message = message(&self.message, &self.members, &columns, row)?;
            message.encode(&mut self.out.bytes).map_err(|error| Error::internal(error.to_string()))?;
            self.out.end_row();
        }
        Ok(())
    }

    fn encoded(&self) -> &Encoded {
        &self.out
    }
}

/// A column in the type that its field has, once a batch.
struct Typed {
    column: ArrayRef,
    /// A ROW's fields, an ARRAY's items, a MAP's keys and values.
    inner: Vec<Typed>,
}

fn typed_all(members: &[Member], columns: &[ArrayRef]) -> Result<Vec<Typed>> {
    let typed = |(member, column): (&Member, &ArrayRef)| {
        typed(&member.shape, column)
            .map_err(|error| Error::data(format!("'{}': {}", member.field.name(), error.message())))
    };
    members.iter().zip(columns).map(typed).collect()
}

fn typed(shape: &Shape, column: &ArrayRef) -> Result<Typed> {
    let (column, inner) = match shape {
        Shape::Row(_, members) => (column.clone(), typed_all(members, column.as_struct().columns())?),
        Shape::List(item) => (column.clone(), vec![typed(item, column.as_list::<i32>().values())?]),
        Shape::Map { key, value } => {
            let map = column.as_map();
            let keys = Typed { column: cast(map.keys(), &arrow_kind(key))?, inner: Vec::new() };
            (column.clone(), vec![keys, typed(value, map.values())?])
        }
        Shape::Scalar(kind) => (cast(column, &arrow_kind(kind))?, Vec::new()),
        Shape::Enum { is_text: true, .. } => (column.clone(), Vec::new()),
        Shape::Enum { is_text: false, .. } => (cast(column, &DataType::Int32)?, Vec::new()),
        Shape::Time(_) => {
            let unit = match column.data_type() {
                DataType::Timestamp(TimeUnit::Nanosecond, _) => TimeUnit::Nanosecond,
                _ => TimeUnit::Microsecond,
            };
            (cast(column, &DataType::Timestamp(unit, None))?, Vec::new())
        }
    };
    Ok(Typed { column, inner })
}

fn cast(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    // A time of day as a number is milliseconds, whatever the column's unit, since that is how it is read.
    if matches!(column.data_type(), DataType::Time32(_)) && kind.is_integer() {
        let ms = cast(column, &DataType::Time32(TimeUnit::Millisecond))?;
        return cast(&cast_with_options(&ms, &DataType::Int32, &strict)?, kind);
    }
    Ok(cast_with_options(column, kind, &strict)?)
}

fn arrow_kind(kind: &Kind) -> DataType {
    match kind {
        Kind::Double => DataType::Float64,
        Kind::Float => DataType::Float32,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => DataType::Int32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => DataType::Int64,
        Kind::Uint32 | Kind::Fixed32 => DataType::UInt32,
        Kind::Uint64 | Kind::Fixed64 => DataType::UInt64,
        Kind::Bool => DataType::Boolean,
        Kind::Bytes => DataType::Binary,
        Kind::String | Kind::Message(_) => DataType::Utf8,
    }
}

fn message(
    of: &MessageDescriptor,
    members: &[Member],
    columns: &[Typed],
    row: usize,
) -> Result<DynamicMessage> {
    let mut message = DynamicMessage::new(of.clone());
    for (Member { field, shape, .. }, typed) in members.iter().zip(columns) {
        if let Some(value) = value(shape, typed, row)? {
            message
                .try_set_field(field, value)
                .map_err(|error| Error::data(format!("'{}': {error}", field.name())))?;
        }
    }
    Ok(message)
}

/// The value of a row, `None` for NULL.
fn value(shape: &Shape, typed: &Typed, row: usize) -> Result<Option<Value>> {
    let column = &typed.column;
    if column.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match shape {
        Shape::Row(of, members) => Value::Message(message(of, members, &typed.inner, row)?),
        Shape::Time(of) => {
            let (value, per_second) = match column.data_type() {
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    (column.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000)
                }
                _ => (column.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000),
            };
            let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
            let mut time = DynamicMessage::new(of.clone());
            let wrong = |_| Error::internal("a Timestamp has seconds and nanos");
            time.try_set_field_by_number(1, Value::I64(value.div_euclid(per_second))).map_err(wrong)?;
            time.try_set_field_by_number(2, Value::I32(nanos as i32)).map_err(wrong)?;
            Value::Message(time)
        }
        Shape::List(item) => {
            let offsets = column.as_list::<i32>().value_offsets();
            let items = (offsets[row] as usize..offsets[row + 1] as usize)
                .map(|index| Ok(value(item, &typed.inner[0], index)?.unwrap_or_else(|| default(item))));
            Value::List(items.collect::<Result<_>>()?)
        }
        Shape::Map { value: item, .. } => {
            let offsets = column.as_map().value_offsets();
            let pairs = (offsets[row] as usize..offsets[row + 1] as usize).map(|index| {
                let of = value(item, &typed.inner[1], index)?.unwrap_or_else(|| default(item));
                Ok((map_key(&typed.inner[0].column, index)?, of))
            });
            Value::Map(pairs.collect::<Result<_>>()?)
        }
        Shape::Enum { values, is_text: true } => {
            Value::EnumNumber(number_of(values, column.as_string::<i32>().value(row))?)
        }
        Shape::Enum { is_text: false, .. } => {
            Value::EnumNumber(column.as_primitive::<Int32Type>().value(row))
        }
        Shape::Scalar(_) => scalar(column, row),
    }))
}

fn scalar(column: &ArrayRef, row: usize) -> Value {
    match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int32 => Value::I32(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::I64(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt32 => Value::U32(column.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => Value::U64(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => Value::F32(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::F64(column.as_primitive::<Float64Type>().value(row)),
        DataType::Binary => Value::Bytes(column.as_binary::<i32>().value(row).to_vec().into()),
        // `arrow_kind` names no other type.
        _ => Value::String(column.as_string::<i32>().value(row).to_owned()),
    }
}

fn map_key(keys: &ArrayRef, index: usize) -> Result<MapKey> {
    scalar(keys, index).into_map_key().ok_or_else(|| Error::internal("a key is text or a whole number"))
}

fn number_of(values: &EnumDescriptor, name: &str) -> Result<i32> {
    if let Some(value) = values.get_value_by_name(name) {
        return Ok(value.number());
    }
    // What a value without a name is read as.
    name.parse().map_err(|_| Error::data(format!("the enum '{}' has no value '{name}'", values.full_name())))
}

/// What stands for NULL where something must.
fn default(shape: &Shape) -> Value {
    match shape {
        Shape::Row(of, _) | Shape::Time(of) => Value::Message(DynamicMessage::new(of.clone())),
        Shape::List(_) => Value::List(Vec::new()),
        Shape::Map { .. } => Value::Map(Default::default()),
        Shape::Enum { values, .. } => Value::EnumNumber(values.default_value().number()),
        Shape::Scalar(kind) => Value::default_value(kind),
    }
}
