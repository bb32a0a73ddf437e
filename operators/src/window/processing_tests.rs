//! Windows by the wall clock, which may be set to another time under them: each row counts once, in a window of the time
//! that the clock showed, and none waits until the clock shows a time again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millstream_engine::Batch;
use millstream_engine::harness::{Emitted, OperatorHarness};

use super::*;
use crate::aggregate::AggregateKind;

const MINUTES_5: i64 = 300_000;
const TUMBLE: WindowAssigner = WindowAssigner::Tumble { size_ms: 1_000, offset_ms: 0 };
const HOP: WindowAssigner = WindowAssigner::Hop { size_ms: 3_000, slide_ms: 1_000, offset_ms: 0 };
const CUMULATE: WindowAssigner = WindowAssigner::Cumulate { max_ms: 3_000, step_ms: 1_000, offset_ms: 0 };
const SESSION: WindowAssigner = WindowAssigner::Session { gap_ms: 1_000 };

/// One device; counts its rows. `kind` decides how slices are put together.
fn open(window: WindowAssigner, kind: AggregateKind) -> OperatorHarness {
    let call = |kind: AggregateKind| {
        let name = format!("{kind:?}");
        AggregateCall { kind, argument: Some(0), filter: None, distinct: false, name }
    };
    let spec = WindowAggregateSpec {
        input: Arc::new(Schema::new(vec![Field::new("device", DataType::Int64, false)])),
        keys: vec![0],
        window,
        event_time: 0,
        time: TimeMode::Processing,
        time_type: DataType::Timestamp(TimeUnit::Millisecond, None),
        aggregates: vec![call(AggregateKind::Count), call(kind)],
    };
    let mut harness = OperatorHarness::new(single(&spec).unwrap()).unwrap();
    harness.advance(10 * MINUTES_5).unwrap();
    harness
}

fn rows(count: usize) -> Batch {
    let devices: ArrayRef = Arc::new(Int64Array::from(vec![1; count]));
    let schema = Schema::new(vec![Field::new("device", DataType::Int64, false)]);
    Batch::new(RecordBatch::try_new(Arc::new(schema), vec![devices]).unwrap())
}

/// (start of the window, relative to when the test began, and count) of what was emitted.
fn windows(emitted: &[Emitted]) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for emitted in emitted {
        let Emitted::Rows(batch) = emitted else { continue };
        let columns = batch.rows.columns();
        let counts = columns[1].as_primitive::<Int64Type>().values();
        let starts = columns[3].as_primitive::<TimestampMillisecondType>().values();
        found.extend(starts.iter().zip(counts).map(|(start, count)| (start - 10 * MINUTES_5, *count)));
    }
    found
}

#[test]
fn a_window_fires_when_the_clock_comes_to_its_end() {
    let mut harness = open(TUMBLE, AggregateKind::Count);
    assert_eq!(windows(&harness.batch(rows(2)).unwrap()), []);
    assert_eq!(windows(&harness.advance(999).unwrap()), []);
    assert_eq!(windows(&harness.advance(1).unwrap()), [(0, 2)]);
}

#[test]
fn windows_that_overlap_all_fire_though_no_further_row_comes() {
    for kind in [AggregateKind::Count, AggregateKind::Max] {
        let mut harness = open(HOP, kind.clone());
        harness.batch(rows(2)).unwrap();
        let mut found = Vec::new();
        for _ in 0..5 {
            found.extend(windows(&harness.advance(1_000).unwrap()));
        }
        assert_eq!(found, [(-2_000, 2), (-1_000, 2), (0, 2)], "{kind:?}");
    }
}

/// Forward by minutes, while rows are in a window: it fires, late at most by its length.
#[test]
fn set_forward_open_windows_fire() {
    for window in [TUMBLE, SESSION] {
        let mut harness = open(window, AggregateKind::Count);
        harness.batch(rows(2)).unwrap();
        let mut found = windows(&harness.step_wall(MINUTES_5).unwrap());
        assert_eq!(found, [(0, 2)], "{window:?}");
        harness.batch(rows(3)).unwrap();
        found = windows(&harness.advance(1_000).unwrap());
        assert_eq!(found, [(MINUTES_5, 3)], "{window:?}");
    }
}

/// Back by minutes, when windows have fired and one is open: rows go on to be counted, each once, and nothing waits until
/// the clock shows the former time again.
#[test]
fn set_back_windows_go_on_and_none_loses_a_row() {
    for (window, kind) in [
        (TUMBLE, AggregateKind::Count),
        (HOP, AggregateKind::Count),
        (HOP, AggregateKind::Max),
        (CUMULATE, AggregateKind::Count),
        (SESSION, AggregateKind::Count),
    ] {
        let mut harness = open(window, kind);
        let mut before = windows(&harness.batch(rows(1)).unwrap());
        for _ in 0..6 {
            before.extend(windows(&harness.advance(1_000).unwrap()));
        }
        assert!(before.contains(&(0, 1)), "{window:?}: {before:?}");
        harness.batch(rows(5)).unwrap();
        assert_eq!(windows(&harness.step_wall(-MINUTES_5).unwrap()), []);
        // The next row says that the clock was set back.
        let ahead = windows(&harness.batch(rows(7)).unwrap());
        assert!(ahead.contains(&(6_000, 5)), "{window:?}: {ahead:?}");
        let mut after = Vec::new();
        for _ in 0..6 {
            after.extend(windows(&harness.advance(1_000).unwrap()));
        }
        assert!(after.contains(&(6_000 - MINUTES_5, 7)), "{window:?}: {after:?}");
        assert!(after.iter().all(|(_, count)| *count == 7), "{window:?}: {after:?}");
    }
}
