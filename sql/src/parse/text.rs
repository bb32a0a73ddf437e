//! The text of a compilation, with its lines numbered: turns sqlparser's places into byte ranges.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    is_ascii: bool,
}

impl<'a> Text<'a> {
    pub fn new(text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, line_starts, is_ascii: text.is_ascii() }
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Byte offset of a place; line and column count from 1, columns in characters.
    pub fn offset(&self, place: Location) -> usize {
        let line = usize::try_from(place.line).unwrap_or(1).max(1);
        let column = usize::try_from(place.column).unwrap_or(1).max(1);
        let Some(&start) = self.line_starts.get(line - 1) else { return self.text.len() };
        let rest = &self.text[start..];
        if self.is_ascii {
            return start + (column - 1).min(rest.len());
        }
        start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at)
    }

    /// Bytes of a span; the empty span, which sqlparser gives to what it made up, is the start of the text.
    pub fn range(&self, span: Span) -> Range<usize> {
        if span.start.line == 0 {
            return 0..0;
        }
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }

    /// The word that starts at a place.
    pub fn word_at(&self, line: u64, column: u64) -> Range<usize> {
        let start = self.offset(Location { line, column });
        let word = self.text[start..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(self.text.len() - start);
        start..start + word.max(1)
    }

    /// What the bytes say.
    pub fn slice(&self, range: &Range<usize>) -> &'a str {
        self.text.get(range.clone()).unwrap_or("")
    }
}
