//! The command line's contract: what goes to which output, exit codes, formats, signals, the HTTP endpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::json;

use crate::support::{command, ended, file, free_address, get, run, signal, wait_until};

/// A generator that never ends.
const ENDLESS: &str = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', \
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000000');";

#[test]
fn a_piped_select_is_json_lines_and_nothing_else() {
    let ran = run(&[
        "sql",
        "SELECT id, name, TIMESTAMP '2026-01-01 00:00:10' AS ts FROM (VALUES (1, 'a'), (2, NULL)) AS t (id, name)",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let mut rows = ran.rows();
    rows.sort_by_key(|row| row["id"].as_i64());
    assert_eq!(rows[0], json!({"id": 1, "name": "a", "ts": "2026-01-01T00:00:10"}));
    assert_eq!(rows[1], json!({"id": 2, "name": null, "ts": "2026-01-01T00:00:10"}));
    // Keys stand in the order of the SELECT.
    let line = ran.out.lines().next().unwrap();
    assert!(
        line.find("\"id\"") < line.find("\"name\"") && line.find("\"name\"") < line.find("\"ts\""),
        "{line}"
    );
}

#[test]
fn a_table_is_for_people() {
    let ran = run(&[
        "sql",
        "--format",
        "table",
        "SELECT id, name FROM (VALUES (1, 'first'), (22, NULL)) AS t (id, name)",
    ]);
    assert_eq!(ran.code, Some(0));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0].trim_end(), "id  name");
    assert!(lines.contains(&" 1  first") && lines.contains(&"22  NULL"), "{}", ran.out);
}

#[test]
fn exit_codes_say_whose_fault_it_is() {
    assert_eq!(run(&["sql", "SELECT 1 AS one"]).code, Some(0));
    assert_eq!(run(&["run"]).code, Some(2));
    let missing = run(&["run", "/nowhere/file.sql"]);
    assert!(
        missing.code == Some(2) && missing.err.contains("/nowhere/file.sql cannot be read"),
        "{missing:?}"
    );
    let wrong = run(&["sql", "SELEC 1"]);
    assert!(wrong.code == Some(3) && wrong.err.contains('^'), "{wrong:?}");
    let failing = run(&["sql", "SELECT 1 / (n - 1) AS x FROM (VALUES (1)) AS t (n)"]);
    assert!(failing.code == Some(1) && failing.err.contains("zero"), "{failing:?}");
    let no_file = run(&[
        "sql",
        "CREATE TABLE t (n INT) WITH ('connector' = 'filesystem', 'path' = '/nowhere.json'); SELECT * FROM t",
    ]);
    assert!(no_file.code == Some(3) && no_file.err.contains("/nowhere.json"), "{no_file:?}");
}

#[test]
fn a_file_runs_every_insert_and_ends_with_its_sources() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String =
        (0..100).map(|n| format!("{{\"ts\":\"2026-01-01T00:00:{:02}\",\"n\":{n}}}\n", n / 2)).collect();
    let input = file(folder.path(), "in.json", rows);
    let (low, high) = (folder.path().join("low.json"), folder.path().join("high.json"));
    let sql = format!(
        "CREATE TABLE t (ts TIMESTAMP(3), n BIGINT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '{input}');
         CREATE TABLE low (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}');
         CREATE TABLE high (ends TIMESTAMP(3), total BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}');
         INSERT INTO low SELECT n FROM t WHERE n < 3;
         INSERT INTO high SELECT window_end, SUM(n) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;",
        low.display(),
        high.display()
    );
    let ran = run(&["run", &file(folder.path(), "file.sql", sql), "--workers", "2"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    assert_eq!(std::fs::read_to_string(low).unwrap(), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    let high = std::fs::read_to_string(high).unwrap();
    let mut totals: Vec<serde_json::Value> =
        high.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    totals.sort_by_key(|row| row["ends"].to_string());
    assert_eq!(
        totals,
        [
            json!({"ends": "2026-01-01T00:00:30", "total": (0..60).sum::<i64>()}),
            json!({"ends": "2026-01-01T00:01:00", "total": (60..100).sum::<i64>()}),
        ]
    );
}

#[test]
fn standard_input_is_a_file_too() {
    let mut child = command(&["run", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 7 AS n").unwrap();
    assert_eq!(ended(child).out, "{\"n\":7}\n");
}

#[test]
fn check_and_explain_run_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "file.sql",
        format!(
            "{ENDLESS} CREATE TABLE b (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO b SELECT n FROM t; SELECT n + 1 AS m FROM t WHERE n > 5;"
        ),
    );
    let checked = run(&["check", &path]);
    assert_eq!(checked.code, Some(0));
    assert!(checked.err.contains("is right: 1 INSERT, 1 SELECT"), "{}", checked.err);
    let explained = run(&["explain", &path, "--workers", "2"]);
    assert_eq!(explained.code, Some(0));
    assert!(explained.out.contains("Stage 0") && explained.out.contains("source [t]"), "{}", explained.out);
    assert_eq!(explained.out.matches("source [t]").count(), 1, "one read serves both:\n{}", explained.out);
}

#[test]
fn settings_win_over_the_file_and_environment_mirrors_flags() {
    let explain = "EXPLAIN SELECT window_end, n, COUNT(*) FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(p), INTERVAL '1' SECOND)) GROUP BY window_start, window_end, n";
    let table = "CREATE TABLE w (n BIGINT, p AS PROCTIME()) WITH ('connector' = 'datagen');";
    let text = format!("SET 'parallelism.default' = '1'; {table} {explain}");
    let file_says = run(&["sql", &text]);
    assert!(!file_says.out.contains("exchange"), "{file_says:?}");
    let flag_wins = run(&["sql", "--set", "parallelism.default=2", &text]);
    assert!(flag_wins.out.contains("exchange"), "{flag_wins:?}");
    let environment = command(&["sql", "SELECT 1 AS one"]).env("MILLSTREAM_FORMAT", "table").spawn().unwrap();
    assert!(ended(environment).out.starts_with("one"));
}

#[test]
fn an_interrupt_drains_and_a_second_stops() {
    let mut child = command(&["sql", &format!("{ENDLESS} SELECT n FROM t")]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{\"n\":1}");
    signal(&child, "INT");
    // Rows have no gap up to the end: what was taken in was delivered.
    let rest: Vec<i64> = lines
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap()["n"].as_i64().unwrap())
        .collect();
    assert_eq!(rest, (2..=rest.len() as i64 + 1).collect::<Vec<_>>());
    let ran = ended(child);
    assert!(ran.code == Some(0) && ran.err.contains("draining"), "{ran:?}");
}

#[test]
fn a_termination_drains_too_and_closes_windows() {
    let sql = "CREATE TABLE t (n BIGINT, p AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
        SELECT COUNT(*) AS c FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(p), INTERVAL '1' DAY)) GROUP BY window_start, window_end";
    let address = free_address().to_string();
    let child = command(&["sql", sql, "--http", &address]).spawn().unwrap();
    wait_until("rows to come in", || {
        get(&address, "/metrics").is_some_and(|(_, body)| {
            body.lines().any(|line| {
                line.starts_with("millstream_rows_out_total{")
                    && line.contains("operator=\"t\"")
                    && !line.ends_with(" 0")
            })
        })
    });
    signal(&child, "TERM");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.rows()[0]["c"].as_i64().unwrap() > 0, "{ran:?}");
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let mut child = command(&["sql", &format!("{ENDLESS} SELECT n FROM t")]).spawn().unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ran = ended(child);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn the_endpoint_tells_health_readiness_and_metrics() {
    let address = free_address().to_string();
    let child = command(&[
        "sql",
        &format!("SET 'pipeline.name' = 'end\"point'; {ENDLESS} SELECT n FROM t"),
        "--http",
        &address,
    ])
    .stdout(Stdio::null())
    .spawn()
    .unwrap();
    wait_until("the endpoint", || get(&address, "/readyz").is_some_and(|(status, _)| status.contains("200")));
    assert!(get(&address, "/healthz").unwrap().0.contains("200"));
    let (status, metrics) = get(&address, "/metrics").unwrap();
    assert!(status.contains("200"));
    for part in [
        "millstream_rows_in_total{pipeline=\"end\\\"point\",operator=",
        "# TYPE millstream_rows_late_total counter",
        "millstream_up{",
    ] {
        assert!(metrics.contains(part), "{part} is not in\n{metrics}");
    }
    assert!(get(&address, "/nothing").unwrap().0.contains("404"));
    signal(&child, "INT");
    assert_eq!(ended(child).code, Some(0));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = run(&["sql", "SELECT 1 AS one", "--http", &taken.local_addr().unwrap().to_string()]);
    assert!(refused.code == Some(2) && refused.err.contains("cannot listen"), "{refused:?}");
}

#[test]
fn the_demo_delivers_and_accounts_for_every_message() {
    let ran = run(&["demo", "--seconds", "8", "--devices", "200", "--rate", "10"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let number = |name: &str| -> u64 {
        let line = ran
            .out
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {ran:?}"));
        line.split_whitespace().find_map(|word| word.replace(',', "").parse().ok()).unwrap()
    };
    let cut_off_and_ahead = number("dead letter");
    assert!(
        number("published") > 5_000 && number("alerts delivered") > 0 && cut_off_and_ahead > 0,
        "{}",
        ran.out
    );
    // Rows of the clock that is years ahead are read, then refused; cut-off messages never become rows.
    assert!(
        number("in") <= number("published") && number("in") + cut_off_and_ahead >= number("published"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("p99.9"), "{}", ran.out);
}

#[test]
fn a_newcomer_finds_out_what_there_is() {
    let connectors = run(&["connectors"]);
    for name in ["mqtt", "webhook", "filesystem", "json"] {
        assert!(
            connectors.out.lines().any(|line| line.trim_start().starts_with(name)),
            "{name}: {connectors:?}"
        );
    }
    let mqtt = run(&["connectors", "mqtt"]);
    assert!(mqtt.out.contains("'topic'") && mqtt.out.contains("scan.watermark.key"), "{mqtt:?}");
    let functions = run(&["functions", "pad"]);
    assert!(functions.out.contains("LPAD(") && !functions.out.contains("UPPER("), "{functions:?}");
    for (wrong, near) in [(["connectors", "mqt"], "'mqtt'"), (["functions", "lpadd"], "LPAD")] {
        let ran = run(&wrong);
        assert!(ran.code == Some(2) && ran.err.contains("did you mean") && ran.err.contains(near), "{ran:?}");
    }
    assert!(run(&["completions", "bash"]).out.contains("complete -F _millstream"));
}

#[test]
fn the_starter_file_runs_as_it_is_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.sql").display().to_string();
    assert_eq!(run(&["init", &path]).code, Some(0));
    let again = run(&["init", &path]);
    assert!(again.code == Some(2) && again.err.contains("is there already"), "{again:?}");
    let mut child = command(&["run", &path]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(first["device"].as_str().unwrap().starts_with("device-"), "{first}");
    signal(&child, "INT");
    assert!(child.wait().unwrap().success());
}

/// A limited query alone is done with its last row, though its source has no end; beside another it is not.
#[test]
fn a_limited_query_ends() {
    let ran = run(&["sql", &format!("{ENDLESS} SELECT n FROM t LIMIT 3")]);
    assert_eq!((ran.code, ran.rows().len()), (Some(0), 3), "{ran:?}");
    let table =
        run(&["sql", "--format", "table", &format!("{ENDLESS} SELECT n + 1 AS m FROM t LIMIT 2 OFFSET 1")]);
    assert!(table.code == Some(0) && table.out.lines().count() == 4, "{table:?}");
    let both = run(&[
        "sql",
        "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '5000',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '2000');
         SELECT n FROM t LIMIT 1; SELECT n FROM t;",
    ]);
    assert_eq!((both.code, both.rows().len()), (Some(0), 2_001), "{}", both.err);
}
