//! Writing with state on disk, while the broker is away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream_engine::metrics::Link;
use millstream_engine::{Connector, ErrorKind};

use super::rig::{Device, Reader, Writer, table, wait_until};
use super::{Line, TestBroker};
use crate::mqtt::Mqtt;

const ALERTS: &[&str] = &["device STRING", "n BIGINT"];

fn options(port: u16, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("url", format!("mqtt://127.0.0.1:{port}")),
        ("topic", "alerts/{device}".to_owned()),
        ("reconnect.backoff.max", "50 ms".to_owned()),
        ("reconnect.backoff.initial", "10 ms".to_owned()),
    ];
    options.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    options
}

fn rows(writer: &Writer, columns: Vec<ArrayRef>) {
    let batch = RecordBatch::try_new(Arc::clone(&writer.schema), columns).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
}

/// `count` rows of devices `a` and `b`, numbered from `first`.
fn alerts(writer: &Writer, first: i64, count: i64) {
    let devices = StringArray::from_iter_values((0..count).map(|n| if n % 2 == 0 { "a" } else { "b" }));
    let numbers = Int64Array::from_iter_values(first..first + count);
    rows(writer, vec![Arc::new(devices), Arc::new(numbers)]);
}

/// Waits for two checkpoints more: the second has begun behind all that was pushed.
fn wait_checkpoints(writer: &Writer) {
    let before = writer.job.last_checkpoint();
    wait_until("checkpoints", || writer.job.last_checkpoint() >= before + 2);
}

#[test]
fn a_barrier_passes_while_the_broker_is_away_and_all_comes_in_order_when_it_is_back() {
    let (broker, folder) = (TestBroker::start(), tempfile::tempdir().unwrap());
    for order in ["oldest-first", "live-first"] {
        let line = Line::to(broker.v5);
        let mut device = Device::connect(broker.v4, order);
        device.subscribe("alerts/#");
        let options = options(line.port, &[("max-in-flight", "20"), ("outbox.order", order)]);
        let folder = folder.path().join(order);
        let mut writer = Writer::start_in(ALERTS, &options, Some(&folder)).unwrap();
        wait_until("the link", || writer.metrics().link() == Link::Up);
        line.cut();
        wait_until("the link is down", || writer.metrics().link() == Link::Down);
        alerts(&writer, 0, 500);
        wait_until("all to wait", || writer.metrics().outbox_depth.load(Ordering::Relaxed) == 500);
        wait_checkpoints(&writer);
        assert_eq!(writer.metrics().rows_out.get(), 0);
        assert!(writer.metrics().outbox_bytes.load(Ordering::Relaxed) > 10_000);
        line.mend();
        writer.finish();
        let mut received: Vec<_> =
            device.receive(500).into_iter().map(|message| (message.topic, message.payload)).collect();
        let mut expected: Vec<_> = (0..500)
            .map(|n| {
                let name = if n % 2 == 0 { "a" } else { "b" };
                (format!("alerts/{name}"), format!(r#"{{"device":"{name}","n":{n}}}"#).into_bytes())
            })
            .collect();
        if order == "live-first" {
            // What is live depends on how fast the machine is.
            received.sort();
            expected.sort();
        }
        assert_eq!(received, expected, "{order}");
        assert_eq!(writer.metrics().outbox_depth.load(Ordering::Relaxed), 0);
        assert_eq!(writer.metrics().rows_dead_letter.get(), 0);
    }
}

#[test]
fn what_waits_too_long_is_with_the_dead_letters_before_the_broker_is_back() {
    let (broker, folder) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let line = Line::to(broker.v5);
    line.cut();
    let options = options(line.port, &[("outbox.ttl", "100 ms")]);
    let mut writer = Writer::start_in(ALERTS, &options, Some(folder.path())).unwrap();
    alerts(&writer, 0, 20);
    wait_until("the dead letters", || writer.metrics().rows_dead_letter.get() == 20);
    let letters = writer.dead_letters();
    assert!(letters.iter().all(|letter| letter.contains("longer than 'outbox.ttl'")), "{letters:?}");
    writer.finish();
    assert_eq!(writer.metrics().rows_out.get(), 0);
}

/// A message's own expiry counts from when it went into the outbox.
#[test]
fn a_message_that_has_expired_while_it_waited_is_not_sent_and_others_have_less_time() {
    let (broker, folder) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let line = Line::to(broker.v5);
    let columns = &["device STRING", "n BIGINT", "expiry FROM message-expiry"];
    let read = &["n BIGINT", "expiry FROM message-expiry"];
    let mut reader = Reader::start(
        read,
        &[("url", format!("mqtt://127.0.0.1:{}", broker.v5)), ("topic", "alerts/+".to_owned())],
    );
    line.cut();
    let mut writer = Writer::start_in(columns, &options(line.port, &[]), Some(folder.path())).unwrap();
    rows(
        &writer,
        vec![
            Arc::new(StringArray::from(vec!["a", "b", "c"])),
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(Int64Array::from(vec![Some(1), Some(1_000), None])),
        ],
    );
    wait_until("all to wait", || writer.metrics().outbox_depth.load(Ordering::Relaxed) == 3);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    line.mend();
    let rows: Vec<serde_json::Value> =
        reader.rows(2).iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    writer.finish();
    let left_s = rows[0]["expiry"].as_i64().unwrap();
    assert!(rows[0]["n"] == 2 && (900..1_000).contains(&left_s), "{rows:?}");
    assert!(rows[1]["n"] == 3 && rows[1]["expiry"].is_null(), "{rows:?}");
    let letters = writer.dead_letters();
    assert!(letters.len() == 1 && letters[0].contains("its 'message-expiry' of 1 s"), "{letters:?}");
}

#[test]
fn an_outbox_needs_qos_1() {
    let options = options(1, &[("qos", "0"), ("outbox.ttl", "1 h")]);
    let Err(error) = Mqtt.sink(&table(ALERTS, &options)) else { panic!("it passed") };
    assert!(error.to_string().contains("'outbox.ttl' needs 'qos' = '1'"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Config);
}
