//! Nodes that keep state by key and need no window: GROUP BY, ROW_NUMBER with bounds, OVER, the newest row of a sink's key.

use std::sync::Arc;

use datafusion_expr::Expr;
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::window::TimeMode;
use millstream_operators::{
    self as operators, AggregateCall, GroupSpec, MiniBatch, OverSpec, SortKey, TopN, TopSpec, WindowTopN,
};

use super::super::columns::{as_column, column};
use super::super::need::{Need, input_need};
use super::super::rel::{Attribute, Group, Over, Rank, Rel};
use super::super::{changes, show};
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    /// The newest row of each of the sink's keys.
    pub(super) fn newest(&mut self, stream: Stream, keys: Vec<usize>) -> Result<Stream, PlanError> {
        let spec = TopSpec {
            input: Arc::clone(&stream.schema),
            partition: keys.clone(),
            order: Vec::new(),
            newest_first: true,
            from: 1,
            to: 1,
            number: None,
            updates: true,
            is_insert_only: false,
            before: false,
            ttl_ms: self.settings.state_ttl_ms.filter(|ttl| *ttl > 0),
            mini_batch: None,
        };
        let names: Vec<&str> = keys.iter().map(|key| stream.schema.field(*key).name().as_str()).collect();
        let what = format!("by {}", names.join(", "));
        let mode = changes::mode(true, false);
        TopN::new(&spec)?;
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(TopN::new(&spec)?) as _));
        let inputs = vec![Input::keyed(stream.node, keys)];
        let node = self.graph.operator("newest", "newest", format!("{what}{mode}"), inputs, factory);
        self.graph.state_of(node, what);
        self.graph.keeps(node, show::all_typed(&stream.schema));
        Ok(Stream { node, mode, ..stream })
    }

    /// How EXPLAIN shows a mini-batch.
    fn held_back(&self, updates: bool) -> String {
        match self.settings.mini_batch.filter(|_| updates) {
            None => String::new(),
            Some(MiniBatch { latency_ms, rows_max }) => {
                format!(" held back for {latency_ms} ms or {rows_max} rows")
            }
        }
    }

    pub(super) fn group(
        &mut self,
        rel: &Rel,
        group: &Group,
        need: &[Need],
        before: bool,
    ) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(&group.input, &below_need, true)?;
        let below = self.materialized(below, &below_need, &group.input.fields)?;
        let at = |index: usize| below.at(index);
        let call = |call: &AggregateCall| {
            Ok(AggregateCall {
                argument: call.argument.map(at).transpose()?,
                filter: call.filter.map(at).transpose()?,
                ..call.clone()
            })
        };
        let spec = GroupSpec {
            input: Arc::clone(&below.schema),
            keys: group.keys.iter().map(|key| at(*key)).collect::<Result<_, _>>()?,
            aggregates: group.calls.iter().map(call).collect::<Result<_, PlanError>>()?,
            updates: group.input.updates(),
            before,
            ttl_ms: self.settings.state_ttl_ms.filter(|ttl| *ttl > 0),
            mini_batch: self.settings.mini_batch,
        };
        let schema = spec.output_schema()?;
        let by: Vec<&str> = spec.keys.iter().map(|key| below.schema.field(*key).name().as_str()).collect();
        let calls: Vec<&str> = spec.aggregates.iter().map(|call| call.name.as_str()).collect();
        let what = match (by.is_empty(), calls.is_empty()) {
            (true, _) => calls.join(", "),
            (false, true) => format!("by {}", by.join(", ")),
            (false, false) => format!("by {}: {}", by.join(", "), calls.join(", ")),
        };
        let input = if spec.keys.is_empty() {
            Input::gather(below.node)
        } else {
            Input::keyed(below.node, spec.keys.clone())
        };
        let mode = changes::mode(rel.updates(), before);
        let detail = format!("{what}{mode}{}", self.held_back(rel.updates()));
        let arguments = spec.aggregates.iter().flat_map(|call| [call.argument, call.filter]).flatten();
        let kept: Vec<usize> = spec.keys.iter().copied().chain(arguments).collect();
        let keeps = format!(
            "{}{}",
            if spec.updates { "rows taken back; " } else { "" },
            show::typed(&below.schema, &kept)
        );
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(operators::Group::new(&spec)?) as _));
        let node = self.graph.operator("group", "group", detail, vec![input], factory);
        // How changes are told does not matter to what is kept.
        self.graph.state_of(node, what);
        self.graph.keeps(node, keeps);
        let columns = (0..schema.fields().len()).map(|index| Some(column(index))).collect();
        Ok(Stream { node, schema, columns, time: None, mode })
    }

    pub(super) fn rank(
        &mut self,
        rel: &Rel,
        rank: &Rank,
        need: &[Need],
        before: bool,
    ) -> Result<Stream, PlanError> {
        let Some((from, to)) = rank.bounds else {
            let mut error = PlanError::new("ROW_NUMBER without a bound would number every row for ever");
            error.span = rank.place;
            return Err(
                error.remedy("keep the first ones in the query around it: SELECT … FROM (…) WHERE rn <= 10")
            );
        };
        let below_need = input_need(rel, need);
        let below = self.rel(&rank.input, &below_need, true)?;
        let below = self.materialized(below, &below_need, &rank.input.fields)?;
        let window_end = rank.window_end();
        let time = rank.keeps_by_time();
        let order = rank.order.iter().map(|key| Ok(SortKey { column: below.at(key.column)?, ..*key }));
        let order: Vec<SortKey> = order.collect::<Result<_, PlanError>>()?;
        let partition = rank.partition.iter().map(|key| below.at(*key)).collect::<Result<Vec<_>, _>>()?;
        let width = below.schema.fields().len();
        let number =
            need.last().is_some_and(Need::is_any).then(|| rel.fields[rank.input.fields.len()].name().clone());
        let names = |columns: &[usize]| {
            columns
                .iter()
                .map(|column| below.schema.field(*column).name().as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let sorted: Vec<String> = order.iter().map(|key| show::sort_key(key, &below.schema)).collect();
        let by = if partition.is_empty() { String::new() } else { format!(" by {}", names(&partition)) };
        let places = if from == to { from.to_string() } else { format!("{from} to {to}") };
        let order_shown = if sorted.is_empty() { "arrival".to_owned() } else { sorted.join(", ") };
        let what = format!("rows {places}{by} in order of {order_shown}");
        // The wall clock's order is that of arrival.
        let arrival = time == Some(Attribute::ProcessingTime);
        let spec = TopSpec {
            input: Arc::clone(&below.schema),
            newest_first: time.is_some() && rank.order.first().is_some_and(|key| key.descending),
            order: if arrival { Vec::new() } else { order },
            from,
            to,
            number,
            updates: rank.input.updates(),
            is_insert_only: !rel.updates(),
            before,
            ttl_ms: self.settings.state_ttl_ms.filter(|ttl| *ttl > 0),
            mini_batch: self.settings.mini_batch,
            partition,
        };
        let input = if spec.partition.is_empty() {
            Input::gather(below.node)
        } else {
            Input::keyed(below.node, spec.partition.clone())
        };
        let schema = spec.output_schema();
        let keeps = format!("{}; {}", spec.updates, show::all_typed(&spec.input));
        let mut columns = below.columns;
        columns.push(spec.number.is_some().then(|| column(width)));
        let (kind, factory): (_, OperatorFactory) = match window_end.map(|end| rank_at(&columns, end)) {
            Some(end) => {
                let (end, time) = (end?, below.time);
                ("window rank", Arc::new(move || Ok(Box::new(WindowTopN::new(&spec, end, time)?) as _)))
            }
            None => ("rank", Arc::new(move || Ok(Box::new(TopN::new(&spec)?) as _))),
        };
        let mode = changes::mode(rel.updates(), before);
        let held = self.held_back(rel.updates());
        let node = self.graph.operator("rank", kind, format!("{what}{mode}{held}"), vec![input], factory);
        self.graph.state_of(node, what);
        self.graph.keeps(node, keeps);
        let time = below.time.filter(|_| !rel.updates());
        Ok(Stream { node, schema, columns, time, mode })
    }

    pub(super) fn over(&mut self, rel: &Rel, over: &Over, need: &[Need]) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(&over.input, &below_need, true)?;
        let mut below = self.materialized(below, &below_need, &over.input.fields)?;
        let mut event_time = 0;
        if over.mode == TimeMode::Event {
            event_time = below.at(over.time)?;
            below = self.timed(below, event_time)?;
        }
        let at = |index: usize| below.at(index);
        let call = |call: &AggregateCall| {
            Ok(AggregateCall {
                argument: call.argument.map(at).transpose()?,
                filter: call.filter.map(at).transpose()?,
                ..call.clone()
            })
        };
        let spec = OverSpec {
            input: Arc::clone(&below.schema),
            partition: over.partition.iter().map(|key| at(*key)).collect::<Result<_, _>>()?,
            time: over.mode,
            event_time,
            frame: over.frame,
            aggregates: over.calls.iter().map(call).collect::<Result<_, PlanError>>()?,
            ttl_ms: self.settings.state_ttl_ms.filter(|ttl| *ttl > 0),
        };
        let by: Vec<&str> =
            spec.partition.iter().map(|key| below.schema.field(*key).name().as_str()).collect();
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
        let calls: Vec<&str> = spec.aggregates.iter().map(|call| call.name.as_str()).collect();
        let what = format!("{:?}{by}: {}", over.frame, calls.join(", "));
        let schema = spec.output_schema()?;
        operators::Over::new(&spec)?;
        let input = if spec.partition.is_empty() {
            Input::gather(below.node)
        } else {
            Input::keyed(below.node, spec.partition.clone())
        };
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(operators::Over::new(&spec)?) as _));
        let node = self.graph.operator("over", "over", what, vec![input], factory);
        self.graph.keeps(node, show::all_typed(&below.schema));
        let width = below.schema.fields().len();
        let mut columns = below.columns;
        columns.extend((width..schema.fields().len()).map(|index| Some(column(index))));
        Ok(Stream { node, schema, columns, time: below.time, mode: "" })
    }
}

fn rank_at(columns: &[Option<Expr>], index: usize) -> Result<usize, PlanError> {
    let found = columns[index].as_ref().and_then(as_column);
    found.ok_or_else(|| PlanError::new("the end of a window is missing"))
}
