//! `LAG(v, n, default) OVER w`: the default where there are not so many rows before.
//!
//! It becomes `CASE WHEN COUNT(1) OVER w > n THEN LAG(v, n) OVER w ELSE default END`. A value that is NULL is one, and the default
//! is that of the row that asks. Flink: LagAggFunction.

use sqlparser::ast::{self, BinaryOperator, Expr, Function, Spanned, Value};

use super::ranking::LAG;
use crate::parse::{arguments_of, call, number};

/// LAG with a default without one, if `expr` is it.
pub(super) fn with_default(expr: &Expr) -> Option<Expr> {
    let Expr::Function(lag) = expr else { return None };
    if lag.over.is_none() || !lag.name.to_string().eq_ignore_ascii_case(LAG) {
        return None;
    }
    let [value, rows, default] = <[Expr; 3]>::try_from(arguments_of(lag)?).ok()?;
    if !matches!(&rows, Expr::Value(rows) if matches!(rows.value, Value::Number(..))) {
        return None;
    }
    let over = |name: &str, arguments: Vec<Expr>| match call(name, arguments, lag.name.span()) {
        Expr::Function(function) => Expr::Function(Function { over: lag.over.clone(), ..function }),
        other => other,
    };
    let has_rows = Expr::BinaryOp {
        left: Box::new(over("COUNT", vec![number("1")])),
        op: BinaryOperator::Gt,
        right: Box::new(rows.clone()),
    };
    Some(Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition: has_rows, result: over(LAG, vec![value, rows]) }],
        else_result: Some(Box::new(default)),
    })
}
