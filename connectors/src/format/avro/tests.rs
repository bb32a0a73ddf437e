//! Avro read and written, bad payloads, and schemas that differ from the table's.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use millstream_engine::Batch;
use millstream_engine::options::Options;
use proptest::prelude::*;

use crate::format::payload::testing::decode;

fn schema() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Int64, true),
        Field::new("c", DataType::Int16, true),
        Field::new("d", DataType::Boolean, false),
        Field::new("e", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("f", DataType::Struct(inner), true),
        Field::new("g", DataType::List(item), true),
        Field::new("i", DataType::Decimal128(10, 2), true),
        Field::new("j", DataType::Date32, true),
        Field::new("k", DataType::Time32(TimeUnit::Millisecond), true),
    ]))
}

fn rows() -> RecordBatch {
    let json = concat!(
        r#"{"a":"é","b":-9000000000,"c":-7,"d":true,"e":"2026-01-01T00:00:10.5","f":{"x":1,"y":"z"},"#,
        r#""g":[1.5,null],"i":-1.05,"j":"2026-01-01","k":"10:11:12.013"}"#,
        r#"{"d":false}"#,
        r#"{"a":"","b":1,"d":true,"f":{},"g":[],"i":99999999.99}"#,
    );
    let mut reader = ReaderBuilder::new(schema()).build(json.as_bytes()).unwrap();
    reader.next().unwrap().unwrap()
}

fn encoded<const N: usize>(rows: &RecordBatch, pairs: [(&str, &str); N]) -> Vec<Vec<u8>> {
    let options = Options::from_pairs("table t", pairs);
    let schema = rows.schema();
    let codec = crate::registry().formats().codec(&options, "format", None, &schema).unwrap();
    let mut encoder = codec.encoder(schema).unwrap();
    encoder.encode(&Batch::new(rows.clone())).unwrap();
    encoder.encoded().rows().map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let payloads = encoded(&rows(), [("format", "avro")]);
    let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let (read, numbers, errors) = decode(schema(), [("format", "avro")], &given);
    assert_eq!((numbers, errors), (vec![0, 1, 2], vec![]));
    assert_eq!(read, rows());
}

#[test]
fn bytes_are_those_of_the_specification() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, false),
    ]));
    let mut reader = ReaderBuilder::new(schema).build(&br#"{"n":-64,"s":"foo"}{"s":""}"#[..]).unwrap();
    let rows = reader.next().unwrap().unwrap();
    assert_eq!(encoded(&rows, [("format", "avro")]), vec![b"\x02\x7f\x06foo".to_vec(), vec![0, 0]]);
}

#[test]
fn the_writers_schema_may_differ_from_the_table() {
    let writer = r#"{"type":"record","name":"R","fields":[{"name":"skipped","type":"string"},
        {"name":"b","type":"int"},{"name":"a","type":{"type":"enum","name":"E","symbols":["LOW","HIGH"]}},
        {"name":"e","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
    let wanted = Arc::new(schema().project(&[0, 1, 4, 5]).unwrap());
    let pairs = [("format", "avro"), ("avro.schema", writer)];
    let (rows, _, errors) = decode(wanted, pairs, &[b"\x04xy\x0d\x02\x80\x89\x7a"]);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(rows.column(0).as_string::<i32>().value(0), "HIGH");
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().value(0), -7);
    assert_eq!(rows.column(2).as_primitive::<TimestampMillisecondType>().value(0), 1_000);
    assert!(rows.column(3).is_null(0));
}

#[test]
fn a_bad_payload_costs_only_itself() {
    let good = encoded(&rows(), [("format", "avro")]);
    let long = [&good[1][..], b"\x00"].concat();
    let payloads = [&good[0][..], b"", &good[0][..9], &long, b"\xff\xff", &good[2]];
    let (read, numbers, errors) = decode(schema(), [("format", "avro")], &payloads);
    assert_eq!((numbers, read.num_rows(), errors.len()), (vec![0, 5], 2, 4));
    assert!(errors.join("\n").contains("1 bytes are left behind"), "{errors:?}");
}

proptest! {
    #[test]
    fn every_payload_is_a_row_or_an_error(
        cuts in prop::collection::vec((0..3_usize, any::<prop::sample::Index>(), any::<u8>()), 0..10),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let good = encoded(&rows(), [("format", "avro")]);
        let mut payloads = vec![noise];
        for (row, at, byte) in cuts {
            let mut bad = good[row].clone();
            let at = at.index(bad.len());
            bad[at] = byte;
            payloads.push(bad);
        }
        let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let (_, numbers, errors) = decode(schema(), [("format", "avro")], &given);
        prop_assert_eq!(numbers.len() + errors.len(), payloads.len());
    }
}
