//! `expr [NOT] BETWEEN {SYMMETRIC | ASYMMETRIC} a AND b`, which sqlparser does not know. The first takes the ends in either
//! order.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The rest of such a condition on `expr`, if one starts here; `precedence` is that of BETWEEN.
pub(super) fn infix(
    parser: &mut Parser<'_>,
    expr: &Expr,
    precedence: u8,
) -> Option<Result<Expr, ParserError>> {
    let is_word = |at: usize, wanted: &str| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let negated = is_word(0, "NOT");
    let between = usize::from(negated);
    if !is_word(between, "BETWEEN") {
        return None;
    }
    let is_symmetric = is_word(between + 1, "SYMMETRIC");
    if !is_symmetric && !is_word(between + 1, "ASYMMETRIC") {
        return None;
    }
    // What follows `SYMMETRIC` of a column of that name is AND.
    if is_word(between + 2, "AND") {
        return None;
    }
    (0..between + 2).for_each(|_| {
        parser.next_token();
    });
    Some(ends(parser, precedence).map(|(low, high)| condition(expr, low, high, is_symmetric, negated)))
}

fn ends(parser: &mut Parser<'_>, precedence: u8) -> Result<(Expr, Expr), ParserError> {
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword_is(Keyword::AND)?;
    Ok((low, parser.parse_subexpr(precedence)?))
}

fn condition(expr: &Expr, low: Expr, high: Expr, is_symmetric: bool, negated: bool) -> Expr {
    let between = |low: Expr, high: Expr| Expr::Between {
        expr: Box::new(expr.clone()),
        negated: false,
        low: Box::new(low),
        high: Box::new(high),
    };
    let inside = if is_symmetric {
        Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(between(low.clone(), high.clone())),
            op: BinaryOperator::Or,
            right: Box::new(between(high, low)),
        }))
    } else {
        between(low, high)
    };
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(inside) } } else { inside }
}
