//! The `json` format, with Flink's options and meaning: decode.rs reads, encode.rs writes.

mod decode;
mod encode;
mod texts;

pub(super) use encode::write_plain;
#[cfg(feature = "webhook")]
pub(crate) use encode::write_value;
pub use encode::{JsonEncoder, write_timestamp};

use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Codec, Decoder, Encoder, Format, Result};

use decode::JsonDecoder;

/// `'format' = 'json'`.
#[derive(Debug)]
pub struct Json;

const OPTIONS: &[OptionSpec] = &[
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
];

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn help(&self) -> &'static str {
        "JSON: an object a row, or an array of objects. BYTES are in base 64."
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn codec(&self, options: &Options, _columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        options.choice("json.timestamp-format.standard", &[("sql", ()), ("iso-8601", ())])?;
        options.bool("json.ignore-parse-errors")?;
        let fail_on_missing = options.bool("json.fail-on-missing-field")?.unwrap_or(false);
        Ok(Arc::new(JsonCodec { fail_on_missing }))
    }
}

struct JsonCodec {
    fail_on_missing: bool,
}

impl Codec for JsonCodec {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(JsonDecoder::new(schema, self.fail_on_missing)))
    }

    fn encoder(&self, _schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(JsonEncoder::new(false)))
    }

    fn is_lines(&self) -> bool {
        true
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }
}
