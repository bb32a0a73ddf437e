//! A window table function without aggregation: every row with `window_start`, `window_end` and `window_time` behind it,
//! once for each window it belongs to. Nothing is kept, and no row is late.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use millstream_engine::{Batch, Error, Operator, Output, Result};

use super::{TimeMode, WindowAssigner};

/// See the module's page.
pub struct WindowTvf {
    window: WindowAssigner,
    time: TimeMode,
    output: SchemaRef,
}

impl WindowTvf {
    /// Adds windows to rows; `output` is the input's columns and the three of the window.
    ///
    /// # Errors
    /// If the windows are impossible, or sessions, which need state.
    pub fn new(window: WindowAssigner, time: TimeMode, output: SchemaRef) -> Result<Self> {
        window.check()?;
        if matches!(window, WindowAssigner::Session { .. }) {
            return Err(Error::config("SESSION without an aggregation is not supported")
                .remedy("GROUP BY its window_start, window_end"));
        }
        Ok(Self { window, time, output })
    }
}

impl Operator for WindowTvf {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let now;
        let times = match self.time {
            TimeMode::Processing => {
                now = vec![out.wall_ms(); batch.num_rows()];
                now.as_slice()
            }
            TimeMode::Event => batch
                .event_times_ms()
                .ok_or_else(|| Error::internal("rows without event time reached an event-time window"))?,
        };
        let slide = self.window.slide_ms();
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in (0_u32..).zip(times) {
            let mut end_ms = self.window.slice_start_ms(*time) + slide;
            let last_ms = self.window.last_window_end_ms(end_ms);
            while end_ms <= last_ms {
                rows.push(row);
                starts.push(self.window.window_start_ms(end_ms));
                ends.push(end_ms);
                end_ms += slide;
            }
        }
        let batch = if matches!(self.window, WindowAssigner::Tumble { .. }) {
            batch
        } else {
            batch.take(&UInt32Array::from(rows))?
        };
        let width = self.output.fields().len();
        let zone = match self.output.field(width - 1).data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, zone) => zone.clone(),
            _ => None,
        };
        let last: Vec<i64> = ends.iter().map(|end| end - 1).collect();
        let mut columns = batch.rows.columns().to_vec();
        for times in [starts, ends, last] {
            let column = TimestampMillisecondArray::from(times).with_timezone_opt(zone.clone());
            columns.push(Arc::new(column) as ArrayRef);
        }
        let event_time = batch.event_time;
        let rows = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        out.emit(batch.with_columns(rows, event_time))
    }
}
