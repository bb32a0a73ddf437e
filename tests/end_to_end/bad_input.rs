//! Bad input: each kind gets a message that a person can act on, nothing is lost uncounted, nothing panics.

use std::io::{BufRead, BufReader};

use crate::support::{Publisher, broker, command, ended, file, free_address, get, run, signal, wait_until};

/// What a device should never send, and a part of the message it gets.
const BAD_ROWS: [(&str, &str); 7] = [
    (r#"{"ts":"2026-01-01T00:00:01","t":1.5"#, "not valid JSON"),
    (r#"{"ts":"2026-01-01T00:00:01","t":"warm"}"#, "'t'"),
    (r#"{"ts":"2026-01-01T00:00:01","t":NaN}"#, "not valid JSON"),
    (r#"{"ts":"yesterday","t":1.5}"#, "'ts'"),
    (r#"42"#, "a JSON object is expected"),
    (r#"{"t":1.5}"#, "the event-time column is NULL"),
    (r#"{"ts":"2099-01-01T00:00:01","t":1.5}"#, "days ahead of this machine's clock"),
];

fn good(second: usize) -> String {
    format!("{{\"ts\":\"2026-01-01T00:00:{second:02}\",\"t\":{second}.5}}")
}

const QUERY: &str = "SELECT window_end, COUNT(*) AS c, COUNT(t) AS known FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end";

fn table(path: &str, more: &str) -> String {
    format!(
        "CREATE TABLE r (ts TIMESTAMP(3), t DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
         WITH ('connector' = 'filesystem', 'path' = '{path}', 'scan.watermark.ahead-max' = '1 d'{more});"
    )
}

#[test]
fn every_bad_row_is_counted_and_explained_and_the_good_ones_answer() {
    for (index, (bad, message)) in BAD_ROWS.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines: Vec<String> = (0..20).map(good).collect();
        lines.insert(7, (*bad).to_owned());
        let path = file(folder.path(), "in.json", lines.join("\n"));
        let ran = run(&["sql", &format!("{} {QUERY}", table(&path, ""))]);
        assert_eq!(ran.code, Some(0), "{bad}: {ran:?}");
        assert_eq!(ran.rows()[0]["c"], 20, "{bad}: {ran:?}");
        assert!(ran.err.contains("1 bad (dead letter)"), "case {index}: {ran:?}");
        assert!(ran.err.contains(message), "{bad} should say {message}:\n{}", ran.err);
        let failing = run(&["sql", &format!("{} {QUERY}", table(&path, ", 'on-error' = 'fail'"))]);
        assert!(failing.code == Some(1) && failing.err.contains(message), "{bad}: {failing:?}");
        let skipping = run(&["sql", &format!("{} {QUERY}", table(&path, ", 'on-error' = 'skip'"))]);
        assert!(
            skipping.rows()[0]["c"] == 20 && skipping.err.contains("1 bad and skipped"),
            "{bad}: {skipping:?}"
        );
    }
}

#[test]
fn missing_fields_are_null_and_unknown_ones_ignored_as_in_flink() {
    let folder = tempfile::tempdir().unwrap();
    let lines = r#"{"ts":"2026-01-01T00:00:01"}
{"ts":"2026-01-01T00:00:02","t":null,"more":{"deep":[1,2]}}
{"ts":"2026-01-01T00:00:03","t":3}"#;
    let path = file(folder.path(), "in.json", lines);
    let ran = run(&["sql", &format!("{} {QUERY}", table(&path, ""))]);
    assert_eq!(
        (ran.rows()[0]["c"].as_i64(), ran.rows()[0]["known"].as_i64(), ran.err.as_str()),
        (Some(3), Some(1), "")
    );
    let strict =
        run(&["sql", &format!("{} {QUERY}", table(&path, ", 'json.fail-on-missing-field' = 'true'"))]);
    assert!(strict.err.contains("bad (dead letter)"), "{strict:?}");
}

#[test]
fn bytes_that_are_no_text_and_ten_megabytes_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = format!("{}\n", good(1)).into_bytes();
    bytes.extend(b"{\"ts\":\"2026-01-01T00:00:02\",\"t\":\"\xff\xfe\"}\n");
    bytes.extend(format!("{{\"ts\":\"2026-01-01T00:00:02\",\"t\":{}1}}\n", " ".repeat(10 << 20)).bytes());
    bytes.extend(good(3).bytes());
    let path = file(folder.path(), "in.json", bytes);
    let ran = run(&["sql", &format!("{} {QUERY}", table(&path, ""))]);
    assert_eq!((ran.code, ran.rows()[0]["c"].as_i64()), (Some(0), Some(2)), "{ran:?}");
    assert!(
        ran.err.contains("2 bad (dead letter)") && ran.err.contains("over the limit of 1048576"),
        "{}",
        ran.err
    );
}

#[test]
fn wrong_sql_says_what_to_write_instead() {
    let table = "CREATE TABLE t (ts TIMESTAMP(3), k STRING, n BIGINT, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');\n";
    for (sql, parts) in [
        ("SELECT k, COUNT(*) FROM t GROUP BY k", &["no window", "table.exec.state.ttl", "TUMBLE", "^"][..]),
        ("SELECT UPER(k) FROM t", &["no function UPER", "did you mean UPPER?", "^"]),
        ("SELECT kk FROM t", &["kk", "^"]),
        ("SELECT * FROM tt", &["no table 'tt'", "did you mean 't'?", "^"]),
        (
            "SELECT a.n FROM t a JOIN t b ON a.k = b.k",
            &["a join that no time limits", "table.exec.state.ttl", "^"],
        ),
        (
            "SELECT SUM(n) OVER (PARTITION BY k ORDER BY n) FROM t",
            &["OVER goes by a time attribute", "WATERMARK", "^"],
        ),
        ("SELECT * FROM t ORDER BY n", &["ORDER BY", "^"]),
        ("SELECT n FROM t WHERE", &["^"]),
        (
            "CREATE TABLE u (n INT) WITH ('connector' = 'mqtt', 'url' = 'mqtt://localhost', 'topik' = 'x'); SELECT * FROM u",
            &["topik", "did you mean 'topic'?", "^"],
        ),
        (
            "CREATE TABLE u (n INT) WITH ('connector' = 'mqt'); SELECT * FROM u",
            &["no connector 'mqt'", "did you mean 'mqtt'?"],
        ),
        (
            "CREATE TABLE u (n INT) WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'xml'); SELECT * FROM u",
            &["xml", "json"],
        ),
        ("CREATE TABLE u (n INTT) WITH ('connector' = 'datagen'); SELECT * FROM u", &["INTT", "^"]),
        ("SELECT * FROM t WHERE k = '${NOT_SET_ANYWHERE}'", &["NOT_SET_ANYWHERE", "^"]),
    ] {
        let ran = run(&["sql", &format!("{table}{sql}")]);
        assert_eq!(ran.code, Some(3), "{sql}: {ran:?}");
        assert!(!ran.err.contains("panic"), "{sql}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{sql} should say {part}:\n{}", ran.err);
        }
    }
}

#[test]
fn bad_payloads_over_mqtt_stop_nothing_and_can_be_looked_at() {
    let (five, three) = broker();
    let address = free_address().to_string();
    let sql = format!(
        "CREATE TABLE r (device STRING, ts TIMESTAMP(3), t DOUBLE, WATERMARK FOR ts AS ts)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{five}', 'topic' = 'bad/{{device}}', 'format' = 'json');
         SELECT device, t FROM r;
         SELECT window_end, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;"
    );
    let mut child = command(&["sql", &sql, "--http", &address]).spawn().unwrap();
    wait_until("the source to connect", || {
        get(&address, "/readyz").is_some_and(|(status, _)| status.contains("200"))
    });
    let mut publisher = Publisher::connect(three).unwrap();
    publisher.publish("bad/a", good(1).as_bytes()).unwrap();
    for (bad, _) in BAD_ROWS {
        publisher.publish("bad/b", bad.as_bytes()).unwrap();
    }
    publisher.publish("bad/b", b"{\"t\":\"\xff\"}").unwrap();
    publisher.publish("bad/b", &vec![b' '; 10 << 20]).unwrap();
    publisher.publish("bad/c", good(3).as_bytes()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut devices = Vec::new();
    while !devices.contains(&"c".to_owned()) {
        let row: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        devices.push(row["device"].as_str().unwrap().to_owned());
    }
    // The seven of the table, two of which (no time, time ahead) are found behind the source, and the two after them.
    wait_until("nine dead letters", || {
        let (_, letters) = get(&address, "/dead-letters").unwrap();
        serde_json::from_str::<Vec<serde_json::Value>>(&letters).unwrap().len() == 9
    });
    let (_, letters) = get(&address, "/dead-letters").unwrap();
    for (_, message) in BAD_ROWS {
        assert!(letters.contains(message), "{message} is not in {letters}");
    }
    let (_, metrics) = get(&address, "/metrics").unwrap();
    let counted: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("millstream_rows_dead_letter_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(counted, 9);
    signal(&child, "INT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(rest.iter().any(|line| line.contains("\"c\":2")), "the two good rows make a window: {rest:?}");
}

#[test]
fn expressions_without_end_are_refused_and_do_not_overflow() {
    let folder = tempfile::tempdir().unwrap();
    for (terms, message) in
        [(401, "nested more than 400 deep"), (9_000, "nested more than"), (40_000, "words and signs")]
    {
        let path = file(folder.path(), "deep.sql", format!("SELECT {}", vec!["1"; terms].join("+")));
        let ran = run(&["run", &path]);
        assert!(
            ran.code == Some(3) && ran.err.contains(message),
            "{terms} terms: {:?} {:.200}",
            ran.code,
            ran.err
        );
    }
    let path = file(folder.path(), "deep.sql", format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)));
    assert!(run(&["run", &path]).err.contains("nested too deeply"));
}
