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

#[cfg(all(test, feature = "cbor", feature = "msgpack"))]
mod tests;
