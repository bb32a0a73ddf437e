//! `filesystem`: lines (of any format whose payloads are lines) and parquet, from files, folders and globs, and into
//! files.
//!
//! Reading: listing.rs finds files, tracked.rs knows how far each was read, lines.rs and parquet_read.rs read one, and
//! source.rs puts them in order and makes rows, with the metadata of columns.rs; lookup.rs reads all of them for lookups. Writing: sink.rs writes a plain file in
//! place; into a folder, partition.rs sorts rows, rolling.rs decides which file is open, part.rs writes it, and
//! commit.rs marks partitions that are whole.

mod columns;
mod commit;
mod lines;
mod listing;
mod lookup;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_read;
mod part;
mod partition;
mod rolling;
mod sink;
mod source;
mod tracked;

use std::sync::Arc;

use millstream_engine::dead_letter::ON_ERROR_OPTION;
use millstream_engine::lookup::LookupProvider;
use millstream_engine::options::OptionSpec;
use millstream_engine::registry::MetadataSpec;
use millstream_engine::{Codec, Connector, Error, Result, SinkProvider, SourceProvider, Table};

use crate::format::{PAYLOAD_OPTIONS, PayloadOptions, on_error};

/// The connector.
pub struct Filesystem;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("path", "text", "", "File, folder (all files in it, by name) or glob pattern."),
    OptionSpec::new(
        "scan.mode",
        "once | follow",
        "once",
        "Read what is there and end, or go on with what is added.",
    ),
    OptionSpec::new(
        "source.monitor-interval",
        "duration",
        "1 s",
        "How often to look for more; given, it means follow.",
    ),
    OptionSpec::new("sink.append", "boolean", "false", "Add to the file instead of replacing it."),
    OptionSpec::new(
        "sink.rolling-policy.file-size",
        "size",
        "128 mb",
        "A file of the folder is finished when it has this size.",
    ),
    OptionSpec::new(
        "sink.rolling-policy.rollover-interval",
        "duration",
        "30 min",
        "A file of the folder is finished when it is this old.",
    ),
    OptionSpec::new(
        "sink.rolling-policy.check-interval",
        "duration",
        "1 min",
        "How often ages are looked at while no rows come.",
    ),
    OptionSpec::new(
        "sink.partition-by",
        "text",
        "",
        "Columns, with commas between, whose values become folders 'column=value'; files hold the other columns. PARTITIONED BY says the same.",
    ),
    OptionSpec::new(
        "sink.open-files.max",
        "integer",
        "100",
        "Partitions with an open file; the one at rest longest is finished for another.",
    ),
    OptionSpec::new(
        "sink.compression",
        "none | gzip | zstd",
        "none",
        "How files of the folder are compressed; parquet pages are with snappy where not given.",
    ),
    ON_ERROR_OPTION,
];

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }
    fn help(&self) -> &'static str {
        "Lines and parquet from files, folders and globs, and into files; follows files that grow and rotate."
    }
    fn options(&self) -> Vec<OptionSpec> {
        [OPTIONS, commit::OPTIONS, lookup::OPTIONS, PAYLOAD_OPTIONS].concat()
    }
    fn metadata(&self) -> Vec<MetadataSpec> {
        columns::specs()
    }
    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        Ok(Arc::new(files(table)?))
    }
    fn lookup(&self, table: &Table) -> Result<Arc<dyn LookupProvider>> {
        Ok(Arc::new(lookup::FileLookup::read(table, files(table)?)?))
    }
    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(sink::FileSink::read(table)?))
    }
}

/// What `table`'s options say of reading.
fn files(table: &Table) -> Result<source::Files> {
    let options = &table.options;
    let interval = options.duration_ms("source.monitor-interval")?;
    let follow =
        options.choice("scan.mode", &[("once", false), ("follow", true)])?.unwrap_or(interval.is_some());
    Ok(source::Files {
        path: options.require("path")?.to_owned(),
        owner: options.owner().to_owned(),
        follow_ms: follow.then(|| interval.unwrap_or(1_000).max(1)),
        codec: if is_parquet(table)? { None } else { Some(lines_codec(table)?) },
        payload: PayloadOptions::from_options(options)?,
        on_error: on_error(options)?,
        has_header: options.get("format") == Some("csv") && options.bool("csv.header")?.unwrap_or(false),
        metadata: columns::Columns::metadata_of(table),
    })
}

/// Whether the table's files are parquet.
fn is_parquet(table: &Table) -> Result<bool> {
    let wanted = table.options.get("format") == Some("parquet");
    if wanted && cfg!(not(feature = "parquet")) {
        return Err(Error::config("this build has no format 'parquet'")
            .at(table.options.owner())
            .remedy("build it with feature 'parquet'"));
    }
    Ok(wanted)
}

/// The table's codec, which must be one of lines.
fn lines_codec(table: &Table) -> Result<Arc<dyn Codec>> {
    let codec = table.codec()?;
    if codec.is_lines() {
        return Ok(codec);
    }
    let name = table.options.get("format").unwrap_or_default();
    Err(Error::config(format!("files cannot hold format '{name}', whose payloads are not lines of text"))
        .at(table.options.owner())
        .remedy("use 'json' or 'csv'"))
}

#[cfg(feature = "formats")]
#[cfg(test)]
mod parquet_tests;
#[cfg(test)]
mod sink_tests;
#[cfg(test)]
mod source_tests;
