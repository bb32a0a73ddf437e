//! The `protobuf` format: a message a payload, of a type that a descriptor file describes.
//!
//! shape.rs matches columns and fields once; by it decode.rs reads (mostly with direct.rs, from the bytes into the columns)
//! and encode.rs writes, through prost-reflect.

mod decode;
mod direct;
mod encode;
mod shape;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Codec, Decoder, Encoder, Error, Format, Result};
use prost_reflect::{DescriptorPool, MessageDescriptor};

use decode::ProtobufDecoder;
use encode::ProtobufEncoder;

/// `'format' = 'protobuf'`.
#[derive(Debug)]
pub struct Protobuf;

const FILE: &str = "protobuf.descriptor-file";
const NAME: &str = "protobuf.message-class-name";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(FILE, "text", "", "What 'protoc --include_imports --descriptor_set_out=FILE' wrote."),
    OptionSpec::new(NAME, "text", "", "The full name of the message, with its package: 'plant.Reading'."),
    OptionSpec::new("protobuf.ignore-parse-errors", "boolean", "false", "The same as 'on-error' = 'skip'."),
    OptionSpec::new(
        "protobuf.read-default-values",
        "boolean",
        "false",
        "A field that is not there is its default value, not NULL.",
    ),
];

impl Format for Protobuf {
    fn name(&self) -> &'static str {
        "protobuf"
    }

    fn help(&self) -> &'static str {
        "Protocol Buffers: a message a payload, by a descriptor file."
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn codec(&self, options: &Options, _columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        let (path, name) = (options.require(FILE)?, options.require(NAME)?);
        options.bool("protobuf.ignore-parse-errors")?;
        let read_defaults = options.bool("protobuf.read-default-values")?.unwrap_or(false);
        let wrong = |what: String| {
            Error::config(format!("the descriptor file '{path}' {what}"))
                .at(options.owner())
                .remedy(format!("'{FILE}' is written by protoc --include_imports --descriptor_set_out=FILE"))
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let pool = DescriptorPool::decode(&bytes[..]).map_err(|error| wrong(format!("is none: {error}")))?;
        let message = pool.get_message_by_name(name).ok_or_else(|| {
            let known: Vec<String> = pool.all_messages().map(|known| known.full_name().to_owned()).collect();
            Error::config(format!("there is no message '{name}' in '{path}'"))
                .at(options.owner())
                .remedy(format!("'{NAME}' is one of: {}", known.join(", ")))
        })?;
        Ok(Arc::new(ProtobufCodec { message, read_defaults }))
    }
}

struct ProtobufCodec {
    message: MessageDescriptor,
    read_defaults: bool,
}

impl Codec for ProtobufCodec {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(ProtobufDecoder::new(schema, self.message.clone(), self.read_defaults)?))
    }

    fn encoder(&self, schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(ProtobufEncoder::new(&schema, self.message.clone())?))
    }

    fn content_type(&self) -> &'static str {
        "application/protobuf"
    }
}

#[cfg(feature = "formats")]
#[cfg(test)]
mod tests;
