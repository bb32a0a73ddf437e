//! What was written, and what must come of it: the harness's own account, which knows nothing of the pipeline.
//!
//! A record's number says everything about it. Event times are up to 0.9 s out of order, which the query's watermark
//! allows, so no record is late.

use std::collections::BTreeMap;

use serde_json::{Value, json};

const DEVICES: u64 = 50;
/// Event time between two records.
const STEP_MS: u64 = 2;
const WINDOW_MS: u64 = 1_000;
/// How far a record may be behind one that was written before it.
const DISORDER_MS: u64 = 900;

/// An event time as the format reads and writes it.
fn time(ms: u64) -> String {
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (day, hour) = (seconds / 86_400, seconds / 3_600 % 24);
    let clock = format!("2026-01-{:02}T{hour:02}:{:02}:{:02}", day + 1, seconds / 60 % 60, seconds % 60);
    if ms == 0 { clock } else { format!("{clock}.{ms:03}") }
}

fn time_ms(n: u64) -> u64 {
    n * STEP_MS + n * 7_919 % DISORDER_MS
}

pub fn device(n: u64) -> String {
    format!("d{}", n % DEVICES)
}

/// The record with number `n`.
pub fn record(n: u64) -> Value {
    json!({"device": device(n), "n": n, "ts": time(time_ms(n))})
}

/// (device, start of the window) to count and sum.
pub type Sums = BTreeMap<(String, String), (u64, u64)>;

/// The right answer for `records` records.
pub fn sums(records: u64) -> Sums {
    let mut sums = Sums::new();
    for n in 0..records {
        let start = time_ms(n) / WINDOW_MS * WINDOW_MS;
        let sum = sums.entry((device(n), time(start))).or_default();
        *sum = (sum.0 + 1, sum.1 + n);
    }
    sums
}

/// How what a reader saw differs from the right answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Windows that did not come.
    pub lost: usize,
    /// Rows of a window that had come before.
    pub repeated: usize,
    /// Rows with another answer than the right one.
    pub wrong: usize,
    /// Rows of a device behind those of a later window.
    pub disordered: usize,
}

/// Compares rows, in the order they were read, with the right answer, and names some of what is not there.
pub fn compare<'a>(expected: &Sums, rows: impl Iterator<Item = &'a str>) -> Difference {
    let mut difference = Difference::default();
    let (mut seen, mut latest) = (Sums::new(), BTreeMap::<String, String>::new());
    for text in rows {
        let row: Value = serde_json::from_str(text).unwrap();
        let word = |name: &str| row[name].as_str().unwrap().to_owned();
        let (device, start) = (word("device"), word("starts"));
        let sum = (row["c"].as_u64().unwrap(), row["total"].as_u64().unwrap());
        let before = latest.insert(device.clone(), start.clone());
        difference.disordered += usize::from(before.is_some_and(|before| before > start));
        let key = (device, start);
        difference.wrong += usize::from(expected.get(&key) != Some(&sum));
        difference.repeated += usize::from(seen.insert(key, sum).is_some());
    }
    let missing: Vec<_> = expected.keys().filter(|key| !seen.contains_key(*key)).collect();
    difference.lost = missing.len();
    missing.iter().take(20).for_each(|(device, start)| println!("lost: {device} {start}"));
    difference
}

/// The harness is worth what this can see.
#[test]
fn rows_that_are_lost_repeated_wrong_or_out_of_order_are_found() {
    let expected = sums(5_000);
    let row = |((device, starts), (c, total)): (&(String, String), &(u64, u64))| {
        json!({"device": device, "starts": starts, "c": c, "total": total}).to_string()
    };
    let right: Vec<String> = expected.iter().map(row).collect();
    let found = |rows: &[String]| compare(&expected, rows.iter().map(String::as_str));
    assert_eq!(found(&right), Difference::default());
    assert_eq!(found(&right[1..]), Difference { lost: 1, ..Difference::default() });
    let mut rows = right.clone();
    rows.insert(0, right[0].clone());
    assert_eq!(found(&rows), Difference { repeated: 1, ..Difference::default() });
    rows[0] = rows[0].replacen("\"c\":", "\"c\":1", 1);
    assert_eq!(found(&rows[..right.len()]).wrong, 1);
    let mut rows = right.clone();
    rows.swap(0, 1);
    assert_eq!(found(&rows), Difference { disordered: 1, ..Difference::default() });
}
