//! Calls of functions in the syntax tree, which syntax of Flink's own is brought into.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Value,
};
use sqlparser::tokenizer::Span;

/// `name(arguments)`, found at `span`.
pub(crate) fn call(name: &str, arguments: Vec<Expr>, span: Span) -> Expr {
    let args =
        arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(span, name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The arguments of a call, if none is named or a query.
pub(crate) fn arguments_of(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let of = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(of).collect()
}

/// `'text'`
pub(crate) fn string(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

/// A number as it is written.
pub(crate) fn number(text: &str) -> Expr {
    Expr::Value(Value::Number(text.into(), false).into())
}
