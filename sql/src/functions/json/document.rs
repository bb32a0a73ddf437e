//! A JSON text, read into a flat list of nodes that point into it.
//!
//! Nodes stand in the order of the text, an object's keys and values in turn; each knows where the next one behind it is,
//! so that a value is passed over without looking inside. The list is kept from row to row ([`Nodes`]), and nothing is
//! copied out of the text until it is asked for. What is JSON is Jackson's to say, as Flink reads with it: what follows the
//! first value is not looked at, and of two values of one key the later counts.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// How deep values may be nested, so that what walks them does not run out of stack.
const DEPTH_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    /// A number without a fraction and an exponent.
    Whole,
    Fraction,
    Text,
    /// Text with a backslash in it.
    EscapedText,
    List,
    Object,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    kind: Kind,
    /// Where its text is, without quotes.
    start: u32,
    end: u32,
    /// The first node that is not inside.
    next: u32,
}

/// The memory of a document, used again for the next.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    open: Vec<u32>,
}

/// A text and its nodes; the first is the whole value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    text: &'a str,
    nodes: &'a [Node],
}

/// A value, by its place in the list.
pub(super) type Place = usize;

pub(super) const ROOT: Place = 0;

impl Nodes {
    /// Reads `text`; `None` if it is not JSON.
    pub fn read<'a>(&'a mut self, text: &'a str) -> Option<Document<'a>> {
        self.fill(text)?;
        Some(Document { text, nodes: &self.nodes })
    }

    /// As [`Self::read`], with every key once in an object: where the first stood, with the value of the last.
    pub fn read_distinct<'a>(&'a mut self, text: &'a str) -> Option<Document<'a>> {
        self.fill(text)?;
        let document = Document { text, nodes: &self.nodes };
        if document.has_repeated_keys() {
            let mut distinct = Vec::with_capacity(document.nodes.len());
            document.copy_distinct(ROOT, &mut distinct);
            self.nodes = distinct;
        }
        Some(Document { text, nodes: &self.nodes })
    }

    fn fill(&mut self, text: &str) -> Option<()> {
        // Places are 32 bits wide.
        u32::try_from(text.len()).ok()?;
        self.nodes.clear();
        self.open.clear();
        Reader { bytes: text.as_bytes(), at: 0, nodes: &mut self.nodes, open: &mut self.open }.value()
    }
}

impl<'a> Document<'a> {
    pub fn kind(&self, place: Place) -> Kind {
        self.nodes[place].kind
    }

    pub fn is_container(&self, place: Place) -> bool {
        matches!(self.kind(place), Kind::List | Kind::Object)
    }

    /// The text of a value as it stands, that of a string without its quotes.
    pub fn raw(&self, place: Place) -> &'a str {
        let node = self.nodes[place];
        &self.text[node.start as usize..node.end as usize]
    }

    /// A string's characters.
    pub fn text(&self, place: Place) -> Cow<'a, str> {
        if self.kind(place) == Kind::EscapedText {
            Cow::Owned(unescaped(self.raw(place)))
        } else {
            Cow::Borrowed(self.raw(place))
        }
    }

    pub fn is_true(&self, place: Place) -> bool {
        self.raw(place) == "true"
    }

    /// The first node behind a value.
    pub fn behind(&self, place: Place) -> Place {
        self.nodes[place].next as Place
    }

    /// The items of a list.
    pub fn items(self, list: Place) -> impl Iterator<Item = Place> + use<'a> {
        let (mut at, end) = (list + 1, self.behind(list));
        std::iter::from_fn(move || {
            let found = (at < end).then_some(at)?;
            at = self.behind(found);
            Some(found)
        })
    }

    /// Keys and values of an object.
    pub fn entries(self, object: Place) -> impl Iterator<Item = (Place, Place)> + use<'a> {
        let (mut at, end) = (object + 1, self.behind(object));
        std::iter::from_fn(move || {
            let key = (at < end).then_some(at)?;
            at = self.behind(key + 1);
            Some((key, key + 1))
        })
    }

    /// An object's value of a key.
    pub fn property(&self, object: Place, name: &str) -> Option<Place> {
        self.entries(object).filter(|(key, _)| self.says(*key, name)).last().map(|(_, value)| value)
    }

    fn says(&self, place: Place, text: &str) -> bool {
        match self.kind(place) {
            Kind::EscapedText => unescaped(self.raw(place)) == text,
            _ => self.raw(place) == text,
        }
    }

    /// A list's item, counted from the end if `index` is negative.
    pub fn item(&self, list: Place, index: i32) -> Option<Place> {
        let wanted = match usize::try_from(index) {
            Ok(index) => index,
            Err(_) => self.items(list).count().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        self.items(list).nth(wanted)
    }

    fn has_repeated_keys(&self) -> bool {
        let mut objects = (0..self.nodes.len()).filter(|place| self.kind(*place) == Kind::Object);
        objects.any(|object| {
            let keys = || self.entries(object).map(|(key, _)| key);
            // Few keys are compared one with another; many would make that too slow.
            if keys().count() > 16 {
                let mut known = HashSet::new();
                return keys().any(|key| !known.insert(self.text(key)));
            }
            keys().enumerate().any(|(number, key)| keys().take(number).any(|known| self.is_same(known, key)))
        })
    }

    fn is_same(&self, a: Place, b: Place) -> bool {
        let is_escaped = |place| self.kind(place) == Kind::EscapedText;
        self.raw(a) == self.raw(b) || ((is_escaped(a) || is_escaped(b)) && self.text(a) == self.text(b))
    }

    /// Copies a value; the recursion is as deep as the value, which is bounded.
    fn copy_distinct(&self, place: Place, out: &mut Vec<Node>) {
        let start = out.len();
        out.push(self.nodes[place]);
        match self.kind(place) {
            Kind::List => self.items(place).for_each(|item| self.copy_distinct(item, out)),
            Kind::Object => {
                let mut numbers: HashMap<Cow<'_, str>, usize> = HashMap::new();
                let mut entries: Vec<(Place, Place)> = Vec::new();
                for (key, value) in self.entries(place) {
                    let number = *numbers.entry(self.text(key)).or_insert(entries.len());
                    match entries.get_mut(number) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((key, value)),
                    }
                }
                for (key, value) in entries {
                    self.copy_distinct(key, out);
                    self.copy_distinct(value, out);
                }
            }
            _ => {}
        }
        out[start].next = position(out.len());
    }
}

/// Places fit into 32 bits because each node has a byte of the text of its own.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// `\n`, `\u00e9` and their kin as the characters they stand for; half a surrogate pair is a question mark, as Java
/// writes it.
pub(super) fn unescaped(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(letter) = rest.chars().next() else { break };
        rest = &rest[letter.len_utf8()..];
        match letter {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let first = code_unit(&mut rest);
                let second = rest.strip_prefix("\\u").map(|mut low| (code_unit(&mut low), low));
                match (char::decode_utf16([first]).next(), second) {
                    (Some(Ok(character)), _) => out.push(character),
                    (_, Some((low, behind))) => match char::decode_utf16([first, low]).next() {
                        Some(Ok(character)) => {
                            out.push(character);
                            rest = behind;
                        }
                        _ => out.push('?'),
                    },
                    _ => out.push('?'),
                }
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// The four digits in front of `rest`; the reader has seen that they are there.
fn code_unit(rest: &mut &str) -> u16 {
    let Some((digits, behind)) = rest.split_at_checked(4) else { return 0 };
    *rest = behind;
    u16::from_str_radix(digits, 16).unwrap_or(0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
    open: &'a mut Vec<u32>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = position(self.nodes.len() + 1);
        self.nodes.push(Node { kind, start: position(start), end: position(end), next });
    }

    /// Reads one value with all that is inside, without recursion.
    fn value(&mut self) -> Option<()> {
        loop {
            self.skip_blanks();
            match self.peek()? {
                b'{' => {
                    if self.opens(Kind::Object, b'}')? {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    if self.opens(Kind::List, b']')? {
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word("true", Kind::Boolean)?,
                b'f' => self.word("false", Kind::Boolean)?,
                b'n' => self.word("null", Kind::Null)?,
                _ => self.number()?,
            }
            if !self.goes_on()? {
                return Some(());
            }
        }
    }

    /// At a bracket: whether there is something inside.
    fn opens(&mut self, kind: Kind, end: u8) -> Option<bool> {
        if self.open.len() == DEPTH_MAX {
            return None;
        }
        self.open.push(position(self.nodes.len()));
        self.push(kind, self.at, self.at);
        self.at += 1;
        self.skip_blanks();
        let is_empty = self.take(end);
        if is_empty {
            self.close();
        }
        Some(!is_empty)
    }

    /// Behind a value: closes what ends here; whether another value follows.
    fn goes_on(&mut self) -> Option<bool> {
        while let Some(&open) = self.open.last() {
            let is_object = self.nodes[open as usize].kind == Kind::Object;
            self.skip_blanks();
            if self.take(b',') {
                if is_object {
                    self.skip_blanks();
                    self.key()?;
                }
                return Some(true);
            }
            self.take(if is_object { b'}' } else { b']' }).then_some(())?;
            self.close();
        }
        Some(false)
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            let next = position(self.nodes.len());
            let node = &mut self.nodes[open as usize];
            node.next = next;
            node.end = position(self.at);
        }
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.skip_blanks();
        self.take(b':').then_some(())
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"').then_some(())?;
        let start = self.at;
        let mut kind = Kind::Text;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    kind = Kind::EscapedText;
                    self.escape()?;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        self.push(kind, start, self.at);
        self.at += 1;
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        match self.peek()? {
            b'u' => {
                let digits = self.bytes.get(self.at + 1..self.at + 5)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                self.at += 5;
            }
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            _ => return None,
        }
        Some(())
    }

    fn word(&mut self, word: &str, kind: Kind) -> Option<()> {
        let start = self.at;
        self.bytes[start..].starts_with(word.as_bytes()).then_some(())?;
        self.at += word.len();
        // What could be part of a name may not follow.
        let goes_on =
            matches!(self.peek(), Some(b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' | 0x80..));
        self.push(kind, start, self.at);
        (!goes_on).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.take(b'-');
        let first = self.peek()?;
        let whole = self.digits();
        (whole == 1 || (whole > 1 && first != b'0')).then_some(())?;
        let mut kind = Kind::Whole;
        if self.take(b'.') {
            kind = Kind::Fraction;
            (self.digits() > 0).then_some(())?;
        }
        if self.take(b'e') || self.take(b'E') {
            kind = Kind::Fraction;
            let _ = self.take(b'+') || self.take(b'-');
            // No number of Java's has a longer exponent.
            (1..=9).contains(&self.digits()).then_some(())?;
        }
        let is_apart = matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n' | b'\r'));
        (is_apart || !self.open.is_empty()).then_some(())?;
        self.push(kind, start, self.at);
        Some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_json_is_what_jackson_takes() {
        let takes = |text: &str| Nodes::default().read(text).is_some();
        let json = [
            "{}",
            " [ ] ",
            "1 2",
            "{\"a\":1} x",
            "\"a\"b",
            "-0",
            "1e5 ",
            "true",
            "[1,[2,{\"a\":[]}]]",
            "\"\\u00e9\"",
        ];
        for text in json {
            assert!(takes(text), "{text}");
        }
        let other = [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "1,2",
            "-",
            "nul",
            "truex",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "[1 2]",
            "1e",
            "\"\\u12\"",
        ];
        for text in other {
            assert!(!takes(text), "{text}");
        }
        assert!(takes(&("[".repeat(1000) + &"]".repeat(1000))));
        assert!(!takes(&("[".repeat(1001) + &"]".repeat(1001))));
    }

    #[test]
    fn values_are_found_by_key_and_index() {
        let mut nodes = Nodes::default();
        let text = r#"{"a":[1,[2,3],{"b":4}],"c\u0064":"x\ty","a":[5,6]}"#;
        let document = nodes.read(text).unwrap();
        let list = document.property(ROOT, "a").unwrap();
        assert_eq!(document.raw(list), "[5,6]");
        assert_eq!(document.item(list, -1).map(|item| document.raw(item)), Some("6"));
        assert_eq!((document.item(list, 2), document.item(list, -3)), (None, None));
        assert_eq!(document.text(document.property(ROOT, "cd").unwrap()), "x\ty");
        let document = nodes.read_distinct(text).unwrap();
        let entries = document.entries(ROOT).map(|(key, value)| (document.text(key), document.raw(value)));
        assert_eq!(entries.collect::<Vec<_>>(), [("a".into(), "[5,6]"), ("cd".into(), "x\\ty")]);
    }

    #[test]
    fn halves_of_surrogate_pairs_are_question_marks() {
        assert_eq!(unescaped(r"\ud834\udd1e-\ud834-\udd1e\ud834\u0041"), "𝄞-?-??A");
    }
}
