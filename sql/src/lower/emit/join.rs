//! Nodes of joins: regular, by interval of time, by window, and with a table as it was.

use std::sync::Arc;

use arrow_schema::FieldRef;
use datafusion_expr::Expr;
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::{JoinSpec, RegularJoin, TemporalJoin, TimeBounds, TimedJoin};

use super::super::columns::{as_column, column, substitute};
use super::super::expression::compile;
use super::super::need::{Need, join_needs};
use super::super::rel::{Join, Rel};
use super::super::{changes, show};
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    pub(super) fn join(&mut self, rel: &Rel, join: &Join, need: &[Need]) -> Result<Stream, PlanError> {
        let [left_need, right_need] = join_needs(join, need);
        let left = self.rel(&join.left, &left_need, true)?;
        let right = self.rel(&join.right, &right_need, true)?;
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.keys.iter().cloned().unzip();
        let (left, left_keys) = self.with_keys(left, &left_need, &join.left.fields, &left_keys)?;
        let (right, right_keys) = self.with_keys(right, &right_need, &join.right.fields, &right_keys)?;
        let width = left.schema.fields().len();
        let (left_columns, right_columns) = (left.columns.clone(), right.columns.clone());
        let shifted = right_columns
            .iter()
            .map(|expr| expr.as_ref().map(|expr| substitute(expr, &|index| column(index + width))));
        let mut columns: Vec<Option<Expr>> = left_columns.into_iter().chain(shifted).collect();
        let pair: Vec<FieldRef> =
            left.schema.fields().iter().chain(right.schema.fields().iter()).cloned().collect();
        let residual = join
            .residual
            .iter()
            .map(|expr| {
                substitute(expr, &|index| columns[index].clone().unwrap_or_else(|| column(usize::MAX)))
            })
            .reduce(Expr::and);
        let filter = residual.as_ref().map(|residual| compile(residual, &pair)).transpose()?;
        let spec = JoinSpec {
            inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
            keys: [left_keys.clone(), right_keys.clone()],
            filter,
            kind: join.kind,
            nulls_equal: join.nulls_equal,
            updates: [join.left.updates(), join.right.updates()],
            ttl_ms: self.settings.state_ttl_ms.filter(|ttl| *ttl > 0),
        };
        let wanted = |need: &[Need]| need.iter().filter(|need| need.is_any()).count();
        let is_computed = |keys: &[usize], need: &[Need]| keys.iter().any(|key| *key >= wanted(need));
        let has_computed_key = is_computed(&left_keys, &left_need) || is_computed(&right_keys, &right_need);
        let keys = left_keys.iter().zip(&right_keys);
        let mut on: Vec<String> = keys
            .map(|(one, other)| {
                format!("{} = {}", left.schema.field(*one).name(), right.schema.field(*other).name())
            })
            .collect();
        if let Some(TimeBounds::Interval { least_ms, most_ms }) = join.bounds {
            on.push(format!(
                "{} - {} from {least_ms} to {most_ms} ms",
                join.left.fields[join.times[0]].name(),
                join.right.fields[join.times[1]].name()
            ));
        }
        on.extend(residual.map(|residual| show::expression(&residual, &pair)));
        let what = format!("{:?} on {}", join.kind, on.join(" AND "));
        let inputs = if left_keys.is_empty() {
            vec![Input::gather(left.node), Input::gather(right.node)]
        } else {
            vec![Input::keyed(left.node, left_keys), Input::keyed(right.node, right_keys)]
        };
        let keeps = format!(
            "{:?}; {} and {}",
            spec.updates,
            show::all_typed(&spec.inputs[0]),
            show::all_typed(&spec.inputs[1])
        );
        let schema = spec.output_schema();
        let (kind, factory): (_, OperatorFactory) = match join.bounds {
            None if join.versions => {
                let times = [left.at(join.times[0])?, right.at(join.times[1])?];
                let make = move || TemporalJoin::new(&spec, times, Some(times[0]));
                make()?;
                ("temporal join", Arc::new(move || Ok(Box::new(make()?) as _)))
            }
            None => ("join", Arc::new(move || Ok(Box::new(RegularJoin::new(&spec)?) as _))),
            Some(bounds) => {
                let times = [left.at(join.times[0])?, right.at(join.times[1])?];
                let kind = if bounds == TimeBounds::Window { "window join" } else { "interval join" };
                (kind, Arc::new(move || Ok(Box::new(TimedJoin::new(&spec, bounds, times, None)?) as _)))
            }
        };
        let mode = changes::mode(rel.updates(), true);
        let node = self.graph.operator("join", kind, format!("{what}{mode}"), inputs, factory);
        // Before keys were computed beside its columns, such a join kept its rows without them.
        self.graph.state_of(node, if has_computed_key { format!("{what}, by a computed key") } else { what });
        self.graph.keeps(node, keeps);
        columns.truncate(rel.fields.len());
        let time = if join.versions { Some(left.at(join.times[0])?) } else { None };
        Ok(Stream { node, schema, columns, time, mode })
    }

    /// The needed columns as columns of the rows, and `keys` over them, computed where they are no columns. Answers where
    /// the keys are.
    pub(super) fn with_keys(
        &mut self,
        stream: Stream,
        need: &[Need],
        fields: &[FieldRef],
        keys: &[Expr],
    ) -> Result<(Stream, Vec<usize>), PlanError> {
        let of = |index: usize| stream.columns[index].clone().unwrap_or_else(|| column(usize::MAX));
        let mut exprs: Vec<Expr> = Vec::new();
        let mut kept: Vec<FieldRef> = Vec::new();
        let mut columns: Vec<Option<Expr>> = vec![None; stream.columns.len()];
        for index in (0..need.len()).filter(|index| need[*index].is_any()) {
            columns[index] = Some(column(exprs.len()));
            exprs.push(of(index));
            kept.push(Arc::clone(&fields[index]));
        }
        let mut places = Vec::new();
        for key in keys {
            let bound = substitute(key, &of);
            let place = exprs.iter().position(|expr| *expr == bound);
            places.push(place.unwrap_or_else(|| {
                exprs.push(bound);
                let name = show::expression(key, fields);
                kept.push(Arc::new(arrow_schema::Field::new(name, arrow_schema::DataType::Null, true)));
                exprs.len() - 1
            }));
        }
        let as_is = exprs.len() == stream.schema.fields().len()
            && exprs.iter().enumerate().all(|(index, expr)| as_column(expr) == Some(index));
        if as_is {
            return Ok((Stream { columns, ..stream }, places));
        }
        let projected = self.project(&stream, None, &exprs, kept, "project".into())?;
        Ok((Stream { columns, ..projected }, places))
    }
}
