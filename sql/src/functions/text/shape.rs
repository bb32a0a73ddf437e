//! Strings in another shape: case, blanks at the ends, padding, repetition, order of characters.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;

use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

/// No result of REPEAT, LPAD and RPAD may be longer, in bytes: one row must not fill the memory.
const LONGEST_BYTES: usize = 64 << 20;

const TEXT: &[Kind] = &[Kind::Text];

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |name, usage, about, parameters, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Text, name, usage, about, parameters, DataType::Utf8, kernel)
    };
    vec![
        Function::new(Subject::Text, "char_length", "CHAR_LENGTH(string)", "The number of characters.", TEXT, DataType::Int32, length)
            .aliases(&["character_length"])
            .build(),
        Function::new(Subject::Text, "length", "LENGTH(string)", "The number of characters, as CHAR_LENGTH.", TEXT, DataType::Int32, length)
            .extension()
            .build(),
        text("upper", "UPPER(string)", "The string in capital letters.", TEXT, |call| recased(call, str::to_uppercase)).build(),
        text("lower", "LOWER(string)", "The string in small letters.", TEXT, |call| recased(call, str::to_lowercase)).build(),
        text("initcap", "INITCAP(string)", "Words with a capital first letter and small ones after it; A to Z only.", TEXT, initcap).build(),
        text("ltrim", "LTRIM(string [, characters])", "Without the given characters, or blanks, at the start.", TEXT, |call| trim(call, true, false))
            .optional(TEXT)
            .build(),
        text("rtrim", "RTRIM(string [, characters])", "Without the given characters, or blanks, at the end.", TEXT, |call| trim(call, false, true))
            .optional(TEXT)
            .build(),
        text("btrim", "BTRIM(string [, characters])", "Without the given characters, or blanks, at both ends; TRIM([BOTH | LEADING | TRAILING] characters FROM string) is the other way to write these three.", TEXT, |call| trim(call, true, true))
            .aliases(&["trim"])
            .optional(TEXT)
            .build(),
        text("repeat", "REPEAT(string, times)", "The string so many times over; empty if times is not above 0.", &[Kind::Text, Kind::Whole], repeat).build(),
        text("lpad", "LPAD(string, length, pad)", "Filled at the left with pad, or cut, to the length; NULL for a negative length or an empty pad.", &[Kind::Text, Kind::Whole, Kind::Text], |call| pad(call, true)).build(),
        text("rpad", "RPAD(string, length, pad)", "Filled at the right with pad, or cut, to the length; NULL for a negative length or an empty pad.", &[Kind::Text, Kind::Whole, Kind::Text], |call| pad(call, false)).build(),
        text("reverse", "REVERSE(string)", "The characters in reverse order.", TEXT, reverse).build(),
        text("concat", "CONCAT(string, …)", "All strings after each other; NULL if one is NULL, as with ||.", TEXT, concat).rest(Kind::Text).build(),
        text("concat_ws", "CONCAT_WS(separator, string, …)", "All strings that are not NULL with the separator between them.", TEXT, concat_ws)
            .rest(Kind::Text)
            .build(),
    ]
}

fn length(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    call.int(|row| texts.get(row).map(|text| i32::try_from(characters(text)).unwrap_or(i32::MAX)))
}

/// The number of characters; ASCII is counted in one sweep.
pub(super) fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// The byte at which character `index` starts; the length for one past the end.
pub(super) fn byte_of(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(byte, _)| byte)
}

fn recased(call: &Call<'_>, convert: fn(&str) -> String) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let upper = convert("a") == "A";
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        if text.is_ascii() {
            out.push_str(text);
            if upper { out.make_ascii_uppercase() } else { out.make_ascii_lowercase() }
        } else {
            out.push_str(&convert(text));
        }
        Ok(true)
    })
}

fn initcap(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        let mut inside = false;
        for c in text.chars() {
            out.push(if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
            inside = c.is_ascii_alphanumeric();
        }
        Ok(true)
    })
}

fn trim(call: &Call<'_>, start: bool, end: bool) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let sets = if call.len() > 1 { Some(call.texts(1)?) } else { None };
    call.piece(|row| {
        let mut text = texts.get(row)?;
        let set = match &sets {
            Some(sets) => sets.get(row)?,
            None => " ",
        };
        if start {
            text = text.trim_start_matches(|c| set.contains(c));
        }
        if end {
            text = text.trim_end_matches(|c| set.contains(c));
        }
        Some(text)
    })
}

fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, times) = (call.texts(0)?, call.wholes(1)?);
    call.text(|row, out| {
        let (Some(text), Some(times)) = (texts.get(row), times.get(row)) else { return Ok(false) };
        let times = usize::try_from(times).unwrap_or(0);
        check_length(text.len().saturating_mul(times), "REPEAT")?;
        (0..times).for_each(|_| out.push_str(text));
        Ok(true)
    })
}

fn check_length(bytes: usize, name: &str) -> Result<()> {
    if bytes > LONGEST_BYTES {
        return exec_err!("{name} would make a string of {bytes} bytes; at most {LONGEST_BYTES} are allowed");
    }
    Ok(())
}

fn pad(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    let (texts, lengths, pads) = (call.texts(0)?, call.wholes(1)?, call.texts(2)?);
    call.text(|row, out| {
        let (Some(text), Some(length), Some(pad)) = (texts.get(row), lengths.get(row), pads.get(row)) else {
            return Ok(false);
        };
        let Ok(length) = usize::try_from(length) else { return Ok(false) };
        if pad.is_empty() {
            return Ok(false);
        }
        check_length(length, if left { "LPAD" } else { "RPAD" })?;
        let kept = &text[..byte_of(text, length)];
        let missing = length.saturating_sub(characters(text));
        if !left {
            out.push_str(kept);
        }
        out.extend(pad.chars().cycle().take(missing));
        if left {
            out.push_str(kept);
        }
        Ok(true)
    })
}

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        out.extend(text.chars().rev());
        Ok(true)
    })
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let parts = (0..call.len()).map(|index| call.texts(index)).collect::<Result<Vec<_>>>()?;
    call.text(|row, out| {
        for part in &parts {
            let Some(text) = part.get(row) else { return Ok(false) };
            out.push_str(text);
        }
        Ok(true)
    })
}

fn concat_ws(call: &Call<'_>) -> Result<ArrayRef> {
    let separators = call.texts(0)?;
    let parts = (1..call.len()).map(|index| call.texts(index)).collect::<Result<Vec<_>>>()?;
    call.text(|row, out| {
        let Some(separator) = separators.get(row) else { return Ok(false) };
        let mut first = true;
        for text in parts.iter().filter_map(|part| part.get(row)) {
            if !first {
                out.push_str(separator);
            }
            out.push_str(text);
            first = false;
        }
        Ok(true)
    })
}
