//! From a source to a sink inside the process, at a steady rate.
//!
//! `cargo bench --bench latency -- --rate 10000 --seconds 10`
//!
//! Rows are due at fixed times; what is due is pushed as one batch, and each row's latency counts from when it was due,
//! not from when it was pushed, so that a stall shows in every row it delayed (no coordinated omission). The row goes
//! through a filter and a computed column in SQL and is taken from the other end by the program. `engine` is what the
//! sink's own histogram says: from the source's poll to the sink.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use hdrhistogram::Histogram;
use millstream::Pipeline;
use millstream::engine::{Clock, SystemClock};
use support::flag;

fn main() {
    let (rate, seconds): (u64, u64) = (flag("rate", 10_000), flag("seconds", 10));
    for workers in [1, 2].into_iter().filter(|workers| [0, *workers].contains(&flag("workers", 0))) {
        run(rate, rate * seconds, workers);
    }
}

fn run(rate: u64, rows: u64, workers: usize) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("due_ns", DataType::Int64, false),
        Field::new("v", DataType::Float64, true),
    ]));
    let mut builder = Pipeline::builder()
        .workers(workers)
        .sql("SELECT due_ns, v * 1.8 + 32 AS fahrenheit FROM readings WHERE v >= 0");
    let readings = builder.input("readings", Arc::clone(&schema), None);
    let results = builder.result();
    let pipeline = builder.start().expect("the query compiles");
    let clock = Arc::new(SystemClock::default());
    let start_ns = clock.monotonic_ns() + 50_000_000;
    let period_ns = 1_000_000_000 / rate;

    let pacer = Arc::clone(&clock);
    let producer = std::thread::spawn(move || {
        let mut next = 0;
        while next < rows {
            let due_ns = start_ns + next * period_ns;
            let now_ns = pacer.monotonic_ns();
            if now_ns < due_ns {
                std::thread::sleep(Duration::from_nanos(due_ns - now_ns));
                continue;
            }
            let until = rows.min((now_ns - start_ns) / period_ns + 1);
            let due: Int64Array = (next..until).map(|row| (start_ns + row * period_ns) as i64).collect();
            let values = Float64Array::from_iter_values((next..until).map(|row| (row % 100) as f64));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(due), Arc::new(values)]);
            readings.push(batch.expect("columns fit")).expect("the pipeline runs");
            next = until;
        }
    });

    let mut latency = Histogram::<u64>::new_with_bounds(100, 60_000_000_000, 3).expect("bounds are right");
    let mut batches = 0_u64;
    while let Some(batch) = results.recv() {
        let now_ns = clock.monotonic_ns();
        batches += 1;
        for due in batch.rows.column(0).as_primitive::<Int64Type>().values() {
            latency.saturating_record(now_ns.saturating_sub(*due as u64));
        }
    }
    producer.join().expect("the producer ends well");
    pipeline.wait().expect("the pipeline ends well");
    assert_eq!(latency.len(), rows, "every row arrives once");
    let us = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1e3;
    let engine =
        pipeline.metrics().iter().filter(|metrics| metrics.kind == "sink").find_map(|sink| sink.latency());
    let engine = engine.map_or(0.0, |own| own.value_at_quantile(0.99) as f64 / 1e3);
    println!(
        "{rate} rows/s, workers {workers}, {:.1} rows a batch: from due to received p50 {:.0} us, p99 {:.0} us, \
         p99.9 {:.0} us, max {:.0} us; engine p99 {engine:.0} us",
        rows as f64 / batches as f64,
        us(0.5),
        us(0.99),
        us(0.999),
        latency.max() as f64 / 1e3,
    );
}
