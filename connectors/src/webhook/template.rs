//! Texts with columns in them: `{"text": "{{device}} is at {{t}}"}`.
//!
//! A template is read once, when the table is: then columns are found, and each place gets the form that keeps a value
//! from being more than a value there. Inside a string of JSON it is text, escaped; elsewhere in JSON a whole JSON value,
//! quotes included; in a URL or a form it is percent-encoded; in other texts, and with `{{column|raw}}`, it is as it is.
//! NULL is `null` where a JSON value stands and nothing elsewhere, but no path of a URL is made with it. For each batch the
//! columns are taken out once ([`Template::bind`]); a row then costs no allocation. sink.rs renders bodies, target.rs the
//! rest.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef};
use serde::de::IgnoredAny;

use millstream_engine::suggest::did_you_mean;
use millstream_engine::{Error, Result};

use crate::format::json::write_value;

/// What kind of text a template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    Url,
    Plain,
}

/// How a value is written at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    JsonValue,
    JsonText,
    Percent,
    /// Percent-encoded, and never nothing: a path without one of its levels is another's.
    Path,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    /// Number of the column among those of the template.
    Column(usize, Form),
}

/// See the module's page.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    /// The column's index, then those of fields inside of it.
    path: Vec<usize>,
}

/// The columns of one batch that a template writes: for each the array, behind those of the ROWs that it is in.
pub(super) struct Bound(Vec<Vec<ArrayRef>>);

impl Template {
    /// Whether `text` has places for columns.
    pub fn has_columns(text: &str) -> bool {
        text.contains("{{")
    }

    /// Reads a template over columns of `fields`.
    ///
    /// # Errors
    /// If a place is not closed or names no column, or the whole can never be JSON where it should.
    pub fn parse(text: &str, syntax: Syntax, fields: &[FieldRef]) -> Result<Self> {
        let mut template = Self { pieces: Vec::new(), columns: Vec::new() };
        let (mut rest, mut state) = (text, State { syntax, in_string: false, in_query: false });
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((place, behind)) = after.split_once("}}") else {
                return Err(Error::config("a '{{' is not closed by '}}'"));
            };
            template.text(before);
            state.pass(before);
            let (name, form) = match place.split_once('|') {
                None => (place.trim(), state.form()),
                Some((name, how)) if how.trim() == "raw" && syntax != Syntax::Url => (name.trim(), Form::Raw),
                Some((_, how)) => {
                    return Err(Error::config(format!(
                        "'{{{{{place}}}}}': there is no form '{}'",
                        how.trim()
                    ))
                    .remedy(
                        "a column is written as fits its place, or, but not in a URL, as it is with '|raw'",
                    ));
                }
            };
            let path = find(name, fields)?;
            template.columns.push(Column { name: name.to_owned(), path });
            template.pieces.push(Piece::Column(template.columns.len() - 1, form));
            rest = behind;
        }
        template.text(rest);
        if syntax == Syntax::Json {
            template.check_json()?;
        }
        Ok(template)
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    /// The text with something harmless at every place.
    pub fn sample(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Column(_, Form::JsonValue) => "0".to_owned(),
            Piece::Column(..) => "x".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    fn check_json(&self) -> Result<()> {
        if self.pieces.iter().any(|piece| matches!(piece, Piece::Column(_, Form::Raw))) {
            return Ok(());
        }
        match serde_json::from_str::<IgnoredAny>(&self.sample()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::config(format!("it is no JSON, with a value at each place: {error}"))
                .remedy("a place outside of quotes is a whole value; 'content-type' says if it is to be other text")),
        }
    }

    /// Takes the columns out of a batch.
    ///
    /// # Errors
    /// If the batch does not have them.
    pub fn bind(&self, rows: &RecordBatch) -> Result<Bound> {
        let missing = |column: &Column| Error::internal(format!("a batch has no column '{}'", column.name));
        let arrays = |column: &Column| {
            let mut chain: Vec<ArrayRef> = Vec::with_capacity(column.path.len());
            for index in &column.path {
                let next = match chain.last() {
                    None => rows.columns().get(*index),
                    Some(row) => row.as_struct_opt().and_then(|row| row.columns().get(*index)),
                };
                chain.push(next.cloned().ok_or_else(|| missing(column))?);
            }
            Ok(chain)
        };
        Ok(Bound(self.columns.iter().map(arrays).collect::<Result<_>>()?))
    }

    /// Writes the text of one row to the end of `out`; `scratch` is used again.
    ///
    /// # Errors
    /// `Data` if a value cannot stand at its place.
    pub fn render(&self, bound: &Bound, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        for piece in &self.pieces {
            let (column, form) = match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                Piece::Column(column, form) => (*column, *form),
            };
            let chain = &bound.0[column];
            let is_null = chain.iter().any(|array| array.is_null(row));
            let Some(array) = chain.last() else { continue };
            if form == Form::JsonValue {
                if is_null {
                    out.extend_from_slice(b"null");
                } else {
                    write_value(out, array, row)?;
                }
                continue;
            }
            scratch.clear();
            if !is_null {
                text_of(scratch, array, row)?;
            }
            match form {
                Form::Path if scratch.is_empty() => {
                    let name = &self.columns[column].name;
                    return Err(Error::data(format!(
                        "column '{name}' is NULL or empty, and stands in a path"
                    )));
                }
                Form::Percent | Form::Path => percent_encode(scratch, out),
                Form::JsonText => json_escape(scratch, out),
                Form::Raw | Form::JsonValue => out.extend_from_slice(scratch),
            }
        }
        Ok(())
    }
}

/// Where in a text the next place is.
struct State {
    syntax: Syntax,
    in_string: bool,
    in_query: bool,
}

impl State {
    fn pass(&mut self, text: &str) {
        self.in_query |= text.contains('?');
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => self.in_string = !self.in_string,
                '\\' if self.in_string => drop(characters.next()),
                _ => {}
            }
        }
    }

    fn form(&self) -> Form {
        match self.syntax {
            Syntax::Json if self.in_string => Form::JsonText,
            Syntax::Json => Form::JsonValue,
            Syntax::Form => Form::Percent,
            Syntax::Url if self.in_query => Form::Percent,
            Syntax::Url => Form::Path,
            Syntax::Plain => Form::Raw,
        }
    }
}

/// The column called `name`, or a field of a ROW, as `row.field`.
fn find(name: &str, fields: &[FieldRef]) -> Result<Vec<usize>> {
    let position = |name: &str, fields: &[FieldRef]| fields.iter().position(|field| field.name() == name);
    if let Some(index) = position(name, fields) {
        return Ok(vec![index]);
    }
    let (mut path, mut inside, mut before) = (Vec::new(), fields, String::new());
    for part in name.split('.') {
        let Some(index) = position(part, inside) else {
            let known: Vec<&str> =
                inside.iter().map(|field: &FieldRef| Field::name(field).as_str()).collect();
            let nearest = did_you_mean(part, known.iter().copied())
                .map_or(String::new(), |near| format!("did you mean '{before}{near}'? "));
            let whose = if before.is_empty() { "its columns" } else { "its fields" };
            return Err(Error::config(format!("'{{{{{name}}}}}': there is no column '{before}{part}'"))
                .remedy(format!("{nearest}{whose} are: {}", known.join(", "))));
        };
        path.push(index);
        before = format!("{before}{part}.");
        inside = match inside[index].data_type() {
            DataType::Struct(fields) => fields,
            _ => &[],
        };
    }
    Ok(path)
}

/// A value as people write it: a string without quotes, a time without, others as in JSON.
fn text_of(out: &mut Vec<u8>, column: &ArrayRef, row: usize) -> Result<()> {
    if let Some(strings) = column.as_string_opt::<i32>() {
        out.extend_from_slice(strings.value(row).as_bytes());
        return Ok(());
    }
    write_value(out, column, row)?;
    if out.first() == Some(&b'"') {
        if out.contains(&b'\\') {
            let text: String =
                serde_json::from_slice(out).map_err(|error| Error::internal(error.to_string()))?;
            out.clear();
            out.extend_from_slice(text.as_bytes());
        } else {
            out.pop();
            out.remove(0);
        }
    }
    Ok(())
}

fn json_escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex(*byte));
            }
            _ => out.push(*byte),
        }
    }
}

/// Everything but RFC 3986's unreserved characters, so that a value never ends the part of the URL that it is in.
fn percent_encode(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            _ => {
                out.push(b'%');
                out.extend_from_slice(&hex(*byte));
            }
        }
    }
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, StringArray, StructArray, TimestampMillisecondArray};
    use arrow_schema::{Fields, Schema, TimeUnit};
    use std::sync::Arc;

    fn rows() -> RecordBatch {
        let inner = Fields::from(vec![Field::new("site", DataType::Utf8, true)]);
        let place = StructArray::new(
            inner.clone(),
            vec![Arc::new(StringArray::from(vec![Some("a/b"), Some("hidden")]))],
            Some(vec![true, false].into()),
        );
        let schema = Schema::new(vec![
            Field::new("device", DataType::Utf8, true),
            Field::new("t", DataType::Float64, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("place", DataType::Struct(inner), true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(StringArray::from(vec![Some("d \"1\"\n\u{1}é"), None])),
                Arc::new(Float64Array::from(vec![Some(21.5), None])),
                Arc::new(TimestampMillisecondArray::from(vec![Some(10_500), None])),
                Arc::new(place),
            ],
        )
        .unwrap()
    }

    fn render(text: &str, syntax: Syntax) -> Vec<Result<String>> {
        let rows = rows();
        let template = Template::parse(text, syntax, rows.schema().fields()).unwrap();
        let bound = template.bind(&rows).unwrap();
        let one = |row| {
            let (mut out, mut scratch) = (Vec::new(), Vec::new());
            template.render(&bound, row, &mut scratch, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        vec![one(0), one(1)]
    }

    fn both(text: &str, syntax: Syntax) -> [String; 2] {
        render(text, syntax).into_iter().map(Result::unwrap).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn values_are_written_as_their_place_wants() {
        let text = r#"{"text":"{{device}} is at {{ t }} in {{place}}","d":{{device}},"t":{{t}},"ts":{{ts}},"at":"{{ts}}","s":"\"{{place.site}}"}"#;
        assert_eq!(
            both(text, Syntax::Json),
            [
                r#"{"text":"d \"1\"\n\u0001é is at 21.5 in {\"site\":\"a/b\"}","d":"d \"1\"\n\u0001é","t":21.5,"ts":"1970-01-01T00:00:10.5","at":"1970-01-01T00:00:10.5","s":"\"a/b"}"#,
                r#"{"text":" is at  in ","d":null,"t":null,"ts":null,"at":"","s":"\""}"#,
            ]
        );
        for text in both(text, Syntax::Json) {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        assert_eq!(both("{{t}} \"{{place.site}}", Syntax::Plain), ["21.5 \"a/b", " \""]);
        assert_eq!(both("d={{device}}&t={{t}}", Syntax::Form)[0], "d=d%20%221%22%0A%01%C3%A9&t=21.5");
        assert_eq!(both(r#"{"a":{{t|raw}}}"#, Syntax::Json), [r#"{"a":21.5}"#, r#"{"a":}"#]);
    }

    #[test]
    fn a_path_wants_a_value_and_a_query_does_not() {
        assert_eq!(both("/x?site={{place.site}}", Syntax::Url), ["/x?site=a%2Fb", "/x?site="]);
        let path = render("/x/{{place.site}}", Syntax::Url);
        assert_eq!(path[0].as_deref().unwrap(), "/x/a%2Fb");
        assert!(path[1].as_ref().unwrap_err().to_string().contains("'place.site' is NULL"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, syntax, expected) in [
            ("{{devise}}", Syntax::Plain, "did you mean 'device'?"),
            ("{{place.sit}}", Syntax::Plain, "did you mean 'place.site'?"),
            ("{{t.x}}", Syntax::Plain, "no column 't.x'"),
            ("{{t", Syntax::Plain, "not closed"),
            ("{{t|upper}}", Syntax::Plain, "no form 'upper'"),
            ("/{{t|raw}}", Syntax::Url, "no form 'raw'"),
            ("{\"a\": {{t}}, }", Syntax::Json, "it is no JSON"),
            ("{\"a\": x{{t}}}", Syntax::Json, "it is no JSON"),
        ] {
            let error = Template::parse(text, syntax, rows().schema().fields()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
