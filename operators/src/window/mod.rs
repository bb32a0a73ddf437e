//! Windows: which rows belong together in time, and their aggregation on slices.
//!
//! Tumbling, hopping and cumulating windows are cut into slices that do not overlap (the window itself, the slide, the
//! step); a row touches the state of one slice, and windows are put together from slices when they fire
//! (slices.rs). [`single`] does it in one operator; [`local`] and [`global`] in two around an exchange, where parts can
//! be added up in any order. Sessions, and windows over streams with a clock a device, are kept per key (per_key.rs).
//! Flink: SlicingWindowOperator and its slice assigners; boundaries as TimeWindow.getWindowStartWithOffset.

mod assign;
mod attached;
mod groups;
mod local;
mod per_key;
mod slice_aggregate;
mod slices;
mod tvf;

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream_engine::operator::LATE;
use millstream_engine::{Batch, Error, Operator, Output, Result};

use crate::aggregate::{Accumulator, AggregateCall, AggregateKind, state_fields};

pub use tvf::WindowTvf;

/// Which windows a row falls into. All in milliseconds; offsets move the boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowAssigner {
    /// One window after the other.
    Tumble {
        /// Length of a window.
        size_ms: i64,
        /// Where windows start, relative to 1970.
        offset_ms: i64,
    },
    /// Windows of `size_ms` that start every `slide_ms`; the size is a multiple of the slide.
    Hop {
        /// Length of a window.
        size_ms: i64,
        /// From one start to the next.
        slide_ms: i64,
        /// Where windows start, relative to 1970.
        offset_ms: i64,
    },
    /// Windows that start together and end one `step_ms` after the other, up to `max_ms`, a multiple of the step.
    Cumulate {
        /// Length of the longest window.
        max_ms: i64,
        /// From one end to the next.
        step_ms: i64,
        /// Where windows start, relative to 1970.
        offset_ms: i64,
    },
    /// Windows that end when a key was silent for `gap_ms`.
    Session {
        /// The silence.
        gap_ms: i64,
    },
}

impl WindowAssigner {
    /// Refuses lengths that make no windows.
    ///
    /// # Errors
    /// Says which length is wrong.
    pub fn check(&self) -> Result<()> {
        let (whole, part, names) = match *self {
            Self::Tumble { size_ms, .. } => (size_ms, size_ms, "the size of TUMBLE"),
            Self::Session { gap_ms } => (gap_ms, gap_ms, "the gap of SESSION"),
            Self::Hop { size_ms, slide_ms, .. } => {
                (size_ms, slide_ms, "the size of HOP, a multiple of its slide,")
            }
            Self::Cumulate { max_ms, step_ms, .. } => {
                (max_ms, step_ms, "the maximum size of CUMULATE, a multiple of its step,")
            }
        };
        if whole <= 0 || part <= 0 || whole % part != 0 {
            return Err(Error::config(format!(
                "{names} must be a positive time, found {whole} ms by {part} ms"
            ))
            .remedy("HOP takes (slide, size) and CUMULATE (step, size), in this order"));
        }
        Ok(())
    }

    /// From one window end to the next, which is the length of a slice.
    pub fn slide_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } => size_ms,
            Self::Hop { slide_ms, .. } => slide_ms,
            Self::Cumulate { step_ms, .. } => step_ms,
            Self::Session { gap_ms } => gap_ms,
        }
    }

    /// True for a window that the wall clock, at `now_ms`, was not in a moment ago: it has been set back since.
    fn is_far_ahead(&self, window_end_ms: i64, now_ms: i64) -> bool {
        let length_ms = match *self {
            Self::Tumble { size_ms, .. } | Self::Hop { size_ms, .. } => size_ms,
            Self::Cumulate { max_ms, .. } => max_ms,
            Self::Session { gap_ms } => gap_ms,
        };
        window_end_ms.saturating_sub(now_ms) > length_ms.saturating_mul(2)
    }

    fn offset_ms(&self) -> i64 {
        match *self {
            Self::Tumble { offset_ms, .. }
            | Self::Hop { offset_ms, .. }
            | Self::Cumulate { offset_ms, .. } => offset_ms,
            Self::Session { .. } => 0,
        }
    }

    /// Start of the slice that `time_ms` falls into; its end is one slide later.
    #[inline]
    pub fn slice_start_ms(&self, time_ms: i64) -> i64 {
        let slide = self.slide_ms();
        time_ms - (time_ms - self.offset_ms()).rem_euclid(slide)
    }

    /// End of the last window that contains the slice that ends at `slice_end_ms`.
    #[inline]
    pub fn last_window_end_ms(&self, slice_end_ms: i64) -> i64 {
        match *self {
            Self::Hop { size_ms, slide_ms, .. } => slice_end_ms - slide_ms + size_ms,
            Self::Cumulate { max_ms, offset_ms, .. } => {
                slice_end_ms + (max_ms - (slice_end_ms - offset_ms).rem_euclid(max_ms)) % max_ms
            }
            Self::Tumble { .. } | Self::Session { .. } => slice_end_ms,
        }
    }

    /// Start of the window that ends at `window_end_ms`.
    pub fn window_start_ms(&self, window_end_ms: i64) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } | Self::Hop { size_ms, .. } => window_end_ms - size_ms,
            Self::Cumulate { max_ms, offset_ms, .. } => {
                window_end_ms - 1 - (window_end_ms - 1 - offset_ms).rem_euclid(max_ms)
            }
            Self::Session { gap_ms } => window_end_ms - gap_ms,
        }
    }
}

/// Which time windows go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeMode {
    /// The rows' event time, and watermarks.
    Event,
    /// The wall clock.
    Processing,
}

/// A windowed aggregation.
#[derive(Debug, Clone)]
pub struct WindowAggregateSpec {
    /// The rows coming in.
    pub input: SchemaRef,
    /// Group key columns, `window_start` and `window_end` apart.
    pub keys: Vec<usize>,
    /// The windows.
    pub window: WindowAssigner,
    /// The event-time column; any for processing time.
    pub event_time: usize,
    /// Event or processing time.
    pub time: TimeMode,
    /// Type of `window_start` and the like: TIMESTAMP(3), or TIMESTAMP_LTZ(3) with a zone.
    pub time_type: DataType,
    /// What is computed.
    pub aggregates: Vec<AggregateCall>,
}

impl WindowAggregateSpec {
    /// Columns of the result: keys, aggregates, `window_start`, `window_end`, `window_time`.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn output_schema(&self) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = self.keys.iter().map(|key| self.input.field(*key).clone()).collect();
        for call in &self.aggregates {
            let kind = call.kind.output_type(&self.argument_type(call))?;
            fields.push(Field::new(&call.name, kind, true));
        }
        for name in ["window_start", "window_end", "window_time"] {
            fields.push(Field::new(name, self.time_type.clone(), false));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Columns between [`local`] and [`global`]: keys, `slice_end`, states. The keys are the first columns.
    ///
    /// # Errors
    /// If an aggregate does not take its argument's type.
    pub fn partial_schema(&self) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = self.keys.iter().map(|key| self.input.field(*key).clone()).collect();
        fields.push(Field::new("slice_end", DataType::Int64, false));
        fields.extend(state_fields(&self.accumulators()?));
        Ok(Arc::new(Schema::new(fields)))
    }

    fn argument_type(&self, call: &AggregateCall) -> DataType {
        call.argument.map_or(DataType::Int64, |column| self.input.field(column).data_type().clone())
    }

    pub(crate) fn key_types(&self) -> Vec<DataType> {
        self.keys.iter().map(|key| self.input.field(*key).data_type().clone()).collect()
    }

    /// One accumulator a call, and a count of rows behind them where [`Self::row_count`] wants one of its own.
    pub(crate) fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        let mut all = self.of_calls()?;
        if self.row_count()? == Some(all.len()) {
            let count = AggregateCall {
                kind: AggregateKind::Count,
                argument: None,
                filter: None,
                distinct: false,
                name: "rows".into(),
            };
            all.push(count.accumulator(&DataType::Int64)?);
        }
        Ok(all)
    }

    /// Which accumulator counts rows, where that is needed: slices that are taken out of a running window leave keys
    /// without rows behind, which must not be told from the others by their results.
    pub(crate) fn row_count(&self) -> Result<Option<usize>> {
        if !self.is_running_undone()? {
            return Ok(None);
        }
        let counts_rows = |call: &AggregateCall| {
            call.kind == AggregateKind::Count && call.argument.is_none() && call.filter.is_none()
        };
        let own = self.aggregates.len();
        Ok(Some(self.aggregates.iter().position(counts_rows).unwrap_or(own)))
    }

    /// True when a hopping window is kept running, by adding slices and taking them out again.
    pub(crate) fn is_running_undone(&self) -> Result<bool> {
        let hops = matches!(self.window, WindowAssigner::Hop { .. });
        Ok(hops && self.of_calls()?.iter().all(|one| one.is_invertible()))
    }

    fn of_calls(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        self.aggregates.iter().map(|call| call.accumulator(&self.argument_type(call))).collect()
    }

    /// True when rows may be added up in parts before the exchange with the same answer to the bit, and it saves
    /// work: every aggregate is indifferent to order, and there is a window to gather in.
    pub fn two_phase_pays(&self) -> bool {
        self.time == TimeMode::Event
            && !matches!(self.window, WindowAssigner::Session { .. })
            && self.accumulators().is_ok_and(|all| all.iter().all(|one| one.is_order_insensitive()))
    }
}

/// Aggregates whole rows. Late rows are counted, and go to [`millstream_engine::operator::LATE`].
///
/// # Errors
/// If the windows or aggregates are impossible.
pub fn single(spec: &WindowAggregateSpec) -> Result<Box<dyn Operator>> {
    spec.window.check()?;
    Ok(match spec.window {
        WindowAssigner::Session { .. } => Box::new(per_key::PerKeyWindows::new(spec, false)?),
        _ => Box::new(slice_aggregate::SliceAggregate::new(spec, false)?),
    })
}

/// Aggregates rows into partial rows per slice, in front of an exchange to [`global`].
///
/// # Errors
/// If the windows or aggregates are impossible.
pub fn local(spec: &WindowAggregateSpec) -> Result<Box<dyn Operator>> {
    spec.window.check()?;
    Ok(Box::new(local::LocalAggregate::new(spec)?))
}

/// Adds up partial rows and fires the windows.
///
/// # Errors
/// If the windows or aggregates are impossible.
pub fn global(spec: &WindowAggregateSpec) -> Result<Box<dyn Operator>> {
    spec.window.check()?;
    Ok(Box::new(slice_aggregate::SliceAggregate::new(spec, true)?))
}

/// Aggregates whole rows of a stream with a clock a key: a key's windows close by its own clock, or the stream's.
///
/// # Errors
/// If the windows or aggregates are impossible.
pub fn per_key(spec: &WindowAggregateSpec) -> Result<Box<dyn Operator>> {
    spec.window.check()?;
    Ok(Box::new(per_key::PerKeyWindows::new(spec, true)?))
}

/// Aggregates rows that carry the start and the end of their window in columns `window`.
///
/// # Errors
/// If the aggregates are impossible.
pub fn attached(spec: &WindowAggregateSpec, window: [usize; 2]) -> Result<Box<dyn Operator>> {
    Ok(Box::new(attached::AttachedWindows::new(spec, window)?))
}

/// `window_start`, `window_end` and `window_time` for `rows` rows of one window.
fn window_columns(start_ms: i64, end_ms: i64, rows: usize, kind: &DataType) -> [ArrayRef; 3] {
    let zone = match kind {
        DataType::Timestamp(TimeUnit::Millisecond, zone) => zone.clone(),
        _ => None,
    };
    [start_ms, end_ms, end_ms - 1].map(|time| {
        let column = TimestampMillisecondArray::from_value(time, rows).with_timezone_opt(zone.clone());
        Arc::new(column) as ArrayRef
    })
}

/// The watermark a row is judged by: its partition's clock, or the stream's where that is further. The stream passes a
/// partition that fell idle, and what windows it closed meanwhile cannot take the partition's rows in any more.
#[inline]
pub(crate) fn clock_of(batch: &Batch, row: usize, out: &Output<'_>) -> i64 {
    let stream_ms = out.input_clock_ms();
    batch.clocks.as_ref().map_or(stream_ms, |clocks| clocks.value(row).max(stream_ms))
}

/// The rows of `batch` that are not late, of which `is_late` is told the row and its clock. Late ones are counted.
pub(crate) fn without_late(
    batch: Batch,
    out: &mut Output<'_>,
    is_late: impl Fn(usize, i64) -> bool,
) -> Result<Batch> {
    let late: Vec<bool> = (0..batch.num_rows()).map(|row| is_late(row, clock_of(&batch, row, out))).collect();
    let on_time: BooleanArray = late.iter().map(|late| Some(!late)).collect();
    if count_late(&batch, late, out)? { batch.filter(&on_time) } else { Ok(batch) }
}

/// Counts the rows of `batch` that are late, and sends them where late rows go. True when there are any.
pub(crate) fn count_late(batch: &Batch, late: Vec<bool>, out: &mut Output<'_>) -> Result<bool> {
    let count = late.iter().filter(|late| **late).count();
    if count > 0 {
        out.metrics().rows_late.add(count as u64);
        if out.is_connected(LATE) {
            out.emit_to(LATE, batch.filter(&BooleanArray::from(late))?)?;
        }
    }
    Ok(count > 0)
}

#[cfg(test)]
mod processing_tests;
#[cfg(test)]
mod tests;
