//! The promise, as a property: for random streams with disorder, windows equal a naive oracle, whatever the batch size,
//! the number of instances, one phase or two, and with state taken out and put back at random places.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millstream_engine::dead_letter::OnError;
use millstream_engine::harness::{self, Emitted, OperatorHarness};
use millstream_engine::keys::{hash_u64, key_group, key_group_range, owner};
use millstream_engine::state::{InstanceSnapshot, StateReader};
use millstream_engine::{Batch, Operator, Result};
use proptest::prelude::*;

use super::*;
use crate::aggregate::AggregateKind;
use crate::expr::Expression;
use crate::frozen::testing::{Event, assert_as_at_the_barrier};
use crate::watermark::{CutRule, WatermarkAssigner, WatermarkSpec};

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
const DELAY_MS: i64 = 5;

#[derive(Debug)]
struct Behind;
impl Expression for Behind {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let times = rows.column(1).as_primitive::<TimestampMillisecondType>();
        Ok(Arc::new(times.unary::<_, TimestampMillisecondType>(|time| time - DELAY_MS)))
    }
}

/// (device, time, value)
type Row = (i64, i64, Option<i64>);
/// (device, window start, window end) to (count, sum, min, max, distinct, sum of doubles)
type Answer = BTreeMap<(i64, i64, i64), (i64, Option<i64>, Option<i64>, Option<i64>, i64, Option<u64>)>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Int64, false),
        Field::new("ts", TIMESTAMP, false),
        Field::new("value", DataType::Int64, true),
        Field::new("double", DataType::Float64, true),
    ]))
}

fn batch(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2.map(|value| value as f64 / 3.0)).collect::<Float64Array>()),
    ];
    Batch::new(RecordBatch::try_new(schema(), columns).unwrap())
}

/// `exact` leaves out what keeps two phases and undoing from being possible.
fn spec(window: WindowAssigner, exact: bool) -> WindowAggregateSpec {
    let call = |kind: AggregateKind, argument: Option<usize>, distinct| {
        let name = format!("{kind:?}{distinct}");
        AggregateCall { kind, argument, filter: None, distinct, name }
    };
    let mut aggregates =
        vec![call(AggregateKind::Count, Some(2), false), call(AggregateKind::Sum, Some(2), false)];
    if !exact {
        aggregates.push(call(AggregateKind::Min, Some(2), false));
        aggregates.push(call(AggregateKind::Max, Some(2), false));
        aggregates.push(call(AggregateKind::Count, Some(2), true));
        aggregates.push(call(AggregateKind::Sum, Some(3), false));
    }
    WindowAggregateSpec {
        input: schema(),
        keys: vec![0],
        window,
        event_time: 1,
        time: TimeMode::Event,
        time_type: TIMESTAMP,
        aggregates,
    }
}

/// The windows of a row, for kinds whose windows do not depend on other rows.
fn windows_of(window: WindowAssigner, time: i64) -> Vec<(i64, i64)> {
    // By trying every boundary nearby: slow, and plainly right.
    let mut found = Vec::new();
    for start in time - 200..=time {
        let ends: Vec<i64> = match window {
            WindowAssigner::Tumble { size_ms, offset_ms } if (start - offset_ms) % size_ms == 0 => {
                vec![start + size_ms]
            }
            WindowAssigner::Hop { size_ms, slide_ms, offset_ms } if (start - offset_ms) % slide_ms == 0 => {
                vec![start + size_ms]
            }
            WindowAssigner::Cumulate { max_ms, step_ms, offset_ms } if (start - offset_ms) % max_ms == 0 => {
                (1..=max_ms / step_ms).map(|n| start + n * step_ms).collect()
            }
            _ => vec![],
        };
        found.extend(ends.into_iter().filter(|end| time < *end).map(|end| (start, end)));
    }
    found
}

fn answer_of(rows: &[Row]) -> (i64, Option<i64>, Option<i64>, Option<i64>, i64, Option<u64>) {
    let values: Vec<i64> = rows.iter().filter_map(|row| row.2).collect();
    let mut distinct = values.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let double = values.iter().map(|value| *value as f64 / 3.0).reduce(|a, b| a + b);
    (
        values.len() as i64,
        values.iter().copied().reduce(i64::wrapping_add),
        values.iter().min().copied(),
        values.iter().max().copied(),
        distinct.len() as i64,
        double.map(round),
    )
}

/// Doubles are compared at nine digits: windows put together from slices add them in another order.
fn round(value: f64) -> u64 {
    ((value + 1e6) * 1e3).round() as u64
}

/// Windows of `rows` in order, and how many rows were late for all of theirs.
fn oracle(window: WindowAssigner, rows: &[Row], keyed_clocks: bool) -> (Answer, u64) {
    let mut content: BTreeMap<(i64, i64, i64), Vec<Row>> = BTreeMap::new();
    let mut sessions: BTreeMap<i64, Vec<(i64, i64, Vec<Row>)>> = BTreeMap::new();
    let (mut clocks, mut late) = (BTreeMap::new(), 0);
    for row in rows {
        let clock = clocks.entry(if keyed_clocks { row.0 } else { 0 }).or_insert(i64::MIN);
        if let WindowAssigner::Session { gap_ms } = window {
            let of_key = sessions.entry(row.0).or_default();
            // Closed sessions take nothing in any more.
            let (mut start, mut end) = (row.1, row.1 + gap_ms);
            let open = |session: &(i64, i64, Vec<Row>)| session.1 - 1 > *clock;
            let mut merged: Vec<usize> = Vec::new();
            for (index, session) in of_key.iter().enumerate() {
                if open(session) && session.0 <= end && start <= session.1 {
                    (start, end) = (start.min(session.0), end.max(session.1));
                    merged.push(index);
                }
            }
            if end - 1 <= *clock {
                late += 1;
            } else {
                let mut all = Vec::new();
                for index in merged.into_iter().rev() {
                    let mut session = of_key.remove(index);
                    session.2.append(&mut all);
                    all = session.2;
                }
                all.push(*row);
                of_key.push((start, end, all));
                of_key.sort_by_key(|session| session.0);
            }
        } else {
            let mut any = false;
            for (start, end) in windows_of(window, row.1) {
                if end - 1 > *clock {
                    any = true;
                    content.entry((row.0, start, end)).or_default().push(*row);
                }
            }
            late += u64::from(!any);
        }
        *clock = (*clock).max(row.1 - DELAY_MS);
    }
    for (key, of_key) in sessions {
        for (start, end, rows) in of_key {
            content.insert((key, start, end), rows);
        }
    }
    (content.into_iter().map(|(window, rows)| (window, answer_of(&rows))).collect(), late)
}

#[derive(Debug, Clone, Copy)]
enum Phases {
    One,
    Two,
}

/// Runs `rows` through assigner, [local,] exchange and `instances` of the window operator.
struct Run {
    spec: WindowAggregateSpec,
    phases: Phases,
    keyed_clocks: bool,
    watermarks: WatermarkSpec,
    assigner: OperatorHarness,
    local: Option<OperatorHarness>,
    instances: Vec<OperatorHarness>,
    answer: Answer,
    late: u64,
}

impl Run {
    fn new(
        spec: WindowAggregateSpec,
        phases: Phases,
        keyed_clocks: bool,
        relaxed: bool,
        instances: usize,
    ) -> Self {
        let cut = match spec.window {
            WindowAssigner::Session { .. } => CutRule::Clocks,
            window => CutRule::Boundaries(vec![(window.slide_ms(), window.offset_ms())]),
        };
        let assigner = WatermarkSpec {
            event_time: 1,
            watermark: Arc::new(Behind),
            keys: if keyed_clocks { vec![0] } else { vec![] },
            idle_timeout_ms: None,
            ahead_max_ms: None,
            on_error: OnError::Fail,
            cut: if relaxed { cut } else { CutRule::Always },
            stamps: false,
        };
        let local =
            matches!(phases, Phases::Two).then(|| OperatorHarness::new(local(&spec).unwrap()).unwrap());
        let mut run = Self {
            assigner: OperatorHarness::new(Box::new(WatermarkAssigner::new(assigner.clone()))).unwrap(),
            watermarks: assigner,
            local,
            instances: Vec::new(),
            answer: Answer::new(),
            late: 0,
            spec,
            phases,
            keyed_clocks,
        };
        run.instances = run.make(instances, &[]);
        run
    }

    fn make(&self, instances: usize, snapshots: &[InstanceSnapshot]) -> Vec<OperatorHarness> {
        (0..instances)
            .map(|instance| {
                let state = StateReader::gather(snapshots, &key_group_range(instance, instances));
                let operator: Box<dyn Operator> = match self.phases {
                    Phases::Two => global(&self.spec).unwrap(),
                    Phases::One if self.keyed_clocks => per_key(&self.spec).unwrap(),
                    Phases::One => single(&self.spec).unwrap(),
                };
                OperatorHarness::instance_of(operator, instance, instances, &state).unwrap()
            })
            .collect()
    }

    fn feed(&mut self, emitted: Vec<Emitted>) {
        for item in emitted {
            let items = match (&mut self.local, item) {
                (Some(local), Emitted::Rows(batch)) => local.batch(batch).unwrap(),
                (Some(local), Emitted::Watermark(time)) => local.watermark(time).unwrap(),
                (_, item) => vec![item],
            };
            items.into_iter().for_each(|item| self.exchange(item));
        }
    }

    fn exchange(&mut self, item: Emitted) {
        let count = self.instances.len();
        for instance in 0..count {
            let out = match &item {
                Emitted::Rows(batch) => {
                    let keys = batch.rows.column(0).as_primitive::<Int64Type>();
                    let mine = (0_u32..)
                        .zip(keys.values())
                        .filter(|(_, key)| owner(key_group(hash_u64(**key as u64)), count) == instance)
                        .map(|(row, _)| row);
                    let batch = batch.take(&UInt32Array::from_iter_values(mine)).unwrap();
                    if batch.is_empty() { vec![] } else { self.instances[instance].batch(batch).unwrap() }
                }
                Emitted::Watermark(time) => self.instances[instance].watermark(*time).unwrap(),
                Emitted::Late(_) => vec![],
            };
            self.collect(&out);
        }
    }

    fn collect(&mut self, emitted: &[Emitted]) {
        for item in emitted {
            let Emitted::Rows(batch) = item else { continue };
            let rows = &batch.rows;
            let int = |column: usize, row: usize| {
                let column = rows.column(column).as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let time = |name: &str, row: usize| {
                rows.column_by_name(name).unwrap().as_primitive::<TimestampMillisecondType>().value(row)
            };
            for row in 0..rows.num_rows() {
                let full = rows.num_columns() > 6;
                let double = full.then(|| {
                    let column = rows.column(6).as_primitive::<Float64Type>();
                    column.is_valid(row).then(|| round(column.value(row)))
                });
                let key = (int(0, row).unwrap(), time("window_start", row), time("window_end", row));
                assert_eq!(time("window_time", row), key.2 - 1);
                let value = (
                    int(1, row).unwrap(),
                    int(2, row),
                    if full { int(3, row) } else { None },
                    if full { int(4, row) } else { None },
                    if full { int(5, row).unwrap() } else { 0 },
                    double.flatten(),
                );
                assert_eq!(self.answer.insert(key, value), None, "window {key:?} came twice");
            }
        }
    }

    /// Takes all state out and puts it into other instances.
    fn restart(&mut self, instances: usize) {
        if let Some(local) = &mut self.local {
            let (out, _) = local.snapshot().unwrap();
            out.into_iter().for_each(|item| self.exchange(item));
        }
        let snapshots: Vec<_> = self.instances.iter_mut().map(|one| one.snapshot().unwrap().1).collect();
        self.count_late();
        self.instances = self.make(instances, &snapshots);
        let state = OperatorHarness::gather_all(&[self.assigner.snapshot().unwrap().1]);
        let assigner = Box::new(WatermarkAssigner::new(self.watermarks.clone()));
        self.assigner = OperatorHarness::instance_of(assigner, 0, 1, &state).unwrap();
    }

    fn count_late(&mut self) {
        self.late += self.instances.iter().map(|one| one.metrics().rows_late.get()).sum::<u64>();
    }

    fn finish(mut self) -> (Answer, u64) {
        self.feed(vec![Emitted::Watermark(i64::MAX)]);
        self.count_late();
        self.late += self.local.as_ref().map_or(0, |local| local.metrics().rows_late.get());
        (self.answer, self.late)
    }
}

fn without_extras(answer: Answer) -> Answer {
    answer.into_iter().map(|(key, value)| (key, (value.0, value.1, None, None, 0, None))).collect()
}

fn windows() -> impl Strategy<Value = WindowAssigner> {
    prop_oneof![
        (1_i64..30, -7_i64..7).prop_map(|(size_ms, offset_ms)| WindowAssigner::Tumble { size_ms, offset_ms }),
        (1_i64..8, 1_i64..6, -7_i64..7).prop_map(|(slide_ms, n, offset_ms)| WindowAssigner::Hop {
            size_ms: slide_ms * n,
            slide_ms,
            offset_ms
        }),
        (1_i64..8, 1_i64..6, -7_i64..7).prop_map(|(step_ms, n, offset_ms)| WindowAssigner::Cumulate {
            max_ms: step_ms * n,
            step_ms,
            offset_ms
        }),
        (1_i64..15).prop_map(|gap_ms| WindowAssigner::Session { gap_ms }),
    ]
}

/// Times that go forward with disorder, and now and then far.
fn streams() -> impl Strategy<Value = Vec<Row>> {
    let row = (0_i64..6, -15_i64..15, prop::option::weighted(0.9, -50_i64..50), prop::bool::weighted(0.02));
    prop::collection::vec(row, 0..200).prop_map(|rows| {
        let mut now = 0;
        rows.into_iter()
            .map(|(device, step, value, far)| {
                now += if far { 10_000 } else { 1 };
                (device, now + step, value)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn windows_equal_the_oracle(
        window in windows(),
        rows in streams(),
        exact in any::<bool>(),
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        instances in prop::sample::select(vec![1_usize, 2, 4]),
        restart_at in prop::option::of((0_usize..200, 1_usize..5)),
        keyed_clocks in any::<bool>(),
        relaxed in any::<bool>(),
    ) {
        let spec = spec(window, exact);
        let phases = if exact && !keyed_clocks && spec.two_phase_pays() { Phases::Two } else { Phases::One };
        let mut run = Run::new(spec, phases, keyed_clocks, relaxed, instances);
        let mut done = 0;
        for chunk in rows.chunks(batch_rows) {
            if let Some((at, others)) = restart_at && at >= done && at < done + chunk.len() {
                // Only between watermarks that every instance has seen, as a barrier guarantees.
                run.restart(others);
            }
            done += chunk.len();
            let emitted = run.assigner.batch(batch(chunk)).unwrap();
            run.feed(emitted);
        }
        let (answer, late) = run.finish();
        let (expected, expected_late) = oracle(window, &rows, keyed_clocks);
        let expected = if exact { without_extras(expected) } else { expected };
        prop_assert_eq!(answer, expected);
        prop_assert_eq!(late, expected_late);
    }
}

/// The example of Flink's own run: 9.5 and 19.999 are late, 15.001 makes them so.
#[test]
fn lateness_falls_as_in_flink() {
    let rows: Vec<Row> = [1_000, 9_000, 12_000, 8_000, 15_001, 9_500, 11_000, 26_000, 20_000, 19_999]
        .into_iter()
        .map(|time| (1, time, Some(time)))
        .collect();
    let window = WindowAssigner::Tumble { size_ms: 10_000, offset_ms: 0 };
    #[derive(Debug)]
    struct FiveSeconds;
    impl Expression for FiveSeconds {
        fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
            let times = rows.column(1).as_primitive::<TimestampMillisecondType>();
            Ok(Arc::new(times.unary::<_, TimestampMillisecondType>(|time| time - 5_000)))
        }
    }
    for batch_rows in [1, 3, 10] {
        let mut run = Run::new(spec(window, true), Phases::One, false, false, 1);
        run.assigner = OperatorHarness::new(Box::new(WatermarkAssigner::new(WatermarkSpec {
            event_time: 1,
            watermark: Arc::new(FiveSeconds),
            keys: vec![],
            idle_timeout_ms: None,
            ahead_max_ms: None,
            on_error: OnError::Fail,
            cut: CutRule::Always,
            stamps: false,
        })))
        .unwrap();
        for chunk in rows.chunks(batch_rows) {
            let emitted = run.assigner.batch(batch(chunk)).unwrap();
            run.feed(emitted);
        }
        let (answer, late) = run.finish();
        let counts: Vec<_> = answer.iter().map(|(key, value)| (key.1, value.0, value.1)).collect();
        assert_eq!(late, 2);
        assert_eq!(counts, vec![(0, 3, Some(18_000)), (10_000, 3, Some(38_001)), (20_000, 2, Some(46_000))]);
    }
}

/// A device falls idle in the middle of a window, the stream closes that window, and the device comes back with what
/// it had kept: rows of the window that was answered are late, those of later ones count, also after a restore.
#[test]
fn a_window_is_answered_once_though_its_device_was_idle() {
    for restore in [false, true] {
        let spec = spec(WindowAssigner::Tumble { size_ms: 10, offset_ms: 0 }, true);
        let mut harness = OperatorHarness::new(per_key(&spec).unwrap()).unwrap();
        let input = |clock_ms: i64, row: Row| {
            let mut batch = batch(&[row]);
            batch.event_time = Some(1);
            batch.clocks = Some(Int64Array::from(vec![clock_ms]));
            batch
        };
        assert!(harness.batch(input(i64::MIN, (1, 3, Some(1)))).unwrap().is_empty());
        assert_eq!(harness::rows(&harness.watermark(500).unwrap()).len(), 1);
        if restore {
            let state = OperatorHarness::gather_all(&[harness.snapshot().unwrap().1]);
            harness = OperatorHarness::instance_of(per_key(&spec).unwrap(), 0, 1, &state).unwrap();
            harness.watermark(500).unwrap();
        }
        assert!(harness::rows(&harness.batch(input(-2, (1, 5, Some(1)))).unwrap()).is_empty());
        assert_eq!(harness.metrics().rows_late.get(), 1);
        harness.batch(input(0, (1, 12, Some(7)))).unwrap();
        let closed = harness::rows(&harness.batch(input(21, (1, 26, Some(1)))).unwrap());
        assert_eq!(closed[0].column(2).as_primitive::<Int64Type>().values(), &[7]);
        assert_eq!(harness.metrics().rows_late.get(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Slices, sessions and windows of a clock a key, and windows that rows carry: rows and firings between the pieces of
    /// a snapshot are not in it.
    #[test]
    fn a_snapshot_in_pieces_is_as_at_the_barrier(
        before in prop::collection::vec((0..40_i64, 0..60_i64, prop::option::of(-9..9_i64)), 1..80),
        after in prop::collection::vec((0..60_i64, 30..90_i64, prop::option::of(-9..9_i64)), 0..60),
        kind in 0..4_usize,
    ) {
        let window = match kind {
            0 => WindowAssigner::Tumble { size_ms: 20, offset_ms: 0 },
            1 => WindowAssigner::Hop { size_ms: 20, slide_ms: 10, offset_ms: 0 },
            _ => WindowAssigner::Session { gap_ms: 7 },
        };
        let spec = spec(window, false);
        let make = || match kind {
            3 => attached_by_time(&spec),
            2 => per_key(&spec).unwrap(),
            _ => single(&spec).unwrap(),
        };
        let events = |rows: &[Row]| {
            let mut events = Vec::new();
            for (at, rows) in rows.chunks(4).enumerate() {
                let mut batch = if kind == 3 { windowed(rows) } else { batch(rows) };
                batch.event_time = Some(1);
                events.push(Event::Rows(0, batch));
                if at % 3 == 2 {
                    let latest = rows.iter().map(|row| row.1).max().unwrap();
                    events.push(Event::Watermark(latest - 15));
                }
            }
            events
        };
        let decode = |bytes: &[u8]| millstream_engine::state::decode_rows(bytes).unwrap();
        assert_as_at_the_barrier(&make, &events(&before), &events(&after), decode);
    }
}

/// Rows with the window of 20 ms that they are in.
fn windowed(rows: &[Row]) -> Batch {
    let plain = batch(rows);
    let time = |offset: i64| {
        let times = rows.iter().map(|row| row.1 - row.1.rem_euclid(20) + offset);
        Arc::new(TimestampMillisecondArray::from_iter_values(times)) as ArrayRef
    };
    let mut columns = plain.rows.columns().to_vec();
    columns.extend([time(0), time(20)]);
    Batch::new(RecordBatch::try_new(windowed_schema(), columns).unwrap())
}

fn windowed_schema() -> SchemaRef {
    let mut fields = schema().fields().to_vec();
    fields.extend(["start", "end"].map(|name| Arc::new(Field::new(name, TIMESTAMP, false))));
    Arc::new(Schema::new(fields))
}

fn attached_by_time(spec: &WindowAggregateSpec) -> Box<dyn Operator> {
    attached(&WindowAggregateSpec { input: windowed_schema(), ..spec.clone() }, [4, 5]).unwrap()
}

/// Rows find their instance by the keys alone, so state must too, though the window's start is among what tells groups
/// apart.
#[test]
fn windows_that_rows_carry_are_restored_where_their_rows_go() {
    let spec = spec(WindowAssigner::Tumble { size_ms: 20, offset_ms: 0 }, true);
    let rows: Vec<Row> = (0..200).map(|n| (n % 50, n % 60, Some(1))).collect();
    for (before, after) in [(1, 1), (2, 2), (1, 2), (3, 2), (2, 1)] {
        let mine = |rows: &[Row], instance: usize, of: usize| -> Vec<Row> {
            let own = |row: &&Row| owner(key_group(hash_u64(row.0 as u64)), of) == instance;
            rows.iter().filter(own).copied().collect()
        };
        let mut snapshots = Vec::new();
        for instance in 0..before {
            let mut harness = OperatorHarness::instance_of(
                attached_by_time(&spec),
                instance,
                before,
                &StateReader::default(),
            )
            .unwrap();
            harness.batch(windowed(&mine(&rows, instance, before))).unwrap();
            snapshots.push(harness.snapshot().unwrap().1);
        }
        let mut counts = BTreeMap::<(i64, i64), Vec<i64>>::new();
        for instance in 0..after {
            let state = StateReader::gather(&snapshots, &key_group_range(instance, after));
            let mut harness =
                OperatorHarness::instance_of(attached_by_time(&spec), instance, after, &state).unwrap();
            harness.batch(windowed(&mine(&rows, instance, after))).unwrap();
            for rows in harness::rows(&harness.watermark(1_000).unwrap()) {
                let keys = rows.column(0).as_primitive::<Int64Type>();
                let values = rows.column(1).as_primitive::<Int64Type>();
                let ends = rows.column_by_name("window_end").unwrap();
                let ends = ends.as_primitive::<TimestampMillisecondType>();
                for row in 0..rows.num_rows() {
                    counts.entry((keys.value(row), ends.value(row))).or_default().push(values.value(row));
                }
            }
        }
        let mut expected = BTreeMap::<(i64, i64), i64>::new();
        for row in &rows {
            *expected.entry((row.0, row.1 - row.1.rem_euclid(20) + 20)).or_default() += 2;
        }
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(key, count)| (key, vec![count])).collect();
        assert_eq!(counts, expected, "{before} to {after}");
    }
}

#[test]
fn a_big_firing_comes_in_chunks_and_a_long_gap_is_no_work() {
    let spec = spec(WindowAssigner::Hop { size_ms: 10, slide_ms: 1, offset_ms: 0 }, true);
    let mut harness = OperatorHarness::new(single(&spec).unwrap()).unwrap();
    let rows: Vec<Row> = (0..10_000).map(|key| (key, 5, Some(1))).collect();
    let mut input = batch(&rows);
    input.event_time = Some(1);
    harness.batch(input).unwrap();
    let fired = harness.watermark(5).unwrap();
    assert!(harness.chunks >= 2, "{} chunks", harness.chunks);
    assert!(fired.len() >= 3);
    // Ten thousand years later: the nine windows left, and nothing in between.
    let mut input = batch(&[(1, 315_360_000_000_000, Some(1))]);
    input.event_time = Some(1);
    harness.batch(input).unwrap();
    assert!(!harness.watermark(315_360_000_000_000).unwrap().is_empty());
    assert!(harness.chunks < 60, "{} chunks", harness.chunks);
}
