//! Millstream inside an edge gateway: the program reads its own sensors, pushes their readings into a pipeline as Arrow
//! batches, and acts on what comes out. No broker, no thread of ours but the pipeline's, no global state.
//!
//!     cargo run --release --example embed_gateway

use std::sync::Arc;

use millstream::arrow::array::{Array, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::arrow::schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream::engine::Batch;
use millstream::sql::TableWatermark;
use millstream::{Pipeline, Pusher};

/// A pump is to be stopped when it vibrated above its limit on average for ten seconds.
const SQL: &str = "
    CREATE VIEW windows AS
    SELECT pump, window_end, AVG(vibration) AS mean, MAX(vibration) AS peak
    FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
    GROUP BY window_start, window_end, pump;

    INSERT INTO actions SELECT pump, window_end, mean FROM windows WHERE mean > 7.1;
";

type AnyError = Box<dyn std::error::Error>;

/// Runs the gateway for a minute of its sensors' time.
pub fn main() -> Result<(), AnyError> {
    let mut builder = Pipeline::builder().name("gateway").workers(1);
    let time = TableWatermark { column: "ts".into(), delay_ms: 1_000 };
    let readings = builder.input("readings", readings_schema(), Some(time));
    let actions = builder.output("actions", actions_schema());
    let pipeline = builder.sql(SQL).start()?;

    // The gateway's own loop. A pipeline that is behind makes `push` wait; `try_push` would say so instead.
    let sensors = std::thread::spawn(move || read_sensors(&readings));

    // Batches come as soon as a window has closed; `None` when the pipeline has ended.
    let mut stopped = Vec::new();
    while let Some(batch) = actions.recv() {
        for (pump, mean) in pumps(&batch) {
            println!("stop {pump}: it vibrates at {mean:.2} mm/s");
            stopped.push(pump);
        }
    }
    sensors.join().map_err(|_| "the sensors' thread panicked")??;
    pipeline.wait()?;

    for operator in pipeline.metrics() {
        println!(
            "{:<12} {:>6} rows in {:>6} out",
            operator.operator,
            operator.rows_in.get(),
            operator.rows_out.get()
        );
    }
    // pump-3 runs hot from the 20th second on: four windows of ten seconds.
    assert_eq!(stopped, ["pump-3"; 4]);
    Ok(())
}

fn readings_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("pump", DataType::Utf8, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("vibration", DataType::Float64, true),
    ]))
}

fn actions_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("pump", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("mean", DataType::Float64, true),
    ]))
}

/// A minute of readings of four pumps, ten times a second, one batch a second. Dropping the pusher ends the stream.
fn read_sensors(readings: &Pusher) -> millstream::engine::Result<()> {
    for second in 0..60_i64 {
        let (mut pumps, mut times, mut vibrations) = (Vec::new(), Vec::new(), Vec::new());
        for tenth in 0..10 {
            for pump in 0..4_i64 {
                let worn = pump == 3 && second >= 20;
                pumps.push(format!("pump-{pump}"));
                times.push(second * 1_000 + tenth * 100);
                vibrations.push(if worn { 8.0 } else { 2.5 } + 0.1 * (tenth % 3) as f64);
            }
        }
        readings.push(RecordBatch::try_new(
            readings_schema(),
            vec![
                Arc::new(StringArray::from(pumps)),
                Arc::new(TimestampMillisecondArray::from(times)),
                Arc::new(Float64Array::from(vibrations)),
            ],
        )?)?;
    }
    readings.close();
    Ok(())
}

fn pumps(batch: &Batch) -> Vec<(String, f64)> {
    let names = batch.rows.column(0).as_any().downcast_ref::<StringArray>();
    let means = batch.rows.column(2).as_any().downcast_ref::<Float64Array>();
    let (Some(names), Some(means)) = (names, means) else { return Vec::new() };
    (0..batch.num_rows()).map(|row| (names.value(row).to_owned(), means.value(row))).collect()
}
