//! HTTP from end to end: rows posted to the command, alerts at a receiver, and rows of a SELECT as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::receiver::Receiver;
use crate::support::{command, ended, free_address, get, run, signal, wait_until};

/// Posts over a raw socket; status line and body.
fn post(address: SocketAddr, path: &str, token: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn rows_are_posted_and_alerts_arrive() {
    let (receiver, ingest, status) = (Receiver::start(), free_address(), free_address().to_string());
    let tables = format!(
        "CREATE TABLE readings (device STRING, t DOUBLE, sender STRING METADATA FROM 'remote-address') WITH (
           'connector' = 'http', 'listen' = '{ingest}', 'path' = '/ingest/readings', 'token' = '${{INGEST_TOKEN}}');
         CREATE TABLE alerts (device STRING, t DOUBLE, sender STRING) WITH (
           'connector' = 'webhook', 'url' = '{}', 'private-addresses' = 'allow', 'headers.X-Device' = '{{{{device}}}}',
           'body.template' = '{{\"text\": \"{{{{device}}}} is at {{{{t}}}}\", \"t\": {{{{t}}}}, \"from\": {{{{sender}}}}}}');",
        receiver.url
    );
    let insert = "INSERT INTO alerts SELECT device, t, sender FROM readings WHERE t > 80;";
    let sql = format!("{tables}{insert}");
    let child = command(&["sql", &sql, "--http", &status]).env("INGEST_TOKEN", "hunter2").spawn().unwrap();
    wait_until("the table to listen", || {
        TcpStream::connect(ingest).is_ok()
            && get(&status, "/readyz").is_some_and(|(line, _)| line.contains("200"))
    });

    let rows = "{\"device\":\"a\",\"t\":20}\n{\"device\":\"b \\\"1\\\"\",\"t\":81.5}\nnonsense\n";
    let (line, said) = post(ingest, "/ingest/readings", "hunter2", rows);
    assert!(line.contains("200"), "{line}: {said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["rows"], &said["rejected"]), (&json!(2), &json!(1)));
    assert!(post(ingest, "/ingest/readings", "hunter3", rows).0.contains("401"));
    assert!(post(ingest, "/ingest/other", "hunter2", rows).0.contains("404"));
    wait_until("the alert", || !receiver.requests().is_empty());
    assert_eq!(receiver.bodies(), [json!({"text": "b \"1\" is at 81.5", "t": 81.5, "from": "127.0.0.1"})]);
    assert_eq!(receiver.requests()[0].headers["x-device"], "b \"1\"");
    let (_, letters) = get(&status, "/dead-letters").unwrap();
    assert!(letters.contains("nonsense"), "{letters}");

    // What was answered before the end is delivered by it.
    let (line, _) = post(ingest, "/ingest/readings", "hunter2", "[{\"device\":\"c\",\"t\":99}]");
    assert!(line.contains("200"), "{line}");
    signal(&child, "INT");
    let ran = ended(child);
    assert!(ran.code == Some(0) && !ran.err.contains("hunter2"), "{ran:?}");
    assert_eq!(receiver.bodies().len(), 2);
    assert!(TcpStream::connect(ingest).is_err());

    let explain = format!("{} EXPLAIN {insert}", tables.replace("${INGEST_TOKEN}", "hunter2"));
    let explained = run(&["sql", &explain]);
    assert!(explained.out.contains(&format!("http://{ingest}/ingest/readings")), "{explained:?}");
    assert!(!format!("{explained:?}").contains("hunter2"), "{explained:?}");
}

/// Listens at `path`: the reader behind the answer's head.
fn listen(address: &str, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(head.contains("200 OK") && head.contains("text/event-stream"), "{head}");
    reader
}

/// The next `count` rows, out of their chunks.
fn rows(reader: &mut BufReader<TcpStream>, count: usize) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    while rows.len() < count {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        // A row may be cut by the end of a chunk: then what is whole comes next.
        if let Some(row) = line.strip_prefix("data: ").and_then(|row| serde_json::from_str(row).ok()) {
            rows.push(row);
        }
    }
    rows
}

fn metric(address: &str, name: &str) -> u64 {
    let (_, text) = get(address, "/metrics").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn rows_of_a_select_are_events_and_who_does_not_read_is_cut_off() {
    let status = free_address().to_string();
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20000', \
        'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000000'); \
        SELECT n, 'first' AS q FROM t WHERE MOD(n, 200) = 0; SELECT n, REPEAT('x', 800) AS filler FROM t;";
    let child = command(&["sql", sql, "--http", &status]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the endpoint", || get(&status, "/healthz").is_some());

    let mut first = listen(&status, "/rows/1");
    let mut beginning = String::new();
    while !beginning.contains(':') {
        first.read_line(&mut beginning).unwrap();
    }
    let numbers: Vec<i64> = rows(&mut first, 20).iter().map(|row| row["n"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 200), "a gap: {numbers:?}");
    assert!(rows(&mut listen(&status, "/rows"), 500).iter().any(|row| row["filler"].is_string()));
    assert!(get(&status, "/rows/3").unwrap().0.contains("404"));

    // Never read: it is the one that is cut off, the others go on, and so does the pipeline.
    let slow = listen(&status, "/rows/2");
    wait_until("the slow one to be cut off", || metric(&status, "millstream_live_dropped_total ") >= 1);
    let before = rows(&mut first, 1)[0]["n"].as_i64().unwrap();
    let later: Vec<i64> = rows(&mut first, 50).iter().map(|row| row["n"].as_i64().unwrap()).collect();
    assert_eq!((later[0], later[49]), (before + 200, before + 50 * 200));
    drop((slow, first));
    wait_until("nobody to listen", || metric(&status, "millstream_live_listeners ") == 0);
    signal(&child, "INT");
    let ran = ended(child);
    assert!(ran.code == Some(0) && ran.err.contains("/rows"), "{ran:?}");

    // Without a bare SELECT there is nothing to listen to.
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
        CREATE TABLE b (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO b SELECT n FROM t;";
    let child = command(&["sql", sql, "--http", &status]).spawn().unwrap();
    wait_until("the endpoint", || get(&status, "/healthz").is_some());
    assert!(get(&status, "/rows").unwrap().0.contains("404"));
    signal(&child, "INT");
    assert!(!ended(child).err.contains("/rows"));
}
