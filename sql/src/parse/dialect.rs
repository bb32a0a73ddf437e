//! Flink's lexical rules for sqlparser: back ticks quote names, single quotes quote strings, names keep their case.

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::parser::{Parser, ParserError};

use super::{between, casts, collections, json, json_aggregates, trim};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Flink;

impl Dialect for Flink {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        json::prefix(parser)
            .or_else(|| json_aggregates::prefix(parser))
            .or_else(|| collections::prefix(parser))
            .or_else(|| casts::prefix(parser))
            .or_else(|| trim::prefix(parser))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        json::test(parser, expr)
            .or_else(|| between::infix(parser, expr, self.prec_value(Precedence::Between)))
    }
}
