//! Casts in the arguments of aggregates, under names of their own.
//!
//! DataFusion names an aggregate after its arguments and leaves casts out of the name, so that SUM(x) and
//! SUM(CAST(x AS FLOAT)) would be two columns of one name. rewrite.rs puts such casts into a call that carries the type
//! in its name; lowering takes it out again (lower/columns.rs), so that it never runs.

use std::ops::ControlFlow;

use arrow_schema::{DataType, FieldRef};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, VisitorMut};

use super::rewrite::walk;

/// Name of the function.
pub(super) const NAME: &str = "cast_as";

/// Wraps the casts in the arguments of `call`, an aggregate's; `wrap` makes the call of [`NAME`].
pub(super) fn name_casts(call: &mut ast::Function, wrap: fn(ast::Expr, String) -> ast::Expr) {
    let FunctionArguments::List(list) = &mut call.args else { return };
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument {
            walk(argument, &mut Wrap(wrap));
        }
    }
}

struct Wrap(fn(ast::Expr, String) -> ast::Expr);

impl VisitorMut for Wrap {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Cast { data_type, .. } = expr {
            let name = data_type.to_string();
            let cast = std::mem::replace(expr, ast::Expr::Value(ast::Value::Null.into()));
            *expr = (self.0)(cast, name);
        }
        ControlFlow::Continue(())
    }
}

/// The function that the calls are of.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(NamedCast { signature: Signature::any(2, Volatility::Immutable) })
}

/// What `expr` names, if it is a named cast.
pub(crate) fn named(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME => call.args.first(),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NamedCast {
    signature: Signature,
}

impl ScalarUDFImpl for NamedCast {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments.first().cloned().map_or_else(|| plan_err!("a cast has an argument"), Ok)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        arguments.arg_fields.first().cloned().map_or_else(|| plan_err!("a cast has an argument"), Ok)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        arguments.args.into_iter().next().map_or_else(|| plan_err!("a cast has an argument"), Ok)
    }
}
