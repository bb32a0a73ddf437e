//! Formats: payload bytes to columns and back, each behind [`millstream_engine::format::Format`] in a file or folder of
//! its own. [`payload`] is the one path on which sources decode, with errors per payload. To add a format, copy json/
//! and add a line to [`register_all`].

pub(crate) mod columns;
mod convert;
mod csv;
mod epoch;
pub mod json;
pub mod payload;
mod raw;

pub use json::{JsonEncoder, write_timestamp};
pub use payload::{PAYLOAD_OPTIONS, PayloadDecoder, PayloadOptions, on_error};

use std::sync::Arc;

use millstream_engine::Registry;

/// Adds every format of this build.
pub(crate) fn register_all(registry: &mut Registry) {
    registry.add_format(Arc::new(csv::Csv));
    registry.add_format(Arc::new(json::Json));
    registry.add_format(Arc::new(raw::Raw));
}
