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

/// Rewrites the argument `TABLE t PARTITION BY a, b` of a window table function to `t, __PARTITION_BY(a, b)`.
pub(super) fn for_queries(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
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
