//! The same row decoded from each format: what a payload costs before it is a row.
//!
//! `cargo bench --bench formats -- cbor`
//!
//! A row is 110 bytes of JSON: device, time, three numbers. Each case decodes payloads that our own encoder wrote, in
//! batches as sources gather them; `-two-columns` wants no more than two. What is decoded is added up and must be what
//! was encoded.

mod support;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use criterion::{Criterion, Throughput, criterion_main};
use millstream::connectors::format::{PayloadDecoder, PayloadOptions};
use millstream::engine::dead_letter::{OnError, RowErrors};
use millstream::engine::metrics::OperatorMetrics;
use millstream::engine::options::Options;
use millstream::engine::{Batch, SystemClock};
use support::Random;

/// Payloads that are made; longer inputs repeat them.
const POOL: usize = 65_536;
/// Payloads that are decoded together.
const BATCH: usize = 4_096;
const DESCRIPTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/connectors/tests/formats/rows.desc");

/// Rows that an iteration decodes.
const ROWS: usize = 262_144;

criterion_main!(run_all);

/// What `criterion_main` calls, with the command line read.
fn run_all() {
    let mut criterion = Criterion::default().configure_from_args();
    run(&mut criterion);
    criterion.final_summary();
}

fn run(criterion: &mut Criterion) {
    let given = readings();
    let mut group = criterion.benchmark_group("formats");
    group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
    for format in ["json", "csv", "cbor", "msgpack", "avro", "protobuf"] {
        let payloads = encoded(format, &given);
        for (columns, suffix) in [(vec![0, 1, 2, 3, 4], ""), (vec![2, 4], "-two-columns")] {
            let wanted = Arc::new(given.schema().project(&columns).expect("columns of the table"));
            group.bench_function(format!("{format}{suffix}"), |bencher| {
                bencher.iter(|| decode(format, &payloads, &given, &wanted, ROWS));
            });
        }
    }
    group.finish();
}

fn readings() -> RecordBatch {
    let mut random = Random(11);
    let mut draw = |limit: u64| -> Vec<u64> { (0..POOL).map(|_| random.below(limit)).collect() };
    let devices: StringArray =
        draw(10_000).into_iter().map(|device| Some(format!("sensor-{device:06}"))).collect();
    let temperatures = draw(8_000).into_iter().map(|hundredths| hundredths as f64 / 100.0);
    let temperatures = Float64Array::from_iter_values(temperatures);
    let humidities =
        Float64Array::from_iter_values(draw(1_000).into_iter().map(|tenths| tenths as f64 / 10.0));
    let batteries = Int32Array::from_iter_values(draw(101).into_iter().map(|percent| percent as i32));
    let times = (0..POOL as i64).map(|row| 1_767_225_600_000 + row);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(devices),
        Arc::new(TimestampMillisecondArray::from_iter_values(times)),
        Arc::new(temperatures),
        Arc::new(humidities),
        Arc::new(batteries),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
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

fn options(format: &'static str) -> Options {
    let pairs = [
        ("format", format),
        ("protobuf.descriptor-file", DESCRIPTOR),
        ("protobuf.message-class-name", "millstream.fixtures.Reading"),
    ];
    Options::from_pairs("table readings", pairs)
}

fn encoded(format: &'static str, rows: &RecordBatch) -> Vec<Vec<u8>> {
    let formats = millstream::connectors::registry();
    let codec = formats.formats().codec(&options(format), "format", None, &schema()).expect("a format");
    let mut encoder = codec.encoder(schema()).expect("columns that it has");
    encoder.encode(&Batch::new(rows.clone())).expect("rows that it has");
    encoder.encoded().rows().map(<[u8]>::to_vec).collect()
}

/// Decodes `rows` payloads, and checks what came of them.
fn decode(format: &'static str, payloads: &[Vec<u8>], given: &RecordBatch, wanted: &SchemaRef, rows: usize) {
    let (formats, options) = (millstream::connectors::registry(), options(format));
    let codec = formats.formats().codec(&options, "format", None, &schema()).expect("a format");
    let payload_options = PayloadOptions::from_options(&options).expect("options");
    let mut decoder =
        PayloadDecoder::new(Arc::clone(wanted), codec.as_ref(), &payload_options).expect("columns");
    let metrics = OperatorMetrics::new("readings", "source", 0);
    let errors = RowErrors::new(OnError::Fail, Arc::default(), metrics, Arc::new(SystemClock::default()));
    let batteries = given.column_by_name("battery").expect("a column").as_primitive::<Int32Type>();
    let sum_of = |values: &[i32]| values.iter().map(|value| i64::from(*value)).sum::<i64>();
    let (mut done, mut sum, mut expected) = (0, 0, 0);
    while done < rows {
        let start = done % POOL;
        let count = BATCH.min(rows - done).min(POOL - start);
        for payload in &payloads[start..start + count] {
            decoder.push(payload, &errors).expect("a payload of some bytes");
        }
        let decoded = decoder.flush(&errors).expect("good payloads").rows;
        let column = decoded.column_by_name("battery").expect("a column");
        sum += sum_of(column.as_primitive::<Int32Type>().values());
        expected += sum_of(&batteries.values()[start..start + count]);
        assert_eq!(decoded.num_rows(), count, "rows of {format}");
        done += count;
    }
    assert_eq!(sum, expected, "what {format} decodes");
}
