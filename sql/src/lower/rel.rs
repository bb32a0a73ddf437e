//! The relational tree between a logical plan and the graph: few kinds of nodes, columns by number.
//!
//! A [`Rel`] has fields (names and types of what it gives) and a kind. build.rs makes it of a logical plan, need.rs
//! finds what of it is needed, emit.rs turns it into graph nodes.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, FieldRef};
use datafusion_expr::Expr;
use millstream_operators::recognize::{Pattern, Read};
use millstream_operators::window::TimeMode;
use millstream_operators::{AggregateCall, AsOf, Frame, JoinKind, SortKey, TimeBounds, WindowAssigner};
use sqlparser::tokenizer::Span;

use super::columns::{as_column, as_path, is_infallible, is_trivial, paths_in, substitute};
use super::lookup::Lookup;
use super::sort::Sort;
use super::unnest::Unnest;
use crate::table::TableEntry;

#[derive(Clone)]
pub(crate) struct Rel {
    pub kind: RelKind,
    pub fields: Vec<FieldRef>,
}

#[derive(Clone)]
pub(crate) enum RelKind {
    /// All declared columns of a table.
    Table(Arc<TableEntry>),
    /// Keeps rows where `filter` holds, and computes `columns` of them.
    Calc { input: Box<Rel>, filter: Option<Expr>, columns: Vec<Expr> },
    /// The input's columns, and the three of the window.
    Windowed {
        input: Box<Rel>,
        window: WindowAssigner,
        time: usize,
        mode: TimeMode,
        partition: Option<Vec<usize>>,
    },
    /// The input's columns, and the watermark that each row comes under.
    Clocked { input: Box<Rel> },
    /// The rows once for each grouping set: their columns, the keys as the set has them, the set's number.
    Expand { input: Box<Rel>, keys: Vec<usize>, sets: Vec<Vec<bool>> },
    /// The columns of the input but the last, as often as that says.
    Repeat { input: Box<Rel> },
    /// The input's columns, and those of the items of a list, a row an item.
    Unnest(Box<Unnest>),
    /// Keys, aggregates, `window_start`, `window_end`, `window_time`. Arguments are columns of the input.
    Aggregate(Box<Aggregate>),
    /// Keys and aggregates, a row a key, which changes.
    Group(Box<Group>),
    /// The input's columns and the row's number in its partition: of those rows whose number lies in the bounds.
    Rank(Box<Rank>),
    /// The input's columns and what is computed over the rows before each.
    Over(Box<Over>),
    /// The partition's columns and what is read of each match.
    Recognize(Box<Recognize>),
    /// The input's columns, in order of time.
    Sort(Box<Sort>),
    /// The columns of the left and of the right, or of the left alone.
    Join(Box<Join>),
    /// The columns of the left and of a table that is looked up in.
    Lookup(Box<Lookup>),
    /// The rows of all inputs, which have the same types.
    Union { inputs: Vec<Rel> },
    /// Rows of the text.
    Values(RecordBatch),
}

#[derive(Clone)]
pub(crate) struct Aggregate {
    pub input: Rel,
    pub keys: Vec<usize>,
    pub window: WindowAssigner,
    /// Event-time column of the input; none for processing time. The end of the window, where it is attached.
    pub time: Option<usize>,
    /// The columns of the input that the start and the end of its window are in already.
    pub attached: Option<[usize; 2]>,
    pub time_type: DataType,
    pub calls: Vec<AggregateCall>,
    /// Where its late rows go, if to a table.
    pub late: Option<LateRows>,
}

/// An aggregation without a window.
#[derive(Clone)]
pub(crate) struct Group {
    pub input: Rel,
    pub keys: Vec<usize>,
    pub calls: Vec<AggregateCall>,
    /// Where it stands in the text.
    pub place: Option<Span>,
}

/// Rows numbered by partition.
#[derive(Clone)]
pub(crate) struct Rank {
    pub input: Rel,
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    /// The first and last number that are wanted; none until a filter says it.
    pub bounds: Option<(usize, usize)>,
    /// Where it stands in the text.
    pub place: Option<Span>,
}

/// Aggregates with OVER.
#[derive(Clone)]
pub(crate) struct Over {
    pub input: Rel,
    pub partition: Vec<usize>,
    pub time: usize,
    pub mode: TimeMode,
    pub frame: Frame,
    /// Arguments are columns of the input.
    pub calls: Vec<AggregateCall>,
    /// Where it stands in the text.
    pub place: Option<Span>,
}

/// A row pattern.
#[derive(Clone)]
pub(crate) struct Recognize {
    pub input: Rel,
    pub partition: Vec<usize>,
    /// The time first.
    pub order: Vec<SortKey>,
    pub mode: TimeMode,
    pub pattern: Pattern,
    /// By variable.
    pub definitions: Vec<Option<Condition>>,
    pub measures: Vec<Read>,
    /// Where it stands in the text.
    pub place: Span,
}

/// What a row must be for a variable of a pattern to take it.
#[derive(Clone)]
pub(crate) struct Condition {
    pub reads: Vec<Read>,
    /// Over the columns that `reads` make.
    pub condition: Expr,
    /// It reads nothing but the row itself, and cannot fail.
    pub is_plain: bool,
}

/// A join of two inputs.
#[derive(Clone)]
pub(crate) struct Join {
    pub left: Rel,
    pub right: Rel,
    pub kind: JoinKind,
    /// Everything that must hold, over the columns of the left and then of the right.
    pub on: Vec<Expr>,
    /// Of that, what must be equal: over the left's columns, and over the right's.
    pub keys: Vec<(Expr, Expr)>,
    /// Of that, what must be true besides.
    pub residual: Vec<Expr>,
    pub nulls_equal: bool,
    /// What time says of it, if anything, and by which column of each side.
    pub bounds: Option<TimeBounds>,
    pub times: [usize; 2],
    /// Rows of the left meet one of the right that was there before.
    pub past: Option<Past>,
    /// Where it stands in the text.
    pub place: Option<Span>,
}

/// Which row of the right's past one of the left meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// What the table held at its time.
    Version,
    /// The last before it.
    Row(AsOf),
}

/// The table that takes the late rows of a window.
#[derive(Clone)]
pub(crate) struct LateRows {
    pub target: Arc<TableEntry>,
    /// The target's columns, by number in the window's input.
    pub columns: Vec<usize>,
}

/// What a column is beside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Plain,
    EventTime,
    ProcessingTime,
    WindowStart,
    WindowEnd,
    WindowTime,
}

impl Rel {
    /// A projection and filter over `input`, merged with one below where that computes nothing twice and shows no
    /// row to an expression that a filter keeps it from.
    pub fn calc(input: Rel, filter: Option<Expr>, columns: Vec<Expr>, fields: Vec<FieldRef>) -> Rel {
        let merges = match &input.kind {
            RelKind::Calc { filter: inner_filter, columns: inner, .. } => {
                let outer_filter_ok = filter.as_ref().is_none_or(is_infallible) || inner_filter.is_none();
                outer_filter_ok && uses_once(inner, columns.iter().chain(&filter))
            }
            _ => false,
        };
        match input.kind {
            RelKind::Calc { input: below, filter: inner_filter, columns: inner } if merges => {
                let with = |index: usize| inner[index].clone();
                let outer_filter = filter.map(|filter| substitute(&filter, &with));
                let filter = match (inner_filter, outer_filter) {
                    (Some(inner), Some(outer)) => Some(inner.and(outer)),
                    (one, other) => one.or(other),
                };
                let columns = columns.iter().map(|column| substitute(column, &with)).collect();
                Rel { kind: RelKind::Calc { input: below, filter, columns }, fields }
            }
            _ => Rel { kind: RelKind::Calc { input: Box::new(input), filter, columns }, fields },
        }
    }

    /// What column `index` stands for.
    pub fn attribute(&self, index: usize) -> Attribute {
        match &self.kind {
            RelKind::Table(table) => match (&table.watermark, &table.columns[index]) {
                (Some((time, _)), _) if *time == index => Attribute::EventTime,
                (_, crate::table::ColumnSource::Computed(expr)) if is_proctime(expr) => {
                    Attribute::ProcessingTime
                }
                _ => Attribute::Plain,
            },
            RelKind::Calc { input, columns, .. } => match as_column(&columns[index]) {
                Some(below) => input.attribute(below),
                None if is_proctime(&columns[index]) => Attribute::ProcessingTime,
                None => Attribute::Plain,
            },
            RelKind::Windowed { input, mode, .. } => match index.checked_sub(input.fields.len()) {
                None => input.attribute(index),
                Some(0) => Attribute::WindowStart,
                Some(1) => Attribute::WindowEnd,
                Some(_) if *mode == TimeMode::Event => Attribute::WindowTime,
                Some(_) => Attribute::ProcessingTime,
            },
            RelKind::Expand { input, .. } | RelKind::Clocked { input } if index < input.fields.len() => {
                input.attribute(index)
            }
            RelKind::Sort(sort) => sort.input.attribute(index),
            RelKind::Unnest(unnest) if index < unnest.input.fields.len() => unnest.input.attribute(index),
            RelKind::Aggregate(aggregate) => {
                let first = aggregate.keys.len() + aggregate.calls.len();
                match index.checked_sub(first) {
                    Some(0) if aggregate.time.is_some() => Attribute::WindowStart,
                    Some(1) if aggregate.time.is_some() => Attribute::WindowEnd,
                    Some(2) if aggregate.time.is_some() => Attribute::EventTime,
                    _ => Attribute::Plain,
                }
            }
            RelKind::Union { inputs } => {
                let mut attributes = inputs.iter().map(|input| input.attribute(index));
                let first = attributes.next().unwrap_or(Attribute::Plain);
                let all = attributes.all(|other| other == first);
                if all && matches!(first, Attribute::EventTime | Attribute::ProcessingTime) {
                    first
                } else {
                    Attribute::Plain
                }
            }
            RelKind::Rank(rank) => {
                let keeps = rank.window_end().is_some() || rank.keeps_first_arrival();
                if keeps && index < rank.input.fields.len() {
                    rank.input.attribute(index)
                } else {
                    Attribute::Plain
                }
            }
            RelKind::Lookup(lookup) if index < lookup.left.fields.len() => lookup.left.attribute(index),
            RelKind::Over(over) if index < over.input.fields.len() => over.input.attribute(index),
            RelKind::Join(join) if join.past.is_some() && index < join.left.fields.len() => {
                join.left.attribute(index)
            }
            RelKind::Join(join) if join.bounds.is_some() => match index.checked_sub(join.left.fields.len()) {
                None => join.left.attribute(index),
                Some(index) => join.right.attribute(index),
            },
            RelKind::Recognize(recognize) => match index.checked_sub(recognize.partition.len()) {
                Some(index)
                    if recognize.mode == TimeMode::Event
                        && matches!(recognize.measures[index], Read::Time(_)) =>
                {
                    Attribute::EventTime
                }
                _ => Attribute::Plain,
            },
            RelKind::Over(_)
            | RelKind::Join(_)
            | RelKind::Lookup(_)
            | RelKind::Expand { .. }
            | RelKind::Clocked { .. }
            | RelKind::Repeat { .. }
            | RelKind::Unnest(_)
            | RelKind::Group(_)
            | RelKind::Values(_) => Attribute::Plain,
        }
    }

    /// What it reads from.
    pub fn inputs(&self) -> Vec<&Rel> {
        match &self.kind {
            RelKind::Table(_) | RelKind::Values(_) => Vec::new(),
            RelKind::Calc { input, .. }
            | RelKind::Windowed { input, .. }
            | RelKind::Clocked { input }
            | RelKind::Repeat { input }
            | RelKind::Expand { input, .. } => vec![input],
            RelKind::Unnest(unnest) => vec![&unnest.input],
            RelKind::Sort(sort) => vec![&sort.input],
            RelKind::Aggregate(aggregate) => vec![&aggregate.input],
            RelKind::Group(group) => vec![&group.input],
            RelKind::Rank(rank) => vec![&rank.input],
            RelKind::Over(over) => vec![&over.input],
            RelKind::Recognize(recognize) => vec![&recognize.input],
            RelKind::Join(join) => vec![&join.left, &join.right],
            RelKind::Lookup(lookup) => vec![&lookup.left],
            RelKind::Union { inputs } => inputs.iter().collect(),
        }
    }

    /// As [`Rel::inputs`].
    pub fn inputs_mut(&mut self) -> Vec<&mut Rel> {
        match &mut self.kind {
            RelKind::Table(_) | RelKind::Values(_) => Vec::new(),
            RelKind::Calc { input, .. }
            | RelKind::Windowed { input, .. }
            | RelKind::Clocked { input }
            | RelKind::Repeat { input }
            | RelKind::Expand { input, .. } => vec![input],
            RelKind::Unnest(unnest) => vec![&mut unnest.input],
            RelKind::Sort(sort) => vec![&mut sort.input],
            RelKind::Aggregate(aggregate) => vec![&mut aggregate.input],
            RelKind::Group(group) => vec![&mut group.input],
            RelKind::Rank(rank) => vec![&mut rank.input],
            RelKind::Over(over) => vec![&mut over.input],
            RelKind::Recognize(recognize) => vec![&mut recognize.input],
            RelKind::Join(join) => vec![&mut join.left, &mut join.right],
            RelKind::Lookup(lookup) => vec![&mut lookup.left],
            RelKind::Union { inputs } => inputs.iter_mut().collect(),
        }
    }

    /// True when rows that were given are updated or taken back later.
    pub fn updates(&self) -> bool {
        match &self.kind {
            RelKind::Group(group) => !group.calls.is_empty() || group.input.updates(),
            RelKind::Rank(rank) => rank.window_end().is_none() && !rank.keeps_first_arrival(),
            RelKind::Join(join) if join.bounds.is_some() || join.past.is_some() => false,
            RelKind::Join(join) => {
                let pads = join.kind.pads(0) || join.kind.pads(1);
                pads || join.left.updates() || join.right.updates()
            }
            _ => self.inputs().into_iter().any(Rel::updates),
        }
    }

    /// How many rows there will be at most, where the query says it.
    pub fn rows_max(&self) -> Option<usize> {
        match &self.kind {
            RelKind::Calc { input, filter: None, .. } => input.rows_max(),
            RelKind::Rank(rank) => rank.rows_max(),
            _ => None,
        }
    }

    /// Columns that tell the rows that hold at one time apart, where that is known.
    pub fn unique_key(&self) -> Option<Vec<usize>> {
        match &self.kind {
            RelKind::Calc { input, columns, .. } => {
                let of = |below: usize| columns.iter().position(|expr| as_column(expr) == Some(below));
                input.unique_key()?.into_iter().map(of).collect()
            }
            RelKind::Group(group) => Some((0..group.keys.len()).collect()),
            RelKind::Rank(rank) => {
                let one = rank.bounds.is_some_and(|(from, to)| from == to);
                let number = (!one).then_some(rank.input.fields.len());
                Some(rank.partition.iter().copied().chain(number).collect())
            }
            _ => None,
        }
    }

    /// True when what was said of a key can be said anew without the old row first: nothing between the operator that
    /// holds it and here goes by a row's values.
    pub fn replaces_by_key(&self) -> bool {
        match &self.kind {
            RelKind::Calc { input, filter: None, .. } => input.replaces_by_key(),
            RelKind::Group(_) | RelKind::Rank(_) => true,
            _ => false,
        }
    }

    /// True when a table below keeps a clock for each value of its keys.
    pub fn has_keyed_clocks(&self) -> bool {
        match &self.kind {
            RelKind::Table(table) => !table.clock_keys.is_empty(),
            RelKind::Calc { input, .. }
            | RelKind::Windowed { input, .. }
            | RelKind::Clocked { input }
            | RelKind::Expand { input, .. } => input.has_keyed_clocks(),
            RelKind::Lookup(lookup) => lookup.left.has_keyed_clocks(),
            RelKind::Unnest(unnest) => unnest.input.has_keyed_clocks(),
            // What leaves a window goes by the stream's watermark.
            RelKind::Repeat { .. }
            | RelKind::Aggregate(_)
            | RelKind::Group(_)
            | RelKind::Over(_)
            | RelKind::Sort(_)
            | RelKind::Recognize(_)
            | RelKind::Join(_)
            | RelKind::Values(_) => false,
            RelKind::Rank(rank) => rank.keeps_first_arrival() && rank.input.has_keyed_clocks(),
            RelKind::Union { inputs } => inputs.iter().any(Rel::has_keyed_clocks),
        }
    }
}

/// How to keep state from growing where a window would.
const IN_WINDOWS: &str = "use a window: FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY \
                          window_start, window_end, …";

/// State that no time and no end of a window takes away.
pub(crate) struct Unbounded {
    /// What keeps it.
    pub what: &'static str,
    /// What to do so that it does not, beside saying how long it is kept.
    pub remedy: &'static str,
    /// Where it stands in the text.
    pub place: Option<Span>,
}

/// What of `rel` itself keeps state that no time and no end of a window takes away.
pub(crate) fn unbounded_state(rel: &Rel) -> Option<Unbounded> {
    let (what, place) = match &rel.kind {
        RelKind::Repeat { .. } => ("INTERSECT ALL or EXCEPT ALL", None),
        RelKind::Group(group) if !group.keys.is_empty() => {
            let what = if group.calls.is_empty() { "DISTINCT" } else { "this aggregate has no window, and" };
            (what, group.place)
        }
        RelKind::Rank(rank) if rank.window_end().is_none() && !rank.partition.is_empty() => {
            ("ROW_NUMBER without a window", rank.place)
        }
        RelKind::Over(over) if !over.partition.is_empty() => ("OVER", over.place),
        RelKind::Join(join) if join.past == Some(Past::Version) => ("a table of versions", join.place),
        RelKind::Join(join) if matches!(join.past, Some(Past::Row(_))) => {
            let is_limited = matches!(join.past, Some(Past::Row(AsOf { most_ms: Some(_), .. })));
            if is_limited || join.keys.is_empty() {
                return None;
            }
            let remedy = "say how old the row may be: MATCH_CONDITION (a.ts >= b.ts AND a.ts - INTERVAL '1' HOUR <= b.ts)";
            return Some(Unbounded { what: "an ASOF join", remedy, place: join.place });
        }
        RelKind::Join(join) if join.bounds.is_none() => ("a join that no time limits", join.place),
        RelKind::Recognize(recognize) if recognize.is_unbounded() => {
            let remedy = "limit how long a match takes: PATTERN (…) WITHIN INTERVAL '1' MINUTE";
            let what = "a pattern without WITHIN";
            return Some(Unbounded { what, remedy, place: Some(recognize.place) });
        }
        _ => return None,
    };
    Some(Unbounded { what, remedy: IN_WINDOWS, place })
}

impl Recognize {
    /// True when attempts at a match may be kept for ever: by key, or with rows without number.
    fn is_unbounded(&self) -> bool {
        let is_small = self.partition.is_empty() && self.pattern.has_most_rows();
        self.pattern.within_ms().is_none() && !is_small
    }
}

fn is_proctime(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name().eq_ignore_ascii_case("proctime"))
}

/// Whether every computed column of `inner` is used at most once by `outer`, and none that changes by the call.
fn uses_once<'a>(inner: &[Expr], outer: impl Iterator<Item = &'a Expr>) -> bool {
    let mut paths = Vec::new();
    outer.for_each(|expr| paths_in(expr, &mut paths));
    let mut uses = vec![0_usize; inner.len()];
    paths.iter().for_each(|(index, _)| uses[*index] += 1);
    // A path into a computed ROW would not be seen as one after the merge.
    let fields_of_computed =
        paths.iter().any(|(index, path)| !path.is_empty() && as_path(&inner[*index]).is_none());
    !fields_of_computed && inner.iter().zip(uses).all(|(expr, uses)| uses <= 1 || is_trivial(expr))
}
