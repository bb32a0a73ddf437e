//! Filters of a path, `[?(@.price < 10 && @.tags contains 'x')]`: their text to tests, and tests of a value.
//!
//! Values compare as in Jayway's JsonPath: numbers by value, a number with a text that is one, text by UTF-16 unit;
//! other pairs are different and neither is less.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;

use super::document::{Document, Kind, Place};
use super::evaluate::{Found, Item, evaluate};
use super::number;
use super::path::{FILTER_DEPTH_MAX, Path, quoted};
use super::write::utf16_order;
use crate::functions::text::java_regex;

#[derive(Debug)]
pub(super) enum Test {
    Or(Vec<Test>),
    And(Vec<Test>),
    Not(Box<Test>),
    Exists(Path, bool),
    Compare(Operand, Operator, Operand),
}

#[derive(Debug)]
pub(super) enum Operand {
    Path(Path),
    Value(Value<'static>),
    Pattern(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    /// `===`: of one kind, too.
    Same,
    NotSame,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    Size,
    Empty,
    AnyOf,
    NoneOf,
    SubsetOf,
}

/// What a side of a comparison comes to.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// A path that leads nowhere.
    Undefined,
    Null,
    Boolean(bool),
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// What a filter may look at beside the value itself.
#[derive(Clone, Copy)]
pub(super) struct Scope<'d> {
    pub document: Document<'d>,
    pub root: Place,
    pub is_lax: bool,
}

impl Test {
    pub fn accepts(&self, scope: Scope<'_>, place: Place) -> bool {
        match self {
            Self::Or(tests) => tests.iter().any(|test| test.accepts(scope, place)),
            Self::And(tests) => tests.iter().all(|test| test.accepts(scope, place)),
            Self::Not(test) => !test.accepts(scope, place),
            Self::Exists(path, wanted) => {
                let start = if path.is_from_root { scope.root } else { place };
                // Here every property has to be there, also behind a wildcard.
                let found = evaluate(path, Scope { is_lax: false, ..scope }, start, true);
                found.is_ok() == *wanted
            }
            Self::Compare(left, operator, right) => compare(left, *operator, right, scope, place),
        }
    }
}

impl Operand {
    fn value<'d>(&'d self, scope: Scope<'d>, place: Place) -> Value<'d> {
        match self {
            Self::Path(path) => {
                let start = if path.is_from_root { scope.root } else { place };
                match evaluate(path, scope, start, false) {
                    Ok(Found::Nothing) => Value::Null,
                    Ok(Found::One(item)) => Value::of_item(scope.document, &item),
                    Ok(Found::Many(items)) => {
                        Value::List(items.iter().map(|item| Value::of_item(scope.document, item)).collect())
                    }
                    Err(_) => Value::Undefined,
                }
            }
            Self::Value(value) => value.clone(),
            Self::Pattern(_) => Value::Undefined,
        }
    }
}

impl<'a> Value<'a> {
    fn of_item(document: Document<'a>, item: &Item) -> Self {
        match item {
            Item::Place(place) => Self::of(document, *place),
            Item::Null => Self::Null,
            Item::Count(count) => Self::Number(count.to_string().into()),
            Item::Number(number) => Self::Number(number.to_string().into()),
            Item::Keys(object) => {
                Self::List(document.entries(*object).map(|(key, _)| Self::Text(document.text(key))).collect())
            }
            Item::Object(entries) => Self::Object(
                entries
                    .iter()
                    .map(|(key, value)| (document.text(*key), Self::of(document, *value)))
                    .collect(),
            ),
        }
    }

    fn of(document: Document<'a>, place: Place) -> Self {
        match document.kind(place) {
            Kind::Null => Self::Null,
            Kind::Boolean => Self::Boolean(document.is_true(place)),
            Kind::Whole | Kind::Fraction => Self::Number(document.raw(place).into()),
            Kind::Text | Kind::EscapedText => Self::Text(document.text(place)),
            Kind::List => Self::List(document.items(place).map(|item| Self::of(document, item)).collect()),
            Kind::Object => Self::Object(
                document
                    .entries(place)
                    .map(|(key, value)| (document.text(key), Self::of(document, value)))
                    .collect(),
            ),
        }
    }

    /// Which side stands left matters: a text equals a number that is written like it, a number a text of its value.
    fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Boolean(a), Value::Boolean(b)) => a == b,
            (Self::Number(a), Value::Number(b)) => number::compare(a, b).is_eq(),
            (Self::Number(a), Value::Text(b)) => is_number(b) && number::compare(a, b).is_eq(),
            (Self::Text(a), Value::Number(b)) => {
                let mut written = String::new();
                number::write(b, !b.contains(['.', 'e', 'E']), &mut written);
                *a == written
            }
            (Self::Text(a), Value::Text(b)) => a == b,
            (Self::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            (Self::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, a)| b.iter().any(|(other, b)| key == other && a.is_same(b)))
            }
            _ => false,
        }
    }

    /// Equal and of one kind.
    fn is_same(&self, other: &Value<'_>) -> bool {
        let is_one_kind = matches!(
            (self, other),
            (Self::Null, Value::Null)
                | (Self::Boolean(_), Value::Boolean(_))
                | (Self::Number(_), Value::Number(_))
                | (Self::Text(_), Value::Text(_))
                | (Self::List(_), Value::List(_))
                | (Self::Object(_), Value::Object(_))
        );
        is_one_kind && self.equals(other)
    }

    fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Value::Number(b)) => Some(number::compare(a, b)),
            (Self::Text(a), Value::Text(b)) => Some(utf16_order(a, b)),
            _ => None,
        }
    }

    fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// As a regular expression sees it.
    fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Number(text) => Cow::Borrowed(text),
            Self::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            _ => Cow::Borrowed(""),
        }
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.' | b'e' | b'E'))
}

fn compare(left: &Operand, operator: Operator, right: &Operand, scope: Scope<'_>, place: Place) -> bool {
    let (a, b) = (left.value(scope, place), right.value(scope, place));
    let is_in = |item: &Value<'_>, list: &Value<'_>| {
        list.list().is_some_and(|list| list.iter().any(|known| item.equals(known)))
    };
    match operator {
        Operator::Equal => a.equals(&b),
        Operator::NotEqual => !a.equals(&b),
        Operator::Same => a.is_same(&b),
        Operator::NotSame => !a.is_same(&b),
        Operator::Less => a.order(&b).is_some_and(Ordering::is_lt),
        Operator::LessOrEqual => a.order(&b).is_some_and(Ordering::is_le),
        Operator::Greater => a.order(&b).is_some_and(Ordering::is_gt),
        Operator::GreaterOrEqual => a.order(&b).is_some_and(Ordering::is_ge),
        Operator::Matches => match (left, right) {
            (Operand::Pattern(_), Operand::Pattern(_)) => false,
            (Operand::Pattern(pattern), _) => is_whole_match(pattern, &b.as_text()),
            (_, Operand::Pattern(pattern)) => is_whole_match(pattern, &a.as_text()),
            _ => false,
        },
        Operator::In => is_in(&a, &b),
        Operator::NotIn => !is_in(&a, &b),
        Operator::Contains => match (&a, &b) {
            (Value::Text(text), Value::Text(piece)) => text.contains(piece.as_ref()),
            _ => is_in(&b, &a),
        },
        Operator::Size => {
            let size = match &a {
                Value::Text(text) => text.encode_utf16().count(),
                Value::List(items) => items.len(),
                _ => return false,
            };
            matches!(&b, Value::Number(number) if number.parse() == Ok(size))
        }
        Operator::Empty => {
            let is_empty = match &a {
                Value::Text(text) => text.is_empty(),
                Value::List(items) => items.is_empty(),
                Value::Object(entries) => entries.is_empty(),
                _ => return false,
            };
            matches!(b, Value::Boolean(wanted) if wanted == is_empty)
        }
        Operator::AnyOf => a.list().is_some_and(|items| items.iter().any(|item| is_in(item, &b))),
        Operator::NoneOf => {
            matches!((&a, &b), (Value::List(items), Value::List(_)) if !items.iter().any(|item| is_in(item, &b)))
        }
        Operator::SubsetOf => a.list().is_some_and(|items| items.iter().all(|item| is_in(item, &b))),
    }
}

fn is_whole_match(pattern: &Regex, text: &str) -> bool {
    // The pattern is compiled between \A and \z.
    pattern.is_match(text)
}

/// The test behind `(`, and what is behind its `)`.
pub(super) fn compile(text: &str, depth: usize) -> Option<(Test, &str)> {
    let mut reader = Reader { rest: text, depth };
    let test = reader.either()?;
    Some((test, reader.sign(")").then_some(reader.rest)?))
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn either(&mut self) -> Option<Test> {
        let mut tests = vec![self.both()?];
        while self.sign("||") {
            tests.push(self.both()?);
        }
        if tests.len() == 1 { tests.pop() } else { Some(Test::Or(tests)) }
    }

    fn both(&mut self) -> Option<Test> {
        let mut tests = vec![self.one()?];
        while self.sign("&&") {
            tests.push(self.one()?);
        }
        if tests.len() == 1 { tests.pop() } else { Some(Test::And(tests)) }
    }

    fn one(&mut self) -> Option<Test> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return None;
        }
        let before = self.rest;
        let test = if self.sign("!") && !self.is_at_path() {
            Test::Not(Box::new(self.one()?))
        } else {
            self.rest = before;
            if self.sign("(") {
                let test = self.either()?;
                self.sign(")").then_some(test)?
            } else {
                self.comparison()?
            }
        };
        self.depth -= 1;
        Some(test)
    }

    fn is_at_path(&mut self) -> bool {
        self.skip_blanks();
        self.rest.starts_with(['$', '@'])
    }

    fn comparison(&mut self) -> Option<Test> {
        let wanted = !self.sign("!");
        let left = self.operand()?;
        let before = self.rest;
        if let Some(operator) = self.operator()
            && let Some(right) = self.operand()
        {
            return Some(Test::Compare(left, operator, right));
        }
        self.rest = before;
        match left {
            Operand::Path(path) => Some(Test::Exists(path, wanted)),
            _ => None,
        }
    }

    fn operator(&mut self) -> Option<Operator> {
        self.skip_blanks();
        let is_sign = |c: char| matches!(c, '<' | '>' | '=' | '~' | '!');
        let end = if self.rest.starts_with(is_sign) {
            self.rest.find(|c| !is_sign(c))
        } else {
            self.rest.find(' ')
        };
        let (word, rest) = self.rest.split_at(end?);
        let operator = match word.to_ascii_uppercase().as_str() {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "===" => Operator::Same,
            "!==" => Operator::NotSame,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "=~" => Operator::Matches,
            "IN" => Operator::In,
            "NIN" => Operator::NotIn,
            "CONTAINS" => Operator::Contains,
            "SIZE" => Operator::Size,
            "EMPTY" => Operator::Empty,
            "ANYOF" => Operator::AnyOf,
            "NONEOF" => Operator::NoneOf,
            "SUBSETOF" => Operator::SubsetOf,
            _ => return None,
        };
        self.rest = rest;
        Some(operator)
    }

    fn operand(&mut self) -> Option<Operand> {
        if self.is_at_path() {
            return self.path().map(Operand::Path);
        }
        if self.rest.starts_with('/') {
            return self.pattern().map(Operand::Pattern);
        }
        self.literal().map(Operand::Value)
    }

    /// A path ends at a blank, at an operator, or at a bracket that is not a function's; pairs of [ ] are passed over.
    fn path(&mut self) -> Option<Path> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'[' => end = closing(bytes, end)?,
                b')' if bytes[end - 1] != b'(' => break,
                b'<' | b'>' | b'=' | b'~' | b'!' | b' ' => break,
                _ => {}
            }
            end += 1;
        }
        let (path, rest) = self.rest.split_at(end);
        self.rest = rest;
        Path::compile(path, self.depth)
    }

    /// `/pattern/flags`
    fn pattern(&mut self) -> Option<Regex> {
        let inside = &self.rest[1..];
        let mut is_escaped = false;
        let end = inside.find(|c: char| {
            let ends = c == '/' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        })?;
        let behind = &inside[end + 1..];
        let flags: String = behind.chars().take_while(|c| "idmsuxU".contains(*c)).collect();
        self.rest = &behind[flags.len()..];
        let known: String = flags.chars().filter(|c| "imsx".contains(*c)).collect();
        let flags = if known.is_empty() { String::new() } else { format!("(?{known})") };
        java_regex(&format!("\\A(?:{flags}{})\\z", &inside[..end])).ok().flatten()
    }

    fn literal(&mut self) -> Option<Value<'static>> {
        self.skip_blanks();
        if let Some(quote @ ('\'' | '"')) = self.rest.chars().next() {
            let (text, rest) = quoted(self.rest, quote)?;
            self.rest = rest;
            return Some(Value::Text(text.into()));
        }
        if self.sign("[") {
            return self.list();
        }
        for (word, value) in
            [("true", Value::Boolean(true)), ("false", Value::Boolean(false)), ("null", Value::Null)]
        {
            if self.sign(word) {
                return Some(value);
            }
        }
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        is_number(number).then(|| Value::Number(number.to_owned().into()))
    }

    fn list(&mut self) -> Option<Value<'static>> {
        self.depth += 1;
        let mut items = Vec::new();
        if self.depth > FILTER_DEPTH_MAX {
            return None;
        }
        if !self.sign("]") {
            loop {
                items.push(self.literal()?);
                if !self.sign(",") {
                    self.sign("]").then_some(())?;
                    break;
                }
            }
        }
        self.depth -= 1;
        Some(Value::List(items))
    }
}

/// Where the bracket that opens at `start` closes; quoted text is passed over.
fn closing(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut depth, mut quote, mut is_escaped) = (0, None, false);
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match (quote, byte) {
            (Some(_), b'\\') if !is_escaped => is_escaped = true,
            (Some(open), byte) => {
                if open == *byte && !is_escaped {
                    quote = None;
                }
                is_escaped = false;
            }
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None, b'[') => depth += 1,
            (None, b']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
