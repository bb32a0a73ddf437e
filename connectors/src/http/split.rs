//! Cuts a body into payloads, one a row, so that a bad row costs only itself.
//!
//! JSON bodies are an array of values, one object over several lines (or several of them), or a value a line; other
//! formats of lines a payload a line; all others one payload. Only nesting and strings are looked at here, and only as far
//! as it takes: whether a payload is right is for its decoder to say. A JSON text that does not close is cut by lines,
//! so that what is broken in it is named, and what is whole still read.

use std::ops::Range;

use memchr::memchr;
use millstream_engine::Codec;

/// How a body is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Whole,
    Lines,
    /// Elements of the array whose bracket was passed.
    Elements,
    /// Values one after the other.
    Values,
}

/// Walks over the payloads of one body.
#[derive(Debug)]
pub(super) struct Splitter {
    cut: Cut,
    /// Where the next payload begins.
    at: usize,
}

impl Splitter {
    /// For `body`, in the format of `codec`.
    pub fn new(body: &[u8], codec: &dyn Codec) -> Self {
        if !codec.is_lines() {
            return Self { cut: Cut::Whole, at: 0 };
        }
        if codec.content_type() != "application/json" {
            return Self { cut: Cut::Lines, at: 0 };
        }
        let start = skip_space(body, 0);
        let lines = Self { cut: Cut::Lines, at: 0 };
        match body.get(start) {
            // A line may be an array of rows too; then more follows behind the bracket.
            Some(b'[') => match value_end(body, start) {
                Some(end) if skip_space(body, end) == body.len() => {
                    Self { cut: Cut::Elements, at: start + 1 }
                }
                _ => lines,
            },
            Some(b'{') => {
                let first_line = memchr(b'\n', &body[start..]).map_or(body.len(), |length| start + length);
                match value_end(body, start) {
                    Some(end) if end > first_line => Self { cut: Cut::Values, at: start },
                    _ => lines,
                }
            }
            _ => lines,
        }
    }

    /// The next payload of `body`, without white space around it; never an empty one.
    pub fn next(&mut self, body: &[u8]) -> Option<Range<usize>> {
        loop {
            let start = skip_space(body, self.at);
            if start >= body.len() {
                return None;
            }
            let (end, next) = match self.cut {
                Cut::Whole => (body.len(), body.len()),
                Cut::Lines => line(body, start),
                Cut::Elements => {
                    let end = element_end(body, start);
                    // The bracket that closes the array is the end; whether it is the last byte was seen before.
                    let next = if body.get(end) == Some(&b',') { end + 1 } else { body.len() };
                    (end, next)
                }
                Cut::Values => match value_end(body, start) {
                    Some(end) if matches!(body[start], b'{' | b'[') => (end, end),
                    _ => line(body, start),
                },
            };
            self.at = next;
            let length = body[start..end].trim_ascii_end().len();
            if length > 0 {
                return Some(start..start + length);
            }
            // `[]`, `[,]`: nothing between the brackets is no row.
        }
    }
}

/// End of the line, and where the next begins.
fn line(body: &[u8], start: usize) -> (usize, usize) {
    match memchr(b'\n', &body[start..]) {
        Some(length) => (start + length, start + length + 1),
        None => (body.len(), body.len()),
    }
}

fn skip_space(body: &[u8], from: usize) -> usize {
    let rest = body.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// Where the object or array that begins at `start` ends; `None` when it does not.
fn value_end(body: &[u8], start: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, start);
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => at = string_end(body, at)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let closes = if body[start] == b'[' { b']' } else { b'}' };
                    return (*byte == closes).then_some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the element of an array that begins at `start` ends: at a comma or bracket outside of it, or at the end.
fn element_end(body: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => match string_end(body, at) {
                Some(end) => at = end,
                None => return body.len(),
            },
            b'{' | b'[' => depth += 1,
            b',' if depth == 0 => return at,
            b'}' | b']' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return at,
            },
            _ => {}
        }
        at += 1;
    }
    body.len()
}

/// The quote that ends the string that begins at `start`.
fn string_end(body: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match body.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::declared;
    use proptest::prelude::*;

    fn cut(format: &str, body: &str) -> Vec<String> {
        let codec = declared("t", &[], &[("format", format)]).codec().unwrap();
        let mut splitter = Splitter::new(body.as_bytes(), codec.as_ref());
        std::iter::from_fn(|| splitter.next(body.as_bytes())).map(|range| body[range].to_owned()).collect()
    }

    #[test]
    fn lines_arrays_and_objects_are_told_apart() {
        for (body, rows) in [
            ("{\"a\":1}\n\n {\"a\":2} \r\n", vec!["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\":1}", vec!["{\"a\":1}"]),
            (" [ {\"a\":[1,2]} , {\"b\":\"],}\\\"\"} ] \n", vec!["{\"a\":[1,2]}", "{\"b\":\"],}\\\"\"}"]),
            ("{\n \"a\": {\n} }\n{\"b\":\n2}", vec!["{\n \"a\": {\n} }", "{\"b\":\n2}"]),
            ("[]", vec![]),
            (" \n\t", vec![]),
            ("[1,,2]", vec!["1", "2"]),
            // Not closed: by lines, so that the second is still read.
            ("{\"a\":\n{\"b\":1}", vec!["{\"a\":", "{\"b\":1}"]),
            ("[{\"a\":1},", vec!["[{\"a\":1},"]),
            ("[}", vec!["[}"]),
            ("[{\"a\":1}]\n[{\"a\":2}]", vec!["[{\"a\":1}]", "[{\"a\":2}]"]),
            ("{\"a\":1}\nnonsense\n{\"a\":2}", vec!["{\"a\":1}", "nonsense", "{\"a\":2}"]),
            ("{\"a\":\n1} trailing\n{\"a\":2}", vec!["{\"a\":\n1}", "trailing", "{\"a\":2}"]),
        ] {
            assert_eq!(cut("json", body), rows, "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_and_an_arrays_own_signs_is_left_out(body in "[\\[\\]{},:\"\\\\a1 \n]{0,40}") {
            let kept: usize = cut("json", &body).iter().map(|row| row.split_ascii_whitespace().map(str::len).sum::<usize>()).sum();
            let all: usize = body.split_ascii_whitespace().map(str::len).sum();
            let signs = body.matches(['[', ']', ',']).count();
            prop_assert!(kept <= all && kept + signs >= all, "{kept} of {all}");
        }
    }
}
