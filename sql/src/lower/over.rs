//! Aggregates with OVER, ordered by time: frames and calls.

use std::sync::Arc;

use arrow_schema::{Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{WindowFunction, WindowFunctionDefinition};
use datafusion_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits};
use millstream_operators::window::TimeMode;
use millstream_operators::{AggregateCall, AggregateKind, Frame};
use sqlparser::tokenizer::Span;

use super::build::bind_all;
use super::columns::column;
use super::rank::{Pool, whole};
use super::rel::{Attribute, Over, Rel, RelKind};
use super::show;
use super::window::{settled, unaliased};
use crate::functions::FunctionContext;
use crate::plan::aggregates::kind_of;
use crate::plan::error::PlanError;
use crate::plan::ranking::{FIRST_VALUE, LAG, LAST_VALUE, ROW_NUMBER};

/// Lowers the aggregates with OVER of `plan` over `input`.
pub(super) fn over(
    plan: &datafusion_expr::logical_plan::Window,
    input: Rel,
    functions: &FunctionContext,
    place: Option<Span>,
) -> Result<Rel, PlanError> {
    let width = input.fields.len();
    let mut pool = Pool::new(input.clone());
    let mut calls: Vec<(Frame, AggregateCall)> = Vec::new();
    let mut window: Option<(Vec<usize>, usize, TimeMode)> = None;
    for expr in &plan.window_expr {
        let placed = |message: String, remedy: &str| {
            let mut error = PlanError::new(message).remedy(remedy);
            error.span = place;
            error
        };
        let Expr::WindowFunction(function) = unaliased(expr) else {
            return Err(placed("this cannot stand with OVER".into(), "use an aggregate, ROW_NUMBER or LAG"));
        };
        let WindowFunction { fun, params } = function.as_ref();
        let bind = |exprs: &[Expr]| bind_all(exprs, &plan.input, &input, functions);
        let partition = bind(&params.partition_by)?
            .iter()
            .map(|expr| pool.index_of(expr))
            .collect::<Result<Vec<_>, _>>()?;
        let order: Vec<Expr> = params.order_by.iter().map(|sort| sort.expr.clone()).collect();
        let (time, mode) = match bind(&order)?.as_slice() {
            [time] if params.order_by[0].asc => {
                let time = pool.index_of(time)?;
                let attribute = if time < width { input.attribute(time) } else { Attribute::Plain };
                match attribute {
                    Attribute::EventTime | Attribute::WindowTime => (time, TimeMode::Event),
                    Attribute::ProcessingTime => (time, TimeMode::Processing),
                    _ => {
                        return Err(placed(
                            "OVER goes by a time attribute, and what it is ordered by is none".into(),
                            "ORDER BY the column that WATERMARK FOR names, or by one declared AS PROCTIME()",
                        ));
                    }
                }
            }
            _ => {
                return Err(placed(
                    "OVER is ordered by one time, upwards".into(),
                    "write OVER (PARTITION BY key ORDER BY ts)",
                ));
            }
        };
        if input.updates() {
            return Err(placed(
                "OVER is over rows that stay, and these are updated later".into(),
                "use GROUP BY, or OVER over the table itself",
            ));
        }
        let (kind, frame) = match fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                let kind = kind_of(function).ok_or_else(|| {
                    placed(format!("'{}' cannot stand with OVER", function.name()), "use SUM, COUNT, …")
                })?;
                (
                    kind,
                    frame(&params.window_frame)
                        .map_err(|(message, remedy)| placed(message.into(), remedy))?,
                )
            }
            WindowFunctionDefinition::WindowUDF(function)
                if [FIRST_VALUE, LAST_VALUE].contains(&function.name()) =>
            {
                let is_first = function.name() == FIRST_VALUE;
                let kind = if is_first { AggregateKind::FirstValue } else { AggregateKind::LastValue };
                let frame = frame(&params.window_frame)
                    .map_err(|(message, remedy)| placed(message.into(), remedy))?;
                (kind, frame)
            }
            WindowFunctionDefinition::WindowUDF(function) if function.name() == ROW_NUMBER => {
                (AggregateKind::Count, Frame::Rows)
            }
            WindowFunctionDefinition::WindowUDF(function) if function.name() == LAG => {
                let rows = match params.args.as_slice() {
                    [_] => Some(1),
                    [_, rows] => bind(std::slice::from_ref(rows))?.first().and_then(whole),
                    _ => None,
                };
                let rows = rows.and_then(|rows| usize::try_from(rows).ok()).ok_or_else(|| {
                    placed("LAG takes a value, and a number of rows".into(), "write LAG(x), or LAG(x, 2)")
                })?;
                (AggregateKind::Lag(rows), Frame::Range)
            }
            WindowFunctionDefinition::WindowUDF(function) => {
                return Err(placed(
                    format!("'{}' is not supported", function.name()),
                    "use ROW_NUMBER or LAG",
                ));
            }
        };
        let arguments = match &kind {
            AggregateKind::Lag(_) => &params.args[..1],
            _ => &params.args[..],
        };
        let mut arguments = bind(arguments)?;
        let kind = settled(kind, &mut arguments)?;
        let argument = match arguments.as_slice() {
            [] => None,
            [Expr::Literal(value, _)] if !value.is_null() && kind == AggregateKind::Count => None,
            [argument] => Some(pool.index_of(argument)?),
            _ => return Err(placed(format!("'{}' takes one argument", kind.name()), "give it one")),
        };
        let filter = match &params.filter {
            None => None,
            Some(filter) => bind(std::slice::from_ref(filter.as_ref()))?
                .first()
                .map(|filter| pool.index_of(filter))
                .transpose()?,
        };
        if window.as_ref().is_some_and(|known| *known != (partition.clone(), time, mode)) {
            return Err(placed(
                "one query has one PARTITION BY for all OVER".into(),
                "write one query for each",
            ));
        }
        window = Some((partition, time, mode));
        calls.push((
            frame,
            AggregateCall { kind, argument, filter, distinct: params.distinct, name: String::new() },
        ));
    }
    let Some((partition, time, mode)) = window else { return Ok(input) };
    let mut rel = pool.into_rel();
    let pooled = rel.fields.len();
    let count = calls.len();
    // Calls of one frame go together; others read on from there.
    let mut rest = calls.into_iter().peekable();
    while let Some((frame, first)) = rest.next() {
        let mut calls = vec![first];
        while let Some((_, call)) = rest.next_if(|(other, _)| *other == frame) {
            calls.push(call);
        }
        rel = with_calls(rel, partition.clone(), (time, mode), frame, calls, place)?;
    }
    let columns: Vec<Expr> = (0..width).chain(pooled..pooled + count).map(column).collect();
    let fields: Vec<FieldRef> = plan.schema.fields().iter().cloned().collect();
    Ok(Rel::calc(rel, None, columns, fields))
}

/// One node of aggregates over `input`.
pub(super) fn with_calls(
    input: Rel,
    partition: Vec<usize>,
    (time, mode): (usize, TimeMode),
    frame: Frame,
    mut calls: Vec<AggregateCall>,
    place: Option<Span>,
) -> Result<Rel, PlanError> {
    let mut fields = input.fields.clone();
    for call in &mut calls {
        call.name = show::call(call, &|index| input.fields[index].name().clone());
        let argument = call
            .argument
            .map_or(arrow_schema::DataType::Int64, |index| input.fields[index].data_type().clone());
        fields.push(Arc::new(Field::new(&call.name, call.kind.output_type(&argument)?, true)));
    }
    let over = Over { input, partition, time, mode, frame, calls, place };
    Ok(Rel { kind: RelKind::Over(Box::new(over)), fields })
}

fn frame(frame: &WindowFrame) -> Result<Frame, (&'static str, &'static str)> {
    const REMEDY: &str = "write ROWS BETWEEN 9 PRECEDING AND CURRENT ROW, RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND \
                          CURRENT ROW, or UNBOUNDED PRECEDING";
    if frame.end_bound != WindowFrameBound::CurrentRow {
        return Err(("a frame ends at the current row", REMEDY));
    }
    let rows = frame.units == WindowFrameUnits::Rows;
    match (&frame.start_bound, frame.units) {
        (_, WindowFrameUnits::Groups) => Err(("GROUPS is not Flink's", REMEDY)),
        (WindowFrameBound::Preceding(bound), _) if bound.is_null() => {
            Ok(if rows { Frame::Rows } else { Frame::Range })
        }
        (WindowFrameBound::CurrentRow, _) => {
            Ok(if rows { Frame::RowsBefore(0) } else { Frame::RangeBefore(0) })
        }
        (WindowFrameBound::Preceding(bound), WindowFrameUnits::Rows) => match bound {
            ScalarValue::UInt64(Some(count)) => Ok(Frame::RowsBefore(*count as usize)),
            _ => Err(("a frame of rows has a number of rows", REMEDY)),
        },
        (WindowFrameBound::Preceding(bound), _) => match bound {
            ScalarValue::IntervalMonthDayNano(Some(by)) if by.months == 0 => {
                Ok(Frame::RangeBefore(i64::from(by.days) * 86_400_000 + by.nanoseconds / 1_000_000))
            }
            _ => Err(("a frame of time has an interval of days or less", REMEDY)),
        },
        (WindowFrameBound::Following(_), _) => Err(("a frame begins before the current row", REMEDY)),
    }
}

/// `ROW_NUMBER` without a bound, in order of time, is a count of the rows so far.
pub(crate) fn settle(rel: Rel) -> Result<Rel, PlanError> {
    let Rel { kind, fields } = rel;
    let mut rel = match kind {
        RelKind::Rank(rank) if rank.bounds.is_none() => {
            let time = match rank.order.as_slice() {
                [key] if !key.descending && !rank.input.updates() => match rank.input.attribute(key.column) {
                    Attribute::EventTime | Attribute::WindowTime => Some((key.column, TimeMode::Event)),
                    Attribute::ProcessingTime => Some((key.column, TimeMode::Processing)),
                    _ => None,
                },
                _ => None,
            };
            match time {
                Some(time) => {
                    let name = String::new();
                    let kind = AggregateKind::Count;
                    let call = AggregateCall { kind, argument: None, filter: None, distinct: false, name };
                    let rel =
                        with_calls(rank.input, rank.partition, time, Frame::Rows, vec![call], rank.place)?;
                    Rel { fields, ..rel }
                }
                None => Rel { kind: RelKind::Rank(rank), fields },
            }
        }
        kind => Rel { kind, fields },
    };
    for input in rel.inputs_mut() {
        let empty = Rel { kind: RelKind::Union { inputs: Vec::new() }, fields: Vec::new() };
        *input = settle(std::mem::replace(input, empty))?;
    }
    Ok(rel)
}
