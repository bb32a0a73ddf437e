//! The Avro schema of a table, as Flink derives it, and the Arrow types that such a schema is written from.
//!
//! Invariants: records are named `record` and `record_<field>` in Flink's namespace; a nullable column is a union with
//! null first; TIMESTAMP is timestamp-millis up to three digits, timestamp-micros up to six (Flink's mapping).

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use millstream_engine::{Error, Result};
use serde_json::{Value, json};

const NAMESPACE: &str = "org.apache.flink.avro.generated";

/// The schema of a record of `fields`, as JSON.
///
/// # Errors
/// If Avro has no such column type.
pub(super) fn derived(fields: &Fields) -> Result<String> {
    let mut root = record(fields, "record")?;
    root["namespace"] = json!(NAMESPACE);
    Ok(root.to_string())
}

fn record(fields: &Fields, name: &str) -> Result<Value> {
    let mut members = Vec::with_capacity(fields.len());
    for field in fields {
        if !is_name(field.name()) {
            return Err(Error::config(format!("Avro has no field names such as '{}'", field.name()))
                .remedy("letters, digits and _ make a name; give 'avro.schema' or rename the column"));
        }
        let kind = of_field(field, &format!("{name}_{}", field.name()))?;
        members.push(match field.is_nullable() {
            true => json!({"name": field.name(), "type": kind, "default": null}),
            false => json!({"name": field.name(), "type": kind}),
        });
    }
    Ok(json!({"type": "record", "name": name, "fields": members}))
}

fn of_field(field: &Field, name: &str) -> Result<Value> {
    let kind =
        of_type(field.data_type(), name).map_err(|error| error.at(format!("column {}", field.name())))?;
    Ok(if field.is_nullable() { json!(["null", kind]) } else { kind })
}

fn of_type(kind: &DataType, name: &str) -> Result<Value> {
    use DataType as T;
    Ok(match kind {
        T::Boolean => json!("boolean"),
        T::Int8 | T::Int16 | T::Int32 => json!("int"),
        T::Int64 => json!("long"),
        T::Float32 => json!("float"),
        T::Float64 => json!("double"),
        T::Utf8 => json!("string"),
        T::Binary => json!("bytes"),
        T::Date32 => json!({"type": "int", "logicalType": "date"}),
        T::Time32(_) => json!({"type": "int", "logicalType": "time-millis"}),
        T::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _) => {
            json!({"type": "long", "logicalType": "timestamp-millis"})
        }
        T::Timestamp(_, _) => json!({"type": "long", "logicalType": "timestamp-micros"}),
        T::Decimal128(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        T::Struct(fields) => record(fields, name)?,
        T::List(item) => json!({"type": "array", "items": of_field(item, name)?}),
        T::Map(entries, _) => {
            let T::Struct(fields) = entries.data_type() else {
                return Err(Error::internal("a map without entries"));
            };
            if fields[0].data_type() != &T::Utf8 {
                return Err(Error::config("the keys of an Avro map are text")
                    .remedy("declare the column MAP<STRING, ...>"));
            }
            json!({"type": "map", "values": of_field(&fields[1], name)?})
        }
        other => return Err(Error::config(format!("Avro has no type for {other}"))),
    })
}

fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// The columns that Avro values are written from: `fields` in the types that [`derived`] names.
pub(super) fn written(fields: &Fields) -> Schema {
    Schema::new(written_fields(fields))
}

fn written_fields(fields: &Fields) -> Fields {
    fields.iter().map(written_field).collect()
}

fn written_field(field: &FieldRef) -> FieldRef {
    use DataType as T;
    let utc = || Some("+00:00".into());
    let kind = match field.data_type() {
        T::Int8 | T::Int16 => T::Int32,
        T::Time32(_) => T::Time32(TimeUnit::Millisecond),
        T::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _) => {
            T::Timestamp(TimeUnit::Millisecond, utc())
        }
        T::Timestamp(_, _) => T::Timestamp(TimeUnit::Microsecond, utc()),
        T::Struct(fields) => T::Struct(written_fields(fields)),
        T::List(item) => T::List(written_field(item)),
        T::Map(entries, sorted) => T::Map(written_field(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}
