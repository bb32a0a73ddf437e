//! From DataFusion's logical plan to the relational tree.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion_common::DFSchema;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{ColumnarValue, Distinct, EmptyRelation, Expr, LogicalPlan, TableScan};
use millstream_operators::WindowAssigner;
use millstream_operators::window::TimeMode;

use super::clocked::clocked;
use super::columns::{bind, column, indexed};
use super::expression::constant;
use super::rel::{Attribute, Rel, RelKind};
use super::{group, join, limit, rank, recognize, unnest, window};
use crate::functions::{FunctionContext, type_name};
use crate::plan::error::{PlanError, to_sqlparser};
use crate::plan::recognize::RecognizeNode;
use crate::plan::unnest::UnnestNode;
use crate::plan::windows::WindowNode;
use crate::table::TableHandle;

/// Builds the tree of `plan`.
pub(crate) fn build(plan: &LogicalPlan, functions: &FunctionContext) -> Result<Rel, PlanError> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let input = build(&projection.input, functions)?;
            let columns = bind_all(&projection.expr, &projection.input, &input, functions)?;
            let (input, columns) = clocked(input, columns)?;
            Ok(Rel::calc(input, None, columns, fields_of(plan)))
        }
        LogicalPlan::Filter(filter) => {
            let input = build(&filter.input, functions)?;
            let predicate =
                bind_all(std::slice::from_ref(&filter.predicate), &filter.input, &input, functions)?.pop();
            filtered(input, predicate.map(split_conjunction_owned).unwrap_or_default())
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = build(&alias.input, functions)?;
            Ok(Rel { fields: renamed(&input, plan), ..input })
        }
        LogicalPlan::TableScan(scan) => table(scan),
        LogicalPlan::Union(union) => {
            let inputs =
                union.inputs.iter().map(|input| build(input, functions)).collect::<Result<Vec<_>, _>>()?;
            Ok(Rel { kind: RelKind::Union { inputs }, fields: fields_of(plan) })
        }
        LogicalPlan::Values(values) => rows(&values.schema, &values.values, functions),
        LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row, .. }) => {
            let options = RecordBatchOptions::new().with_row_count(Some(usize::from(*produce_one_row)));
            let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
                .map_err(|error| PlanError::new(error.to_string()))?;
            Ok(Rel { kind: RelKind::Values(batch), fields: Vec::new() })
        }
        LogicalPlan::Join(plan) => join::join(plan, functions),
        // Of a subquery, where it says nothing; that of a whole query is sort.rs's.
        LogicalPlan::Sort(plan) => build(&plan.input, functions),
        LogicalPlan::Limit(plan) => limit::limit(plan, functions),
        LogicalPlan::Window(plan) => rank::window(plan, functions),
        LogicalPlan::Distinct(Distinct::All(input)) => group::distinct(build(input, functions)?),
        LogicalPlan::Aggregate(aggregate) => {
            let input = build(&aggregate.input, functions)?;
            window::aggregate(aggregate, input, functions)
        }
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            if let Some(node) = node.downcast_ref::<RecognizeNode>() {
                return recognize::recognize(node, functions);
            }
            if let Some(node) = node.downcast_ref::<UnnestNode>() {
                return unnest::unnest(node, plan, functions);
            }
            node.downcast_ref().map_or_else(|| Err(unsupported(plan)), |node| windowed(node, functions))
        }
        other => Err(unsupported(other)),
    }
}

/// The rows of `input` where all of `conjuncts` hold.
pub(super) fn filtered(input: Rel, conjuncts: Vec<Expr>) -> Result<Rel, PlanError> {
    let (input, conjuncts) = rank::bounded(input, conjuncts)?;
    let (input, conjuncts) = join::narrowed(input, conjuncts)?;
    let fields = input.fields.clone();
    let (input, conjuncts) = clocked(input, conjuncts)?;
    let Some(predicate) = conjunction(conjuncts) else { return Ok(input) };
    let columns = (0..fields.len()).map(column).collect();
    Ok(Rel::calc(input, Some(predicate), columns, fields))
}

fn unsupported(plan: &LogicalPlan) -> PlanError {
    let what = match plan {
        LogicalPlan::Distinct(_) => "DISTINCT is",
        LogicalPlan::Subquery(_) => "subqueries in expressions are",
        LogicalPlan::Unnest(_) => "UNNEST is",
        _ => "this query is",
    };
    PlanError::new(format!("{what} not supported yet")).remedy("project, filter, and aggregate in windows")
}

/// `exprs` over the numbered columns of `input`, which are those of `plan`.
pub(super) fn bind_all(
    exprs: &[Expr],
    plan: &LogicalPlan,
    input: &Rel,
    functions: &FunctionContext,
) -> Result<Vec<Expr>, PlanError> {
    let numbers = indexed(&input.fields);
    exprs.iter().map(|expr| bind(expr.clone(), plan.schema(), &numbers, functions)).collect()
}

pub(super) fn fields_of(plan: &LogicalPlan) -> Vec<FieldRef> {
    plan.schema().fields().iter().cloned().collect()
}

/// The fields of `input` under the names that `plan` gives them.
fn renamed(input: &Rel, plan: &LogicalPlan) -> Vec<FieldRef> {
    let names = plan.schema().fields();
    let renamed =
        |(field, named): (&FieldRef, &FieldRef)| Arc::new(field.as_ref().clone().with_name(named.name()));
    input.fields.iter().zip(names).map(renamed).collect()
}

fn table(scan: &TableScan) -> Result<Rel, PlanError> {
    let handle = (scan.source.as_ref() as &dyn Any).downcast_ref::<TableHandle>();
    let entry = handle.ok_or_else(|| PlanError::new("a table of a foreign kind"))?.0.clone();
    let fields: Vec<FieldRef> = entry.schema.fields().iter().cloned().collect();
    let whole = Rel { kind: RelKind::Table(entry), fields };
    Ok(match &scan.projection {
        None => whole,
        Some(projection) => {
            let fields = projection.iter().map(|index| Arc::clone(&whole.fields[*index])).collect();
            Rel::calc(whole, None, projection.iter().map(|index| column(*index)).collect(), fields)
        }
    })
}

/// Evaluates the rows of a VALUES.
fn rows(schema: &DFSchema, values: &[Vec<Expr>], functions: &FunctionContext) -> Result<Rel, PlanError> {
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            Arc::new(Field::new(format!("EXPR${index}"), value_type(field.data_type()), true))
        })
        .collect();
    let empty = DFSchema::empty();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let cells = values
            .iter()
            .map(|row| {
                let expr = bind(row[index].clone(), &empty, &empty, functions)?;
                let expr = super::columns::with_flink_casts(
                    datafusion_expr::cast(expr, field.data_type().clone()),
                    &empty,
                    functions,
                )?;
                match constant(&expr)? {
                    ColumnarValue::Scalar(value) => Ok(value),
                    ColumnarValue::Array(array) => {
                        Ok(datafusion_common::ScalarValue::try_from_array(&array, 0)?)
                    }
                }
            })
            .collect::<Result<Vec<_>, PlanError>>()?;
        columns.push(datafusion_common::ScalarValue::iter_to_array(cells)?);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns)
        .map_err(|error| PlanError::new(error.to_string()))?;
    Ok(Rel { kind: RelKind::Values(batch), fields })
}

/// A column of nothing but NULL is text, for want of better knowledge.
fn value_type(kind: &DataType) -> DataType {
    if kind.is_null() { DataType::Utf8 } else { kind.clone() }
}

fn windowed(node: &WindowNode, functions: &FunctionContext) -> Result<Rel, PlanError> {
    let input = build(&node.input, functions)?;
    let field = Arc::clone(&input.fields[node.time]);
    let mode = match input.attribute(node.time) {
        Attribute::EventTime | Attribute::WindowTime => TimeMode::Event,
        Attribute::ProcessingTime => TimeMode::Processing,
        _ => {
            let name = field.name();
            let remedy = match field.data_type() {
                DataType::Timestamp(..) => format!(
                    "declare it in CREATE TABLE: WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND; a computed or CAST copy of it is not one"
                ),
                other => format!(
                    "it is {}; windows go by a TIMESTAMP(3) column with WATERMARK FOR … in CREATE TABLE, or by one declared AS PROCTIME()",
                    type_name(other)
                ),
            };
            return Err(PlanError::new(format!(
                "'{name}' is not a time attribute, so windows cannot go by it"
            ))
            .remedy(remedy));
        }
    };
    if input.updates() {
        return Err(PlanError::new("windows are over rows that stay, and these are updated later")
            .remedy("put the window over the table, and aggregate without a window in the query around it"));
    }
    let mut fields = input.fields.clone();
    for name in ["window_start", "window_end", "window_time"] {
        let zone = match field.data_type() {
            DataType::Timestamp(_, zone) if name == "window_time" => zone.clone(),
            _ => None,
        };
        fields.push(Arc::new(Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, zone), false)));
    }
    let window = match field.data_type() {
        DataType::Timestamp(_, Some(_)) => on_local_clocks(node.window, functions.time_zone)?,
        _ => node.window,
    };
    let kind = RelKind::Windowed {
        input: Box::new(input),
        window,
        time: node.time,
        mode,
        partition: node.partition.clone(),
    };
    Ok(Rel { kind, fields })
}

/// Windows of a TIMESTAMP_LTZ begin where clocks of the session's zone show a round time: those of an hour at 05:00 in
/// Kolkata, which is 23:30 in UTC. Flink: TimeWindowUtil.
fn on_local_clocks(window: WindowAssigner, zone: chrono_tz::Tz) -> Result<WindowAssigner, PlanError> {
    let period_ms = match window {
        WindowAssigner::Tumble { size_ms, .. } => size_ms,
        WindowAssigner::Hop { slide_ms, .. } => slide_ms,
        WindowAssigner::Cumulate { max_ms, .. } => max_ms,
        WindowAssigner::Session { .. } => return Ok(window),
    };
    // Summer and winter from 2000 to 2040.
    let offsets = (60..140).filter_map(|half_year| {
        let instant = chrono::DateTime::from_timestamp(half_year * 15_778_800 + 604_800, 0)?;
        let offset =
            chrono::Offset::fix(&chrono::TimeZone::offset_from_utc_datetime(&zone, &instant.naive_utc()));
        Some(i64::from(offset.local_minus_utc()) * 1_000)
    });
    let mut shifts = offsets.map(|offset| offset.rem_euclid(period_ms));
    let shift = shifts.next().unwrap_or(0);
    if shifts.any(|other| other != shift) {
        return Err(PlanError::new(format!("windows of this length move with the clocks of {zone}, which are changed in summer"))
            .remedy(
                "go by the wall clock: a column local_ts AS CAST(ts AS TIMESTAMP(3)) with WATERMARK FOR local_ts; or by UTC: \
                 SET 'table.local-time-zone' = 'UTC'",
            ));
    }
    let moved = |offset_ms: i64| (offset_ms - shift).rem_euclid(period_ms);
    Ok(match window {
        WindowAssigner::Tumble { size_ms, offset_ms } => {
            WindowAssigner::Tumble { size_ms, offset_ms: moved(offset_ms) }
        }
        WindowAssigner::Hop { size_ms, slide_ms, offset_ms } => {
            WindowAssigner::Hop { size_ms, slide_ms, offset_ms: moved(offset_ms) }
        }
        WindowAssigner::Cumulate { max_ms, step_ms, offset_ms } => {
            WindowAssigner::Cumulate { max_ms, step_ms, offset_ms: moved(offset_ms) }
        }
        session @ WindowAssigner::Session { .. } => session,
    })
}

/// Where the first column of `exprs` stands in the text.
pub(super) fn span_of<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Option<sqlparser::tokenizer::Span> {
    use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut span = None;
    for expr in exprs {
        let _ = expr.apply(|expr| {
            if let Some(found) = expr.spans().and_then(|spans| spans.first()) {
                span.get_or_insert(to_sqlparser(found));
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    span
}
