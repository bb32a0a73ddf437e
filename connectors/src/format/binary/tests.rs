//! Both formats: written and read again, bytes from the specifications, bad payloads.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use millstream_engine::Batch;
use millstream_engine::options::Options;
use proptest::prelude::*;

use crate::format::payload::testing::decode;

const FORMATS: [&str; 2] = ["cbor", "msgpack"];

fn schema() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let pair = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ]);
    let entries = Arc::new(Field::new("entries", DataType::Struct(pair), false));
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Int64, true),
        Field::new("c", DataType::Float64, true),
        Field::new("d", DataType::Boolean, true),
        Field::new("e", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("f", DataType::Struct(inner), true),
        Field::new("g", DataType::List(item), true),
        Field::new("h", DataType::Binary, true),
        Field::new("i", DataType::Decimal128(10, 2), true),
        Field::new("j", DataType::Date32, true),
        Field::new("k", DataType::Time32(TimeUnit::Millisecond), true),
        Field::new("m", DataType::Map(entries, false), true),
    ]))
}

fn rows() -> RecordBatch {
    let json = concat!(
        r#"{"a":"é","b":-9000000000,"c":2.5,"d":true,"e":"2026-01-01T00:00:10.5","f":{"x":1,"y":"z"},"#,
        r#""g":[1.5,null],"h":"00ff","i":-1.05,"j":"2026-01-01","k":"10:11:12.013","m":{"p":1,"q":null}}"#,
        r#"{}"#,
        r#"{"a":"","b":1,"d":false,"e":"1969-12-31T23:59:59.999","f":{},"g":[],"i":0.07,"m":{}}"#,
        r#"{"b":70000,"e":"2026-01-01T00:00:10","c":-0.0}"#,
    );
    let mut reader = ReaderBuilder::new(schema()).build(json.as_bytes()).unwrap();
    reader.next().unwrap().unwrap()
}

fn encoded(rows: &RecordBatch, format: &str) -> Vec<Vec<u8>> {
    let options = Options::from_pairs("table t", [("format", format)]);
    let codec = crate::registry().formats().codec(&options, "format", None, &rows.schema()).unwrap();
    let mut encoder = codec.encoder(rows.schema()).unwrap();
    encoder.encode(&Batch::new(rows.clone())).unwrap();
    encoder.encoded().rows().map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_written_is_read_again() {
    for format in FORMATS {
        let payloads = encoded(&rows(), format);
        let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let (read, numbers, errors) = decode(schema(), [("format", format)], &given);
        assert_eq!((numbers, errors), (vec![0, 1, 2, 3], vec![]), "{format}");
        assert_eq!(read, rows(), "{format}");
        // All in one payload, one after the other.
        let (read, numbers, _) = decode(schema(), [("format", format)], &[&payloads.concat()]);
        assert_eq!((numbers, read), (vec![0; 4], rows()), "{format}");
    }
}

fn wanted() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("1", DataType::Float64, true),
        Field::new("e", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("n", DataType::Int32, true),
    ]))
}

#[test]
fn cbor_of_the_specification_is_read() {
    let payloads: [&[u8]; 6] = [
        // {1: half 1.5, "e": 1(1363896240.5), "skipped": [[], {}]}
        b"\xa3\x01\xf9\x3e\x00\x61e\xc1\xfb\x41\xd4\x52\xd9\xec\x20\x00\x00\x67skipped\x82\x80\xa0",
        // Without lengths: {_ "e": 0("2013-03-21T20:04:00Z"), (_ "n"): 4([0, 7]), "1": 4([-2, -5])}
        b"\xbf\x61e\xc0\x74\x32013-03-21T20:04:00Z\x7f\x61n\xff\xc4\x82\0\x07\x611\xc4\x82\x21\x24\xff",
        // [{"n": 1}, {"n": undefined}], and a map behind it, of self-described CBOR.
        b"\x82\xa1\x61n\x01\xa1\x61n\xf7\xd9\xd9\xf7\xa1\x61n\x03",
        // 1.5 is no whole number.
        b"\xa1\x61n\xf9\x3e\x00",
        // An array that claims 2^60 items.
        b"\xa1\x61n\x9b\x10\0\0\0\0\0\0\0",
        b"\xff",
    ];
    let (rows, numbers, errors) = decode(wanted(), [("format", "cbor")], &payloads);
    assert_eq!(numbers, vec![0, 1, 2, 2, 2], "{errors:?}");
    let numbers = rows.column(0).as_primitive::<Float64Type>();
    assert_eq!((numbers.value(0), numbers.value(1)), (1.5, -0.05));
    let times = rows.column(1).as_primitive::<TimestampMillisecondType>();
    assert_eq!((times.value(0), times.value(1)), (1_363_896_240_500, 1_363_896_240_000));
    let whole: Vec<_> = rows.column(2).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(whole, vec![None, Some(7), Some(1), None, Some(3)]);
    assert_eq!(errors.len(), 3);
    assert!(errors[0].contains("'n'") && errors[0].contains("1.5"), "{errors:?}");
}

#[test]
fn msgpack_of_the_specification_is_read() {
    let payloads: [&[u8]; 4] = [
        // {1: float 1.5, "e": timestamp 64, "skipped": [[], {}, ext]}
        b"\x83\x01\xca\x3f\xc0\0\0\xa1e\xd7\xff\x77\x35\x94\0\x51\x4b\x67\xb0\xa7skipped\x93\x90\x80\xd4\x05\x01",
        b"\x81\xa1n\xd0\xff",
        b"\x81\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc1",
    ];
    let (rows, numbers, errors) = decode(wanted(), [("format", "msgpack")], &payloads);
    assert_eq!(numbers, vec![0, 1], "{errors:?}");
    assert_eq!(rows.column(0).as_primitive::<Float64Type>().value(0), 1.5);
    assert_eq!(rows.column(1).as_primitive::<TimestampMillisecondType>().value(0), 1_363_896_240_500);
    assert_eq!(rows.column(2).as_primitive::<Int32Type>().value(1), -1);
    assert_eq!(errors.len(), 2);
}

#[test]
fn nesting_has_a_limit() {
    for (format, key, array) in [("cbor", &b"\xa1\x61x"[..], 0x81), ("msgpack", b"\x81\xa1x", 0x91)] {
        let deep = [key, &[array; 100_000], &[1]].concat();
        let shallow = [key, &[array; 50], &[1]].concat();
        let (_, numbers, errors) = decode(schema(), [("format", format)], &[&deep, &shallow]);
        assert_eq!(numbers, vec![1]);
        assert!(errors[0].contains("64 deep"), "{errors:?}");
    }
}

#[test]
fn a_row_that_is_bad_half_way_leaves_nothing() {
    for format in FORMATS {
        let good = encoded(&rows(), format);
        let twice = [&good[0][..], &good[0][..good[0].len() - 1]].concat();
        let (read, numbers, errors) =
            decode(schema(), [("format", format)], &[&good[2], &twice, &good[3], b"", &good[1]]);
        assert_eq!((numbers, errors.len()), (vec![0, 2, 4], 1), "{format} {errors:?}");
        assert_eq!(
            read.column(1).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
            [Some(1), Some(70_000), None]
        );
    }
}

proptest! {
    #[test]
    fn no_payload_panics(
        changes in prop::collection::vec((0..4_usize, any::<prop::sample::Index>(), any::<u8>()), 0..10),
        noise in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        for format in FORMATS {
            let good = encoded(&rows(), format);
            let mut payloads = vec![noise.clone()];
            for (row, at, byte) in &changes {
                let mut bad = good[*row].clone();
                let at = at.index(bad.len());
                bad[at] = *byte;
                payloads.push(bad);
            }
            let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let (rows, numbers, errors) = decode(schema(), [("format", format)], &given);
            prop_assert_eq!(rows.num_rows(), numbers.len());
            let mut heard = numbers.clone();
            heard.dedup();
            // An array of no maps is neither.
            prop_assert!(heard.len() + errors.len() <= payloads.len());
        }
    }
}
