//! The `msgpack` format (MessagePack), by rmp's markers.
//!
//! Times are extension -1, other extensions their bytes. Keys that are numbers match columns of their decimal text.

use millstream_engine::{Error, Result};
use rmp::{Marker, encode};

use super::Binary;
use super::decode::{Syntax, Token, Tokens};
use super::encode::Writer;
use crate::format::convert::Scalar;

/// The extension that is a time.
const TIMESTAMP: i8 = -1;

/// `'format' = 'msgpack'`.
pub(in crate::format) type Msgpack = Binary<MsgpackSyntax, Bytes>;

#[derive(Debug)]
pub(in crate::format) struct MsgpackSyntax;

impl Syntax for MsgpackSyntax {
    const NAME: &'static str = "msgpack";
    const HELP: &'static str = "MessagePack: a map a row, or an array of maps.";
    const CONTENT_TYPE: &'static str = "application/vnd.msgpack";
    type Tokens<'a> = MsgpackTokens<'a>;
}

#[derive(Default)]
pub(in crate::format) struct MsgpackTokens<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> MsgpackTokens<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let taken = self.payload[self.at..]
            .get(..bytes)
            .ok_or_else(|| Error::data("the MessagePack payload ends in the middle of a value"))?;
        self.at += bytes;
        Ok(taken)
    }

    /// A big-endian number of `bytes` bytes, eight at most.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, bytes: u64) -> Result<Token<'a>> {
        let text = std::str::from_utf8(self.take(bytes as usize)?)
            .map_err(|_| Error::data("a text is not valid UTF-8"))?;
        Ok(Token::Scalar(Scalar::Text(text)))
    }

    fn extension(&mut self, bytes: u64) -> Result<Token<'a>> {
        let kind = self.number(1)? as u8 as i8;
        let content = self.take(bytes as usize)?;
        if kind != TIMESTAMP {
            return Ok(Token::Scalar(Scalar::Bytes(content)));
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (seconds, nanos) = match content.len() {
            4 => (number(content) as i64, 0),
            8 => ((number(content) & ((1 << 34) - 1)) as i64, number(content) >> 34),
            12 => (number(&content[4..]) as i64, number(&content[..4])),
            other => {
                return Err(Error::data(format!("a timestamp of {other} bytes is none of MessagePack's")));
            }
        };
        if nanos >= 1_000_000_000 {
            return Err(Error::data(format!("a timestamp has {nanos} nanoseconds")));
        }
        Ok(Token::Scalar(Scalar::Time { seconds, nanos: nanos as u32 }))
    }
}

impl<'a> Tokens<'a> for MsgpackTokens<'a> {
    fn start(&mut self, payload: &'a [u8]) {
        *self = Self { payload, at: 0 };
    }

    fn offset(&self) -> usize {
        self.at
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.payload.len()
    }

    fn next(&mut self) -> Result<Token<'_>> {
        let marker = Marker::from_u8(self.number(1)? as u8);
        let unsigned = |value: u64| i64::try_from(value).map_or(Scalar::UInt(value), Scalar::Int);
        Ok(Token::Scalar(match marker {
            Marker::Null => Scalar::Null,
            Marker::False => Scalar::Bool(false),
            Marker::True => Scalar::Bool(true),
            Marker::FixPos(value) => Scalar::Int(i64::from(value)),
            Marker::FixNeg(value) => Scalar::Int(i64::from(value)),
            Marker::U8 => unsigned(self.number(1)?),
            Marker::U16 => unsigned(self.number(2)?),
            Marker::U32 => unsigned(self.number(4)?),
            Marker::U64 => unsigned(self.number(8)?),
            Marker::I8 => Scalar::Int(i64::from(self.number(1)? as i8)),
            Marker::I16 => Scalar::Int(i64::from(self.number(2)? as i16)),
            Marker::I32 => Scalar::Int(i64::from(self.number(4)? as i32)),
            Marker::I64 => Scalar::Int(self.number(8)? as i64),
            Marker::F32 => Scalar::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            Marker::F64 => Scalar::Float(f64::from_bits(self.number(8)?)),
            Marker::FixStr(bytes) => return self.text(u64::from(bytes)),
            Marker::Str8 => return self.number(1).and_then(|bytes| self.text(bytes)),
            Marker::Str16 => return self.number(2).and_then(|bytes| self.text(bytes)),
            Marker::Str32 => return self.number(4).and_then(|bytes| self.text(bytes)),
            Marker::Bin8 => Scalar::Bytes(self.number(1).and_then(|bytes| self.take(bytes as usize))?),
            Marker::Bin16 => Scalar::Bytes(self.number(2).and_then(|bytes| self.take(bytes as usize))?),
            Marker::Bin32 => Scalar::Bytes(self.number(4).and_then(|bytes| self.take(bytes as usize))?),
            Marker::FixArray(items) => return Ok(Token::Array(Some(u64::from(items)))),
            Marker::Array16 => return Ok(Token::Array(Some(self.number(2)?))),
            Marker::Array32 => return Ok(Token::Array(Some(self.number(4)?))),
            Marker::FixMap(pairs) => return Ok(Token::Map(Some(u64::from(pairs)))),
            Marker::Map16 => return Ok(Token::Map(Some(self.number(2)?))),
            Marker::Map32 => return Ok(Token::Map(Some(self.number(4)?))),
            Marker::FixExt1 => return self.extension(1),
            Marker::FixExt2 => return self.extension(2),
            Marker::FixExt4 => return self.extension(4),
            Marker::FixExt8 => return self.extension(8),
            Marker::FixExt16 => return self.extension(16),
            Marker::Ext8 => return self.number(1).and_then(|bytes| self.extension(bytes)),
            Marker::Ext16 => return self.number(2).and_then(|bytes| self.extension(bytes)),
            Marker::Ext32 => return self.number(4).and_then(|bytes| self.extension(bytes)),
            Marker::Reserved => return Err(Error::data("not valid MessagePack: byte 0xc1 begins no value")),
        }))
    }
}

/// Writes MessagePack. Writing into memory does not fail, so results are not looked at.
#[derive(Debug, Default)]
pub(in crate::format) struct Bytes;

impl Writer for Bytes {
    fn null(out: &mut Vec<u8>) {
        let _ = encode::write_nil(out);
    }

    fn bool(out: &mut Vec<u8>, value: bool) {
        let _ = encode::write_bool(out, value);
    }

    fn int(out: &mut Vec<u8>, value: i64) {
        let _ = encode::write_sint(out, value);
    }

    fn float(out: &mut Vec<u8>, value: f32) {
        let _ = encode::write_f32(out, value);
    }

    fn double(out: &mut Vec<u8>, value: f64) {
        let _ = encode::write_f64(out, value);
    }

    fn text(out: &mut Vec<u8>, value: &str) {
        let _ = encode::write_str(out, value);
    }

    fn bytes(out: &mut Vec<u8>, value: &[u8]) {
        let _ = encode::write_bin(out, value);
    }

    fn array(out: &mut Vec<u8>, items: usize) {
        let _ = encode::write_array_len(out, items as u32);
    }

    fn map(out: &mut Vec<u8>, pairs: usize) {
        let _ = encode::write_map_len(out, pairs as u32);
    }

    /// In the shortest of the three forms that holds it.
    fn timestamp(out: &mut Vec<u8>, seconds: i64, nanos: u32) {
        match u64::try_from(seconds) {
            Ok(seconds) if nanos == 0 && u32::try_from(seconds).is_ok() => {
                let _ = encode::write_ext_meta(out, 4, TIMESTAMP);
                out.extend_from_slice(&(seconds as u32).to_be_bytes());
            }
            Ok(seconds) if seconds >> 34 == 0 => {
                let _ = encode::write_ext_meta(out, 8, TIMESTAMP);
                out.extend_from_slice(&(u64::from(nanos) << 34 | seconds).to_be_bytes());
            }
            _ => {
                let _ = encode::write_ext_meta(out, 12, TIMESTAMP);
                out.extend_from_slice(&nanos.to_be_bytes());
                out.extend_from_slice(&seconds.to_be_bytes());
            }
        }
    }
}
