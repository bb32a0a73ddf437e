//! Many readers, several brokers, several filters, wills, and more messages than a query can take.

use std::collections::BTreeSet;

use millstream_engine::metrics::Link;

use super::rig::{Device, Reader, Writer, wait_until};
use super::{Mosquitto, ROW, numbered, wait_for_all, words, write};

#[test]
#[ignore = "needs Mosquitto"]
fn a_shared_group_divides_the_messages() {
    let broker = Mosquitto::start("");
    for version in ["5", "3.1.1"] {
        // (A group of its own: the sessions of members that are away keep their share for an hour.)
        let options = broker.options("t/{device}", &[("shared-group", version), ("version", version)]);
        let mut readers = [0, 1].map(|_| Reader::start(ROW, &options));
        let mut device = Device::connect(broker.port, "device");
        (0..400).for_each(|n| device.publish("t/d", &numbered(n)));
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        wait_until("all messages", || {
            for (reader, seen) in readers.iter_mut().zip(&mut seen) {
                reader.take();
                seen.extend(reader.rows(0));
            }
            seen[0].len() + seen[1].len() >= 400
        });
        assert_eq!(seen[0].union(&seen[1]).count(), 400, "each message once");
        assert!(seen.iter().all(|seen| seen.len() > 50), "{} and {}", seen[0].len(), seen[1].len());
        readers.into_iter().for_each(|reader| drop(reader.drain()));
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn several_filters_are_one_table() {
    let broker = Mosquitto::start("");
    for version in ["5", "3.1.1"] {
        let topics = "line1/{device}/t; line2/t/{device}";
        let mut reader = Reader::start(ROW, &broker.options(topics, &[("version", version)]));
        let mut device = Device::connect(broker.port, "device");
        device.publish("line1/a/t", &numbered(1));
        device.publish("line2/t/b", &numbered(2));
        device.publish("line3/t/b", &numbered(3));
        device.publish("line2/t/c", &numbered(4));
        let row = |device: &str, n: usize| format!(r#"{{"device":"{device}","n":{n}}}"#);
        assert_eq!(reader.rows(3), [row("a", 1), row("b", 2), row("c", 4)]);
        reader.drain();
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn retained_messages_come_when_the_table_says_so() {
    let broker = Mosquitto::start("");
    let mut device = Device::connect(broker.port, "device");
    device.retain("t/a", &numbered(1));
    for (handling, expected) in [("send-always", [2, 2]), ("send-if-new", [2, 1]), ("never", [1, 1])] {
        for count in expected {
            let options = broker.options("t/{device}", &[("retain-handling", handling)]);
            let mut reader = Reader::start_with(ROW, &options, 1 << 20, handling).unwrap();
            reader.wait_link(Link::Up);
            device.publish("t/b", &numbered(2));
            assert_eq!(reader.rows(count).len(), count, "{handling}");
            assert_eq!(reader.drain().len(), 0, "{handling}");
        }
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn the_next_broker_takes_over_and_the_first_is_returned_to() {
    words::listen();
    let (mut first, mut second) = (Mosquitto::start(""), Mosquitto::start(""));
    let mut options = first.options("t/{device}", &[]);
    options[0].1 = format!("mqtt://127.0.0.1:{},mqtt://127.0.0.1:{}", first.port, second.port);
    let mut reader = Reader::start(ROW, &options);
    let mut writer = Writer::start(ROW, &options).unwrap();
    write(&writer, &["a"; 50], 0);
    assert_eq!(wait_for_all(&mut reader, 50), 50);
    let connected = |reader: &Reader, writer: &Writer, times: u64| {
        wait_until("both are connected again", || {
            let all = [reader.metrics(), writer.metrics()];
            all.iter().all(|all| all.link() == Link::Up && all.reconnects.get() >= times)
        });
    };
    first.stop("-KILL");
    connected(&reader, &writer, 1);
    write(&writer, &["b"; 50], 0);
    assert_eq!(wait_for_all(&mut reader, 50), 50);
    first.start_again();
    second.stop("-KILL");
    connected(&reader, &writer, 2);
    write(&writer, &["c"; 50], 0);
    assert_eq!(wait_for_all(&mut reader, 50), 50);
    words::wait_for(&format!("mqtt://127.0.0.1:{}", first.port), &["the next is", &second.port.to_string()]);
    writer.finish();
    assert_eq!(writer.metrics().rows_out.get(), 150);
}

#[test]
#[ignore = "needs Mosquitto"]
fn a_will_is_published_when_a_job_fails_and_not_when_it_ends() {
    let broker = Mosquitto::start("");
    for version in ["5", "3.1.1"] {
        let will = [
            ("will.topic", "status/line1"),
            ("will.payload", "offline"),
            ("will.retain", "true"),
            ("version", version),
            ("on-error", "fail"),
        ];
        let mut device = Device::connect(broker.port, "device");
        device.retain("status/line1", b"");
        device.subscribe("status/#");
        let start = || Writer::start(ROW, &broker.options("out/{device}", &will)).unwrap();
        let mut ends = start();
        write(&ends, &["a"], 0);
        ends.finish();
        let fails = start();
        wait_until("the link", || fails.metrics().link() == Link::Up);
        device.publish("status/mark", b"before");
        // No topic can be made of it.
        write(&fails, &[""], 0);
        wait_until("the job fails", || fails.job.error().is_some());
        drop(fails);
        let received = device.receive(2);
        let said: Vec<_> = received.iter().map(|one| (one.topic.as_str(), one.payload.as_slice())).collect();
        assert_eq!(said, [("status/mark", &b"before"[..]), ("status/line1", b"offline")]);
        let mut late = Device::connect(broker.port, "late");
        late.subscribe("status/line1");
        assert!(late.receive(1)[0].retained);
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn overload_stays_at_the_broker() {
    for version in ["5", "3.1.1"] {
        let broker = Mosquitto::start("max_inflight_messages 0");
        let more = [("version", version), ("inlet.max-bytes", "256 kb"), ("receive-maximum", "200")];
        let mut reader =
            Reader::start_with(ROW, &broker.options("t/{device}", &more), 10_000, "overload").unwrap();
        reader.wait_link(Link::Up);
        let mut device = Device::connect(broker.port, "device");
        let payload = |n: usize| format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(1_000)).into_bytes();
        let (mut rows, mut taken, mut queued_max) = (BTreeSet::new(), 0, 0);
        for n in 0..30_000 {
            device.begin_publish("t/d", &payload(n), false).unwrap();
            // The query keeps up with a tenth at most: it is looked after once a thousand messages.
            if n % 1_000 == 999 {
                device.wait_acknowledged(n + 1).unwrap();
                reader.take();
                let come = reader.rows(0);
                taken += come.len();
                rows.extend(come);
                let metrics = reader.metrics();
                queued_max = queued_max.max(metrics.queue_bytes.load(std::sync::atomic::Ordering::Relaxed));
                let waiting = metrics.rows_in.get() - taken as u64;
                assert!(waiting <= 2_000, "{waiting} rows are held here, 30 MB are on the way");
            }
        }
        assert!(queued_max <= 256 << 10, "{queued_max} bytes wait");
        wait_until("every message", || {
            reader.take();
            rows.extend(reader.rows(0));
            rows.len() == 30_000
        });
        assert_eq!((reader.metrics().reconnects.get(), reader.metrics().rows_dead_letter.get()), (0, 0));
        reader.drain();
    }
}
