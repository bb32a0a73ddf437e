//! Messages written and read again, bytes of the specification, bad payloads. The descriptor is the one of the fuzz target.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use millstream_engine::format::Payloads;
use millstream_engine::options::Options;
use millstream_engine::{Batch, Decoded, Decoder};
use proptest::prelude::*;
use prost_reflect::DescriptorPool;

use super::decode::ProtobufDecoder;
use crate::format::payload::testing::decode;

const DESCRIPTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz.desc");
const PAIRS: [(&str, &str); 3] = [
    ("format", "protobuf"),
    ("protobuf.descriptor-file", DESCRIPTOR),
    ("protobuf.message-class-name", "millstream.fuzz.Row"),
];

fn schema() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
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
    ]))
}

fn rows() -> RecordBatch {
    let json = concat!(
        r#"{"a":"é","b":-9,"c":2.5,"d":true,"e":"2026-01-01T00:00:10.5","f":{"x":1,"y":"z"},"#,
        r#""g":[1.5,0],"h":"00ff","i":-1.05}"#,
        r#"{"a":"","b":0,"c":0,"d":false,"e":"2026-01-01T00:00:10","h":"","i":7.5}"#,
    );
    let mut reader = ReaderBuilder::new(schema()).build(json.as_bytes()).unwrap();
    reader.next().unwrap().unwrap()
}

fn encoded(rows: &RecordBatch) -> Vec<Vec<u8>> {
    let options = Options::from_pairs("table t", PAIRS);
    let codec = crate::registry().formats().codec(&options, "format", None, &rows.schema()).unwrap();
    let mut encoder = codec.encoder(rows.schema()).unwrap();
    encoder.encode(&Batch::new(rows.clone())).unwrap();
    encoder.encoded().rows().map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let payloads = encoded(&rows());
    let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let (read, numbers, errors) = decode(schema(), PAIRS, &given);
    assert_eq!((numbers, errors), (vec![0, 1], vec![]));
    assert_eq!(read, rows());
}

#[test]
fn bytes_of_the_specification_are_read_and_bad_ones_refused() {
    let wanted = Arc::new(schema().project(&[0, 1, 5]).unwrap());
    let payloads: [&[u8]; 5] = [
        // Field 2 is 150; field 1 is "testing"; field 99 is skipped; field 6 holds x = 1.
        b"\x10\x96\x01\x0a\x07testing\x98\x06\x01\x32\x02\x08\x01",
        b"",
        b"\x10",
        b"\x0a\x02\xff\xfe",
        b"\x0a\x7fx",
    ];
    let (rows, numbers, errors) = decode(wanted.clone(), PAIRS, &payloads);
    assert_eq!((numbers, errors.len()), (vec![0, 1], 3), "{errors:?}");
    let json = r#"{"a":"testing","b":150,"f":{"x":1,"y":""}}{"a":"","b":0}"#;
    let expected = ReaderBuilder::new(wanted).build(json.as_bytes()).unwrap().next().unwrap().unwrap();
    assert_eq!(rows, expected);
}

#[test]
fn wrong_options_and_columns_say_what_there_is() {
    let formats = crate::registry();
    let codec = |name: &'static str, file: &'static str, schema: SchemaRef| {
        let pairs = [PAIRS[0], ("protobuf.descriptor-file", file), ("protobuf.message-class-name", name)];
        let codec =
            formats.formats().codec(&Options::from_pairs("table t", pairs), "format", None, &schema)?;
        codec.decoder(schema)
    };
    let error = |name, file, schema| codec(name, file, schema).err().unwrap().to_string();
    assert!(error("millstream.fuzz.Row", "/no/file", schema()).contains("cannot be read"));
    assert!(error("Row", DESCRIPTOR, schema()).contains("one of: millstream.fuzz.Row"));
    let other = Arc::new(Schema::new(vec![Field::new("z", DataType::Int32, true)]));
    assert!(error("millstream.fuzz.Row", DESCRIPTOR, other).contains("column z: the message"));
    let other = Arc::new(Schema::new(vec![Field::new("g", DataType::Int32, true)]));
    assert!(error("millstream.fuzz.Row", DESCRIPTOR, other).contains("ARRAY"));
}

/// Reads payloads directly and through messages in memory, which must come to the same rows and errors.
fn both_ways(schema: &SchemaRef, name: &str, read_defaults: bool, payloads: &[Vec<u8>]) {
    let descriptor = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats/rows.desc");
    let file = if name == "millstream.fuzz.Row" { DESCRIPTOR } else { descriptor };
    let pool = DescriptorPool::decode(&std::fs::read(file).unwrap()[..]).unwrap();
    let message = pool.get_message_by_name(name).unwrap();
    let (bytes, mut ends) = (payloads.concat(), Vec::new());
    payloads.iter().fold(0, |end, payload| {
        ends.push(end + payload.len());
        end + payload.len()
    });
    let [direct, long] = [true, false].map(|is_direct| {
        let mut decoder = ProtobufDecoder::new(Arc::clone(schema), message.clone(), read_defaults).unwrap();
        assert!(decoder.is_direct);
        decoder.is_direct = is_direct;
        decoder.decode(Payloads::new(&bytes, &ends)).unwrap()
    });
    let bad = |decoded: &Decoded| -> Vec<(u32, String)> {
        decoded.rejected.iter().map(|(number, error)| (*number, error.to_string())).collect()
    };
    assert_eq!(bad(&direct), bad(&long));
    assert_eq!((direct.payload_of, direct.rows), (long.payload_of, long.rows));
}

/// The fixtures' table without its MAP.
fn without_map() -> SchemaRef {
    Arc::new(crate::format::reference_tests::schema().project(&(0..17).collect::<Vec<_>>()).unwrap())
}

#[test]
fn fields_that_come_twice_in_pieces_or_out_of_order_are_read_alike_both_ways() {
    let payloads: Vec<Vec<u8>> = [
        // `n` is 4 bytes; `pair` in two pieces, which are merged; `name` twice, of which the last counts.
        &b"\x7a\x02\x08\x07\x2d\x03\0\0\0\x7a\x03\x12\x01y\x0a\x01a\x0a\x01b"[..],
        // `list` alone, packed, and alone again, with `pairs` in between.
        b"\x81\x01\0\0\0\0\0\0\xf0\x3f\x8a\x01\0\x82\x01\x08\0\0\0\0\0\0\0\x40\x81\x01\0\0\0\0\0\0\xf8\x3f\x82\x01\0",
        // Empty messages are there, an empty packed list is not.
        b"\x7a\0\x62\0\x82\x01\0",
        // Unknown fields of each wire type are skipped; a group is one, too.
        b"\xf8\x06\x01\xf9\x06\0\0\0\0\0\0\0\0\xfa\x06\x01x\xfd\x06\0\0\0\0\x10\x01",
        b"\xfb\x06\x08\x01\xfc\x06\x10\x01",
        // Of another wire type than its field; nanoseconds out of range; a key without number; a varint too long.
        b"\x12\x01\x01",
        b"\x62\x06\x10\xff\xff\xff\xff\x07",
        b"\0\x01",
        b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        b"\x18\x80\x04",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    for read_defaults in [false, true] {
        both_ways(&without_map(), "millstream.fixtures.Row", read_defaults, &payloads);
    }
}

proptest! {
    #[test]
    fn both_ways_of_reading_agree(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..8),
        read_defaults in any::<bool>(),
    ) {
        let mut payloads = crate::format::reference_tests::payloads("protobuf.bin");
        // The fields of the MAP, which is not read here, would be looked into the long way only; a change may make some.
        let without_tags = |payload: &mut Vec<u8>| {
            let tags = payload.windows(2).position(|key| key == b"\x82\x7d").unwrap_or(payload.len());
            payload.truncate(tags);
        };
        payloads.iter_mut().for_each(without_tags);
        let good = payloads.len();
        for (which, at, byte) in changes {
            let mut changed = payloads[which.index(good)].clone();
            if let Some(len) = Some(changed.len()).filter(|len| *len > 0) {
                changed[at.index(len)] = byte;
            }
            without_tags(&mut changed);
            payloads.push(changed);
        }
        both_ways(&without_map(), "millstream.fixtures.Row", read_defaults, &payloads);
        let of_fuzz = encoded(&rows());
        both_ways(&schema(), "millstream.fuzz.Row", read_defaults, &of_fuzz);
    }

    #[test]
    fn every_payload_is_a_row_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let good = encoded(&rows());
        let mut payloads = vec![noise];
        for (at, byte) in changes {
            let mut bad = good[0].clone();
            let at = at.index(bad.len());
            bad[at] = byte;
            payloads.push(bad);
        }
        let given: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let (_, numbers, errors) = decode(schema(), PAIRS, &given);
        prop_assert_eq!(numbers.len() + errors.len(), payloads.len());
    }
}
