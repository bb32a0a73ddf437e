//! Orders of streams: random rows in every size of batch, through a restore, against a sorted list.

use super::*;

use arrow_array::{StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millstream_engine::harness::{Emitted, OperatorHarness};
use rand::{Rng, SeedableRng};

fn spec(time: TimeMode) -> SortSpec {
    let input = Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("n", DataType::Int64, true),
    ]));
    let order = vec![
        SortKey { column: 0, descending: true, nulls_first: false },
        SortKey { column: 2, descending: false, nulls_first: true },
    ];
    SortSpec { input, time, event_time: 1, order }
}

type Row = (Option<&'static str>, i64, i64);

fn batch(rows: &[Row], clocks: &[i64]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    let rows = RecordBatch::try_new(spec(TimeMode::Event).input, columns).unwrap();
    let mut batch = Batch::with_event_time(rows, 1).unwrap();
    batch.clocks = Some(Int64Array::from(clocks.to_vec()));
    batch
}

fn numbers(emitted: &[Emitted], found: &mut Vec<i64>) {
    for item in emitted {
        if let Emitted::Rows(batch) = item {
            found.extend(batch.rows.column(2).as_primitive::<Int64Type>().values());
        }
    }
}

/// What Flink does row by row: a row at or below the last time that left is late.
fn expected(rows: &[Row], delay_ms: i64) -> (Vec<i64>, u64) {
    let (mut clock_ms, mut answered_ms, mut late) = (i64::MIN, i64::MIN, 0);
    let (mut waiting, mut left): (Vec<Row>, Vec<i64>) = Default::default();
    let mut fire = |waiting: &mut Vec<Row>, clock_ms: i64, answered_ms: &mut i64| {
        waiting.sort_by_key(|row| (row.1, std::cmp::Reverse(row.0), row.2));
        let until = waiting.partition_point(|row| row.1 <= clock_ms);
        for row in waiting.drain(..until) {
            *answered_ms = row.1;
            left.push(row.2);
        }
    };
    for row in rows {
        if row.1 <= answered_ms {
            late += 1;
        } else {
            waiting.push(*row);
        }
        if row.1 - delay_ms > clock_ms {
            clock_ms = row.1 - delay_ms;
            fire(&mut waiting, clock_ms, &mut answered_ms);
        }
    }
    fire(&mut waiting, i64::MAX, &mut answered_ms);
    (left, late)
}

#[test]
fn rows_leave_in_order_whatever_the_batches_and_restores() {
    let mut random = rand::rngs::SmallRng::seed_from_u64(11);
    for round in 0..40 {
        let delay_ms = [0, 3, 20][round % 3];
        let mut now_ms = 0;
        let rows: Vec<Row> = (0..300)
            .map(|n| {
                now_ms += random.random_range(0..4);
                let name = [None, Some("a"), Some("b")][random.random_range(0..3)];
                (name, now_ms - random.random_range(0..12), n)
            })
            .collect();
        let (left, late) = expected(&rows, delay_ms);
        for size in [1, 7, 300] {
            let spec = spec(TimeMode::Event);
            let make = || Box::new(Sort::new(&spec).unwrap());
            let mut harness = OperatorHarness::new(make()).unwrap();
            let (mut found, mut found_late) = (Vec::new(), 0);
            let mut clock_ms = i64::MIN;
            for (at, rows) in rows.chunks(size).enumerate() {
                let mut clocks = Vec::new();
                for row in rows {
                    clocks.push(clock_ms);
                    clock_ms = clock_ms.max(row.1 - delay_ms);
                }
                numbers(&harness.batch(batch(rows, &clocks)).unwrap(), &mut found);
                if at % 5 == 4 {
                    let (emitted, state) = harness.snapshot().unwrap();
                    numbers(&emitted, &mut found);
                    found_late += harness.metrics().rows_late.get();
                    let state = OperatorHarness::gather_all(&[state]);
                    harness = OperatorHarness::instance_of(make(), 0, 1, &state).unwrap();
                }
                numbers(&harness.watermark(clock_ms).unwrap(), &mut found);
            }
            numbers(&harness.watermark(i64::MAX).unwrap(), &mut found);
            found_late += harness.metrics().rows_late.get();
            assert_eq!((found, found_late), (left.clone(), late), "delay {delay_ms}, {size} rows a batch");
        }
    }
}

#[test]
fn many_rows_of_one_time_leave_together() {
    let spec = spec(TimeMode::Event);
    let mut harness = OperatorHarness::new(Box::new(Sort::new(&spec).unwrap())).unwrap();
    let rows: Vec<Row> = (0..3 * CHUNK_ROWS as i64).map(|n| (Some("a"), n / 5_000, -n)).collect();
    harness.batch(batch(&rows, &vec![i64::MIN; rows.len()])).unwrap();
    let mut found = Vec::new();
    numbers(&harness.watermark(i64::MAX).unwrap(), &mut found);
    let (left, _) = expected(&rows, 10_000);
    assert_eq!(found, left);
    assert!(harness.chunks > 0);
}

#[test]
fn by_the_wall_clock_batches_pass_in_the_order_of_what_follows() {
    let spec = spec(TimeMode::Processing);
    let mut harness = OperatorHarness::new(Box::new(Sort::new(&spec).unwrap())).unwrap();
    let rows = [(Some("a"), 1, 7), (None, 1, 3), (Some("b"), 1, 9), (Some("a"), 1, 2)];
    let mut found = Vec::new();
    numbers(&harness.batch(batch(&rows, &[0; 4])).unwrap(), &mut found);
    assert_eq!(found, [9, 2, 7, 3]);
}
