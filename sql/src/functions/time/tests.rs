//! Functions of time through the front door: SQL in, JSON rows out.

use std::sync::Arc;

use millstream_connectors::print::JsonLines;
use millstream_engine::clock::ManualClock;
use millstream_engine::{ClockRef, Job, JobConfig, SinkProvider, SystemClock};
use parking_lot::Mutex;

use crate::{CompileOptions, SqlError, compile};

/// The rows of a text at the time `clock` shows.
fn rows_at(text: &str, clock: ClockRef) -> Result<Vec<String>, SqlError> {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&written);
    let options = CompileOptions {
        clock,
        results: Some(Arc::new(move |_| {
            Arc::new(JsonLines { writer: Arc::clone(&writer) as _, prefix: String::new() })
                as Arc<dyn SinkProvider>
        })),
        ..CompileOptions::default()
    };
    let program = compile(text, &millstream_connectors::registry(), &options)?;
    Job::start(&program.graph, JobConfig::default()).unwrap().wait().unwrap();
    let text = String::from_utf8(written.lock().clone()).unwrap();
    Ok(text.lines().map(str::to_owned).collect())
}

fn rows(text: &str) -> Vec<String> {
    rows_at(text, SystemClock::shared()).unwrap_or_else(|error| panic!("{error}"))
}

/// The value of an expression as JSON, in the session's zone.
fn value_in(zone: &str, expression: &str) -> String {
    let rows = rows(&format!(
        "SET 'table.local-time-zone' = '{zone}'; SELECT {expression} AS v FROM (VALUES (1)) AS t(a)"
    ));
    let [row] = rows.as_slice() else { panic!("{expression} gives {rows:?}") };
    row.strip_prefix("{\"v\":").and_then(|row| row.strip_suffix('}')).unwrap().trim_matches('"').to_owned()
}

fn value(expression: &str) -> String {
    value_in("UTC", expression)
}

fn error(text: &str) -> String {
    rows_at(text, SystemClock::shared()).unwrap_err().render("q.sql")
}

#[test]
fn null_in_null_out() {
    for expression in [
        "TO_TIMESTAMP(CAST(NULL AS STRING))",
        "TO_TIMESTAMP_LTZ(CAST(NULL AS BIGINT), 3)",
        "TO_DATE(CAST(NULL AS STRING), 'yyyy')",
        "DATE_FORMAT(CAST(NULL AS TIMESTAMP(3)), 'yyyy')",
        "DATE_FORMAT(TIMESTAMP '2024-02-29 12:00:00', CAST(NULL AS STRING))",
        "UNIX_TIMESTAMP(CAST(NULL AS STRING))",
        "FROM_UNIXTIME(CAST(NULL AS BIGINT))",
        "CONVERT_TZ(CAST(NULL AS STRING), 'UTC', 'UTC')",
        "TIMESTAMPADD(DAY, CAST(NULL AS INT), TIMESTAMP '2024-02-29 12:00:00')",
        "TIMESTAMPDIFF(DAY, CAST(NULL AS DATE), DATE '2024-02-29')",
        "EXTRACT(YEAR FROM CAST(NULL AS DATE))",
        "FLOOR(CAST(NULL AS TIMESTAMP(3)) TO DAY)",
        "CAST(NULL AS TIMESTAMP(3)) + INTERVAL '1' DAY",
    ] {
        assert_eq!(value(expression), "null", "{expression}");
    }
}

#[test]
fn years_leap_and_weeks_cross_them() {
    assert_eq!(value("TIMESTAMPADD(YEAR, 1, DATE '2024-02-29')"), "2025-02-28");
    assert_eq!(value("DATE '2024-01-31' + INTERVAL '1' MONTH"), "2024-02-29");
    assert_eq!(value("DATE '1900-02-28' + INTERVAL '1' DAY"), "1900-03-01");
    assert_eq!(value("DATE '2000-02-28' + INTERVAL '1' DAY"), "2000-02-29");
    assert_eq!(value("WEEK(DATE '2021-01-03')"), "53");
    assert_eq!(value("EXTRACT(ISOYEAR FROM DATE '2024-12-30')"), "2025");
    assert_eq!(value("EXTRACT(WEEK FROM DATE '2024-12-30')"), "1");
    assert_eq!(value("DAYOFYEAR(DATE '2024-12-31')"), "366");
}

#[test]
fn before_1970_flink_cuts_towards_zero() {
    assert_eq!(value("EXTRACT(HOUR FROM TIMESTAMP '1969-12-31 23:00:00')"), "-1");
    assert_eq!(value("EXTRACT(DAY FROM TIMESTAMP '1969-12-31 23:00:00')"), "1");
    assert_eq!(value("FLOOR(TIMESTAMP '1969-12-31 23:34:56' TO HOUR)"), "1969-12-31T23:00:00");
    assert_eq!(value("DATE_FORMAT(TIMESTAMP '1969-12-31 23:34:56', 'yyyy-MM-dd HH')"), "1969-12-31 23");
    assert_eq!(value("FROM_UNIXTIME(-1)"), "1969-12-31 23:59:59");
    assert_eq!(value("TO_TIMESTAMP_LTZ(-1, 3)"), "1969-12-31T23:59:59.999Z");
}

#[test]
fn clocks_that_are_changed() {
    // 2024-03-31 01:00 UTC is 03:00 in Berlin; 02:30 does not exist, and on October 27 exists twice.
    assert_eq!(value_in("Europe/Berlin", "FROM_UNIXTIME(1711846800)"), "2024-03-31 03:00:00");
    assert_eq!(value_in("Europe/Berlin", "UNIX_TIMESTAMP('2024-03-31 02:30:00')"), "1711848600");
    assert_eq!(value_in("Europe/Berlin", "UNIX_TIMESTAMP('2024-10-27 02:30:00')"), "1729992600");
    assert_eq!(value_in("Europe/Berlin", "HOUR(TO_TIMESTAMP_LTZ(1711846800000, 3))"), "3");
    assert_eq!(
        value_in("Europe/Berlin", "FLOOR(TO_TIMESTAMP_LTZ(1711846800000, 3) TO DAY)"),
        "2024-03-30T22:00:00Z"
    );
    assert_eq!(value_in("Europe/Berlin", "DATE_FORMAT(TO_TIMESTAMP_LTZ(0, 3), 'HH:mm')"), "01:00");
    assert_eq!(value("CONVERT_TZ('2024-10-27 02:30:00', 'Europe/Berlin', 'UTC')"), "2024-10-27 01:30:00");
}

#[test]
fn the_clock_is_read_when_rows_pass() {
    let clock = ManualClock::at(1_000);
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&written);
    let options = CompileOptions {
        clock: clock.clone(),
        results: Some(Arc::new(move |_| {
            Arc::new(JsonLines { writer: Arc::clone(&writer) as _, prefix: String::new() })
                as Arc<dyn SinkProvider>
        })),
        ..CompileOptions::default()
    };
    let text = "SET 'table.local-time-zone' = 'Asia/Tokyo';
        SELECT NOW() AS a, CURRENT_TIMESTAMP AS b, LOCALTIMESTAMP AS c, LOCALTIME AS d, CURRENT_DATE AS e, PROCTIME() AS f,
          UNIX_TIMESTAMP() AS g, CURRENT_ROW_TIMESTAMP() AS h, CURRENT_TIME AS i FROM (VALUES (1)) AS t(x)";
    let program =
        compile(text, &millstream_connectors::registry(), &options).unwrap_or_else(|error| panic!("{error}"));
    clock.advance(86_400_000);
    Job::start(&program.graph, JobConfig::default()).unwrap().wait().unwrap();
    assert_eq!(
        String::from_utf8(written.lock().clone()).unwrap().trim(),
        r#"{"a":"1970-01-02T00:00:01Z","b":"1970-01-02T00:00:01Z","c":"1970-01-02T09:00:01","d":"09:00:01","e":"1970-01-02","f":"1970-01-02T00:00:01Z","g":86401,"h":"1970-01-02T00:00:01Z","i":"09:00:01"}"#
    );
}

#[test]
fn weeks_and_quarters_are_what_they_are_called() {
    assert_eq!(value("TIMESTAMP '2024-02-29 12:00:00' + INTERVAL '1' WEEK"), "2024-03-07T12:00:00");
    assert_eq!(value("TIMESTAMP '2024-02-29 12:00:00' + INTERVAL '1' QUARTER"), "2024-05-29T12:00:00");
}

#[test]
fn weeks_over_68_years_are_counted() {
    assert_eq!(value("TIMESTAMPDIFF(WEEK, DATE '1900-03-01', DATE '2020-02-29')"), "6261");
}

#[test]
fn times_of_the_day_and_multiples_of_intervals() {
    assert_eq!(value("TIME '12:00:00' + INTERVAL '13' HOUR"), "01:00:00");
    assert_eq!(value("TIME '12:00:00' - INTERVAL '13' HOUR"), "23:00:00");
    assert_eq!(value("TIMESTAMP '2024-02-29 12:00:00' + 2 * INTERVAL '1' HOUR"), "2024-02-29T14:00:00");
    assert_eq!(
        value("(TIME '2:55:00', INTERVAL '1' HOUR) OVERLAPS (TIME '3:30:00', INTERVAL '2' HOUR)"),
        "true"
    );
}

#[test]
fn what_cannot_be_read_is_null() {
    assert_eq!(value("TO_DATE('x', 'dd.MM.yyyy')"), "null");
    assert_eq!(value("TO_TIMESTAMP_LTZ('x')"), "null");
    assert_eq!(value("TO_TIMESTAMP('x')"), "null");
    assert_eq!(value("UNIX_TIMESTAMP('x')"), "-9223372036854775808");
}

#[test]
fn dates_before_1582_are_gregorian() {
    assert_eq!(value("FROM_UNIXTIME(-12219379200)"), "1582-10-14 00:00:00");
    assert_eq!(value("DATE_FORMAT(TIMESTAMP '0001-01-01 00:00:00', 'yyyy-MM-dd')"), "0001-01-01");
}

#[test]
fn fractions_are_kept() {
    assert_eq!(value("TIMESTAMP '2024-02-29 12:00:00' - INTERVAL '5.5' SECOND"), "2024-02-29T11:59:54.5");
    assert_eq!(value("CEIL(TIME '23:30:00' TO HOUR)"), "00:00:00");
}

#[test]
fn what_is_no_pattern_or_zone_is_told_at_its_place() {
    let told = error("SELECT TO_TIMESTAMP('x',\n  'yyyy-bb')");
    assert!(told.contains("'yyyy-bb' is no pattern of a time: bb stands for nothing"), "{told}");
    assert!(told.contains("q.sql:2:4"), "{told}");
    let told = error("SELECT DATE_FORMAT(TIMESTAMP '2024-02-29 12:00:00', 'HH:mm z')");
    assert!(told.contains("shows a time zone"), "{told}");
    let told = error("SELECT CONVERT_TZ('2024-01-01 00:00:00', 'UTC', 'Europe/Berln')");
    assert!(told.contains("there is no time zone 'Europe/Berln'") && told.contains("^^^^^^^^^^^^"), "{told}");
}

#[test]
fn what_is_no_unit_is_told_at_its_place() {
    let told = error("SELECT TIMESTAMPADD(MONTHH, 1, DATE '2024-01-01')");
    assert!(
        told.contains("there is no unit of time 'MONTHH'") && told.contains("did you mean MONTH?"),
        "{told}"
    );
    assert!(told.contains("q.sql:1:21"), "{told}");
    let told = error("SELECT TIMESTAMPDIFF(DOW, DATE '2024-01-01', DATE '2024-01-02')");
    assert!(told.contains("times cannot be counted in 'DOW'"), "{told}");
    let told = error("SELECT EXTRACT(YEAR FROM TIME '12:00:00')");
    assert!(told.contains("there is no YEAR in TIME"), "{told}");
    let told = error("SELECT FLOOR(TIME '12:00:00' TO MONTH)");
    assert!(told.contains("cannot be rounded to 'MONTH'"), "{told}");
    let told = error("SELECT TIMESTAMPDIFF(HOUR, TO_TIMESTAMP_LTZ(0, 3), TIMESTAMP '1970-01-01 03:00:00')");
    assert!(told.contains("cannot take"), "{told}");
}

#[test]
fn what_is_no_literal_is_told_at_its_place() {
    let told = error("SELECT DATE '2024-02-30'");
    assert!(told.contains("'2024-02-30' is no DATE") && told.contains("q.sql:1:13"), "{told}");
    let told = error("SELECT TIMESTAMP '2024-02-29T12:00:00'");
    assert!(told.contains("write TIMESTAMP 'yyyy-MM-dd HH:mm:ss'"), "{told}");
    let told = error("SELECT DATE '2024-02-29' + INTERVAL '1 25:00' DAY TO MINUTE");
    assert!(told.contains("'1 25:00' is no interval of that unit"), "{told}");
    let told = error("SELECT TIMESTAMP '2024-02-29 12:00:00' - TIMESTAMP '2024-02-28 12:00:00'");
    assert!(told.contains("TIMESTAMPDIFF(SECOND, earlier, later)"), "{told}");
}

#[test]
fn precisions_of_numbers() {
    assert_eq!(value("TO_TIMESTAMP_LTZ(1700000000, 0)"), "2023-11-14T22:13:20Z");
    assert_eq!(value("TO_TIMESTAMP_LTZ(CAST(1.5 AS DOUBLE), 0)"), "1970-01-01T00:00:01.5Z");
    assert_eq!(value("TO_TIMESTAMP_LTZ(1.5, 0)"), "1970-01-01T00:00:01Z");
    assert_eq!(value("TO_TIMESTAMP_LTZ(253402300800000, 3)"), "null");
    let told = error("SELECT TO_TIMESTAMP_LTZ(1700000000, 6)");
    assert!(told.contains("TO_TIMESTAMP_LTZ takes precision 0 or 3, not 6"), "{told}");
}

/// A table over twelve rows of ms since 1970 and n.
fn epochs(columns: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/data/epochs.jsonl");
    format!(
        "CREATE TABLE t (ms BIGINT, n INT, {columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');"
    )
}

#[test]
fn windows_go_by_a_computed_time() {
    let text = epochs("ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND")
        + "SELECT COUNT(*) AS c, MIN(n) AS first FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end";
    assert_eq!(rows(&text), ["{\"c\":11,\"first\":0}", "{\"c\":1,\"first\":11}"]);
}

#[test]
fn windows_go_by_the_processing_time() {
    let text = epochs("p AS PROCTIME()")
        + "SELECT COUNT(*) AS c, window_start FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(p), INTERVAL '1' HOUR)) GROUP BY window_start, window_end";
    let rows = rows_at(&text, SystemClock::shared()).unwrap_or_else(|error| panic!("{error}"));
    let counted: i64 = rows
        .iter()
        .map(|row| row.trim_start_matches("{\"c\":").split(',').next().unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(counted, 12, "{rows:?}");
}

#[test]
fn windows_of_days_where_clocks_change_are_refused() {
    let windows = |zone: &str, length: &str| {
        format!("SET 'table.local-time-zone' = '{zone}';")
            + &epochs("ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts")
            + &format!(
                "SELECT window_start AS s, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL {length})) GROUP BY window_start, window_end"
            )
    };
    let told = error(&windows("Europe/Berlin", "'1' DAY"));
    assert!(told.contains("move with the clocks of Europe/Berlin"), "{told}");
    assert_eq!(rows(&windows("Europe/Berlin", "'1' HOUR"))[0], "{\"s\":\"2026-01-01T01:00:00\",\"c\":11}");
    assert_eq!(rows(&windows("Asia/Tokyo", "'1' DAY"))[0], "{\"s\":\"2026-01-01T00:00:00\",\"c\":12}");
}
