//! Formats: payload bytes to columns and back. One shared path with errors per row; only the asked columns are decoded.

mod decode;
mod encode;

pub use decode::{Decoded, JsonDecoder};
pub use encode::{JsonEncoder, write_timestamp};

use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Error, Result};

/// Options of the `json` format, for connectors that take it.
pub const FORMAT_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("format", "json", "json", "How payloads are written."),
    OptionSpec::new(
        "json.timestamp-format.standard",
        "SQL | ISO-8601",
        "SQL",
        "Form of TIMESTAMP values; both forms are read whichever is named, ISO-8601 is written.",
    ),
    OptionSpec::new("json.ignore-parse-errors", "boolean", "false", "The same as 'on-error' = 'skip'."),
    OptionSpec::new(
        "json.fail-on-missing-field",
        "boolean",
        "false",
        "A missing field is a bad row, not NULL.",
    ),
    OptionSpec::new("payload.max-bytes", "size", "1 mb", "A larger payload (for files: line) is a bad row."),
];

/// What the format options of a table say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatOptions {
    /// A missing field is an error.
    pub fail_on_missing: bool,
    /// Bad rows are only counted.
    pub ignore_errors: bool,
    /// Bytes of the largest payload that is looked at.
    pub payload_bytes_max: usize,
}

impl FormatOptions {
    /// Reads the format options.
    ///
    /// # Errors
    /// If a value is wrong, or the format is not there.
    pub fn from_options(options: &Options) -> Result<Self> {
        match options.get("format") {
            None | Some("json") => {}
            Some(other) => {
                return Err(Error::config(format!("there is no format '{other}'"))
                    .at(options.owner())
                    .remedy("this build has: json"));
            }
        }
        options.choice("json.timestamp-format.standard", &[("sql", ()), ("iso-8601", ())])?;
        Ok(Self {
            fail_on_missing: options.bool("json.fail-on-missing-field")?.unwrap_or(false),
            ignore_errors: options.bool("json.ignore-parse-errors")?.unwrap_or(false),
            payload_bytes_max: options.size_bytes("payload.max-bytes")?.unwrap_or(1 << 20),
        })
    }
}
