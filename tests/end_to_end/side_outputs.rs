//! Dead letters and late rows as tables: every bad or late row is in the table that the source names, no other is, and
//! the answer of the query is what it was.

use crate::receiver::Receiver;
use crate::support::{file, run};

/// Every second minute one row that does not decode, and one that comes when its window has closed.
fn lines() -> String {
    let mut lines = Vec::new();
    for minute in 0..6 {
        for second in [1, 31] {
            lines.push(format!("{{\"ts\":\"2026-01-01T00:{minute:02}:{second:02}\",\"device\":\"d{second}\",\"t\":{minute}.5}}"));
        }
        if minute % 2 == 1 {
            lines.push(format!(
                "{{\"ts\":\"2026-01-01T00:{minute:02}:40\",\"device\":\"bad\",\"t\":\"hot\"}}"
            ));
            lines.push(format!(
                "{{\"ts\":\"2026-01-01T00:{:02}:59\",\"device\":\"late\",\"t\":99}}",
                minute - 1
            ));
        }
    }
    lines.join("\n")
}

fn program(folder: &str, input: &str, more: &str) -> String {
    format!(
        "CREATE TABLE r (ts TIMESTAMP(3), device STRING, t DOUBLE, hot AS t > 90, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
           WITH ('connector' = 'filesystem', 'path' = '{input}', 'dead-letter' = 'bad', 'late-rows' = 'late');
         CREATE TABLE bad (source STRING, error STRING, payload STRING, `time` TIMESTAMP_LTZ(3))
           WITH ('connector' = 'filesystem', 'path' = '{folder}/bad.json');
         CREATE TABLE late (device STRING, hot BOOLEAN, ts TIMESTAMP(3))
           WITH ('connector' = 'filesystem', 'path' = '{folder}/late.json');
         {more}
         SELECT window_end, COUNT(*) AS c, MAX(t) AS hottest FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
           GROUP BY window_start, window_end;"
    )
}

fn rows(path: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn bad_and_late_rows_reach_their_tables_whole() {
    for workers in ["1", "3"] {
        let folder = tempfile::tempdir().unwrap();
        let input = file(folder.path(), "in.json", lines());
        let at = folder.path().display().to_string();
        let ran = run(&["sql", "--workers", workers, &program(&at, &input, "")]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let answer = ran.rows();
        assert!(answer.len() == 6 && answer.iter().all(|row| row["c"] == 2), "{ran:?}");
        let bad = rows(&format!("{at}/bad.json"));
        assert_eq!(bad.len(), 3, "{bad:?}");
        for letter in &bad {
            assert_eq!(letter["source"], "r");
            assert!(letter["payload"].as_str().unwrap().contains("\"t\":\"hot\""), "{letter}");
            assert!(letter["error"].as_str().unwrap().contains("'t'"), "{letter}");
            assert!(letter["time"].as_str().unwrap().starts_with("20"), "{letter}");
        }
        let mut late = rows(&format!("{at}/late.json"));
        late.sort_by_key(|row| row["ts"].to_string());
        let ends: Vec<_> = late.iter().map(|row| row["ts"].as_str().unwrap()).collect();
        assert_eq!(ends, ["2026-01-01T00:00:59", "2026-01-01T00:02:59", "2026-01-01T00:04:59"], "{late:?}");
        // A column that the query itself does not read, and a computed one.
        assert!(late.iter().all(|row| row["device"] == "late" && row["hot"] == true), "{late:?}");
    }
}

#[test]
fn what_a_sink_is_refused_reaches_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::refusing("no");
    let at = folder.path().display().to_string();
    let text = format!(
        "CREATE TABLE hook (n INT, word STRING) WITH ('connector' = 'webhook', 'url' = '{}', 'dead-letter' = 'refused', 'private-addresses' = 'allow');
         CREATE TABLE refused (payload STRING, error STRING) WITH ('connector' = 'filesystem', 'path' = '{at}/refused.json');
         INSERT INTO hook SELECT CAST(n AS INT), word FROM (VALUES (1, 'yes'), (2, 'no'), (3, 'yes'), (4, 'no')) AS v(n, word);",
        receiver.url
    );
    let ran = run(&["sql", &text]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut refused: Vec<_> = rows(&format!("{at}/refused.json"));
    refused.sort_by_key(|row| row["payload"].to_string());
    let payloads: Vec<_> = refused.iter().map(|row| row["payload"].as_str().unwrap()).collect();
    assert_eq!(payloads, [r#"{"n":2,"word":"no"}"#, r#"{"n":4,"word":"no"}"#]);
    assert!(refused.iter().all(|row| row["error"].as_str().unwrap().contains("422")), "{refused:?}");
    assert_eq!(receiver.bodies().len(), 4);
}

#[test]
fn what_cannot_be_routed_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let input = file(folder.path(), "in.json", lines());
    let at = folder.path().display().to_string();
    let whole = program(&at, &input, "");
    for (from, to, message) in [
        ("'dead-letter' = 'bad'", "'dead-letter' = 'nowhere'", "'nowhere', which is no table"),
        ("payload STRING", "payload INT", "no value for its column 'payload'"),
        ("(device STRING, hot", "(device INT, hot", "whose column 'device' it does not have"),
        (
            "'dead-letter' = 'bad'",
            "'dead-letter' = 'bad', 'on-error' = 'skip'",
            "'on-error' is not 'dead-letter'",
        ),
        ("/bad.json'", "/bad.json', 'dead-letter' = 'late'", "sends its own dead letters on"),
    ] {
        assert!(whole.contains(from), "{from}");
        let ran = run(&["sql", &whole.replacen(from, to, 1)]);
        assert!(ran.code == Some(3) && ran.err.contains(message), "{message}: {ran:?}");
    }
}
