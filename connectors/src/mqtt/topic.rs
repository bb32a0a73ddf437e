//! Topics as the 'topic' option of a table writes them that is written to; pattern.rs has those to read by.
//!
//! A [`Template`] makes a row's topic from its columns. What a broker would refuse never leaves: a template's values
//! are checked row by row.

use std::fmt::Write;

use millstream_engine::registry::Table;
use millstream_engine::suggest::did_you_mean;
use millstream_engine::{Error, Result};

/// Bytes of the longest topic that MQTT can carry.
pub(super) const TOPIC_BYTES_MAX: usize = 65_535;

/// An error about the column that `{name}` of the 'topic' option stands for.
pub(super) fn wrong_column(table: &Table, name: &str, what: &str) -> Error {
    Error::config(format!("option 'topic': '{{{name}}}' {what}")).at(table.options.owner())
}

/// The column that `{name}` of the 'topic' option stands for. If there is none, `advice` goes in front of those there are.
pub(super) fn column_of(table: &Table, name: &str, advice: &str) -> Result<usize> {
    let fields = table.schema.fields();
    fields.iter().position(|field| field.name() == name).ok_or_else(|| {
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        let near = did_you_mean(name, names.iter().copied());
        wrong_column(table, name, "names no column of the table").remedy(format!(
            "{}{advice}the columns are: {}",
            near.map_or(String::new(), |near| format!("did you mean '{{{near}}}'? ")),
            names.join(", ")
        ))
    })
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['{', '}', '+', '#'])
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// Index into the template's columns.
    Column(usize),
}

/// What a sink publishes to.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// Names of the columns in it, in order of first use.
    pub columns: Vec<String>,
    pieces: Vec<Piece>,
}

impl Template {
    /// Reads the 'topic' option of a table that is written to.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::config(format!("option 'topic' = '{text}': {what}"));
        let (mut pieces, mut columns) = (Vec::new(), Vec::<String>::new());
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = match rest.split_once('{') {
                Some((literal, after)) => (literal, Some(after)),
                None => (rest, None),
            };
            if literal.contains(['+', '#']) {
                return Err(wrong("messages are published to one topic, without + and #".to_owned())
                    .remedy("name a column instead, as in 'alerts/{device}'"));
            }
            if literal.contains(['}', '\0']) {
                return Err(wrong("a brace is closed that was not opened, or it holds a NUL".to_owned()));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let Some(after) = after else { break };
            match after.split_once('}') {
                Some((name, after)) if is_name(name) => {
                    let number = columns.iter().position(|other| other == name).unwrap_or_else(|| {
                        columns.push(name.to_owned());
                        columns.len() - 1
                    });
                    pieces.push(Piece::Column(number));
                    rest = after;
                }
                _ => return Err(wrong("'{' must be followed by a column's name and '}'".to_owned())),
            }
        }
        if pieces.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        Ok(Self { columns, pieces })
    }

    /// Writes the topic of a row to the end of `out`; `value` gives a column's text, none for NULL.
    pub fn fill<'a>(&self, out: &mut String, value: impl Fn(usize) -> Option<&'a str>) -> Result<()> {
        let start = out.len();
        for piece in &self.pieces {
            let number = match piece {
                Piece::Literal(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Column(number) => *number,
            };
            let name = self.columns.get(number).map_or("", String::as_str);
            let wrong = |what: &str| {
                Error::data(format!("the topic's column '{name}' {what}"))
                    .remedy("filter such rows out, or give the column a value that a topic can hold")
            };
            match value(number) {
                None => return Err(wrong("is NULL")),
                Some("") => return Err(wrong("is empty")),
                Some(text) if text.contains(['+', '#', '\0']) => return Err(wrong("holds '+', '#' or NUL")),
                Some(text) if out.len() == start && text.starts_with('$') => {
                    return Err(wrong("begins with '$', which is the broker's own"));
                }
                Some(text) => out.push_str(text),
            }
        }
        if out.len() - start > TOPIC_BYTES_MAX {
            return Err(Error::data("the topic is over 65535 bytes"));
        }
        Ok(())
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Column(number) => {
                f.write_char('{')?;
                f.write_str(self.columns.get(*number).map_or("", String::as_str))?;
                f.write_char('}')
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, values: &[Option<&'static str>]) -> Result<String> {
        let mut topic = String::new();
        Template::parse(template)?.fill(&mut topic, |column| values[column]).map(|()| topic)
    }

    #[test]
    fn templates_take_columns_and_refuse_what_no_topic_holds() {
        assert_eq!(fill("alerts/{d}/x-{l}/{d}", &[Some("d7"), Some("high")]).unwrap(), "alerts/d7/x-high/d7");
        assert_eq!(fill("plain", &[]).unwrap(), "plain");
        assert_eq!(Template::parse("a/{b}c").unwrap().to_string(), "a/{b}c");
        for (value, part) in [
            (None, "NULL"),
            (Some(""), "empty"),
            (Some("a+"), "'+'"),
            (Some("#"), "'#'"),
            (Some("\0"), "NUL"),
        ] {
            assert!(fill("a/{d}", &[value]).unwrap_err().to_string().contains(part));
        }
        assert!(fill("{d}/x", &[Some("$SYS")]).unwrap_err().to_string().contains("broker's own"));
        for (template, part) in
            [("", "empty"), ("a/+", "without + and #"), ("a/{", "column's name"), ("a}", "closed")]
        {
            assert!(Template::parse(template).unwrap_err().to_string().contains(part), "{template}");
        }
    }
}
