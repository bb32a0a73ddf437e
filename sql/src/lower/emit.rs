//! From the relational tree to graph nodes: sources that give only what is needed, each read once; event time and
//! watermarks before anything else; fused projections. Nodes that keep state are in emit/window.rs, emit/keyed.rs, emit/recognize.rs and emit/join.rs, lookups in emit/lookup.rs.

mod clocked;
mod join;
mod keyed;
mod lookup;
mod recognize;
mod repeat;
mod sort;
mod unnest;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use datafusion_expr::Expr;
use millstream_engine::graph::OperatorFactory;
use millstream_engine::{Graph, Input, NodeId, Registry, SinkProvider};
use millstream_operators::window::{TimeMode, WindowTvf};
use millstream_operators::{
    self as operators, Expand, ExpandSpec, ExpressionRef, Project, Union, WatermarkAssigner, WatermarkSpec,
};

use super::changes::Into;
use super::columns::{as_column, column, is_trivial, substitute};
use super::expression::compile;
use super::need::{Need, TableNeed, input_need, needs};
use super::rel::{Rel, RelKind};
use super::sides::Sides;
use super::{changes, show, values};
use crate::plan::error::PlanError;
use crate::program::Settings;
use crate::table::{ColumnSource, TableEntry};

/// A statement to emit: a tree, and where its rows go.
pub(crate) struct Statement {
    pub rel: Rel,
    pub target: Target,
}

pub(crate) enum Target {
    Table(Arc<TableEntry>),
    Result(Arc<dyn SinkProvider>, usize),
}

/// Adds the nodes of `statements` to `graph`.
pub(crate) fn emit(
    statements: &[Statement],
    graph: &mut Graph,
    registry: &Registry,
    entries: &[Arc<TableEntry>],
    workers: usize,
    settings: &Settings,
) -> Result<(), PlanError> {
    let wants_watermarks = statements
        .iter()
        .map(|statement| {
            Ok(match &statement.target {
                Target::Table(entry) => entry.sink(registry)?.wants_watermarks(),
                Target::Result(provider, _) => provider.wants_watermarks(),
            })
        })
        .collect::<Result<Vec<bool>, PlanError>>()?;
    let needs = needs(statements.iter().map(|statement| &statement.rel).zip(wants_watermarks));
    let (tables, sides) = (HashMap::new(), Sides::new(entries));
    let mut emitter = Emitter { graph, registry, workers, settings, needs, tables, sides };
    statements.iter().try_for_each(|statement| emitter.statement(statement))?;
    emitter.sides.finish(emitter.graph, registry)
}

/// Where a node's rows are, and how the tree's columns are had from them.
#[derive(Clone)]
struct Stream {
    node: NodeId,
    schema: SchemaRef,
    /// By column of the tree: an expression over the columns of `schema`; none where it is not needed.
    columns: Vec<Option<Expr>>,
    /// The event-time column of `schema`.
    time: Option<usize>,
    /// How its rows change, as EXPLAIN shows it.
    mode: &'static str,
}

impl Stream {
    /// Where column `index` of the tree is in the rows.
    fn at(&self, index: usize) -> Result<usize, PlanError> {
        let found = self.columns[index].as_ref().and_then(as_column);
        found.ok_or_else(|| PlanError::new("a column that is needed is missing"))
    }
}

struct Emitter<'a> {
    graph: &'a mut Graph,
    registry: &'a Registry,
    workers: usize,
    settings: &'a Settings,
    needs: HashMap<String, TableNeed>,
    tables: HashMap<String, Stream>,
    sides: Sides<'a>,
}

impl Emitter<'_> {
    fn statement(&mut self, statement: &Statement) -> Result<(), PlanError> {
        let rel = &statement.rel;
        let (name, provider) = match &statement.target {
            Target::Table(entry) => (entry.name.clone(), entry.sink(self.registry)?),
            Target::Result(provider, index) => (
                format!("result{}", if *index == 0 { String::new() } else { format!("-{index}") }),
                Arc::clone(provider),
            ),
        };
        let into = changes::into_sink(rel, &name, provider.as_ref())?;
        let stream = self.rel(rel, &vec![Need::All; rel.fields.len()], into != Into::ByKey)?;
        let mut stream = self.exactly(stream, &rel.fields)?;
        if into == Into::Newest {
            stream = self.newest(stream, provider.order_keys())?;
        }
        let (input, parallelism) = match &statement.target {
            Target::Result(..) => (Input::gather(stream.node), None),
            Target::Table(entry) => {
                changes::written_by(stream.node, rel, &provider.order_keys(), entry.sink_parallelism()?)
            }
        };
        let detail = provider.describe();
        let node = self.graph.sink(name, detail, provider, input);
        if let Some(instances) = parallelism {
            self.graph.sink_parallelism(node, instances);
        }
        match &statement.target {
            Target::Table(entry) => self.sides.dead_letters(entry, node, self.graph),
            Target::Result(..) => Ok(()),
        }
    }

    /// Adds the nodes of `rel`. With `before`, updates come with the row as it was before (`-U`).
    fn rel(&mut self, rel: &Rel, need: &[Need], before: bool) -> Result<Stream, PlanError> {
        match &rel.kind {
            RelKind::Table(entry) => self.table(entry),
            RelKind::Calc { input, filter, columns } => {
                let below = self.rel(input, &input_need(rel, need), before || filter.is_some())?;
                self.calc(below, filter.as_ref(), columns, need, &rel.fields)
            }
            RelKind::Windowed { input, window, time, mode, .. } => {
                let below = self.rel(input, &input_need(rel, need), true)?;
                let below = self.materialized(below, &input_need(rel, need), &input.fields)?;
                let below = if *mode == TimeMode::Event {
                    let time = below.at(*time)?;
                    self.timed(below, time)?
                } else {
                    below
                };
                let mut fields: Vec<FieldRef> = below.schema.fields().iter().cloned().collect();
                fields.extend(rel.fields[input.fields.len()..].iter().cloned());
                let schema: SchemaRef = Arc::new(Schema::new(fields));
                let (window, mode, output) = (*window, *mode, Arc::clone(&schema));
                WindowTvf::new(window, mode, Arc::clone(&output))?;
                let factory: OperatorFactory =
                    Arc::new(move || Ok(Box::new(WindowTvf::new(window, mode, Arc::clone(&output))?) as _));
                let detail = show::window(&window);
                let node = self.graph.operator(
                    "window",
                    "window",
                    detail,
                    vec![Input::forward(below.node)],
                    factory,
                );
                self.graph.keeps(node, format!("{window:?}, {mode:?}"));
                let mut columns = below.columns;
                columns.extend(
                    (below.schema.fields().len()..schema.fields().len()).map(|index| Some(column(index))),
                );
                Ok(Stream { node, schema, columns, time: below.time, mode: "" })
            }
            RelKind::Expand { input, keys, sets } => {
                let below_need = input_need(rel, need);
                let below = self.rel(input, &below_need, true)?;
                let below = self.materialized(below, &below_need, &input.fields)?;
                let keys = keys.iter().map(|key| below.at(*key)).collect::<Result<Vec<_>, _>>()?;
                let spec = ExpandSpec { input: Arc::clone(&below.schema), keys, sets: sets.clone() };
                let schema = spec.output_schema();
                let detail = format!("{}{}", show::grouping_sets(&spec), below.mode);
                let factory: OperatorFactory = Arc::new(move || Ok(Box::new(Expand::new(&spec)) as _));
                let inputs = vec![Input::forward(below.node)];
                let node = self.graph.operator("expand", "expand", detail, inputs, factory);
                let width = below.schema.fields().len();
                let mut columns = below.columns;
                columns.extend((width..schema.fields().len()).map(|index| Some(column(index))));
                Ok(Stream { node, schema, columns, ..below })
            }
            RelKind::Clocked { input } => self.clocked(rel, input, need),
            RelKind::Repeat { input } => self.repeat(rel, input, need),
            RelKind::Unnest(unnest) => self.unnest(rel, unnest, need),
            RelKind::Aggregate(aggregate) => self.aggregate(rel, aggregate, need),
            RelKind::Group(group) => self.group(rel, group, need, before),
            RelKind::Rank(rank) => self.rank(rel, rank, need, before),
            RelKind::Over(over) => self.over(rel, over, need),
            RelKind::Sort(sort) => self.sort(rel, sort, need),
            RelKind::Recognize(recognize) => self.recognize(rel, recognize, need),
            RelKind::Join(join) => self.join(rel, join, need),
            RelKind::Lookup(lookup) => self.lookup(lookup, need),
            RelKind::Union { inputs } => {
                let mut streams = Vec::new();
                for input in inputs {
                    let stream = self.rel(input, need, true)?;
                    streams.push(self.materialized(stream, need, &rel.fields)?);
                }
                let Some(first) = streams.first().cloned() else {
                    return Err(PlanError::new("a union of nothing"));
                };
                let inputs = streams.iter().map(|stream| Input::forward(stream.node)).collect();
                let updates = rel.updates();
                let factory: OperatorFactory = Arc::new(move || Ok(Box::new(Union::new(updates)) as _));
                let mode = changes::mode(updates, true);
                let node = self.graph.operator("union", "union", mode.trim_start(), inputs, factory);
                let time = first.time.filter(|time| streams.iter().all(|stream| stream.time == Some(*time)));
                Ok(Stream { node, time, mode, ..first })
            }
            RelKind::Values(rows) => {
                let schema = rows.schema();
                let provider = values::provider(rows.clone());
                let node = self.graph.source("values", provider.describe(), provider, Arc::clone(&schema));
                Ok(Stream {
                    node,
                    columns: (0..schema.fields().len()).map(|index| Some(column(index))).collect(),
                    schema,
                    time: None,
                    mode: "",
                })
            }
        }
    }

    /// The table's source, its event time and watermarks; once for all statements.
    fn table(&mut self, entry: &Arc<TableEntry>) -> Result<Stream, PlanError> {
        if let Some(stream) = self.tables.get(&entry.name) {
            return Ok(stream.clone());
        }
        let need = &self.needs[&entry.name];
        let provider = entry.source(self.registry)?;
        let mut position: Vec<Option<usize>> = vec![None; entry.table.schema.fields().len()];
        let mut fields = Vec::new();
        for (index, need) in need.connector.iter().enumerate().filter(|(_, need)| need.is_any()) {
            position[index] = Some(fields.len());
            fields.push(need.prune(&entry.table.schema.fields()[index]));
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let physical = |expr: &Expr| substitute(expr, &|index| column(position[index].unwrap_or(usize::MAX)));
        let columns: Vec<Option<Expr>> = entry
            .columns
            .iter()
            .zip(&need.declared)
            .map(|(source, need)| {
                need.is_any().then(|| match source {
                    ColumnSource::Connector(index) => physical(&column(*index)),
                    ColumnSource::Computed(expr) => physical(expr),
                })
            })
            .collect();
        let ahead_max_ms = entry.ahead_max_ms.or(provider.ahead_max_ms()).filter(|ms| *ms > 0);
        let detail = source_detail(&provider.describe(), &schema);
        let node = self.graph.source(&entry.name, detail, provider, Arc::clone(&schema));
        self.sides.dead_letters(entry, node, self.graph)?;
        let mut stream = Stream { node, schema, columns, time: None, mode: "" };
        if need.time {
            stream = self.watermarks(entry, stream, ahead_max_ms)?;
        }
        self.tables.insert(entry.name.clone(), stream.clone());
        Ok(stream)
    }

    /// Adds the columns that event time, watermark and clocks need, and the assigner.
    fn watermarks(
        &mut self,
        entry: &TableEntry,
        stream: Stream,
        ahead_max_ms: Option<i64>,
    ) -> Result<Stream, PlanError> {
        let Some((time, watermark)) = &entry.watermark else { return Ok(stream) };
        let mut wanted = vec![*time];
        wanted.extend(&entry.clock_keys);
        let mut paths = Vec::new();
        super::columns::paths_in(watermark, &mut paths);
        wanted.extend(paths.iter().map(|(index, _)| *index));
        let missing: Vec<usize> = wanted
            .into_iter()
            .filter(|index| stream.columns[*index].as_ref().and_then(as_column).is_none())
            .collect();
        let stream = self.with_computed(entry, stream, missing)?;
        let of = |index: usize| stream.columns[index].clone().unwrap_or_else(|| column(usize::MAX));
        let physical_time =
            as_column(&of(*time)).ok_or_else(|| PlanError::new("the event time is no column"))?;
        let fields: Vec<FieldRef> = stream.schema.fields().iter().cloned().collect();
        let shown = show::expression(&substitute(watermark, &of), &fields);
        let need = &self.needs[&entry.name];
        let spec = WatermarkSpec {
            event_time: physical_time,
            watermark: compile(&substitute(watermark, &of), &fields)?,
            keys: entry.clock_keys.iter().filter_map(|key| as_column(&of(*key))).collect(),
            idle_timeout_ms: entry.idle_timeout_ms.or(self.settings.idle_timeout_ms),
            ahead_max_ms,
            on_error: entry.on_error,
            cut: need.cut_rule(),
            stamps: need.stamps,
        };
        let keys: Vec<&str> =
            entry.clock_keys.iter().map(|key| entry.schema.field(*key).name().as_str()).collect();
        let per_key = if keys.is_empty() { String::new() } else { format!(" per {}", keys.join(", ")) };
        let factory: OperatorFactory =
            Arc::new(move || Ok(Box::new(WatermarkAssigner::new(spec.clone())) as _));
        let detail = format!("{shown}{per_key}");
        let id = format!("{}/watermark", entry.name);
        let node = self.graph.operator(id, "watermark", detail, vec![Input::forward(stream.node)], factory);
        // Time goes by it, rows are the same.
        self.graph.transparent(node);
        self.sides.dead_letters(entry, node, self.graph)?;
        Ok(Stream { node, time: Some(physical_time), ..stream })
    }

    /// Materializes the declared columns `missing` behind the others.
    fn with_computed(
        &mut self,
        entry: &TableEntry,
        stream: Stream,
        missing: Vec<usize>,
    ) -> Result<Stream, PlanError> {
        if missing.is_empty() {
            return Ok(stream);
        }
        let mut fields: Vec<FieldRef> = stream.schema.fields().iter().cloned().collect();
        let mut exprs: Vec<Expr> = (0..fields.len()).map(column).collect();
        let mut columns = stream.columns.clone();
        for index in missing {
            if columns[index].as_ref().and_then(as_column).is_some() {
                continue;
            }
            let Some(expr) = columns[index].take() else { continue };
            columns[index] = Some(column(exprs.len()));
            exprs.push(expr);
            fields.push(Arc::new(entry.schema.field(index).clone()));
        }
        let projected = self.project(&stream, None, &exprs, fields, format!("{}/computed", entry.name))?;
        Ok(Stream { columns, ..projected })
    }

    fn calc(
        &mut self,
        below: Stream,
        filter: Option<&Expr>,
        columns: &[Expr],
        need: &[Need],
        fields: &[FieldRef],
    ) -> Result<Stream, PlanError> {
        let of = |index: usize| below.columns[index].clone().unwrap_or_else(|| column(usize::MAX));
        let bound: Vec<Option<Expr>> = columns
            .iter()
            .zip(need)
            .map(|(expr, need)| need.is_any().then(|| substitute(expr, &of)))
            .collect();
        if filter.is_none() && bound.iter().flatten().all(is_trivial) {
            // Nothing is dropped or computed: whoever reads on takes the columns from below.
            return Ok(Stream { columns: bound, ..below });
        }
        let filter = filter.map(|filter| substitute(filter, &of));
        let mut exprs = Vec::new();
        let mut kept_fields = Vec::new();
        let mut positions = Vec::new();
        for (expr, field) in bound.iter().zip(fields) {
            positions.push(expr.as_ref().map(|expr| {
                exprs.push(expr.clone());
                kept_fields.push(Arc::clone(field));
                column(exprs.len() - 1)
            }));
        }
        let projected = self.project(&below, filter.as_ref(), &exprs, kept_fields, "project".into())?;
        Ok(Stream { columns: positions, ..projected })
    }

    /// A projection of `stream`; its columns are numbered as `exprs`.
    fn project(
        &mut self,
        stream: &Stream,
        filter: Option<&Expr>,
        exprs: &[Expr],
        fields: Vec<FieldRef>,
        id: String,
    ) -> Result<Stream, PlanError> {
        let below: Vec<FieldRef> = stream.schema.fields().iter().cloned().collect();
        let numbers = super::columns::indexed(&below);
        // Types as they are below: a ROW may have lost fields that nobody needs.
        let fields = fields
            .iter()
            .zip(exprs)
            .map(|(field, expr)| {
                let kind = super::columns::type_of(expr, &numbers)?;
                Ok(Arc::new(arrow_schema::Field::new(field.name(), kind, true)))
            })
            .collect::<Result<Vec<FieldRef>, PlanError>>()?;
        let detail = format!("{}{}", show::calc(filter, exprs, &fields, &below), stream.mode);
        // Columns that are only picked come and go with what other statements read.
        let means = show::computed(filter, exprs, &fields, &below);
        let filter = filter.map(|filter| compile(filter, &below)).transpose()?;
        let columns =
            exprs.iter().map(|expr| compile(expr, &below)).collect::<Result<Vec<ExpressionRef>, _>>()?;
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let time = stream.time.and_then(|time| exprs.iter().position(|expr| as_column(expr) == Some(time)));
        let output = Arc::clone(&schema);
        let factory: OperatorFactory = Arc::new(move || {
            Ok(Box::new(Project::new(filter.clone(), columns.clone(), Arc::clone(&output), time)) as _)
        });
        let node = self.graph.operator(id, "project", detail, vec![Input::forward(stream.node)], factory);
        match means {
            Some(means) => self.graph.state_of(node, means),
            None => self.graph.transparent(node),
        }
        let columns = (0..exprs.len()).map(|index| Some(column(index))).collect();
        Ok(Stream { node, schema, columns, time, mode: stream.mode })
    }

    /// The needed columns as columns of the rows, and no others.
    fn materialized(
        &mut self,
        stream: Stream,
        need: &[Need],
        fields: &[FieldRef],
    ) -> Result<Stream, PlanError> {
        let mut exprs: Vec<Expr> = Vec::new();
        let mut kept: Vec<FieldRef> = Vec::new();
        let mut positions: Vec<Option<Expr>> = vec![None; stream.columns.len()];
        for (index, need) in need.iter().enumerate().filter(|(_, need)| need.is_any()) {
            let Some(expr) = &stream.columns[index] else { continue };
            let _ = need;
            positions[index] = Some(column(exprs.len()));
            exprs.push(expr.clone());
            kept.push(Arc::clone(&fields[index]));
        }
        let as_is = exprs.len() == stream.schema.fields().len()
            && exprs.iter().enumerate().all(|(index, expr)| as_column(expr) == Some(index));
        if as_is {
            return Ok(stream);
        }
        let projected = self.project(&stream, None, &exprs, kept, "project".into())?;
        Ok(Stream { columns: positions, ..projected })
    }

    /// All columns in order, under the names of `fields`.
    fn exactly(&mut self, stream: Stream, fields: &[FieldRef]) -> Result<Stream, PlanError> {
        let all = vec![Need::All; fields.len()];
        let same_names = stream.schema.fields().len() == fields.len()
            && stream.schema.fields().iter().zip(fields).all(|(have, want)| have.name() == want.name());
        if same_names {
            return self.materialized(stream, &all, fields);
        }
        let exprs: Vec<Expr> = stream.columns.iter().flatten().cloned().collect();
        self.project(&stream, None, &exprs, fields.to_vec(), "project".into())
    }

    /// The same rows, going by the time in column `time` of the rows.
    fn timed(&mut self, stream: Stream, time: usize) -> Result<Stream, PlanError> {
        if stream.time == Some(time) {
            return Ok(stream);
        }
        let schema = Arc::clone(&stream.schema);
        let exprs: Vec<ExpressionRef> = (0..schema.fields().len())
            .map(|index| Arc::new(operators::Column(index)) as ExpressionRef)
            .collect();
        let output = Arc::clone(&schema);
        let factory: OperatorFactory = Arc::new(move || {
            Ok(Box::new(Project::new(None, exprs.clone(), Arc::clone(&output), Some(time))) as _)
        });
        let detail = format!("goes by {}", schema.field(time).name());
        let node = self.graph.operator("time", "project", detail, vec![Input::forward(stream.node)], factory);
        Ok(Stream { node, time: Some(time), ..stream })
    }
}

fn source_detail(connector: &str, schema: &SchemaRef) -> String {
    let columns: Vec<String> = schema.fields().iter().map(shown_field).collect();
    format!("{connector} ({})", columns.join(", ")).trim().to_owned()
}

/// A column with the fields that are left of it.
fn shown_field(field: &FieldRef) -> String {
    match field.data_type() {
        arrow_schema::DataType::Struct(fields) => {
            format!("{}<{}>", field.name(), fields.iter().map(shown_field).collect::<Vec<_>>().join(", "))
        }
        _ => field.name().clone(),
    }
}
