//! Whole pipelines against a real Mosquitto. Ignored without being asked for; scripts/test installs it, asks, and says
//! in MILLSTREAM_MOSQUITTO where it is.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::{Publisher, command, ended, file, free_address, get, signal, wait_until};

/// A Mosquitto of the test's own, which keeps its sessions on disk while it is away.
pub struct Mosquitto {
    program: String,
    folder: tempfile::TempDir,
    pub address: SocketAddr,
    process: Option<Child>,
}

impl Mosquitto {
    pub fn start() -> Self {
        let program = std::env::var("MILLSTREAM_MOSQUITTO").unwrap_or_else(|_| "/usr/sbin/mosquitto".into());
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\nmax_inflight_messages 0\nmax_queued_messages 0\nuser root\n",
            address.port(),
            folder.path().display()
        );
        file(folder.path(), "mosquitto.conf", config);
        let mut mosquitto = Self { program, folder, address, process: None };
        mosquitto.up();
        mosquitto
    }

    pub fn up(&mut self) {
        let config = self.folder.path().join("mosquitto.conf");
        let process = Command::new(&self.program)
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        wait_until("Mosquitto to listen", || TcpStream::connect(self.address).is_ok());
    }

    /// In order, with its sessions saved.
    pub fn down(&mut self) {
        let mut process = self.process.take().unwrap();
        signal(&process, "TERM");
        process.wait().unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn start(broker: SocketAddr, sql: &str, out: &str) -> (Child, String) {
    let address = free_address().to_string();
    let text = format!(
        "CREATE TABLE r (device STRING, ts TIMESTAMP(3), t DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{broker}', 'topic' = 'plant/{{device}}/telemetry', 'qos' = '1', 'client-id' = 'end-to-end', 'format' = 'json',
               'reconnect.backoff.max' = '1 s');
         CREATE TABLE out (device STRING, ends TIMESTAMP(3), mean DOUBLE, c BIGINT) WITH ('connector' = 'filesystem', 'path' = '{out}');
         {sql}"
    );
    let child = command(&["sql", &text, "--http", &address]).spawn().unwrap();
    wait_until("the source to connect", || {
        get(&address, "/readyz").is_some_and(|(status, _)| status.contains("200"))
    });
    (child, address)
}

const MEANS: &str = "INSERT INTO out SELECT device, window_end, AVG(t), COUNT(*)
    FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device;";

fn reading(second: i64, t: f64) -> Vec<u8> {
    json!({"ts": format!("2026-01-01T00:{:02}:{:02}", second / 60, second % 60), "t": t})
        .to_string()
        .into_bytes()
}

#[test]
#[ignore = "needs Mosquitto; scripts/test runs it"]
fn a_tumbling_mean_by_device_is_right() {
    let mosquitto = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json").display().to_string();
    let (child, _) = start(mosquitto.address, MEANS, &out);
    let mut publisher = Publisher::connect(mosquitto.address).unwrap();
    for second in 0..40 {
        for device in 0..3 {
            publisher
                .publish(
                    &format!("plant/d{device}/telemetry"),
                    &reading(second, (second * 10 + device) as f64),
                )
                .unwrap();
        }
    }
    // Three windows close by the stream's own time; the fourth when the job drains.
    wait_until("three windows of three devices", || {
        std::fs::read_to_string(&out).unwrap_or_default().lines().count() >= 9
    });
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    let mut got: Vec<(String, String, f64, i64)> = text
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                row["ends"].as_str().unwrap().into(),
                row["device"].as_str().unwrap().into(),
                row["mean"].as_f64().unwrap(),
                row["c"].as_i64().unwrap(),
            )
        })
        .collect();
    got.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut expected = Vec::new();
    for window in 0..4_i64 {
        for device in 0..3_i64 {
            let mean = (0..10).map(|n| ((window * 10 + n) * 10 + device) as f64).sum::<f64>() / 10.0;
            expected.push((
                format!("2026-01-01T00:00:{:02}", window * 10 + 10),
                format!("d{device}"),
                mean,
                10,
            ));
        }
    }
    assert_eq!(got, expected);
}

#[test]
#[ignore = "needs Mosquitto; scripts/test runs it"]
fn a_broker_that_goes_and_comes_back_costs_no_acknowledged_message() {
    let mut mosquitto = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json").display().to_string();
    let (child, address) =
        start(mosquitto.address, "INSERT INTO out SELECT device, ts, t, CAST(NULL AS BIGINT) FROM r;", &out);
    let broker = mosquitto.address;
    let (tell, told) = std::sync::mpsc::channel();
    // Publishes numbers one after the other, going on where the broker left off; counts what was acknowledged.
    let publishing = std::thread::spawn(move || {
        let mut publisher = Publisher::connect(broker).unwrap();
        let mut acknowledged = Vec::new();
        for number in 0..3_000 {
            while publisher.publish("plant/d0/telemetry", &reading(number % 3_600, number as f64)).is_err() {
                wait_until("the publisher to connect again", || match Publisher::connect(broker) {
                    Ok(again) => {
                        publisher = again;
                        true
                    }
                    Err(_) => false,
                });
            }
            acknowledged.push(number as f64);
            let _ = tell.send(number);
        }
        acknowledged
    });
    for stop_after in [500, 1_500] {
        while told.recv().unwrap() < stop_after {}
        mosquitto.down();
        let is_told = |code: &str| get(&address, "/readyz").is_some_and(|(status, _)| status.contains(code));
        wait_until("the source to notice", || is_told("503"));
        mosquitto.up();
        wait_until("the source to be back", || is_told("200"));
    }
    let acknowledged = publishing.join().unwrap();
    let seen = || -> std::collections::BTreeSet<u64> {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["mean"].as_f64().unwrap() as u64
            })
            .collect()
    };
    let wanted: std::collections::BTreeSet<u64> = acknowledged.iter().map(|number| *number as u64).collect();
    wait_until("every acknowledged message", || wanted.is_subset(&seen()));
    let (_, metrics) = get(&address, "/metrics").unwrap();
    let reconnects = metrics
        .lines()
        .find(|line| line.starts_with("millstream_reconnects_total{") && line.contains("operator=\"r\""))
        .unwrap();
    assert!(reconnects.ends_with(" 2"), "{reconnects}");
    signal(&child, "INT");
    assert_eq!(ended(child).code, Some(0));
}
