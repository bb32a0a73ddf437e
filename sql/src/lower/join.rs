//! Joins: which equalities are keys, whether time limits the join, what is left as a condition.
//!
//! A join keeps its whole condition, so that a filter above an inner join can be made part of it. Conditions are over the
//! columns of the left and then of the right; those of one side go below the join where that does not change the answer.

use arrow_schema::{DataType, FieldRef};
use datafusion_common::{DFSchema, NullEquality, ScalarValue};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, JoinType, Operator};
use millstream_operators::{AsOf, JoinKind, TimeBounds};
use sqlparser::tokenizer::Span;

use super::build::{bind_all, build, filtered, span_of};
use super::columns::{as_column, bind, column, indexed, is_infallible, paths_in, substitute, type_of};
use super::rel::{Attribute, Join, Past, Rank, Rel, RelKind};
use super::sets::{is_set_of_all, set_of_all};
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;
use crate::plan::fields::access;
use crate::plan::versions::{as_match, as_version};

/// Lowers a join.
pub(super) fn join(
    plan: &datafusion_expr::logical_plan::Join,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    if is_set_of_all(plan) {
        return set_of_all(plan, functions);
    }
    let (left, right) = (build(&plan.left, functions)?, build(&plan.right, functions)?);
    let place = span_of(plan.on.iter().flat_map(|(left, right)| [left, right]).chain(&plan.filter));
    let kind = match plan.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::Semi,
        JoinType::LeftAnti => JoinKind::Anti,
        _ => {
            let mut error = PlanError::new("this condition needs a kind of join that is not supported yet");
            error.span = place;
            return Err(error.remedy("put IN and EXISTS next to other conditions with AND, not under OR"));
        }
    };
    let width = left.fields.len();
    let mut conditions = Vec::new();
    for (one, other) in &plan.on {
        let one = bind_all(std::slice::from_ref(one), &plan.left, &left, functions)?;
        let other = bind_all(std::slice::from_ref(other), &plan.right, &right, functions)?;
        for (one, other) in one.into_iter().zip(other) {
            conditions.push(one.eq(substitute(&other, &|index| column(index + width))));
        }
    }
    if let Some(filter) = &plan.filter {
        let names = plan.left.schema().join(plan.right.schema())?;
        let numbers = indexed(&both(&left, &right));
        let filter = bind(filter.clone(), &names, &numbers, functions)?;
        for condition in split_conjunction_owned(filter) {
            conditions.push(by_fields(condition, &numbers)?);
        }
        // NOT IN: a comparison with NULL may be true, so that it keeps the row out too; the planner puts it in front.
        if let (true, Some(first)) = (plan.null_aware, conditions.first_mut()) {
            *first = first.clone().is_not_false();
        }
        conditions = conditions.into_iter().flat_map(split_conjunction_owned).collect();
    }
    if let Some(at) = conditions.iter().position(|condition| as_match(condition).is_some()) {
        let matches = conditions.remove(at);
        conditions.extend(as_match(&matches).cloned().map(split_conjunction_owned).into_iter().flatten());
        let fields = plan.schema.fields().iter().cloned().collect();
        let matched = plan.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let matched = span_of(matched.iter().filter(|condition| as_match(condition).is_some()));
        return as_of(left, right, kind, conditions, fields, [place, matched]);
    }
    if let Some(at) = conditions.iter().position(|condition| as_version(condition).is_some()) {
        let version = conditions.remove(at);
        let fields = plan.schema.fields().iter().cloned().collect();
        let time = as_version(&version).and_then(as_column);
        return versioned(left, right, kind, (conditions, time), fields, place);
    }
    let nulls_equal = plan.null_equality == NullEquality::NullEqualsNull;
    joined(left, right, kind, conditions, nulls_equal, plan.schema.fields().iter().cloned().collect(), place)
}

/// ROWs that must be equal as fields that must: one that is NULL is equal to none, and different from none.
fn by_fields(condition: Expr, schema: &DFSchema) -> Result<Expr, PlanError> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &condition else {
        return Ok(condition);
    };
    let DataType::Struct(fields) = type_of(left, schema)? else { return Ok(condition) };
    let of = |row: &Expr, at: usize| match row {
        Expr::ScalarFunction(call) if call.func.name() == "row" => call.args[at].clone(),
        _ => access(row.clone(), fields[at].name()),
    };
    let pairs = (0..fields.len()).map(|at| of(left, at).eq(of(right, at)));
    Ok(conjunction(pairs).unwrap_or(condition))
}

fn both(left: &Rel, right: &Rel) -> Vec<FieldRef> {
    left.fields.iter().chain(&right.fields).cloned().collect()
}

/// The join of `left` and `right` where all of `conditions` hold.
pub(super) fn joined(
    mut left: Rel,
    mut right: Rel,
    kind: JoinKind,
    conditions: Vec<Expr>,
    nulls_equal: bool,
    fields: Vec<FieldRef>,
    place: Option<Span>,
) -> Result<Rel, PlanError> {
    let width = left.fields.len();
    // Between two conditions of times lies more than either says.
    let conditions: Vec<Expr> = conditions.into_iter().flat_map(without_between).collect();
    let mut on = Vec::new();
    for condition in conditions {
        let safe = is_infallible(&condition);
        match side_of(&condition, width) {
            Some(0) if safe && matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi) => {
                left = filtered(left, vec![condition])?;
            }
            Some(1) if safe && kind != JoinKind::Right && kind != JoinKind::Full => {
                right = filtered(right, vec![substitute(&condition, &|index| column(index - width))])?;
            }
            _ => on.push(condition),
        }
    }
    let schema = indexed(&both(&left, &right));
    let (mut keys, mut residual) = (Vec::new(), Vec::new());
    for condition in &on {
        match equality(condition, width) {
            Some((one, other))
                if type_of(&one, &schema)? == type_of(&other, &schema)?
                    && is_infallible(&one)
                    && is_infallible(&other) =>
            {
                keys.push((one, substitute(&other, &|index| column(index - width))));
            }
            _ => residual.push(condition.clone()),
        }
    }
    let mut join = Join {
        left,
        right,
        kind,
        on,
        keys,
        residual,
        nulls_equal,
        bounds: None,
        times: [0, 0],
        past: None,
        place,
    };
    if !join.left.updates() && !join.right.updates() {
        by_window(&mut join);
        if join.bounds.is_none() {
            by_interval(&mut join);
        }
    }
    Ok(Rel { kind: RelKind::Join(Box::new(join)), fields })
}

/// A join with a table as it was at the time in column `time` of the left.
fn versioned(
    left: Rel,
    right: Rel,
    kind: JoinKind,
    (conditions, time): (Vec<Expr>, Option<usize>),
    fields: Vec<FieldRef>,
    place: Option<Span>,
) -> Result<Rel, PlanError> {
    let refuse = |message: &str, remedy: &str| {
        let mut error = PlanError::new(message).remedy(remedy);
        error.span = place;
        error
    };
    let width = left.fields.len();
    let attribute = time.filter(|time| *time < width).map(|time| left.attribute(time));
    let time = match (time, attribute) {
        (Some(time), Some(Attribute::EventTime | Attribute::WindowTime)) => time,
        (_, Some(Attribute::ProcessingTime)) => {
            return super::lookup::lookup(left, &right, kind, conditions, fields, place);
        }
        _ => {
            return Err(refuse(
                "FOR SYSTEM_TIME AS OF goes by a time attribute of the table at the left",
                "write FOR SYSTEM_TIME AS OF a.ts, with WATERMARK FOR ts in the table a",
            ));
        }
    };
    if left.updates() || !matches!(kind, JoinKind::Inner | JoinKind::Left) {
        return Err(refuse(
            "FOR SYSTEM_TIME AS OF joins rows that stay, inner or left",
            "write FROM a [LEFT] JOIN t FOR SYSTEM_TIME AS OF a.ts ON a.key = t.key, with a table a of new rows",
        ));
    }
    let Some(key) = version_key(&right) else {
        return Err(refuse(
            "the table at the right has no key that its versions are of",
            "declare PRIMARY KEY (key) NOT ENFORCED, or number its rows by key and time in a view, and keep the last",
        ));
    };
    let right = history(right);
    let Some(right_time) =
        (0..right.fields.len()).find(|column| right.attribute(*column) == Attribute::EventTime)
    else {
        return Err(refuse("the table at the right has no event time", "declare WATERMARK FOR ts AS ts"));
    };
    // What is said of a version alone decides whether it matches, and not which one is the latest.
    let (of_version, conditions): (Vec<_>, Vec<_>) =
        conditions.into_iter().partition(|condition| side_of(condition, width) == Some(1));
    let rel = joined(left, right, kind, conditions, false, fields, place)?;
    match rel.kind {
        RelKind::Join(mut join) => {
            join.on.extend(of_version.iter().cloned());
            join.residual.extend(of_version);
            let equal: Vec<usize> = join.keys.iter().filter_map(|(_, other)| as_column(other)).collect();
            if !key.iter().all(|column| equal.contains(column)) {
                return Err(refuse(
                    "the key of the table at the right must be among what is equal",
                    "write ON a.key = t.key",
                ));
            }
            let join = Join { bounds: None, times: [time, right_time], past: Some(Past::Version), ..*join };
            Ok(Rel { kind: RelKind::Join(Box::new(join)), ..rel })
        }
        _ => Ok(rel),
    }
}

/// The columns whose values `rel` has one row for at a time.
fn version_key(rel: &Rel) -> Option<Vec<usize>> {
    match &rel.kind {
        RelKind::Table(entry) if !entry.table.primary_key.is_empty() => {
            let name = |column: &usize| entry.table.schema.field(*column).name().clone();
            let declared = |name: String| entry.schema.index_of(&name).ok();
            entry.table.primary_key.iter().map(name).map(declared).collect()
        }
        RelKind::Calc { input, filter: None, columns } => {
            let of = |below: usize| columns.iter().position(|expr| as_column(expr) == Some(below));
            version_key(input)?.into_iter().map(of).collect()
        }
        RelKind::Rank(rank) if keeps_last(rank) => Some(rank.partition.clone()),
        _ => None,
    }
}

/// A view of the last rows by time is a table of versions: all rows of it, which the join picks from.
fn history(rel: Rel) -> Rel {
    let Rel { kind, fields } = rel;
    match kind {
        RelKind::Rank(rank) if keeps_last(&rank) => {
            let width = rank.input.fields.len();
            let number = Expr::Literal(ScalarValue::Int64(Some(1)), None);
            let columns = (0..width).map(column).chain([number]).collect();
            Rel::calc(rank.input, None, columns, fields)
        }
        RelKind::Calc { input, filter, columns } => {
            Rel { kind: RelKind::Calc { input: Box::new(history(*input)), filter, columns }, fields }
        }
        kind => Rel { kind, fields },
    }
}

fn keeps_last(rank: &Rank) -> bool {
    let last = rank.order.first().is_some_and(|key| key.descending);
    last && rank.keeps_by_time() == Some(Attribute::EventTime) && !rank.input.updates()
}

/// An inner join below a filter takes the filter's conditions as its own. Answers what is left of them.
pub(super) fn narrowed(rel: Rel, conjuncts: Vec<Expr>) -> Result<(Rel, Vec<Expr>), PlanError> {
    match rel.kind {
        RelKind::Join(join)
            if join.kind == JoinKind::Inner && join.past.is_none() && conjuncts.iter().all(is_infallible) =>
        {
            let Join { left, right, kind, on, nulls_equal, place, .. } = *join;
            let all = on.into_iter().chain(conjuncts).collect();
            Ok((joined(left, right, kind, all, nulls_equal, rel.fields, place)?, Vec::new()))
        }
        _ => Ok((rel, conjuncts)),
    }
}

/// The side that all columns of `expr` are of.
fn side_of(expr: &Expr, width: usize) -> Option<usize> {
    let mut paths = Vec::new();
    paths_in(expr, &mut paths);
    let mut sides = paths.iter().map(|(index, _)| usize::from(*index >= width));
    let first = sides.next()?;
    sides.all(|side| side == first).then_some(first)
}

/// What must be equal, of the left and of the right.
pub(super) fn equality(condition: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    match (side_of(left, width), side_of(right, width)) {
        (Some(0), Some(1)) => Some((*left.clone(), *right.clone())),
        (Some(1), Some(0)) => Some((*right.clone(), *left.clone())),
        _ => None,
    }
}

fn without_between(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::Between(between) if !between.negated => {
            vec![between.expr.clone().gt_eq(*between.low), between.expr.lt_eq(*between.high)]
        }
        other => vec![other],
    }
}

/// A join of rows of the same windows: start and end are among the keys.
fn by_window(join: &mut Join) {
    let pair = |wanted: Attribute| {
        join.keys.iter().find_map(|(one, other)| {
            let (one, other) = (as_column(one)?, as_column(other)?);
            let both = join.left.attribute(one) == wanted && join.right.attribute(other) == wanted;
            both.then_some([one, other])
        })
    };
    if let (Some(_), Some(ends)) = (pair(Attribute::WindowStart), pair(Attribute::WindowEnd)) {
        join.bounds = Some(TimeBounds::Window);
        join.times = ends;
    }
}

/// What conditions say of the two sides' event times.
struct Apart {
    /// The column of each side.
    times: [usize; 2],
    /// Between what the left's less the right's lies, in ms.
    least_ms: i64,
    most_ms: i64,
    /// The conditions that say nothing of it.
    rest: Vec<Expr>,
}

/// What `conditions` say of the event times of `left` and `right`; none where they say nothing, or speak of several.
fn apart(left: &Rel, right: &Rel, conditions: &[Expr]) -> Option<Apart> {
    let (mut least_ms, mut most_ms, mut times, mut rest) = (i64::MIN, i64::MAX, None, Vec::new());
    for condition in conditions {
        let Some((pair, low, high)) = time_bound(left, right, condition) else {
            rest.push(condition.clone());
            continue;
        };
        if times.is_some_and(|known| known != pair) {
            return None;
        }
        times = Some(pair);
        least_ms = least_ms.max(low);
        most_ms = most_ms.min(high);
    }
    Some(Apart { times: times?, least_ms, most_ms, rest })
}

/// A join whose conditions hold the two event times to bounds of each other.
fn by_interval(join: &mut Join) {
    let Some(Apart { times, least_ms, most_ms, rest }) = apart(&join.left, &join.right, &join.on) else {
        return;
    };
    if least_ms == i64::MIN || most_ms == i64::MAX || least_ms > most_ms {
        return;
    }
    // What says the bounds is neither key nor condition any more.
    join.keys.retain(|(one, other)| [as_column(one), as_column(other)] != [Some(times[0]), Some(times[1])]);
    join.residual.retain(|condition| rest.contains(condition));
    join.bounds = Some(TimeBounds::Interval { least_ms, most_ms });
    join.times = times;
}

/// A join of each row of the left with the last row of the right that is old enough.
fn as_of(
    left: Rel,
    right: Rel,
    kind: JoinKind,
    conditions: Vec<Expr>,
    fields: Vec<FieldRef>,
    [place, matched]: [Option<Span>; 2],
) -> Result<Rel, PlanError> {
    let refuse = |span: Option<Span>, message: &str, remedy: &str| {
        let mut error = PlanError::new(message).remedy(remedy);
        error.span = span;
        error
    };
    if left.updates() || right.updates() {
        return Err(refuse(
            place,
            "an ASOF join is of rows that stay, and these are updated later",
            "join tables of new rows, and aggregate in the query around",
        ));
    }
    let conditions: Vec<Expr> = conditions.into_iter().flat_map(without_between).collect();
    let Some(Apart { times, least_ms, most_ms, rest }) = apart(&left, &right, &conditions) else {
        return Err(refuse(
            matched,
            "MATCH_CONDITION compares the event time of the left with that of the right",
            "write MATCH_CONDITION (a.ts >= b.ts), with WATERMARK FOR ts in both tables, both TIMESTAMP(3) or both \
             TIMESTAMP_LTZ(3)",
        ));
    };
    if least_ms < 0 || most_ms < least_ms {
        return Err(refuse(
            matched,
            "an ASOF join looks for a row at or before the left's, not after it",
            "write MATCH_CONDITION (a.ts >= b.ts), or with a limit (a.ts >= b.ts AND a.ts - INTERVAL '5' SECOND <= b.ts)",
        ));
    }
    let rel = joined(left, right, kind, rest, false, fields, place)?;
    match rel.kind {
        RelKind::Join(join) if join.residual.is_empty() => {
            let most_ms = (most_ms < i64::MAX).then_some(most_ms);
            let past = Some(Past::Row(AsOf { least_ms, most_ms }));
            Ok(Rel { kind: RelKind::Join(Box::new(Join { bounds: None, times, past, ..*join })), ..rel })
        }
        _ => Err(refuse(
            place,
            "ON of an ASOF join says what is equal, and nothing else",
            "write ON a.key = b.key, of equal types; filter the tables in subqueries, and the pairs in WHERE",
        )),
    }
}

/// The event times that `condition` compares, and between what their difference lies (left less right).
fn time_bound(left_rel: &Rel, right_rel: &Rel, condition: &Expr) -> Option<([usize; 2], i64, i64)> {
    let width = left_rel.fields.len();
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (one, by_one) = time_term(left)?;
    let (other, by_other) = time_term(right)?;
    let (op, one, by_one, other, by_other) = match (one < width, other < width) {
        (true, false) => (*op, one, by_one, other, by_other),
        (false, true) => (op.swap()?, other, by_other, one, by_one),
        _ => return None,
    };
    let pair = [one, other - width];
    let is_time = |attribute: Attribute| matches!(attribute, Attribute::EventTime | Attribute::WindowTime);
    if !is_time(left_rel.attribute(pair[0])) || !is_time(right_rel.attribute(pair[1])) {
        return None;
    }
    // one + by_one <op> other + by_other
    let apart = by_other - by_one;
    let (low, high) = match op {
        Operator::Eq => (apart, apart),
        Operator::GtEq => (apart, i64::MAX),
        Operator::Gt => (apart + 1, i64::MAX),
        Operator::LtEq => (i64::MIN, apart),
        Operator::Lt => (i64::MIN, apart - 1),
        _ => return None,
    };
    Some((pair, low, high))
}

/// `ts`, `ts + INTERVAL …` or `ts - INTERVAL …`.
fn time_term(expr: &Expr) -> Option<(usize, i64)> {
    if let Some(index) = as_column(expr) {
        return Some((index, 0));
    }
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (index, by) = time_term(left)?;
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(more)), _) = right.as_ref() else { return None };
    if more.months != 0 || more.nanoseconds % 1_000_000 != 0 {
        return None;
    }
    let more_ms = i64::from(more.days) * 86_400_000 + more.nanoseconds / 1_000_000;
    match op {
        Operator::Plus => Some((index, by + more_ms)),
        Operator::Minus => Some((index, by - more_ms)),
        _ => None,
    }
}
