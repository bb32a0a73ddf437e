//! Patterns: LIKE, SIMILAR TO and the regular expressions.
//!
//! A pattern is compiled once and kept: a constant one is looked up once a batch, one that changes by row when it
//! changes. Regular expressions are Java's, brought into this engine's syntax by similar.rs; look-around,
//! back-references and possessive quantifiers cannot be, and are refused when they are met.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use parking_lot::Mutex;
use regex::Regex;

use super::shape::characters;
use super::similar;
use crate::functions::call::{Call, Texts, Values};
use crate::functions::function::{Function, Kind, Subject};

/// How many patterns a function keeps compiled.
const KEPT: usize = 64;

/// Compiled patterns by their text.
pub(in crate::functions) struct Compiled<T> {
    compile: fn(&str) -> Result<T>,
    kept: Mutex<Vec<(String, Arc<T>)>>,
}

impl<T> Compiled<T> {
    pub fn new(compile: fn(&str) -> Result<T>) -> Self {
        Self { compile, kept: Mutex::default() }
    }

    fn get(&self, text: &str) -> Result<Arc<T>> {
        let mut kept = self.kept.lock();
        if let Some((_, found)) = kept.iter().find(|(known, _)| known == text) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new((self.compile)(text)?);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((text.to_owned(), Arc::clone(&made)));
        Ok(made)
    }
}

/// The compiled pattern of each row.
pub(in crate::functions) struct ByRow<'a, T> {
    texts: Texts<'a>,
    compiled: &'a Compiled<T>,
    last: Option<(&'a str, Arc<T>)>,
}

impl<'a, T> ByRow<'a, T> {
    pub fn new(texts: Texts<'a>, compiled: &'a Compiled<T>) -> Self {
        Self { texts, compiled, last: None }
    }

    pub fn get(&mut self, row: usize) -> Result<Option<Arc<T>>> {
        let is_constant = matches!(self.texts, Values::Constant(_));
        let Some(text) = self.texts.get(row) else { return Ok(None) };
        match &self.last {
            Some((known, pattern)) if is_constant || *known == text => Ok(Some(Arc::clone(pattern))),
            _ => {
                let pattern = self.compiled.get(text)?;
                self.last = Some((text, Arc::clone(&pattern)));
                Ok(Some(pattern))
            }
        }
    }
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Text, Whole};
    let regex = || Compiled::new(similar::java_regex);
    let (replaces, extracts, finds, counts, starts, pieces) =
        (regex(), regex(), regex(), regex(), regex(), regex());
    vec![
        Function::new(Subject::Text, "regexp_replace", "REGEXP_REPLACE(string, pattern, new)", "With every match of the pattern replaced by the new text as it stands; NULL for a wrong pattern.", &[Text, Text, Text], DataType::Utf8, move |call| {
            let (texts, news) = (call.texts(0)?, call.texts(2)?);
            let mut patterns = ByRow::new(call.texts(1)?, &replaces);
            call.text(|row, out| {
                let (Some(text), Some(pattern), Some(new)) = (texts.get(row), patterns.get(row)?, news.get(row)) else { return Ok(false) };
                let Some(pattern) = pattern.as_ref() else { return Ok(false) };
                let mut kept = 0;
                for found in pattern.find_iter(text) {
                    out.push_str(&text[kept..found.start()]);
                    out.push_str(new);
                    kept = found.end();
                }
                out.push_str(&text[kept..]);
                Ok(true)
            })
        })
        .build(),
        Function::new(Subject::Text, "regexp_extract", "REGEXP_EXTRACT(string, pattern [, group])", "The group of the first match, 0 being all of it; NULL without a match, without the group, or for a wrong pattern.", &[Text, Text], DataType::Utf8, move |call| {
            let texts = call.texts(0)?;
            let groups = if call.len() > 2 { Some(call.wholes(2)?) } else { None };
            let mut patterns = ByRow::new(call.texts(1)?, &extracts);
            call.text(|row, out| {
                let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)?) else { return Ok(false) };
                let group = match &groups {
                    Some(groups) => groups.get(row).and_then(|group| usize::try_from(group).ok()),
                    None => Some(0),
                };
                let (Some(group), Some(pattern)) = (group, pattern.as_ref()) else { return Ok(false) };
                let found = if group == 0 { pattern.find(text) } else { pattern.captures(text).and_then(|captures| captures.get(group)) };
                out.push_str(found.map_or("", |found| found.as_str()));
                Ok(found.is_some())
            })
        })
        .optional(&[Whole])
        .build(),
        Function::new(Subject::Text, "regexp", "REGEXP(string, pattern)", "Whether the pattern matches somewhere; FALSE for an empty or wrong pattern.", &[Text, Text], DataType::Boolean, move |call| {
            let texts = call.texts(0)?;
            let empty = call.texts(1)?;
            matches(call, &finds, |row, pattern| {
                Some(texts.get(row)?).zip(empty.get(row)).map(|(text, written)| {
                    !written.is_empty() && pattern.as_ref().is_some_and(|pattern: &Regex| pattern.is_match(text))
                })
            })
        })
        .build(),
        Function::new(Subject::Text, "regexp_count", "REGEXP_COUNT(string, pattern)", "How many matches there are; NULL for a wrong pattern.", &[Text, Text], DataType::Int32, move |call| {
            number(call, &counts, |pattern, text| pattern.find_iter(text).count())
        })
        .build(),
        Function::new(Subject::Text, "regexp_instr", "REGEXP_INSTR(string, pattern)", "Where the first match starts, from 1; 0 without one; NULL for a wrong pattern.", &[Text, Text], DataType::Int32, move |call| {
            number(call, &starts, |pattern, text| pattern.find(text).map_or(0, |found| characters(&text[..found.start()]) + 1))
        })
        .build(),
        Function::new(Subject::Text, "regexp_substr", "REGEXP_SUBSTR(string, pattern)", "The first match; NULL without one or for a wrong pattern.", &[Text, Text], DataType::Utf8, move |call| {
            let texts = call.texts(0)?;
            let mut patterns = ByRow::new(call.texts(1)?, &pieces);
            call.text(|row, out| {
                let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)?) else { return Ok(false) };
                let found = pattern.as_ref().as_ref().and_then(|pattern| pattern.find(text));
                out.push_str(found.map_or("", |found| found.as_str()));
                Ok(found.is_some())
            })
        })
        .build(),
    ]
}

fn matches<T>(
    call: &Call<'_>,
    compiled: &Compiled<T>,
    test: impl Fn(usize, &T) -> Option<bool>,
) -> Result<ArrayRef> {
    let mut patterns = ByRow::new(call.texts(1)?, compiled);
    let mut results = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        results.push(patterns.get(row)?.and_then(|pattern| test(row, &pattern)));
    }
    call.boolean(|row| results[row])
}

fn number(
    call: &Call<'_>,
    compiled: &Compiled<Option<Regex>>,
    count: impl Fn(&Regex, &str) -> usize,
) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let mut patterns = ByRow::new(call.texts(1)?, compiled);
    let mut results = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let pattern = patterns.get(row)?;
        let counted = pattern
            .as_deref()
            .and_then(Option::as_ref)
            .zip(texts.get(row))
            .map(|(pattern, text)| count(pattern, text));
        results.push(counted.map(|counted| i32::try_from(counted).unwrap_or(i32::MAX)));
    }
    call.int(|row| results[row])
}

/// A LIKE pattern.
enum Like {
    Is(String),
    Starts(String),
    Ends(String),
    Contains(String),
    General(Regex),
}

impl Like {
    /// `written` is the pattern behind its escape character and a zero, so that both make one key.
    fn compile(written: &str) -> Result<Self> {
        let (escape, pattern) = written.split_once('\0').unwrap_or(("", written));
        let parts = similar::like_parts(pattern, escape.chars().next())?;
        let literal = |parts: &[similar::Part]| {
            parts
                .iter()
                .map(|part| match part {
                    similar::Part::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect::<Option<String>>()
        };
        use similar::Part::Any;
        let simple = match parts.as_slice() {
            [Any, middle @ .., Any] => literal(middle).map(Self::Contains),
            [start @ .., Any] => literal(start).map(Self::Starts),
            [Any, end @ ..] => literal(end).map(Self::Ends),
            all => literal(all).map(Self::Is),
        };
        match simple {
            Some(simple) => Ok(simple),
            None => similar::regex_of_parts(&parts).map(Self::General),
        }
    }

    fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Is(whole) => text == whole,
            Self::Starts(start) => text.starts_with(start.as_str()),
            Self::Ends(end) => text.ends_with(end.as_str()),
            Self::Contains(piece) => text.contains(piece.as_str()),
            Self::General(regex) => regex.is_match(text),
        }
    }
}

/// `string LIKE pattern`, with the escape character as a third argument if there is one.
pub(crate) fn like() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(Like::compile);
    Function::new(
        Subject::Text,
        "like",
        "string LIKE pattern [ESCAPE character]",
        "Whether the whole string has that form: % is any text, _ any character.",
        &[Kind::Text, Kind::Text],
        DataType::Boolean,
        move |call| escaped(call, &compiled, Like::is_match),
    )
    .optional(&[Kind::Text])
    .build()
}

/// `string SIMILAR TO pattern`.
pub(crate) fn similar_to() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(|written: &str| {
        let (escape, pattern) = written.split_once('\0').unwrap_or(("", written));
        similar::similar_regex(pattern, escape.chars().next())
    });
    Function::new(
        Subject::Text,
        "similar_to",
        "string SIMILAR TO pattern [ESCAPE character]",
        "Whether the whole string matches SQL's regular expression.",
        &[Kind::Text, Kind::Text],
        DataType::Boolean,
        move |call| escaped(call, &compiled, |regex, text| regex.is_match(text)),
    )
    .optional(&[Kind::Text])
    .build()
}

fn escaped<T>(call: &Call<'_>, compiled: &Compiled<T>, test: fn(&T, &str) -> bool) -> Result<ArrayRef> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    if call.len() == 2 {
        return matches(call, compiled, |row, pattern| texts.get(row).map(|text| test(pattern, text)));
    }
    let escapes = call.texts(2)?;
    let mut last: Option<((&str, &str), Arc<T>)> = None;
    let mut results = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (Some(text), Some(pattern), Some(escape)) = (texts.get(row), patterns.get(row), escapes.get(row))
        else {
            results.push(None);
            continue;
        };
        let found = match &last {
            Some((known, found)) if *known == (escape, pattern) => Arc::clone(found),
            _ => compiled.get(&format!("{escape}\0{pattern}"))?,
        };
        results.push(Some(test(&found, text)));
        last = Some(((escape, pattern), found));
    }
    call.boolean(|row| results[row])
}
