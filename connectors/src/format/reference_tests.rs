//! The formats against files that other libraries wrote, and what we write against what those libraries have read.
//!
//! `scripts/make-format-fixtures` makes connectors/tests/formats: for each format the same dozen rows, which rows.json
//! holds (or FORMAT.json, where the format cannot hold them all), and payloads that are no rows. What our encoders write
//! is recorded in its folder `written`, whose files that script's `--check` reads with the same libraries; so a test that
//! finds the same bytes has them read by Python without having Python. Parquet is tested in filesystem/.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use millstream_engine::Batch;
use millstream_engine::options::Options;

use super::payload::testing::decode;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

/// True when `written` is to be recorded anew.
pub(crate) fn is_recording() -> bool {
    std::env::var_os("MILLSTREAM_RECORD_FORMATS").is_some()
}

/// All types that a column of a format may have.
pub(crate) fn schema() -> SchemaRef {
    use DataType as T;
    let field = |name: &str, kind: T| Field::new(name, kind, true);
    let pair = || T::Struct(Fields::from(vec![field("x", T::Int32), field("y", T::Utf8)]));
    let entry = Fields::from(vec![Field::new("key", T::Utf8, false), field("value", T::Int64)]);
    Arc::new(Schema::new(vec![
        field("name", T::Utf8),
        field("flag", T::Boolean),
        field("tiny", T::Int8),
        field("small", T::Int16),
        field("n", T::Int32),
        field("big", T::Int64),
        field("single", T::Float32),
        field("t", T::Float64),
        field("price", T::Decimal128(20, 4)),
        field("day", T::Date32),
        field("at", T::Time32(TimeUnit::Millisecond)),
        field("ts", T::Timestamp(TimeUnit::Millisecond, None)),
        field("ts6", T::Timestamp(TimeUnit::Microsecond, None)),
        field("blob", T::Binary),
        field("pair", pair()),
        field("list", T::List(Arc::new(field("item", T::Float64)))),
        field("pairs", T::List(Arc::new(field("item", pair())))),
        field("tags", T::Map(Arc::new(Field::new("entries", T::Struct(entry), false)), false)),
    ]))
}

/// The columns that csv has a form for.
fn flat_schema() -> SchemaRef {
    let wanted: Vec<usize> = (0..18).filter(|column| ![13, 16, 17].contains(column)).collect();
    Arc::new(schema().project(&wanted).unwrap())
}

/// The rows of `file`, read by arrow's JSON reader.
pub(crate) fn expected(file: &str, schema: SchemaRef) -> RecordBatch {
    let text = std::fs::read(folder().join(file)).unwrap();
    let mut reader = ReaderBuilder::new(schema).build(&text[..]).unwrap();
    reader.next().unwrap().unwrap()
}

/// The payloads of a file: the length of each in four bytes, and its bytes.
pub(crate) fn payloads(file: &str) -> Vec<Vec<u8>> {
    let path = folder().join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut rest, mut payloads) = (&bytes[..], Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (payload, after) = behind.split_at(u32::from_be_bytes(*length) as usize);
        payloads.push(payload.to_vec());
        rest = after;
    }
    payloads
}

/// Fails with the first row and column that differ.
pub(crate) fn assert_same(what: &str, read: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(read.num_rows(), expected.num_rows(), "rows of {what}");
    for (index, field) in expected.schema().fields().iter().enumerate() {
        for row in 0..expected.num_rows() {
            let [have, want] = [read, expected].map(|rows| rows.column(index).slice(row, 1));
            let shown = |column| array_value_to_string(column, 0).unwrap();
            assert!(
                have.as_ref() == want.as_ref(),
                "{what}, row {row}, column {}: {} is not {}",
                field.name(),
                shown(&have),
                shown(&want)
            );
        }
    }
}

const AVRO_OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats/avro_other.avsc");
const DESCRIPTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats/rows.desc");

/// A format's name and two options of it.
fn options(format: &'static str) -> [(&'static str, &'static str); 3] {
    let [one, two] = match format {
        "csv" => [("csv.null-literal", "NULL"), ("csv.field-delimiter", ",")],
        "protobuf" => [
            ("protobuf.descriptor-file", DESCRIPTOR),
            ("protobuf.message-class-name", "millstream.fixtures.Row"),
        ],
        // Read by no other format.
        _ => [("csv.header", "false"), ("csv.allow-comments", "false")],
    };
    [("format", format), one, two]
}

fn rows_of(format: &str) -> RecordBatch {
    match format {
        "csv" => expected("csv.json", flat_schema()),
        "protobuf" => expected("protobuf.json", schema()),
        _ => expected("rows.json", schema()),
    }
}

/// Reads `file`, once as it is and once with bad payloads between the good ones.
fn assert_read(format: &'static str, file: &str) {
    let rows = rows_of(format);
    let good = payloads(file);
    let given: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    let (read, numbers, errors) = decode(rows.schema(), options(format), &given);
    assert!(errors.is_empty(), "{file}: {errors:?}");
    assert_same(file, &read, &rows);
    let bad = payloads(&format!("{format}.bad.bin"));
    for (number, payload) in bad.iter().enumerate() {
        let (read, ..) = decode(rows.schema(), options(format), &[payload]);
        assert_eq!(read.num_rows(), 0, "{format}: bad payload {number} is read as {read:?}");
    }
    let count = good.len().max(bad.len());
    let mixed: Vec<&[u8]> =
        (0..count).flat_map(|index| [bad.get(index), good.get(index)]).flatten().map(Vec::as_slice).collect();
    let (read, mixed_numbers, errors) = decode(rows.schema(), options(format), &mixed);
    assert_eq!((errors.len(), mixed_numbers.len()), (bad.len(), numbers.len()), "{file}: {errors:?}");
    assert_same(file, &read, &rows);
}

fn written(format: &'static str, rows: &RecordBatch) -> Vec<Vec<u8>> {
    let given = Options::from_pairs("table t", options(format));
    let codec = crate::registry().formats().codec(&given, "format", None, &rows.schema()).unwrap();
    let mut encoder = codec.encoder(rows.schema()).unwrap();
    encoder.encode(&Batch::new(rows.clone())).unwrap();
    encoder.encoded().rows().map(<[u8]>::to_vec).collect()
}

/// Writes the rows that are read, and compares with what the reference library has read as those rows.
fn assert_written(format: &'static str) {
    let rows = if format == "csv" { rows_of(format) } else { rows_of("json") };
    let payloads_now = written(format, &rows);
    let file = format!("written/{format}.bin");
    if is_recording() {
        let framed: Vec<u8> = payloads_now
            .iter()
            .flat_map(|payload| [&(payload.len() as u32).to_be_bytes()[..], payload].concat())
            .collect();
        std::fs::create_dir_all(folder().join("written")).unwrap();
        std::fs::write(folder().join(&file), framed).unwrap();
    }
    let recorded = payloads(&file);
    assert_eq!(payloads_now.len(), recorded.len(), "{file}");
    let tags = rows.column_by_name("tags").map(|tags| tags.as_map().clone());
    for (row, (now, then)) in payloads_now.iter().zip(&recorded).enumerate() {
        // The protobuf library's maps have no order.
        let is_ordered = format != "protobuf" || tags.as_ref().is_some_and(|tags| tags.value_length(row) < 2);
        assert!(
            !is_ordered || now == then,
            "{format} writes row {row} differently than the reference library was given it: see the top of this file"
        );
    }
    // And we read what we write.
    let given: Vec<&[u8]> = payloads_now.iter().map(Vec::as_slice).collect();
    let (read, _, errors) = decode(rows.schema(), options(format), &given);
    assert!(errors.is_empty(), "{format}: {errors:?}");
    assert_same(&file, &read, &rows_of(format));
}

#[test]
fn json_is_what_python_means() {
    assert_read("json", "json.bin");
    assert_written("json");
}

#[test]
fn decimals_beyond_their_column_are_bad_rows_in_every_text() {
    let texts = ["1e99999", "1.5e40000", "1e-99999", "9999999999999999999.99999", &"9".repeat(300)];
    for text in texts {
        let payloads = [format!(r#"{{"price":{text}}}"#), format!(r#"{{"price":"{text}"}}"#)];
        for payload in &payloads {
            let (rows, _, errors) = decode(schema(), options("json"), &[payload.as_bytes()]);
            assert!(errors.len() == 1 || text == "1e-99999", "{payload}: {rows:?}");
        }
    }
}

#[test]
fn csv_is_what_python_means() {
    assert_read("csv", "csv.bin");
    assert_written("csv");
}

#[test]
fn cbor_is_what_cbor2_means() {
    assert_read("cbor", "cbor.bin");
    assert_written("cbor");
}

#[test]
fn cbor_has_many_forms_of_the_same_rows() {
    for file in ["cbor_canonical.bin", "cbor_indefinite.bin", "cbor_array.bin", "cbor_sequence.bin"] {
        assert_read("cbor", file);
    }
}

#[test]
fn msgpack_is_what_msgpack_python_means() {
    assert_read("msgpack", "msgpack.bin");
    assert_read("msgpack", "msgpack_array.bin");
    assert_written("msgpack");
}

#[test]
fn avro_is_what_fastavro_means() {
    assert_read("avro", "avro.bin");
    assert_written("avro");
}

#[test]
fn avro_of_another_writers_schema_is_read_into_the_tables_columns() {
    let given = payloads("avro_other.bin");
    let given: Vec<&[u8]> = given.iter().map(Vec::as_slice).collect();
    let pairs = [("format", "avro"), ("avro.schema", AVRO_OTHER)];
    let (read, _, errors) = decode(schema(), pairs, &given);
    assert!(errors.is_empty(), "{errors:?}");
    assert_same("avro_other.bin", &read, &expected("avro_other.json", schema()));
}

#[test]
fn protobuf_is_what_googles_library_means() {
    assert_read("protobuf", "protobuf.bin");
    // Without the MAP, messages are not made in memory to be read.
    let rows = rows_of("protobuf").project(&(0..17).collect::<Vec<_>>()).unwrap();
    let good = payloads("protobuf.bin");
    let given: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    let (read, _, errors) = decode(rows.schema(), options("protobuf"), &given);
    assert!(errors.is_empty(), "{errors:?}");
    assert_same("protobuf.bin without its map", &read, &rows);
    assert_written("protobuf");
}
