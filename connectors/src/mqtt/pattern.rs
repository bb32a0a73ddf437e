//! Topics as the 'topic' option of a table writes them that is read from: filters whose levels may name columns.
//!
//! [`Patterns`] are subscribed to, and split the topics that arrive, so that `plant/{site}/+/t` gives column `site` the
//! second level. Invariant: no two of them match the same topic, so that no message comes twice.

use std::ops::Range;

use memchr::memchr;
use millstream_engine::{Error, Result};

use super::topic::{TOPIC_BYTES_MAX, is_name};

/// Filters of one table.
const FILTERS_MAX: usize = 64;

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

/// One of the filters that a source subscribes to.
#[derive(Debug, Clone)]
struct Pattern {
    /// The subscription's filter, with + for each named segment.
    filter: String,
    /// Names of the named segments, in order.
    segments: Vec<String>,
    levels: Vec<Level>,
}

impl Pattern {
    fn parse(text: &str, group: Option<&str>) -> Result<Self> {
        let wrong = |what: String| Error::config(format!("option 'topic' = '{text}': {what}"));
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX || text.contains('\0') {
            return Err(wrong("a topic is 1 to 65535 bytes without NUL".to_owned()));
        }
        // A shared subscription's messages come under the topic without its first two levels.
        let (share, topic) = match text.strip_prefix("$share/") {
            Some(_) if group.is_some() => {
                return Err(wrong("it names a group, and so does 'shared-group'".to_owned()));
            }
            Some(rest) => match rest.split_once('/') {
                Some((group, topic)) if !group.is_empty() && !group.contains(['+', '#', '{']) => {
                    (format!("$share/{group}/"), topic)
                }
                _ => return Err(wrong("a shared subscription is '$share/GROUP/TOPIC'".to_owned())),
            },
            None => (group.map_or(String::new(), |group| format!("$share/{group}/")), text),
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

    /// Whether `topic` is one of this pattern's; then the places of its named segments are put into the end of
    /// `found`, which is as long as there are segments.
    fn split(&self, topic: &str, found: &mut [Range<u32>]) -> bool {
        let (bytes, mut at, mut open) = (topic.as_bytes(), 0, true);
        for level in &self.levels {
            // 'a/#' also matches 'a' itself.
            if matches!(level, Level::Rest) {
                return true;
            }
            if !open {
                return false;
            }
            let end = memchr(b'/', &bytes[at..]).map_or(bytes.len(), |slash| at + slash);
            match level {
                Level::Literal(text) if &bytes[at..end] != text.as_bytes() => return false,
                // A topic has at most 65535 bytes.
                Level::Segment(number) => found[*number] = at as u32..end as u32,
                _ => {}
            }
            open = end < bytes.len();
            at = end + 1;
        }
        !open
    }

    /// Whether there is a topic that both match.
    fn overlaps(&self, other: &Self) -> bool {
        let mut two = (self.levels.iter(), other.levels.iter());
        loop {
            match (two.0.next(), two.1.next()) {
                (Some(Level::Rest), _) | (_, Some(Level::Rest)) | (None, None) => return true,
                (Some(Level::Literal(one)), Some(Level::Literal(another))) if one != another => return false,
                (Some(_), Some(_)) => {}
                (None, Some(_)) | (Some(_), None) => return false,
            }
        }
    }
}

/// What a source subscribes to: one filter or several, with the same named segments.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    /// The filters of the subscription.
    pub filters: Vec<String>,
    /// Names of the named segments, in the order of the first filter.
    pub segments: Vec<String>,
    all: Vec<Pattern>,
}

impl Patterns {
    /// Reads the 'topic' and 'shared-group' options of a table that is read from.
    pub fn parse(text: &str, group: Option<&str>) -> Result<Self> {
        if group.is_some_and(|group| group.is_empty() || group.contains(['/', '+', '#', '{', '\0'])) {
            return Err(Error::config(
                "option 'shared-group': a group is a name without '/', '+', '#' and '{'",
            ));
        }
        let wrong = |what: String| Error::config(format!("option 'topic' = '{text}': {what}"));
        let list: Vec<&str> = match text.contains(';') {
            true => text.split(';').map(str::trim).collect(),
            false => vec![text],
        };
        if list.len() > FILTERS_MAX {
            return Err(wrong(format!("it holds {} filters, {FILTERS_MAX} are possible", list.len())));
        }
        let mut all = list.iter().map(|text| Pattern::parse(text, group)).collect::<Result<Vec<_>>>()?;
        let segments = all.first().map(|first| first.segments.clone()).unwrap_or_default();
        for pattern in &mut all {
            let numbers = pattern.segments.iter().map(|name| segments.iter().position(|other| other == name));
            let numbers =
                numbers.collect::<Option<Vec<_>>>().filter(|numbers| numbers.len() == segments.len());
            let Some(numbers) = numbers else {
                return Err(wrong(format!("'{}' names other columns than the first filter", pattern.filter))
                    .remedy("let every filter name the same columns, or declare a table for each"));
            };
            for level in &mut pattern.levels {
                if let Level::Segment(number) = level {
                    *number = numbers[*number];
                }
            }
        }
        for (number, pattern) in all.iter().enumerate() {
            if let Some(other) = all[..number].iter().find(|other| other.overlaps(pattern)) {
                return Err(wrong(format!(
                    "'{}' and '{}' overlap, so that a message could come twice",
                    other.filter, pattern.filter
                )));
            }
        }
        Ok(Self { filters: all.iter().map(|pattern| pattern.filter.clone()).collect(), segments, all })
    }

    /// Whether `topic` is one of these; then the places of its named segments, in order, are put at the end of `found`.
    pub fn split(&self, topic: &str, found: &mut Vec<Range<u32>>) -> bool {
        let before = found.len();
        found.resize(before + self.segments.len(), 0..0);
        let matches = self.all.iter().any(|pattern| pattern.split(topic, &mut found[before..]));
        if !matches {
            found.truncate(before);
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The named segments of `topic`, if it matches.
    fn split(pattern: &str, topic: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let matches = Patterns::parse(pattern, None).unwrap().split(topic, &mut found);
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
        let pattern = Patterns::parse("plant/{site}/{device}/telemetry", None).unwrap();
        assert_eq!(pattern.filters, ["plant/+/+/telemetry"]);
        assert_eq!(pattern.segments, ["site", "device"]);
        assert_eq!(split("plant/{site}/{device}/telemetry", "plant/b/d7/telemetry").unwrap(), ["b", "d7"]);
        assert_eq!(split("{a}/#", "x/y/z").unwrap(), ["x"]);
        assert_eq!(split("$share/g/{a}/t", "x/t").unwrap(), ["x"]);
        assert_eq!(Patterns::parse("$share/g/{a}/t", None).unwrap().filters, ["$share/g/+/t"]);
        assert_eq!(Patterns::parse("{a}/t", Some("g")).unwrap().filters, ["$share/g/+/t"]);
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
            ("a/{x};b/{y}", "other columns"),
            ("a/{x};b/+", "other columns"),
            ("a/{x};a/b", "other columns"),
            ("a/+;+/b", "overlap"),
            ("a/#;a", "overlap"),
            ("a;", "1 to 65535"),
        ] {
            let error = Patterns::parse(pattern, None).unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        }
        assert!(Patterns::parse("$share/g/a", Some("h")).unwrap_err().to_string().contains("'shared-group'"));
        assert!(Patterns::parse("a", Some("g/h")).unwrap_err().to_string().contains("without '/'"));
    }

    #[test]
    fn several_filters_fill_the_same_columns() {
        let patterns = "a/{x}/{y}; b/{y}/of/{x};c/{x}/{y}/#";
        assert_eq!(split(patterns, "a/1/2").unwrap(), ["1", "2"]);
        assert_eq!(split(patterns, "b/2/of/1").unwrap(), ["1", "2"]);
        assert_eq!(split(patterns, "c/1/2/z/z").unwrap(), ["1", "2"]);
        assert_eq!(split(patterns, "d/1/2"), None);
        assert_eq!(Patterns::parse(patterns, None).unwrap().filters, ["a/+/+", "b/+/of/+", "c/+/+/#"]);
    }
}
