//! Aggregates that definitions read, kept for each open attempt under its slot and carried on row by row.
//!
//! An attempt that takes a row is a new one: its aggregates are those of the old one and the row. So no definition goes over
//! the rows of an attempt again. Comes from the rows that matcher.rs took, goes to definitions (conditions.rs).

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use millstream_engine::Result;

use super::matcher::Taken;
use super::reads::{Definition, Read, accumulator, argument};
use crate::aggregate::{Accumulator, AggregateCall};

struct Kept {
    variable: Option<usize>,
    call: AggregateCall,
    /// By slot.
    accumulator: Box<dyn Accumulator>,
    /// Of the rows looked at.
    tried: Box<dyn Accumulator>,
}

/// See the module's page.
pub(super) struct Aggregates(Vec<Kept>);

impl Aggregates {
    /// The aggregates of `definitions`.
    ///
    /// # Errors
    /// If one does not take its argument's type.
    pub fn new<'a>(definitions: impl Iterator<Item = &'a Definition>, input: &SchemaRef) -> Result<Self> {
        let mut kept: Vec<Kept> = Vec::new();
        for read in definitions.flat_map(|definition| &definition.reads) {
            let Read::Aggregate { variable, call } = read else { continue };
            if find(&kept, *variable, call).is_some() {
                continue;
            }
            let accumulator = accumulator(call, input)?;
            let tried = accumulator.fresh();
            kept.push(Kept { variable: *variable, call: call.clone(), accumulator, tried });
        }
        Ok(Self(kept))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The aggregate of attempts, `from` their slots, if `variable` took the rows `rows` of `columns`.
    ///
    /// # Errors
    /// If it cannot be computed.
    pub fn tried(
        &mut self,
        (of, call): (Option<usize>, &AggregateCall),
        variable: usize,
        from: &[Option<u32>],
        columns: &[ArrayRef],
        rows: &UInt32Array,
    ) -> Result<ArrayRef> {
        let index = find(&self.0, of, call);
        let index =
            index.ok_or_else(|| millstream_engine::Error::internal("an aggregate that is not kept"))?;
        let kept = &mut self.0[index];
        let all: Vec<u32> = (0..from.len() as u32).collect();
        kept.tried.clear();
        kept.tried.resize(from.len());
        let (old, new): (Vec<u32>, Vec<u32>) =
            from.iter().zip(&all).filter_map(|(from, new)| Some(((*from)?, *new))).unzip();
        if !old.is_empty() {
            kept.tried.merge_state(&new, &kept.accumulator.state(&old)?)?;
        }
        if of.is_none_or(|of| of == variable) {
            let column = argument(call, columns, kept.tried.as_ref())?;
            let column = column.map(|column| take(&column, rows, None)).transpose()?;
            kept.tried.update(&all, column.as_ref(), None)?;
        }
        kept.tried.evaluate(&all)
    }

    /// Carries on with what was taken: the rows `rows` of `columns`. There are slots up to `slots`.
    ///
    /// # Errors
    /// If a row cannot be added.
    pub fn carry_on(
        &mut self,
        taken: &[Taken],
        slots: usize,
        columns: &[ArrayRef],
        rows: &[u32],
    ) -> Result<()> {
        if taken.is_empty() {
            return Ok(());
        }
        let (old, new): (Vec<u32>, Vec<u32>) =
            taken.iter().filter_map(|taken| Some((taken.from?, taken.to))).unzip();
        for Kept { variable, call, accumulator, .. } in &mut self.0 {
            accumulator.resize(slots);
            let states = if old.is_empty() { None } else { Some(accumulator.state(&old)?) };
            taken.iter().for_each(|taken| accumulator.reset(taken.to as usize));
            if let Some(states) = states {
                accumulator.merge_state(&new, &states)?;
            }
            let (groups, rows): (Vec<u32>, Vec<u32>) = taken
                .iter()
                .zip(rows)
                .filter(|(taken, _)| variable.is_none_or(|variable| variable == taken.variable))
                .map(|(taken, row)| (taken.to, *row))
                .unzip();
            let column = argument(call, columns, accumulator.as_ref())?;
            let column = column.map(|column| take(&column, &UInt32Array::from(rows), None)).transpose()?;
            accumulator.update(&groups, column.as_ref(), None)?;
        }
        Ok(())
    }
}

fn find(kept: &[Kept], variable: Option<usize>, call: &AggregateCall) -> Option<usize> {
    kept.iter().position(|kept| {
        kept.variable == variable && kept.call.kind == call.kind && kept.call.argument == call.argument
    })
}
