//! The `WITH (...)` options of a table: text in, typed values out, with errors a person can act on.
//!
//! Invariant: a key that no [`OptionSpec`] describes is an error that lists what there is; a secret's value is never
//! shown. Connectors declare their options once, as specs; parsing, documentation and errors all read them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::suggest::did_you_mean;

/// One option of a connector or format.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its key; a trailing `.*` stands for any suffix (`headers.*`).
    pub key: &'static str,
    /// What its value is: `text`, `integer`, `number`, `boolean`, `duration`, `size`, or `a | b | c`.
    pub kind: &'static str,
    /// The value when it is not given; empty when there is none.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// The value is a secret.
    pub secret: bool,
}

impl OptionSpec {
    /// An option without a default.
    pub const fn new(
        key: &'static str,
        kind: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self { key, kind, default, help, secret: false }
    }

    /// Marks the value as one that is never shown.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    fn describes(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => self.key == key,
        }
    }
}

/// The options of one table.
#[derive(Clone, Default)]
pub struct Options {
    owner: String,
    values: BTreeMap<String, String>,
}

impl Options {
    /// Options of `owner` (a name for messages: `table sensors`).
    pub fn new(owner: impl Into<String>, values: BTreeMap<String, String>) -> Self {
        Self { owner: owner.into(), values }
    }

    /// Options from pairs, for code and tests.
    pub fn from_pairs<const N: usize>(owner: &str, pairs: [(&str, &str); N]) -> Self {
        Self::new(owner, pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// Whose options these are.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The keys that were given.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Sets an option.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.values.insert(key.into(), value.into());
    }

    /// The text of an option.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The text of an option that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn require(&self, key: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| {
            Error::config(format!("option '{key}' is missing"))
                .at(&self.owner)
                .remedy(format!("add '{key}' = '...' to its WITH clause"))
        })
    }

    /// Options whose key starts with `prefix`, without it.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// The options with `prefix` in front, without it, and all others as they are.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Self {
        let mut values = self.values.clone();
        for (key, value) in self.with_prefix(prefix) {
            values.insert(key.to_owned(), value.to_owned());
        }
        Self { owner: self.owner.clone(), values }
    }

    /// An option read by its type's `FromStr`; `wanted` says what it should be.
    ///
    /// # Errors
    /// If the text is not such a value.
    pub fn parse<T: FromStr>(&self, key: &str, wanted: &str) -> Result<Option<T>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| self.invalid(key, wanted))
    }

    /// A boolean, `true` or `false`.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key).map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.invalid(key, "'true' or 'false'")),
        }
    }

    /// A duration in Flink's form (`5 s`, `100 ms`, `1 min`) in milliseconds.
    ///
    /// # Errors
    /// If the text is not a duration.
    pub fn duration_ms(&self, key: &str) -> Result<Option<i64>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        parse_duration_ms(text)
            .map(Some)
            .ok_or_else(|| self.invalid(key, "a duration such as '5 s' or '100 ms'"))
    }

    /// A size in Flink's form (`16 mb`, `512 kb`) in bytes.
    ///
    /// # Errors
    /// If the text is not a size.
    pub fn size_bytes(&self, key: &str) -> Result<Option<usize>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        parse_size_bytes(text)
            .map(Some)
            .ok_or_else(|| self.invalid(key, "a size such as '16 mb' or '512 kb'"))
    }

    /// One of several words.
    ///
    /// # Errors
    /// If the text is none of them.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let wanted = text.trim();
        choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| Some(*value))
            .ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
                self.invalid(key, &format!("one of {}", names.join(", ")))
            })
    }

    /// An error about an option's value. The value is shown unless its key looks like a secret's.
    pub fn invalid(&self, key: &str, wanted: &str) -> Error {
        let shown = match self.get(key) {
            Some(_) if is_secret_key(key) => "its value".to_owned(),
            Some(text) => format!("'{text}'"),
            None => "nothing".to_owned(),
        };
        Error::config(format!("option '{key}': expected {wanted}, found {shown}")).at(&self.owner)
    }

    /// Refuses options that none of `specs` describes; each list has a prefix that stands in front of its keys.
    ///
    /// # Errors
    /// Names the first unknown key, the nearest known one, and all there are.
    pub fn check_known(&self, what: &str, specs: &[(&str, &[OptionSpec])]) -> Result<()> {
        for key in self.values.keys() {
            let describes = |(prefix, list): &(&str, &[OptionSpec])| {
                key.strip_prefix(prefix).is_some_and(|rest| list.iter().any(|spec| spec.describes(rest)))
            };
            if !specs.iter().any(describes) {
                let mut known: Vec<_> = specs
                    .iter()
                    .flat_map(|(prefix, list)| list.iter().map(move |spec| format!("{prefix}{}", spec.key)))
                    .collect();
                known.sort_unstable();
                known.dedup();
                let nearest = did_you_mean(key, known.iter().map(String::as_str));
                return Err(Error::config(format!("{what} has no option '{key}'")).at(&self.owner).remedy(
                    format!(
                        "{}supported: {}",
                        nearest.map_or(String::new(), |near| format!("did you mean '{near}'? ")),
                        known.join(", ")
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .values
            .iter()
            .map(|(key, value)| (key, if is_secret_key(key) { "***" } else { value.as_str() }));
        f.debug_map().entries(shown).finish()
    }
}

/// Whether an option of this name holds something that must not be shown.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "token", "authorization", "api-key", "apikey", "jaas", "credential", "tls.key"]
        .iter()
        .any(|word| key.contains(word))
}

/// Flink's duration text in milliseconds: a number and a unit, `ms` when there is none.
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    let (number, unit) = split_unit(text)?;
    let scale_ns: i128 = match unit.as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "\u{b5}s" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    i64::try_from(i128::from(number) * scale_ns / 1_000_000).ok()
}

/// Flink's memory size text in bytes: a number and a unit (powers of 1024), bytes when there is none.
pub fn parse_size_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let scale: u64 = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1,
        "k" | "kb" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gibibytes" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(scale)?).ok()
}

fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..digits)?.parse().ok()?;
    Some((number, text.get(digits..)?.trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec::new("url", "text", "", "Where."),
        OptionSpec::new("qos", "integer", "1", "How sure."),
        OptionSpec::new("headers.*", "text", "", "Added to each request."),
    ];

    #[test]
    fn durations_and_sizes_are_flinks() {
        assert_eq!(parse_duration_ms("5 s"), Some(5_000));
        assert_eq!(parse_duration_ms("100ms"), Some(100));
        assert_eq!(parse_duration_ms("2 MIN"), Some(120_000));
        assert_eq!(parse_duration_ms("250"), Some(250));
        assert_eq!(parse_duration_ms("5 parsecs"), None);
        assert_eq!(parse_duration_ms("-5 s"), None);
        assert_eq!(parse_size_bytes("16 mb"), Some(16 << 20));
        assert_eq!(parse_size_bytes("99999999999 gb"), None);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_all() {
        let options = Options::from_pairs("table t", [("qoss", "1")]);
        let error = options.check_known("connector 'mqtt'", &[("", SPECS)]).unwrap_err().to_string();
        assert!(error.contains("did you mean 'qos'?") && error.contains("headers.*, qos, url"), "{error}");
        Options::from_pairs("t", [("headers.X-Id", "1")]).check_known("c", &[("", SPECS)]).unwrap();
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = Options::from_pairs("t", [("signature.secret", "hunter2"), ("qos", "x")]);
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(!options.invalid("signature.secret", "base64").to_string().contains("hunter2"));
        assert!(options.parse::<u8>("qos", "0 or 1").unwrap_err().to_string().contains("found 'x'"));
    }
}
