//! Messages through a broker: what one costs to read, and how long one takes to come out again.
//!
//! `./scripts/bench-mqtt` starts a Mosquitto and runs this; `MILLSTREAM_MQTT_BROKER` is its HOST:PORT.
//!
//! - `read`: `--messages` (1,000,000) of about 110 bytes at QoS 0, `--read-rate` (100,000) a second, through a filter of
//!   `millstream sql`; processor seconds of that process, client and decoding included. Every 100th passes, and each
//!   must come.
//! - `journal`: the same messages at QoS 1, which wait for a session at the broker, read by a subscriber on a raw socket that
//!   acknowledges and forgets, and by a pipeline with durable state, which has them on disk before it acknowledges;
//!   `--rounds` (3) of each in turn, medians.
//! - `latency-RATE`: publisher, broker, filter, MQTT sink, broker, subscriber; `--seconds` (10) at each rate.

#[path = "support/device.rs"]
mod device;
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use device::{Device, publish};
use hdrhistogram::Histogram;
use millstream::Pipeline;
use support::{cpu_seconds, flag, median, seconds, wanted};

fn main() {
    let Ok(broker) = std::env::var("MILLSTREAM_MQTT_BROKER") else {
        println!("mqtt        left out: ./scripts/bench-mqtt starts a broker and runs it");
        return;
    };
    if wanted("read") {
        read(&broker);
    }
    if wanted("journal") {
        journal(&broker);
    }
    for rate in [1_000, 10_000] {
        if wanted(&format!("latency-{rate}")) {
            latency(&broker, rate);
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

fn start(sql: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["sql", "--format", "json", sql])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

fn source(broker: &str, topic: &str, qos: u8) -> String {
    format!(
        "CREATE TABLE telemetry (device STRING, temperature DOUBLE, humidity DOUBLE, n BIGINT, t BIGINT) WITH (
           'connector' = 'mqtt', 'url' = 'mqtt://{broker}', 'topic' = '{topic}', 'qos' = '{qos}');"
    )
}

/// Message `n`; the temperature of one in a hundred is over 98.
fn message(topic: &str, n: usize, t: u128) -> Vec<u8> {
    publish(topic, payload(n, t).as_bytes())
}

fn payload(n: usize, t: u128) -> String {
    let temperature = if n % 100 == 99 { 99.5 } else { (n % 100) as f64 * 0.9 };
    format!(
        r#"{{"device":"dev-{:04}","temperature":{temperature:.1},"humidity":{:.1},"n":{n},"t":{t}}}"#,
        n % 500,
        (n % 613) as f64 / 7.0
    )
}

/// Sends `count` messages at `rate` a second, 500 times a second.
fn send(device: &mut Device, topic: &str, count: usize, rate: usize, begin: Instant) {
    let burst = (rate / 500).max(1);
    let (start, mut bytes) = (now(), Vec::new());
    for n in 0..count {
        if n % burst == 0 {
            device.send(&bytes);
            bytes.clear();
            let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
            thread::sleep(due.saturating_duration_since(now()));
        }
        bytes.extend_from_slice(&message(topic, n, begin.elapsed().as_nanos()));
    }
    device.send(&bytes);
    device.settle();
}

/// Publishes a message of its own until it comes out of `child`.
fn warm_up(device: &mut Device, topic: &str, is_through: impl Fn() -> bool) {
    while !is_through() {
        device.send(&message(topic, 99, 0));
        thread::sleep(Duration::from_millis(50));
    }
}

fn read(broker: &str) {
    let (count, rate) = (flag("messages", 1_000_000_usize), flag("read-rate", 100_000));
    let mut child = start(&format!(
        "{} SELECT n, t FROM telemetry WHERE temperature > 98",
        source(broker, "bench/read", 0)
    ));
    let (sender, lines) = std::sync::mpsc::channel();
    let output = BufReader::new(child.stdout.take().expect("output is piped"));
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut device = Device::connect(broker, "bench-read");
    warm_up(&mut device, "bench/read", || lines.try_recv().is_ok());
    thread::sleep(Duration::from_millis(300));
    while lines.try_recv().is_ok() {}
    let pid = child.id().to_string();
    let (before, begin) = (cpu_seconds(&pid), now());
    send(&mut device, "bench/read", count, rate, begin);
    let mut come = 0;
    while come < count / 100 && lines.recv_timeout(Duration::from_secs(5)).is_ok() {
        come += 1;
    }
    let took = begin.elapsed().as_secs_f64();
    let cpu = (cpu_seconds(&pid) - before) * 1e6 / count as f64;
    child.kill().expect("it runs still");
    child.wait().expect("it ends");
    println!(
        "read        {:>7.0} messages/s, {cpu:.2} processor seconds a million, {come} of {} rows came",
        count as f64 / took,
        count / 100
    );
    assert_eq!(come, count / 100, "messages are missing: see what the broker says that it dropped");
}

/// Messages a second that wait at the broker for a session that `begin` makes and `go_on` reads.
fn drained(broker: &str, topic: &str, count: usize, begin: impl FnOnce(), go_on: impl FnOnce()) -> f64 {
    begin();
    let mut device = Device::connect(broker, "bench-publisher");
    let mut left = 0..count;
    while !left.is_empty() {
        let some: Vec<Vec<u8>> = left.by_ref().take(2_000).map(|n| payload(n, 1).into_bytes()).collect();
        device.send_acknowledged(topic, &some);
    }
    count as f64 / seconds(go_on)
}

fn journal(broker: &str) {
    let (count, rounds) = (flag("messages", 500_000_usize) / 100 * 100, flag("rounds", 3_usize).max(1));
    let (mut plain, mut journaled) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let session = || Device::with_session(broker, "bench-plain", false);
        let begin = || {
            let mut device = session();
            device.subscribe_at("bench/plain", 1);
            device.leave();
        };
        plain.push(drained(broker, "bench/plain", count, begin, || {
            let mut device = session();
            for n in 0..count {
                assert!(device.receive().is_some(), "message {n} is missing");
            }
            device.leave();
        }));

        let folder = tempfile::tempdir().expect("a temporary folder");
        let start = || {
            let sql = source(broker, "bench/journal", 1);
            let mut builder = Pipeline::builder()
                .workers(2)
                .state(folder.path())
                .sql(format!("{sql} SELECT n FROM telemetry WHERE temperature > 98"));
            let rows = builder.result();
            (rows, builder.start().expect("the pipeline starts"))
        };
        let begin = || {
            let (rows, pipeline) = start();
            let mut device = Device::connect(broker, "bench-first");
            // Whatever it takes until it is subscribed.
            while rows.recv_timeout(Duration::from_millis(50)).is_none() {
                device.send_acknowledged("bench/journal", &[payload(99, 0).into_bytes()]);
            }
            pipeline.suspend();
            pipeline.wait().expect("it is suspended");
        };
        journaled.push(drained(broker, "bench/journal", count, begin, || {
            let (rows, pipeline) = start();
            let mut come = 0;
            while come < count / 100 {
                come += rows.recv().expect("the next rows").num_rows();
            }
            pipeline.suspend();
            pipeline.wait().expect("it is suspended");
        }));
    }
    let (plain, journaled) = (median(plain), median(journaled));
    println!(
        "journal     {plain:>7.0} messages/s of QoS 1 by a plain subscriber, {journaled:.0} by a pipeline that journals them: {:.0} %",
        100.0 * journaled / plain
    );
}

fn latency(broker: &str, rate: usize) {
    let count = rate * flag("seconds", 10_usize);
    let (from, to) = (format!("bench/in{rate}"), format!("bench/out{rate}"));
    let mut child = start(&format!(
        "{} CREATE TABLE alerts (t BIGINT, n BIGINT) WITH (
           'connector' = 'mqtt', 'url' = 'mqtt://{broker}', 'topic' = '{to}', 'qos' = '0');
         INSERT INTO alerts SELECT t, n FROM telemetry WHERE temperature > -100",
        source(broker, &from, 0)
    ));
    let begin = now();
    let mut subscriber = Device::connect(broker, "bench-subscriber");
    subscriber.subscribe(&to);
    subscriber.set_patience(Duration::from_secs(3));
    let receiving = thread::spawn(move || {
        let mut histogram = Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3).expect("a histogram");
        while let Some(payload) = subscriber.receive() {
            let arrived = begin.elapsed().as_nanos();
            let row: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
            match row["t"].as_u64() {
                // What was sent to warm up.
                None | Some(0) => {}
                Some(sent) => histogram.saturating_record((arrived as u64).saturating_sub(sent)),
            }
        }
        histogram
    });
    let mut device = Device::connect(broker, "bench-publisher");
    let mut watcher = Device::connect(broker, "bench-watcher");
    watcher.subscribe(&to);
    let (seen, watched) = std::sync::mpsc::channel();
    thread::spawn(move || watcher.receive().map(|_| seen.send(())));
    warm_up(&mut device, &from, || watched.try_recv().is_ok());
    thread::sleep(Duration::from_millis(500));
    let pid = child.id().to_string();
    let before = cpu_seconds(&pid);
    send(&mut device, &from, count, rate, begin);
    let cpu = cpu_seconds(&pid) - before;
    let histogram = receiving.join().expect("the subscriber");
    child.kill().expect("it runs still");
    child.wait().expect("it ends");
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "latency     {rate:>6}/s: p50 {:.2} ms, p99 {:.2}, p99.9 {:.2}, max {:.2}; {:.1} % of a core; {} of {count} rows",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
        cpu * 100.0 * rate as f64 / count as f64,
        histogram.len()
    );
    assert_eq!(histogram.len(), count as u64, "rows are missing");
}
