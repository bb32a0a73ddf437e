//! OVER against sums over the rows before each, worked out one by one; rows are on time.

use arrow_array::TimestampMillisecondArray;
use arrow_array::types::Int64Type;
use arrow_schema::TimeUnit;
use millstream_engine::harness::OperatorHarness;
use proptest::prelude::*;

use super::*;
use crate::aggregate::AggregateKind;
use crate::folded::Folded;

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

fn spec(frame: Frame) -> OverSpec {
    let call = |kind: AggregateKind| {
        let name = format!("{kind:?}");
        AggregateCall { kind, argument: Some(1), filter: None, distinct: false, name }
    };
    OverSpec {
        input: input(),
        partition: vec![0],
        time: TimeMode::Event,
        event_time: 2,
        frame,
        aggregates: vec![call(AggregateKind::Sum), call(AggregateKind::Max), call(AggregateKind::Count)],
        ttl_ms: None,
    }
}

/// Key, value, time.
type Row = (i64, Option<i64>, i64);

fn batch(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    Batch::with_event_time(RecordBatch::try_new(input(), columns).unwrap(), 2).unwrap()
}

/// Key, time, sum, greatest, count.
type Answer = (i64, i64, Option<i64>, Option<i64>, i64);

fn oracle(rows: &[Row], frame: Frame) -> Vec<Answer> {
    let mut sorted: Vec<Row> = rows.to_vec();
    sorted.sort_by_key(|row| row.2);
    let mut all = Vec::new();
    for (at, row) in sorted.iter().enumerate() {
        let mine: Vec<(usize, &Row)> =
            sorted.iter().enumerate().filter(|(_, other)| other.0 == row.0).collect();
        let place = mine.iter().position(|(index, _)| *index == at).unwrap();
        let in_frame = |(nth, (_, other)): &(usize, &(usize, &Row))| match frame {
            Frame::Rows => *nth <= place,
            Frame::RowsBefore(n) => *nth <= place && *nth + n >= place,
            Frame::Range => other.2 <= row.2,
            Frame::RangeBefore(ms) => other.2 <= row.2 && other.2 >= row.2 - ms,
        };
        let values: Vec<i64> =
            mine.iter().enumerate().filter(in_frame).filter_map(|(_, (_, other))| other.1).collect();
        all.push((
            row.0,
            row.2,
            values.iter().copied().reduce(|a, b| a + b),
            values.iter().max().copied(),
            values.len() as i64,
        ));
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_row_sees_the_rows_before_it(
        rows in prop::collection::vec((0_i64..3, prop::option::weighted(0.8, -5_i64..9), 0_i64..6), 0..80),
        frame in prop_oneof![
            Just(Frame::Rows),
            Just(Frame::Range),
            (0_usize..4).prop_map(Frame::RowsBefore),
            (0_i64..12).prop_map(Frame::RangeBefore),
        ],
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        restart_at in 0_usize..80,
    ) {
        // Times go forward, with disorder that the watermark waits for.
        let rows: Vec<Row> = (0..).zip(rows).map(|(at, (key, value, step))| (key, value, at * 2 + step)).collect();
        let spec = spec(frame);
        let make = || Box::new(Over::new(&spec).unwrap());
        let mut harness = OperatorHarness::new(make()).unwrap();
        let mut found = Vec::new();
        let mut collect = |emitted: &[millstream_engine::harness::Emitted]| {
            for rows in millstream_engine::harness::rows(emitted) {
                let int = |column: usize, row: usize| {
                    use arrow_array::Array;
                    let column = rows.column(column).as_primitive::<Int64Type>();
                    column.is_valid(row).then(|| column.value(row))
                };
                let times = rows.column(2).as_primitive::<arrow_array::types::TimestampMillisecondType>();
                for row in 0..rows.num_rows() {
                    found.push((int(0, row).unwrap(), times.value(row), int(3, row), int(4, row), int(5, row).unwrap()));
                }
            }
        };
        let (mut done, mut restarted) = (0, false);
        for chunk in rows.chunks(batch_rows) {
            if !restarted && done >= restart_at {
                restarted = true;
                let state = OperatorHarness::gather_all(&[harness.snapshot().unwrap().1]);
                harness = OperatorHarness::instance_of(make(), 0, 1, &state).unwrap();
            }
            done += chunk.len();
            collect(&harness.batch(batch(chunk)).unwrap());
            collect(&harness.watermark(done as i64 * 2 - 1).unwrap());
        }
        collect(&harness.watermark(i64::MAX).unwrap());
        found.sort_unstable();
        prop_assert_eq!(found, oracle(&rows, frame));
    }
}

#[test]
fn late_rows_are_counted_and_partitions_forgotten() {
    let spec = OverSpec { ttl_ms: Some(100), ..spec(Frame::RowsBefore(1)) };
    let mut harness = OperatorHarness::new(Box::new(Over::new(&spec).unwrap())).unwrap();
    harness.batch(batch(&[(1, Some(1), 10), (1, Some(2), 20)])).unwrap();
    harness.watermark(15).unwrap();
    harness.batch(batch(&[(1, Some(3), 10), (1, Some(4), 12)])).unwrap();
    assert_eq!(harness.metrics().rows_late.get(), 1);
    let mut folded = Folded::default();
    folded.apply(&harness.watermark(30).unwrap());
    assert_eq!(folded.0.len(), 2);
    harness.advance(200).unwrap();
    assert!(harness.snapshot().unwrap().1.groups.is_empty());
}

/// A row that is taken behind its clock is answered with the next watermark; until then it makes none late.
#[test]
fn a_row_behind_its_clock_makes_none_late() {
    for (frame, restarts) in [(Frame::RowsBefore(1), false), (Frame::RangeBefore(5), true)] {
        let spec = spec(frame);
        let make = || Box::new(Over::new(&spec).unwrap());
        let mut harness = OperatorHarness::new(make()).unwrap();
        harness.watermark(20).unwrap();
        harness.batch(batch(&[(1, Some(1), 15)])).unwrap();
        if restarts {
            let state = OperatorHarness::gather_all(&[harness.snapshot().unwrap().1]);
            harness = OperatorHarness::instance_of(make(), 0, 1, &state).unwrap();
            // Time goes on where it was, as the source says it again.
            assert!(millstream_engine::harness::rows(&harness.watermark(20).unwrap()).is_empty());
        }
        harness.batch(batch(&[(1, Some(2), 12)])).unwrap();
        assert_eq!(harness.metrics().rows_late.get(), 0);
        let found = millstream_engine::harness::rows(&harness.watermark(21).unwrap());
        let times: Vec<i64> = found
            .iter()
            .flat_map(|rows| {
                let times = rows.column(2).as_primitive::<arrow_array::types::TimestampMillisecondType>();
                times.values().to_vec()
            })
            .collect();
        assert_eq!(times, [12, 15]);
        harness.batch(batch(&[(1, Some(3), 14), (1, Some(4), 16)])).unwrap();
        assert_eq!(harness.metrics().rows_late.get(), 1);
    }
}
