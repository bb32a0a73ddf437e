//! Errors that point into the SQL text: what is wrong, where, and what to write instead.
//!
//! [`SqlError`] is a value with its place already resolved to line and column, so it outlives the text. `Display`
//! draws the line with carets under the place.

use std::fmt;
use std::ops::Range;

/// A place in SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant, on that line.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
    /// Where, if it has a place.
    pub place: Option<Place>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl SqlError {
    /// An error at the bytes `range` of `text`.
    pub fn at(message: impl Into<String>, text: &str, range: Range<usize>) -> Self {
        Self { message: message.into(), place: Some(Place::of(text, range)), remedy: None }
    }

    /// An error without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, remedy: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The text to show to a person, `source` being the file's name.
    pub fn render(&self, source: &str) -> String {
        let mut out = format!("error: {}\n", self.message);
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let gutter = " ".repeat(number.len());
            let lead: String = place
                .text
                .chars()
                .take(place.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let carets = "^".repeat(place.width.max(1));
            out.push_str(&format!("{gutter}--> {source}:{}:{}\n", place.line, place.column));
            out.push_str(&format!("{gutter} |\n{number} | {}\n{gutter} | {lead}{carets}\n", place.text));
        }
        if let Some(remedy) = &self.remedy {
            out.push_str(&format!("help: {remedy}\n"));
        }
        out
    }
}

impl Place {
    /// The place of the bytes `range` of `text`; a range over several lines is cut at the end of its first.
    pub fn of(text: &str, range: Range<usize>) -> Self {
        let start = floor_boundary(text, range.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_boundary(text, range.end).clamp(start, line_end);
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            text: text[line_start..line_end].trim_end().to_string(),
        }
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render("SQL").trim_end())
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_points_at_its_place() {
        let text = "SELECT a,\n  bux FROM t";
        let error = SqlError::at("column 'bux' does not exist", text, 12..15).remedy("did you mean 'bus'?");
        assert_eq!(
            error.render("q.sql"),
            "error: column 'bux' does not exist\n --> q.sql:2:3\n  |\n2 |   bux FROM t\n  |   ^^^\nhelp: did you mean 'bus'?\n"
        );
    }
}
