//! The first half of a two-phase aggregation: rows to partial rows per key and slice, in front of the exchange.
//!
//! Invariants: lateness is decided here, where rows are in source order; a slice's partial rows leave before the
//! watermark that could close one of its windows is passed on, and everything leaves before a barrier, so that there is
//! no state of its own. The exchange then carries keys times slices, not rows.

use arrow_schema::SchemaRef;
use millstream_engine::{Batch, Firing, Operator, Output, Result};

use super::assign::{Assigned, assign};
use super::groups::{Groups, Preparer};
use super::slices::Slices;
use super::{WindowAggregateSpec, WindowAssigner};

/// Groups held before everything is sent on early.
const GROUPS_MAX: usize = 1 << 16;
/// Rows of one emitted chunk.
const CHUNK_ROWS: usize = 4_096;

/// See the module's page.
pub(super) struct LocalAggregate {
    window: WindowAssigner,
    preparer: Preparer,
    slices: Slices,
    partial: SchemaRef,
}

impl LocalAggregate {
    pub fn new(spec: &WindowAggregateSpec) -> Result<Self> {
        // Slices only: windows are put together behind the exchange.
        let size_ms = spec.window.slide_ms();
        let slices = WindowAssigner::Tumble { size_ms, offset_ms: 0 };
        Ok(Self {
            window: spec.window,
            preparer: Preparer::new(spec)?,
            slices: Slices::new(spec, slices)?,
            partial: spec.partial_schema()?,
        })
    }

    fn send(&self, groups: &Groups, end_ms: i64, out: &mut Output<'_>) -> Result<()> {
        let numbers: Vec<u32> = (0..groups.keys.len() as u32).collect();
        for chunk in numbers.chunks(CHUNK_ROWS) {
            out.emit(Batch::new(groups.partials(chunk, end_ms, &self.partial)?))?;
        }
        Ok(())
    }

    /// Sends the slices that end at or before `time_ms`.
    fn flush(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<()> {
        let ends: Vec<i64> =
            self.slices.iter().map(|(end, _)| end).take_while(|end| end - 1 <= time_ms).collect();
        for end_ms in ends {
            if let Some(groups) = self.slices.take(end_ms) {
                self.send(&groups, end_ms, out)?;
                self.slices.give_back(groups);
            }
        }
        Ok(())
    }
}

impl Operator for LocalAggregate {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let Assigned { rows, runs } = assign(&self.window, batch, out)?;
        let prepared = self.preparer.rows(&rows)?;
        for run in runs {
            self.slices.update(run.end_ms, &prepared, run.start, run.len)?;
        }
        if self.slices.num_groups() > GROUPS_MAX {
            self.flush(i64::MAX, out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        // A late row may wait in a slice that ended before; its windows close at the next slide, which is after this.
        self.flush(time_ms, out)?;
        Ok(Firing::Done)
    }

    fn on_barrier(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.flush(i64::MAX, out)?;
        Ok(Firing::Done)
    }

    fn on_end(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.flush(i64::MAX, out)?;
        Ok(Firing::Done)
    }
}
