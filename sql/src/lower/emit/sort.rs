//! The node of ORDER BY time.

use std::sync::Arc;

use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::window::TimeMode;
use millstream_operators::{self as operators, SortKey, SortSpec};

use super::super::need::{Need, input_need};
use super::super::rel::Rel;
use super::super::show;
use super::super::sort::Sort;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    pub(super) fn sort(&mut self, rel: &Rel, sort: &Sort, need: &[Need]) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(&sort.input, &below_need, true)?;
        let mut below = self.materialized(below, &below_need, &sort.input.fields)?;
        let event_time = below.at(sort.time)?;
        if sort.mode == TimeMode::Event {
            below = self.timed(below, event_time)?;
        }
        let order = sort.order.iter().map(|key| Ok(SortKey { column: below.at(key.column)?, ..*key }));
        let spec = SortSpec {
            input: Arc::clone(&below.schema),
            time: sort.mode,
            event_time,
            order: order.collect::<Result<_, PlanError>>()?,
        };
        let time = below.schema.field(event_time).name().clone();
        let by: Vec<String> = std::iter::once(time)
            .chain(spec.order.iter().map(|key| show::sort_key(key, &spec.input)))
            .collect();
        operators::Sort::new(&spec)?;
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(operators::Sort::new(&spec)?) as _));
        let inputs = vec![Input::gather(below.node)];
        let node = self.graph.operator("sort", "sort", format!("by {}", by.join(", ")), inputs, factory);
        self.graph.keeps(node, show::all_typed(&below.schema));
        Ok(Stream { node, ..below })
    }
}
