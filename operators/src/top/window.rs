//! Top-N of each window: the first rows of a partition in a window, said once, when the window closes.
//!
//! A row comes with the end of its window in a column. Invariants: a row is late exactly when its window had closed by
//! the clock it came under; windows close in the order of their ends; a closing is emitted in chunks.
//! Flink: WindowRankOperator, RowTimeWindowDeduplicateFunction.

use std::collections::BTreeMap;

use arrow_array::BooleanArray;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_schema::SchemaRef;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, Firing, Operator, Output, Result};

use super::lists::Lists;
use super::{TopSpec, batch_of};
use crate::window::without_late;

/// Rows of one emitted chunk, about.
const CHUNK_ROWS: usize = 4_096;

/// See the module's page.
pub struct WindowTopN {
    spec: TopSpec,
    /// The column with the end of the row's window.
    window_end: usize,
    /// The event-time column of the result.
    event_time: Option<usize>,
    output: SchemaRef,
    windows: BTreeMap<i64, Lists>,
    time_ms: i64,
    /// The next partition of the window that is being emitted.
    next: u32,
}

impl WindowTopN {
    /// A Top-N of `spec` for each window; `window_end` is the column with its end, one of the partition's.
    ///
    /// # Errors
    /// If a column cannot be kept or ordered.
    pub fn new(spec: &TopSpec, window_end: usize, event_time: Option<usize>) -> Result<Self> {
        Lists::new(spec)?;
        Ok(Self {
            spec: spec.clone(),
            window_end,
            event_time,
            output: spec.output_schema(),
            windows: BTreeMap::new(),
            time_ms: i64::MIN,
            next: 0,
        })
    }

    fn window(&mut self, end_ms: i64) -> Result<&mut Lists> {
        Ok(match self.windows.entry(end_ms) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(Lists::new(&self.spec)?),
        })
    }

    /// Adds rows to their windows.
    fn add(&mut self, batch: &Batch, now_ms: i64) -> Result<()> {
        let ends = self.ends(batch)?;
        let first = ends.first().copied().unwrap_or(0);
        let mut distinct: Vec<i64> = ends.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() == 1 {
            return add_to(self.window(first)?, batch, now_ms);
        }
        for end_ms in distinct {
            let mask: BooleanArray = ends.iter().map(|end| Some(*end == end_ms)).collect();
            let part = batch.filter(&mask)?;
            add_to(self.window(end_ms)?, &part, now_ms)?;
        }
        Ok(())
    }

    fn ends(&self, batch: &Batch) -> Result<Vec<i64>> {
        let ends = batch.rows.column(self.window_end).as_primitive_opt::<TimestampMillisecondType>();
        let ends = ends.ok_or_else(|| Error::internal("the end of a window is no TIMESTAMP(3)"))?;
        Ok(ends.values().to_vec())
    }

    fn fire(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        while let Some((&end_ms, lists)) = self.windows.first_key_value() {
            if end_ms - 1 > self.time_ms {
                break;
            }
            let (mut slots, mut numbers) = (Vec::new(), Vec::new());
            while self.next < lists.partitions() && slots.len() < CHUNK_ROWS {
                let shown = lists.shown(self.next);
                slots.extend_from_slice(shown);
                numbers.extend((self.spec.from as i64..).take(shown.len()));
                self.next += 1;
            }
            let more = self.next < lists.partitions();
            if !slots.is_empty() {
                let mut batch = batch_of(&self.spec, &self.output, lists, &slots, numbers)?;
                batch.event_time = self.event_time;
                // The clock that the window closes by may stand anywhere behind its start.
                batch.time_min_ms = i64::MIN;
                out.emit(batch)?;
            }
            if !more {
                self.windows.pop_first();
                self.next = 0;
            }
            if more || slots.len() >= CHUNK_ROWS {
                return Ok(Firing::More);
            }
        }
        Ok(Firing::Done)
    }
}

fn add_to(lists: &mut Lists, batch: &Batch, now_ms: i64) -> Result<()> {
    let keys = lists.number(&batch.rows)?;
    lists.apply(batch, &keys, now_ms)?;
    lists.release()
}

impl Operator for WindowTopN {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let ends = self.ends(&batch)?;
        let rows = without_late(batch, out, |row, clock_ms| ends[row] - 1 <= clock_ms)?;
        if rows.is_empty() {
            return Ok(());
        }
        self.add(&rows, out.now_ms())
    }

    fn on_watermark(&mut self, time_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        self.time_ms = time_ms;
        self.fire(out)
    }

    fn resume(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        self.fire(out)
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        // All at once: the rows of windows that are open, of which Top-N keeps few.
        self.windows.values_mut().try_for_each(|lists| {
            lists.freeze();
            while lists.write_frozen(state)? == Firing::More {}
            Ok(())
        })
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        // Windows are told apart by the column; each takes the rows that are its own.
        let mut all = Lists::new(&self.spec)?;
        all.restore(state)?;
        for key in 0..all.partitions() {
            let slots = all.whole(key).to_vec();
            let rows = arrow_array::RecordBatch::try_new(
                std::sync::Arc::clone(&self.spec.input),
                all.columns(&slots)?,
            )?;
            let mut batch = Batch::new(rows);
            // Rows come in the order of their list, which arrival of equals must not turn round.
            if self.spec.newest_first {
                let back = arrow_array::UInt32Array::from_iter_values((0..slots.len() as u32).rev());
                batch = batch.take(&back)?;
            }
            self.add(&batch, 0)?;
        }
        Ok(())
    }
}
