//! Three languages of patterns brought into the syntax of the regex crate: LIKE, SIMILAR TO and Java's.

use datafusion_common::{Result, exec_datafusion_err, exec_err};
use regex::Regex;

/// A part of a LIKE pattern.
pub(super) enum Part {
    /// As it stands.
    Text(String),
    /// `_`
    One,
    /// `%`
    Any,
}

/// A LIKE pattern in parts, texts joined.
pub(super) fn like_parts(pattern: &str, escape: Option<char>) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            c if Some(c) == escape => match chars.next() {
                Some(next) if next == '_' || next == '%' || Some(next) == escape => next,
                _ => {
                    return exec_err!(
                        "in the pattern '{pattern}' the escape character '{c}' stands before something other than %, _ and itself"
                    );
                }
            },
            '_' => {
                parts.push(Part::One);
                continue;
            }
            '%' => {
                if !matches!(parts.last(), Some(Part::Any)) {
                    parts.push(Part::Any);
                }
                continue;
            }
            c => c,
        };
        match parts.last_mut() {
            Some(Part::Text(text)) => text.push(literal),
            _ => parts.push(Part::Text(literal.into())),
        }
    }
    Ok(parts)
}

pub(super) fn regex_of_parts(parts: &[Part]) -> Result<Regex> {
    let mut pattern = String::from("(?s)^");
    for part in parts {
        match part {
            Part::Text(text) => pattern.push_str(&regex::escape(text)),
            Part::One => pattern.push('.'),
            Part::Any => pattern.push_str(".*"),
        }
    }
    pattern.push('$');
    compile(&pattern)
}

fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| exec_datafusion_err!("the pattern cannot be used: {error}"))
}

/// SQL's regular expression, over the whole string.
pub(super) fn similar_regex(pattern: &str, escape: Option<char>) -> Result<Regex> {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(next) = chars.next() else {
                return exec_err!("the pattern '{pattern}' ends in its escape character");
            };
            out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            continue;
        }
        match c {
            // [:ALPHA:] inside a class.
            '[' if in_class && chars.peek() == Some(&':') => {
                let name: String = chars.by_ref().take_while(|c| *c != ']').collect();
                out.push('[');
                out.push_str(&name.to_ascii_lowercase().replace(":whitespace", ":space"));
                out.push(']');
            }
            '[' if in_class => out.push_str("\\["),
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '_' if !in_class => out.push_str("(?s:.)"),
            '%' if !in_class => out.push_str("(?s:.*)"),
            '\\' | '$' | '.' | '^' if !in_class => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    compile(&out)
}

/// A regular expression of Java's; `None` if it is none.
pub(in crate::functions) fn java_regex(pattern: &str) -> Result<Option<Regex>> {
    if let Some(what) = beyond_us(pattern) {
        return exec_err!("the pattern '{pattern}' uses {what}, which is not supported; write it without");
    }
    match Regex::new(&translated(pattern)) {
        Ok(regex) => Ok(Some(regex)),
        Err(regex::Error::CompiledTooBig(limit)) => {
            exec_err!("the pattern '{pattern}' compiles to more than {limit} bytes; make it smaller")
        }
        Err(_) => Ok(None),
    }
}

/// What Java has and a linear-time engine cannot have.
fn beyond_us(pattern: &str) -> Option<&'static str> {
    let mut depth = 0_usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            '\\' => {
                if depth == 0 && next.is_some_and(|c| matches!(c, '1'..='9' | 'k')) {
                    return Some("a back-reference");
                }
                chars.next();
            }
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '*' | '+' | '?' | '}' if depth == 0 && next == Some('+') => {
                return Some("a possessive quantifier");
            }
            '(' if depth == 0 => {
                let rest: String = chars.clone().take(3).collect();
                if rest.starts_with("?>") {
                    return Some("an atomic group");
                }
                if ["?=", "?!", "?<=", "?<!"].iter().any(|start| rest.starts_with(start)) {
                    return Some("look-around");
                }
            }
            _ => {}
        }
    }
    None
}

/// Java's classes are of ASCII unless asked otherwise; some names and escapes are spelt otherwise.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let dot_is_all = pattern
        .split("(?")
        .skip(1)
        .any(|flags| flags.chars().take_while(char::is_ascii_alphabetic).any(|flag| flag == 's'));
    let mut depth = 0_usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[a-zA-Z0-9_]"),
                Some('W') => out.push_str("[^a-zA-Z0-9_]"),
                Some('s') => out.push_str(r"[ \t\n\x0B\f\r]"),
                Some('S') => out.push_str(r"[^ \t\n\x0B\f\r]"),
                Some('h') => out.push_str(r"[ \t\xA0]"),
                Some('R') if depth == 0 => out.push_str(r"(?:\r\n|[\n\x0B\f\r\x85])"),
                Some('Z') => out.push_str(r"(?:\r?\n)?\z"),
                Some('e') => out.push_str(r"\x1B"),
                Some('Q') => {
                    let rest: String = chars.clone().collect();
                    let quoted = rest.split("\\E").next().unwrap_or_default();
                    let ends = if rest.len() > quoted.len() { 2 } else { 0 };
                    out.push_str(&regex::escape(quoted));
                    for _ in 0..quoted.chars().count() + ends {
                        chars.next();
                    }
                }
                Some(p @ ('p' | 'P')) if chars.peek() == Some(&'{') => {
                    let name: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    out.push_str(&property(&name, p == 'P'));
                }
                Some(other) if other.is_alphanumeric() => {
                    out.push('\\');
                    out.push(other);
                }
                Some(other) => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
                None => out.push('\\'),
            },
            '[' => {
                depth += 1;
                out.push(c);
            }
            ']' => {
                depth = depth.saturating_sub(1);
                out.push(c);
            }
            '.' if depth == 0 && !dot_is_all => out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            '~' if depth > 0 => out.push_str(r"\~"),
            '-' if depth > 0 && chars.peek() == Some(&'-') => out.push_str(r"\-"),
            c => out.push(c),
        }
    }
    out
}

fn property(name: &str, negated: bool) -> String {
    let posix = [
        "Lower", "Upper", "ASCII", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank", "Cntrl",
        "XDigit", "Space",
    ];
    let caret = if negated { "^" } else { "" };
    if posix.contains(&name) {
        return format!("[[:{caret}{}:]]", name.to_ascii_lowercase());
    }
    format!("\\{}{{{}}}", if negated { 'P' } else { 'p' }, name.strip_prefix("Is").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_classes_are_of_ascii() {
        let regex = java_regex(r"^\w+\s\d$").unwrap().unwrap();
        assert!(regex.is_match("abc 1"));
        assert!(!regex.is_match("größe 1"));
        assert!(java_regex(r"\Qa.b\E+").unwrap().unwrap().is_match("a.bb"));
        assert!(!java_regex("a.b").unwrap().unwrap().is_match("a\rb"));
        assert!(java_regex("([").unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_translated_is_named() {
        assert!(java_regex("(?<=a)b").unwrap_err().to_string().contains("look-around"));
        assert!(java_regex(r"(a)\1").unwrap_err().to_string().contains("back-reference"));
        assert!(java_regex("a++").unwrap_err().to_string().contains("possessive"));
    }

    #[test]
    fn a_dangling_escape_is_an_error() {
        assert!(like_parts("a!b", Some('!')).is_err());
        assert!(similar_regex("a!", Some('!')).is_err());
    }
}
