//! JSON paths: their text to steps, by the grammar of the library that Flink reads them with (Jayway's JsonPath).
//!
//! `$.a['b c'][0].*`, slices, several names or indexes in one pair of brackets, `..`, filters (filter.rs) and a function at
//! the end. A path that is none becomes an error of each call, as in Flink, and not one of planning.

use datafusion_common::Result;

use super::document::unescaped;
use super::filter::{self, Test};

/// How many steps a path may have, and how deep filters may be nested: what walks them recurses.
const STEPS_MAX: usize = 500;
pub(super) const FILTER_DEPTH_MAX: usize = 20;

/// The path of a call, with its mode.
#[derive(Debug)]
pub(super) struct Spec {
    /// What is not there is empty and no error.
    pub is_lax: bool,
    /// `None` if it is no path.
    pub path: Option<Path>,
}

impl Spec {
    /// `[lax | strict] path`; strict if it does not say.
    #[allow(clippy::unnecessary_wraps, reason = "what compiles patterns may fail")]
    pub fn compile(text: &str) -> Result<Self> {
        let after = |mode: &str| {
            let (head, rest) = text.trim_ascii_start().split_at_checked(mode.len())?;
            let is_mode =
                head.eq_ignore_ascii_case(mode) && rest.starts_with(|c: char| c.is_ascii_whitespace());
            let rest = rest.trim_ascii_start();
            (is_mode && !rest.is_empty()).then_some(rest)
        };
        let lax = after("lax");
        let path = lax.or_else(|| after("strict")).unwrap_or(text);
        Ok(Self { is_lax: lax.is_some(), path: Path::compile(path, 0) })
    }
}

#[derive(Debug)]
pub(super) struct Path {
    pub steps: Vec<Step>,
    /// From the whole document, and not from the item that a filter looks at.
    pub is_from_root: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Of one name: its value. Of several: each value, or at the end of the path an object of them.
    Properties(Vec<String>),
    Indexes(Vec<i32>),
    Slice(Option<i32>, Option<i32>),
    Wildcard,
    /// `..`: the next step at every depth.
    Scan,
    Filter(Test),
    Function(Function),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Length,
    Keys,
    Sum,
    Min,
    Max,
    Average,
    Deviation,
}

impl Path {
    /// `None` if `text` is no path. `depth` counts the filters around it.
    pub fn compile(text: &str, depth: usize) -> Option<Self> {
        let text = text.trim_matches(' ');
        if text.is_empty() || text.ends_with('.') {
            return None;
        }
        let prefixed;
        let text = if text.starts_with(['$', '@']) {
            text
        } else {
            prefixed = format!("$.{text}");
            &prefixed
        };
        let mut reader = Reader { text, at: 1, depth, steps: Vec::new() };
        if !matches!(reader.peek(), None | Some('.' | '[')) {
            return None;
        }
        while reader.at < text.len() {
            reader.step()?;
            if reader.steps.len() > STEPS_MAX {
                return None;
            }
        }
        let ends_in_scan = matches!(reader.steps.last(), Some(Step::Scan));
        (!ends_in_scan).then_some(Self { steps: reader.steps, is_from_root: text.starts_with('$') })
    }

    /// Leads to one value at most.
    pub fn is_definite(&self) -> bool {
        (0..self.steps.len()).all(|at| is_definite(&self.steps, at))
    }

    /// Only names and indexes: the last of two values of one key is found without a look at the others.
    pub fn is_plain(&self) -> bool {
        self.is_definite()
            && self.steps.iter().all(|step| match step {
                Step::Properties(names) => names.len() == 1,
                Step::Indexes(_) => true,
                _ => false,
            })
    }
}

/// Whether the step leads to one value at most; several names do at the end, where they make one object.
pub(super) fn is_definite(steps: &[Step], at: usize) -> bool {
    match &steps[at] {
        Step::Properties(names) => names.len() == 1 || at + 1 == steps.len(),
        Step::Indexes(indexes) => indexes.len() == 1,
        Step::Function(_) => true,
        _ => false,
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    steps: Vec<Step>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn step(&mut self) -> Option<()> {
        if self.peek()? == '.' {
            self.at += 1;
            if self.peek()? == '.' {
                self.at += 1;
                self.steps.push(Step::Scan);
            }
        }
        let (step, length) = match self.peek()? {
            '.' => return None,
            '*' => (Step::Wildcard, 1),
            '[' => self.bracket()?,
            _ => self.name()?,
        };
        self.at += length;
        self.steps.push(step);
        Some(())
    }

    /// `name` or `function()`.
    fn name(&self) -> Option<(Step, usize)> {
        let rest = self.rest();
        let end = rest.find(['.', '[', '(', ' ']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if behind.starts_with(' ') {
            return None;
        }
        if !behind.starts_with('(') {
            return Some((Step::Properties(vec![name.to_owned()]), end));
        }
        let function = match name {
            "length" | "size" => Function::Length,
            "keys" => Function::Keys,
            "sum" => Function::Sum,
            "min" => Function::Min,
            "max" => Function::Max,
            "avg" => Function::Average,
            "stddev" => Function::Deviation,
            _ => return None,
        };
        (behind == "()").then_some((Step::Function(function), rest.len()))
    }

    fn bracket(&self) -> Option<(Step, usize)> {
        let rest = self.rest();
        let inside = rest[1..].trim_start_matches(' ');
        let (step, behind) = match inside.chars().next()? {
            quote @ ('\'' | '"') => names(inside, quote)?,
            '*' => (Step::Wildcard, inside[1..].trim_start_matches(' ').strip_prefix(']')?),
            '?' => {
                let open = inside[1..].trim_start_matches(' ').strip_prefix('(')?;
                let (test, behind) = filter::compile(open, self.depth + 1)?;
                (Step::Filter(test), behind.trim_start_matches(' ').strip_prefix(']')?)
            }
            _ => {
                let (numbers, behind) = inside.split_once(']')?;
                (numbers_of(numbers)?, behind)
            }
        };
        Some((step, rest.len() - behind.len()))
    }
}

/// `'a', 'b']`: the names, and what is behind the bracket.
fn names(text: &str, quote: char) -> Option<(Step, &str)> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let (name, behind) = quoted(rest, quote)?;
        names.push(name);
        rest = behind.trim_start_matches(' ');
        if let Some(behind) = rest.strip_prefix(']') {
            return Some((Step::Properties(names), behind));
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(' ');
    }
}

/// The text in quotes at the start of `text`, and what is behind it.
pub(super) fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let inside = text.strip_prefix(quote)?;
    let mut is_escaped = false;
    let end = inside.find(|c: char| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    Some((unescaped(&inside[..end]), &inside[end + quote.len_utf8()..]))
}

/// `0`, `0, 2`, `1:`, `:-1`. A third number of a slice is not looked at.
fn numbers_of(text: &str) -> Option<Step> {
    let text = text.trim_matches(' ');
    if !text.contains(':') {
        let indexes = text.split(',').map(|index| index.trim_matches(' ').parse().ok());
        return indexes.collect::<Option<_>>().map(Step::Indexes);
    }
    let mut bounds = text.split(':');
    let mut bound = || match bounds.next() {
        None | Some("") => Some(None),
        Some(number) => number.parse().ok().map(Some),
    };
    let (from, to) = (bound()?, bound()?);
    (from.is_some() || to.is_some()).then_some(Step::Slice(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_jayway_takes() {
        let paths = [
            "$",
            "$.a",
            "a.b",
            "$.a-b",
            "$['a','b']",
            "$[ \"a\" ]",
            "$.a[0]",
            "$[0, -1].b",
            "$[1:]",
            "$[-2:]",
            "$.*",
            "$[*]",
            "$..a",
            "$..[0]",
            "$.a.length()",
            "$[?(@.a == 1)].b",
            "$[?(@.a)]",
            "$.['a']",
            " $.a ",
        ];
        for path in paths {
            assert!(Path::compile(path, 0).is_some(), "{path}");
        }
        let others = [
            "",
            "$.",
            "$..",
            "$a",
            "$.a b",
            "$['a",
            "$[a]",
            "$[]",
            "$[::2]",
            "$...a",
            "$.a.nope()",
            "$.a.length().b",
            "$[?(@.a ==)]",
            "$[?(@.a == 1]",
            "$[99999999999]",
            "$['a' 'b']",
        ];
        for path in others {
            assert!(Path::compile(path, 0).is_none(), "{path}");
        }
        assert!(Path::compile(&"$.a".repeat(1000), 0).is_none());
        assert!(Path::compile(&("$".to_owned() + &"[?(@".repeat(1000)), 0).is_none());
    }

    #[test]
    fn the_mode_stands_in_front() {
        let lax = |text| Spec::compile(text).is_ok_and(|spec| spec.is_lax && spec.path.is_some());
        assert!(lax("lax $.a") && lax(" LAX\n$"));
        assert!(!lax("strict $.a") && !lax("$.a") && !lax("lax$.a") && !lax("lax"));
    }
}
