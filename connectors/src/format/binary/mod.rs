//! The self-describing binary formats, `cbor` and `msgpack`: a payload is a map a row, an array of maps, or several of
//! these one after the other.
//!
//! What they share is here: decode.rs takes their tokens into columns, encode.rs gives their writers the values of
//! columns. cbor.rs and msgpack.rs have the bytes.

#[cfg(feature = "cbor")]
pub(super) mod cbor;
mod decode;
mod encode;
#[cfg(feature = "msgpack")]
pub(super) mod msgpack;

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Codec, Decoder, Encoder, Format, Result};

use decode::{Syntax, TokenDecoder};
use encode::{ValueEncoder, Writer};

/// A format, and its codec, that reads by syntax `S` and writes by `W`. Neither has options.
pub(super) struct Binary<S, W>(PhantomData<fn() -> (S, W)>);

impl<S, W> Default for Binary<S, W> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<S: Syntax, W: Writer> Format for Binary<S, W> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn help(&self) -> &'static str {
        S::HELP
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn codec(&self, _options: &Options, _columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        Ok(Arc::new(Self::default()))
    }
}

impl<S: Syntax, W: Writer> Codec for Binary<S, W> {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(TokenDecoder::<S>::new(schema)?))
    }

    fn encoder(&self, _schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        Ok(Box::<ValueEncoder<W>>::default())
    }

    fn content_type(&self) -> &'static str {
        S::CONTENT_TYPE
    }
}

#[cfg(all(test, feature = "cbor", feature = "msgpack"))]
mod tests;
