//! The types of a plan's expressions, given by Flink's rules before DataFusion's own coercion would give them by its own.
//!
//! Expressions are visited from the leaves up, so that arguments have their final types. What becomes of them: calls of
//! our functions get their arguments cast; arithmetic with a DECIMAL becomes calls with Flink's result types; COALESCE,
//! IF and their kin become CASE where an argument must not be computed in vain; LIKE and SIMILAR TO become calls.
//! Everything else is coerced as DataFusion does it.

use arrow_schema::DataType;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRewriter};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, Like, ScalarFunction};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast, lit};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use super::cast::refused;
use super::conditional;
use super::function::Function;
use super::math::decimal::{Operation, shape_of};
use super::text::{like, similar_to};
use crate::plan::error::PlanError;
use crate::plan::keeping_names;
use millstream_engine::type_name;

/// Types a whole plan; the names of its columns stay.
pub(crate) fn type_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        let is_values = matches!(plan, LogicalPlan::Values(_));
        let typed =
            plan.map_expressions(|expr| keeping_names(expr, &names, &mut |expr| typed(expr, &schema)))?;
        // The columns of VALUES have one type each already, to which lowering casts.
        if is_values { Ok(typed) } else { typed.map_data(LogicalPlan::recompute_schema) }
    })
    .data()
}

/// Types an expression over the columns of `schema`.
pub(crate) fn type_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    typed(expr, schema).data()
}

fn typed(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.rewrite(&mut Typing { schema })
}

fn is_comparison(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom
    )
}

struct Typing<'a> {
    schema: &'a DFSchema,
}

impl TreeNodeRewriter for Typing<'_> {
    type Node = Expr;

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let expr = match expr {
            // Flink counts the zero in front of the point: 0.5 is DECIMAL(2, 1).
            Expr::Literal(ScalarValue::Decimal128(value, precision, scale), metadata)
                if scale > 0 && precision < 38 =>
            {
                let precision = precision.max(scale.unsigned_abs() + 1);
                return Ok(Transformed::yes(Expr::Literal(
                    ScalarValue::Decimal128(value, precision, scale),
                    metadata,
                )));
            }
            Expr::BinaryExpr(binary) => {
                let typed = match self.arithmetic(&binary)? {
                    None => self.rows_equal(&binary)?,
                    typed => typed,
                };
                match typed {
                    Some(typed) => return Ok(Transformed::yes(typed)),
                    None if is_comparison(binary.op) => {
                        let [left, right] = self.as_doubles([*binary.left, *binary.right])?;
                        Expr::BinaryExpr(BinaryExpr::new(Box::new(left), binary.op, Box::new(right)))
                    }
                    None => Expr::BinaryExpr(binary),
                }
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let [expr, low, high] = self.as_doubles([*expr, *low, *high])?;
                Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high)))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let all = std::iter::once(*expr).chain(list).collect::<Vec<_>>();
                let mut all = self.as_doubles(all)?.into_iter();
                let Some(expr) = all.next() else { return Err(PlanError::new("IN is of a value").into()) };
                Expr::InList(InList::new(Box::new(expr), all.collect(), negated))
            }
            Expr::Like(like_expr) if !like_expr.case_insensitive => {
                return self.pattern(like_expr, &like()).map(Transformed::yes);
            }
            Expr::SimilarTo(like_expr) => {
                return self.pattern(like_expr, &similar_to()).map(Transformed::yes);
            }
            Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<Function>() {
                Some(function) => return self.call(function, &call).map(Transformed::yes),
                None => Expr::ScalarFunction(call),
            },
            Expr::Case(case) => Expr::Case(self.branches(case)?),
            Expr::Cast(_) | Expr::TryCast(_) => {
                self.check_cast(&expr)?;
                expr
            }
            other => other,
        };
        TypeCoercionRewriter::new(self.schema).f_up(expr)
    }
}

impl Typing<'_> {
    fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.schema)
    }

    /// `expr` as a `to`; a literal changes its type in place, so that it stays one.
    fn as_type(&self, expr: Expr, to: &DataType) -> Result<Expr> {
        let from = self.type_of(&expr)?;
        if &from == to {
            return Ok(expr);
        }
        if let Expr::Literal(value, metadata) = &expr
            && (from.is_null() || (from.is_numeric() && to.is_numeric()))
            && let Ok(value) = value.cast_to(to)
        {
            return Ok(Expr::Literal(value, metadata.clone()));
        }
        Ok(cast(expr, to.clone()))
    }

    fn call(&self, function: &Function, call: &ScalarFunction) -> Result<Expr> {
        let given = call.args.iter().map(|argument| self.type_of(argument)).collect::<Result<Vec<_>>>()?;
        let wanted = function.arguments(&given)?;
        let arguments =
            call.args.iter().cloned().zip(&wanted).map(|(argument, to)| self.as_type(argument, to));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        if call.func.name() == "mod"
            && let [left, right] = arguments.as_slice()
        {
            let binary = BinaryExpr::new(Box::new(left.clone()), Operator::Modulo, Box::new(right.clone()));
            return match self.arithmetic(&binary)? {
                Some(typed) => Ok(typed),
                None => Ok(TypeCoercionRewriter::new(self.schema).f_up(Expr::BinaryExpr(binary))?.data),
            };
        }
        match conditional::as_case(call.func.name(), &arguments) {
            Some(case) => self.case(case),
            None => {
                let func =
                    function.of_its_own(arguments.len()).unwrap_or_else(|| std::sync::Arc::clone(&call.func));
                let typed = Expr::ScalarFunction(ScalarFunction { func, args: arguments });
                // Refuses arguments that the function takes one by one but not together.
                self.type_of(&typed)?;
                Ok(typed)
            }
        }
    }

    fn check_cast(&self, expr: &Expr) -> Result<()> {
        let (inner, to) = match expr {
            Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
            Expr::TryCast(cast) => (&cast.expr, cast.field.data_type()),
            _ => return Ok(()),
        };
        let from = self.type_of(inner)?;
        match refused(&from, to) {
            Some(remedy) => {
                Err(PlanError::new(format!("{} cannot be CAST to {}", type_name(&from), type_name(to)))
                    .remedy(remedy)
                    .into())
            }
            None => Ok(()),
        }
    }

    fn case(&self, case: Case) -> Result<Expr> {
        Ok(TypeCoercionRewriter::new(self.schema).f_up(Expr::Case(case))?.data)
    }

    fn pattern(&self, like: Like, function: &std::sync::Arc<datafusion_expr::ScalarUDF>) -> Result<Expr> {
        let mut arguments = vec![*like.expr, *like.pattern];
        arguments.extend(
            like.escape_char.map(|escape| Expr::Literal(ScalarValue::Utf8(Some(escape.to_string())), None)),
        );
        let Expr::ScalarFunction(call) = function.call(arguments) else {
            return Err(PlanError::new("LIKE is a call").into());
        };
        let Some(definition) = function.inner().downcast_ref::<Function>() else {
            return Err(PlanError::new("LIKE is one of our functions").into());
        };
        let typed = self.call(definition, &call)?;
        Ok(if like.negated { Expr::Not(Box::new(typed)) } else { typed })
    }

    /// A CASE whose branches have Flink's type of all of them, if there is one.
    fn branches(&self, mut case: Case) -> Result<Case> {
        let branches = case.when_then_expr.iter().map(|(_, then)| then).chain(case.else_expr.as_ref());
        let types = branches.map(|branch| self.type_of(branch)).collect::<Result<Vec<_>>>()?;
        let common = types.iter().try_fold(DataType::Null, |common, kind| conditional::wider(&common, kind));
        let Some(common) = common.filter(DataType::is_numeric) else { return Ok(case) };
        let branches = case.when_then_expr.iter_mut().map(|(_, then)| then).chain(case.else_expr.as_mut());
        for branch in branches {
            let typed = self.as_type(std::mem::replace(branch.as_mut(), lit(false)), &common)?;
            **branch = typed;
        }
        Ok(case)
    }

    /// What is compared, all as DOUBLE if some of it is a floating-point number and some a DECIMAL, which need not hold
    /// the other's values.
    fn as_doubles<T: AsMut<[Expr]>>(&self, mut compared: T) -> Result<T> {
        let types = compared.as_mut().iter().map(|expr| self.type_of(expr)).collect::<Result<Vec<_>>>()?;
        let is_mixed = types.iter().any(DataType::is_floating)
            && types.iter().any(|kind| matches!(kind, DataType::Decimal128(..)));
        if is_mixed && types.iter().all(|kind| kind.is_numeric() || kind.is_null()) {
            for expr in compared.as_mut() {
                *expr = self.as_type(std::mem::replace(expr, lit(false)), &DataType::Float64)?;
            }
        }
        Ok(compared)
    }

    /// `ROW(a, b) = ROW(c, d)` as `a = c AND b = d`, which is NULL where a field is and the others are equal;
    /// Flink compares rows that are not so written, and all by `<>`, as a whole, NULL being equal to NULL.
    fn rows_equal(&self, binary: &BinaryExpr) -> Result<Option<Expr>> {
        let fields = |expr: &Expr| match expr {
            Expr::ScalarFunction(call) if call.func.name() == "row" => Some(call.args.clone()),
            _ => None,
        };
        let (Some(left), Some(right)) = (fields(&binary.left), fields(&binary.right)) else {
            return Ok(None);
        };
        if binary.op != Operator::Eq || left.len() != right.len() {
            return Ok(None);
        }
        let pairs = left.into_iter().zip(right).map(|(left, right)| {
            let pair = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Eq, Box::new(right)));
            TypeCoercionRewriter::new(self.schema).f_up(pair).data()
        });
        pairs.reduce(|all, pair| Ok(all?.and(pair?))).transpose()
    }

    /// Arithmetic that DataFusion would type otherwise; `None` for what is the same in both.
    fn arithmetic(&self, binary: &BinaryExpr) -> Result<Option<Expr>> {
        let operation = match binary.op {
            Operator::Plus => Operation::Plus,
            Operator::Minus => Operation::Minus,
            Operator::Multiply => Operation::Times,
            Operator::Divide => Operation::Divide,
            Operator::Modulo => Operation::Remainder,
            _ => return Ok(None),
        };
        let (left, right) = (self.type_of(&binary.left)?, self.type_of(&binary.right)?);
        let real = |kind: &DataType| matches!(kind, DataType::Float32 | DataType::Float64);
        let decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..));
        let (a, b) = (binary.left.as_ref().clone(), binary.right.as_ref().clone());
        if (decimal(&left) && real(&right)) || (real(&left) && decimal(&right)) {
            let (a, b) = (self.as_type(a, &DataType::Float64)?, self.as_type(b, &DataType::Float64)?);
            return Ok(Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(a), binary.op, Box::new(b)))));
        }
        let (Some(first), Some(second)) = (shape_of(&left), shape_of(&right)) else { return Ok(None) };
        if decimal(&left) || decimal(&right) {
            let a = self.as_type(a, &DataType::Decimal128(first.0, first.1))?;
            let b = self.as_type(b, &DataType::Decimal128(second.0, second.1))?;
            return Ok(Some(operation.function().call(vec![a, b])));
        }
        // The remainder of whole numbers has the type of the divisor.
        if operation == Operation::Remainder && left != right {
            let plain = TypeCoercionRewriter::new(self.schema).f_up(Expr::BinaryExpr(binary.clone()))?.data;
            return Ok(Some(self.as_type(plain, &right)?));
        }
        Ok(None)
    }
}
