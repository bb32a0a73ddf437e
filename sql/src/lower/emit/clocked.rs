//! The node of CURRENT_WATERMARK.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::CurrentWatermark;

use super::super::columns::column;
use super::super::need::{Need, input_need};
use super::super::rel::Rel;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    /// The rows of `input` with the watermark that each comes under.
    pub(super) fn clocked(&mut self, rel: &Rel, input: &Rel, need: &[Need]) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(input, &below_need, true)?;
        let below = self.materialized(below, &below_need, &input.fields)?;
        let width = below.schema.fields().len();
        let fields: Vec<FieldRef> = below.schema.fields().iter().chain(rel.fields.last()).cloned().collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let (output, time) = (Arc::clone(&schema), below.time);
        let factory: OperatorFactory =
            Arc::new(move || Ok(Box::new(CurrentWatermark::new(Arc::clone(&output), time)) as _));
        let inputs = vec![Input::forward(below.node)];
        let node =
            self.graph.operator("clock", "current watermark", below.mode.trim_start(), inputs, factory);
        let mut columns = below.columns;
        columns.push(Some(column(width)));
        Ok(Stream { node, schema, columns, ..below })
    }
}
