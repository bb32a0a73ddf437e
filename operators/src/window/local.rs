//! The first half of a two-phase aggregation: rows to partial rows per key and slice, in front of the exchange.
//!
//! Invariants: lateness is decided here, where rows are in source order; a slice's partial rows leave before the
//! watermark that could close one of its windows is passed on, and everything leaves before a barrier, so that there is
//! no state of its own. The exchange then carries keys times slices, not rows.

use arrow_array::BooleanArray;
use arrow_schema::SchemaRef;
use millstream_engine::operator::LATE;
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use super::groups::{Groups, Preparer};
use super::slice_aggregate::arrow_ord_not;
use super::slices::Slices;
use super::{WindowAggregateSpec, WindowAssigner, clock_of};

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
        let slices_of =
            WindowAggregateSpec { window: WindowAssigner::Tumble { size_ms, offset_ms: 0 }, ..spec.clone() };
        Ok(Self {
            window: spec.window,
            preparer: Preparer::new(spec)?,
            slices: Slices::new(&slices_of)?,
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
        let times = batch
            .event_times_ms()
            .ok_or_else(|| Error::internal("rows without event time reached an event-time window"))?;
        let slide = self.window.slide_ms();
        // The common case first: every row in one slice, none late.
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for time in times {
            low = low.min(*time);
            high = high.max(*time);
        }
        let first_ms = self.window.slice_start_ms(low) + slide;
        let on_time =
            batch.clocks.is_none() && self.window.last_window_end_ms(first_ms) - 1 > out.input_clock_ms();
        if on_time && high < first_ms {
            let prepared = self.preparer.rows(&batch)?;
            self.slices.update(first_ms, &prepared, 0, batch.num_rows())?;
        } else {
            let ends: Vec<i64> = times.iter().map(|time| self.window.slice_start_ms(*time) + slide).collect();
            let keep: BooleanArray = ends
                .iter()
                .enumerate()
                .map(|(row, end)| Some(self.window.last_window_end_ms(*end) - 1 > clock_of(&batch, row, out)))
                .collect();
            let late = keep.len() - keep.true_count();
            let mut kept = batch;
            if late > 0 {
                out.metrics().rows_late.add(late as u64);
                if out.is_connected(LATE) {
                    out.emit_to(LATE, kept.filter(&arrow_ord_not(&keep))?)?;
                }
                kept = kept.filter(&keep)?;
            }
            let ends: Vec<i64> =
                ends.into_iter().zip(keep.values()).filter(|(_, keep)| *keep).map(|(end, _)| end).collect();
            let prepared = self.preparer.rows(&kept)?;
            let mut start = 0;
            while start < ends.len() {
                let len = ends[start..].iter().take_while(|end| **end == ends[start]).count();
                self.slices.update(ends[start], &prepared, start, len)?;
                start += len;
            }
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
