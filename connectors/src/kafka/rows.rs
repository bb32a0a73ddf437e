//! Messages of one partition become rows: payloads and keys are decoded, metadata columns are built beside them.
//!
//! Invariants: every message is rows, a bad row that is counted and routed, or a tombstone (counted as skipped). A key
//! that is bad makes its message a bad row. A message without a key has NULL in the key's columns, and is a bad row where
//! one of them is NOT NULL. Called by the source (source.rs), which emits what comes out.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array,
};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;

use millstream_engine::batch::record_batch;
use millstream_engine::dead_letter::RowErrors;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::registry::{MetadataSpec, Table};
use millstream_engine::{Error, Result};

use crate::format::PayloadDecoder;
use crate::metadata::map_type;

use super::chunk::{Chunk, Wants};
use super::keys::KeyDecoder;
use super::settings::Reading;

/// What readers can ask for beside the payload.
pub(super) fn metadata() -> Vec<MetadataSpec> {
    let spec = |key, data_type, help| MetadataSpec { key, data_type, help };
    vec![
        spec("topic", DataType::Utf8, "The topic."),
        spec("partition", DataType::Int32, "The partition's number."),
        spec("offset", DataType::Int64, "The offset in the partition."),
        spec("timestamp", DataType::Timestamp(TimeUnit::Millisecond, None), "The message's own time."),
        spec("timestamp-type", DataType::Utf8, "'CreateTime', 'LogAppendTime' or 'NoTimestampType'."),
        spec("headers", map_type(DataType::Binary), "The headers; of several with one name, the last."),
    ]
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Payload(usize),
    Key(usize),
    Topic,
    Partition,
    Offset,
    Time,
    TimeType,
    Headers,
}

/// Makes rows of chunks. One per source instance.
pub(super) struct Rows {
    schema: SchemaRef,
    from: Vec<From>,
    decoder: PayloadDecoder,
    key: Option<KeyDecoder>,
    /// The messages whose payloads were gathered, by number in their chunk.
    gathered: Vec<usize>,
}

impl Rows {
    /// Rows with the columns of `schema`.
    ///
    /// # Errors
    /// If a format cannot decode them.
    pub fn new(reading: &Reading, table: &Table, schema: SchemaRef) -> Result<Self> {
        let (mut from, mut payload, mut key) = (Vec::new(), Vec::new(), Vec::new());
        for field in schema.fields() {
            let column = table.schema.index_of(field.name()).ok();
            from.push(match column.and_then(|column| table.metadata_key(column)) {
                Some("topic") => From::Topic,
                Some("partition") => From::Partition,
                Some("offset") => From::Offset,
                Some("timestamp") => From::Time,
                Some("timestamp-type") => From::TimeType,
                Some("headers") => From::Headers,
                Some(other) => {
                    return Err(
                        Error::config(format!("connector 'kafka' has no metadata '{other}'")).at(&table.name)
                    );
                }
                None if column.is_some_and(|column| reading.is_from_key(column)) => {
                    key.push(reading.columns.key_field(field));
                    From::Key(key.len() - 1)
                }
                None => {
                    payload.push(Arc::clone(field));
                    From::Payload(payload.len() - 1)
                }
            });
        }
        let payload = Arc::new(Schema::new(payload));
        let decoder = PayloadDecoder::new(payload, reading.codec.as_ref(), &reading.payload)?;
        let key = match &reading.key_codec {
            Some(codec) if !key.is_empty() => {
                Some(KeyDecoder::new(codec.as_ref(), Arc::new(Schema::new(key)), &reading.payload)?)
            }
            _ => None,
        };
        Ok(Self { schema, from, decoder, key, gathered: Vec::new() })
    }

    /// What the chunks have to hold beside payloads.
    pub fn wants(&self) -> Wants {
        Wants { key: self.key.is_some(), headers: self.from.contains(&From::Headers) }
    }

    /// The rows of a chunk; `None` when there are none.
    ///
    /// # Errors
    /// When a message is bad and bad rows are to fail.
    pub fn decode(
        &mut self,
        chunk: &Chunk,
        errors: &RowErrors,
        metrics: &OperatorMetrics,
    ) -> Result<Option<RecordBatch>> {
        if let Some(key) = &mut self.key {
            key.decode(chunk, errors)?;
        }
        self.gathered.clear();
        for (number, message) in chunk.messages.iter().enumerate() {
            let payload = chunk.payload(number);
            if message.is_tombstone {
                metrics.rows_skipped.add(1);
            } else if message.has_bad_headers {
                errors
                    .reject(payload, Error::data("the name of one of the message's headers is not UTF-8"))?;
            } else if self.key.as_ref().is_some_and(|key| key.is_bad(number)) {
                // Was reported with its key.
            } else if self.decoder.push(payload, errors)? {
                self.gathered.push(number);
            }
        }
        if self.decoder.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.flush(errors)?;
        let count = decoded.rows.num_rows();
        if count == 0 {
            return Ok(None);
        }
        let number = |row: usize| {
            self.gathered[decoded.payload_of.as_ref().map_or(row, |numbers| numbers[row] as usize)]
        };
        let each = || (0..count).map(|row| &chunk.messages[number(row)]);
        let keys = self.key.as_ref();
        let key_rows: Option<UInt32Array> =
            keys.map(|key| (0..count).map(|row| key.row_of(number(row))).collect());
        let columns = self.from.iter().map(|from| -> Result<ArrayRef> {
            Ok(match from {
                From::Payload(column) => Arc::clone(decoded.rows.column(*column)),
                From::Key(column) => match (keys, &key_rows) {
                    (Some(key), Some(rows)) => take(key.rows().column(*column).as_ref(), rows, None)?,
                    _ => return Err(Error::internal("a key's column without keys")),
                },
                From::Topic => Arc::new(StringArray::from_iter_values(each().map(|_| &*chunk.lane.0))),
                From::Partition => Arc::new(Int32Array::from_iter_values(each().map(|_| chunk.lane.1))),
                From::Offset => Arc::new(Int64Array::from_iter_values(each().map(|message| message.offset))),
                From::Time => {
                    Arc::new(each().map(|message| message.time_ms).collect::<TimestampMillisecondArray>())
                }
                From::TimeType => {
                    Arc::new(StringArray::from_iter_values(each().map(|message| match message.time_ms {
                        None => "NoTimestampType",
                        Some(_) if message.is_append_time => "LogAppendTime",
                        Some(_) => "CreateTime",
                    })))
                }
                From::Headers => headers(chunk, (0..count).map(number))?,
            })
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        Ok(Some(record_batch(Arc::clone(&self.schema), columns, count)?))
    }
}

/// The headers of messages, by number; a map without entries where there are none, as in Flink.
fn headers(chunk: &Chunk, numbers: impl Iterator<Item = usize>) -> Result<ArrayRef> {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new());
    for number in numbers {
        let count = chunk.headers(number).count();
        for (place, (name, value)) in chunk.headers(number).enumerate() {
            let is_last =
                place + 1 == count || chunk.headers(number).skip(place + 1).all(|(later, _)| later != name);
            if is_last {
                // Checked when the message was read.
                maps.keys().append_value(std::str::from_utf8(name).unwrap_or_default());
                maps.values().append_option(value);
            }
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}
