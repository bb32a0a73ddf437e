//! The watermark assigner: how far event time has come, decided row by row in source order.
//!
//! Flink's assigner advances the watermark after every row. Here whole batches pass, and answers are the same: where a
//! row lies at or just above a watermark that earlier rows of its own batch have made, the batch is cut there and the
//! watermark goes between the pieces; a batch without such a row (the common case) passes whole with one watermark
//! after it. What is downstream may relax this ([`CutRule`]). So lateness never depends on where batches end. With several
//! partitions, or with keys (one clock a device), each row instead carries the watermark of its own clock (clocks.rs), and
//! the stream's watermark is the minimum over the clocks that are not idle.
//!
//! Rows without an event time, or too far ahead of the wall clock, are bad rows: they are reported, and move no clock.
//! Rows come from the source (with computed columns added) and go to everything else. Flink: WatermarkAssignerOperator.

mod clocks;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, BooleanArray, Int64Array, PrimitiveArray};
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::element::{WATERMARK_MAX_MS, WATERMARK_MIN_MS};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, Firing, InstanceContext, Operator, Output, Result};

use crate::expr::ExpressionRef;
use crate::row_text::row_text;

use clocks::Clocks;

/// With keys and no idle timeout, a device that falls silent leaves the minimum after this long.
const KEYED_IDLE_TIMEOUT_MS: i64 = 60_000;
/// Up to this many keys the minimum is taken anew after every batch, above it once per as many rows as keys.
const KEYS_PER_SCAN: usize = 4_096;

/// When a row's lateness against a watermark from inside its own batch must show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CutRule {
    /// Always: cut the batch in front of the row.
    #[default]
    Always,
    /// Only windows with these slice lengths and offsets (ms) are downstream: cut where a watermark passes one of
    /// their boundaries, and nowhere else, so that rows of equal time do not make crumbs.
    Boundaries(Vec<(i64, i64)>),
    /// Only operators that go by each row's own clock are downstream (windows per key): never cut, send clocks.
    Clocks,
}

impl CutRule {
    /// The lowest running watermark that makes a difference to a row when `sent_ms` was the last one sent.
    fn cuts_from_ms(&self, sent_ms: i64) -> i64 {
        match self {
            Self::Always | Self::Clocks => sent_ms.saturating_add(1),
            Self::Boundaries(boundaries) => boundaries
                .iter()
                .map(|(slide, offset)| {
                    // A watermark of one below a boundary closes the slice that ends there.
                    let into = sent_ms.saturating_add(1).saturating_sub(*offset).rem_euclid(*slide);
                    sent_ms.saturating_add(slide - into)
                })
                .min()
                .unwrap_or(i64::MAX),
        }
    }
}

/// What a table says about its time.
#[derive(Debug, Clone)]
pub struct WatermarkSpec {
    /// The event-time column, `Timestamp(Millisecond)`.
    pub event_time: usize,
    /// The watermark that each row makes: `ts - INTERVAL '5' SECOND`.
    pub watermark: ExpressionRef,
    /// Columns whose every value keeps a clock of its own; empty for one clock a partition.
    pub keys: Vec<usize>,
    /// After this long without a row a clock leaves the minimum.
    pub idle_timeout_ms: Option<i64>,
    /// How far ahead of the wall clock an event time may be.
    pub ahead_max_ms: Option<i64>,
    /// What bad rows do.
    pub on_error: OnError,
    /// Where batches must be cut, which depends on what is downstream.
    pub cut: CutRule,
    /// Something downstream shows each row's clock (`CURRENT_WATERMARK`): rows carry it also where lateness needs none.
    pub stamps: bool,
}

/// See the module's page.
pub struct WatermarkAssigner {
    spec: WatermarkSpec,
    errors: Option<RowErrors>,
    clocks: Clocks,
    idle_timeout_ms: Option<i64>,
    idle: bool,
    /// State was put back, and the stream has not been told its watermark yet.
    restored: bool,
    /// There are no other instances, whose partitions' clocks it could be that are restored.
    is_single: bool,
    rows_since_scan: usize,
}

impl WatermarkAssigner {
    /// An assigner for a stream that `spec` describes.
    pub fn new(spec: WatermarkSpec) -> Self {
        let idle_timeout_ms = spec
            .idle_timeout_ms
            .or((!spec.keys.is_empty()).then_some(KEYED_IDLE_TIMEOUT_MS))
            .filter(|ms| *ms > 0);
        Self {
            spec,
            errors: None,
            clocks: Clocks::default(),
            idle_timeout_ms,
            idle: false,
            restored: false,
            is_single: true,
            rows_since_scan: 0,
        }
    }

    /// Takes out rows that have no usable event time, and reports them.
    fn without_bad_rows(&self, batch: Batch, now_ms: i64) -> Result<Batch> {
        let column = batch.rows.column(self.spec.event_time);
        let times = column.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(|| {
            Error::internal(format!("the event-time column is {}, not TIMESTAMP(3)", column.data_type()))
        })?;
        let latest_ms = self.spec.ahead_max_ms.map_or(i64::MAX, |ahead| now_ms.saturating_add(ahead));
        if times.null_count() == 0 && times.values().iter().all(|time| *time <= latest_ms) {
            return Ok(batch);
        }
        let mut keep = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            let good = times.is_valid(row) && times.value(row) <= latest_ms;
            keep.push(good);
            if good {
                continue;
            }
            let error = if times.is_null(row) {
                Error::data("the event-time column is NULL")
                    .remedy("send a time, or filter such rows at the source")
            } else {
                let days = times.value(row).saturating_sub(now_ms) as f64 / 86_400_000.0;
                Error::data(format!("the event time is {days:.1} days ahead of this machine's clock")).remedy(
                    "set the device's clock, or raise 'scan.watermark.ahead-max' if such times are meant",
                )
            };
            match &self.errors {
                Some(errors) => errors.reject(row_text(&batch.rows, row).as_bytes(), error)?,
                None => return Err(error),
            }
        }
        batch.filter(&BooleanArray::from(keep))
    }

    /// One clock: cut where a row lies at or below a watermark made inside the batch.
    fn emit_in_order(
        &mut self,
        mut batch: Batch,
        marks: &PrimitiveArray<TimestampMillisecondType>,
        out: &mut Output<'_>,
    ) -> Result<()> {
        let before_ms = self.clocks.watermark_ms[0];
        let times = batch.event_times_ms().unwrap_or_default();
        let min_ms = times.iter().copied().min().unwrap_or(i64::MAX);
        let mut running_ms = before_ms;
        match marks.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => running_ms = marks.values().iter().copied().fold(running_ms, i64::max),
            Some(_) => running_ms = marks.iter().flatten().fold(running_ms, i64::max),
        }
        // Looking row by row is for the batch that reaches a watermark that matters with a row at or below it.
        let mut cuts: Vec<(usize, i64)> = Vec::new();
        if running_ms >= self.spec.cut.cuts_from_ms(before_ms) && min_ms <= running_ms.saturating_add(1) {
            running_ms = self.cuts(times, marks, &mut cuts);
        }
        batch.time_min_ms = min_ms;
        if self.spec.stamps {
            batch.clocks = Some(running_clocks(before_ms, marks));
        }
        self.clocks.watermark_ms[0] = running_ms;
        let mut from = 0;
        for (row, watermark_ms) in cuts {
            if row > from {
                out.emit(batch.slice(from, row - from))?;
            }
            out.watermark(watermark_ms)?;
            from = row;
        }
        let rest = if from == 0 { batch } else { batch.slice(from, batch.num_rows() - from) };
        out.emit(rest)?;
        out.watermark(running_ms)
    }

    /// Where the batch must be cut, and the watermark that goes there; the watermark after its last row.
    fn cuts(
        &self,
        times: &[i64],
        marks: &PrimitiveArray<TimestampMillisecondType>,
        cuts: &mut Vec<(usize, i64)>,
    ) -> i64 {
        let mut running_ms = self.clocks.watermark_ms[0];
        let mut cuts_from_ms = self.spec.cut.cuts_from_ms(running_ms);
        for (row, time) in times.iter().enumerate() {
            // One above the watermark counts too: a session that ends there has closed, and would take the row in.
            if *time <= running_ms.saturating_add(1) && running_ms >= cuts_from_ms {
                cuts.push((row, running_ms));
                cuts_from_ms = self.spec.cut.cuts_from_ms(running_ms);
            }
            if marks.is_valid(row) {
                running_ms = running_ms.max(marks.value(row));
            }
        }
        running_ms
    }

    /// Several clocks: every row carries its own.
    fn emit_with_clocks(
        &mut self,
        mut batch: Batch,
        marks: &[i64],
        valid: impl Fn(usize) -> bool,
        out: &mut Output<'_>,
    ) -> Result<()> {
        let mut own = Vec::with_capacity(batch.num_rows());
        let Clocks { watermark_ms, groups, .. } = &mut self.clocks;
        for (row, group) in groups.iter().enumerate() {
            let clock = &mut watermark_ms[*group as usize];
            own.push(*clock);
            if valid(row) {
                *clock = (*clock).max(marks[row]);
            }
        }
        batch.time_min_ms =
            batch.event_times_ms().and_then(|times| times.iter().copied().min()).unwrap_or(i64::MIN);
        batch.clocks = Some(Int64Array::from(own));
        self.rows_since_scan += batch.num_rows();
        out.emit(batch)?;
        let clocks = self.clocks.watermark_ms.len();
        if clocks <= KEYS_PER_SCAN || self.rows_since_scan >= clocks {
            self.send_minimum(out)?;
        }
        Ok(())
    }

    /// After a restore: clocks count as seen now, so that none is passed for the time that the program was away, and
    /// what is downstream learns how far the stream had come before it sees a row.
    fn take_up(&mut self, out: &mut Output<'_>) -> Result<()> {
        if !std::mem::take(&mut self.restored) {
            return Ok(());
        }
        self.clocks.seen_ms.fill(out.now_ms());
        self.send_minimum(out)
    }

    /// The minimum over the clocks that are not idle.
    fn send_minimum(&mut self, out: &mut Output<'_>) -> Result<()> {
        self.rows_since_scan = 0;
        let oldest_ms = self.idle_timeout_ms.map_or(i64::MIN, |timeout| out.now_ms().saturating_sub(timeout));
        let active =
            self.clocks.watermark_ms.iter().zip(&self.clocks.seen_ms).filter(|(_, seen)| **seen >= oldest_ms);
        if let Some(time_ms) = active.map(|(watermark, _)| *watermark).min() {
            out.watermark(time_ms)?;
        }
        Ok(())
    }
}

/// The clock of each row where there is one for all: before a row the highest mark of those in front of it.
fn running_clocks(before_ms: i64, marks: &PrimitiveArray<TimestampMillisecondType>) -> Int64Array {
    let mut clock_ms = before_ms;
    let own = marks.iter().map(|mark| {
        let before = clock_ms;
        clock_ms = clock_ms.max(mark.unwrap_or(i64::MIN));
        before
    });
    Int64Array::from_iter_values(own)
}

impl Operator for WatermarkAssigner {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.errors = Some(context.row_errors(self.spec.on_error));
        self.is_single = context.parallelism == 1;
        Ok(())
    }

    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now_ms = out.now_ms();
        self.take_up(out)?;
        let mut batch = self.without_bad_rows(batch, out.wall_ms())?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.event_time = Some(self.spec.event_time);
        if self.idle {
            self.idle = false;
            if let Some(timeout) = self.idle_timeout_ms {
                out.set_timer(now_ms.saturating_add(timeout));
            }
        }
        let marks = self.spec.watermark.evaluate(&batch.rows)?;
        let marks = marks
            .as_primitive_opt::<TimestampMillisecondType>()
            .ok_or_else(|| {
                Error::internal(format!("the watermark is {}, not TIMESTAMP(3)", marks.data_type()))
            })?
            .clone();
        let one = self.clocks.number(&batch, &self.spec.keys, now_ms)?;
        batch.partition = 0;
        if one && self.spec.cut != CutRule::Clocks {
            self.emit_in_order(batch, &marks, out)
        } else {
            self.emit_with_clocks(batch, marks.values(), |row| marks.is_valid(row), out)
        }
    }

    /// A partition's clock is there before its first row, as in Flink, where a split that has had none holds the
    /// watermark back until it is idle: those that are read first, or have rows at all, do not run ahead of it.
    fn expect_partitions(&mut self, partitions: &[u32], out: &mut Output<'_>) -> Result<()> {
        if !self.spec.keys.is_empty() {
            return Ok(());
        }
        let now_ms = out.now_ms();
        for partition in partitions {
            self.restored |= self.clocks.has_former(*partition);
            self.clocks.of_partition(*partition, now_ms);
        }
        self.take_up(out)
    }

    /// The source's own watermarks end here, but for the last one, which closes everything.
    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        if time_ms == WATERMARK_MAX_MS {
            out.watermark(WATERMARK_MAX_MS)?;
        }
        Ok(Firing::Done)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        let Some(timeout) = self.idle_timeout_ms else { return Ok(Firing::Done) };
        self.take_up(out)?;
        match self.clocks.seen_ms.iter().max() {
            // Nothing has come since the start: give it one timeout.
            None if !self.idle && self.rows_since_scan == 0 => {
                self.rows_since_scan = 1;
                out.set_timer(now_ms.saturating_add(timeout));
            }
            Some(last) if now_ms.saturating_sub(*last) < timeout => {
                self.send_minimum(out)?;
                // The clock that will fall idle next decides when to look again.
                let oldest_ms = now_ms.saturating_sub(timeout);
                let next = self.clocks.seen_ms.iter().filter(|seen| **seen > oldest_ms).min().copied();
                out.set_timer(next.unwrap_or(now_ms).saturating_add(timeout).max(now_ms + 1));
            }
            _ => {
                self.idle = true;
                // Clocks that fell idle together have not seen each other go. What never had a row holds back nothing.
                let heard = self.clocks.watermark_ms.iter().filter(|time_ms| **time_ms > WATERMARK_MIN_MS);
                if let Some(time_ms) = heard.min() {
                    out.watermark(*time_ms)?;
                }
                out.idle()?;
            }
        }
        Ok(Firing::Done)
    }

    fn starts_with_timer(&self) -> bool {
        self.idle_timeout_ms.is_some()
    }

    fn forwards_watermarks(&self) -> bool {
        false
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        self.clocks.snapshot(state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.restored = true;
        self.clocks.restore(state, !self.spec.keys.is_empty(), self.is_single)
    }
}

#[cfg(test)]
mod tests;
