//! `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)` with a bound in the query around it: Top-N, deduplication, and both
//! for each window.
//!
//! The function alone becomes a node without a bound; the filter above it (build.rs) that says `rn <= n` gives it one.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{WindowFunction, WindowFunctionDefinition};
use datafusion_expr::{BinaryExpr, ColumnarValue, Expr, Operator};
use millstream_operators::SortKey;

use super::build::{bind_all, build, span_of};
use super::columns::{as_column, column, indexed, paths_in, type_of};
use super::expression::constant;
use super::over::over;
use super::rel::{Attribute, Rank, Rel, RelKind};
use super::show;
use super::window::unaliased;
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;
use crate::plan::ranking::ROW_NUMBER;

/// Columns of an input, and computed ones behind them.
pub(super) struct Pool {
    input: Rel,
    computed: Vec<Expr>,
    fields: Vec<FieldRef>,
}

impl Pool {
    pub fn new(input: Rel) -> Self {
        Self { input, computed: Vec::new(), fields: Vec::new() }
    }

    pub fn index_of(&mut self, expr: &Expr) -> Result<usize, PlanError> {
        if let Some(index) = as_column(expr) {
            return Ok(index);
        }
        let width = self.input.fields.len();
        if let Some(known) = self.computed.iter().position(|known| known == expr) {
            return Ok(width + known);
        }
        let kind = type_of(expr, &indexed(&self.input.fields))?;
        let name = show::expression(expr, &self.input.fields);
        self.fields.push(Arc::new(Field::new(name, kind, true)));
        self.computed.push(expr.clone());
        Ok(width + self.computed.len() - 1)
    }

    pub fn into_rel(self) -> Rel {
        if self.computed.is_empty() {
            return self.input;
        }
        let columns = (0..self.input.fields.len()).map(column).chain(self.computed).collect();
        let fields = self.input.fields.iter().cloned().chain(self.fields).collect();
        Rel::calc(self.input, None, columns, fields)
    }
}

/// Lowers the functions with OVER of `plan`.
pub(super) fn window(
    plan: &datafusion_expr::logical_plan::Window,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let input = build(&plan.input, functions)?;
    let place = span_of(plan.window_expr.iter());
    let function = match plan.window_expr.iter().map(unaliased).collect::<Vec<_>>()[..] {
        [Expr::WindowFunction(function)] if is_row_number(function) => function,
        _ => return over(plan, input, functions, place),
    };
    let params = &function.params;
    let partition = bind_all(&params.partition_by, &plan.input, &input, functions)?;
    let by: Vec<Expr> = params.order_by.iter().map(|sort| sort.expr.clone()).collect();
    let by = bind_all(&by, &plan.input, &input, functions)?;
    let width = input.fields.len();
    let mut pool = Pool::new(input);
    let partition = partition.iter().map(|expr| pool.index_of(expr)).collect::<Result<Vec<_>, _>>()?;
    let mut order = Vec::new();
    for (expr, sort) in by.iter().zip(&params.order_by) {
        let column = pool.index_of(expr)?;
        order.push(SortKey { column, descending: !sort.asc, nulls_first: sort.nulls_first });
    }
    let input = pool.into_rel();
    let number: FieldRef = Arc::new(Field::new(ROW_NUMBER, DataType::Int64, false));
    let fields: Vec<FieldRef> = input.fields.iter().cloned().chain([Arc::clone(&number)]).collect();
    let pooled = input.fields.len();
    let rank = Rank { input, partition, order, bounds: None, place };
    let rel = Rel { kind: RelKind::Rank(Box::new(rank)), fields };
    if pooled == width {
        return Ok(rel);
    }
    let columns = (0..width).chain([pooled]).map(column).collect();
    let fields = rel.fields[..width].iter().cloned().chain([number]).collect();
    Ok(Rel::calc(rel, None, columns, fields))
}

fn is_row_number(function: &WindowFunction) -> bool {
    matches!(&function.fun, WindowFunctionDefinition::WindowUDF(known) if known.name() == ROW_NUMBER)
}

/// Takes bounds of a row's number out of `conjuncts` over `rel`, and gives them to the node that numbers.
pub(super) fn bounded(mut rel: Rel, conjuncts: Vec<Expr>) -> Result<(Rel, Vec<Expr>), PlanError> {
    let (mut from, mut to, mut rest) = (1_i64, i64::MAX, Vec::new());
    for conjunct in conjuncts {
        match bound(&rel, &conjunct) {
            Some((least, most)) => {
                from = from.max(least);
                to = to.min(most);
            }
            None => rest.push(conjunct),
        }
    }
    if let Some(rank) = number_below(&mut rel) {
        if to < i64::MAX {
            // A range without places is one place that no row has.
            let (from, to) = (from.max(1) as usize, to.max(0) as usize);
            rank.bounds = Some((from, to));
        } else if from > 1 {
            let mut error = PlanError::new("the row number has a least and no greatest");
            error.span = rank.place;
            return Err(error.remedy("say how many rows are wanted: WHERE rn <= 10"));
        }
    }
    Ok((rel, rest))
}

/// The node without bounds that numbers the rows of `rel`.
fn number_below(rel: &mut Rel) -> Option<&mut Rank> {
    match &mut rel.kind {
        RelKind::Rank(rank) if rank.bounds.is_none() => Some(rank),
        RelKind::Calc { input, filter: None, .. } => number_below(input),
        _ => None,
    }
}

/// True when column `index` of `rel` is a row's number without bounds.
fn is_number(rel: &Rel, index: usize) -> bool {
    match &rel.kind {
        RelKind::Rank(rank) => rank.bounds.is_none() && index == rank.input.fields.len(),
        RelKind::Calc { input, filter: None, columns } => {
            as_column(&columns[index]).is_some_and(|below| is_number(input, below))
        }
        _ => false,
    }
}

/// The least and greatest number that `conjunct` lets through, if it says just that.
fn bound(rel: &Rel, conjunct: &Expr) -> Option<(i64, i64)> {
    let number = |expr: &Expr| as_column(expr).is_some_and(|index| is_number(rel, index));
    match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, limit) = if number(left) {
                (*op, whole(right)?)
            } else if number(right) {
                (op.swap()?, whole(left)?)
            } else {
                return None;
            };
            match op {
                Operator::Eq => Some((limit, limit)),
                Operator::Lt => Some((i64::MIN, limit - 1)),
                Operator::LtEq => Some((i64::MIN, limit)),
                Operator::Gt => Some((limit + 1, i64::MAX)),
                Operator::GtEq => Some((limit, i64::MAX)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated && number(&between.expr) => {
            Some((whole(&between.low)?, whole(&between.high)?))
        }
        _ => None,
    }
}

/// The value of a whole number.
pub(super) fn whole(expr: &Expr) -> Option<i64> {
    let mut paths = Vec::new();
    paths_in(expr, &mut paths);
    if !paths.is_empty() {
        return None;
    }
    match constant(expr).ok()? {
        ColumnarValue::Scalar(value) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(value) => value,
            _ => None,
        },
        ColumnarValue::Array(values) => {
            match ScalarValue::try_from_array(&values, 0).ok()?.cast_to(&DataType::Int64).ok()? {
                ScalarValue::Int64(value) => value,
                _ => None,
            }
        }
    }
}

impl Rank {
    /// The column with the end of the row's window, where each window has a list of its own.
    pub fn window_end(&self) -> Option<usize> {
        let is = |wanted: Attribute| {
            self.partition.iter().copied().find(|column| self.input.attribute(*column) == wanted)
        };
        is(Attribute::WindowStart)?;
        is(Attribute::WindowEnd)
    }

    /// What the row's time is by which the first or last of a partition is kept, if that is all there is to it.
    pub fn keeps_by_time(&self) -> Option<Attribute> {
        match (self.bounds, self.order.as_slice()) {
            (Some((1, 1)), [key]) => match self.input.attribute(key.column) {
                Attribute::WindowTime => Some(Attribute::EventTime),
                time @ (Attribute::EventTime | Attribute::ProcessingTime) => Some(time),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many rows it gives, if those to arrive first are given for good.
    pub fn rows_max(&self) -> Option<usize> {
        let (from, to) = self.bounds.filter(|_| self.partition.is_empty() && self.keeps_first_arrival())?;
        Some((to + 1).saturating_sub(from))
    }

    /// True when the first row to arrive is kept, so that nothing changes later.
    pub fn keeps_first_arrival(&self) -> bool {
        // Without an order it is that of arrival.
        let by_arrival = self
            .order
            .first()
            .is_none_or(|key| !key.descending && self.keeps_by_time() == Some(Attribute::ProcessingTime));
        by_arrival && !self.input.updates()
    }
}
