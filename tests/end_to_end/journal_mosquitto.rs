//! Messages that were acknowledged, and a process that is killed: every one counts once. Ignored and run like mosquitto.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::mosquitto::Mosquitto;
use crate::support::{Publisher, command, ended, signal, wait_until};

/// Messages; a message is 10 ms of event time.
const MESSAGES: u64 = 12_000;
/// Messages in a window.
const IN_WINDOW: u64 = 500;

#[test]
#[ignore = "needs Mosquitto; scripts/test runs it"]
fn killed_again_and_again_every_acknowledged_message_counts_once() {
    killed_again_and_again(1);
}

#[test]
#[ignore = "needs Mosquitto; scripts/test runs it"]
fn killed_again_and_again_every_message_of_qos_2_counts_once() {
    killed_again_and_again(2);
}

fn killed_again_and_again(qos: u8) {
    let broker = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let (out, state) = (folder.path().join("sums.json"), folder.path().join("state").display().to_string());
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE numbers (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{}', 'topic' = 'numbers', 'qos' = '{qos}', 'client-id' = 'journal', 'format' = 'json');
         CREATE TABLE sums (starts TIMESTAMP_LTZ(3), numbers BIGINT, total BIGINT)
         WITH ('connector' = 'filesystem', 'path' = '{}', 'sink.append' = 'true');
         INSERT INTO sums SELECT window_start, COUNT(*), SUM(n)
         FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end;",
        broker.address,
        out.display()
    );
    // (start of the window) to the (count, sum)s that were written of it.
    let written = || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let mut all = BTreeMap::<String, BTreeSet<(u64, u64)>>::new();
        // A kill may leave half a line; its rows come again.
        for row in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let sums = (row["numbers"].as_u64().unwrap(), row["total"].as_u64().unwrap());
            all.entry(row["starts"].as_str().unwrap().into()).or_default().insert(sums);
        }
        all
    };
    let address = broker.address;
    let run = || command(&["sql", &sql, "--state", &state]).spawn().unwrap();
    let mut child = run();
    let publishing = std::thread::spawn(move || {
        let mut publisher = Publisher::connect(address).unwrap();
        // Until a subscription stands nobody keeps them: the first ones are not counted on.
        for n in 0..MESSAGES {
            let payload = json!({ "n": n }).to_string().into_bytes();
            let published = match qos {
                1 => publisher.publish("numbers", &payload),
                _ => publisher.publish_once("numbers", &payload),
            };
            published.unwrap();
            std::thread::sleep(Duration::from_micros(if n == 0 { 2_000_000 } else { 300 }));
        }
    });
    for kill in 0..5 {
        let before = written().len();
        wait_until("more windows", || written().len() > before + kill % 2);
        child.kill().unwrap();
        child.wait().unwrap();
        child = run();
    }
    publishing.join().unwrap();
    let windows = (MESSAGES / IN_WINDOW - 1) as usize;
    wait_until("all windows but the last", || written().len() >= windows);
    signal(&child, "TERM");
    let ran = ended(child);
    assert!(ran.code == Some(0) && ran.err.contains("going on from checkpoint"), "{ran:?}");
    let all = written();
    for (window, (start, found)) in all.iter().enumerate().skip(1) {
        let first = window as u64 * IN_WINDOW;
        let right = (IN_WINDOW, (first..first + IN_WINDOW).sum());
        assert_eq!(found, &BTreeSet::from([right]), "window {start}");
    }
    assert_eq!(all.len(), windows);
}
