//! Rows to slices: which rows are late, and runs of rows of one slice.
//!
//! Invariants: a row is late exactly when every window it belongs to had closed by the clock it came under; late rows
//! are counted and go to the late output; the order of rows within a slice is kept, so that sums of floating point come
//! out the same. Rows come from an operator's input and go to its slices (slices.rs).

use arrow_array::{BooleanArray, UInt32Array};
use millstream_engine::operator::LATE;
use millstream_engine::{Batch, Error, Output, Result};

use super::{WindowAssigner, clock_of};

/// Rows that are put in order of slice rather than added in runs, when there are this many runs a slice.
const RUNS_PER_SLICE_MAX: usize = 2;

/// The rows of a batch that are on time, and where each run of rows of one slice is.
pub(super) struct Assigned {
    pub rows: Batch,
    pub runs: Vec<Run>,
}

/// Rows `start .. start + len` fall into the slice that ends at `end_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub end_ms: i64,
    pub start: usize,
    pub len: usize,
}

/// Sorts late rows out of `batch` and finds the slices of the others.
///
/// # Errors
/// If the batch has no event time, or the late output fails.
pub(super) fn assign(window: &WindowAssigner, batch: Batch, out: &mut Output<'_>) -> Result<Assigned> {
    let times = batch
        .event_times_ms()
        .ok_or_else(|| Error::internal("rows without event time reached an event-time window"))?;
    if let Some(end_ms) = single_slice_end_ms(window, &batch, times, out) {
        let len = batch.num_rows();
        return Ok(Assigned { rows: batch, runs: vec![Run { end_ms, start: 0, len }] });
    }
    let (slide, mut end_ms) = (window.slide_ms(), i64::MIN);
    let (mut ends, mut on_time) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
    for (row, time) in times.iter().enumerate() {
        // Most rows fall into the slice of the row before.
        if *time >= end_ms || *time < end_ms.saturating_sub(slide) {
            end_ms = window.slice_start_ms(*time) + slide;
        }
        let is_late = window.last_window_end_ms(end_ms) - 1 <= clock_of(&batch, row, out);
        on_time.push(!is_late);
        if !is_late {
            ends.push(end_ms);
        }
    }
    let mut rows = batch;
    if ends.len() < on_time.len() {
        let on_time = BooleanArray::from(on_time);
        out.metrics().rows_late.add((on_time.len() - ends.len()) as u64);
        if out.is_connected(LATE) {
            out.emit_to(LATE, rows.filter(&not(&on_time))?)?;
        }
        rows = rows.filter(&on_time)?;
    }
    let (runs, slices) = runs(&ends);
    if runs.len() <= slices.len() * RUNS_PER_SLICE_MAX {
        return Ok(Assigned { rows, runs });
    }
    // Rows of several slices lie mixed: one copy in order of slice is cheaper than many short runs.
    let (order, runs) = in_order_of_slice(&ends, &slices);
    Ok(Assigned { rows: rows.take(&order)?, runs })
}

/// End of the slice that all rows fall into, when there is one and no row is late: the common case, found in one pass
/// over the times.
fn single_slice_end_ms(
    window: &WindowAssigner,
    batch: &Batch,
    times: &[i64],
    out: &Output<'_>,
) -> Option<i64> {
    let (low_ms, high_ms) = (times.iter().copied().min()?, times.iter().copied().max()?);
    let end_ms = window.slice_start_ms(low_ms) + window.slide_ms();
    let is_late = window.last_window_end_ms(end_ms) - 1 <= out.input_clock_ms();
    (batch.clocks.is_none() && !is_late && high_ms < end_ms).then_some(end_ms)
}

/// The complement of a mask without nulls.
pub(super) fn not(mask: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!mask.values(), None)
}

/// Runs of equal ends, and each different end with its count, in order of first appearance.
pub(super) fn runs(ends: &[i64]) -> (Vec<Run>, Vec<(i64, usize)>) {
    let (mut runs, mut slices): (Vec<Run>, Vec<(i64, usize)>) = (Vec::new(), Vec::new());
    for run in ends.chunk_by(|one, next| one == next) {
        let start = runs.last().map_or(0, |last| last.start + last.len);
        let end_ms = run[0];
        runs.push(Run { end_ms, start, len: run.len() });
        match slices.iter_mut().find(|(known_ms, _)| *known_ms == end_ms) {
            Some((_, count)) => *count += run.len(),
            None => slices.push((end_ms, run.len())),
        }
    }
    (runs, slices)
}

/// The row numbers slice by slice, each slice's in their order, and the runs that this makes.
fn in_order_of_slice(ends: &[i64], slices: &[(i64, usize)]) -> (UInt32Array, Vec<Run>) {
    let mut runs = Vec::with_capacity(slices.len());
    let mut start = 0;
    for (end_ms, len) in slices {
        runs.push(Run { end_ms: *end_ms, start, len: *len });
        start += len;
    }
    let mut next: Vec<usize> = runs.iter().map(|run| run.start).collect();
    let mut order = vec![0_u32; ends.len()];
    let mut slice = 0;
    for (row, end_ms) in (0_u32..).zip(ends) {
        if runs[slice].end_ms != *end_ms {
            slice = runs.iter().position(|run| run.end_ms == *end_ms).unwrap_or(0);
        }
        order[next[slice]] = row;
        next[slice] += 1;
    }
    (UInt32Array::from(order), runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_slices_are_put_in_order_and_rows_within_one_keep_theirs() {
        let ends = [20, 10, 10, 20, 30, 10];
        let (found, slices) = runs(&ends);
        assert_eq!(found.len(), 5);
        assert_eq!(slices, vec![(20, 2), (10, 3), (30, 1)]);
        let (order, runs) = in_order_of_slice(&ends, &slices);
        assert_eq!(order.values(), &[0, 3, 1, 2, 5, 4]);
        let run = |end_ms, start, len| Run { end_ms, start, len };
        assert_eq!(runs, vec![run(20, 0, 2), run(10, 2, 3), run(30, 5, 1)]);
    }
}
