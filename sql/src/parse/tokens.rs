//! Text to tokens with places, variables filled in; tokens to statements; and the few rewritings that bring Flink's
//! window table functions into the grammar that sqlparser knows.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::dialect::Flink;
use super::text::Text;
use super::variables::fill;
use crate::error::SqlError;
use crate::program::Variables;

/// The name under which `PARTITION BY a, b` of a window table function reaches the planner.
pub(crate) const PARTITION_ARGUMENT: &str = "__PARTITION_BY";

/// The name under which the time of `PATTERN (…) WITHIN …` reaches the planner: as one more definition.
pub(crate) const WITHIN: &str = "__WITHIN";

/// The name under which `(SELECT …) MATCH_RECOGNIZE` reaches the planner, `__QUERY((SELECT …)) MATCH_RECOGNIZE`.
pub(crate) const QUERY: &str = "__QUERY";

/// The name under which the condition of `ASOF LEFT JOIN` reaches the planner: `MATCH_CONDITION (__ASOF_LEFT(…))`.
pub(crate) const ASOF_LEFT: &str = "__ASOF_LEFT";

/// All tokens but blanks and comments.
pub(super) fn tokenize(text: &Text<'_>, variables: &Variables) -> Result<Vec<TokenWithSpan>, SqlError> {
    let raw = Tokenizer::new(&Flink, text.as_str()).tokenize_with_location().map_err(|error| {
        let range = text.word_at(error.location.line, error.location.column);
        SqlError::at(error.message, text.as_str(), range)
            .remedy("strings are in '…', names in `…`, comments after --")
    })?;
    let mut tokens: Vec<TokenWithSpan> = Vec::with_capacity(raw.len());
    let mut raw =
        raw.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).peekable();
    while let Some(mut token) = raw.next() {
        let range = text.range(token.span);
        let filled = |written: &str, range: std::ops::Range<usize>| {
            fill(written, variables)
                .map_err(|(message, remedy)| SqlError::at(message, text.as_str(), range).remedy(remedy))
        };
        match &mut token.token {
            Token::SingleQuotedString(value) if value.contains("${") => *value = filled(value, range)?,
            Token::Placeholder(name)
                if name.starts_with('$') && text.as_str()[range.start..].starts_with("${") =>
            {
                let written = text.as_str()[range.start..].split_inclusive('}').next().unwrap_or_default();
                let end = range.start + written.len();
                let value = filled(written, range.start..end)?;
                while raw.peek().is_some_and(|next| text.range(next.span).start < end) {
                    raw.next();
                }
                let inside = Tokenizer::new(&Flink, &value).tokenize().unwrap_or_default();
                let inside = inside.into_iter().filter(|token| !matches!(token, Token::Whitespace(_)));
                tokens.extend(inside.map(|inner| TokenWithSpan { token: inner, span: token.span }));
                continue;
            }
            _ => {}
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// The tokens of each statement.
pub(super) fn split(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &[TokenWithSpan]> {
    tokens.split(|token| token.token == Token::SemiColon).filter(|piece| !piece.is_empty())
}

/// The tokens of a query in the grammar that sqlparser knows.
pub(super) fn for_queries(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    with_kinds_of_asof(&with_partitions(&with_time_of_patterns(&with_queries_of_patterns(tokens))))
}

/// Rewrites `ASOF LEFT JOIN t MATCH_CONDITION (…)` to `ASOF JOIN t MATCH_CONDITION (__ASOF_LEFT(…))`, because sqlparser knows
/// one kind alone.
fn with_kinds_of_asof(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let (mut at, mut is_left, mut ends) = (0, false, Vec::new());
    while at < tokens.len() {
        let place = |token| TokenWithSpan { token, span: tokens[at].span };
        if ends.last() == Some(&at) {
            ends.pop();
            out.push(place(Token::RParen));
        }
        out.push(tokens[at].clone());
        if is(tokens, at, Keyword::ASOF) {
            is_left = is(tokens, at + 1, Keyword::LEFT);
            let outer = is_left && is(tokens, at + 2, Keyword::OUTER);
            at += usize::from(is_left || is(tokens, at + 1, Keyword::INNER)) + usize::from(outer);
        } else if is_left && is(tokens, at, Keyword::MATCH_CONDITION) {
            let mut depth = 0;
            let end = tokens[at + 1..].iter().position(|token| {
                depth += i32::from(token.token == Token::LParen) - i32::from(token.token == Token::RParen);
                depth == 0
            });
            if let Some(end) = end.filter(|end| *end > 0) {
                ends.push(at + 1 + end);
                out.extend([
                    tokens[at + 1].clone(),
                    place(Token::make_word(ASOF_LEFT, None)),
                    place(Token::LParen),
                ]);
                at += 1;
            }
            is_left = false;
        }
        at += 1;
    }
    out
}

/// Rewrites `(SELECT …) MATCH_RECOGNIZE` to `__QUERY((SELECT …)) MATCH_RECOGNIZE`, because sqlparser takes a pattern behind a
/// name alone.
fn with_queries_of_patterns(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let follows_query = is(tokens, at, Keyword::MATCH_RECOGNIZE)
            && out.last().is_some_and(|last| last.token == Token::RParen);
        if follows_query {
            let mut depth = 0;
            let start = out.iter().rposition(|token| {
                depth += i32::from(token.token == Token::RParen) - i32::from(token.token == Token::LParen);
                depth == 0
            });
            let is_query = |start: &usize| {
                let first = start + 1;
                is(&out, first, Keyword::SELECT)
                    || is(&out, first, Keyword::WITH)
                    || is(&out, first, Keyword::VALUES)
            };
            if let Some(start) = start.filter(is_query) {
                let place = |token| TokenWithSpan { token, span: out[start].span };
                let head = [place(Token::make_word(QUERY, None)), place(Token::LParen)];
                let tail = place(Token::RParen);
                out.splice(start..start, head);
                out.push(tail);
            }
        }
        out.push(token.clone());
    }
    out
}

/// Rewrites `PATTERN (…) WITHIN … DEFINE …` to `PATTERN (…) DEFINE __WITHIN AS …, …`.
fn with_time_of_patterns(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while let Some(at) = (0..rest.len()).find(|at| is(rest, *at, Keyword::PATTERN)) {
        let (before, pattern) = rest.split_at(at);
        out.extend_from_slice(before);
        let mut depth = 0;
        let end = pattern.iter().skip(1).position(|token| {
            depth += i32::from(token.token == Token::LParen) - i32::from(token.token == Token::RParen);
            depth == 0
        });
        let end = end.map_or(pattern.len(), |end| end + 2);
        let define = (end..pattern.len()).find(|at| is(pattern, *at, Keyword::DEFINE));
        let Some(define) = define.filter(|_| is(pattern, end, Keyword::WITHIN)) else {
            out.extend_from_slice(&pattern[..1]);
            rest = &pattern[1..];
            continue;
        };
        let span = pattern[end].span;
        let place = |token| TokenWithSpan { token, span };
        out.extend_from_slice(&pattern[..end]);
        out.push(pattern[define].clone());
        out.extend([place(Token::make_word(WITHIN, None)), place(Token::make_keyword("AS"))]);
        out.extend_from_slice(&pattern[end + 1..define]);
        out.push(place(Token::Comma));
        rest = &pattern[define + 1..];
    }
    out.extend_from_slice(rest);
    out
}

/// Rewrites the argument `TABLE t PARTITION BY a, b` of a window table function to `t, __PARTITION_BY(a, b)`.
fn with_partitions(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let opens =
            matches!(out.last().map(|last| &last.token), Some(Token::LParen | Token::Comma | Token::RArrow));
        let names_table = opens
            && is(tokens, at, Keyword::TABLE)
            && matches!(tokens.get(at + 1).map(|next| &next.token), Some(Token::Word(_)));
        if !names_table {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += 1;
        while let Some(part) =
            tokens.get(at).filter(|part| matches!(part.token, Token::Word(_) | Token::Period))
        {
            if is(tokens, at, Keyword::PARTITION) {
                break;
            }
            out.push(part.clone());
            at += 1;
        }
        if is(tokens, at, Keyword::PARTITION) && is(tokens, at + 1, Keyword::BY) {
            let span = tokens[at].span;
            let place = |token| TokenWithSpan { token, span };
            out.extend([
                place(Token::Comma),
                place(Token::make_word(PARTITION_ARGUMENT, None)),
                place(Token::LParen),
            ]);
            at += 2;
            let bracketed = tokens.get(at).is_some_and(|token| token.token == Token::LParen);
            at += usize::from(bracketed);
            while let Some(token) = tokens.get(at).filter(|token| token.token != Token::RParen) {
                let ends = token.token == Token::Comma
                    && !bracketed
                    && matches!(
                        tokens.get(at + 2).map(|next| &next.token),
                        Some(Token::LParen | Token::RArrow)
                    );
                if ends {
                    break;
                }
                out.push(token.clone());
                at += 1;
            }
            at += usize::from(bracketed);
            out.push(place(Token::RParen));
        }
    }
    out
}

fn is(tokens: &[TokenWithSpan], at: usize, keyword: Keyword) -> bool {
    matches!(tokens.get(at).map(|token| &token.token), Some(Token::Word(word)) if word.keyword == keyword)
}
