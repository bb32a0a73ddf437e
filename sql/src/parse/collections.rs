//! `ARRAY[…]` and `MAP[…]` as calls of the functions array and map.

use sqlparser::ast::Expr;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::calls::call;

/// The array or map that starts here.
pub(super) fn prefix(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() || parser.peek_nth_token_ref(1).token != Token::LBracket {
        return None;
    }
    let name = ["array", "map"].into_iter().find(|known| known.eq_ignore_ascii_case(&word.value))?;
    let span = parser.next_token().span;
    parser.next_token();
    let items = if parser.peek_token_ref().token == Token::RBracket {
        Ok(Vec::new())
    } else {
        parser.parse_comma_separated(Parser::parse_expr)
    };
    Some(items.and_then(|items| {
        parser.expect_token(&Token::RBracket)?;
        Ok(call(name, items, span))
    }))
}
