//! What MQTT 5 says of a message, written by one table and read by another.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use millstream_engine::Connector;

use super::TestBroker;
use super::rig::{Device, Reader, Writer, table};
use crate::mqtt::Mqtt;

const COLUMNS: &[&str] = &[
    "device STRING",
    "kind FROM content-type",
    "answer FROM response-topic",
    "id FROM correlation-data",
    "expiry FROM message-expiry",
    "more FROM user-properties",
    "kept FROM retained",
];

fn options(port: u16, version: &str) -> Vec<(&'static str, String)> {
    vec![
        ("url", format!("mqtt://127.0.0.1:{port}")),
        ("topic", "t/{device}".to_owned()),
        ("version", version.to_owned()),
    ]
}

type Pairs<'a> = &'a [(&'a str, Option<&'a str>)];

fn maps(rows: &[Option<Pairs<'_>>]) -> ArrayRef {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.unwrap_or_default() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(row.is_some()).unwrap();
    }
    Arc::new(maps.finish())
}

#[test]
fn properties_are_written_and_read() {
    let broker = TestBroker::start();
    let mut reader = Reader::start(COLUMNS, &options(broker.v5, "5"));
    let mut writer = Writer::start(COLUMNS, &options(broker.v5, "5")).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e"])),
        Arc::new(StringArray::from(vec![Some("text/csv"), None, None, None, Some("a\0b")])),
        Arc::new(StringArray::from(vec![Some("answers/a"), None, Some("a/+"), None, None])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&b"\x00\xff"[..]), None, None, None, None])),
        Arc::new(Int64Array::from(vec![Some(3_000), None, None, Some(-1), None])),
        maps(&[Some(&[("unit", Some("C")), ("none", None), ("line", Some("7"))]), None, None, None, None]),
        Arc::new(BooleanArray::from(vec![Some(false), None, None, None, None])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&writer.schema), columns).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
    writer.finish();
    let letters = writer.dead_letters().join("\n");
    assert!(letters.contains("'response-topic' is empty or holds") && letters.contains("NUL"), "{letters}");
    assert!(letters.contains("'message-expiry'"), "{letters}");
    assert_eq!((writer.metrics().rows_out.get(), writer.metrics().rows_dead_letter.get()), (2, 3));
    let rows = reader.rows(2);
    let first: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
    assert_eq!((first["kind"].as_str(), first["answer"].as_str()), (Some("text/csv"), Some("answers/a")));
    assert_eq!((first["id"].as_str(), first["kept"].as_bool()), (Some("AP8="), Some(false)));
    // A broker that holds a message counts down.
    assert!((2_900..=3_000).contains(&first["expiry"].as_i64().unwrap()), "{first}");
    assert_eq!(first["more"], serde_json::json!({"unit": "C", "line": "7"}));
    assert_eq!(
        rows[1],
        r#"{"device":"b","kind":null,"answer":null,"id":null,"expiry":null,"more":null,"kept":false}"#
    );
}

#[test]
fn a_row_says_whether_it_is_kept_in_both_versions() {
    let broker = TestBroker::start();
    for (port, version) in [(broker.v4, "3.1.1"), (broker.v5, "5")] {
        let mut writer = Writer::start(
            &["device STRING", "version STRING", "kept FROM retained"],
            &options(port, version),
        )
        .unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "b", "c"])),
            Arc::new(StringArray::from(vec![version; 3])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&writer.schema), columns).unwrap();
        writer.pusher.as_ref().unwrap().push(batch).unwrap();
        writer.finish();
        let mut device = Device::connect(broker.v4, "later");
        device.subscribe("t/+");
        device.publish("t/z", b"the end");
        let received = device.receive(2);
        let payload = format!(r#"{{"device":"a","version":"{version}"}}"#);
        assert_eq!((received[0].topic.as_str(), received[0].payload.as_slice()), ("t/a", payload.as_bytes()));
        assert_eq!(received[1].topic, "t/z", "only what says so is kept");
    }
}

#[test]
fn what_a_version_cannot_carry_is_refused() {
    for (column, part) in [
        ("kind FROM content-type", "MQTT 3.1.1 cannot carry the metadata 'content-type'"),
        ("qos FROM qos", "'qos' cannot be written"),
    ] {
        let Err(error) = Mqtt.sink(&table(&["device STRING", column], &options(1, "3.1.1"))) else {
            panic!("{column} passed")
        };
        assert!(error.to_string().contains(part) && error.to_string().contains("VIRTUAL"), "{error}");
    }
}
