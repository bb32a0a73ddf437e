//! The node of a join with a table that is looked up in.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use datafusion_expr::Expr;
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::{JoinSpec, LookupJoin};

use super::super::columns::{column, substitute};
use super::super::expression::compile;
use super::super::lookup::Lookup;
use super::super::need::{Need, lookup_needs};
use super::super::show;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    pub(super) fn lookup(&mut self, lookup: &Lookup, need: &[Need]) -> Result<Stream, PlanError> {
        let [left_need, right_need] = lookup_needs(lookup, need);
        let left = self.rel(&lookup.left, &left_need, true)?;
        let (keys, of_table): (Vec<Expr>, Vec<usize>) = lookup.keys.iter().cloned().unzip();
        let (left, left_keys) = self.with_keys(left, &left_need, &lookup.left.fields, &keys)?;
        let width = left.schema.fields().len();
        let mut columns = left.columns.clone();
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut places: Vec<usize> = vec![usize::MAX; right_need.len()];
        for (index, need) in right_need.iter().enumerate() {
            columns.push(need.is_any().then(|| column(width + fields.len())));
            if need.is_any() {
                places[index] = fields.len();
                fields.push(Arc::clone(&lookup.table.table.schema.fields()[index]));
            }
        }
        let right: SchemaRef = Arc::new(Schema::new(fields));
        let right_keys: Vec<usize> = of_table.iter().map(|index| places[*index]).collect();
        let pair: Vec<FieldRef> = left.schema.fields().iter().chain(right.fields().iter()).cloned().collect();
        let residual = lookup.residual.iter().map(|expr| {
            substitute(expr, &|index| columns[index].clone().unwrap_or_else(|| column(usize::MAX)))
        });
        let residual = residual.reduce(Expr::and);
        let provider = lookup.table.lookup(self.registry)?;
        let mut on: Vec<String> = left_keys
            .iter()
            .zip(&right_keys)
            .map(|(one, other)| {
                format!("{} = {}", left.schema.field(*one).name(), right.field(*other).name())
            })
            .collect();
        on.extend(residual.as_ref().map(|residual| show::expression(residual, &pair)));
        let detail = format!(
            "{:?} {} ({}) on {}",
            lookup.kind,
            lookup.table.name,
            provider.describe(),
            on.join(" AND ")
        );
        let spec = JoinSpec {
            inputs: [Arc::clone(&left.schema), right],
            keys: [left_keys, right_keys],
            filter: residual.map(|residual| compile(&residual, &pair)).transpose()?,
            kind: lookup.kind,
            nulls_equal: false,
            updates: [false, false],
            ttl_ms: None,
        };
        let (schema, time) = (spec.output_schema(), left.time);
        let keeps = show::all_typed(&schema);
        let make = move || LookupJoin::new(&spec, Arc::clone(&provider), time);
        make()?;
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(make()?) as _));
        let input = Input::forward(left.node);
        let node = self.graph.operator("lookup", "lookup join", detail, vec![input], factory);
        self.graph.keeps(node, keeps);
        Ok(Stream { node, schema, columns, time, mode: "" })
    }
}
