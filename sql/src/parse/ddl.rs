//! `CREATE TABLE`, `CREATE VIEW`, `CREATE FUNCTION` and `DROP`.

use std::collections::BTreeMap;

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::types::data_type;
use super::{Name, Statement, expression, query};
use crate::catalog::{ColumnDefinition, ColumnKind, TableDefinition, Watermark};
use crate::error::SqlError;

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let or_replace = cursor.take_words(&["OR", "REPLACE"]);
    let _ = cursor.take_words(&["TEMPORARY"]);
    let _ = cursor.take_words(&["SYSTEM"]);
    if cursor.take_words(&["FUNCTION"]) {
        return function(cursor);
    }
    let is_view = cursor.take_words(&["VIEW"]);
    if !is_view && !cursor.take_words(&["TABLE"]) {
        return Err(cursor
            .error(format!("CREATE cannot be followed by {}", cursor.describe()))
            .remedy("CREATE TABLE and CREATE VIEW are supported"));
    }
    let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    if is_view {
        return view(cursor, name, if_not_exists, or_replace);
    }
    let definition = Box::new(table(cursor, name)?);
    Ok(Statement::CreateTable { definition, if_not_exists })
}

pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let _ = cursor.take_words(&["TEMPORARY"]);
    if !cursor.take_words(&["VIEW"]) && !cursor.take_words(&["TABLE"]) {
        return Err(cursor
            .error(format!("DROP cannot be followed by {}", cursor.describe()))
            .remedy("DROP TABLE or DROP VIEW"));
    }
    let if_exists = cursor.take_words(&["IF", "EXISTS"]);
    let name = cursor.table_name()?;
    cursor.expect_end()?;
    Ok(Statement::Drop { name, if_exists })
}

/// The class is Flink's to load; here the program has a function of the name, or the statement is refused.
fn function(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let _ = cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    cursor.expect_word("AS")?;
    cursor.string("the class of the function")?;
    if cursor.take_words(&["LANGUAGE"]) {
        cursor.identifier("JAVA, SCALA or PYTHON")?;
    }
    cursor.expect_end()?;
    Ok(Statement::CreateFunction { name })
}

fn view(
    cursor: &mut Cursor<'_>,
    name: Name,
    if_not_exists: bool,
    or_replace: bool,
) -> Result<Statement, SqlError> {
    let mut columns = Vec::new();
    if cursor.take(&Token::LParen) {
        loop {
            columns.push(cursor.identifier("the name of a column")?.text);
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen, "')' after the view's columns")?;
    }
    if cursor.take_words(&["COMMENT"]) {
        cursor.string("a comment")?;
    }
    cursor.expect_word("AS")?;
    Ok(Statement::CreateView { name, columns, query: query(cursor)?, if_not_exists, or_replace })
}

fn table(cursor: &mut Cursor<'_>, name: Name) -> Result<TableDefinition, SqlError> {
    let mut table = TableDefinition {
        name,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        options: BTreeMap::new(),
        option_ranges: BTreeMap::new(),
    };
    if cursor.is_word("AS") || cursor.is_word("LIKE") {
        return Err(cursor
            .error(format!("CREATE TABLE … {} is not supported", cursor.describe().to_uppercase()))
            .remedy("list the columns, then the options: CREATE TABLE t (a INT) WITH ('connector' = '…')"));
    }
    cursor.expect(&Token::LParen, "'(' before the columns")?;
    loop {
        element(cursor, &mut table)?;
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "',' or ')' after a column")?;
    if cursor.take_words(&["COMMENT"]) {
        cursor.string("a comment")?;
    }
    if cursor.is_word("DISTRIBUTED") {
        return Err(cursor.error("tables have no buckets here").remedy("leave the clause out"));
    }
    if cursor.is_word("PARTITIONED") {
        partitions(cursor, &mut table)?;
    }
    if cursor.take_words(&["WITH"]) {
        options(cursor, &mut table)?;
    }
    cursor.expect_end()?;
    for key in &table.primary_key {
        if !table.columns.iter().any(|column| column.name.text == key.text) {
            return Err(cursor.error_at(
                format!("the primary key names '{}', which is no column", key.text),
                key.range.clone(),
            ));
        }
    }
    Ok(table)
}

/// `PARTITIONED BY (a, b)` is the option of the connector that writes partitions.
fn partitions(cursor: &mut Cursor<'_>, table: &mut TableDefinition) -> Result<(), SqlError> {
    const OPTION: &str = "sink.partition-by";
    let start = cursor.range();
    let _ = cursor.take_words(&["PARTITIONED"]);
    cursor.expect_word("BY")?;
    cursor.expect(&Token::LParen, "'(' before the columns that partitions are by")?;
    let mut names = Vec::new();
    let end = loop {
        let name = cursor.identifier("a column of the table")?;
        let end = name.range.end;
        if !table.columns.iter().any(|column| column.name.text == name.text) {
            return Err(cursor
                .error_at(format!("PARTITIONED BY names '{}', which is no column", name.text), name.range));
        }
        names.push(name.text);
        if !cursor.take(&Token::Comma) {
            break end;
        }
    };
    cursor.expect(&Token::RParen, "',' or ')' after a column")?;
    table.options.insert(OPTION.to_owned(), names.join(", "));
    table.option_ranges.insert(OPTION.to_owned(), start.start..end);
    Ok(())
}

fn element(cursor: &mut Cursor<'_>, table: &mut TableDefinition) -> Result<(), SqlError> {
    if cursor.is_word("WATERMARK") && cursor.is_word_at(1, "FOR") {
        let range = cursor.range();
        let _ = cursor.take_words(&["WATERMARK", "FOR"]);
        let column = cursor.identifier("the event-time column")?;
        cursor.expect_word("AS")?;
        let tokens = cursor.take_expression("COMMENT");
        if table.watermark.is_some() {
            return Err(cursor.error_at("the table has two watermarks", range).remedy("keep one"));
        }
        table.watermark = Some(Watermark { column, expression: expression(cursor, tokens)? });
        return Ok(());
    }
    if cursor.take_words(&["CONSTRAINT"]) {
        cursor.identifier("the name of the constraint")?;
    }
    if cursor.take_words(&["PRIMARY", "KEY"]) {
        cursor.expect(&Token::LParen, "'(' before the key's columns")?;
        loop {
            table.primary_key.push(cursor.identifier("a column of the key")?);
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen, "')' after the key's columns")?;
        return not_enforced(cursor);
    }
    column(cursor, table)
}

fn not_enforced(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.take_words(&["NOT", "ENFORCED"]) {
        return Ok(());
    }
    Err(cursor
        .error("nobody checks this primary key, and the declaration has to say so")
        .remedy("PRIMARY KEY (…) NOT ENFORCED"))
}

fn column(cursor: &mut Cursor<'_>, table: &mut TableDefinition) -> Result<(), SqlError> {
    let name = cursor.identifier("a column, WATERMARK FOR or PRIMARY KEY")?;
    if let Some(first) = table.columns.iter().find(|column| column.name.text == name.text) {
        return Err(
            cursor.error_at(format!("the column '{}' is declared twice", first.name.text), name.range)
        );
    }
    let kind = if cursor.take_words(&["AS"]) {
        let start = cursor.range();
        let tokens = cursor.take_expression("COMMENT");
        let written =
            tokens.last().map_or(start.clone(), |last| start.start..cursor.text().range(last.span).end);
        ColumnKind::Computed { expression: expression(cursor, tokens)?, range: written }
    } else {
        let (data_type, nullable) = data_type(cursor)?;
        if cursor.take_words(&["METADATA"]) {
            let key = if cursor.take_words(&["FROM"]) {
                cursor.string("the key of the metadata")?
            } else {
                name.clone()
            };
            let is_virtual = cursor.take_words(&["VIRTUAL"]);
            ColumnKind::Metadata { data_type, nullable, key, is_virtual }
        } else {
            ColumnKind::Physical { data_type, nullable }
        }
    };
    if cursor.take_words(&["PRIMARY", "KEY"]) {
        not_enforced(cursor)?;
        table.primary_key.push(name.clone());
    }
    if cursor.take_words(&["COMMENT"]) {
        cursor.string("a comment")?;
    }
    table.columns.push(ColumnDefinition { name, kind });
    Ok(())
}

fn options(cursor: &mut Cursor<'_>, table: &mut TableDefinition) -> Result<(), SqlError> {
    cursor.expect(&Token::LParen, "'(' after WITH")?;
    loop {
        let key = cursor.string("an option's key in single quotes")?;
        cursor.expect(&Token::Eq, "'=' after the option's key")?;
        let value = cursor.string("the option's value in single quotes")?;
        if table.options.insert(key.text.clone(), value.text).is_some() {
            return Err(cursor.error_at(format!("the option '{}' is given twice", key.text), key.range));
        }
        table.option_ranges.insert(key.text, key.range.start..value.range.end);
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "',' or ')' after an option")
}
