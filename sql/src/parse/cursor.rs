//! A place in a statement's tokens: what DDL parsing reads with.

use std::ops::Range;

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Name, Text};
use crate::error::SqlError;

/// See the module's page.
pub(crate) struct Cursor<'a> {
    text: &'a Text<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
    /// The first `>` of a `>>` was taken.
    half_shift: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a Text<'a>, tokens: &'a [TokenWithSpan]) -> Self {
        Self { text, tokens, at: 0, half_shift: false }
    }

    pub fn text(&self) -> &'a Text<'a> {
        self.text
    }

    pub fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.at..]
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    pub fn peek(&self) -> &'a Token {
        self.tokens.get(self.at).map_or(&Token::EOF, |token| &token.token)
    }

    pub fn next(&mut self) -> &'a Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len());
        token
    }

    /// Where the next token stands; after the last one, behind it.
    pub fn range(&self) -> Range<usize> {
        match self.tokens.get(self.at) {
            Some(token) => self.text.range(token.span),
            None => self.tokens.last().map_or(0..0, |last| {
                let end = self.text.range(last.span).end;
                end..end
            }),
        }
    }

    /// From the next token to the last.
    pub fn rest_range(&self) -> Range<usize> {
        let end = self.tokens.last().map_or(0, |last| self.text.range(last.span).end);
        self.range().start..end
    }

    pub fn error(&self, message: impl Into<String>) -> SqlError {
        SqlError::at(message, self.text.as_str(), self.range())
    }

    pub fn error_at(&self, message: impl Into<String>, range: Range<usize>) -> SqlError {
        SqlError::at(message, self.text.as_str(), range)
    }

    /// What stands here, for messages.
    pub fn describe(&self) -> String {
        match self.peek() {
            Token::EOF => "the end of the statement".into(),
            _ => format!("'{}'", self.text.slice(&self.range())),
        }
    }

    pub fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead).map(|token| &token.token),
            Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// Steps over `words` if all of them come next.
    pub fn take_words(&mut self, words: &[&str]) -> bool {
        let all = words.iter().enumerate().all(|(ahead, word)| self.is_word_at(ahead, word));
        if all {
            self.at += words.len();
        }
        all
    }

    pub fn take(&mut self, token: &Token) -> bool {
        let is = self.peek() == token;
        if is {
            self.at += 1;
        }
        is
    }

    pub fn expect(&mut self, token: &Token, what: &str) -> Result<(), SqlError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.error(format!("found {} where {what} is expected", self.describe())))
        }
    }

    pub fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.take_words(&[word]) {
            Ok(())
        } else {
            Err(self.error(format!("found {} where {word} is expected", self.describe())))
        }
    }

    pub fn expect_end(&self) -> Result<(), SqlError> {
        if self.is_at_end() {
            return Ok(());
        }
        Err(self
            .error(format!("found {} after the end of the statement", self.describe()))
            .remedy("separate statements with ';'"))
    }

    /// Steps over the `>` that closes a type's arguments; `>>` closes two.
    pub fn expect_close_angle(&mut self) -> Result<(), SqlError> {
        if self.half_shift {
            self.half_shift = false;
            self.at += 1;
            return Ok(());
        }
        if self.peek() == &Token::ShiftRight {
            self.half_shift = true;
            return Ok(());
        }
        self.expect(&Token::Gt, "'>'")
    }

    pub fn identifier(&mut self, what: &str) -> Result<Name, SqlError> {
        let range = self.range();
        match self.peek() {
            Token::Word(word) => {
                self.at += 1;
                Ok(Name { text: word.value.clone(), range })
            }
            _ => Err(self.error(format!("found {} where {what} is expected", self.describe()))),
        }
    }

    /// A table's name; catalog and database in front of it are Flink's and mean nothing here.
    pub fn table_name(&mut self) -> Result<Name, SqlError> {
        let mut name = self.identifier("the name of a table")?;
        while self.take(&Token::Period) {
            let last = self.identifier("the name of a table")?;
            name = Name { text: last.text, range: name.range.start..last.range.end };
        }
        Ok(name)
    }

    pub fn string(&mut self, what: &str) -> Result<Name, SqlError> {
        let range = self.range();
        match self.peek() {
            Token::SingleQuotedString(value) => {
                self.at += 1;
                Ok(Name { text: value.clone(), range })
            }
            _ => Err(self
                .error(format!("found {} where {what} is expected", self.describe()))
                .remedy("put it in single quotes")),
        }
    }

    /// `'a.b'`, or a.b as Flink's client takes it.
    pub fn option_name(&mut self) -> Result<Name, SqlError> {
        if matches!(self.peek(), Token::SingleQuotedString(_)) {
            return self.string("the key of an option");
        }
        let start = self.range().start;
        let mut end = start;
        while !self.is_at_end() && self.peek() != &Token::Eq {
            end = self.range().end;
            self.at += 1;
        }
        let range = start..end;
        let text = self.text.slice(&range).to_owned();
        if text.is_empty() {
            return Err(self.error("the key is missing").remedy("'key' = 'value'"));
        }
        Ok(Name { text, range })
    }

    pub fn option_value(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::Number(value, _) => {
                self.at += 1;
                Ok(value.clone())
            }
            Token::Word(word) => {
                self.at += 1;
                Ok(word.value.clone())
            }
            _ => Ok(self.string("a value in single quotes")?.text),
        }
    }

    pub fn number(&mut self, what: &str) -> Result<u32, SqlError> {
        let error = self.error(format!("found {} where {what} is expected", self.describe()));
        match self.next() {
            Token::Number(value, _) => value.parse().map_err(|_| error),
            _ => Err(error),
        }
    }

    /// The tokens up to a comma or bracket that belongs to what is around, or to the word `stop`.
    pub fn take_expression(&mut self, stop: &str) -> &'a [TokenWithSpan] {
        let start = self.at;
        let mut depth = 0_usize;
        while !self.is_at_end() {
            match self.peek() {
                Token::LParen => depth += 1,
                Token::RParen | Token::Comma if depth == 0 => break,
                Token::RParen => depth -= 1,
                _ if depth == 0 && self.is_word(stop) => break,
                _ => {}
            }
            self.at += 1;
        }
        &self.tokens[start..self.at]
    }
}
