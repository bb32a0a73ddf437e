//! `millstream nexmark`: every query comes to its end in a process of its own, and says what it took.

use crate::support::run;

#[test]
fn every_query_runs_and_says_what_it_took() {
    let ran = run(&["nexmark", "--all", "--events", "5000", "--workers", "2", "--format", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let rows = ran.rows();
    assert_eq!(rows.len(), 28);
    for row in &rows {
        let measured = &row["measured"];
        assert_eq!(measured["events"], 5_000, "{row}");
        let positive = ["seconds", "cpu_seconds", "rss_peak_bytes", "rows_out"];
        assert!(positive.iter().all(|key| measured[*key].as_f64().is_some_and(|value| value > 0.0)), "{row}");
    }
    let rows_out = |query: &str| {
        rows.iter().find(|row| row["query"] == query).unwrap()["measured"]["rows_out"].as_u64().unwrap()
    };
    // Of 50 events 46 are bids, each of which has one row in the side input.
    assert_eq!((rows_out("q0"), rows_out("q10"), rows_out("q13")), (4_600, 4_600, 4_600));
}

#[test]
fn a_query_that_is_none_is_usage() {
    let wrong = run(&["nexmark", "q24"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("q0 to q23"), "{wrong:?}");
}
