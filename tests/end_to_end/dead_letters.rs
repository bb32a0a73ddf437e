//! What a pipeline has given up, seen to by hand: listed, sent again, taken away.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::receiver::Receiver;
use crate::support::{file, run};

/// Whether the receiver takes what it has refused before.
static IS_MENDED: AtomicBool = AtomicBool::new(false);

fn number(body: &str) -> i64 {
    serde_json::from_str::<serde_json::Value>(body).unwrap()["n"].as_i64().unwrap()
}

/// Every tenth alert is refused until the receiver is mended, and the hundredth for good.
fn answer(body: &str) -> &'static str {
    match number(body) {
        100 => "422 Unprocessable Content",
        n if n % 10 == 0 && !IS_MENDED.load(Ordering::Acquire) => "401 Unauthorized",
        _ => "204 No Content",
    }
}

/// The files of a folder, hidden ones too.
fn files(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| file.file_name().into_string().unwrap()).collect()
}

#[test]
fn what_was_refused_is_sent_again_once_the_receiver_is_mended() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::answering(answer));
    let dead = folder.path().join("dead");
    let mut lines: String = (1..=100)
        .map(|n| {
            format!("{{\"n\":{n},\"at\":\"2026-01-01T00:00:00.{n:03}\",\"v\":{n}.5,\"s\":\"ä\\\"{n}\"}}\n")
        })
        .collect();
    lines.push_str("no JSON\n");
    let input = file(folder.path(), "in.json", lines);
    let sql = format!(
        "CREATE TABLE readings (n BIGINT, `at` TIMESTAMP(3), v DOUBLE, s STRING)
         WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'json', 'dead-letter' = 'dead');
         CREATE TABLE dead (payload STRING, error STRING, source STRING, `time` TIMESTAMP_LTZ(3))
         WITH ('connector' = 'filesystem', 'path' = '{}/', 'format' = 'json');
         CREATE TABLE alerts (n BIGINT, `at` TIMESTAMP(3), v DOUBLE, s STRING) WITH ('connector' = 'webhook', 'url' = '{}',
           'private-addresses' = 'allow', 'dead-letter' = 'dead');
         INSERT INTO alerts SELECT n, `at`, v, s FROM readings;",
        dead.display(),
        receiver.url
    );
    let sql = file(folder.path(), "alerts.sql", sql);
    let letters =
        |arguments: &[&str]| run(&[&["dead-letters", arguments[0], &sql], &arguments[1..]].concat());
    let ran = letters(&["list"]);
    assert!(ran.code == Some(0) && ran.out.is_empty(), "there is no folder yet: {ran:?}");
    assert_eq!(run(&["run", &sql]).code, Some(0));
    let ran = letters(&["list"]);
    let counts: Vec<_> =
        ran.rows().iter().map(|line| (line["source"].clone(), line["letters"].clone())).collect();
    assert_eq!(counts, [("alerts".into(), 10.into()), ("readings".into(), 1.into())], "{ran:?}");
    let rows = letters(&["list", "alerts", "--rows"]).rows();
    let listed: BTreeSet<i64> = rows.iter().map(|row| row["payload"]["n"].as_i64().unwrap()).collect();
    assert_eq!(listed, (1..=10).map(|n| n * 10).collect());
    assert!(rows.iter().any(|row| row["error"].as_str().unwrap().contains("401")), "{rows:?}");
    let ran = letters(&["list", "alert"]);
    assert!(ran.code == Some(2) && ran.err.contains("did you mean 'alerts'?"), "{ran:?}");
    // Not mended: all are letters still, and once each.
    let ran = letters(&["retry"]);
    assert!(ran.code == Some(1) && ran.err.contains("letters are left: 10 refused again"), "{ran:?}");
    assert_eq!(letters(&["list", "alerts"]).rows()[0]["letters"], 10);
    IS_MENDED.store(true, Ordering::Release);
    let before = receiver.count();
    let ran = letters(&["retry", "alerts"]);
    assert!(ran.code == Some(1) && ran.err.contains("9 letters were delivered"), "{ran:?}");
    assert!(ran.err.contains("letters are left: 1 refused again"), "{ran:?}");
    let again = receiver.requests().split_off(before);
    let first = again.iter().find(|request| number(&request.body) == 10).unwrap();
    let row: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    let expected = serde_json::json!({"n": 10, "at": "2026-01-01T00:00:00.01", "v": 10.5, "s": "ä\"10"});
    assert_eq!(row, expected, "a row comes as it was");
    // Letters of the source, and what is refused for good, are what is left.
    let counts: Vec<_> = letters(&["list"])
        .rows()
        .iter()
        .map(|line| (line["source"].clone(), line["letters"].clone()))
        .collect();
    assert_eq!(counts, [("alerts".into(), 1.into()), ("readings".into(), 1.into())]);
    let rows = letters(&["list", "readings", "--rows"]).rows();
    assert_eq!(rows[0]["payload"], "no JSON");
    let ran = letters(&["retry", "readings"]);
    assert!(ran.code == Some(3) && ran.err.contains("reads the table 'readings'"), "{ran:?}");
    let ran = letters(&["purge", "alerts"]);
    assert!(ran.code == Some(2) && ran.err.contains("--yes"), "{ran:?}");
    let ran = letters(&["purge", "alerts", "--yes"]);
    assert!(ran.code == Some(0) && ran.err.contains("1 letters were taken away"), "{ran:?}");
    assert_eq!(letters(&["list"]).rows()[0]["source"], "readings");
    assert_eq!(letters(&["purge", "--yes"]).code, Some(0));
    assert!(letters(&["list"]).out.is_empty());
    assert_eq!(files(&dead), Vec::<String>::new());
}

#[test]
fn where_letters_cannot_be_seen_to_it_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let text = |dead: &str, options: &str| {
        format!(
            "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
             CREATE TABLE dead (payload STRING, source STRING) WITH ({dead});
             CREATE TABLE alerts (n BIGINT) WITH ('connector' = 'webhook', 'url' = 'http://127.0.0.1:1/',
               'private-addresses' = 'allow' {options});
             INSERT INTO alerts SELECT n FROM numbers;"
        )
    };
    let print = "'connector' = 'print'";
    let one = format!("'connector' = 'filesystem', 'path' = '{}/dead.json'", folder.path().display());
    let to_dead = ", 'dead-letter' = 'dead'";
    for (sql, code, part) in [
        (text(print, ""), 2, "no table of"),
        (text(print, to_dead), 3, "its connector is 'print'"),
        (text(&one, to_dead), 3, "give the table a folder"),
    ] {
        let sql = file(folder.path(), "pipeline.sql", sql);
        let ran = run(&["dead-letters", "list", &sql]);
        assert!(ran.code == Some(code) && ran.err.contains(part), "{ran:?}");
    }
}

#[test]
fn letters_that_name_no_table_are_those_of_the_only_one() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::refusing("\"n\":2}"));
    let sql = format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',
           'fields.n.start' = '1', 'fields.n.end' = '3');
         CREATE TABLE dead (payload BYTES) WITH ('connector' = 'filesystem', 'path' = '{}/dead/', 'format' = 'json');
         CREATE TABLE alerts (n BIGINT) WITH ('connector' = 'webhook', 'url' = '{}', 'private-addresses' = 'allow',
           'dead-letter' = 'dead');
         INSERT INTO alerts SELECT n FROM numbers;",
        folder.path().display(),
        receiver.url
    );
    let sql = file(folder.path(), "alerts.sql", sql);
    assert_eq!(run(&["run", &sql]).code, Some(0));
    for _ in 0..2 {
        let ran = run(&["dead-letters", "list", &sql, "alerts"]);
        let lines = ran.rows();
        assert!(lines.len() == 1 && lines[0]["source"] == "alerts" && lines[0]["letters"] == 1, "{ran:?}");
        let ran = run(&["dead-letters", "retry", &sql]);
        assert!(ran.code == Some(1) && ran.err.contains("1 refused again"), "{ran:?}");
    }
    assert_eq!(receiver.count(), 5);
    let rows = run(&["dead-letters", "list", &sql, "--rows"]).rows();
    assert_eq!(rows[0]["payload"], serde_json::json!({"n": 2}));
    assert_eq!(run(&["dead-letters", "purge", &sql, "alerts", "--yes"]).code, Some(0));
    assert!(run(&["dead-letters", "list", &sql]).out.is_empty());
}
