//! Parquet files: how they are written (part.rs has them rolled), and read (parquet_read.rs).
//!
//! Invariant: a file's columns are the table's in name and type, with arrow's own schema in the metadata, so that
//! whoever reads them with arrow gets the same types back.

use std::fs::File;

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;

use super::part::Compression;

/// A writer of rows with `schema`; pages are compressed with snappy where 'sink.compression' says nothing else.
pub(super) fn writer(file: File, schema: &SchemaRef, compression: Compression) -> Result<ArrowWriter<File>> {
    let codec = match compression {
        Compression::None => Codec::SNAPPY,
        #[cfg(feature = "compression")]
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        #[cfg(feature = "compression")]
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
    };
    let properties =
        WriterProperties::builder().set_compression(codec).set_created_by("millstream".to_owned());
    ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties.build()))
}
