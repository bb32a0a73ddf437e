//! JSON_QUOTE and JSON_UNQUOTE.

use std::fmt::Write;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_expr::ScalarUDF;

use super::document::{Nodes, unescaped};
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new(
            Subject::Json,
            "json_quote",
            "JSON_QUOTE(string)",
            "The string as one of JSON, in quotes, all that is not ASCII as \\uXXXX.",
            &[Kind::Text],
            DataType::Utf8,
            |call| {
                let texts = call.texts(0)?;
                call.text(|row, out| {
                    let Some(text) = texts.get(row) else { return Ok(false) };
                    out.push('"');
                    text.chars().for_each(|c| quoted(c, out));
                    out.push('"');
                    Ok(true)
                })
            },
        )
        .build(),
        Function::new(
            Subject::Json,
            "json_unquote",
            "JSON_UNQUOTE(string)",
            "What a string of JSON stands for, without its quotes; other text as it is.",
            &[Kind::Text],
            DataType::Utf8,
            |call| {
                let texts = call.texts(0)?;
                let mut nodes = Nodes::default();
                call.text(|row, out| {
                    let Some(text) = texts.get(row) else { return Ok(false) };
                    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    match inside {
                        Some(inside) if nodes.read(text).is_some() => out.push_str(&unescaped(inside)),
                        _ => out.push_str(text),
                    }
                    Ok(true)
                })
            },
        )
        .build(),
    ]
}

fn quoted(c: char, out: &mut String) {
    match c {
        '"' | '\\' | '/' => {
            out.push('\\');
            out.push(c);
        }
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c.is_ascii() => out.push(c),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}
