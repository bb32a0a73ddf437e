//! Which field of a message each column is, and how its values become the column's: found once, when a table is used.

use arrow_schema::{DataType, Fields};
use millstream_engine::{Error, Result};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};

const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// A column's field.
pub(super) struct Member {
    pub field: FieldDescriptor,
    pub number: u32,
    /// Not there, it is its default value: a plain scalar of proto3.
    pub is_plain: bool,
    pub default: Value,
    pub shape: Shape,
}

impl Member {
    /// True where nothing in a message is asked of that direct.rs does not do: maps, of whose equal keys the last counts,
    /// oneofs, whose fields unset each other, and groups.
    pub fn is_direct(&self) -> bool {
        let is_in_oneof = self.field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
        !is_in_oneof && !self.field.is_group() && is_direct(&self.shape)
    }
}

fn is_direct(shape: &Shape) -> bool {
    match shape {
        Shape::Map { .. } => false,
        Shape::List(item) => is_direct(item),
        Shape::Row(_, members) => members.iter().all(Member::is_direct),
        Shape::Scalar(_) | Shape::Enum { .. } | Shape::Time(_) => true,
    }
}

/// How values of a field and of a column correspond.
pub(super) enum Shape {
    /// One value, converted by what the column is.
    Scalar(Kind),
    /// An enum, by name where the column is text.
    Enum {
        values: EnumDescriptor,
        is_text: bool,
    },
    /// A google.protobuf.Timestamp that is a TIMESTAMP.
    Time(MessageDescriptor),
    Row(MessageDescriptor, Vec<Member>),
    List(Box<Shape>),
    Map {
        key: Kind,
        value: Box<Shape>,
    },
}

/// The fields of `message` that `columns` are, in their order.
///
/// # Errors
/// If there is no such field, or it is of another shape.
pub(super) fn members(columns: &Fields, message: &MessageDescriptor) -> Result<Vec<Member>> {
    let mut members = Vec::with_capacity(columns.len());
    for column in columns {
        let place = || format!("column {}", column.name());
        let found = message.get_field_by_name(column.name());
        let field = found.or_else(|| message.get_field_by_json_name(column.name())).ok_or_else(|| {
            let known: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
            Error::config(format!("the message '{}' has no field '{}'", message.full_name(), column.name()))
                .at(place())
                .remedy(format!("its fields: {}", known.join(", ")))
        })?;
        let shape = of_field(column.data_type(), &field).map_err(|error| error.at(place()))?;
        members.push(Member {
            number: field.number(),
            is_plain: !field.supports_presence() && !field.is_list() && !field.is_map(),
            default: Value::default_value_for_field(&field),
            field,
            shape,
        });
    }
    Ok(members)
}

fn of_field(column: &DataType, field: &FieldDescriptor) -> Result<Shape> {
    let mismatch = |wanted: &str| {
        Err(Error::config(format!("the field '{}' is {wanted}, the column is not", field.full_name())))
    };
    if field.is_map() {
        let (DataType::Map(entries, _), Kind::Message(entry)) = (column, field.kind()) else {
            return mismatch("a map");
        };
        let DataType::Struct(pair) = entries.data_type() else {
            return Err(Error::internal("a map without entries"));
        };
        let value = of_value(pair[1].data_type(), entry.map_entry_value_field().kind(), field)?;
        return Ok(Shape::Map { key: entry.map_entry_key_field().kind(), value: Box::new(value) });
    }
    if field.is_list() {
        let DataType::List(item) = column else { return mismatch("repeated, that is an ARRAY") };
        return Ok(Shape::List(Box::new(of_value(item.data_type(), field.kind(), field)?)));
    }
    of_value(column, field.kind(), field)
}

fn of_value(column: &DataType, kind: Kind, field: &FieldDescriptor) -> Result<Shape> {
    let is_nested = matches!(column, DataType::List(_) | DataType::Map(..) | DataType::Struct(_));
    Ok(match (kind, column) {
        (Kind::Message(message), DataType::Timestamp(..)) if message.full_name() == TIMESTAMP => {
            Shape::Time(message)
        }
        (Kind::Message(message), DataType::Struct(fields)) => {
            let members = members(fields, &message)?;
            Shape::Row(message, members)
        }
        (Kind::Enum(values), DataType::Utf8) => Shape::Enum { values, is_text: true },
        (Kind::Enum(values), _) if !is_nested => Shape::Enum { values, is_text: false },
        (Kind::Message(message), _) => {
            return Err(Error::config(format!(
                "the field '{}' is a message '{}', the column is {column}",
                field.full_name(),
                message.full_name()
            ))
            .remedy("declare the column ROW<...>, or TIMESTAMP for a google.protobuf.Timestamp"));
        }
        (kind, _) if !is_nested => Shape::Scalar(kind),
        (kind, _) => {
            return Err(Error::config(format!(
                "the field '{}' is a single {kind:?}, the column is {column}",
                field.full_name()
            )));
        }
    })
}
