//! `GROUP BY window_start, window_end, keys` over a window table function: merges the two into one windowed
//! aggregation, which never makes the rows of each window.

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{ColumnarValue, Expr, cast};
use millstream_operators::aggregate::Fractions;
use millstream_operators::window::TimeMode;
use millstream_operators::{AggregateCall, AggregateKind, WindowAssigner};

use super::build::{bind_all, span_of};
use super::columns::{as_column, column, indexed, paths_in, substitute, type_of, with_flink_casts};
use super::expression::constant;
use super::grouping::Grouping;
use super::rel::{Aggregate, Attribute, Rel, RelKind};
use super::show;
use crate::functions::FunctionContext;
use crate::plan::aggregates::kind_of;
use crate::plan::error::PlanError;

/// What a column of a windowed input becomes once the window is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stripped {
    Column(usize),
    Window(Attribute),
}

struct Windows {
    /// The rows below the window function.
    input: Rel,
    window: WindowAssigner,
    mode: TimeMode,
    /// The time column of `input`.
    time: usize,
    /// What sessions are kept apart by; none where it is what is grouped by.
    partition: Option<Vec<usize>>,
    columns: Vec<Stripped>,
}

/// Lowers an aggregation over `input`.
pub(super) fn aggregate(
    plan: &datafusion_expr::logical_plan::Aggregate,
    input: Rel,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let place = || span_of(plan.group_expr.iter().chain(&plan.aggr_expr));
    let refuse = |message: &str, remedy: &str| {
        let mut error = PlanError::new(message).remedy(remedy);
        error.span = place();
        error
    };
    let mut grouping = Grouping::of(plan, &input, functions)?;
    let keys_of = grouping.exprs.clone();
    let Some(windows) = strip(input.clone())? else {
        let of = |wanted: Attribute| {
            let is = |column: &usize| input.attribute(*column) == wanted;
            keys_of.iter().filter_map(as_column).find(is)
        };
        return match (of(Attribute::WindowStart), of(Attribute::WindowEnd)) {
            (Some(start), Some(end)) if !input.updates() => {
                attached(plan, input, (grouping, [start, end]), functions)
            }
            _ => super::group::group(plan, input, grouping, functions),
        };
    };
    let window_column = |expr: &Expr| match as_column(expr).map(|index| windows.columns[index]) {
        Some(Stripped::Window(attribute)) => Some(attribute),
        _ => None,
    };
    let grouped = |wanted: Attribute| keys_of.iter().any(|expr| window_column(expr) == Some(wanted));
    if !(grouped(Attribute::WindowStart) && grouped(Attribute::WindowEnd)) {
        return Err(refuse(
            "an aggregate over windows groups by both window_start and window_end",
            "write GROUP BY window_start, window_end, and the keys",
        ));
    }

    // In front of the aggregation: keys, arguments, filters, and the time.
    let mut front = Front::default();
    let mut keys = Vec::new();
    let mut outputs = Vec::new();
    for (at, (expr, field)) in keys_of.iter().zip(grouping.fields(plan)).enumerate() {
        match window_column(expr) {
            Some(attribute) => outputs.push(Output::Window(attribute)),
            None => {
                let index = front.add(expr, field.name(), &windows)?;
                let key = keys.iter().position(|key| *key == index).unwrap_or_else(|| {
                    keys.push(index);
                    keys.len() - 1
                });
                grouping.keys[at] = Some(key);
                outputs.push(Output::Computed(column(key)));
            }
        }
    }
    if grouping.has_sets() && matches!(windows.window, WindowAssigner::Session { .. }) {
        return Err(refuse(
            "sessions belong to a key, and grouping sets leave keys out",
            "write one query for each set, put together with UNION ALL",
        ));
    }
    outputs.extend(grouping.settle(keys.len(), plan)?.map(Output::Computed));
    let mut calls: Vec<AggregateCall> = Vec::new();
    for expr in &plan.aggr_expr {
        if let Some(bits) = grouping.bits(expr, plan, &input, functions)? {
            outputs.push(Output::Computed(bits));
            continue;
        }
        let Expr::AggregateFunction(function) = unaliased(expr) else {
            return Err(refuse(
                "only aggregate functions can be computed here",
                "use COUNT, SUM, MIN, MAX, AVG, …",
            ));
        };
        let mut call =
            call(function, plan, &input, functions, &mut |expr, name| front.add(expr, name, &windows))?;
        call.name = show::call(&call, &|index| front.fields[index].name().clone());
        outputs.push(Output::Aggregate(calls.len()));
        calls.push(call);
    }
    let time = (windows.mode == TimeMode::Event).then(|| front.add_stripped(windows.time, "event_time"));
    check_partition(&windows, &front, &keys).map_err(|(message, remedy)| refuse(message, remedy))?;

    let time_type = match windows.input.fields[windows.time].data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        _ => DataType::Timestamp(TimeUnit::Millisecond, None),
    };
    let (input, keys) = grouping.expanded(front.into_rel(windows.input.clone()), keys)?;
    let windows = Source::Function { window: windows.window, time, time_type };
    finish(input, keys, calls, windows, &outputs, plan, functions)
}

/// What the plan makes of `rel`, in the order and types of the plan.
pub(super) fn as_planned(
    rel: Rel,
    outputs: Vec<Expr>,
    plan: &datafusion_expr::logical_plan::Aggregate,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let schema = indexed(&rel.fields);
    let wanted = fields_of_plan(plan);
    let columns = outputs
        .into_iter()
        .zip(&wanted)
        .map(|(expr, field)| {
            if type_of(&expr, &schema)? == *field.data_type() {
                return Ok(expr);
            }
            with_flink_casts(cast(expr, field.data_type().clone()), &schema, functions)
        })
        .collect::<Result<Vec<_>, PlanError>>()?;
    Ok(Rel::calc(rel, None, columns, wanted))
}

/// An aggregation by the start and end of windows that the rows of `input` come with.
fn attached(
    plan: &datafusion_expr::logical_plan::Aggregate,
    input: Rel,
    (mut grouping, window): (Grouping, [usize; 2]),
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let numbers = indexed(&input.fields);
    let mut front = Front::default();
    let mut add = |expr: &Expr, name: &str| -> Result<usize, PlanError> {
        let kind = type_of(expr, &numbers)?;
        Ok(front.push(expr.clone(), Field::new(name, kind, true)))
    };
    let (mut keys, mut outputs) = (Vec::new(), Vec::new());
    let group = grouping.exprs.clone();
    for (at, (expr, field)) in group.iter().zip(grouping.fields(plan)).enumerate() {
        if let Some(place) = as_column(expr).and_then(|index| window.iter().position(|own| *own == index)) {
            let attribute = [Attribute::WindowStart, Attribute::WindowEnd][place];
            outputs.push(Output::Window(attribute));
            continue;
        }
        let index = add(expr, field.name())?;
        let key = keys.iter().position(|key| *key == index).unwrap_or_else(|| {
            keys.push(index);
            keys.len() - 1
        });
        grouping.keys[at] = Some(key);
        outputs.push(Output::Computed(column(key)));
    }
    outputs.extend(grouping.settle(keys.len(), plan)?.map(Output::Computed));
    let mut calls: Vec<AggregateCall> = Vec::new();
    for expr in &plan.aggr_expr {
        if let Some(bits) = grouping.bits(expr, plan, &input, functions)? {
            outputs.push(Output::Computed(bits));
            continue;
        }
        let Expr::AggregateFunction(function) = unaliased(expr) else {
            return Err(PlanError::new("only aggregate functions can be computed here")
                .remedy("use COUNT, SUM, MIN, MAX, AVG, …"));
        };
        outputs.push(Output::Aggregate(calls.len()));
        calls.push(call(function, plan, &input, functions, &mut add)?);
    }
    let columns = [add(&column(window[0]), "window_start")?, add(&column(window[1]), "window_end")?];
    for call in &mut calls {
        call.name = show::call(call, &|index| front.fields[index].name().clone());
    }
    let (input, keys) = grouping.expanded(front.into_rel(input), keys)?;
    finish(input, keys, calls, Source::Columns(columns), &outputs, plan, functions)
}

/// Where the windows of rows come from.
enum Source {
    /// A window function, by a time column of the input; none for processing time.
    Function { window: WindowAssigner, time: Option<usize>, time_type: DataType },
    /// Columns of the input: the start and the end.
    Columns([usize; 2]),
}

/// The node of a windowed aggregation over `input`, and what the plan makes of its columns.
fn finish(
    input: Rel,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    source: Source,
    outputs: &[Output],
    plan: &datafusion_expr::logical_plan::Aggregate,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let (window, time, time_type, attached) = match source {
        Source::Function { window, time, time_type } => (window, time, time_type, None),
        Source::Columns(columns) => (
            // Nobody looks at it: the rows say their windows.
            WindowAssigner::Tumble { size_ms: 1, offset_ms: 0 },
            Some(columns[1]),
            DataType::Timestamp(TimeUnit::Millisecond, None),
            Some(columns),
        ),
    };
    let mut fields: Vec<FieldRef> = keys.iter().map(|key| Arc::clone(&input.fields[*key])).collect();
    for call in &calls {
        let argument = call.argument.map_or(DataType::Int64, |index| input.fields[index].data_type().clone());
        fields.push(Arc::new(Field::new(&call.name, call.kind.output_type(&argument)?, true)));
    }
    for name in ["window_start", "window_end", "window_time"] {
        fields.push(Arc::new(Field::new(name, time_type.clone(), false)));
    }
    let (key_count, call_count) = (keys.len(), calls.len());
    let aggregate = Aggregate { input, keys, window, time, attached, time_type, calls, late: None };
    let rel = Rel { kind: RelKind::Aggregate(Box::new(aggregate)), fields };

    let outputs = outputs
        .iter()
        .map(|output| match output {
            Output::Computed(expr) => expr.clone(),
            Output::Aggregate(call) => column(key_count + call),
            Output::Window(Attribute::WindowStart) => column(key_count + call_count),
            Output::Window(Attribute::WindowEnd) => column(key_count + call_count + 1),
            Output::Window(_) => column(key_count + call_count + 2),
        })
        .collect();
    as_planned(rel, outputs, plan, functions)
}

enum Output {
    /// Over the keys.
    Computed(Expr),
    Aggregate(usize),
    Window(Attribute),
}

/// The columns in front of an aggregation, each expression once.
#[derive(Default)]
pub(super) struct Front {
    columns: Vec<Expr>,
    pub fields: Vec<FieldRef>,
}

impl Front {
    /// Index of `expr`, an expression over the windowed columns.
    fn add(&mut self, expr: &Expr, name: &str, windows: &Windows) -> Result<usize, PlanError> {
        let stripped = windows.unwindowed(expr)?;
        let kind = type_of(&stripped, &indexed(&windows.input.fields))?;
        Ok(self.push(stripped, Field::new(name, kind, true)))
    }

    fn add_stripped(&mut self, index: usize, name: &str) -> usize {
        self.push(column(index), Field::new(name, DataType::Null, true))
    }

    pub fn push(&mut self, expr: Expr, field: Field) -> usize {
        if let Some(index) = self.columns.iter().position(|known| known == &expr) {
            return index;
        }
        self.columns.push(expr);
        self.fields.push(Arc::new(field));
        self.columns.len() - 1
    }

    pub fn into_rel(mut self, input: Rel) -> Rel {
        for (expr, field) in self.columns.iter().zip(&mut self.fields) {
            if let Some(index) = as_column(expr) {
                let below = &input.fields[index];
                *field = Arc::new(Field::new(field.name(), below.data_type().clone(), below.is_nullable()));
            }
        }
        Rel::calc(input, None, self.columns, self.fields)
    }
}

impl Windows {
    /// `expr` over the columns below the window.
    fn unwindowed(&self, expr: &Expr) -> Result<Expr, PlanError> {
        let mut paths = Vec::new();
        paths_in(expr, &mut paths);
        if paths.iter().any(|(index, _)| matches!(self.columns[*index], Stripped::Window(_))) {
            return Err(PlanError::new(
                "window_start, window_end and window_time cannot be computed with before the aggregation",
            )
            .remedy("group by them as they are, and compute in the query around it"));
        }
        Ok(substitute(expr, &|index| match self.columns[index] {
            Stripped::Column(below) => column(below),
            Stripped::Window(_) => column(index),
        }))
    }
}

/// Takes the window function off a tree of projections and filters over it.
fn strip(rel: Rel) -> Result<Option<Windows>, PlanError> {
    match rel.kind {
        RelKind::Windowed { input, window, time, mode, partition } => {
            let width = input.fields.len();
            let mut columns: Vec<Stripped> = (0..width).map(Stripped::Column).collect();
            columns.extend(
                [Attribute::WindowStart, Attribute::WindowEnd, Attribute::WindowTime].map(Stripped::Window),
            );
            Ok(Some(Windows { input: *input, window, mode, time, partition, columns }))
        }
        RelKind::Calc { input, filter, columns } => {
            let Some(below) = strip(*input)? else { return Ok(None) };
            let filter = filter.map(|filter| below.unwindowed(&filter)).transpose()?;
            let mut exprs = Vec::new();
            let mut fields: Vec<FieldRef> = Vec::new();
            let mut stripped = Vec::new();
            for (expr, field) in columns.iter().zip(&rel.fields) {
                if let Some(Stripped::Window(attribute)) = as_column(expr).map(|index| below.columns[index]) {
                    stripped.push(Stripped::Window(attribute));
                    continue;
                }
                stripped.push(Stripped::Column(exprs.len()));
                exprs.push(below.unwindowed(expr)?);
                fields.push(Arc::clone(field));
            }
            let mut keep = |index: usize| {
                exprs.push(column(index));
                fields.push(Arc::clone(&below.input.fields[index]));
                exprs.len() - 1
            };
            let time = keep(below.time);
            let partition = below.partition.map(|columns| columns.into_iter().map(&mut keep).collect());
            let (window, mode) = (below.window, below.mode);
            let input = Rel::calc(below.input, filter, exprs, fields);
            Ok(Some(Windows { input, window, mode, time, partition, columns: stripped }))
        }
        _ => Ok(None),
    }
}

/// An aggregate of `plan` over `input`, without a name; `add` finds the column of an expression in front of the
/// aggregation.
pub(super) fn call(
    function: &AggregateFunction,
    plan: &datafusion_expr::logical_plan::Aggregate,
    input: &Rel,
    functions: &FunctionContext,
    add: &mut dyn FnMut(&Expr, &str) -> Result<usize, PlanError>,
) -> Result<AggregateCall, PlanError> {
    let kind = kind_of(&function.func).ok_or_else(|| {
        PlanError::new(format!("the aggregate '{}' is not supported", function.func.name()))
    })?;
    if !function.params.order_by.is_empty() {
        return Err(PlanError::new(format!("'{}' takes no ORDER BY", kind.name()))
            .remedy("FIRST_VALUE and LAST_VALUE go by the order of arrival"));
    }
    let mut arguments = bind_all(&function.params.args, &plan.input, input, functions)?;
    let kind = settled(kind, &mut arguments)?;
    let argument = match arguments.as_slice() {
        // COUNT(1) and COUNT(*) count rows.
        [Expr::Literal(value, _)] if !value.is_null() && kind == AggregateKind::Count => None,
        [Expr::Literal(ScalarValue::Null, _)] => {
            return Err(
                PlanError::new(format!("'{}' of NULL is always NULL", kind.name())).remedy("name a column")
            );
        }
        [argument] => Some(add(argument, &show::expression(argument, &input.fields))?),
        _ => return Err(PlanError::new(format!("'{}' takes one argument", kind.name()))),
    };
    let filter = match &function.params.filter {
        None => None,
        Some(filter) => {
            let filter = bind_all(std::slice::from_ref(filter.as_ref()), &plan.input, input, functions)?;
            filter.first().map(|filter| add(filter, &show::expression(filter, &input.fields))).transpose()?
        }
    };
    Ok(AggregateCall { kind, argument, filter, distinct: function.params.distinct, name: String::new() })
}

/// The aggregate with what its arguments behind the first say; the first is left.
pub(super) fn settled(kind: AggregateKind, arguments: &mut Vec<Expr>) -> Result<AggregateKind, PlanError> {
    let kind = match (kind, arguments.as_slice()) {
        (AggregateKind::ListAgg(_), [_, Expr::Literal(ScalarValue::Utf8(Some(separator)), _)]) => {
            AggregateKind::ListAgg(separator.clone().into())
        }
        (AggregateKind::ListAgg(_), [_, _]) => {
            return Err(
                PlanError::new("the separator of LISTAGG is no text").remedy("write LISTAGG(name, '; ')")
            );
        }
        (AggregateKind::Percentile(_), [_, fraction]) => AggregateKind::Percentile(fractions(fraction)?),
        (AggregateKind::ApproxPercentile(_), [_, fraction]) => {
            AggregateKind::ApproxPercentile(fractions(fraction)?)
        }
        (kind, _) => return Ok(kind),
    };
    arguments.truncate(1);
    Ok(kind)
}

/// The fractions of a percentile: a number of the text, or a list of them.
fn fractions(expr: &Expr) -> Result<Fractions, PlanError> {
    let wrong = || {
        PlanError::new("the fraction of a percentile is a number of the text")
            .remedy("write PERCENTILE(v, 0.95)")
    };
    let mut paths = Vec::new();
    paths_in(expr, &mut paths);
    if !paths.is_empty() {
        return Err(wrong());
    }
    let value = match constant(expr)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0)?,
    };
    let number = |value: &ScalarValue| match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(number))) => Ok(number),
        _ => Err(wrong()),
    };
    let ScalarValue::List(list) = &value else { return Ok(Fractions::new(&[number(&value)?], false)?) };
    let items = list.values();
    let numbers = (0..items.len()).map(|at| number(&ScalarValue::try_from_array(items, at)?));
    Ok(Fractions::new(&numbers.collect::<Result<Vec<_>, PlanError>>()?, true)?)
}

/// Sessions belong to a key: what PARTITION BY names is what GROUP BY has to name.
fn check_partition(
    windows: &Windows,
    front: &Front,
    keys: &[usize],
) -> Result<(), (&'static str, &'static str)> {
    let (WindowAssigner::Session { .. }, Some(partition)) = (windows.window, &windows.partition) else {
        return Ok(());
    };
    let mut grouped: Vec<Option<usize>> = keys.iter().map(|key| as_column(&front.columns[*key])).collect();
    let mut partition: Vec<Option<usize>> = partition.iter().map(|column| Some(*column)).collect();
    grouped.sort_unstable();
    partition.sort_unstable();
    // The same column may have been kept under two numbers: compare what the numbers stand for.
    let origin = |index: Option<usize>| match (&windows.input.kind, index) {
        (RelKind::Calc { columns, .. }, Some(index)) => columns.get(index).cloned(),
        (_, Some(index)) => Some(column(index)),
        (_, None) => None,
    };
    let grouped: Vec<_> = grouped.into_iter().map(origin).collect();
    let partition: Vec<_> = partition.into_iter().map(origin).collect();
    let same = grouped.len() == partition.len() && grouped.iter().all(|key| partition.contains(key));
    if same {
        return Ok(());
    }
    Err((
        "the keys of GROUP BY are not those of SESSION's PARTITION BY",
        "name the same columns in both: SESSION(TABLE t PARTITION BY key, …) … GROUP BY window_start, window_end, key",
    ))
}

pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

pub(super) fn fields_of_plan(plan: &datafusion_expr::logical_plan::Aggregate) -> Vec<FieldRef> {
    plan.schema.fields().iter().cloned().collect()
}
