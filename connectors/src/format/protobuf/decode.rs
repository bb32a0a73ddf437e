//! Messages to columns, with Flink's meaning: a field that is not there is NULL where that can be told, and its default
//! value otherwise (plain proto3 scalars, or 'protobuf.read-default-values').
//!
//! Messages are read by direct.rs where it can; what it gives up on is read here, through a message in memory, and what
//! is wrong with it is found here.
//!
//! Invariants: nesting is bounded by prost's limit of 100; a message that is bad half-way leaves no row.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::format::Payloads;
use millstream_engine::{Decoded, Decoder, Error, Result};
use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, Value};

use super::direct;
use super::shape::{Member, Shape, members};
use crate::format::columns::{ColumnBuilder, RowBuilder};
use crate::format::convert::Scalar;

/// Decodes messages of one type.
pub(super) struct ProtobufDecoder {
    schema: SchemaRef,
    message: MessageDescriptor,
    members: Vec<Member>,
    rows: RowBuilder,
    read_defaults: bool,
    /// Whether direct.rs is tried first.
    pub(super) is_direct: bool,
}

impl ProtobufDecoder {
    /// A decoder for the columns of `schema`.
    ///
    /// # Errors
    /// If the message has no such fields.
    pub fn new(schema: SchemaRef, message: MessageDescriptor, read_defaults: bool) -> Result<Self> {
        let members = members(schema.fields(), &message)?;
        let rows = RowBuilder::new(schema.fields())?;
        let is_direct = members.iter().all(Member::is_direct);
        Ok(Self { schema, message, members, rows, read_defaults, is_direct })
    }

    /// Fills the row under way with `payload`.
    fn read(&mut self, payload: &[u8]) -> Result<()> {
        if self.is_direct {
            if direct::read_row(payload, &self.members, &mut self.rows, self.read_defaults).is_some() {
                return Ok(());
            }
            self.rows.roll_back();
        }
        let message = DynamicMessage::decode(self.message.clone(), payload)
            .map_err(|error| Error::data(format!("not valid protobuf: {error}")))?;
        fill_row(&message, &self.members, &mut self.rows, self.read_defaults)
    }
}

impl Decoder for ProtobufDecoder {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let (mut payload_of, mut rejected) = (Vec::with_capacity(payloads.len()), Vec::new());
        self.rows.truncate(0);
        for (number, payload) in (0_u32..).zip(payloads.iter()) {
            match self.read(payload) {
                Ok(()) => {
                    self.rows.end();
                    payload_of.push(number);
                }
                Err(error) => {
                    self.rows.roll_back();
                    rejected.push((number, error));
                }
            }
        }
        let rows = self.rows.finish(&Arc::clone(&self.schema))?;
        Ok(Decoded { rows, payload_of: Some(payload_of), rejected })
    }
}

fn fill_row(
    message: &DynamicMessage,
    members: &[Member],
    row: &mut RowBuilder,
    read_defaults: bool,
) -> Result<()> {
    for (index, Member { field, shape, is_plain, .. }) in members.iter().enumerate() {
        let is_there = message.has_field(field);
        // The default of a message that is not there is a message of defaults, without end if it holds itself.
        let is_message = matches!(shape, Shape::Row(..) | Shape::Time(_));
        let column = row.column(index);
        let filled = match is_there || *is_plain || (read_defaults && !is_message) {
            true => fill(&message.get_field(field), shape, column, read_defaults),
            false => {
                column.null();
                Ok(())
            }
        };
        if let Err(error) = filled {
            return Err(row.name_in(index, &error));
        }
    }
    Ok(())
}

pub(super) fn fill(
    value: &Value,
    shape: &Shape,
    column: &mut ColumnBuilder,
    read_defaults: bool,
) -> Result<()> {
    let mismatch = || Error::internal("a field is of another type than its message says");
    match (shape, value) {
        (Shape::Row(_, members), Value::Message(message)) => {
            fill_row(message, members, column.row().ok_or_else(mismatch)?, read_defaults)?;
            column.end_nested();
        }
        (Shape::Time(_), Value::Message(message)) => {
            let number = |of: u32| message.get_field_by_number(of);
            let seconds = number(1).and_then(|value| value.as_i64()).ok_or_else(mismatch)?;
            let nanos = number(2).and_then(|value| value.as_i32()).ok_or_else(mismatch)?;
            let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
            let nanos =
                nanos.ok_or_else(|| Error::data("the nanoseconds of a Timestamp are out of range"))?;
            column.scalar(Scalar::Time { seconds, nanos })?;
        }
        (Shape::List(item), Value::List(values)) => {
            let items = column.items().ok_or_else(mismatch)?;
            for value in values {
                fill(value, item, items, read_defaults)?;
            }
            column.end_nested();
        }
        (Shape::Map { value: shape, .. }, Value::Map(pairs)) => {
            let (keys, values) = column.entries().ok_or_else(mismatch)?;
            // The library's map has no order; a batch should not differ from run to run.
            let mut pairs: Vec<_> = pairs.iter().collect();
            pairs.sort_unstable_by(|a, b| a.0.cmp(b.0));
            for (key, value) in pairs {
                keys.scalar(match key {
                    MapKey::Bool(key) => Scalar::Bool(*key),
                    MapKey::I32(key) => Scalar::Int(i64::from(*key)),
                    MapKey::I64(key) => Scalar::Int(*key),
                    MapKey::U32(key) => Scalar::Int(i64::from(*key)),
                    MapKey::U64(key) => unsigned(*key),
                    MapKey::String(key) => Scalar::Text(key),
                })?;
                fill(value, shape, values, read_defaults)?;
            }
            column.end_nested();
        }
        (Shape::Enum { values, is_text: true }, Value::EnumNumber(number)) => match values.get_value(*number)
        {
            Some(value) => column.scalar(Scalar::Text(value.name()))?,
            // A newer sender's value, whose name is not known here.
            None => column.scalar(Scalar::Int(i64::from(*number)))?,
        },
        (_, value) => column.scalar(match value {
            Value::Bool(value) => Scalar::Bool(*value),
            Value::I32(value) | Value::EnumNumber(value) => Scalar::Int(i64::from(*value)),
            Value::I64(value) => Scalar::Int(*value),
            Value::U32(value) => Scalar::Int(i64::from(*value)),
            Value::U64(value) => unsigned(*value),
            Value::F32(value) => Scalar::Float(f64::from(*value)),
            Value::F64(value) => Scalar::Float(*value),
            Value::String(value) => Scalar::Text(value),
            Value::Bytes(value) => Scalar::Bytes(value),
            Value::Message(_) | Value::List(_) | Value::Map(_) => return Err(mismatch()),
        })?,
    }
    Ok(())
}

pub(super) fn unsigned(value: u64) -> Scalar<'static> {
    i64::try_from(value).map_or(Scalar::UInt(value), Scalar::Int)
}
