//! Pieces of strings: SUBSTRING, LEFT, RIGHT, OVERLAY, SPLIT, SPLIT_INDEX, ELT.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_schema::{DataType, Field};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::shape::{byte_of, characters};
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Any, Text, Whole};
    let text = |name, usage, about, parameters, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Text, name, usage, about, parameters, DataType::Utf8, kernel)
    };
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    vec![
        text("substring", "SUBSTRING(string FROM start [FOR length])", "The piece from a character on, counted from 1, from the end if negative; SUBSTRING(string, start [, length]) is the same.", &[Text, Whole], substring)
            .optional(&[Whole])
            .aliases(&["substr"])
            .build(),
        text("left", "LEFT(string, length)", "The first characters.", &[Text, Whole], left).build(),
        text("right", "RIGHT(string, length)", "The last characters.", &[Text, Whole], right).build(),
        text("overlay", "OVERLAY(string PLACING new FROM start [FOR length])", "The string with so many characters from start on replaced by the new ones.", &[Text, Text, Whole], overlay)
            .optional(&[Whole])
            .build(),
        text("split_index", "SPLIT_INDEX(string, separator, index)", "The piece of that index, from 0, between separators; NULL if there are fewer. The separator may be a character's code.", &[Text, Any, Whole], split_index)
            .accepts(|types| match &types[1] {
                DataType::Utf8 | DataType::Null => Some(vec![DataType::Utf8, DataType::Utf8, DataType::Int64]),
                other if other.is_integer() => Some(vec![DataType::Utf8, DataType::Int64, DataType::Int64]),
                _ => None,
            })
            .build(),
        Function::new(Subject::Text, "split", "SPLIT(string, separator)", "An ARRAY of the pieces between separators; of the characters if the separator is empty; no pieces of an empty string.", &[Text, Text], list, split).build(),
        text("elt", "ELT(index, string, …)", "The string of that index, from 1; NULL if there is none.", &[Whole, Text], elt).rest(Text).build(),
    ]
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, starts) = (call.texts(0)?, call.wholes(1)?);
    let lengths = if call.len() > 2 { Some(call.wholes(2)?) } else { None };
    call.piece(|row| {
        let (text, start) = (texts.get(row)?, starts.get(row)?);
        let length = match &lengths {
            Some(lengths) => usize::try_from(lengths.get(row)?).ok()?,
            None => usize::MAX,
        };
        let skipped = match usize::try_from(start) {
            Ok(start) => start.saturating_sub(1),
            Err(_) => match characters(text)
                .checked_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX))
            {
                Some(skipped) => skipped,
                None => return Some(""),
            },
        };
        let rest = &text[byte_of(text, skipped)..];
        Some(&rest[..byte_of(rest, length)])
    })
}

fn left(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lengths) = (call.texts(0)?, call.wholes(1)?);
    call.piece(|row| {
        let (text, length) = (texts.get(row)?, lengths.get(row)?);
        Some(&text[..byte_of(text, usize::try_from(length).unwrap_or(0))])
    })
}

fn right(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lengths) = (call.texts(0)?, call.wholes(1)?);
    call.piece(|row| {
        let (text, length) = (texts.get(row)?, lengths.get(row)?);
        let skipped = characters(text).saturating_sub(usize::try_from(length).unwrap_or(0));
        Some(&text[byte_of(text, skipped)..])
    })
}

/// As Flink does it: what follows the replaced piece is kept only if there is a length, and the start has to lie in
/// the string.
fn overlay(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, news, starts) = (call.texts(0)?, call.texts(1)?, call.wholes(2)?);
    let lengths = if call.len() > 3 { Some(call.wholes(3)?) } else { None };
    call.text(|row, out| {
        let (Some(text), Some(new), Some(start)) = (texts.get(row), news.get(row), starts.get(row)) else {
            return Ok(false);
        };
        let length = match &lengths {
            Some(lengths) => match lengths.get(row) {
                Some(length) => length,
                None => return Ok(false),
            },
            None => i64::try_from(characters(new)).unwrap_or(i64::MAX),
        };
        let whole = i64::try_from(characters(text)).unwrap_or(i64::MAX);
        if start <= 0 || start > whole {
            out.push_str(text);
            return Ok(true);
        }
        let before = usize::try_from(start - 1).unwrap_or(0);
        out.push_str(&text[..byte_of(text, before)]);
        out.push_str(new);
        if length > 0 && start.saturating_add(length) <= whole {
            let after = before + usize::try_from(length).unwrap_or(0);
            out.push_str(&text[byte_of(text, after)..]);
        }
        Ok(true)
    })
}

fn split_index(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, indexes) = (call.texts(0)?, call.wholes(2)?);
    let nth = |text: &'_ str, index: i64| -> Option<usize> {
        (!text.is_empty()).then(|| usize::try_from(index).ok()).flatten()
    };
    if call.is_whole(1) {
        let codes = call.wholes(1)?;
        return call.piece(|row| {
            let (text, code, index) = (texts.get(row)?, codes.get(row)?, indexes.get(row)?);
            let separator = char::from(u8::try_from(code).ok().filter(|code| *code > 0)?);
            text.split(separator).nth(nth(text, index)?)
        });
    }
    let separators = call.texts(1)?;
    call.piece(|row| {
        let (text, separator, index) = (texts.get(row)?, separators.get(row)?, indexes.get(row)?);
        let index = nth(text, index)?;
        let mut characters = separator.chars();
        match (characters.next(), characters.next()) {
            // An empty separator means blanks, as in the library that Flink calls.
            (None, _) => text.split(char::is_whitespace).nth(index),
            // One character is looked for without the preparations that a text takes.
            (Some(only), None) => text.split(only).nth(index),
            _ => text.split(separator).nth(index),
        }
    })
}

fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, separators) = (call.texts(0)?, call.texts(1)?);
    let mut lists =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, true));
    for row in 0..call.rows {
        let (Some(text), Some(separator)) = (texts.get(row), separators.get(row)) else {
            lists.append_null();
            continue;
        };
        if separator.is_empty() {
            let mut buffer = [0; 4];
            text.chars().for_each(|c| lists.values().append_value(c.encode_utf8(&mut buffer)));
        } else if !text.is_empty() {
            text.split(separator).for_each(|piece| lists.values().append_value(piece));
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn elt(call: &Call<'_>) -> Result<ArrayRef> {
    let indexes = call.wholes(0)?;
    let texts = (1..call.len()).map(|index| call.texts(index)).collect::<Result<Vec<_>>>()?;
    call.piece(|row| {
        let index = usize::try_from(indexes.get(row)?).ok()?.checked_sub(1)?;
        texts.get(index)?.get(row)
    })
}
