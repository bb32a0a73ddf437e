//! Reading.

use std::collections::HashMap;
use std::time::Duration;

use millstream_engine::metrics::Link;
use millstream_engine::{Connector, ErrorKind, JobState};

use super::rig::{Device, Reader, free_port, table, wait_until};
use super::{Line, TestBroker};
use crate::mqtt::Mqtt;

fn options(port: u16, topic: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("url", format!("mqtt://127.0.0.1:{port}")),
        ("topic", topic.to_owned()),
        ("reconnect.backoff.max", "200 ms".to_owned()),
    ];
    options.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    options
}

const TELEMETRY: &[&str] = &[
    "site STRING",
    "device STRING",
    "t DOUBLE",
    "topic FROM topic",
    "qos FROM qos",
    "retained FROM retained",
    "dup FROM duplicate",
];

#[test]
fn rows_get_their_topics_segments_and_metadata_in_both_versions() {
    let broker = TestBroker::start();
    for (port, version) in [(broker.v5, "5"), (broker.v4, "3.1.1")] {
        let options = options(port, "plant/{site}/{device}/telemetry", &[("version", version)]);
        let mut reader = Reader::start(TELEMETRY, &options);
        let mut device = Device::connect(broker.v4, "publisher");
        device.publish("plant/b/d1/telemetry", br#"{"t":21.5,"site":"from the payload"}"#);
        device.publish("plant/b/d1/status", br#"{"t":0}"#);
        device.publish("plant/c/d2/telemetry", br#"[{"t":1},{"t":2}]"#);
        // (rumqttd hands everything on with the subscription's QoS; QoS 0 is seen with Mosquitto.)
        device.publish("plant/c/d3/telemetry", br#"{"t":3}"#);
        let row = |site: &str, device: &str, t: &str| {
            format!(
                r#"{{"site":"{site}","device":"{device}","t":{t},"topic":"plant/{site}/{device}/telemetry","qos":1,"retained":false,"dup":false}}"#
            )
        };
        let expected =
            [row("b", "d1", "21.5"), row("c", "d2", "1.0"), row("c", "d2", "2.0"), row("c", "d3", "3.0")];
        assert_eq!(reader.rows(4), expected);
        assert_eq!(reader.metrics().rows_in.get(), 3, "three messages");
        assert!(reader.metrics().bytes_in.get() > 50);
        assert_eq!(reader.drain(), Vec::<String>::new());
    }
}

#[test]
fn only_wanted_columns_are_made() {
    let broker = TestBroker::start();
    let table = table(&["site STRING", "line INT", "t DOUBLE"], &options(broker.v5, "p/{site}/{line}", &[]));
    for (wanted, expected) in [
        (vec![1], r#"{"line":7}"#),
        (vec![2], r#"{"t":1.5}"#),
        (vec![0, 2], r#"{"site":"s","t":1.5}"#),
        (vec![], "{}"),
    ] {
        let schema = std::sync::Arc::new(table.schema.project(&wanted).unwrap());
        let mut reader = Reader::start_table(&table, schema, 1 << 20, &format!("only{wanted:?}")).unwrap();
        reader.wait_link(Link::Up);
        Device::connect(broker.v4, "publisher").publish("p/s/7", br#"{"t":1.5,"line":"x"}"#);
        assert_eq!(reader.rows(1), [expected]);
    }
}

#[test]
fn bad_messages_are_counted_and_the_rest_goes_on() {
    let broker = TestBroker::start();
    let more = [("payload.max-bytes", "1 kb")];
    let mut reader = Reader::start(&["line INT", "t DOUBLE"], &options(broker.v5, "p/{line}", &more));
    let mut device = Device::connect(broker.v4, "publisher");
    device.send_only("p/1", b"not json");
    device.publish("p/x", br#"{"t":1}"#);
    device.publish("p/1", &[b' '; 2_000]);
    device.publish("p/1", &vec![b'x'; 10 << 20]);
    device.retain("p/1", b"");
    device.publish("p/1", b"{\"t\":\"\xff\"}");
    device.publish("p/2", br#"{"t":2}"#);
    assert_eq!(reader.rows(1), [r#"{"line":2,"t":2.0}"#]);
    let letters = reader.dead_letters().join("\n");
    for part in
        ["not valid JSON", "'x' in topic 'p/x'", "2000 bytes is over", "10485760 bytes is over", "UTF-8"]
    {
        assert!(letters.contains(part), "{part} is not in:\n{letters}");
    }
    let metrics = reader.metrics();
    assert_eq!(
        (metrics.rows_dead_letter.get(), metrics.rows_skipped.get(), metrics.rows_in.get()),
        (5, 1, 7)
    );
    assert_eq!(metrics.reconnects.get(), 0, "a large message must not cost the connection");
}

#[test]
fn a_bad_message_ends_the_job_if_the_table_says_so() {
    let broker = TestBroker::start();
    let reader = Reader::start(&["t DOUBLE"], &options(broker.v5, "p", &[("on-error", "fail")]));
    Device::connect(broker.v4, "publisher").publish("p", b"{");
    wait_until("the job fails", || reader.job.state() == JobState::Failed);
    assert_eq!(reader.job.error().unwrap().kind(), ErrorKind::Data);
}

#[test]
fn a_cut_line_is_mended_and_loses_nothing() {
    let broker = TestBroker::start();
    let line = Line::to(broker.v5);
    let mut reader = Reader::start(&["n BIGINT"], &options(line.port, "p/+", &[]));
    let mut device = Device::connect(broker.v4, "publisher");
    let mut sent = 0;
    for _ in 0..3 {
        for _ in 0..200 {
            device.publish("p/a", format!("{{\"n\":{sent}}}").as_bytes());
            sent += 1;
        }
        line.cut();
        reader.wait_link(Link::Down);
        for _ in 0..200 {
            device.publish("p/a", format!("{{\"n\":{sent}}}").as_bytes());
            sent += 1;
        }
        line.mend();
        reader.wait_link(Link::Up);
    }
    let mut seen = std::collections::BTreeSet::new();
    wait_until("every message", || {
        reader.take();
        seen.extend(reader.rows(0));
        seen.len() == sent
    });
    assert_eq!(reader.metrics().reconnects.get(), 3);
}

#[test]
fn a_slow_query_holds_messages_back_and_a_drain_ends_it() {
    let broker = TestBroker::start();
    for (version, port) in [("5", broker.v5), ("3.1.1", broker.v4)] {
        let more = [("inlet.max-bytes", "8 kb"), ("receive-maximum", "50"), ("version", version)];
        let mut reader =
            Reader::start_with(&["n BIGINT"], &options(port, "p", &more), 1_000, &format!("slow{version}"))
                .unwrap();
        reader.wait_link(Link::Up);
        let mut device = Device::connect(broker.v4, "publisher");
        for n in 0..3_000 {
            device.publish("p", format!("{{\"n\":{n}}}").as_bytes());
        }
        // Nobody takes rows yet: only what fits into the queues was taken in.
        let taken = reader.metrics().rows_in.get();
        assert!(taken < 2_000, "{taken} rows were taken in without anybody to take them");
        let mut seen = std::collections::BTreeSet::new();
        wait_until("every message", || {
            reader.take();
            seen.extend(reader.rows(0));
            seen.len() == 3_000
        });
        reader.drain();
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_after_a_restart() {
    let broker = TestBroker::start();
    let options = options(broker.v4, "p", &[("version", "3.1.1")]);
    let reader = Reader::start_with(&["n BIGINT"], &options, 1 << 20, "restart").unwrap();
    reader.wait_link(Link::Up);
    reader.drain();
    let mut device = Device::connect(broker.v4, "publisher");
    for n in 0..50 {
        device.publish("p", format!("{{\"n\":{n}}}").as_bytes());
    }
    let mut reader = Reader::start_with(&["n BIGINT"], &options, 1 << 20, "restart").unwrap();
    assert_eq!(reader.rows(50).len(), 50);
    reader.drain();
    // Those were acknowledged before the drain was over.
    let mut reader = Reader::start_with(&["n BIGINT"], &options, 1 << 20, "restart").unwrap();
    reader.wait_link(Link::Up);
    device.publish("p", br#"{"n":99}"#);
    assert_eq!(reader.rows(1), [r#"{"n":99}"#]);
}

#[test]
fn wrong_credentials_show_the_link_down_and_do_not_end_the_job() {
    let broker = TestBroker::start_with(HashMap::from([("ada".to_owned(), "right".to_owned())]));
    let wrong = [("username", "ada"), ("password", "wrong")];
    let reader =
        Reader::start_with(&["n BIGINT"], &options(broker.v5, "p", &wrong), 1 << 20, "wrong").unwrap();
    let right = [("username", "ada"), ("password", "right")];
    Reader::start(&["n BIGINT"], &options(broker.v5, "p", &right));
    assert_eq!((reader.metrics().link(), reader.job.state()), (Link::Down, JobState::Running));
    // It has nothing to hand over, so it ends at once.
    assert_eq!(reader.drain(), Vec::<String>::new());
}

#[test]
fn a_broker_may_come_later() {
    let port = free_port();
    let reader = Reader::start_with(&["n BIGINT"], &options(port, "p", &[]), 1 << 20, "early").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((reader.metrics().link(), reader.job.state()), (Link::Down, JobState::Running));
    assert_eq!(reader.drain(), Vec::<String>::new());
}

#[test]
fn tables_that_cannot_work_are_refused() {
    for (columns, more, part) in [
        (&["t DOUBLE"][..], &[("topic", "p/{site}")][..], "names no column"),
        (&["site DOUBLE"], &[("topic", "p/{site}")], "STRING or an integer"),
        (&["site FROM topic"], &[("topic", "p/{site}")], "metadata column"),
        (&["t DOUBLE"], &[("topic", "p/#/x")], "last level"),
        (&["t DOUBLE"], &[("qos", "3")], "'0', '1' or '2'"),
        (&["t DOUBLE"], &[("qos", "x")], "'0', '1' or '2'"),
        (&["t DOUBLE"], &[("version", "3.1")], "one of '5'"),
        (&["t DOUBLE"], &[("password", "hunter2")], "needs 'username'"),
        (&["t DOUBLE"], &[("keep-alive", "100 ms")], "whole seconds"),
        (&["t DOUBLE"], &[("receive-maximum", "0")], "from 1 to 65535"),
        (&["t DOUBLE"], &[("client-id", "")], "not empty"),
        (&["t DOUBLE"], &[("url", "http://host")], "no MQTT"),
        (&["t DOUBLE"], &[("tls.ca", "x.pem")], "is not encrypted"),
        (&["t DOUBLE"], &[("url", "mqtts://host"), ("tls.ca", "/no/such.pem")], "cannot be read"),
        (&["x STRING"], &[("topic", "a/{x};b/{y}")], "other columns"),
        (&["t DOUBLE"], &[("topic", "a/+;+/b")], "overlap"),
        (&["t DOUBLE"], &[("topic", "$share/g/a"), ("shared-group", "g")], "'shared-group'"),
        (&["t DOUBLE"], &[("retain-handling", "never"), ("version", "3.1.1")], "needs MQTT 5"),
        (&["t DOUBLE"], &[("maximum-packet-size", "1 kb"), ("version", "3.1.1")], "needs MQTT 5"),
        (&["t DOUBLE"], &[("maximum-packet-size", "1 b")], "at least 128"),
        (&["t DOUBLE"], &[("will.payload", "gone")], "needs 'will.topic'"),
        (&["t DOUBLE"], &[("will.topic", "a/+")], "without '+'"),
        (&["t DOUBLE"], &[("will.topic", "a"), ("will.qos", "2")], "'0' or '1'"),
    ] {
        let mut all = options(1, "p", &[]);
        all.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
        all.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let table = table(columns, &all);
        let Err(error) = Mqtt.source(&table) else { panic!("{more:?} passed") };
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("table t") && !text.contains("hunter2"), "{text}");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
