//! Functions through the front door: a query is compiled, run, and its row read as JSON.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use millstream_connectors::print::JsonLines;
use millstream_engine::{Job, JobConfig, SinkProvider, SystemClock};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::FunctionContext;
use crate::{CompileOptions, compile};

pub(super) fn context() -> FunctionContext {
    FunctionContext { clock: SystemClock::shared(), time_zone: chrono_tz::Tz::UTC, seed: 7 }
}

/// The values of the rows of `query`, or the error of its compilation or run.
fn rows(query: &str) -> Result<Vec<Vec<Value>>, String> {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&written);
    let options = CompileOptions {
        results: Some(Arc::new(move |_| {
            Arc::new(JsonLines { writer: Arc::clone(&writer) as _, prefix: String::new() })
                as Arc<dyn SinkProvider>
        })),
        ..CompileOptions::default()
    };
    let program = compile(query, &millstream_connectors::registry(), &options)
        .map_err(|error| error.render("query.sql"))?;
    let job = Job::start(&program.graph, JobConfig { workers: 1, ..JobConfig::default() })
        .map_err(|error| error.to_string())?;
    job.wait().map_err(|error| error.to_string())?;
    let text = String::from_utf8(written.lock().clone()).unwrap();
    let values = |line: &str| {
        let row: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        row.into_iter().map(|(_, value)| value).collect()
    };
    Ok(text.lines().map(values).collect())
}

/// The one value of `SELECT expression`.
fn value(expression: &str) -> Value {
    let query = if expression.contains(" FROM (") {
        format!("SELECT {expression}")
    } else {
        format!("SELECT {expression} AS v")
    };
    match rows(&query) {
        Ok(rows) => rows[0][0].clone(),
        Err(error) => panic!("{expression}: {error}"),
    }
}

fn error(expression: &str) -> String {
    match rows(&format!("SELECT {expression} AS v")) {
        Ok(rows) => panic!("{expression} gives {rows:?}"),
        Err(error) => error,
    }
}

fn check(cases: &[(&str, Value)]) {
    for (expression, expected) in cases {
        assert_eq!(&value(expression), expected, "{expression}");
    }
}

#[test]
fn strings() {
    check(&[
        ("UPPER('straße')", json!("STRASSE")),
        ("INITCAP('hello wORLD')", json!("Hello World")),
        ("REPLACE('abc', '', 'x')", json!("xaxbxcx")),
        ("CONCAT('a', CAST(NULL AS STRING))", Value::Null),
        ("CONCAT_WS(',', 'a', CAST(NULL AS STRING), 'b')", json!("a,b")),
        ("SPLIT('a,b,,c', ',')", json!(["a", "b", "", "c"])),
        ("SPLIT('abc', '')", json!(["a", "b", "c"])),
        ("SUBSTRING('hello' FROM -3 FOR 2)", json!("ll")),
        ("SUBSTRING('hello', -9)", json!("")),
        ("DECODE(ENCODE('grün', 'UTF-16LE'), 'UTF-16LE')", json!("grün")),
        ("DECODE(UNHEX('6772FC6E'), 'ISO-8859-1')", json!("grün")),
        ("REGEXP_COUNT('banana', 'an')", json!(2)),
        ("REGEXP_INSTR('banana', 'nan')", json!(3)),
        ("REGEXP_SUBSTR('banana', 'n.n')", json!("nan")),
        ("CAST('ab' AS CHAR(4)) || '|'", json!("ab  |")),
        ("CAST('abcdef' AS VARCHAR(3))", json!("abc")),
        ("'a%b' LIKE 'a!%b' ESCAPE '!'", json!(true)),
        ("'axb' LIKE 'a!%b' ESCAPE '!'", json!(false)),
        ("'a\\b' LIKE 'a\\b'", json!(true)),
        ("LPAD('𝄞', 3, '*')", json!("**𝄞")),
        ("CAST(STR_TO_MAP('a=1,b') AS STRING)", json!("{a=1, b=NULL}")),
        ("OCTET_LENGTH('ü')", json!(2)),
        ("CONTAINS('banana', 'nan')", json!(true)),
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("2147483647 + 1", json!(-2147483648)),
        ("7 / 2", json!(3)),
        ("-7 / 2", json!(-3)),
        ("-7 % 3", json!(-1)),
        ("TYPEOF(CAST(1 AS BIGINT) % 3)", json!("INT")),
        ("TYPEOF(1.5 * 2)", json!("DECIMAL(13, 1)")),
        ("CAST(1 / 3.0 AS STRING)", json!("0.333333")),
        ("CAST(9999999999999999999999999999999999999.9 * 10.0 AS STRING)", Value::Null),
        ("ROUND(CAST(2.675 AS DOUBLE), 2)", json!(2.68)),
        ("TRUNCATE(-1.29, 1)", json!(-1.2)),
        ("SIGN(-3)", json!(-1)),
        ("GREATEST(1, 2.5, CAST(NULL AS INT))", Value::Null),
        ("CAST(1e3 AS STRING)", json!("1000.0")),
        ("RAND(42)", json!(0.7275636800328681)),
        ("RAND_INTEGER(42, 10)", json!(0)),
        ("CBRT(27)", json!(3.0)),
    ]);
}

#[test]
fn conditions_compute_only_what_they_need() {
    check(&[
        ("IF(a <> 0, 10 / a, 0) FROM (VALUES (0)) AS t(a) WHERE a = 0 AND TRUE OR a = 0", json!(0)),
        ("COALESCE(a, 1 / 0) FROM (VALUES (5)) AS t(a)", json!(5)),
        ("COALESCE(a, 7) FROM (VALUES (CAST(NULL AS INT))) AS t(a)", json!(7)),
        ("NULLIF(1, 1)", Value::Null),
        ("IFNULL(CAST(NULL AS STRING), 'x')", json!("x")),
        ("TYPEOF(COALESCE(1, 2.50))", json!("DECIMAL(12, 2)")),
    ]);
}

#[test]
fn digests() {
    check(&[
        ("MD5('abc')", json!("900150983cd24fb0d6963f7d28e17f72")),
        ("SHA1('abc')", json!("a9993e364706816aba3e25717850c26c9cd0d89d")),
        ("SHA2('abc', 256)", json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        ("SHA224('abc')", json!("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7")),
        ("CHAR_LENGTH(SHA384('abc')) + CHAR_LENGTH(SHA512('abc'))", json!(224)),
        ("SHA256(CAST(NULL AS STRING))", Value::Null),
    ]);
}

#[test]
fn json() {
    check(&[
        ("JSON_VALUE('{\"a\": [1, 2.50]}', '$.a[1]')", json!("2.50")),
        ("JSON_VALUE('{\"a\": 5}', '$.a' RETURNING INT) + 1", json!(6)),
        ("JSON_VALUE('{\"a\": \"x\"}', '$.a' RETURNING INT DEFAULT -1 ON ERROR)", json!(-1)),
        ("JSON_VALUE('{\"a\": 5}', '$.a' RETURNING DOUBLE)", json!(5.0)),
        ("JSON_VALUE('{}', 'lax $.a' DEFAULT UPPER('e') ON EMPTY DEFAULT 'x' ON ERROR)", json!("E")),
        ("JSON_VALUE('[1, 2, 6]', '$.avg()')", json!("3.0")),
        ("JSON_QUERY('[{\"a\": true}, {\"a\": false}]', '$[?(@.a == true)]')", json!("[{\"a\":true}]")),
        ("JSON_QUERY('[{\"a\": [1]}, {\"a\": []}]', '$[?(@.a empty true)]')", json!("[{\"a\":[]}]")),
        ("JSON_QUERY('[{\"a\": 1}, {\"b\": 1}]', '$[?(@.a)]')", json!("[{\"a\":1}]")),
        ("JSON_QUERY('[{\"a\": 1}, {\"b\": 1}]', '$[?(!@.a)]')", json!("[{\"b\":1}]")),
        ("JSON_QUERY('[{\"a\": 1}, {\"a\": 2}]', '$[?(@.a in [2, ''x''])].a')", json!("[2]")),
        (
            "JSON_QUERY('[{\"a\": [\"x\", \"y\"]}, 3]', '$[?(@.a contains ''x'')].a')",
            json!("[[\"x\",\"y\"]]"),
        ),
        (
            "JSON_QUERY('[{\"a\": [\"x\"]}, {\"a\": [\"z\"]}]', '$[?(@.a anyof [''x''])]')",
            json!("[{\"a\":[\"x\"]}]"),
        ),
        ("JSON_QUERY('[{\"a\": [1, 2]}, {\"a\": [3]}]', '$[?(@.a subsetof [1, 2, 4])].a[0]')", json!("[1]")),
        ("JSON_QUERY('[1, {\"a\": 2}]', '$' RETURNING ARRAY<STRING>)", json!(["1", "{\"a\":2}"])),
        ("JSON_EXISTS('{\"a\": 1}', '$.a') AND '[]' IS JSON ARRAY AND 'x' IS NOT JSON", json!(true)),
    ]);
    assert!(error("JSON_VALUE('{}', '$.a' ERROR ON ERROR)").contains("something on the path is not there"));
    assert!(error("JSON_VALUE('{}', 'lax $.a' ERROR ON EMPTY)").contains("there is no value"));
    assert!(error("JSON_QUERY('1', '$' ERROR ON ERROR)").contains("neither an object nor a list"));
    assert!(error("JSON_VALUE('{}', '$.a' RETURNING BIGINT)").contains("CAST(JSON_VALUE(…) AS …)"));
    assert!(error("JSON_QUERY('{}', '$' RETURNING ARRAY<INT>)").contains("STRING or ARRAY<STRING>"));
    assert!(error("JSON_VALUE('{}', '$.a' DEFAULT 1 ON)").contains("EMPTY or ERROR"));
    assert!(error("JSON_VALUE(1, '$.a')").contains("'JSON_VALUE' takes (STRING, STRING"));
}

#[test]
fn casts() {
    check(&[
        ("CAST(' 12.9 ' AS INT)", json!(12)),
        ("TRY_CAST('x' AS INT)", Value::Null),
        ("CAST(CAST(1e10 AS DOUBLE) AS STRING)", json!("1.0E10")),
        ("CAST(TRUE AS STRING)", json!("TRUE")),
        ("CAST(128 AS TINYINT)", json!(-128)),
        ("CAST(123.456 AS DECIMAL(4, 2))", Value::Null),
        ("CAST(CAST('2026-01-01 00:00:10' AS TIMESTAMP(3)) AS STRING)", json!("2026-01-01 00:00:10.000")),
        ("CAST(CAST('2026-01-02' AS DATE) AS STRING)", json!("2026-01-02")),
        ("CAST(SPLIT('a,b', ',') AS STRING)", json!("[a, b]")),
    ]);
}

/// docs/divergences/casts_and_types.md and functions.md.
#[test]
fn what_differs_from_flink_on_purpose() {
    check(&[
        ("TYPEOF(CAST(1 AS FLOAT) * CAST(1 AS DOUBLE))", json!("DOUBLE")),
        ("CAST(CAST('2026-01-01 00:00:10.123' AS TIMESTAMP(0)) AS STRING)", json!("2026-01-01 00:00:10.123")),
        ("CAST(CAST(1e18 AS FLOAT) AS STRING)", json!("1.0E18")),
        ("CAST(1e21 AS BIGINT)", json!(i64::MAX)),
        ("CAST(CAST(CAST('1969-12-31 23:00:00' AS TIMESTAMP(3)) AS TIME) AS STRING)", json!("23:00:00")),
        ("GREATEST(CAST(NULL AS DECIMAL(5, 2)), 2)", Value::Null),
        ("5.5e0 % 2", json!(1.5)),
        ("CASE WHEN TRUE THEN 1 ELSE 'x' END", json!("1")),
    ]);
}

#[test]
fn an_instant_is_shown_in_the_zone_of_the_session() {
    let query = "SET 'table.local-time-zone' = 'Europe/Berlin'; SELECT CAST(CAST(TIMESTAMP '2026-07-01 12:00:00' AS TIMESTAMP_LTZ(3)) AS STRING) AS v, CAST(CAST(CAST('2026-07-01 12:00:00' AS TIMESTAMP_LTZ(3)) AS TIMESTAMP(3)) AS STRING) AS w";
    assert_eq!(rows(query).unwrap(), [[json!("2026-07-01 12:00:00.000"), json!("2026-07-01 12:00:00.000")]]);
}

#[test]
fn errors_say_what_a_function_takes() {
    let text = error("LPAD(1, 2)");
    assert!(text.contains("'LPAD' takes (STRING, INT, STRING), not (INT, INT)"), "{text}");
    assert!(text.contains("write LPAD(string, length, pad)"), "{text}");
    assert!(text.contains("1 | SELECT LPAD"), "{text}");
    assert!(error("UPPER()").contains("'UPPER' takes (STRING), not ()"));
    assert!(error("1 + 'a'").contains("between BIGINT and STRING"));
    assert!(error("CAST(1 AS TIMESTAMP(3))").contains("INT cannot be CAST to TIMESTAMP(3)"));
    assert!(error("CAST('x' AS INT)").contains("'x' is no INT"));
    assert!(error("1 / 0").to_lowercase().contains("divide by zero"));
    assert!(error("1.0 / 0").to_lowercase().contains("divide by zero"));
    assert!(error("REGEXP_REPLACE('a', '(?<=x)a', '')").contains("look-around"));
    assert!(error("REPEAT('abc', 2000000000)").contains("at most"));
    assert!(error("RAND_INTEGER(0)").contains("bound"));
    assert!(error("ENCODE('a', 'EBCDIC')").contains("EBCDIC"));
    assert!(error("FROM_BASE64('***')").contains("FROM_BASE64"));
    assert!(error("SHA2('a', 100)").contains("not 100"));
}

#[test]
fn random_values_differ_by_row_and_repeat_by_seed() {
    let query = "SELECT UUID() AS a, RAND() AS b FROM (VALUES (1), (2), (3)) AS t(a)";
    let (first, second) = (rows(query).unwrap(), rows(query).unwrap());
    assert_eq!(first, second);
    assert_ne!(first[0], first[1]);
    let uuid = first[0][0].as_str().unwrap();
    assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
}
