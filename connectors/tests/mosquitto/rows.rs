//! Rows in and out, outages, limits.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use millstream_engine::JobState;
use millstream_engine::metrics::Link;

use super::rig::{Device, Reader, Writer, wait_until};
use super::{Mosquitto, ROW, binary, numbered, wait_for_all, words, write};

#[test]
#[ignore = "needs Mosquitto"]
fn rows_come_and_go_in_both_versions() {
    let broker = Mosquitto::start("");
    for version in ["5", "3.1.1"] {
        let columns =
            &["device STRING", "n BIGINT", "topic FROM topic", "qos FROM qos", "kept FROM retained"];
        let mut reader = Reader::start(columns, &broker.options("in/{device}/t", &[("version", version)]));
        let mut device = Device::connect(broker.port, "device");
        device.publish("in/d1/t", &numbered(1));
        device.send_only("in/d2/t", &numbered(2));
        device.publish("in/d2/other", &numbered(3));
        assert_eq!(
            reader.rows(2),
            [
                r#"{"device":"d1","n":1,"topic":"in/d1/t","qos":1,"kept":false}"#,
                r#"{"device":"d2","n":2,"topic":"in/d2/t","qos":0,"kept":false}"#
            ]
        );
        device.subscribe("out/#");
        let mut writer =
            Writer::start(ROW, &broker.options("out/{device}", &[("version", version)])).unwrap();
        write(&writer, &["a", "b"], 7);
        writer.finish();
        let received = device.receive(2);
        assert_eq!((received[0].topic.as_str(), received[1].topic.as_str()), ("out/a", "out/b"));
        assert_eq!((received[0].payload.as_slice(), received[0].qos), (&br#"{"device":"a","n":7}"#[..], 1));
        reader.drain();
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn passwords_are_checked_and_a_mended_one_is_enough() {
    words::listen();
    let mut broker = Mosquitto::start("allow_anonymous true");
    let passwords = broker.path("passwords");
    std::fs::write(&passwords, "").unwrap();
    let set = |password: &str| {
        let made = Command::new(binary("mosquitto_passwd"))
            .args(["-b".as_ref(), passwords.as_os_str(), "ada".as_ref(), password.as_ref()])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
    };
    set("other");
    let config = std::fs::read_to_string(broker.path("mosquitto.conf")).unwrap();
    let config = config.replace("allow_anonymous true", &format!("password_file {}", passwords.display()));
    std::fs::write(broker.path("mosquitto.conf"), config).unwrap();
    broker.stop("-TERM");
    broker.start_again();
    for version in ["5", "3.1.1"] {
        set("other");
        reload(&broker);
        let login = [("username", "ada"), ("password", "right"), ("version", version)];
        let mut reader = Reader::start_with(
            &["n BIGINT"],
            &broker.options("t", &login),
            1 << 20,
            &format!("login{version}"),
        )
        .unwrap();
        words::wait_for(&broker.url(), &["not authorized", "'username'", "'password'"]);
        assert_eq!((reader.metrics().link(), reader.job.state()), (Link::Down, JobState::Running));
        set("right");
        reload(&broker);
        reader.wait_link(Link::Up);
        Device::try_connect(broker.port, "device", Some(("ada", "right")))
            .unwrap()
            .publish("t", &numbered(1));
        assert_eq!(reader.rows(1), [r#"{"n":1}"#]);
    }
}

fn reload(broker: &Mosquitto) {
    let process = broker.process.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
}

/// Everybody may read below `open/` and write anywhere but below `secret/`.
const RIGHTS: &str = r#"{"defaultACLAccess":{"publishClientSend":true,"publishClientReceive":true,"subscribe":false,
 "unsubscribe":true},"clients":[],"groups":[{"groupname":"all","roles":[{"rolename":"all"}]}],"anonymousGroup":"all",
 "roles":[{"rolename":"all","acls":[{"acltype":"subscribePattern","topic":"open/#","allow":true},
 {"acltype":"publishClientSend","topic":"secret/#","allow":false}]}]}"#;

#[test]
#[ignore = "needs Mosquitto"]
fn what_is_not_allowed_is_refused_with_a_reason() {
    words::listen();
    let plugin = std::fs::read_dir("/usr/lib").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let plugin = plugin.map(|folder| folder.join("mosquitto_dynamic_security.so")).find(|path| path.exists());
    let plugin = plugin.expect("the package holds the dynamic security plugin");
    let mut broker = Mosquitto::start("");
    std::fs::write(broker.path("rights.json"), RIGHTS).unwrap();
    let config = std::fs::read_to_string(broker.path("mosquitto.conf")).unwrap();
    let rights = broker.path("rights.json");
    let config =
        format!("{config}plugin {}\nplugin_opt_config_file {}\n", plugin.display(), rights.display());
    std::fs::write(broker.path("mosquitto.conf"), config).unwrap();
    broker.stop("-TERM");
    broker.start_again();
    for version in ["5", "3.1.1"] {
        let version = [("version", version)];
        let name = format!("refused{}", version[0].1);
        let refused =
            Reader::start_with(&["n BIGINT"], &broker.options("closed/#", &version), 1 << 20, &name).unwrap();
        Reader::start(&["n BIGINT"], &broker.options("open/#", &version));
        words::wait_for(&broker.url(), &["refuses the subscription to 'closed/#'", "'topic'"]);
        assert_eq!((refused.metrics().link(), refused.job.state()), (Link::Down, JobState::Running));
        assert_eq!(refused.metrics().reconnects.get(), 0);
    }
    // Only MQTT 5 says that a publish is not allowed.
    let mut writer = Writer::start(ROW, &broker.options("{device}/x", &[])).unwrap();
    write(&writer, &["open", "secret", "open"], 0);
    writer.finish();
    let letters = writer.dead_letters();
    assert!(letters.len() == 1 && letters[0].contains("'secret/x': not authorized"), "{letters:?}");
    assert_eq!(writer.metrics().rows_out.get(), 2);
}

#[test]
#[ignore = "needs Mosquitto"]
fn a_broker_that_stops_and_starts_loses_no_acknowledged_message() {
    for version in ["5", "3.1.1"] {
        let mut broker = Mosquitto::start("");
        let mut reader = Reader::start(ROW, &broker.options("t/{device}", &[("version", version)]));
        let (stop, port) = (Arc::new(AtomicBool::new(false)), broker.port);
        let stopped = Arc::clone(&stop);
        // Publishes one after the other, and connects again as long as it takes; counts what was acknowledged.
        let publisher = std::thread::spawn(move || {
            let (mut n, mut acknowledged, mut connections) = (0, BTreeSet::new(), 0);
            while !stopped.load(Ordering::Acquire) {
                let Ok(mut device) = Device::try_connect(port, "device", None) else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                connections += 1;
                while !stopped.load(Ordering::Acquire) {
                    n += 1;
                    if device.try_publish("t/d", &numbered(n), false).is_err() {
                        break;
                    }
                    acknowledged.insert(format!(r#"{{"device":"d","n":{n}}}"#));
                }
            }
            (acknowledged, connections)
        });
        let mut rows = BTreeSet::new();
        for signal in ["-TERM", "-TERM", "-TERM"] {
            wait_until("more rows", || {
                reader.take();
                let before = rows.len();
                rows.extend(reader.rows(0));
                rows.len() > before + 100
            });
            broker.stop(signal);
            reader.wait_link(Link::Down);
            broker.start_again();
            reader.wait_link(Link::Up);
        }
        stop.store(true, Ordering::Release);
        let (acknowledged, connections) = publisher.join().unwrap();
        wait_until("every acknowledged message", || {
            reader.take();
            rows.extend(reader.rows(0));
            acknowledged.is_subset(&rows)
        });
        assert!(connections >= 3 && acknowledged.len() > 300, "{} acknowledged", acknowledged.len());
        assert_eq!(reader.metrics().reconnects.get(), 3);
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn a_killed_broker_without_memory_is_subscribed_to_again() {
    let mut broker = Mosquitto::start("");
    let mut reader = Reader::start(ROW, &broker.options("t/{device}", &[]));
    let mut writer = Writer::start(ROW, &broker.options("t/{device}", &[])).unwrap();
    write(&writer, &["a"; 100], 0);
    assert_eq!(reader.rows(100).len(), 100);
    broker.stop("-KILL");
    let _ = std::fs::remove_file(broker.path("mosquitto.db"));
    reader.wait_link(Link::Down);
    write(&writer, &["b"; 100], 0);
    broker.start_again();
    // The rows may reach the broker before the new subscription does; what counts is that none stay behind here.
    writer.finish();
    reader.wait_link(Link::Up);
    Device::connect(broker.port, "device").publish("t/c", &numbered(5));
    wait_until("the last row", || {
        reader.take();
        reader.rows(0).iter().any(|row| row == r#"{"device":"c","n":5}"#)
    });
    assert_eq!((writer.metrics().rows_out.get(), writer.metrics().rows_dead_letter.get()), (200, 0));
}

#[test]
#[ignore = "needs Mosquitto"]
fn messages_wait_at_the_broker_while_we_are_away() {
    let broker = Mosquitto::start("");
    for version in ["5", "3.1.1"] {
        let (options, name) =
            (broker.options("t/{device}", &[("version", version)]), format!("away{version}"));
        let reader = Reader::start_with(ROW, &options, 1 << 20, &name).unwrap();
        reader.wait_link(Link::Up);
        reader.drain();
        let mut device = Device::connect(broker.port, "device");
        (0..200).for_each(|n| device.publish("t/d", &numbered(n)));
        let mut reader = Reader::start_with(ROW, &options, 1 << 20, &name).unwrap();
        assert_eq!(reader.rows(200).len(), 200);
        reader.drain();
        // All of it was acknowledged: a clean start has nothing, an ordinary one neither.
        let mut reader = Reader::start_with(ROW, &options, 1 << 20, &name).unwrap();
        reader.wait_link(Link::Up);
        device.publish("t/d", &numbered(999));
        assert_eq!(reader.rows(1), [r#"{"device":"d","n":999}"#]);
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn a_slow_query_loses_nothing() {
    for (version, qos) in [("5", "1"), ("3.1.1", "1")] {
        let broker = Mosquitto::start("max_inflight_messages 0");
        let more = [("version", version), ("qos", qos), ("inlet.max-bytes", "64 kb"), ("keep-alive", "1 s")];
        let mut reader =
            Reader::start_with(ROW, &broker.options("t/{device}", &more), 1_000, "slow").unwrap();
        reader.wait_link(Link::Up);
        let mut device = Device::connect(broker.port, "device");
        let payload = |n: usize| format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(200)).into_bytes();
        for n in 0..20_000 {
            device.begin_publish("t/d", &payload(n), false).unwrap();
        }
        device.wait_acknowledged(20_000).unwrap();
        // Longer than the keep-alive, in which the broker's answers are behind what we do not read.
        std::thread::sleep(Duration::from_secs(3));
        let taken = reader.metrics().rows_in.get();
        assert!(taken < 10_000, "{taken} messages were taken in with nobody to take them");
        let rows = wait_for_all(&mut reader, 20_000);
        assert_eq!((rows, reader.metrics().reconnects.get()), (20_000, 0));
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn overlapping_tables_each_get_their_messages_once() {
    let broker = Mosquitto::start("");
    let mut all = Reader::start(&["n BIGINT", "topic FROM topic"], &broker.options("a/#", &[]));
    let mut some = Reader::start(ROW, &broker.options("a/{device}/x", &[]));
    let mut shared = [0, 1].map(|_| Reader::start(&["n BIGINT"], &broker.options("$share/g/a/+/x", &[])));
    let mut device = Device::connect(broker.port, "device");
    for n in 0..100 {
        device.publish(&format!("a/d{n}/x"), &numbered(n));
        device.publish("a", &numbered(n));
    }
    assert_eq!(all.rows(200).len(), 200);
    assert_eq!(some.rows(100).len(), 100);
    wait_until("the shared messages", || shared.iter_mut().map(Reader::take).sum::<usize>() >= 100);
    assert_eq!(shared.iter_mut().map(Reader::take).sum::<usize>(), 100);
}

#[test]
#[ignore = "needs Mosquitto"]
fn retained_messages_say_so_and_come_once_a_session() {
    let broker = Mosquitto::start("");
    let mut device = Device::connect(broker.port, "device");
    device.retain("t/a", &numbered(1));
    device.retain("t/b", &numbered(2));
    for version in ["5", "3.1.1"] {
        let columns = &["device STRING", "n BIGINT", "kept FROM retained"];
        let (options, name) =
            (broker.options("t/{device}", &[("version", version)]), format!("kept{version}"));
        let mut reader = Reader::start_with(columns, &options, 1 << 20, &name).unwrap();
        let mut rows = reader.rows(2);
        rows.sort();
        assert_eq!(rows, [r#"{"device":"a","n":1,"kept":true}"#, r#"{"device":"b","n":2,"kept":true}"#]);
        device.retain("t/a", &numbered(3));
        device.retain("t/c", b"");
        device.retain("t/a", &numbered(1));
        let expected = [r#"{"device":"a","n":3,"kept":false}"#, r#"{"device":"a","n":1,"kept":false}"#];
        assert_eq!(reader.rows(2), expected);
        assert_eq!((reader.metrics().rows_skipped.get(), reader.metrics().rows_dead_letter.get()), (1, 0));
        reader.drain();
        if version == "5" {
            let mut reader = Reader::start_with(columns, &options, 1 << 20, &name).unwrap();
            reader.wait_link(Link::Up);
            device.publish("t/d", &numbered(4));
            assert_eq!(reader.rows(1), [r#"{"device":"d","n":4,"kept":false}"#]);
        }
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn a_message_of_10_mb_is_one_bad_row() {
    for version in ["5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let mut reader = Reader::start(ROW, &broker.options("t/{device}", &[("version", version)]));
        let mut device = Device::connect(broker.port, "device");
        device.publish("t/a", &numbered(1));
        device.publish("t/a", &vec![b'x'; 10 << 20]);
        device.publish("t/a", &numbered(2));
        assert_eq!(reader.rows(2).len(), 2);
        let letters = reader.dead_letters();
        assert!(letters.len() == 1 && letters[0].contains("10485760 bytes is over the limit"), "{letters:?}");
        assert_eq!(reader.metrics().reconnects.get(), 0);
    }
    // The other way round, the broker has the limit: MQTT 5 tells us, 3.1.1 does not.
    for (version, part) in
        [("5", "over the broker's limit of 2000"), ("3.1.1", "the broker closed 8 connections")]
    {
        let broker = Mosquitto::start("max_packet_size 2000");
        let mut writer = Writer::start(ROW, &broker.options("t", &[("version", version)])).unwrap();
        write(&writer, &["a", &"x".repeat(10 << 20), "b"], 0);
        writer.finish();
        let letters = writer.dead_letters();
        assert!(letters.len() == 1 && letters[0].contains(part), "{letters:?}");
        assert_eq!(writer.metrics().rows_out.get(), 2);
    }
    // Without a limit it goes through.
    let broker = Mosquitto::start("");
    let mut device = Device::connect(broker.port, "device");
    device.subscribe("t");
    let mut writer = Writer::start(ROW, &broker.options("t", &[])).unwrap();
    write(&writer, &[&"x".repeat(10 << 20)], 0);
    writer.finish();
    assert!(device.receive(1)[0].payload.len() > 10 << 20);
}

#[test]
#[ignore = "needs Mosquitto"]
fn two_that_use_one_client_id_fight_ever_less() {
    let broker = Mosquitto::start("");
    let options = broker.options("t", &[("client-id", "same"), ("reconnect.backoff.max", "60 s")]);
    let two = [0, 1].map(|_| Reader::start(&["n BIGINT"], &options));
    // This version of Mosquitto closes the former connection without a word, so there is no reason to go by.
    let fights = || two.iter().map(|reader| reader.metrics().reconnects.get()).sum::<u64>();
    wait_until("both have come back", || fights() >= 4);
    std::thread::sleep(Duration::from_secs(2));
    assert!(fights() <= 16, "{} connections in two seconds", fights());
    assert!(two.iter().any(|reader| reader.metrics().link() == Link::Up));
}

#[test]
#[ignore = "needs Mosquitto"]
fn properties_pass_a_real_broker() {
    let broker = Mosquitto::start("");
    let columns = &[
        "device STRING",
        "kind FROM content-type",
        "answer FROM response-topic",
        "id FROM correlation-data",
        "expiry FROM message-expiry",
    ];
    let mut reader = Reader::start(columns, &broker.options("t/{device}", &[]));
    let mut writer = Writer::start(columns, &broker.options("t/{device}", &[])).unwrap();
    let texts = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text, None])) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b"])),
        texts(Some("text/csv")),
        texts(Some("answers/a")),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&b"\x00\xff"[..]), None])),
        Arc::new(Int64Array::from(vec![Some(90_000), None])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&writer.schema), columns).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
    writer.finish();
    let rows = reader.rows(2);
    let head = r#"{"device":"a","kind":"text/csv","answer":"answers/a","id":"AP8=","expiry":"#;
    assert!(rows[0].starts_with(head), "{}", rows[0]);
    assert_eq!(rows[1], r#"{"device":"b","kind":null,"answer":null,"id":null,"expiry":null}"#);
}
