//! What a row that is written says of its message beside topic and payload: the writable metadata columns.
//!
//! Invariant: what MQTT cannot carry is an error of the row before it leaves, so that no packet fails to be written.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BinaryArray, BooleanArray, Int64Array, MapArray, RecordBatch, StringArray};
use bytes::Bytes;

use millstream_engine::registry::Table;
use millstream_engine::{Error, Result};

use super::packets::Version;
use super::properties::Properties;

/// The metadata that can be written.
pub(super) const WRITABLE: &[&str] =
    &["retained", "content-type", "response-topic", "correlation-data", "message-expiry", "user-properties"];
/// Bytes of the longest text or data in a property.
const BYTES_MAX: usize = 65_535;

/// Which columns of a table are metadata, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    pub retained: Option<usize>,
    content_type: Option<usize>,
    response_topic: Option<usize>,
    correlation_data: Option<usize>,
    message_expiry: Option<usize>,
    user: Option<usize>,
}

impl Headers {
    /// Those of a table that is written to.
    ///
    /// # Errors
    /// If one cannot be written in this version of the protocol.
    pub fn of(table: &Table, version: Version) -> Result<Self> {
        let mut all = Self::default();
        for (column, key) in &table.metadata {
            let place = match key.as_str() {
                "retained" => &mut all.retained,
                "content-type" => &mut all.content_type,
                "response-topic" => &mut all.response_topic,
                "correlation-data" => &mut all.correlation_data,
                "message-expiry" => &mut all.message_expiry,
                "user-properties" => &mut all.user,
                _ => {
                    return Err(Error::config(format!("metadata '{key}' cannot be written"))
                        .at(table.options.owner())
                        .remedy("declare the column VIRTUAL"));
                }
            };
            if key != "retained" && version == Version::V311 {
                return Err(Error::config(format!("MQTT 3.1.1 cannot carry the metadata '{key}'"))
                    .at(table.options.owner())
                    .remedy("set 'version' = '5', or declare the column VIRTUAL"));
            }
            *place = Some(*column);
        }
        Ok(all)
    }

    /// The columns of a batch, looked up once.
    pub fn columns<'a>(&self, rows: &'a RecordBatch) -> Columns<'a> {
        let column = |number: Option<usize>| number.map(|number| rows.column(number));
        Columns {
            retained: column(self.retained).map(|column| column.as_boolean()),
            content_type: column(self.content_type).map(|column| column.as_string()),
            response_topic: column(self.response_topic).map(|column| column.as_string()),
            correlation_data: column(self.correlation_data).map(|column| column.as_binary()),
            message_expiry: column(self.message_expiry).map(|column| column.as_primitive::<Int64Type>()),
            user: column(self.user).map(|column| column.as_map()),
        }
    }
}

/// The metadata columns of a batch.
pub(super) struct Columns<'a> {
    retained: Option<&'a BooleanArray>,
    content_type: Option<&'a StringArray>,
    response_topic: Option<&'a StringArray>,
    correlation_data: Option<&'a BinaryArray>,
    message_expiry: Option<&'a Int64Array>,
    user: Option<&'a MapArray>,
}

impl Columns<'_> {
    /// Whether the broker is to keep the row's message, if the row says so.
    pub fn retain(&self, row: usize) -> Option<bool> {
        self.retained.filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }

    /// The properties of a row's message.
    ///
    /// # Errors
    /// `Data` when a value cannot be one.
    pub fn properties(&self, row: usize) -> Result<Option<Box<Properties>>> {
        let mut all = Properties::default();
        let text = |column: Option<&StringArray>, name: &str| match column {
            Some(column) if column.is_valid(row) => checked(column.value(row), name).map(Some),
            _ => Ok(None),
        };
        all.content_type = text(self.content_type, "content-type")?;
        all.response_topic = text(self.response_topic, "response-topic")?;
        if all.response_topic.as_ref().is_some_and(|topic| topic.is_empty() || topic.contains(['+', '#'])) {
            return Err(wrong("response-topic", "is empty or holds '+' or '#'"));
        }
        if let Some(column) = self.correlation_data.filter(|column| column.is_valid(row)) {
            let data = column.value(row);
            if data.len() > BYTES_MAX {
                return Err(wrong("correlation-data", "is over 65535 bytes"));
            }
            all.correlation_data = Some(Bytes::copy_from_slice(data));
        }
        if let Some(column) = self.message_expiry.filter(|column| column.is_valid(row)) {
            let seconds = u32::try_from(column.value(row));
            let seconds =
                seconds.map_err(|_| wrong("message-expiry", "is no number of seconds that MQTT has"));
            all.message_expiry_s = Some(seconds?);
        }
        if let Some(column) = self.user.filter(|column| column.is_valid(row)) {
            let entries = column.value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            for entry in 0..entries.len() {
                // MQTT has no NULL: such an entry is left out.
                if values.is_valid(entry) {
                    let key = checked(keys.value(entry), "user-properties")?;
                    all.user.push((key, checked(values.value(entry), "user-properties")?));
                }
            }
        }
        Ok((!all.is_empty()).then(|| Box::new(all)))
    }
}

fn checked(text: &str, name: &str) -> Result<String> {
    match text {
        text if text.len() > BYTES_MAX => Err(wrong(name, "is over 65535 bytes")),
        text if text.contains('\0') => Err(wrong(name, "holds a NUL")),
        text => Ok(text.to_owned()),
    }
}

fn wrong(name: &str, what: &str) -> Error {
    Error::data(format!("the metadata '{name}' {what}")).remedy("let the query give another value, or NULL")
}
