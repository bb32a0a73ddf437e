//! From text to statements: tokens with places, statements split at semicolons, DDL read by our own parser, queries
//! handed to sqlparser.
//!
//! Invariant: every token keeps its place in the text the user wrote, so that errors of all later steps can point
//! there. Statements go to the session (session.rs), which plans them in order.

mod between;
mod calls;
mod casts;
mod collections;
pub(crate) mod cursor;
mod ddl;
mod dialect;
mod json;
mod json_aggregates;
mod queries;
mod text;
mod tokens;
mod trim;
pub(crate) mod types;
mod variables;

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::catalog::TableDefinition;
use crate::error::SqlError;
use crate::program::Variables;
use cursor::Cursor;

pub(crate) use calls::{arguments_of, call, number, string};
pub(crate) use queries::select_from;
pub(crate) use text::Text;
pub(crate) use tokens::{ASOF_LEFT, PARTITION_ARGUMENT, QUERY, WITHIN};

/// One statement of a text.
#[derive(Debug)]
pub(crate) enum Statement {
    CreateTable {
        definition: Box<TableDefinition>,
        if_not_exists: bool,
    },
    CreateView {
        name: Name,
        columns: Vec<String>,
        query: Box<ast::Query>,
        if_not_exists: bool,
        or_replace: bool,
    },
    /// `CREATE FUNCTION name AS 'class'`.
    CreateFunction {
        name: Name,
    },
    Drop {
        name: Name,
        if_exists: bool,
    },
    Insert {
        table: Name,
        columns: Vec<Name>,
        query: Box<ast::Query>,
    },
    Query(Box<ast::Query>),
    Explain(Box<Statement>),
    Set {
        key: Name,
        value: String,
    },
    Reset,
}

/// A name and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub text: String,
    pub range: std::ops::Range<usize>,
}

/// All statements of `text`, each with the range it covers.
///
/// # Errors
/// At the first token that does not belong.
pub(crate) fn statements(
    text: &Text<'_>,
    variables: &Variables,
) -> Result<Vec<(Statement, std::ops::Range<usize>)>, SqlError> {
    let tokens = tokens::tokenize(text, variables)?;
    let mut statements = Vec::new();
    for piece in tokens::split(&tokens) {
        let mut cursor = Cursor::new(text, piece);
        skip_statement_set(&mut cursor);
        if cursor.is_at_end() {
            continue;
        }
        let range = cursor.rest_range();
        statements.push((statement(&mut cursor)?, range));
    }
    Ok(statements)
}

/// All `INSERT`s of a text run together anyway, so the brackets of a statement set change nothing.
fn skip_statement_set(cursor: &mut Cursor<'_>) {
    if cursor.take_words(&["EXECUTE", "STATEMENT", "SET", "BEGIN"])
        || cursor.take_words(&["BEGIN", "STATEMENT", "SET"])
    {
        return;
    }
    if cursor.rest().len() == 1 {
        cursor.take_words(&["END"]);
    }
}

fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.take_words(&["CREATE"]) {
        return ddl::create(cursor);
    }
    if cursor.take_words(&["DROP"]) {
        return ddl::drop(cursor);
    }
    if cursor.take_words(&["SET"]) {
        if cursor.is_at_end() {
            return Err(cursor.error("SET needs a key and a value").remedy("SET 'pipeline.name' = 'fleet';"));
        }
        let key = cursor.option_name()?;
        cursor.expect(&Token::Eq, "'=' after the key of SET")?;
        let value = cursor.option_value()?;
        cursor.expect_end()?;
        return Ok(Statement::Set { key, value });
    }
    if cursor.take_words(&["RESET"]) {
        return Ok(Statement::Reset);
    }
    if cursor.take_words(&["EXPLAIN"]) {
        let _ = cursor.take_words(&["PLAN", "FOR"]);
        if cursor.is_at_end() {
            return Err(cursor
                .error("EXPLAIN needs a statement")
                .remedy("EXPLAIN SELECT … or EXPLAIN INSERT INTO …"));
        }
        return Ok(Statement::Explain(Box::new(statement(cursor)?)));
    }
    if cursor.take_words(&["INSERT"]) {
        return insert(cursor);
    }
    let starts_query = ["SELECT", "WITH", "VALUES", "FROM"].iter().any(|word| cursor.is_word(word));
    if starts_query || cursor.peek() == &Token::LParen {
        return Ok(Statement::Query(query(cursor)?));
    }
    Err(cursor.error(format!("a statement cannot start with {}", cursor.describe())).remedy(
        "statements are CREATE TABLE, CREATE VIEW, DROP, INSERT INTO, SELECT, EXPLAIN and SET, ended by ';'",
    ))
}

fn insert(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.is_word("OVERWRITE") {
        return Err(cursor.error("INSERT OVERWRITE is for batch tables").remedy("write INSERT INTO"));
    }
    cursor.expect_word("INTO")?;
    let table = cursor.table_name()?;
    let mut columns = Vec::new();
    let next_is_query = || {
        let words = cursor.rest().iter().skip(1).map(|token| &token.token);
        let word = words.into_iter().find(|token| **token != Token::LParen);
        matches!(word, Some(Token::Word(w)) if matches!(w.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES))
    };
    if cursor.peek() == &Token::LParen && !next_is_query() {
        cursor.next();
        loop {
            columns.push(cursor.identifier("a column of the table")?);
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen, "')' after the columns")?;
    }
    Ok(Statement::Insert { table, columns, query: query(cursor)? })
}

/// The query that all remaining tokens make.
pub(crate) fn query(cursor: &mut Cursor<'_>) -> Result<Box<ast::Query>, SqlError> {
    let tokens = tokens::for_queries(cursor.rest());
    parse_all(cursor, tokens, |parser| parser.parse_query())
}

/// The expression that `tokens` make.
pub(crate) fn expression(cursor: &Cursor<'_>, tokens: &[TokenWithSpan]) -> Result<ast::Expr, SqlError> {
    parse_all(cursor, tokens.to_vec(), |parser| parser.parse_expr())
}

/// Words, values and signs of one statement, commas not counted.
const TOKENS_MAX: usize = 20_000;

fn parse_all<T>(
    cursor: &Cursor<'_>,
    tokens: Vec<TokenWithSpan>,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, SqlError> {
    let text = cursor.text();
    let end = tokens.last().map_or(cursor.range(), |token| text.range(token.span));
    // A chain of operators makes a tree as deep as it is long, without recursion of the parser; what walks the tree
    // recurses, so its depth is bounded here for the stack it has (lib.rs). What may run is bounded in plan/check.rs.
    if tokens.iter().filter(|token| !matches!(token.token, Token::Comma | Token::Period)).count() > TOKENS_MAX
    {
        return Err(SqlError::at(
            format!("the statement has more than {TOKENS_MAX} words and signs"),
            text.as_str(),
            end,
        )
        .remedy("cut it into views, or read long lists from a file"));
    }
    let mut parser = Parser::new(&dialect::Flink).with_recursion_limit(60).with_tokens_with_locations(tokens);
    let result = parse(&mut parser).and_then(|value| match parser.peek_token() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(value),
        other => parser.expected("the end of the statement", other),
    });
    result.map_err(|error| parse_error(text, error, end))
}

fn parse_error(text: &Text<'_>, error: ParserError, end: std::ops::Range<usize>) -> SqlError {
    let message = match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return SqlError::at("the query is nested too deeply", text.as_str(), end)
                .remedy("cut it into views");
        }
    };
    // sqlparser writes the place behind the message: " at Line: 3, Column: 7".
    let (message, place) =
        message.split_once(" at Line: ").map_or((message.as_str(), None), |(head, tail)| {
            let numbers =
                tail.split_once(", Column: ").map(|(line, column)| (line.parse(), column.trim().parse()));
            (head, numbers.and_then(|(line, column)| Some((line.ok()?, column.ok()?))))
        });
    let at_end = message.contains("found: EOF");
    let range = match place {
        Some((line, column)) if !at_end => text.word_at(line, column),
        _ => end,
    };
    let message = message.strip_prefix("Expected: ").map_or_else(
        || message.to_owned(),
        |rest| match rest.split_once(", found: ") {
            Some((wanted, "EOF")) => format!("the statement ends where {wanted} is expected"),
            Some((wanted, found)) => format!("found '{found}' where {wanted} is expected"),
            None => format!("expected {rest}"),
        },
    );
    SqlError::at(message, text.as_str(), range)
}
