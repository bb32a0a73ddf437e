//! MQTT sinks with state on disk: a broker that is away, and a process that is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;

use crate::mosquitto::Mosquitto;
use crate::relay::Relay;
use crate::support::{broker, command, ended, free_address, get, lines, metric, run, signal, wait_until};

const DEVICES: i64 = 10;

/// Another process that writes what comes under `alerts/` into a file. It ends when dropped.
struct Subscriber {
    child: Child,
    folder: tempfile::TempDir,
}

impl Subscriber {
    fn start(broker: SocketAddr) -> Self {
        let (folder, http) = (tempfile::tempdir().unwrap(), free_address().to_string());
        let sql = format!(
            "CREATE TABLE seen (device BIGINT, n BIGINT) WITH ('connector' = 'mqtt', 'url' = 'mqtt://{broker}',
               'topic' = 'alerts/{{device}}', 'client-id' = 'subscriber', 'reconnect.backoff.max' = '200 ms');
             CREATE TABLE kept (device BIGINT, n BIGINT)
             WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
             INSERT INTO kept SELECT device, n FROM seen;",
            folder.path().join("seen.json").display()
        );
        let child = command(&["sql", &sql, "--http", &http]).spawn().unwrap();
        let is_ready = || get(&http, "/readyz").is_some_and(|(status, _)| status.contains("200"));
        wait_until("the subscription", is_ready);
        Self { child, folder }
    }

    /// Each alert's number when it came first, in this order.
    fn firsts(&self) -> Vec<i64> {
        let text = std::fs::read_to_string(self.folder.path().join("seen.json")).unwrap_or_default();
        let mut seen = BTreeSet::new();
        // The last line may be half written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let numbers = lines.map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["n"].as_i64().unwrap() % DEVICES, row["device"].as_i64().unwrap());
            row["n"].as_i64().unwrap()
        });
        numbers.filter(|n| seen.insert(*n)).collect()
    }

    /// Waits for the alerts 1 to `last`, and checks that each topic had its own in order.
    fn has_all_in_order(&self, last: i64) {
        wait_until("all alerts", || self.firsts().len() >= last as usize);
        let firsts = self.firsts();
        assert_eq!(firsts.iter().copied().collect::<BTreeSet<_>>(), (1..=last).collect());
        let mut newest = BTreeMap::<i64, i64>::new();
        for n in firsts {
            let before = newest.insert(n % DEVICES, n);
            assert!(before.is_none_or(|before| before < n), "{n} came behind {before:?}");
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers to the topics of devices, and to a file beside them.
fn sql(broker: SocketAddr, last: i64, rows_per_second: u32, kept: &Path) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '100 ms';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rows_per_second}',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{last}');
         CREATE TABLE kept (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE TABLE alerts (n BIGINT, device BIGINT) WITH ('connector' = 'mqtt', 'url' = 'mqtt://{broker}',
           'topic' = 'alerts/{{device}}', 'client-id' = 'pipeline', 'reconnect.backoff.max' = '200 ms');
         INSERT INTO kept SELECT n FROM numbers;
         INSERT INTO alerts SELECT n, MOD(n, {DEVICES}) FROM numbers;",
        kept.display()
    )
}

#[test]
fn a_broker_that_is_away_holds_up_nothing_and_gets_everything_in_order_when_it_is_back() {
    const LAST: i64 = 3_000;
    let (folder, away, http) = (tempfile::tempdir().unwrap(), free_address(), free_address().to_string());
    let (kept, state) = (folder.path().join("kept.json"), folder.path().join("state").display().to_string());
    let (five, _) = broker();
    let subscriber = Subscriber::start(five);
    let sql = sql(away, LAST, 3_000, &kept);
    let mut child = command(&["sql", &sql, "--state", &state]).spawn().unwrap();
    wait_until("rows of the other sink", || lines(&kept) > 1_000);
    child.kill().unwrap();
    child.wait().unwrap();
    // What waits can be looked at as what was sent.
    let requests = run(&["outbox", "list", "alerts", "--rows", "--state", &state]).rows();
    assert!(requests.len() > 200, "{}", requests.len());
    for (request, n) in requests.iter().zip(1..) {
        assert_eq!(
            (&request["title"], &request["rows"][0]["n"]),
            (&format!("alerts/{}", n % DEVICES).into(), &n.into())
        );
    }
    let child = command(&["sql", &sql, "--state", &state, "--http", &http]).spawn().unwrap();
    wait_until("all rows of the other sink", || lines(&kept) == LAST as usize);
    let depth = || metric(&http, "millstream_outbox_depth", "alerts");
    wait_until("all alerts to wait", || depth() == Some(LAST as f64));
    let _line = Relay::start(away, five);
    let ran = ended(child);
    assert!(ran.code == Some(0) && !ran.err.contains("dead letter"), "{ran:?}");
    subscriber.has_all_in_order(LAST);
    assert_eq!(lines(&kept), LAST as usize);
}

#[test]
#[ignore = "needs Mosquitto; scripts/test runs it"]
fn killed_while_mosquitto_comes_and_goes_every_alert_arrives_in_the_order_of_its_topic() {
    const LAST: i64 = 6_000;
    let folder = tempfile::tempdir().unwrap();
    let (kept, state) = (folder.path().join("kept.json"), folder.path().join("state").display().to_string());
    let mut mosquitto = Mosquitto::start();
    let subscriber = Subscriber::start(mosquitto.address);
    let sql = sql(mosquitto.address, LAST, 1_500, &kept);
    for round in 1..=4 {
        let before = lines(&kept);
        let mut child = command(&["sql", &sql, "--state", &state]).spawn().unwrap();
        wait_until("more rows", || lines(&kept) > before + 300 || child.try_wait().unwrap().is_some());
        // Away when it is killed, back before or after the next start.
        mosquitto.down();
        let before = lines(&kept);
        wait_until("more rows", || lines(&kept) > before + 300 || child.try_wait().unwrap().is_some());
        if round % 2 == 0 {
            mosquitto.up();
        }
        if round == 3 {
            signal(&child, "TERM");
        } else {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        if round % 2 == 1 {
            mosquitto.up();
        }
    }
    let ran = ended(command(&["sql", &sql, "--state", &state]).spawn().unwrap());
    assert!(ran.code == Some(0), "{ran:?}");
    subscriber.has_all_in_order(LAST);
}
