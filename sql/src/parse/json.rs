//! The clauses of SQL's functions of JSON, which sqlparser does not know, as arguments of plain calls.
//!
//! `JSON_VALUE(j, '$.a' RETURNING INT DEFAULT 0 ON EMPTY)` becomes `json_value(j, '$.a', CAST(NULL AS INT), 'DEFAULT', 0,
//! 'NULL', NULL)`, `j IS JSON OBJECT` becomes `is_json_object(j)`. functions/json/ says what the arguments are.

use sqlparser::ast::{CastKind, DataType, Expr, UnaryOperator, Value};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::calls::{call, string};

type Parsed = Result<Expr, ParserError>;

/// The call of a function of JSON that starts here.
pub(super) fn prefix(parser: &mut Parser<'_>) -> Option<Parsed> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    let parse: fn(&mut Parser<'_>, Span) -> Parsed = match word.value.to_ascii_uppercase().as_str() {
        "JSON_VALUE" => value,
        "JSON_QUERY" => query,
        "JSON_EXISTS" => exists,
        "JSON_OBJECT" => object,
        "JSON_ARRAY" => array,
        "JSON_STRING" => text_of,
        _ => return None,
    };
    let span = parser.next_token().span;
    parser.next_token();
    let parsed = parse(parser, span).and_then(|expr| {
        parser.expect_token(&Token::RParen)?;
        Ok(expr)
    });
    Some(parsed)
}

/// `expr IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]`
pub(super) fn test(parser: &mut Parser<'_>, expr: &Expr) -> Option<Parsed> {
    let word_at = |at: usize| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    if word_at(0) != "IS" {
        return None;
    }
    let is_negated = word_at(1) == "NOT";
    let json = 1 + usize::from(is_negated);
    if word_at(json) != "JSON" {
        return None;
    }
    let name = match word_at(json + 1).as_str() {
        "VALUE" => Some("is_json_value"),
        "OBJECT" => Some("is_json_object"),
        "ARRAY" => Some("is_json_array"),
        "SCALAR" => Some("is_json_scalar"),
        _ => None,
    };
    let span = parser.peek_token_ref().span;
    for _ in 0..=json + usize::from(name.is_some()) {
        parser.next_token();
    }
    let is_json = call(name.unwrap_or("is_json_value"), vec![expr.clone()], span);
    Some(Ok(if is_negated {
        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(is_json) }
    } else {
        is_json
    }))
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// NULL as a value of a type.
fn null_of(data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(null()), data_type, array: false, format: None }
}

/// The word that comes next, if it is one of these.
pub(super) fn take(parser: &mut Parser<'_>, words: &[&'static str]) -> Option<&'static str> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    let found = words.iter().find(|known| known.eq_ignore_ascii_case(&word.value)).copied()?;
    parser.next_token();
    Some(found)
}

pub(super) fn expect(
    parser: &mut Parser<'_>,
    words: &[&'static str],
    what: &str,
) -> Result<&'static str, ParserError> {
    match take(parser, words) {
        Some(word) => Ok(word),
        None => parser.expected_ref(what, parser.peek_token_ref()),
    }
}

/// `json, path`
fn text_and_path(parser: &mut Parser<'_>) -> Result<Vec<Expr>, ParserError> {
    let text = parser.parse_expr()?;
    parser.expect_token(&Token::Comma)?;
    Ok(vec![text, parser.parse_expr()?])
}

/// `[RETURNING type]`
fn returning(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    match take(parser, &["RETURNING"]) {
        Some(_) => parser.parse_data_type().map(null_of),
        None => Ok(null_of(DataType::String(None))),
    }
}

fn value(parser: &mut Parser<'_>, span: Span) -> Parsed {
    let mut arguments = text_and_path(parser)?;
    arguments.push(returning(parser)?);
    // What to do, and the value, on empty and on error.
    let mut clauses = [(string("NULL".into()), null()), (string("NULL".into()), null())];
    while let Some(word) = take(parser, &["NULL", "ERROR", "DEFAULT"]) {
        let default = if word == "DEFAULT" { parser.parse_expr()? } else { null() };
        expect(parser, &["ON"], "ON EMPTY or ON ERROR")?;
        let is_error = expect(parser, &["EMPTY", "ERROR"], "EMPTY or ERROR")? == "ERROR";
        clauses[usize::from(is_error)] = (string(word.into()), default);
    }
    arguments.extend(clauses.into_iter().flat_map(|(word, default)| [word, default]));
    Ok(call("json_value", arguments, span))
}

fn query(parser: &mut Parser<'_>, span: Span) -> Parsed {
    let mut arguments = text_and_path(parser)?;
    arguments.push(returning(parser)?);
    let mut wrapper = "WITHOUT";
    match take(parser, &["WITHOUT", "WITH"]) {
        Some("WITH") => {
            wrapper = take(parser, &["CONDITIONAL", "UNCONDITIONAL"]).unwrap_or("UNCONDITIONAL");
            take(parser, &["ARRAY"]);
            expect(parser, &["WRAPPER"], "WRAPPER")?;
        }
        Some(_) => {
            take(parser, &["ARRAY"]);
            expect(parser, &["WRAPPER"], "WRAPPER")?;
        }
        None => {}
    }
    arguments.push(string(wrapper.into()));
    let mut clauses = [string("NULL".into()), string("NULL".into())];
    while let Some(word) = take(parser, &["NULL", "ERROR", "EMPTY"]) {
        let word = match word {
            "EMPTY" => match expect(parser, &["ARRAY", "OBJECT"], "ARRAY or OBJECT")? {
                "ARRAY" => "EMPTY ARRAY",
                _ => "EMPTY OBJECT",
            },
            word => word,
        };
        expect(parser, &["ON"], "ON EMPTY or ON ERROR")?;
        let is_error = expect(parser, &["EMPTY", "ERROR"], "EMPTY or ERROR")? == "ERROR";
        clauses[usize::from(is_error)] = string(word.into());
    }
    arguments.extend(clauses);
    Ok(call("json_query", arguments, span))
}

fn exists(parser: &mut Parser<'_>, span: Span) -> Parsed {
    let mut arguments = text_and_path(parser)?;
    if let Some(word) = take(parser, &["TRUE", "FALSE", "UNKNOWN", "ERROR"]) {
        expect(parser, &["ON"], "ON ERROR")?;
        expect(parser, &["ERROR"], "ERROR")?;
        arguments.push(string(word.into()));
    }
    Ok(call("json_exists", arguments, span))
}

/// `[NULL | ABSENT] ON NULL`, if it comes next.
pub(super) fn on_null(parser: &mut Parser<'_>, otherwise: &'static str) -> Result<&'static str, ParserError> {
    let is_clause =
        matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word) if word.keyword == Keyword::ON);
    match is_clause.then(|| take(parser, &["NULL", "ABSENT"])).flatten() {
        Some(word) => {
            expect(parser, &["ON"], "ON NULL")?;
            expect(parser, &["NULL"], "NULL")?;
            Ok(word)
        }
        None => Ok(otherwise),
    }
}

/// Whether what `expr` gives is JSON, and not a string to be quoted.
fn is_json(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_json(inner),
        Expr::Function(function) => {
            let name = function.name.to_string();
            ["json_object", "json_array", "json"].iter().any(|known| known.eq_ignore_ascii_case(&name))
        }
        _ => false,
    }
}

/// A value, marked by what it is.
pub(super) fn marked(parser: &mut Parser<'_>) -> Result<[Expr; 2], ParserError> {
    let value = parser.parse_expr()?;
    Ok([string(if is_json(&value) { "JSON" } else { "VALUE" }.into()), value])
}

fn object(parser: &mut Parser<'_>, span: Span) -> Parsed {
    let mut arguments = Vec::new();
    let mut nulls = on_null(parser, "NULL")?;
    while parser.peek_token_ref().token != Token::RParen {
        if !arguments.is_empty() && !parser.consume_token(&Token::Comma) {
            nulls = on_null(parser, nulls)?;
            break;
        }
        take(parser, &["KEY"]);
        // A colon would begin a path into the key.
        let is_short = parser.peek_nth_token_ref(1).token == Token::Colon;
        arguments.push(if is_short { parser.parse_prefix()? } else { parser.parse_expr()? });
        if !parser.consume_token(&Token::Colon) {
            expect(parser, &["VALUE"], "VALUE and the value of the key")?;
        }
        arguments.extend(marked(parser)?);
    }
    arguments.insert(0, string(nulls.into()));
    Ok(call("json_object", arguments, span))
}

fn array(parser: &mut Parser<'_>, span: Span) -> Parsed {
    let mut arguments = Vec::new();
    let mut nulls = on_null(parser, "ABSENT")?;
    while parser.peek_token_ref().token != Token::RParen {
        if !arguments.is_empty() && !parser.consume_token(&Token::Comma) {
            nulls = on_null(parser, nulls)?;
            break;
        }
        arguments.extend(marked(parser)?);
    }
    arguments.insert(0, string(nulls.into()));
    Ok(call("json_array", arguments, span))
}

fn text_of(parser: &mut Parser<'_>, span: Span) -> Parsed {
    let [mark, value] = marked(parser)?;
    Ok(call("json_string", vec![mark, value], span))
}
