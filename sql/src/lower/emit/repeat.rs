//! The node that gives a row as often as it says.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::Repeat;

use super::super::columns::column;
use super::super::need::{Need, input_need};
use super::super::rel::Rel;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    /// The rows of `input` as often as its last column says.
    pub(super) fn repeat(&mut self, rel: &Rel, input: &Rel, need: &[Need]) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(input, &below_need, true)?;
        let below = self.materialized(below, &below_need, &input.fields)?;
        let count = below.at(rel.fields.len())?;
        let mut kept = Vec::new();
        let mut columns = vec![None; rel.fields.len()];
        for (index, _) in need.iter().enumerate().filter(|(_, need)| need.is_any()) {
            columns[index] = Some(column(kept.len()));
            kept.push(below.at(index)?);
        }
        let fields: Vec<FieldRef> =
            kept.iter().map(|column| Arc::clone(&below.schema.fields()[*column])).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let detail = format!("{} times{}", below.schema.field(count).name(), below.mode);
        let output = Arc::clone(&schema);
        let factory: OperatorFactory =
            Arc::new(move || Ok(Box::new(Repeat::new(count, kept.clone(), Arc::clone(&output))) as _));
        let inputs = vec![Input::forward(below.node)];
        let node = self.graph.operator("repeat", "repeat", detail, inputs, factory);
        Ok(Stream { node, schema, columns, time: None, mode: below.mode })
    }
}
