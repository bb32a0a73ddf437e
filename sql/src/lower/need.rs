//! What is needed of each table, over all statements of a text: which columns, which fields of ROWs, and whether its
//! event time has to be kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_expr::Expr;
use millstream_operators::recognize::Read;
use millstream_operators::window::TimeMode;
use millstream_operators::{CutRule, TimeBounds, WindowAssigner};

use super::columns::{as_path, paths_in};
use super::lookup::Lookup;
use super::rel::{Join, Past, Recognize, Rel, RelKind};
use crate::table::{ColumnSource, TableEntry};

/// What is needed of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Need {
    #[default]
    Nothing,
    Fields(BTreeMap<String, Need>),
    All,
}

impl Need {
    pub fn is_any(&self) -> bool {
        *self != Self::Nothing
    }

    fn add(&mut self, path: &[String], inner: &Need) {
        if *inner == Self::Nothing || *self == Self::All {
            return;
        }
        match path.split_first() {
            None => match inner {
                Self::Fields(fields) => {
                    fields.iter().for_each(|(name, need)| self.add(std::slice::from_ref(name), need))
                }
                _ => *self = Self::All,
            },
            Some((name, rest)) => {
                if *self == Self::Nothing {
                    *self = Self::Fields(BTreeMap::new());
                }
                if let Self::Fields(fields) = self {
                    fields.entry(name.clone()).or_default().add(rest, inner);
                }
            }
        }
    }

    /// `field` with only what is needed of it.
    pub fn prune(&self, field: &FieldRef) -> FieldRef {
        match (self, field.data_type()) {
            (Self::Fields(needs), DataType::Struct(fields)) => {
                let kept =
                    fields.iter().filter_map(|child| needs.get(child.name()).map(|need| need.prune(child)));
                Arc::new(Field::new(field.name(), DataType::Struct(kept.collect()), field.is_nullable()))
            }
            _ => Arc::clone(field),
        }
    }
}

/// What is needed of a table.
pub(super) struct TableNeed {
    /// By declared column.
    pub declared: Vec<Need>,
    /// By column of the connector.
    pub connector: Vec<Need>,
    /// Windows go by its event time.
    pub time: bool,
    pub cuts: Vec<Cut>,
    /// Its rows carry the watermark they come under.
    pub stamps: bool,
}

/// What reads a table's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Windows cut into slices of this length and offset, in ms.
    Slices(i64, i64),
    /// Windows per key.
    Keys,
    /// No window: the watermark of each row is shown.
    Shown,
}

impl TableNeed {
    /// Where the assigner has to cut batches.
    pub fn cut_rule(&self) -> CutRule {
        let slices: Vec<_> = self
            .cuts
            .iter()
            .filter_map(|cut| match cut {
                Cut::Slices(slide, offset) => Some((*slide, *offset)),
                Cut::Keys | Cut::Shown => None,
            })
            .collect();
        match (slices.is_empty(), slices.len() == self.cuts.len()) {
            (_, true) => CutRule::Boundaries(slices),
            (true, false) => CutRule::Clocks,
            (false, false) => CutRule::Always,
        }
    }
}

/// The needs of all tables that `rels` read; with each, whether its sink goes by watermarks.
pub(super) fn needs<'a>(rels: impl Iterator<Item = (&'a Rel, bool)>) -> HashMap<String, TableNeed> {
    let mut tables = HashMap::new();
    for (rel, wants_watermarks) in rels {
        visit(rel, &vec![Need::All; rel.fields.len()], wants_watermarks.then_some(None), &mut tables);
    }
    tables
}

fn visit(rel: &Rel, need: &[Need], time: Option<Option<Cut>>, tables: &mut HashMap<String, TableNeed>) {
    match &rel.kind {
        RelKind::Table(entry) => table(entry, need, time, tables),
        RelKind::Calc { .. } | RelKind::Windowed { .. } => {
            if let RelKind::Calc { input, .. } | RelKind::Windowed { input, .. } = &rel.kind {
                let windows = matches!(&rel.kind, RelKind::Windowed { mode: TimeMode::Event, .. });
                visit(input, &input_need(rel, need), time.or(windows.then_some(None)), tables);
            }
        }
        RelKind::Aggregate(aggregate) => {
            let cut = match aggregate.window {
                _ if aggregate.attached.is_some() => Cut::Keys,
                WindowAssigner::Session { .. } => Cut::Keys,
                _ if aggregate.input.has_keyed_clocks() => Cut::Keys,
                WindowAssigner::Tumble { offset_ms, .. }
                | WindowAssigner::Hop { offset_ms, .. }
                | WindowAssigner::Cumulate { offset_ms, .. } => {
                    Cut::Slices(aggregate.window.slide_ms(), offset_ms)
                }
            };
            visit(&aggregate.input, &input_need(rel, need), aggregate.time.map(|_| Some(cut)), tables);
        }
        RelKind::Expand { input, .. } => visit(input, &input_need(rel, need), time, tables),
        RelKind::Clocked { input } => {
            let below = input_need(rel, need);
            visit(input, &below, Some(Some(Cut::Shown)), tables);
            if time.is_some() {
                visit(input, &below, time, tables);
            }
        }
        RelKind::Repeat { input } => visit(input, &input_need(rel, need), None, tables),
        RelKind::Unnest(unnest) => visit(&unnest.input, &input_need(rel, need), time, tables),
        RelKind::Group(group) => visit(&group.input, &input_need(rel, need), None, tables),
        RelKind::Rank(rank) => {
            // Rows late for their window are told by each row's own clock.
            let own = rank.window_end().map(|_| Some(Cut::Keys));
            let time = own.or(time.filter(|_| rank.keeps_first_arrival()));
            visit(&rank.input, &input_need(rel, need), time, tables);
        }
        RelKind::Over(over) => {
            let time = (over.mode == TimeMode::Event).then_some(Some(Cut::Keys));
            visit(&over.input, &input_need(rel, need), time, tables);
        }
        RelKind::Sort(sort) => {
            let time = (sort.mode == TimeMode::Event).then_some(Some(Cut::Keys));
            visit(&sort.input, &input_need(rel, need), time, tables);
        }
        RelKind::Recognize(recognize) => {
            let time = (recognize.mode == TimeMode::Event).then_some(Some(Cut::Keys));
            visit(&recognize.input, &input_need(rel, need), time, tables);
        }
        RelKind::Join(join) => {
            let time = join.bounds.map(|bounds| (bounds == TimeBounds::Window).then_some(Cut::Keys));
            // Rows late for an ASOF join are told by each row's own clock.
            let time = time.or(join.past.map(|past| (past != Past::Version).then_some(Cut::Keys)));
            let [left, right] = join_needs(join, need);
            visit(&join.left, &left, time, tables);
            visit(&join.right, &right, time, tables);
        }
        RelKind::Lookup(lookup) => {
            let [left, _] = lookup_needs(lookup, need);
            visit(&lookup.left, &left, time, tables);
        }
        RelKind::Union { inputs } => inputs.iter().for_each(|input| visit(input, need, time, tables)),
        RelKind::Values(_) => {}
    }
}

/// What a node needs of its (only) input, to give `need`.
pub(super) fn input_need(rel: &Rel, need: &[Need]) -> Vec<Need> {
    match &rel.kind {
        RelKind::Calc { input, filter, columns } => {
            let mut below = vec![Need::Nothing; input.fields.len()];
            for (expr, need) in columns.iter().zip(need).filter(|(_, need)| need.is_any()) {
                add_expr(&mut below, expr, need);
            }
            filter.iter().for_each(|filter| add_expr(&mut below, filter, &Need::All));
            below
        }
        RelKind::Windowed { input, time, .. } => {
            let mut below = need[..input.fields.len()].to_vec();
            below[*time] = Need::All;
            below
        }
        RelKind::Aggregate(aggregate) => {
            let mut below = vec![Need::Nothing; aggregate.input.fields.len()];
            let arguments =
                aggregate.calls.iter().flat_map(|call| call.argument.into_iter().chain(call.filter));
            aggregate
                .keys
                .iter()
                .copied()
                .chain(arguments)
                .chain(aggregate.time)
                .chain(aggregate.attached.into_iter().flatten())
                .chain(aggregate.late.iter().flat_map(|late| late.columns.iter().copied()))
                .for_each(|index| below[index] = Need::All);
            below
        }
        RelKind::Clocked { input } => need[..input.fields.len()].to_vec(),
        RelKind::Repeat { .. } => need.iter().cloned().chain([Need::All]).collect(),
        RelKind::Unnest(unnest) => {
            let mut below = need[..unnest.input.fields.len()].to_vec();
            below[unnest.list] = Need::All;
            below
        }
        RelKind::Expand { input, keys, .. } => {
            let mut below = need[..input.fields.len()].to_vec();
            keys.iter().for_each(|key| below[*key] = Need::All);
            below
        }
        RelKind::Group(group) => {
            let mut below = vec![Need::Nothing; group.input.fields.len()];
            let arguments = group.calls.iter().flat_map(|call| call.argument.into_iter().chain(call.filter));
            group.keys.iter().copied().chain(arguments).for_each(|index| below[index] = Need::All);
            below
        }
        RelKind::Rank(rank) => {
            let mut below = need[..rank.input.fields.len()].to_vec();
            let order = rank.order.iter().map(|key| key.column);
            rank.partition.iter().copied().chain(order).for_each(|index| below[index] = Need::All);
            below
        }
        RelKind::Sort(sort) => {
            let mut below = need[..sort.input.fields.len()].to_vec();
            let order = sort.order.iter().map(|key| key.column);
            order.chain([sort.time]).for_each(|index| below[index] = Need::All);
            below
        }
        RelKind::Over(over) => {
            let mut below = need[..over.input.fields.len()].to_vec();
            let arguments = over.calls.iter().flat_map(|call| call.argument.into_iter().chain(call.filter));
            let time = (over.mode == TimeMode::Event || !below.iter().any(Need::is_any)).then_some(over.time);
            over.partition.iter().copied().chain(arguments).chain(time).for_each(|at| below[at] = Need::All);
            below
        }
        RelKind::Recognize(recognize) => {
            let mut below = vec![Need::Nothing; recognize.input.fields.len()];
            let measures = recognize.measures_needed(need);
            let definitions = recognize.definitions.iter().flatten().flat_map(|definition| &definition.reads);
            let reads =
                measures.into_iter().map(|(_, read)| read).chain(definitions).filter_map(Read::column);
            recognize.partition.iter().copied().chain(reads).for_each(|at| below[at] = Need::All);
            let order = recognize.order.iter().map(|key| key.column);
            let is_ordered = recognize.mode == TimeMode::Event || !below.iter().any(Need::is_any);
            order.filter(|_| is_ordered).for_each(|at| below[at] = Need::All);
            below
        }
        RelKind::Table(_)
        | RelKind::Join(_)
        | RelKind::Lookup(_)
        | RelKind::Union { .. }
        | RelKind::Values(_) => need.to_vec(),
    }
}

impl Recognize {
    /// The measures that are needed, with their numbers, to give `need`.
    pub(super) fn measures_needed(&self, need: &[Need]) -> Vec<(usize, &Read)> {
        let needed = |(at, _): &(usize, &Read)| need[self.partition.len() + at].is_any();
        self.measures.iter().enumerate().filter(needed).collect()
    }
}

/// What a join needs of its left and its right, to give `need`.
pub(super) fn join_needs(join: &Join, need: &[Need]) -> [Vec<Need>; 2] {
    let width = join.left.fields.len();
    let mut both = vec![Need::Nothing; width + join.right.fields.len()];
    both.iter_mut().zip(need).for_each(|(both, need)| *both = need.clone());
    join.residual.iter().for_each(|condition| add_expr(&mut both, condition, &Need::All));
    let mut right = both.split_off(width);
    let mut left = both;
    for (one, other) in &join.keys {
        add_expr(&mut left, one, &Need::All);
        add_expr(&mut right, other, &Need::All);
    }
    if join.bounds.is_some() || join.past.is_some() {
        left[join.times[0]] = Need::All;
        right[join.times[1]] = Need::All;
    }
    // A row is kept as its columns: there is at least one.
    for side in [&mut left, &mut right] {
        if !side.iter().any(Need::is_any)
            && let Some(first) = side.first_mut()
        {
            *first = Need::All;
        }
    }
    [left, right]
}

/// What a lookup needs of its left and of the columns that the table's connector brings, to give `need`.
pub(super) fn lookup_needs(lookup: &Lookup, need: &[Need]) -> [Vec<Need>; 2] {
    let width = lookup.left.fields.len();
    let mut left = need.to_vec();
    lookup.residual.iter().for_each(|condition| add_expr(&mut left, condition, &Need::All));
    let mut right = left.split_off(width);
    for (one, other) in &lookup.keys {
        add_expr(&mut left, one, &Need::All);
        right[*other] = Need::All;
    }
    // Rows of the table are read whole: a part of a ROW is not asked for.
    right.iter_mut().filter(|need| need.is_any()).for_each(|need| *need = Need::All);
    [left, right]
}

/// Adds what computing `expr` needs; `need` says how much of a plain access is.
fn add_expr(below: &mut [Need], expr: &Expr, need: &Need) {
    if let Some((index, path)) = as_path(expr) {
        below[index].add(&path, need);
        return;
    }
    let mut paths = Vec::new();
    paths_in(expr, &mut paths);
    paths.iter().for_each(|(index, path)| below[*index].add(path, &Need::All));
}

fn table(
    entry: &Arc<TableEntry>,
    need: &[Need],
    time: Option<Option<Cut>>,
    tables: &mut HashMap<String, TableNeed>,
) {
    let known = tables.entry(entry.name.clone()).or_insert_with(|| TableNeed {
        declared: vec![Need::Nothing; entry.columns.len()],
        connector: vec![Need::Nothing; entry.table.schema.fields().len()],
        time: false,
        cuts: Vec::new(),
        stamps: false,
    });
    let mut declared = need.to_vec();
    if let (Some(cut), Some((time, watermark))) = (time, &entry.watermark) {
        declared[*time] = Need::All;
        add_expr(&mut declared, watermark, &Need::All);
        entry.clock_keys.iter().for_each(|key| declared[*key] = Need::All);
        known.time = true;
        known.stamps |= cut == Some(Cut::Shown);
        known.cuts.extend(cut.filter(|cut| *cut != Cut::Shown));
    }
    for (index, need) in declared.iter().enumerate() {
        known.declared[index].add(&[], need);
        match &entry.columns[index] {
            ColumnSource::Connector(column) => known.connector[*column].add(&[], need),
            ColumnSource::Computed(expr) if need.is_any() => add_expr(&mut known.connector, expr, &Need::All),
            ColumnSource::Computed(_) => {}
        }
    }
}
