//! Topics as the 'topic' option writes them: a pattern to read by, or a template to write by.
//!
//! A [`Pattern`] subscribes to its filter and splits the topics that arrive, so that `plant/{site}/+/t` gives column
//! `site` the second level. A [`Template`] makes a row's topic from its columns. What a broker would refuse never
//! leaves: a template's values are checked row by row.

use std::fmt::Write;
use std::ops::Range;

use millstream_engine::registry::Table;
use millstream_engine::suggest::did_you_mean;
use millstream_engine::{Error, Result};

/// Bytes of the longest topic that MQTT can carry.
const TOPIC_BYTES_MAX: usize = 65_535;

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

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    /// `+`
    Any,
    /// `{name}`: the number of the segment.
    Segment(usize),
    /// `#`
    Rest,
}

/// What a source subscribes to.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// The subscription's filter, with + for each named segment.
    pub filter: String,
    /// Names of the named segments, in order.
    pub segments: Vec<String>,
    levels: Vec<Level>,
}

impl Pattern {
    /// Reads the 'topic' option of a table that is read from.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::config(format!("option 'topic' = '{text}': {what}"));
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX || text.contains('\0') {
            return Err(wrong("a topic is 1 to 65535 bytes without NUL".to_owned()));
        }
        // A shared subscription's messages come under the topic without its first two levels.
        let (share, topic) = match text.strip_prefix("$share/") {
            Some(rest) => match rest.split_once('/') {
                Some((group, topic)) if !group.is_empty() && !group.contains(['+', '#', '{']) => {
                    (format!("$share/{group}/"), topic)
                }
                _ => return Err(wrong("a shared subscription is '$share/GROUP/TOPIC'".to_owned())),
            },
            None => (String::new(), text),
        };
        let (mut levels, mut segments) = (Vec::new(), Vec::<String>::new());
        let count = topic.split('/').count();
        for (number, level) in topic.split('/').enumerate() {
            levels.push(match level {
                "+" => Level::Any,
                "#" if number + 1 == count => Level::Rest,
                "#" => return Err(wrong("'#' can only be the last level".to_owned())),
                _ => match level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(name) if is_name(name) => {
                        if segments.iter().any(|other| other == name) {
                            return Err(wrong(format!("'{{{name}}}' is in it twice")));
                        }
                        segments.push(name.to_owned());
                        Level::Segment(segments.len() - 1)
                    }
                    _ if level.contains(['{', '}']) => {
                        return Err(wrong(format!(
                            "'{level}' must be one '{{column}}', alone between the slashes"
                        )));
                    }
                    _ if level.contains(['+', '#']) => {
                        return Err(wrong(format!(
                            "'{level}' has a wildcard that is not alone between the slashes"
                        )));
                    }
                    _ => Level::Literal(level.to_owned()),
                },
            });
        }
        let mut filter = share;
        for (number, level) in levels.iter().enumerate() {
            if number > 0 {
                filter.push('/');
            }
            filter.push_str(match level {
                Level::Literal(text) => text,
                Level::Any | Level::Segment(_) => "+",
                Level::Rest => "#",
            });
        }
        Ok(Self { filter, segments, levels })
    }

    /// Whether `topic` is one of this pattern's; then the places of its named segments, in order, are put at the end
    /// of `found`.
    pub fn split(&self, topic: &str, found: &mut Vec<Range<u32>>) -> bool {
        let before = found.len();
        let (bytes, mut at, mut open) = (topic.as_bytes(), 0, true);
        for level in &self.levels {
            // 'a/#' also matches 'a' itself.
            if matches!(level, Level::Rest) {
                return true;
            }
            if !open {
                found.truncate(before);
                return false;
            }
            let end =
                bytes[at..].iter().position(|byte| *byte == b'/').map_or(bytes.len(), |slash| at + slash);
            match level {
                Level::Literal(text) if &bytes[at..end] != text.as_bytes() => {
                    found.truncate(before);
                    return false;
                }
                // A topic has at most 65535 bytes.
                Level::Segment(_) => found.push(at as u32..end as u32),
                _ => {}
            }
            open = end < bytes.len();
            at = end + 1;
        }
        if open {
            found.truncate(before);
        }
        !open
    }
}

fn is_name(name: &str) -> bool {
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

    /// The named segments of `topic`, if it matches.
    fn split(pattern: &str, topic: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let matches = Pattern::parse(pattern).unwrap().split(topic, &mut found);
        assert!(matches || found.is_empty());
        matches.then(|| {
            found
                .into_iter()
                .map(|range| topic[range.start as usize..range.end as usize].to_owned())
                .collect()
        })
    }

    #[test]
    fn named_segments_are_wildcards_that_are_kept() {
        let pattern = Pattern::parse("plant/{site}/{device}/telemetry").unwrap();
        assert_eq!(pattern.filter, "plant/+/+/telemetry");
        assert_eq!(pattern.segments, ["site", "device"]);
        assert_eq!(split("plant/{site}/{device}/telemetry", "plant/b/d7/telemetry").unwrap(), ["b", "d7"]);
        assert_eq!(split("{a}/#", "x/y/z").unwrap(), ["x"]);
        assert_eq!(split("$share/g/{a}/t", "x/t").unwrap(), ["x"]);
        assert_eq!(Pattern::parse("$share/g/{a}/t").unwrap().filter, "$share/g/+/t");
    }

    #[test]
    fn matching_is_mqtts() {
        for (pattern, topic, matches) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b", "a", false),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("{x}", "a/b", false),
            ("a/{x}/c", "a/b/d", false),
        ] {
            assert_eq!(split(pattern, topic).is_some(), matches, "{pattern} {topic}");
        }
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        for (pattern, part) in [
            ("", "1 to 65535"),
            ("a/#/b", "last level"),
            ("a/b+", "not alone"),
            ("a/x{b}", "alone between"),
            ("a/{b", "alone between"),
            ("{a}/{a}", "twice"),
            ("a/{}", "alone between"),
            ("$share/g", "$share/GROUP/TOPIC"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }

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
