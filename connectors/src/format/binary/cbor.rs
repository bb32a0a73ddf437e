//! The `cbor` format (RFC 8949), by minicbor.
//!
//! Times are tags 0 (text) and 1 (number), whole numbers beyond 64 bits tags 2 and 3, decimals tag 4, whose digits may be
//! such a number; other tags say nothing a column would not, and are read over.
//! Keys that are numbers match columns of their decimal text, as in `` `1` DOUBLE ``. Timestamps are written as tag 0.

use millstream_engine::{Error, Result};
use minicbor::data::{Tag, Type};
use minicbor::{Decoder as Reader, Encoder as CborWriter};
use std::io::Write;

use super::Binary;
use super::decode::{Syntax, Token, Tokens};
use super::encode::Writer;
use crate::format::convert::Scalar;
use crate::format::write_timestamp;

/// `'format' = 'cbor'`.
pub(in crate::format) type Cbor = Binary<CborSyntax, Bytes>;

#[derive(Debug)]
pub(in crate::format) struct CborSyntax;

impl Syntax for CborSyntax {
    const NAME: &'static str = "cbor";
    const HELP: &'static str = "CBOR: a map a row, or an array of maps.";
    const CONTENT_TYPE: &'static str = "application/cbor";
    type Tokens<'a> = CborTokens<'a>;
}

pub(in crate::format) struct CborTokens<'a> {
    reader: Reader<'a>,
    /// Text and bytes that came in pieces, and decimals.
    joined: Vec<u8>,
}

impl Default for CborTokens<'_> {
    fn default() -> Self {
        Self { reader: Reader::new(&[]), joined: Vec::new() }
    }
}

fn bad(error: &minicbor::decode::Error) -> Error {
    match error.is_end_of_input() {
        true => Error::data("the CBOR payload ends in the middle of a value"),
        false => Error::data(format!("not valid CBOR: {error}")),
    }
}

impl<'a> Tokens<'a> for CborTokens<'a> {
    fn start(&mut self, payload: &'a [u8]) {
        self.reader = Reader::new(payload);
    }

    fn offset(&self) -> usize {
        self.reader.position()
    }

    fn is_at_end(&self) -> bool {
        self.reader.position() >= self.reader.input().len()
    }

    fn next(&mut self) -> Result<Token<'_>> {
        let mut is_epoch = false;
        let kind = loop {
            match self.reader.datatype().map_err(|error| bad(&error))? {
                Type::Tag => match self.reader.tag().map_err(|error| bad(&error))?.as_u64() {
                    1 => is_epoch = true,
                    sign @ (2 | 3) => {
                        let number = self.large(sign == 3)?;
                        return self.text_of(number, 0);
                    }
                    4 => return self.decimal(),
                    _ => {}
                },
                kind => break kind,
            }
        };
        let value = self.value(kind)?;
        Ok(match value {
            Token::Scalar(Scalar::Int(seconds)) if is_epoch => {
                Token::Scalar(Scalar::Time { seconds, nanos: 0 })
            }
            Token::Scalar(Scalar::Float(seconds)) if is_epoch => Token::Scalar(time(seconds)?),
            other => other,
        })
    }

    fn take_end(&mut self) -> bool {
        let is_end = matches!(self.reader.datatype(), Ok(Type::Break));
        if is_end {
            self.reader.set_position(self.reader.position() + 1);
        }
        is_end
    }
}

impl<'a> CborTokens<'a> {
    fn value(&mut self, kind: Type) -> Result<Token<'_>> {
        let reader = &mut self.reader;
        let read = match kind {
            Type::Bool => reader.bool().map(Scalar::Bool),
            Type::Null => reader.null().map(|()| Scalar::Null),
            Type::Undefined => reader.undefined().map(|()| Scalar::Null),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                reader.u64().map(|value| i64::try_from(value).map_or(Scalar::UInt(value), Scalar::Int))
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => reader.i64().map(Scalar::Int),
            Type::F16 => reader.f16().map(|value| Scalar::Float(f64::from(value))),
            Type::F32 => reader.f32().map(|value| Scalar::Float(f64::from(value))),
            Type::F64 => reader.f64().map(Scalar::Float),
            Type::String => reader.str().map(Scalar::Text),
            Type::Bytes => reader.bytes().map(Scalar::Bytes),
            Type::Array | Type::ArrayIndef => {
                return reader.array().map(Token::Array).map_err(|error| bad(&error));
            }
            Type::Map | Type::MapIndef => return reader.map().map(Token::Map).map_err(|error| bad(&error)),
            Type::StringIndef => {
                self.joined.clear();
                for piece in reader.str_iter().map_err(|error| bad(&error))? {
                    self.joined.extend_from_slice(piece.map_err(|error| bad(&error))?.as_bytes());
                }
                let text = std::str::from_utf8(&self.joined);
                return Ok(Token::Scalar(Scalar::Text(
                    text.map_err(|_| Error::internal("pieces are text"))?,
                )));
            }
            Type::BytesIndef => {
                self.joined.clear();
                for piece in reader.bytes_iter().map_err(|error| bad(&error))? {
                    self.joined.extend_from_slice(piece.map_err(|error| bad(&error))?);
                }
                return Ok(Token::Scalar(Scalar::Bytes(&self.joined)));
            }
            Type::Int => return Err(Error::data("a whole number is below what BIGINT holds")),
            other => return Err(Error::data(format!("not valid CBOR: {other} where a value was expected"))),
        };
        read.map(Token::Scalar).map_err(|error| bad(&error))
    }

    /// What tag 4 is in front of: an exponent of ten and a whole number, of which the text is made.
    fn decimal(&mut self) -> Result<Token<'_>> {
        let no_pair = || Error::data("a decimal of CBOR is an exponent and a whole number");
        let parts = self.reader.array().map_err(|error| bad(&error))?;
        if parts.is_some_and(|parts| parts != 2) {
            return Err(no_pair());
        }
        let exponent = self.reader.i64().map_err(|error| bad(&error))?;
        if !(-38..=38).contains(&exponent) {
            return Err(Error::data(format!("the decimal's exponent {exponent} is beyond 38")));
        }
        let digits = match self.reader.datatype().map_err(|error| bad(&error))? {
            Type::Tag => match self.reader.tag().map_err(|error| bad(&error))?.as_u64() {
                sign @ (2 | 3) => self.large(sign == 3)?,
                _ => return Err(no_pair()),
            },
            _ => i128::from(self.reader.int().map_err(|error| bad(&error))?),
        };
        if parts.is_none() && !self.take_end() {
            return Err(no_pair());
        }
        self.text_of(digits, exponent)
    }

    /// A whole number of more than 64 bits: what its tag is in front of are its bytes, the highest first.
    fn large(&mut self, is_negative: bool) -> Result<i128> {
        let bytes = self.reader.bytes().map_err(|error| bad(&error))?;
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let mut padded = [0; 16];
        let number = match padded.len().checked_sub(bytes.len() - first) {
            Some(at) => {
                padded[at..].copy_from_slice(&bytes[first..]);
                i128::try_from(u128::from_be_bytes(padded)).ok()
            }
            None => None,
        };
        let number = number.ok_or_else(|| {
            Error::data(format!("a whole number of {} bytes is beyond any column", bytes.len() - first))
        })?;
        // -1 - n, so that the negative ones begin with -1.
        Ok(if is_negative { !number } else { number })
    }

    /// `digits` times ten to the power of `exponent`, as text.
    fn text_of(&mut self, digits: i128, exponent: i64) -> Result<Token<'_>> {
        self.joined.clear();
        let unwritable = |_| Error::internal("memory takes what is written");
        let (sign, places) = (if digits < 0 { "-" } else { "" }, exponent.unsigned_abs() as usize);
        let plain = digits.unsigned_abs();
        if exponent >= 0 {
            write!(self.joined, "{sign}{plain}").map_err(unwritable)?;
            self.joined.resize(self.joined.len() + places, b'0');
        } else {
            write!(self.joined, "{sign}{plain:0width$}", width = places + 1).map_err(unwritable)?;
            self.joined.insert(self.joined.len() - places, b'.');
        }
        let text = std::str::from_utf8(&self.joined).map_err(|_| Error::internal("digits are text"))?;
        Ok(Token::Scalar(Scalar::Text(text)))
    }
}

/// A time as seconds since 1970 with a fraction, of which a double has no more than microseconds.
fn time(seconds: f64) -> Result<Scalar<'static>> {
    let micros = (seconds * 1e6).round();
    if !micros.is_finite() || micros.abs() >= 9e18 {
        return Err(Error::data(format!("{seconds} s since 1970 is no time")));
    }
    let micros = micros as i64;
    let nanos = micros.rem_euclid(1_000_000) as u32 * 1_000;
    Ok(Scalar::Time { seconds: micros.div_euclid(1_000_000), nanos })
}

/// Writes CBOR. Writing into memory does not fail, so results are not looked at.
#[derive(Debug, Default)]
pub(in crate::format) struct Bytes;

impl Writer for Bytes {
    fn null(out: &mut Vec<u8>) {
        let _ = CborWriter::new(out).null();
    }

    fn bool(out: &mut Vec<u8>, value: bool) {
        let _ = CborWriter::new(out).bool(value);
    }

    fn int(out: &mut Vec<u8>, value: i64) {
        let _ = CborWriter::new(out).i64(value);
    }

    fn float(out: &mut Vec<u8>, value: f32) {
        let _ = CborWriter::new(out).f32(value);
    }

    fn double(out: &mut Vec<u8>, value: f64) {
        let _ = CborWriter::new(out).f64(value);
    }

    fn text(out: &mut Vec<u8>, value: &str) {
        let _ = CborWriter::new(out).str(value);
    }

    fn bytes(out: &mut Vec<u8>, value: &[u8]) {
        let _ = CborWriter::new(out).bytes(value);
    }

    fn array(out: &mut Vec<u8>, items: usize) {
        let _ = CborWriter::new(out).array(items as u64);
    }

    fn map(out: &mut Vec<u8>, pairs: usize) {
        let _ = CborWriter::new(out).map(pairs as u64);
    }

    fn timestamp(out: &mut Vec<u8>, seconds: i64, nanos: u32) {
        let _ = CborWriter::new(&mut *out).tag(Tag::new(0));
        // The text is 20 to 30 characters long: its length takes two bytes from 24 on, so two are taken always.
        let start = out.len();
        out.extend_from_slice(&[0x78, 0]);
        write_timestamp(out, seconds, nanos, b'T');
        out.push(b'Z');
        out[start + 1] = (out.len() - start - 2) as u8;
    }
}
