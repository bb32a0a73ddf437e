//! Strings as codes, bytes and other alphabets: ASCII, CHR, base 64, hexadecimal, ENCODE and DECODE.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{ArrayRef, BinaryArray};
use arrow_schema::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use datafusion_expr::ScalarUDF;

use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, Bytes, Text, Whole};
    let make = |name, usage, about, parameters, returns, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Text, name, usage, about, parameters, returns, kernel)
    };
    let text_or_bytes = |types: &[DataType]| {
        Text.accepts(&types[0]).or_else(|| Bytes.accepts(&types[0])).map(|kind| vec![kind])
    };
    vec![
        make("ascii", "ASCII(string)", "The code of the first character, its first byte; 0 for an empty string.", &[Text], DataType::Int32, |call| {
            let texts = call.texts(0)?;
            call.int(|row| texts.get(row).map(|text| text.bytes().next().map_or(0, |byte| i32::from(byte.cast_signed()))))
        })
        .build(),
        make("chr", "CHR(code)", "The character of a code from 0 to 255, of the code's last byte if above; empty for a negative one.", &[Whole], DataType::Utf8, |call| {
            let codes = call.wholes(0)?;
            call.text(|row, out| {
                let Some(code) = codes.get(row) else { return Ok(false) };
                if code >= 0 {
                    out.push(char::from(u8::try_from(code & 0xff).unwrap_or(0)));
                }
                Ok(true)
            })
        })
        .build(),
        make("to_base64", "TO_BASE64(string | bytes)", "In base 64.", &[Any], DataType::Utf8, to_base64).accepts(text_or_bytes).build(),
        make("from_base64", "FROM_BASE64(string)", "The string that base 64 stands for; an error if it is none.", &[Text], DataType::Utf8, from_base64).build(),
        make("hex", "HEX(integer | string)", "In hexadecimal: of a number, or of the bytes of a string.", &[Any], DataType::Utf8, hex)
            .accepts(|types| Whole.accepts(&types[0]).or_else(|| Text.accepts(&types[0])).map(|kind| vec![kind]))
            .build(),
        make("unhex", "UNHEX(string)", "The BYTES that hexadecimal stands for; NULL if it is none.", &[Text], DataType::Binary, |call| {
            let texts = call.texts(0)?;
            Ok(Arc::new((0..call.rows).map(|row| unhex(texts.get(row)?)).collect::<BinaryArray>()))
        })
        .build(),
        make("bin", "BIN(integer)", "In binary.", &[Whole], DataType::Utf8, |call| {
            let values = call.wholes(0)?;
            call.text(|row, out| Ok(values.get(row).is_some_and(|value| write!(out, "{value:b}").is_ok())))
        })
        .build(),
        make("encode", "ENCODE(string, charset)", "The BYTES of a string in 'US-ASCII', 'ISO-8859-1', 'UTF-8', 'UTF-16', 'UTF-16BE' or 'UTF-16LE'.", &[Text, Text], DataType::Binary, encode).build(),
        make("decode", "DECODE(bytes, charset)", "The string of bytes in a character set, as with ENCODE.", &[Bytes, Text], DataType::Utf8, decode).build(),
    ]
}

fn to_base64(call: &Call<'_>) -> Result<ArrayRef> {
    if let Ok(texts) = call.texts(0) {
        return call.text(|row, out| {
            Ok(texts.get(row).is_some_and(|text| {
                STANDARD.encode_string(text, out);
                true
            }))
        });
    }
    let bytes = call.bytes(0)?;
    call.text(|row, out| {
        Ok(bytes.get(row).is_some_and(|bytes| {
            STANDARD.encode_string(bytes, out);
            true
        }))
    })
}

fn from_base64(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let mut buffer = Vec::new();
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        buffer.clear();
        let padded = STANDARD.decode_vec(text, &mut buffer);
        if padded.is_err() {
            // Java takes it without the signs at the end, too.
            buffer.clear();
            base64::engine::general_purpose::STANDARD_NO_PAD
                .decode_vec(text, &mut buffer)
                .map_err(|error| exec_datafusion_err!("FROM_BASE64 cannot read '{text}': {error}"))?;
        }
        out.push_str(&String::from_utf8_lossy(&buffer));
        Ok(true)
    })
}

fn hex(call: &Call<'_>) -> Result<ArrayRef> {
    if call.is_whole(0) {
        let values = call.wholes(0)?;
        return call
            .text(|row, out| Ok(values.get(row).is_some_and(|value| write!(out, "{value:X}").is_ok())));
    }
    let texts = call.texts(0)?;
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        push_hex(out, text.as_bytes(), b"0123456789ABCDEF");
        Ok(true)
    })
}

/// Two digits a byte.
pub(in crate::functions) fn push_hex(out: &mut String, bytes: &[u8], digits: &[u8; 16]) {
    for byte in bytes {
        out.push(char::from(digits[usize::from(byte >> 4)]));
        out.push(char::from(digits[usize::from(byte & 15)]));
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<Vec<_>>>()?;
    // An odd number of digits has a zero in front.
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    Some(odd.iter().copied().chain(pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1])).collect())
}

#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin,
    Utf8,
    Utf16,
    Utf16Be,
    Utf16Le,
}

fn charset(name: &str) -> Result<Charset> {
    match name.to_ascii_uppercase().as_str() {
        "US-ASCII" | "ASCII" => Ok(Charset::Ascii),
        "ISO-8859-1" | "LATIN1" => Ok(Charset::Latin),
        "UTF-8" | "UTF8" => Ok(Charset::Utf8),
        "UTF-16" => Ok(Charset::Utf16),
        "UTF-16BE" => Ok(Charset::Utf16Be),
        "UTF-16LE" => Ok(Charset::Utf16Le),
        _ => exec_err!(
            "there is no character set '{name}': take US-ASCII, ISO-8859-1, UTF-8, UTF-16, UTF-16BE or UTF-16LE"
        ),
    }
}

fn encode(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, charsets) = (call.texts(0)?, call.texts(1)?);
    let mut bytes = BinaryBuilder::new();
    for row in 0..call.rows {
        let (Some(text), Some(name)) = (texts.get(row), charsets.get(row)) else {
            bytes.append_null();
            continue;
        };
        let narrow = |limit: u32| {
            text.chars()
                .map(|c| {
                    u8::try_from(u32::from(c)).ok().filter(|byte| u32::from(*byte) < limit).unwrap_or(b'?')
                })
                .collect::<Vec<u8>>()
        };
        let big = || text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        match charset(name)? {
            Charset::Ascii => bytes.append_value(narrow(128)),
            Charset::Latin => bytes.append_value(narrow(256)),
            Charset::Utf8 => bytes.append_value(text),
            Charset::Utf16 => bytes.append_value([vec![0xfe, 0xff], big()].concat()),
            Charset::Utf16Be => bytes.append_value(big()),
            Charset::Utf16Le => {
                bytes.append_value(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
            }
        }
    }
    Ok(Arc::new(bytes.finish()))
}

fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, charsets) = (call.bytes(0)?, call.texts(1)?);
    call.text(|row, out| {
        let (Some(bytes), Some(name)) = (bytes.get(row), charsets.get(row)) else { return Ok(false) };
        let wide = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
            let units: Vec<u16> = bytes
                .chunks(2)
                .map(|pair| match pair {
                    [a, b] => of([*a, *b]),
                    _ => 0xfffd,
                })
                .collect();
            String::from_utf16_lossy(&units)
        };
        match charset(name)? {
            Charset::Ascii => out.extend(
                bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' }),
            ),
            Charset::Latin => out.extend(bytes.iter().copied().map(char::from)),
            Charset::Utf8 => out.push_str(&String::from_utf8_lossy(bytes)),
            Charset::Utf16 => match bytes {
                [0xff, 0xfe, rest @ ..] => out.push_str(&wide(rest, u16::from_le_bytes)),
                [0xfe, 0xff, rest @ ..] => out.push_str(&wide(rest, u16::from_be_bytes)),
                rest => out.push_str(&wide(rest, u16::from_be_bytes)),
            },
            Charset::Utf16Be => out.push_str(&wide(bytes, u16::from_be_bytes)),
            Charset::Utf16Le => out.push_str(&wide(bytes, u16::from_le_bytes)),
        }
        Ok(true)
    })
}
