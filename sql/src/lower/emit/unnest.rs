//! The node of an UNNEST.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema};
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::{Unnest as Operator, UnnestSpec, item_fields};

use super::super::columns::column;
use super::super::need::{Need, input_need};
use super::super::rel::Rel;
use super::super::unnest::Unnest;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    pub(super) fn unnest(&mut self, rel: &Rel, unnest: &Unnest, need: &[Need]) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(&unnest.input, &below_need, true)?;
        let below = self.materialized(below, &below_need, &unnest.input.fields)?;
        let list = below.at(unnest.list)?;
        let mut kept = Vec::new();
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns = Vec::with_capacity(rel.fields.len());
        for (index, need) in need[..unnest.input.fields.len()].iter().enumerate() {
            columns.push(need.is_any().then(|| column(kept.len())));
            if need.is_any() {
                kept.push(below.at(index)?);
                fields.push(Arc::clone(&below.schema.fields()[below.at(index)?]));
            }
        }
        // The stream's time goes on with its rows, also where nobody reads it.
        let time = below.time.map(|time| {
            kept.iter().position(|column| *column == time).unwrap_or_else(|| {
                kept.push(time);
                fields.push(Arc::clone(&below.schema.fields()[time]));
                kept.len() - 1
            })
        });
        let mut items: Vec<FieldRef> = item_fields(below.schema.field(list).data_type())?
            .iter()
            .map(|item| Arc::new(item.as_ref().clone().with_nullable(true)))
            .collect();
        if unnest.ordinality {
            items.push(Arc::new(Field::new("ORDINALITY", DataType::Int32, true)));
        }
        columns.extend((0..items.len()).map(|item| Some(column(fields.len() + item))));
        let names = rel.fields[unnest.input.fields.len()..].iter();
        fields.extend(
            items
                .iter()
                .zip(names)
                .map(|(item, named)| Arc::new(item.as_ref().clone().with_name(named.name())) as FieldRef),
        );
        let schema = Arc::new(Schema::new(fields));
        let detail = format!(
            "{}{}{}{}",
            below.schema.field(list).name(),
            if unnest.ordinality { ", with places" } else { "" },
            if unnest.outer { ", or a row without" } else { "" },
            below.mode
        );
        let (outer, ordinality) = (unnest.outer, unnest.ordinality);
        let spec =
            UnnestSpec { list, kept, output: Arc::clone(&schema), outer, ordinality, event_time: time };
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(Operator::new(spec.clone())) as _));
        let inputs = vec![Input::forward(below.node)];
        let node = self.graph.operator("unnest", "unnest", detail, inputs, factory);
        Ok(Stream { node, schema, columns, time, mode: below.mode })
    }
}
