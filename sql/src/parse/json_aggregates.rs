//! JSON_OBJECTAGG and JSON_ARRAYAGG, which sqlparser does not know, as functions of a list.
//!
//! `JSON_OBJECTAGG(KEY k VALUE v)` becomes `json_objectagg(ARRAY_AGG(ROW(k, json_string('VALUE', v))), 'NULL')`, and
//! `JSON_ARRAYAGG(v)` becomes `json_arrayagg(ARRAY_AGG(json_string('VALUE', v)), 'ABSENT')`: the list is kept, and taken back, row
//! by row, and is made text where it leaves. functions/json/aggregate.rs says what the arguments are.

use sqlparser::ast::Expr;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::calls::{call, string};
use super::json::{expect, marked, on_null, take};

/// The call of one of the two that starts here.
pub(super) fn prefix(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    let parse: fn(&mut Parser<'_>, Span) -> Result<Expr, ParserError> =
        match word.value.to_ascii_uppercase().as_str() {
            "JSON_OBJECTAGG" => object,
            "JSON_ARRAYAGG" => array,
            _ => return None,
        };
    let span = parser.next_token().span;
    parser.next_token();
    Some(parse(parser, span))
}

fn object(parser: &mut Parser<'_>, span: Span) -> Result<Expr, ParserError> {
    take(parser, &["KEY"]);
    let key = parser.parse_expr()?;
    expect(parser, &["VALUE"], "VALUE and the value of the key")?;
    let value = json_of(parser, span)?;
    list(parser, "json_objectagg", call("row", vec![key, value], span), "NULL", span)
}

fn array(parser: &mut Parser<'_>, span: Span) -> Result<Expr, ParserError> {
    let value = json_of(parser, span)?;
    list(parser, "json_arrayagg", value, "ABSENT", span)
}

/// A value as JSON.
fn json_of(parser: &mut Parser<'_>, span: Span) -> Result<Expr, ParserError> {
    Ok(call("json_string", marked(parser)?.into(), span))
}

/// The rest of a call of `name` over all of `item`.
fn list(
    parser: &mut Parser<'_>,
    name: &str,
    item: Expr,
    otherwise: &'static str,
    span: Span,
) -> Result<Expr, ParserError> {
    let nulls = on_null(parser, otherwise)?;
    parser.expect_token(&Token::RParen)?;
    Ok(call(name, vec![call("ARRAY_AGG", vec![item], span), string(nulls.into())], span))
}
