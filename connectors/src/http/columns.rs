//! The columns of a row that do not come from its payload: the metadata of the request that it came with.
//!
//! A [`Plan`] is made once for the columns a query wants; once the payloads of a batch are decoded, [`Plan::assemble`]
//! puts the columns together, each row with the metadata of its own request.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};

use millstream_engine::batch::record_batch;
use millstream_engine::registry::{MetadataSpec, Table};
use millstream_engine::{Error, Result};

use crate::metadata::text_map_type;

use super::ticket::Origin;

/// The zone of TIMESTAMP_LTZ columns.
const UTC: &str = "UTC";

/// The metadata columns on offer.
pub(super) fn metadata() -> Vec<MetadataSpec> {
    vec![
        MetadataSpec { key: "path", data_type: DataType::Utf8, help: "The path that was posted to." },
        MetadataSpec {
            key: "remote-address",
            data_type: DataType::Utf8,
            help: "The address that the request came from, without the port.",
        },
        MetadataSpec {
            key: "headers",
            data_type: text_map_type(),
            help: "The request's headers, names in lower case, without those that hold credentials.",
        },
        MetadataSpec {
            key: "received",
            data_type: DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
            help: "When the request was there.",
        },
        MetadataSpec {
            key: "content-type",
            data_type: DataType::Utf8,
            help: "The media type that the sender says the body is.",
        },
    ]
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// The payload: number of the decoded column.
    Payload(usize),
    Path,
    RemoteAddress,
    Headers,
    Received,
    ContentType,
}

/// How rows are put together.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    schema: SchemaRef,
    from: Vec<From>,
    /// The columns that are decoded.
    pub payload_schema: SchemaRef,
}

impl Plan {
    /// A plan for the columns of `schema`, some of those of `table`.
    pub fn new(table: &Table, schema: &SchemaRef) -> Result<Self> {
        let (mut from, mut payload) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let column = table.schema.fields().iter().position(|other| other.name() == field.name());
            from.push(match column.and_then(|column| table.metadata_key(column)) {
                Some("path") => From::Path,
                Some("remote-address") => From::RemoteAddress,
                Some("headers") => From::Headers,
                Some("received") => From::Received,
                Some("content-type") => From::ContentType,
                Some(other) => {
                    return Err(
                        Error::config(format!("connector 'http' has no metadata '{other}'")).at(&table.name)
                    );
                }
                None => {
                    payload.push(Arc::clone(field));
                    From::Payload(payload.len() - 1)
                }
            });
        }
        Ok(Self { schema: Arc::clone(schema), from, payload_schema: Arc::new(Schema::new(payload)) })
    }

    /// Whether a column wants the request's headers.
    pub fn wants_headers(&self) -> bool {
        self.from.contains(&From::Headers)
    }

    /// Puts the rows together; `origin_of` is where row n came from.
    pub fn assemble<'a>(
        &self,
        decoded: RecordBatch,
        origin_of: impl Fn(usize) -> &'a Origin,
    ) -> Result<RecordBatch> {
        let rows = decoded.num_rows();
        if self.from.iter().enumerate().all(|(number, from)| *from == From::Payload(number)) {
            return Ok(decoded);
        }
        let each = || (0..rows).map(&origin_of);
        let columns = self.from.iter().map(|from| -> Result<ArrayRef> {
            Ok(match *from {
                From::Payload(number) => Arc::clone(decoded.column(number)),
                From::Path => Arc::new(StringArray::from_iter_values(each().map(|origin| &origin.path))),
                From::RemoteAddress => remote_addresses(each()),
                From::Headers => headers(each())?,
                From::Received => Arc::new(
                    TimestampMillisecondArray::from_iter_values(each().map(|origin| origin.received_ms))
                        .with_timezone(UTC),
                ),
                From::ContentType => {
                    Arc::new(each().map(|origin| origin.content_type.as_deref()).collect::<StringArray>())
                }
            })
        });
        record_batch(Arc::clone(&self.schema), columns.collect::<Result<_>>()?, rows)
    }
}

fn remote_addresses<'a>(origins: impl Iterator<Item = &'a Origin>) -> ArrayRef {
    use std::fmt::Write;
    let mut column = StringBuilder::new();
    for origin in origins {
        // Writing into memory does not fail.
        let _ = write!(column, "{}", origin.remote.ip().to_canonical());
        column.append_value("");
    }
    Arc::new(column.finish())
}

fn headers<'a>(origins: impl Iterator<Item = &'a Origin>) -> Result<ArrayRef> {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut column = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for origin in origins {
        for (name, value) in &origin.headers {
            column.keys().append_value(name);
            column.values().append_value(value);
        }
        column.append(true)?;
    }
    Ok(Arc::new(column.finish()))
}
