//! The nodes of aggregates in windows: one operator, or two around an exchange where that pays; a clock a key; windows that the
//! rows bring along.

use std::sync::Arc;

use millstream_engine::graph::OperatorFactory;
use millstream_engine::{Input, NodeId};
use millstream_operators::AggregateCall;
use millstream_operators::window::{TimeMode, WindowAggregateSpec, attached, global, local, per_key, single};

use super::super::columns::column;
use super::super::need::{Need, input_need};
use super::super::rel::{Aggregate, Rel};
use super::super::show;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    pub(super) fn aggregate(
        &mut self,
        rel: &Rel,
        aggregate: &Aggregate,
        need: &[Need],
    ) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(&aggregate.input, &below_need, true)?;
        let calls: Vec<&str> = aggregate.calls.iter().map(|call| call.name.as_str()).collect();
        let below = self.materialized(below, &below_need, &aggregate.input.fields)?;
        let below = match aggregate.time.filter(|_| aggregate.attached.is_none()) {
            Some(time) => {
                let time = below.at(time)?;
                self.timed(below, time)?
            }
            None => below,
        };
        let at = |index: usize| below.at(index);
        let spec = WindowAggregateSpec {
            input: Arc::clone(&below.schema),
            keys: aggregate.keys.iter().map(|key| at(*key)).collect::<Result<_, _>>()?,
            window: aggregate.window,
            event_time: aggregate.time.map_or(Ok(0), at)?,
            time: if aggregate.time.is_some() { TimeMode::Event } else { TimeMode::Processing },
            time_type: aggregate.time_type.clone(),
            aggregates: aggregate
                .calls
                .iter()
                .map(|call| {
                    Ok(AggregateCall {
                        argument: call.argument.map(at).transpose()?,
                        filter: call.filter.map(at).transpose()?,
                        ..call.clone()
                    })
                })
                .collect::<Result<_, PlanError>>()?,
        };
        let names: Vec<&str> = spec.keys.iter().map(|key| below.schema.field(*key).name().as_str()).collect();
        let by = if names.is_empty() { String::new() } else { format!(" by {}", names.join(", ")) };
        let windows = match aggregate.attached {
            None => show::window(&aggregate.window),
            Some(_) => "the rows' own windows".to_owned(),
        };
        let detail = format!("{windows}{by}: {}", calls.join(", "));
        let schema = spec.output_schema()?;
        let arguments = spec.aggregates.iter().flat_map(|call| [call.argument, call.filter]).flatten();
        let kept: Vec<usize> = spec.keys.iter().copied().chain(arguments).collect();
        let clocks = if aggregate.input.has_keyed_clocks() { "a clock a key" } else { "one clock" };
        let typed = show::typed(&below.schema, &kept);
        let keeps = format!("{:?}, {:?}, {clocks}; {typed}", spec.window, spec.time);
        let (judge, node) = match aggregate.attached {
            None => self.window_operators(spec, below.node, aggregate.input.has_keyed_clocks(), &detail)?,
            Some([start, end]) => {
                let window = [at(start)?, at(end)?];
                let input = if spec.keys.is_empty() {
                    Input::gather(below.node)
                } else {
                    Input::keyed(below.node, spec.keys.clone())
                };
                attached(&spec, window)?;
                let factory: OperatorFactory = Arc::new(move || attached(&spec, window));
                let node = self.graph.operator("window", "window", detail.as_str(), vec![input], factory);
                (node, node)
            }
        };
        self.graph.keeps(node, keeps);
        if let Some(late) = &aggregate.late {
            let columns = late.columns.iter().map(|index| at(*index)).collect::<Result<Vec<_>, _>>()?;
            self.sides.late_rows(late, &columns, judge, &below.schema, self.graph)?;
        }
        let width = schema.fields().len();
        let columns = (0..width).map(|index| Some(column(index))).collect();
        Ok(Stream { node, schema, columns, time: aggregate.time.map(|_| width - 1), mode: "" })
    }

    /// The node that judges which rows are late, and the one that windows leave from.
    fn window_operators(
        &mut self,
        spec: WindowAggregateSpec,
        from: NodeId,
        keyed_clocks: bool,
        detail: &str,
    ) -> Result<(NodeId, NodeId), PlanError> {
        let to = |node: NodeId, keys: Vec<usize>| {
            if keys.is_empty() { Input::gather(node) } else { Input::keyed(node, keys) }
        };
        if keyed_clocks && spec.time == TimeMode::Event {
            per_key(&spec)?;
            let input = to(from, spec.keys.clone());
            let factory: OperatorFactory = Arc::new(move || per_key(&spec));
            let node = self.graph.operator("window", "window", detail, vec![input], factory);
            return Ok((node, node));
        }
        single(&spec)?;
        if self.workers > 1 && spec.two_phase_pays() {
            let keys: Vec<usize> = (0..spec.keys.len()).collect();
            let before = spec.clone();
            let first: OperatorFactory = Arc::new(move || local(&before));
            let local = self.graph.operator(
                "window/local",
                "local window",
                detail,
                vec![Input::forward(from)],
                first,
            );
            self.graph.transparent(local);
            let second: OperatorFactory = Arc::new(move || global(&spec));
            let inputs = vec![to(local, keys)];
            let node = self.graph.operator("window", "window", "adds up the local windows", inputs, second);
            // The same as in one phase, so that another number of workers goes on with it.
            self.graph.state_of(node, detail);
            return Ok((local, node));
        }
        let input = to(from, spec.keys.clone());
        let node =
            self.graph.operator("window", "window", detail, vec![input], Arc::new(move || single(&spec)));
        Ok((node, node))
    }
}
