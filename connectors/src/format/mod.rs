//! Formats: payload bytes to columns and back, each behind [`millstream_engine::format::Format`] in a file or folder of
//! its own. [`payload`] is the one path on which sources decode, with errors per payload. To add a format, copy json/
//! and add a line to [`register_all`].

#[cfg(feature = "avro")]
mod avro;
#[cfg(any(feature = "cbor", feature = "msgpack"))]
mod binary;
pub(crate) mod columns;
mod convert;
mod csv;
mod epoch;
pub mod json;
pub mod payload;
#[cfg(feature = "protobuf")]
mod protobuf;
mod raw;
#[cfg(feature = "formats")]
#[cfg(test)]
pub(crate) mod reference_tests;

pub use json::{JsonEncoder, write_timestamp};
pub use payload::{PAYLOAD_OPTIONS, PayloadDecoder, PayloadOptions, on_error};

use std::sync::Arc;

use millstream_engine::Registry;

/// Adds every format of this build.
pub(crate) fn register_all(registry: &mut Registry) {
    #[cfg(feature = "avro")]
    registry.add_format(Arc::new(avro::Avro));
    #[cfg(feature = "avro")]
    registry.add_format(Arc::new(avro::AvroConfluent));
    #[cfg(feature = "cbor")]
    registry.add_format(Arc::new(binary::cbor::Cbor::default()));
    registry.add_format(Arc::new(csv::Csv));
    registry.add_format(Arc::new(json::Json));
    #[cfg(feature = "msgpack")]
    registry.add_format(Arc::new(binary::msgpack::Msgpack::default()));
    #[cfg(feature = "protobuf")]
    registry.add_format(Arc::new(protobuf::Protobuf));
    registry.add_format(Arc::new(raw::Raw));
}
