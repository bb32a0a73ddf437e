//! Reads parquet files: only the query's columns, a batch of rows at a time.
//!
//! Invariants: columns are found by name, one that a file lacks is NULL; types are cast within their kind (numbers,
//! texts, times), anything else is an error that names both. Row groups are streamed, so memory is bounded by pages.

use std::fs::File;
use std::path::Path;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use millstream_engine::batch::record_batch;
use millstream_engine::{Error, Result};

/// Reads one file.
pub(super) struct Rows {
    reader: ParquetRecordBatchReader,
    /// For each wanted column its place among those read, if the file has it.
    places: Vec<Option<usize>>,
    schema: SchemaRef,
    shown: String,
}

impl Rows {
    /// Opens `file`, and stands before row `offset`.
    ///
    /// # Errors
    /// `Data` if it is no parquet file, `Config` if a column's type does not fit.
    pub fn open(file: File, path: &Path, schema: &SchemaRef, rows_max: usize, offset: u64) -> Result<Self> {
        let shown = path.display().to_string();
        let broken = |error: parquet::errors::ParquetError| {
            Error::data(format!("file {shown} is no whole parquet file: {error}"))
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
        let theirs = builder.schema();
        // The reader answers the columns in the file's order, whatever the order of the mask.
        let mut roots = Vec::new();
        for field in schema.fields() {
            let Some((index, found)) = theirs.column_with_name(field.name()) else { continue };
            if !is_of_a_kind(found.data_type(), field.data_type()) {
                return Err(Error::config(format!(
                    "column '{}' is {} in file {shown}, which cannot be read as {}",
                    field.name(),
                    found.data_type(),
                    field.data_type()
                ))
                .remedy("declare the column with the file's type, and CAST in the query"));
            }
            roots.push(index);
        }
        roots.sort_unstable();
        let place =
            |name: &String| theirs.index_of(name).ok().and_then(|index| roots.binary_search(&index).ok());
        let places = schema.fields().iter().map(|field| place(field.name())).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
        let reader = builder
            .with_projection(mask)
            .with_batch_size(rows_max)
            .with_offset(usize::try_from(offset).unwrap_or(usize::MAX))
            .build()
            .map_err(broken)?;
        Ok(Self { reader, places, schema: SchemaRef::clone(schema), shown })
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Data` if the file is broken, or a value does not fit its column.
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(rows) = self.reader.next() else { return Ok(None) };
        let broken = |error| Error::data(format!("file {}: {error}", self.shown));
        let rows = rows.map_err(broken)?;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let columns = self
            .places
            .iter()
            .zip(self.schema.fields())
            .map(|(place, field)| match place {
                Some(place) => {
                    cast_with_options(rows.column(*place), field.data_type(), &options).map_err(broken)
                }
                None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        record_batch(SchemaRef::clone(&self.schema), columns, rows.num_rows()).map(Some)
    }
}

/// Whether values of one type are read as another without a change of meaning.
fn is_of_a_kind(theirs: &DataType, ours: &DataType) -> bool {
    let kind = |of: &DataType| match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 1,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => 2,
        DataType::Timestamp(..) => 3,
        DataType::Date32 | DataType::Date64 => 4,
        DataType::Time32(_) | DataType::Time64(_) => 5,
        DataType::Boolean => 6,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => 7,
        of if of.is_numeric() => 7,
        DataType::Struct(_) => 8,
        DataType::List(_) | DataType::LargeList(_) => 9,
        DataType::Map(..) => 10,
        _ => 0,
    };
    let theirs = if let DataType::Dictionary(_, values) = theirs { values } else { theirs };
    theirs == ours || (kind(theirs) == kind(ours) && kind(ours) != 0 && can_cast_types(theirs, ours))
}
