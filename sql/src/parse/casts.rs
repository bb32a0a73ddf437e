//! `CAST(expr AS type)` with the types that have parts as Flink writes them: `ARRAY<…>`, `MAP<…, …>` and `ROW<name type, …>`,
//! which sqlparser knows under other names. plan/types.rs makes Arrow's types of them.

use sqlparser::ast::{ArrayElemTypeDef, CastKind, DataType, Expr, StructBracketKind, StructField};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The cast that starts here.
pub(super) fn prefix(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    let kind = match word.keyword {
        Keyword::CAST => CastKind::Cast,
        Keyword::TRY_CAST => CastKind::TryCast,
        _ => return None,
    };
    if word.quote_style.is_some() || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    parser.next_token();
    parser.next_token();
    Some(cast(parser, kind))
}

fn cast(parser: &mut Parser<'_>, kind: CastKind) -> Result<Expr, ParserError> {
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword_is(Keyword::AS)?;
    let (data_type, is_closed) = data_type(parser)?;
    if is_closed {
        return parser.expected("a type before '>'", parser.peek_token());
    }
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
}

/// A type, and whether the bracket behind it went with it: the tokenizer takes `>>` for one token.
fn data_type(parser: &mut Parser<'_>) -> Result<(DataType, bool), ParserError> {
    let Token::Word(word) = &parser.peek_token_ref().token else {
        return Ok((parser.parse_data_type()?, false));
    };
    let name = if word.quote_style.is_none() { word.value.to_ascii_uppercase() } else { String::new() };
    let opens = parser.peek_nth_token_ref(1).token.clone();
    let (data_type, is_closed) = match (name.as_str(), opens) {
        ("ARRAY", Token::Lt) => {
            open(parser);
            let (item, is_closed) = data_type(parser)?;
            (DataType::Array(ArrayElemTypeDef::AngleBracket(Box::new(item))), close(parser, is_closed)?)
        }
        ("MAP", Token::Lt) => {
            open(parser);
            let (key, _) = data_type(parser)?;
            parser.expect_token(&Token::Comma)?;
            let (value, is_closed) = data_type(parser)?;
            (DataType::Map(Box::new(key), Box::new(value)), close(parser, is_closed)?)
        }
        ("ROW", Token::Lt) => {
            open(parser);
            let (fields, is_closed) = fields(parser)?;
            (DataType::Struct(fields, StructBracketKind::AngleBrackets), close(parser, is_closed)?)
        }
        ("ROW", Token::LParen) => {
            open(parser);
            let (fields, _) = fields(parser)?;
            parser.expect_token(&Token::RParen)?;
            (DataType::Struct(fields, StructBracketKind::Parentheses), false)
        }
        _ => (parser.parse_data_type()?, false),
    };
    // Every value may be NULL once it is cast: what a type says about it is read and has no meaning.
    if !is_closed && !parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
        let _ = parser.parse_keyword(Keyword::NULL);
    }
    Ok((data_type, is_closed))
}

fn open(parser: &mut Parser<'_>) {
    parser.next_token();
    parser.next_token();
}

/// Takes `>` unless the part before took it; whether the next one outwards went too.
fn close(parser: &mut Parser<'_>, is_closed: bool) -> Result<bool, ParserError> {
    if is_closed {
        return Ok(false);
    }
    if parser.consume_token(&Token::ShiftRight) {
        return Ok(true);
    }
    parser.expect_token(&Token::Gt)?;
    Ok(false)
}

fn fields(parser: &mut Parser<'_>) -> Result<(Vec<StructField>, bool), ParserError> {
    let mut fields = Vec::new();
    loop {
        let field_name = Some(parser.parse_identifier()?);
        let (field_type, is_closed) = data_type(parser)?;
        fields.push(StructField { field_name, field_type, options: None });
        if is_closed || !parser.consume_token(&Token::Comma) {
            return Ok((fields, is_closed));
        }
    }
}
