//! JSON rows through decoding, a filter and `blackhole`.
//!
//! `cargo bench --bench decode -- --rows 4000000 --workers 1 --case payloads`
//!
//! A row is about 110 bytes: device, time, three numbers. `payloads` hands them over one by one as a broker's client
//! would, `file` reads them as lines with the `filesystem` connector; `-two-columns` is a query that needs no more than
//! that. The rows that reach the sink are counted and must be those that the filter lets through.

mod support;

use std::io::Write;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream::Pipeline;
use millstream::connectors::format::json::Json;
use millstream::connectors::format::{PayloadDecoder, PayloadOptions};
use millstream::engine::Format;
use millstream::engine::dead_letter::{OnError, RowErrors};
use millstream::engine::options::Options;
use millstream::engine::{Batch, InstanceContext, Output, Result, Source, SourcePoll, SourceProvider};
use millstream::sql::ProvidedTable;
use support::{Random, flag, report, rounds, wanted};

/// Payloads that are made; longer inputs repeat them.
const POOL: usize = 100_000;

const ALL: &str = "device, ts, temperature, humidity, battery";
const TWO: &str = "device, temperature";
const DDL: &str = "device STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity DOUBLE, battery INT";

fn main() {
    let rows = flag("rows", 1_000_000_usize);
    let workers = flag("workers", 1_usize);
    let pool = Arc::new(Pool::new());
    println!("{} bytes a row on average", pool.bytes.len() / POOL);
    for (columns, suffix) in [(ALL, ""), (TWO, "-two-columns")] {
        let name = format!("payloads{suffix}");
        if wanted(&name) {
            let took = rounds(|| payloads(&pool, rows, workers, columns));
            report(&name, workers, rows, took);
        }
        let name = format!("file{suffix}");
        if wanted(&name) {
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            for row in 0..rows {
                file.write_all(pool.payload(row)).and_then(|()| file.write_all(b"\n")).expect("room on disk");
            }
            let path = file.path().display().to_string();
            let took = rounds(|| lines(&pool, &path, rows, workers, columns));
            report(&name, workers, rows, took);
        }
    }
}

struct Pool {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Whether the filter lets payload `i` through.
    warm: Vec<bool>,
}

impl Pool {
    fn new() -> Self {
        let (mut bytes, mut ends, mut warm, mut random) = (Vec::new(), Vec::new(), Vec::new(), Random(11));
        for row in 0..POOL {
            let (device, hundredths) = (random.below(10_000), random.below(8_000));
            let (humidity, battery) = (random.below(1_000), random.below(101));
            let (whole, part) = (hundredths / 100, hundredths % 100);
            let (minute, second, ms) = (row / 60_000 % 60, row / 1_000 % 60, row % 1_000);
            write!(
                bytes,
                concat!(
                    r#"{{"device":"sensor-{:06}","ts":"2026-01-01 00:{:02}:{:02}.{:03}","#,
                    r#""temperature":{}.{:02},"humidity":{}.{},"battery":{}}}"#
                ),
                device,
                minute,
                second,
                ms,
                whole,
                part,
                humidity / 10,
                humidity % 10,
                battery
            )
            .expect("memory takes it");
            ends.push(bytes.len());
            warm.push(hundredths > 3_000);
        }
        Self { bytes, ends, warm }
    }

    fn payload(&self, row: usize) -> &[u8] {
        let at = row % POOL;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    fn warm_rows(&self, rows: usize) -> u64 {
        (0..rows).filter(|row| self.warm[row % POOL]).count() as u64
    }
}

/// Hands payloads to the decoder one by one, a batch a poll.
struct Payloads {
    pool: Arc<Pool>,
    rows: usize,
}

impl SourceProvider for Payloads {
    fn is_bounded(&self) -> bool {
        true
    }
    fn parallelism(&self, workers: usize) -> usize {
        workers
    }
    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        let options = Options::default();
        let codec = Json.codec(&options, &schema)?;
        Ok(Box::new(Reader {
            pool: Arc::clone(&self.pool),
            next: instance * self.rows / parallelism,
            until: (instance + 1) * self.rows / parallelism,
            decoder: PayloadDecoder::new(schema, codec.as_ref(), &PayloadOptions::from_options(&options)?)?,
            rows_max: 0,
            errors: None,
        }))
    }
}

struct Reader {
    pool: Arc<Pool>,
    next: usize,
    until: usize,
    decoder: PayloadDecoder,
    rows_max: usize,
    errors: Option<RowErrors>,
}

impl Source for Reader {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.rows_max = context.batch_rows_max;
        self.errors = Some(context.row_errors(OnError::Fail));
        Ok(())
    }
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let Some(errors) = &self.errors else { return Ok(SourcePoll::Finished) };
        let stop = self.until.min(self.next + self.rows_max);
        for row in self.next..stop {
            self.decoder.push(self.pool.payload(row), errors)?;
        }
        self.next = stop;
        out.emit(Batch::new(self.decoder.flush(errors)?.rows))?;
        Ok(if stop == self.until { SourcePoll::Finished } else { SourcePoll::Ready })
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("temperature", DataType::Float64, true),
        Field::new("humidity", DataType::Float64, true),
        Field::new("battery", DataType::Int32, true),
    ]))
}

/// The statements behind the source's declaration.
fn statements(columns: &str) -> String {
    let of = |name: &str| DDL.split(", ").find(|column| column.starts_with(name)).unwrap_or_default();
    let declared: Vec<&str> = columns.split(", ").map(of).collect();
    format!(
        "CREATE TABLE hole ({}) WITH ('connector' = 'blackhole');
         INSERT INTO hole SELECT {columns} FROM readings WHERE temperature > 30",
        declared.join(", ")
    )
}

fn payloads(pool: &Arc<Pool>, rows: usize, workers: usize, columns: &str) {
    let source = Payloads { pool: Arc::clone(pool), rows };
    let builder = Pipeline::builder().workers(workers).table(ProvidedTable {
        name: "readings".into(),
        schema: schema(),
        watermark: None,
        source: Some(Arc::new(source)),
        sink: None,
    });
    finish(builder.sql(statements(columns)), pool, rows);
}

fn lines(pool: &Pool, path: &str, rows: usize, workers: usize, columns: &str) {
    let table = format!(
        "CREATE TABLE readings ({DDL}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')"
    );
    let builder = Pipeline::builder().workers(workers).sql(format!("{table};\n{}", statements(columns)));
    finish(builder, pool, rows);
}

fn finish(builder: millstream::PipelineBuilder, pool: &Pool, rows: usize) {
    let pipeline = builder.start().expect("the query compiles");
    pipeline.wait().expect("the pipeline ends well");
    let sinks = pipeline.metrics().iter().filter(|metrics| metrics.kind == "sink");
    let arrived: u64 = sinks.map(|sink| sink.rows_in.get()).sum();
    assert_eq!(arrived, pool.warm_rows(rows), "rows at the sink");
}
