//! The columns of a row that do not come from its payload: named topic segments and metadata.
//!
//! A [`Plan`] is made once for the columns a query wants; messages that pass [`Plan::accept`] are gathered, and once
//! their payloads are decoded, [`Plan::assemble`] puts the columns together, each row with those of its own message.

use std::ops::Range;
use std::str::from_utf8;
use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Int32Array, Int64Array, MapArray,
    PrimitiveArray, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Schema, SchemaRef};

use millstream_engine::batch::record_batch;
use millstream_engine::registry::{MetadataSpec, Table};
use millstream_engine::{Decoded, Error, Result};

use crate::metadata::text_map_type;

use super::packets::Message;
use super::pattern::Patterns;
use super::properties::Properties;
use super::topic::{column_of, wrong_column};

/// The metadata columns on offer.
pub(super) fn metadata() -> Vec<MetadataSpec> {
    vec![
        MetadataSpec { key: "topic", data_type: DataType::Utf8, help: "The topic the message came under." },
        MetadataSpec {
            key: "qos",
            data_type: DataType::Int32,
            help: "The quality of service it came with, 0 or 1.",
        },
        MetadataSpec {
            key: "retained",
            data_type: DataType::Boolean,
            help: "Whether the broker had kept it from before the subscription.",
        },
        MetadataSpec {
            key: "duplicate",
            data_type: DataType::Boolean,
            help: "Whether the broker says that it may have sent it before.",
        },
        MetadataSpec {
            key: "content-type",
            data_type: DataType::Utf8,
            help: "What its sender says that the payload is (MQTT 5).",
        },
        MetadataSpec {
            key: "response-topic",
            data_type: DataType::Utf8,
            help: "Where an answer is expected (MQTT 5).",
        },
        MetadataSpec {
            key: "correlation-data",
            data_type: DataType::Binary,
            help: "What an answer must repeat (MQTT 5).",
        },
        MetadataSpec {
            key: "message-expiry",
            data_type: DataType::Int64,
            help: "Seconds until it means nothing any more (MQTT 5).",
        },
        MetadataSpec {
            key: "user-properties",
            data_type: text_map_type(),
            help: "What its sender adds; of two values of one key the later (MQTT 5).",
        },
    ]
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// The payload: number of the decoded column.
    Payload(usize),
    /// The topic: number of the pattern's segment.
    Segment(usize),
    Topic,
    Qos,
    Retained,
    Duplicate,
    ContentType,
    ResponseTopic,
    CorrelationData,
    MessageExpiry,
    UserProperties,
}

/// How rows are put together.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    schema: SchemaRef,
    from: Vec<From>,
    /// The columns that are decoded.
    pub payload_schema: SchemaRef,
    /// Segments whose text must be a number of the column's type.
    numbers: Vec<(usize, String, DataType)>,
    segments: usize,
}

/// Which column each named segment of `patterns` fills, checked once for the table.
pub(super) fn segment_columns(table: &Table, patterns: &Patterns) -> Result<Vec<usize>> {
    let find = |name: &String| {
        let wrong = |what: &str| wrong_column(table, name, what);
        let advice =
            format!("add the column `{name}` STRING, or write '+' where the level does not matter; ");
        let column = column_of(table, name, &advice)?;
        if table.metadata_key(column).is_some() {
            return Err(wrong("names a metadata column, which has a value already"));
        }
        match table.schema.field(column).data_type() {
            DataType::Utf8 | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Ok(column)
            }
            _ => Err(wrong("names a column that a piece of text cannot fill")
                .remedy("declare it STRING or an integer, and CAST it in the query")),
        }
    };
    patterns.segments.iter().map(find).collect()
}

impl Plan {
    /// A plan for the columns of `schema`, some of those of `table`.
    pub fn new(table: &Table, segment_columns: &[usize], schema: &SchemaRef) -> Result<Self> {
        let (mut from, mut payload, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for field in schema.fields() {
            let column = table.schema.fields().iter().position(|other| other.name() == field.name());
            let segment = segment_columns.iter().position(|of| Some(*of) == column);
            let key = column.and_then(|column| table.metadata_key(column));
            from.push(match (key, segment) {
                (Some("topic"), _) => From::Topic,
                (Some("qos"), _) => From::Qos,
                (Some("retained"), _) => From::Retained,
                (Some("duplicate"), _) => From::Duplicate,
                (Some("content-type"), _) => From::ContentType,
                (Some("response-topic"), _) => From::ResponseTopic,
                (Some("correlation-data"), _) => From::CorrelationData,
                (Some("message-expiry"), _) => From::MessageExpiry,
                (Some("user-properties"), _) => From::UserProperties,
                (Some(other), _) => {
                    return Err(
                        Error::config(format!("connector 'mqtt' has no metadata '{other}'")).at(&table.name)
                    );
                }
                (None, Some(segment)) => {
                    if *field.data_type() != DataType::Utf8 {
                        numbers.push((segment, field.name().clone(), field.data_type().clone()));
                    }
                    From::Segment(segment)
                }
                (None, None) => {
                    payload.push(Arc::clone(field));
                    From::Payload(payload.len() - 1)
                }
            });
        }
        let payload_schema = Arc::new(Schema::new(payload));
        let segments = segment_columns.len();
        Ok(Self { schema: Arc::clone(schema), from, payload_schema, numbers, segments })
    }

    /// Whether the message can become rows; its segments are put at the end of `places`.
    ///
    /// # Errors
    /// `Data` when its topic does not fill the columns it should.
    pub fn accept(&self, patterns: &Patterns, message: &Message, places: &mut Vec<Range<u32>>) -> Result<()> {
        let topic = from_utf8(&message.topic).map_err(|_| Error::data("the topic is not valid UTF-8"))?;
        let before = places.len();
        if !patterns.split(topic, places) {
            let filters = patterns.filters.join(";");
            return Err(Error::data(format!("topic '{topic}' does not match '{filters}'")).remedy(
                "the broker has another subscription for this client id: 'clean-start' = 'true' once ends it",
            ));
        }
        for (segment, name, kind) in &self.numbers {
            let place = places[before + segment].clone();
            let text = topic.get(place.start as usize..place.end as usize).unwrap_or_default();
            if !is_number(text, kind) {
                places.truncate(before);
                return Err(Error::data(format!(
                    "'{text}' in topic '{topic}' is no value for column '{name}'"
                ))
                .remedy("declare the column STRING if such topics are meant"));
            }
        }
        Ok(())
    }

    /// Puts the rows together. `messages` are those whose payloads were decoded, `places` their segments.
    pub fn assemble(
        &self,
        decoded: Decoded,
        messages: &[Message],
        places: &[Range<u32>],
    ) -> Result<RecordBatch> {
        let rows = decoded.rows.num_rows();
        if self.from.iter().enumerate().all(|(number, from)| *from == From::Payload(number)) {
            return Ok(decoded.rows);
        }
        let payload_of = decoded.payload_of;
        let message_of = |row: usize| payload_of.as_ref().map_or(row, |numbers| numbers[row] as usize);
        let each = || (0..rows).map(message_of);
        // Checked to be UTF-8 when the message was accepted.
        let topic = |message: usize| from_utf8(&messages[message].topic).unwrap_or_default();
        let segment_of = |message: usize, segment: usize| {
            let place = &places[message * self.segments + segment];
            topic(message).get(place.start as usize..place.end as usize).unwrap_or_default()
        };
        let properties = |message: usize| messages[message].properties.as_deref();
        let columns = self.from.iter().zip(self.schema.fields()).map(|(from, field)| -> ArrayRef {
            match *from {
                From::Payload(number) => Arc::clone(decoded.rows.column(number)),
                From::Segment(segment) => {
                    let texts = each().map(|message| segment_of(message, segment));
                    match field.data_type() {
                        DataType::Int8 => numbers::<Int8Type>(texts),
                        DataType::Int16 => numbers::<Int16Type>(texts),
                        DataType::Int32 => numbers::<Int32Type>(texts),
                        DataType::Int64 => numbers::<Int64Type>(texts),
                        _ => Arc::new(StringArray::from_iter_values(texts)),
                    }
                }
                From::Topic => Arc::new(StringArray::from_iter_values(each().map(topic))),
                From::Qos => {
                    Arc::new(Int32Array::from_iter_values(each().map(|message| messages[message].qos.into())))
                }
                From::Retained => {
                    Arc::new(BooleanArray::from_iter(each().map(|message| Some(messages[message].retained))))
                }
                From::Duplicate => {
                    Arc::new(BooleanArray::from_iter(each().map(|message| Some(messages[message].duplicate))))
                }
                From::ContentType => Arc::new(StringArray::from_iter(
                    each().map(|message| properties(message).and_then(|all| all.content_type.as_deref())),
                )),
                From::ResponseTopic => Arc::new(StringArray::from_iter(
                    each().map(|message| properties(message).and_then(|all| all.response_topic.as_deref())),
                )),
                From::CorrelationData => Arc::new(BinaryArray::from_iter(
                    each().map(|message| properties(message).and_then(|all| all.correlation_data.as_deref())),
                )),
                From::MessageExpiry => Arc::new(Int64Array::from_iter(
                    each().map(|message| properties(message)?.message_expiry_s.map(i64::from)),
                )),
                From::UserProperties => Arc::new(maps(each().map(properties))),
            }
        });
        record_batch(Arc::clone(&self.schema), columns.collect(), rows)
    }
}

/// The user properties of each message; NULL where it has none.
fn maps<'a>(each: impl Iterator<Item = Option<&'a Properties>>) -> MapArray {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for properties in each {
        let user = properties.map_or(&[][..], |properties| &properties.user);
        for (number, (key, value)) in user.iter().enumerate() {
            if user[number + 1..].iter().all(|(later, _)| later != key) {
                maps.keys().append_value(key);
                maps.values().append_value(value);
            }
        }
        // Keys and values are as many, which is all that it could mind.
        let _ = maps.append(!user.is_empty());
    }
    maps.finish()
}

fn is_number(text: &str, kind: &DataType) -> bool {
    match kind {
        DataType::Int8 => text.parse::<i8>().is_ok(),
        DataType::Int16 => text.parse::<i16>().is_ok(),
        DataType::Int32 => text.parse::<i32>().is_ok(),
        _ => text.parse::<i64>().is_ok(),
    }
}

fn numbers<'a, T: ArrowPrimitiveType<Native: std::str::FromStr>>(
    texts: impl Iterator<Item = &'a str>,
) -> ArrayRef {
    // Checked when the message was accepted, so none is null.
    Arc::new(texts.map(|text| text.parse::<T::Native>().ok()).collect::<PrimitiveArray<T>>())
}
