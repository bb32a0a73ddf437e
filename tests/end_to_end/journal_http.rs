//! Rows that were answered with 200, and a process that is killed: every one counts, and only what had no answer and was
//! posted again may count twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::{command, ended, free_address, signal, wait_until};

/// Requests of two rows; a row is 10 ms of event time.
const REQUESTS: u64 = 3_000;
/// Rows in a window.
const IN_WINDOW: u64 = 500;

/// Posts rows `2 n` and `2 n + 1`; true when they were taken.
fn post(address: SocketAddr, n: u64) -> bool {
    let body = format!("{{\"n\":{}}}\n{{\"n\":{}}}\n", 2 * n, 2 * n + 1);
    let post = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        let length = body.len();
        write!(
            stream,
            "POST /rows HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    post().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[test]
fn killed_again_and_again_every_answered_row_counts() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let (out, state) = (folder.path().join("sums.json"), folder.path().join("state").display().to_string());
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '100 ms';
         CREATE TABLE numbers (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts)
         WITH ('connector' = 'http', 'listen' = '{address}', 'path' = '/rows', 'format' = 'json');
         CREATE TABLE sums (starts TIMESTAMP_LTZ(3), numbers BIGINT, distinct_numbers BIGINT)
         WITH ('connector' = 'filesystem', 'path' = '{}', 'sink.append' = 'true');
         INSERT INTO sums SELECT window_start, COUNT(*), COUNT(DISTINCT n)
         FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end;",
        out.display()
    );
    let written = || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let mut all = BTreeMap::<String, BTreeSet<(u64, u64)>>::new();
        // A kill may leave half a line; its rows come again.
        for row in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let counts = (row["numbers"].as_u64().unwrap(), row["distinct_numbers"].as_u64().unwrap());
            all.entry(row["starts"].as_str().unwrap().into()).or_default().insert(counts);
        }
        all
    };
    let run = || command(&["sql", &sql, "--state", &state]).spawn().unwrap();
    let mut child = run();
    // Posts one after the other, each until it has its answer; gives those that were tried again once it stood.
    let posting = std::thread::spawn(move || {
        let mut again = BTreeSet::new();
        for n in 0..REQUESTS {
            wait_until("an answer", || {
                let is_taken = post(address, n);
                if !is_taken {
                    again.insert(n);
                }
                is_taken
            });
        }
        again
    });
    for _ in 0..4 {
        let before = written().len();
        wait_until("more windows", || written().len() > before);
        child.kill().unwrap();
        child.wait().unwrap();
        child = run();
    }
    let again = posting.join().unwrap();
    let windows = (2 * REQUESTS / IN_WINDOW - 1) as usize;
    wait_until("all windows but the last", || written().len() >= windows);
    signal(&child, "TERM");
    let ran = ended(child);
    assert!(ran.code == Some(0) && ran.err.contains("going on from checkpoint"), "{ran:?}");
    for (window, (start, found)) in written().into_iter().enumerate() {
        let (numbers, distinct) = *found.first().unwrap();
        assert_eq!((found.len(), distinct), (1, IN_WINDOW), "window {start}: {found:?}");
        let requests = window as u64 * IN_WINDOW / 2..(window as u64 + 1) * IN_WINDOW / 2;
        let twice = 2 * again.range(requests).count() as u64;
        assert!(numbers >= distinct && numbers <= distinct + twice, "window {start}: {numbers}, {twice}");
    }
}
