//! The topics of a table that is read: named ones, or all whose name has a pattern.
//!
//! Invariant: a partition's number stays the same over restarts and topics that come and go, since the watermark keeps
//! a clock for each number.

use millstream_engine::options::Options;
use millstream_engine::{Error, Result};
use regex::Regex;

/// Topics of Kafka's own, which no pattern means.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Which topics are read.
#[derive(Debug, Clone)]
pub(super) enum Topics {
    Named(Vec<String>),
    Pattern { text: String, regex: Regex },
}

impl Topics {
    /// Reads 'topic' or 'topic-pattern'.
    ///
    /// # Errors
    /// If both are there, neither is, or the pattern is none.
    pub fn read(options: &Options) -> Result<Self> {
        match (options.get("topic"), options.get("topic-pattern")) {
            (Some(_), Some(_)) => Err(Error::config("'topic' and 'topic-pattern' exclude each other")
                .at(options.owner())
                .remedy("keep one of them")),
            (None, Some(text)) => {
                // The whole name has to match, as in Java.
                let regex = Regex::new(&format!("^(?:{text})$")).map_err(|error| {
                    let last = error.to_string().lines().last().unwrap_or_default().to_owned();
                    Error::config(format!("option 'topic-pattern' is no regular expression: {last}"))
                        .at(options.owner())
                        .remedy("look-around and back references are not supported")
                })?;
                Ok(Self::Pattern { text: text.to_owned(), regex })
            }
            _ => {
                let names = options.require("topic")?.split(';').map(|name| name.trim().to_owned());
                let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
                if names.is_empty() {
                    return Err(options.invalid("topic", "a topic's name"));
                }
                Ok(Self::Named(names))
            }
        }
    }

    /// Whether a topic of this name is read.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|other| other == name),
            Self::Pattern { regex, .. } => regex.is_match(name) && !INTERNAL.contains(&name),
        }
    }

    /// True when it is one topic and always will be.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Named(names) if names.len() == 1)
    }

    /// A partition's number in the table.
    pub fn number(&self, topic: &str, partition: i32) -> u32 {
        match self {
            Self::Named(names) => {
                let place = names.iter().position(|other| other == topic).unwrap_or_default();
                ((place as u32) << 16) | partition.unsigned_abs()
            }
            // A place among the topics would change with them; of a thousand partitions, two share a number, and with
            // it a clock, once in ten thousand tables (FNV-1a).
            Self::Pattern { .. } => {
                let bytes = topic.bytes().chain(partition.to_be_bytes());
                bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
            }
        }
    }
}

impl std::fmt::Display for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(names) => f.write_str(&names.join(";")),
            Self::Pattern { text, .. } => write!(f, "/{text}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: [(&str, &str); 1]) -> Result<Topics> {
        Topics::read(&Options::from_pairs("table t", pairs))
    }

    #[test]
    fn a_pattern_is_about_the_whole_name_and_never_about_kafkas_own() {
        let topics = read([("topic-pattern", "plant-[0-9]+|.*offsets")]).unwrap();
        assert!(topics.matches("plant-12") && topics.matches("my-offsets"));
        assert!(!topics.matches("plant-12-old") && !topics.matches("__consumer_offsets"));
        assert_ne!(topics.number("plant-1", 0), topics.number("plant-1", 1));
        let error = read([("topic-pattern", "a(")]).unwrap_err().to_string();
        assert!(error.contains("topic-pattern"), "{error}");
        let both = Options::from_pairs("table t", [("topic", "a"), ("topic-pattern", "b")]);
        assert!(Topics::read(&both).is_err());
    }

    #[test]
    fn named_topics_are_numbered_by_their_place() {
        let topics = read([("topic", "a; b")]).unwrap();
        assert_eq!((topics.number("a", 3), topics.number("b", 3)), (3, 0x1_0003));
        assert!(!topics.is_single() && topics.matches("b") && !topics.matches("c"));
    }
}
