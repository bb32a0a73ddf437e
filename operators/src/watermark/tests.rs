use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millstream_engine::harness::{Emitted, OperatorHarness};

use super::*;
use crate::expr::Expression;

/// `ts - delay`.
#[derive(Debug)]
struct Behind(i64);
impl Expression for Behind {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let times = rows.column(0).as_primitive::<TimestampMillisecondType>();
        Ok(Arc::new(times.unary::<_, TimestampMillisecondType>(|time| time - self.0)))
    }
}

fn batch(rows: &[(Option<i64>, &str)]) -> Batch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("device", DataType::Utf8, true),
    ]));
    let times: TimestampMillisecondArray = rows.iter().map(|row| row.0).collect();
    let names: StringArray = rows.iter().map(|row| Some(row.1)).collect();
    Batch::new(RecordBatch::try_new(schema, vec![Arc::new(times), Arc::new(names)]).unwrap())
}

fn times(times: &[i64]) -> Batch {
    batch(&times.iter().map(|time| (Some(*time), "a")).collect::<Vec<_>>())
}

fn spec() -> WatermarkSpec {
    WatermarkSpec {
        event_time: 0,
        watermark: Arc::new(Behind(5)),
        keys: Vec::new(),
        idle_timeout_ms: None,
        ahead_max_ms: None,
        on_error: OnError::DeadLetter,
        cut: CutRule::Always,
        stamps: false,
    }
}

fn text(emitted: &[Emitted]) -> String {
    let show = |item: &Emitted| match item {
        Emitted::Rows(batch) => match &batch.clocks {
            Some(clocks) => {
                format!("{:?}@{:?}", batch.event_times_ms().unwrap(), clocks.values().to_vec())
            }
            None => format!("{:?}", batch.event_times_ms().unwrap()),
        },
        Emitted::Late(_) => "late".into(),
        Emitted::Watermark(i64::MAX) => "wmax".into(),
        Emitted::Watermark(time) => format!("w{time}"),
    };
    emitted.iter().map(show).collect::<Vec<_>>().join(" ").replace(&i64::MIN.to_string(), "-")
}

#[test]
fn a_partition_holds_the_watermark_before_its_first_row() {
    let mut run = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
    assert_eq!(text(&run.expect_partitions(&[0, 7]).unwrap()), "");
    assert_eq!(text(&run.batch(times(&[10])).unwrap()), "[10]@[-]");
    let other = Batch { partition: 7, ..times(&[8]) };
    assert_eq!(text(&run.batch(other).unwrap()), "[8]@[-] w3");
}

#[test]
fn a_partition_without_a_row_holds_the_watermark_until_it_is_idle() {
    let spec = WatermarkSpec { idle_timeout_ms: Some(1_000), ..spec() };
    let mut run = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
    run.advance(0).unwrap();
    run.expect_partitions(&[0, 7]).unwrap();
    run.advance(900).unwrap();
    assert_eq!(text(&run.batch(times(&[100])).unwrap()), "[100]@[-]");
    // Partition 7 has been silent for a second, partition 0 has not.
    assert_eq!(text(&run.advance(101).unwrap()), "w95");
    // It comes back behind the others, without pulling the watermark back, and counts again.
    assert_eq!(text(&run.batch(Batch { partition: 7, ..times(&[50]) }).unwrap()), "[50]@[-]");
    assert_eq!(text(&run.batch(times(&[200])).unwrap()), "[200]@[95]");
    assert_eq!(text(&run.batch(Batch { partition: 7, ..times(&[150]) }).unwrap()), "[150]@[45] w145");
}

/// The wall clock is set forward, and back: a partition is idle when it has been silent for so long, and no sooner or later.
#[test]
fn a_clock_that_is_set_makes_no_partition_idle_and_keeps_none_from_it() {
    let spec = WatermarkSpec { idle_timeout_ms: Some(1_000), ..spec() };
    let mut run = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
    run.advance(0).unwrap();
    run.expect_partitions(&[0, 7]).unwrap();
    assert_eq!(text(&run.batch(times(&[100])).unwrap()), "[100]@[-]");
    assert_eq!(text(&run.step_wall(300_000).unwrap()), "");
    assert_eq!(text(&run.batch(times(&[110])).unwrap()), "[110]@[95]");
    assert_eq!(text(&run.step_wall(-600_000).unwrap()), "");
    run.advance(900).unwrap();
    assert_eq!(text(&run.batch(times(&[120])).unwrap()), "[120]@[105]");
    assert_eq!(text(&run.advance(101).unwrap()), "w115");
}

#[test]
fn a_partition_without_a_row_holds_nothing_back_when_all_fall_idle_at_once() {
    let spec = WatermarkSpec { idle_timeout_ms: Some(1_000), ..spec() };
    let mut run = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
    run.advance(0).unwrap();
    run.expect_partitions(&[0, 7, 8]).unwrap();
    assert_eq!(text(&run.batch(times(&[100])).unwrap()), "[100]@[-]");
    assert_eq!(text(&run.batch(Batch { partition: 8, ..times(&[80]) }).unwrap()), "[80]@[-]");
    assert_eq!(text(&run.advance(1_001).unwrap()), "w75");
}

/// The clock of a partition that another instance reads now holds nothing back.
#[test]
fn restored_clocks_count_where_their_partition_is_read() {
    let mut before = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
    before.batch(times(&[10])).unwrap();
    before.batch(Batch { partition: 7, ..times(&[100]) }).unwrap();
    let state = OperatorHarness::gather_all(&[before.snapshot().unwrap().1]);
    let assigner = Box::new(WatermarkAssigner::new(spec()));
    let mut after = OperatorHarness::instance_of(assigner, 1, 2, &state).unwrap();
    // Said before its next row, which may never come: others go on up to there.
    assert_eq!(text(&after.expect_partitions(&[7]).unwrap()), "w95");
    assert_eq!(text(&after.batch(Batch { partition: 7, ..times(&[200]) }).unwrap()), "[200] w195");
    // Nothing is forgotten of the others, should this instance have them after another restore.
    let state = OperatorHarness::gather_all(&[after.snapshot().unwrap().1]);
    let single = Box::new(WatermarkAssigner::new(spec()));
    let mut single = OperatorHarness::instance_of(single, 0, 1, &state).unwrap();
    assert_eq!(text(&single.batch(times(&[300])).unwrap()), "w5 [300]@[5] w195");
}

#[test]
fn a_batch_in_order_passes_whole() {
    let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
    assert_eq!(text(&harness.batch(times(&[10, 12, 9, 14])).unwrap()), "[10, 12, 9, 14] w9");
    // Below what was already sent: no cut is needed, the channel's watermark says it.
    assert_eq!(text(&harness.batch(times(&[3])).unwrap()), "[3]");
    assert_eq!(text(&harness.watermark(50).unwrap()), "");
    assert_eq!(text(&harness.watermark(i64::MAX).unwrap()), "wmax");
}

#[test]
fn a_late_row_is_cut_off_behind_the_watermark_that_makes_it_late() {
    let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
    let out = harness.batch(times(&[10, 20, 16, 14, 30, 27, 25])).unwrap();
    assert_eq!(text(&out), "[10, 20] w15 [16, 14, 30, 27] w25 [25]");
}

#[test]
fn each_key_has_its_own_clock() {
    let spec = WatermarkSpec { keys: vec![1], ..spec() };
    let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec.clone()))).unwrap();
    let rows = batch(&[(Some(100), "a"), (Some(10), "b"), (Some(90), "a"), (Some(11), "b")]);
    assert_eq!(text(&harness.batch(rows).unwrap()), "[100, 10, 90, 11]@[-, -, 95, 5] w6");
    let (_, snapshot) = harness.snapshot().unwrap();
    let state = OperatorHarness::gather_all(&[snapshot]);
    let mut restored =
        OperatorHarness::instance_of(Box::new(WatermarkAssigner::new(spec)), 0, 1, &state).unwrap();
    assert_eq!(text(&restored.batch(batch(&[(Some(20), "b")])).unwrap()), "w6 [20]@[6] w15");
}

#[test]
fn a_silent_key_leaves_the_minimum_and_a_silent_stream_is_idle() {
    let spec = WatermarkSpec { keys: vec![1], idle_timeout_ms: Some(1_000), ..spec() };
    let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
    harness.advance(0).unwrap();
    assert_eq!(
        text(&harness.batch(batch(&[(Some(100), "a"), (Some(10), "b")])).unwrap()),
        "[100, 10]@[-, -] w5"
    );
    harness.advance(600).unwrap();
    harness.batch(batch(&[(Some(110), "a")])).unwrap();
    assert_eq!(text(&harness.advance(500).unwrap()), "w105");
}

#[test]
fn bad_times_are_reported_and_move_nothing() {
    let spec = WatermarkSpec { ahead_max_ms: Some(1_000), ..spec() };
    let mut harness = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec))).unwrap();
    let out = harness.batch(batch(&[(None, "a"), (Some(10), "b"), (Some(315_576_000_000), "c")])).unwrap();
    assert_eq!(text(&out), "[10] w5");
    assert_eq!(harness.metrics().rows_dead_letter.get(), 2);
}

/// What was late before the program stopped is late after it has started again.
#[test]
fn a_restored_assigner_says_its_watermark_before_the_first_row() {
    let mut before = OperatorHarness::new(Box::new(WatermarkAssigner::new(spec()))).unwrap();
    before.batch(times(&[1_000])).unwrap();
    let state = OperatorHarness::gather_all(&[before.snapshot().unwrap().1]);
    let after = Box::new(WatermarkAssigner::new(spec()));
    let mut after = OperatorHarness::instance_of(after, 0, 1, &state).unwrap();
    assert_eq!(text(&after.batch(times(&[10])).unwrap()), "w995 [10]");
}
