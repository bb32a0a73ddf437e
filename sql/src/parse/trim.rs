//! `TRIM({BOTH | LEADING | TRAILING} FROM s)`, the one form of TRIM that sqlparser does not know: blanks go.

use sqlparser::ast::{Expr, TrimWhereField};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The call of that form that starts here.
pub(super) fn prefix(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let keyword_at = |at: usize| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    let trim_where = match keyword_at(2)? {
        Keyword::BOTH => TrimWhereField::Both,
        Keyword::LEADING => TrimWhereField::Leading,
        Keyword::TRAILING => TrimWhereField::Trailing,
        _ => return None,
    };
    let is_call = keyword_at(0) == Some(Keyword::TRIM) && parser.peek_nth_token_ref(1).token == Token::LParen;
    if !is_call || keyword_at(3) != Some(Keyword::FROM) {
        return None;
    }
    for _ in 0..4 {
        parser.next_token();
    }
    Some(parser.parse_expr().and_then(|expr| {
        parser.expect_token(&Token::RParen)?;
        let trim_where = Some(trim_where);
        Ok(Expr::Trim { expr: Box::new(expr), trim_where, trim_what: None, trim_characters: None })
    }))
}
