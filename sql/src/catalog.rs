//! What a text has declared so far: tables and views.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_schema::DataType;
use sqlparser::ast;

use crate::parse::Name;

/// A `CREATE TABLE`, as written.
#[derive(Debug)]
pub(crate) struct TableDefinition {
    pub name: Name,
    pub columns: Vec<ColumnDefinition>,
    pub watermark: Option<Watermark>,
    pub primary_key: Vec<Name>,
    pub options: BTreeMap<String, String>,
    /// Where each option stands, by its key.
    pub option_ranges: BTreeMap<String, Range<usize>>,
}

#[derive(Debug)]
pub(crate) struct ColumnDefinition {
    pub name: Name,
    pub kind: ColumnKind,
}

// A handful exist for as long as a text is compiled.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(crate) enum ColumnKind {
    /// Part of the payload.
    Physical { data_type: DataType, nullable: bool },
    /// `METADATA [FROM key] [VIRTUAL]`: from the connector, beside the payload.
    Metadata { data_type: DataType, nullable: bool, key: Name, is_virtual: bool },
    /// `AS expression`: computed from the others.
    Computed { expression: ast::Expr, range: Range<usize> },
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug)]
pub(crate) struct Watermark {
    pub column: Name,
    pub expression: ast::Expr,
}
