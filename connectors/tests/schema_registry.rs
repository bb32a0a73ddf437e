//! The `avro-confluent` format against a real schema registry: the address of its interface is in
//! MILLSTREAM_SCHEMA_REGISTRY. `scripts/test` starts Apicurio's.
#![cfg(feature = "avro")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Schema, SchemaRef};
use millstream_connectors::format::{PayloadDecoder, PayloadOptions};
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::options::Options;
use millstream_engine::{Batch, Codec, ErrorKind, SystemClock};

fn columns(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// A table's codec of its own, as another process would have it.
fn codec(subject: &str, schema: &SchemaRef) -> (Arc<dyn Codec>, PayloadOptions) {
    let url = std::env::var("MILLSTREAM_SCHEMA_REGISTRY").expect("the address of a registry");
    let pairs = [
        ("format", "avro-confluent"),
        ("avro-confluent.url", url.as_str()),
        ("avro-confluent.subject", subject),
    ];
    let options = Options::from_pairs("table t", pairs);
    let registry = millstream_connectors::registry();
    let codec = registry.formats().codec(&options, "format", None, schema).unwrap();
    (codec, PayloadOptions::from_options(&options).unwrap())
}

async fn written(subject: &str, rows: &RecordBatch) -> Vec<Vec<u8>> {
    let (codec, _) = codec(subject, &rows.schema());
    codec.prepare_encoder(&rows.schema()).unwrap().await.unwrap();
    let mut encoder = codec.encoder(rows.schema()).unwrap();
    encoder.encode(&Batch::new(rows.clone())).unwrap();
    encoder.encoded().rows().map(<[u8]>::to_vec).collect()
}

/// A subject that no other run has used.
fn subject(name: &str) -> String {
    format!("plant/{name} {}-value", std::process::id())
}

#[tokio::test]
#[ignore = "needs a schema registry"]
async fn schemas_are_registered_fetched_and_may_change() {
    let subject = subject("readings");
    let older = columns(vec![
        ("device", Arc::new(StringArray::from(vec![Some("ä"), None]))),
        ("n", Arc::new(Int32Array::from(vec![Some(-3), Some(4)]))),
    ]);
    let newer = columns(vec![
        ("n", Arc::new(Int32Array::from(vec![5]))),
        ("t", Arc::new(Float64Array::from(vec![21.5]))),
        ("device", Arc::new(StringArray::from(vec!["b"]))),
    ]);
    let mut payloads = written(&subject, &older).await;
    let again = written(&subject, &older).await;
    assert_eq!(payloads, again, "a schema that is there keeps its number");
    payloads.extend(written(&subject, &newer).await);
    let number = |payload: &Vec<u8>| payload[..5].to_vec();
    assert!(number(&payloads[0]) == number(&payloads[1]) && number(&payloads[0]) != number(&payloads[2]));

    let wanted: SchemaRef = Arc::new(Schema::new(
        ["t", "device", "n"].map(|name| newer.schema().field_with_name(name).unwrap().clone()).to_vec(),
    ));
    let (codec, options) = codec(&subject, &wanted);
    let metrics = OperatorMetrics::new("t", "source", 0);
    let errors = RowErrors::new(OnError::Fail, Arc::default(), metrics, Arc::new(SystemClock::default()));
    let mut decoder = PayloadDecoder::new(Arc::clone(&wanted), codec.as_ref(), &options).unwrap();
    for payload in &payloads {
        if let Some(prepare) = codec.prepare(payload) {
            prepare.await.unwrap();
        }
        decoder.push(payload, &errors).unwrap();
    }
    let rows = decoder.flush(&errors).unwrap().rows;
    let missing = new_null_array(&DataType::Float64, 2);
    for (row, from, at) in [(0, &older, 0), (1, &older, 1), (2, &newer, 0)] {
        for name in ["device", "n", "t"] {
            let have = rows.column_by_name(name).unwrap().slice(row, 1);
            let want = from.column_by_name(name).unwrap_or(&missing).slice(at, 1);
            assert_eq!(have.as_ref(), want.as_ref(), "row {row}, {name}");
        }
    }
}

#[tokio::test]
#[ignore = "needs a schema registry"]
async fn unknown_numbers_and_refused_schemas_are_told_apart() {
    let rows = columns(vec![("n", Arc::new(Int32Array::from(vec![1])))]);
    let schema = rows.schema();
    let (codec, _) = codec(&subject("unknown"), &schema);
    let error = codec.prepare(b"\0\x7f\xff\xff\xff\x02").unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(codec.prepare(b"\0\x7f\xff\xff\xff\x02").is_none(), "it is not asked for again");

    // A writer whose own schema is none is refused by the registry, or not even sent.
    let url = std::env::var("MILLSTREAM_SCHEMA_REGISTRY").unwrap();
    let pairs = [
        ("format", "avro-confluent"),
        ("avro-confluent.url", url.as_str()),
        ("avro-confluent.subject", "refused"),
        ("avro-confluent.schema", r#"{"type":"record"}"#),
    ];
    let registry = millstream_connectors::registry();
    let refused =
        registry.formats().codec(&Options::from_pairs("table t", pairs), "format", None, &schema).unwrap();
    let error = refused.prepare_encoder(&schema).unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
