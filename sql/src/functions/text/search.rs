//! What is in a string, and where: POSITION, LOCATE, INSTR, STARTSWITH, ENDSWITH, REPLACE, TRANSLATE, and what kind of
//! text it is.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::shape::{byte_of, characters};
use crate::functions::call::{Call, Texts};
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, Bytes, Text, Whole};
    let make = |name, usage, about, parameters, returns, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Text, name, usage, about, parameters, returns, kernel)
    };
    let int = DataType::Int32;
    let boolean = DataType::Boolean;
    vec![
        make("position", "POSITION(piece IN string)", "Where the piece first starts, from 1; 0 if nowhere.", &[Text, Text], int.clone(), |call| position(&call.texts(0)?, &call.texts(1)?, call)).build(),
        make("locate", "LOCATE(piece, string [, start])", "Where the piece first starts at or after start, from 1; 0 if nowhere.", &[Text, Text], int.clone(), |call| position(&call.texts(0)?, &call.texts(1)?, call))
            .optional(&[Whole])
            .build(),
        make("instr", "INSTR(string, piece)", "Where the piece first starts, from 1; 0 if nowhere.", &[Text, Text], int, |call| position(&call.texts(1)?, &call.texts(0)?, call)).build(),
        make("startswith", "STARTSWITH(string, start)", "Whether the string starts so.", &[Text, Text], boolean.clone(), |call| {
            let (texts, pieces) = (call.texts(0)?, call.texts(1)?);
            call.boolean(|row| Some(texts.get(row)?.starts_with(pieces.get(row)?)))
        })
        .build(),
        make("endswith", "ENDSWITH(string, end)", "Whether the string ends so.", &[Text, Text], boolean.clone(), |call| {
            let (texts, pieces) = (call.texts(0)?, call.texts(1)?);
            call.boolean(|row| Some(texts.get(row)?.ends_with(pieces.get(row)?)))
        })
        .build(),
        make("replace", "REPLACE(string, old, new)", "With every old piece replaced by the new one.", &[Text, Text, Text], DataType::Utf8, replace).build(),
        make("translate", "TRANSLATE(string, from, to)", "With each character of from replaced by the one at its place in to, or left out if there is none.", &[Text, Text, Text], DataType::Utf8, translate).build(),
        make("is_alpha", "IS_ALPHA(string)", "Whether there are only letters, and at least one.", &[Text], boolean.clone(), |call| {
            let texts = call.texts(0)?;
            call.boolean(|row| Some(texts.get(row).is_some_and(|text| !text.is_empty() && text.chars().all(char::is_alphabetic))))
        })
        .build(),
        make("is_digit", "IS_DIGIT(string)", "Whether there are only digits, and at least one.", &[Text], boolean.clone(), |call| {
            let texts = call.texts(0)?;
            call.boolean(|row| Some(texts.get(row).is_some_and(|text| !text.is_empty() && text.chars().all(char::is_numeric))))
        })
        .build(),
        make("is_decimal", "IS_DECIMAL(string)", "Whether it is a number.", &[Text], boolean.clone(), |call| {
            let texts = call.texts(0)?;
            call.boolean(|row| Some(texts.get(row).is_some_and(is_number)))
        })
        .build(),
        make("contains", "CONTAINS(string, piece)", "Whether the piece is in the string.", &[Text, Text], boolean, |call| {
            let (texts, pieces) = (call.texts(0)?, call.texts(1)?);
            call.boolean(|row| Some(texts.get(row)?.contains(pieces.get(row)?)))
        })
        .extension()
        .build(),
        make("octet_length", "OCTET_LENGTH(string | bytes)", "The number of bytes.", &[Any], DataType::Int32, octets)
            .accepts(|types| Text.accepts(&types[0]).or_else(|| Bytes.accepts(&types[0])).map(|kind| vec![kind]))
            .extension()
            .build(),
    ]
}

fn position(pieces: &Texts<'_>, texts: &Texts<'_>, call: &Call<'_>) -> Result<ArrayRef> {
    let starts = if call.len() > 2 { Some(call.wholes(2)?) } else { None };
    call.int(|row| {
        let (piece, text) = (pieces.get(row)?, texts.get(row)?);
        let start = match &starts {
            Some(starts) => usize::try_from(starts.get(row)?.saturating_sub(1)).unwrap_or(0),
            None => 0,
        };
        if piece.is_empty() {
            return Some(1);
        }
        let from = byte_of(text, start);
        let found = text[from..].find(piece).map(|byte| characters(&text[..from + byte]) + 1);
        Some(i32::try_from(found.unwrap_or(0)).unwrap_or(i32::MAX))
    })
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, olds, news) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    call.text(|row, out| {
        let (Some(text), Some(old), Some(new)) = (texts.get(row), olds.get(row), news.get(row)) else {
            return Ok(false);
        };
        let mut kept = 0;
        for (at, found) in text.match_indices(old) {
            out.push_str(&text[kept..at]);
            out.push_str(new);
            kept = at + found.len();
        }
        out.push_str(&text[kept..]);
        Ok(true)
    })
}

fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, froms, tos) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        let (from, to) = (froms.get(row).unwrap_or(""), tos.get(row).unwrap_or(""));
        for c in text.chars() {
            match from.chars().position(|known| known == c) {
                Some(at) => out.extend(to.chars().nth(at)),
                None => out.push(c),
            }
        }
        Ok(true)
    })
}

/// What Java reads as a number: blanks around it, a sign, digits with a point and an exponent, and a type letter.
fn is_number(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return true;
    }
    let digits = unsigned.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(unsigned);
    let numeric = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    numeric && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

fn octets(call: &Call<'_>) -> Result<ArrayRef> {
    let size = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    if let Ok(texts) = call.texts(0) {
        return call.int(|row| texts.get(row).map(|text| size(text.len())));
    }
    let bytes = call.bytes(0)?;
    call.int(|row| bytes.get(row).map(|bytes| size(bytes.len())))
}
