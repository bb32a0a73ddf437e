//! Windowed aggregation over 10,000 devices: in-memory batches, SQL, rows out to the program.
//!
//! `cargo bench --bench windows -- avg-double`
//!
//! 10,000 devices report once a second, in random order. Readings are multiples of 1/4, so that sums are exact in any
//! order and the answers can be compared to the bit with those of a naive sum. Cases: AVG of DOUBLE (rows are exchanged
//! by key, since floating-point sums depend on order) and of BIGINT (added up before the exchange), integer and string
//! keys, rows out of order by up to two seconds, and a hopping COUNT.

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use criterion::{Criterion, Throughput, criterion_main};
use millstream::Pipeline;
use millstream::connectors::memory::MemorySource;
use millstream::engine::Batch;
use millstream::sql::{ProvidedTable, TableWatermark};
use support::Random;

const DEVICES: u64 = 10_000;
/// Rows that are made; longer inputs repeat them with later times.
const POOL_ROWS: usize = 1 << 20;
/// Rows of an input, and of a batch.
const ROWS: usize = 8_000_000;
const BATCH_ROWS: usize = 4_096;
const WINDOW_S: i64 = 10;

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    text_key: bool,
    integer_value: bool,
    select: &'static str,
    /// Slide and size in seconds; tumbling by the flag when none.
    hop_s: Option<(i64, i64)>,
    /// How far back a row may lie; the watermark waits longer by 1 ms, so that none is late, equal times included.
    jitter_ms: i64,
}

const PLAIN: Case = Case {
    name: "avg-double-int-key",
    text_key: false,
    integer_value: false,
    select: "AVG(v)",
    hop_s: None,
    jitter_ms: 0,
};

const CASES: [Case; 6] = [
    PLAIN,
    Case { name: "avg-double-string-key", text_key: true, ..PLAIN },
    Case { name: "avg-bigint-int-key", integer_value: true, ..PLAIN },
    Case { name: "avg-bigint-string-key", text_key: true, integer_value: true, ..PLAIN },
    Case { name: "avg-double-disorder", jitter_ms: 2_000, ..PLAIN },
    Case { name: "hop-count-int-key", select: "COUNT(*)", hop_s: Some((2, 10)), ..PLAIN },
];

criterion_main!(run_all);

/// What `criterion_main` calls, with the command line read.
fn run_all() {
    let mut criterion = Criterion::default().configure_from_args();
    run(&mut criterion);
    criterion.final_summary();
}

fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("windows");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    for case in CASES {
        let input = Input::new(case, ROWS);
        let expected = input.oracle(case);
        for workers in [1, 2] {
            group.bench_function(format!("{}/{workers}", case.name), |bencher| {
                bencher.iter(|| assert_eq!(input.run(case, workers), expected, "{}", case.name));
            });
        }
    }
    group.finish();
}

/// What is compared: rows out, and a checksum over device, result and window, the same in any order.
#[derive(Debug, PartialEq, Eq, Default, Clone, Copy)]
struct Answer {
    rows: usize,
    checksum: u64,
}

impl Answer {
    fn add(&mut self, device: u64, result_bits: u64, window_end_ms: i64) {
        self.rows += 1;
        let mixed =
            Random(device ^ result_bits.rotate_left(17) ^ (window_end_ms as u64).rotate_left(40)).number();
        self.checksum = self.checksum.wrapping_add(mixed);
    }
}

struct Input {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    devices: Vec<u64>,
    values: Vec<i64>,
    rows: usize,
}

/// 10,000 rows a second from 2026 on, each up to `jitter_ms` back.
fn time_ms(row: usize, jitter_ms: i64) -> i64 {
    let back_ms = if jitter_ms == 0 { 0 } else { Random(row as u64).below(jitter_ms as u64) as i64 };
    1_767_225_600_000 + (row as u64 * 1_000 / DEVICES) as i64 - back_ms
}

impl Input {
    fn new(case: Case, rows: usize) -> Self {
        let mut random = Random(7);
        let devices: Vec<u64> = (0..POOL_ROWS.min(rows)).map(|_| random.below(DEVICES)).collect();
        let values: Vec<i64> = devices.iter().map(|_| random.below(400) as i64 - 100).collect();
        let key_type = if case.text_key { DataType::Utf8 } else { DataType::Int64 };
        let value_type = if case.integer_value { DataType::Int64 } else { DataType::Float64 };
        let schema = Arc::new(Schema::new(vec![
            Field::new("device", key_type, false),
            Field::new("v", value_type, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ]));
        let pool: Vec<(ArrayRef, ArrayRef)> = devices
            .chunks(BATCH_ROWS)
            .zip(values.chunks(BATCH_ROWS))
            .map(|(devices, values)| (key_column(case, devices), value_column(case, values)))
            .collect();
        let mut batches = Vec::new();
        let mut start = 0;
        for (keys, values) in pool.iter().cycle() {
            if start >= rows {
                break;
            }
            let len = keys.len().min(rows - start);
            let times: Vec<i64> = (start..start + len).map(|row| time_ms(row, case.jitter_ms)).collect();
            let columns: Vec<ArrayRef> = vec![
                keys.slice(0, len),
                values.slice(0, len),
                Arc::new(TimestampMillisecondArray::from(times)),
            ];
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns fit"));
            start += len;
        }
        Self { schema, batches, devices, values, rows }
    }

    /// The answer, by a map from device and window to sum and count.
    fn oracle(&self, case: Case) -> Answer {
        let (slide, size) = case.hop_s.unwrap_or((WINDOW_S, WINDOW_S));
        let mut sums: HashMap<(u64, i64), (i64, i64)> = HashMap::new();
        for row in 0..self.rows {
            let at = row % self.devices.len();
            let slice_end = (time_ms(row, case.jitter_ms) / (slide * 1_000) + 1) * slide * 1_000;
            let entry = sums.entry((self.devices[at], slice_end)).or_default();
            entry.0 += self.values[at];
            entry.1 += 1;
        }
        let mut windows: HashMap<(u64, i64), (i64, i64)> = HashMap::new();
        for ((device, slice_end), (sum, count)) in sums {
            for step in 0..size / slide {
                let entry = windows.entry((device, slice_end + step * slide * 1_000)).or_default();
                entry.0 += sum;
                entry.1 += count;
            }
        }
        let mut answer = Answer::default();
        for ((device, end), (sum, count)) in windows {
            let bits = match (case.select, case.integer_value) {
                ("COUNT(*)", _) => count as u64,
                (_, true) => (sum / count) as u64,
                (_, false) => (sum as f64 * 0.25 / count as f64).to_bits(),
            };
            answer.add(device, bits, end);
        }
        answer
    }

    fn run(&self, case: Case, workers: usize) -> Answer {
        let source = MemorySource::bounded(Arc::clone(&self.schema), self.batches.clone(), workers);
        let window = match case.hop_s {
            None => format!("TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '{}' SECOND)", WINDOW_S),
            Some((slide, size)) => {
                format!(
                    "HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)"
                )
            }
        };
        let select = case.select;
        let mut builder = Pipeline::builder()
            .workers(workers)
            .table(ProvidedTable {
                name: "readings".into(),
                schema: Arc::clone(&self.schema),
                watermark: Some(TableWatermark { column: "ts".into(), delay_ms: case.jitter_ms + 1 }),
                source: Some(Arc::new(source)),
                sink: None,
            })
            .sql(format!(
                "SELECT device, {select} AS result, window_end FROM TABLE({window}) GROUP BY device, window_start, window_end"
            ));
        let results = builder.result();
        let pipeline = builder.start().expect("the query compiles");
        let mut answer = Answer::default();
        while let Some(batch) = results.recv() {
            black_box(&batch);
            add_batch(&mut answer, &batch);
        }
        pipeline.wait().expect("the pipeline ends well");
        answer
    }
}

fn key_column(case: Case, devices: &[u64]) -> ArrayRef {
    if case.text_key {
        Arc::new(StringArray::from_iter_values(devices.iter().map(|device| format!("device-{device:05}"))))
    } else {
        Arc::new(Int64Array::from_iter_values(devices.iter().map(|device| *device as i64)))
    }
}

fn value_column(case: Case, values: &[i64]) -> ArrayRef {
    if case.integer_value {
        Arc::new(Int64Array::from(values.to_vec()))
    } else {
        Arc::new(Float64Array::from_iter_values(values.iter().map(|value| *value as f64 * 0.25)))
    }
}

fn add_batch(answer: &mut Answer, batch: &Batch) {
    let (keys, results) = (batch.rows.column(0), batch.rows.column(1));
    let ends = batch.rows.column(2).as_primitive::<TimestampMillisecondType>();
    for row in 0..batch.num_rows() {
        let device = match keys.data_type() {
            DataType::Int64 => keys.as_primitive::<Int64Type>().value(row) as u64,
            _ => keys.as_string::<i32>().value(row)[7..].parse().expect("device-NNNNN"),
        };
        let bits = match results.data_type() {
            DataType::Int64 => results.as_primitive::<Int64Type>().value(row) as u64,
            _ => results.as_primitive::<Float64Type>().value(row).to_bits(),
        };
        answer.add(device, bits, ends.value(row));
    }
}
