//! JSON written as Jackson writes it: keys in order, no blanks, only what must be escaped is.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;

use super::document::{Document, Kind, Place};
use super::evaluate::Item;
use super::number;
use crate::functions::cast::java_double;

/// The order of Java's strings, which are compared by 16 bits.
pub(super) fn utf16_order(a: &str, b: &str) -> Ordering {
    // Below the surrogates it is that of the bytes.
    if a.bytes().chain(b.bytes()).all(|byte| byte < 0xEE) {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// `text` as a string of JSON.
pub(super) fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        escaped(c, out);
    }
    out.push('"');
}

/// A character of a string.
pub(super) fn escaped(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        c if c < ' ' => {
            let _ = write!(out, "\\u{:04X}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Writes values of a document. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The entries of the objects that are being written, each one's in order.
    entries: Vec<(Place, Place)>,
}

impl Writer {
    /// A value as JSON.
    pub fn value(&mut self, document: Document<'_>, place: Place, out: &mut String) {
        match document.kind(place) {
            Kind::Null | Kind::Boolean => out.push_str(document.raw(place)),
            Kind::Whole => number::write(document.raw(place), true, out),
            Kind::Fraction => number::write(document.raw(place), false, out),
            // It needed no escape, so it needs none.
            Kind::Text => {
                out.push('"');
                out.push_str(document.raw(place));
                out.push('"');
            }
            Kind::EscapedText => string(&document.text(place), out),
            Kind::List => {
                out.push('[');
                for (number, item) in document.items(place).enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    self.value(document, item, out);
                }
                out.push(']');
            }
            Kind::Object => {
                let start = self.entries.len();
                self.entries.extend(document.entries(place));
                self.object(document, start, out);
            }
        }
    }

    /// The entries from `start` on as an object, in the order of their keys.
    fn object(&mut self, document: Document<'_>, start: usize, out: &mut String) {
        self.entries[start..].sort_by(|(a, _), (b, _)| utf16_order(&document.text(*a), &document.text(*b)));
        out.push('{');
        for at in start..self.entries.len() {
            let (key, value) = self.entries[at];
            if at > start {
                out.push(',');
            }
            self.value(document, key, out);
            out.push(':');
            self.value(document, value, out);
        }
        out.push('}');
        self.entries.truncate(start);
    }

    /// What a path led to as JSON.
    pub fn item(&mut self, document: Document<'_>, item: &Item, out: &mut String) {
        match item {
            Item::Place(place) => self.value(document, *place, out),
            Item::Object(entries) => {
                let start = self.entries.len();
                self.entries.extend_from_slice(entries);
                self.object(document, start, out);
            }
            Item::Keys(object) => {
                out.push('[');
                for (number, (key, _)) in document.entries(*object).enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    self.value(document, key, out);
                }
                out.push(']');
            }
            Item::Null => out.push_str("null"),
            Item::Count(_) | Item::Number(_) => scalar(document, item, out),
        }
    }

    /// Several values as a list.
    pub fn items(&mut self, document: Document<'_>, items: &[Item], out: &mut String) {
        out.push('[');
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            self.item(document, item, out);
        }
        out.push(']');
    }
}

/// The characters of a value that is neither list nor object: those of a string without its quotes.
pub(super) fn scalar(document: Document<'_>, item: &Item, out: &mut String) {
    match item {
        Item::Place(place) => match document.kind(*place) {
            kind @ (Kind::Whole | Kind::Fraction) => {
                number::write(document.raw(*place), kind == Kind::Whole, out);
            }
            _ => {
                let text: Cow<'_, str> = document.text(*place);
                out.push_str(&text);
            }
        },
        Item::Count(count) => {
            let _ = write!(out, "{count}");
        }
        Item::Number(number) => java_double(*number, out),
        Item::Null | Item::Object(_) | Item::Keys(_) => {}
    }
}
