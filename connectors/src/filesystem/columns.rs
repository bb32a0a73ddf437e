//! The columns of a filesystem table that do not come from its files' contents: METADATA, with the keys of Flink's
//! connector, and 'line'.
//!
//! Invariant: a batch's rows are of one file where one of them is asked for.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};

use millstream_engine::batch::record_batch;
use millstream_engine::registry::MetadataSpec;
use millstream_engine::{Result, Table};

use super::listing::Found;

/// What the connector offers.
pub(super) fn specs() -> Vec<MetadataSpec> {
    let spec = |key, data_type, help| MetadataSpec { key, data_type, help };
    vec![
        spec("file.path", DataType::Utf8, "The file's path."),
        spec("file.name", DataType::Utf8, "The file's name, without its folders."),
        spec("file.size", DataType::Int64, "The file's size in bytes, when it was opened."),
        spec(
            "file.modification-time",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            "When the file was last changed, when it was opened.",
        ),
        spec("line", DataType::Int64, "The line's number in its file, from 1; for parquet, the row's."),
    ]
}

/// What is known of the file that rows come from.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    path: String,
    name: String,
    size_bytes: i64,
    modified_ms: i64,
}

impl About {
    pub fn new(found: &Found) -> Self {
        let modified =
            found.about.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            path: found.path.to_string_lossy().into_owned(),
            name: found.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size_bytes: i64::try_from(found.about.len()).unwrap_or(i64::MAX),
            modified_ms: modified.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// Which columns of a batch come from where.
#[derive(Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    /// The columns that files hold.
    pub content: SchemaRef,
    /// For each column its metadata key, if it is metadata.
    keys: Vec<Option<String>>,
}

impl Columns {
    /// For a reader of the columns of `schema` of a table with these (name, key) pairs.
    pub fn new(schema: SchemaRef, metadata: &[(String, String)]) -> Self {
        let key_of =
            |name: &String| metadata.iter().find(|(column, _)| column == name).map(|(_, key)| key.clone());
        let keys: Vec<_> = schema.fields().iter().map(|field| key_of(field.name())).collect();
        let content = schema
            .fields()
            .iter()
            .zip(&keys)
            .filter(|(_, key)| key.is_none())
            .map(|(field, _)| Arc::clone(field));
        let content = Arc::new(Schema::new(content.collect::<Vec<_>>()));
        Self { schema, content, keys }
    }

    /// The (name, key) pairs of a table.
    pub fn metadata_of(table: &Table) -> Vec<(String, String)> {
        let name = |index: usize| table.schema.field(index).name().clone();
        table.metadata.iter().map(|(index, key)| (name(*index), key.clone())).collect()
    }

    pub fn has_metadata(&self) -> bool {
        self.keys.iter().any(Option::is_some)
    }

    /// Adds the metadata columns to `rows` of the file `about`; `lines` answers the line of a row.
    pub fn complete(
        &self,
        rows: RecordBatch,
        about: &About,
        lines: impl Fn(usize) -> i64,
    ) -> Result<RecordBatch> {
        if !self.has_metadata() {
            return Ok(rows);
        }
        let count = rows.num_rows();
        let mut content = rows.columns().iter();
        let mut columns = Vec::with_capacity(self.keys.len());
        for (key, field) in self.keys.iter().zip(self.schema.fields()) {
            let text =
                |text: &str| Arc::new(StringArray::from_iter_values((0..count).map(|_| text))) as ArrayRef;
            let column: ArrayRef = match key.as_deref() {
                None => content
                    .next()
                    .map(Arc::clone)
                    .ok_or_else(|| millstream_engine::Error::internal("a column is missing"))?,
                Some("file.path") => text(&about.path),
                Some("file.name") => text(&about.name),
                Some("file.size") => Arc::new(Int64Array::from_value(about.size_bytes, count)),
                Some("file.modification-time") => Arc::new(
                    TimestampMillisecondArray::from_value(about.modified_ms, count).with_timezone("UTC"),
                ),
                Some(_) => Arc::new(Int64Array::from_iter_values((0..count).map(&lines))),
            };
            columns.push(if column.data_type() == field.data_type() {
                column
            } else {
                cast(&column, field.data_type())?
            });
        }
        record_batch(Arc::clone(&self.schema), columns, count)
    }
}
