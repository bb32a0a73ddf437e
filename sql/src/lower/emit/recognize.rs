//! The node of a row pattern.

use std::sync::Arc;

use arrow_schema::FieldRef;
use millstream_engine::Input;
use millstream_engine::graph::OperatorFactory;
use millstream_operators::recognize::{Definition, Measure, Read};
use millstream_operators::window::TimeMode;
use millstream_operators::{MatchRecognize, RecognizeSpec, SortKey};

use super::super::columns::column;
use super::super::expression::compile;
use super::super::need::{Need, input_need};
use super::super::recognize::shown;
use super::super::rel::{Condition, Recognize, Rel};
use super::super::show;
use super::{Emitter, Stream};
use crate::plan::error::PlanError;

impl Emitter<'_> {
    pub(super) fn recognize(
        &mut self,
        rel: &Rel,
        recognize: &Recognize,
        need: &[Need],
    ) -> Result<Stream, PlanError> {
        let below_need = input_need(rel, need);
        let below = self.rel(&recognize.input, &below_need, true)?;
        let mut below = self.materialized(below, &below_need, &recognize.input.fields)?;
        let mut event_time = 0;
        let by = recognize.order.split_first();
        if let (TimeMode::Event, Some((time, _))) = (recognize.mode, by) {
            event_time = below.at(time.column)?;
            below = self.timed(below, event_time)?;
        }
        let at = |index: usize| below.at(index);
        let definition = |definition: &Option<Condition>| {
            let Some(Condition { reads, condition, is_plain }) = definition else { return Ok(None) };
            let reads = reads.iter().map(|read| read.moved(at)).collect::<Result<Vec<Read>, PlanError>>()?;
            let fields = reads.iter().map(|read| read.field(&below.schema));
            let fields = fields.collect::<millstream_engine::Result<Vec<FieldRef>>>()?;
            Ok(Some(Definition { condition: compile(condition, &fields)?, reads, is_plain: *is_plain }))
        };
        let measures = recognize.measures_needed(need);
        let keys = recognize.partition.len();
        let measure = |(index, read): &(usize, &Read)| {
            Ok(Measure { name: rel.fields[keys + index].name().clone(), read: read.moved(at)? })
        };
        let spec = RecognizeSpec {
            input: Arc::clone(&below.schema),
            partition: recognize.partition.iter().map(|key| at(*key)).collect::<Result<_, _>>()?,
            time: recognize.mode,
            event_time,
            order: by
                .iter()
                .flat_map(|(_, rest)| rest.iter())
                .map(|key| Ok(SortKey { column: at(key.column)?, ..*key }))
                .collect::<Result<_, PlanError>>()?,
            pattern: recognize.pattern.clone(),
            definitions: recognize.definitions.iter().map(definition).collect::<Result<_, PlanError>>()?,
            measures: measures.iter().map(measure).collect::<Result<_, PlanError>>()?,
            // With WITHIN time takes everything away that waits.
            ttl_ms: self
                .settings
                .state_ttl_ms
                .filter(|ttl| *ttl > 0 && recognize.pattern.within_ms().is_none()),
        };
        let schema = spec.output_schema()?;
        let keeps = format!("{}; {:?}", show::all_typed(&below.schema), spec.measures);
        MatchRecognize::new(&spec)?;
        let input = if spec.partition.is_empty() {
            Input::gather(below.node)
        } else {
            Input::keyed(below.node, spec.partition.clone())
        };
        let mut columns: Vec<_> = (0..keys).map(|key| Some(column(key))).collect();
        columns.resize(rel.fields.len(), None);
        for (place, (measure, _)) in measures.iter().enumerate() {
            columns[keys + measure] = Some(column(keys + place));
        }
        let is_time =
            |measure: &Measure| matches!(measure.read, Read::Time(_)) && recognize.mode == TimeMode::Event;
        let time = spec.measures.iter().position(is_time).map(|place| keys + place);
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(MatchRecognize::new(&spec)?) as _));
        let node = self.graph.operator("match", "match", shown(recognize), vec![input], factory);
        self.graph.keeps(node, keeps);
        Ok(Stream { node, schema, columns, time, mode: "" })
    }
}
