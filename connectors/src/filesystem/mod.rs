//! `filesystem`: JSON lines from files, folders and globs, and into files.
//!
//! Reading is in source.rs, writing in sink.rs. Other file formats come in as further arms of the format.

mod sink;
mod source;

use std::sync::Arc;

use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError};
use millstream_engine::options::OptionSpec;
use millstream_engine::{Connector, Result, SinkProvider, SourceProvider, Table};

use crate::format::{FORMAT_OPTIONS, FormatOptions};

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
    ON_ERROR_OPTION,
];

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }
    fn help(&self) -> &'static str {
        "JSON lines from files, folders and globs, and into files."
    }
    fn options(&self) -> Vec<OptionSpec> {
        [OPTIONS, FORMAT_OPTIONS].concat()
    }
    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        let options = &table.options;
        let format = FormatOptions::from_options(options)?;
        let interval = options.duration_ms("source.monitor-interval")?;
        let follow =
            options.choice("scan.mode", &[("once", false), ("follow", true)])?.unwrap_or(interval.is_some());
        let on_error = if format.ignore_errors { OnError::Skip } else { OnError::from_options(options)? };
        Ok(Arc::new(source::Files {
            path: options.require("path")?.to_owned(),
            owner: options.owner().to_owned(),
            follow_ms: follow.then(|| interval.unwrap_or(1_000).max(1)),
            format,
            on_error,
        }))
    }
    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        FormatOptions::from_options(&table.options)?;
        Ok(Arc::new(sink::FileSink {
            path: table.options.require("path")?.into(),
            append: table.options.bool("sink.append")?.unwrap_or(false),
        }))
    }
}
