//! Writing.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream_engine::metrics::Link;
use millstream_engine::{Connector, ErrorKind};

use super::rig::{Device, Writer, table, wait_until};
use super::{Line, TestBroker};
use crate::mqtt::Mqtt;

const ALERTS: &[&str] = &["device STRING", "n BIGINT"];

fn options(port: u16, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("url", format!("mqtt://127.0.0.1:{port}")),
        ("topic", "alerts/{device}/x".to_owned()),
        ("reconnect.backoff.max", "50 ms".to_owned()),
        ("reconnect.backoff.initial", "10 ms".to_owned()),
    ];
    options.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    options
}

fn rows(writer: &Writer, devices: &[Option<&str>], first: i64) {
    let devices: ArrayRef = Arc::new(StringArray::from(devices.to_vec()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((first..).take(devices.len())));
    let batch = RecordBatch::try_new(Arc::clone(&writer.schema), vec![devices, numbers]).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
}

#[test]
fn rows_arrive_in_order_under_their_topics_in_both_versions() {
    let broker = TestBroker::start();
    for (port, version, qos) in
        [(broker.v5, "5", "1"), (broker.v4, "3.1.1", "1"), (broker.v5, "5", "0"), (broker.v4, "3.1.1", "0")]
    {
        let mut device = Device::connect(broker.v4, "subscriber");
        device.subscribe("alerts/+/x");
        let mut writer =
            Writer::start(ALERTS, &options(port, &[("version", version), ("qos", qos)])).unwrap();
        for first in (0..900).step_by(3) {
            rows(&writer, &[Some("a"), Some("b/c"), Some("ä")], first);
        }
        writer.finish();
        // 'b/c' makes another level, which the subscription does not cover.
        let received = device.receive(600);
        let expected: Vec<_> = (0..900)
            .filter(|n| n % 3 != 1)
            .map(|n| {
                let name = if n % 3 == 0 { "a" } else { "ä" };
                (format!("alerts/{name}/x"), format!(r#"{{"device":"{name}","n":{n}}}"#).into_bytes())
            })
            .collect();
        let received: Vec<_> = received.into_iter().map(|message| (message.topic, message.payload)).collect();
        assert_eq!(received, expected, "version {version} QoS {qos}");
        assert_eq!(writer.metrics().rows_out.get(), 900);
        assert_eq!(writer.metrics().rows_in.get(), 900);
    }
}

#[test]
fn a_row_without_a_topic_goes_to_the_dead_letters() {
    let broker = TestBroker::start();
    let mut device = Device::connect(broker.v4, "subscriber");
    device.subscribe("alerts/#");
    let mut writer = Writer::start(ALERTS, &options(broker.v5, &[])).unwrap();
    rows(&writer, &[None, Some(""), Some("a+"), Some("#"), Some("a\0"), Some("good")], 0);
    writer.finish();
    assert_eq!(device.receive(1)[0].payload, br#"{"device":"good","n":5}"#);
    let letters = writer.dead_letters().join("\n");
    assert!(
        letters.contains("is NULL") && letters.contains("is empty") && letters.contains("'+', '#'"),
        "{letters}"
    );
    assert_eq!(writer.metrics().rows_dead_letter.get(), 5);
}

#[test]
fn a_retained_row_is_kept_by_the_broker() {
    let broker = TestBroker::start();
    let mut writer =
        Writer::start(ALERTS, &options(broker.v4, &[("retain", "true"), ("version", "3.1.1")])).unwrap();
    rows(&writer, &[Some("a"), Some("a")], 1);
    writer.finish();
    let mut device = Device::connect(broker.v4, "later");
    device.subscribe("alerts/a/x");
    assert_eq!(device.receive(1)[0].payload, br#"{"device":"a","n":2}"#);
}

#[test]
fn a_cut_line_loses_nothing() {
    let broker = TestBroker::start();
    let line = Line::to(broker.v5);
    let mut device = Device::connect(broker.v4, "subscriber");
    device.subscribe("alerts/#");
    let mut writer = Writer::start(ALERTS, &options(line.port, &[("max-in-flight", "20")])).unwrap();
    for round in 0..4 {
        wait_until("the link", || writer.metrics().link() == Link::Up);
        rows(&writer, &vec![Some("a"); 500], round * 500);
        line.cut();
        wait_until("the link is down", || writer.metrics().link() == Link::Down);
        line.mend();
    }
    writer.finish();
    let mut numbers = Vec::new();
    while numbers.last() != Some(&1_999) {
        numbers.extend(device.receive(1).into_iter().map(|message| {
            serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()["n"].as_i64().unwrap()
        }));
    }
    // Some come twice, but the first time each comes is in order, and none is missing.
    let mut seen = -1;
    for n in numbers {
        assert!(n <= seen + 1, "{n} came after {seen}");
        seen = seen.max(n);
    }
    assert!(writer.metrics().reconnects.get() >= 4);
    assert_eq!(writer.metrics().rows_dead_letter.get(), 0);
}

#[test]
fn a_failing_row_ends_the_job_if_the_table_says_so() {
    let broker = TestBroker::start();
    let writer = Writer::start(ALERTS, &options(broker.v5, &[("on-error", "fail")])).unwrap();
    rows(&writer, &[None], 0);
    wait_until("the job fails", || writer.job.error().is_some());
    assert_eq!(writer.job.error().unwrap().kind(), ErrorKind::Data);
}

#[test]
fn tables_that_cannot_work_are_refused() {
    for (columns, more, part) in [
        (ALERTS, ("topic", "a/{nope}"), "names no column"),
        (&["device DOUBLE"][..], ("topic", "a/{device}"), "no one form as text"),
        (ALERTS, ("topic", "a/+"), "without + and #"),
        (ALERTS, ("max-in-flight", "0"), "from 1 to 65535"),
        (ALERTS, ("qos", "2"), "QoS 2"),
    ] {
        let Err(error) = Mqtt.sink(&table(columns, &options(1, &[more]))) else { panic!("{more:?} passed") };
        assert!(error.to_string().contains(part) && error.kind() == ErrorKind::Config, "{error}");
    }
}
