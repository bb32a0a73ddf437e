//! Golden cases: one SQL file each in golden/, its rows beside it (`.out`, JSON lines) or its error (`.err`).
//!
//! Each case runs with one worker and with two; rows are compared as a multiset, those of a query that updates by the
//! table that its changes come to. `GOLDEN=write cargo test` writes what is missing; a diff shows what changed.
//! `GOLDEN_ONLY='hop late'` runs the cases whose names contain one of the words.

#![allow(clippy::unwrap_used)]

mod golden_inserts;
mod golden_kills;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_connectors::print::JsonLines;
use millstream_engine::{Job, JobConfig, SinkProvider};
use millstream_sql::{CompileOptions, compile};
use parking_lot::Mutex;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The columns of a row.
type Row = Vec<(String, serde_json::Value)>;

/// Rows as values, numbers as numbers: `1.50` is `1.5`, and the last digit of a mean may differ.
fn values(rows: &str) -> Vec<Row> {
    let parse = |line: &str| {
        let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        row.into_iter().collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = rows.lines().filter(|line| !line.is_empty()).map(parse).collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

fn same(ours: &serde_json::Value, flinks: &serde_json::Value) -> bool {
    match (ours.as_f64(), flinks.as_f64()) {
        (Some(ours), Some(flinks)) => (ours - flinks).abs() <= 1e-12 * ours.abs().max(1.0),
        _ => ours == flinks,
    }
}

/// What is not the same in the first rows that differ.
fn difference(ours: &[Row], flinks: &[Row]) -> Option<String> {
    if ours.len() != flinks.len() {
        return Some(format!("{} rows, Flink has {}", ours.len(), flinks.len()));
    }
    let of_rows = |(ours, flinks): (&Row, &Row)| {
        let cells = ours
            .iter()
            .zip(flinks)
            .filter(|((name, ours), (known, flinks))| name != known || !same(ours, flinks));
        let cells: Vec<String> = cells
            .map(|((name, ours), (known, flinks))| format!("{name}: {ours}, Flink's {known}: {flinks}"))
            .collect();
        (!cells.is_empty() || ours.len() != flinks.len())
            .then(|| format!("{}\n  in {ours:?}", cells.join("; ")))
    };
    ours.iter().zip(flinks).find_map(of_rows)
}

#[test]
fn every_recorded_case_agrees_with_flink() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "flink") {
            continue;
        }
        compared += 1;
        let flinks = values(&std::fs::read_to_string(&path).unwrap());
        let ours = values(&std::fs::read_to_string(path.with_extension("out")).unwrap_or_default());
        if let Some(difference) = difference(&ours, &flinks) {
            wrong.push(format!("{}: {difference}", path.display()));
        }
    }
    assert!(compared > 0, "scripts/record-flink writes Flink's answers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The rows of a text in order, or its error as a person sees it.
fn run(text: &str, workers: usize, batch_rows_max: usize) -> Result<Vec<String>, String> {
    let mut rows = run_as_they_come(text, workers, batch_rows_max)?;
    if rows.iter().any(|row| row.starts_with("{\"op\":")) {
        rows = folded(&rows);
    }
    if !is_explanation(text) {
        rows.sort();
    }
    Ok(rows)
}

fn is_explanation(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("EXPLAIN"))
}

/// The rows of a text as it gives them.
fn run_as_they_come(text: &str, workers: usize, batch_rows_max: usize) -> Result<Vec<String>, String> {
    run_with(text, workers, batch_rows_max, &[])
}

/// The rows of a text with settings, as it gives them.
fn run_with(
    text: &str,
    workers: usize,
    batch_rows_max: usize,
    settings: &[(&str, &str)],
) -> Result<Vec<String>, String> {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&written);
    let data = folder().join("data").display().to_string();
    let options = CompileOptions {
        workers,
        settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        variables: Arc::new(move |name| (name == "DATA").then(|| data.clone())),
        results: Some(Arc::new(move |_| {
            Arc::new(JsonLines { writer: Arc::clone(&writer) as _, prefix: String::new() })
                as Arc<dyn SinkProvider>
        })),
        ..CompileOptions::default()
    };
    let program = compile(text, &millstream_connectors::registry(), &options)
        .map_err(|error| error.render("case.sql"))?;
    if !program.explanations.is_empty() {
        let text = program.explanations.concat().replace(&folder().display().to_string(), "golden");
        return Ok(text.lines().map(str::to_owned).collect());
    }
    let job = Job::start(&program.graph, JobConfig { workers, batch_rows_max, ..JobConfig::default() })
        .map_err(|error| error.to_string())?;
    let ended = job.wait();
    if let Err(error) = ended {
        return Err(error.to_string());
    }
    let text = String::from_utf8(written.lock().clone()).unwrap();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Queries with ORDER BY give their rows in order of time, however many workers read them.
#[test]
fn what_is_ordered_comes_in_order() {
    let mut compared = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("sort_time") || !name.ends_with(".sql") {
            continue;
        }
        compared += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for (workers, batch_rows) in [(1, 1), (2, 7), (4, 4_096)] {
            let time = |row: &String| {
                let row: serde_json::Value = serde_json::from_str(row).unwrap();
                row["ts"].as_str().unwrap().to_owned()
            };
            let times: Vec<String> =
                run_as_they_come(&text, workers, batch_rows).unwrap().iter().map(time).collect();
            assert!(times.len() > 1 && times.is_sorted(), "{name} at {workers} workers: {times:?}");
        }
    }
    assert!(compared > 0);
}

/// The rows that are there after all changes. A row that goes must have come.
fn folded(changes: &[String]) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for change in changes {
        let op = change.strip_prefix("{\"op\":\"").and_then(|rest| rest.split_at_checked(2));
        let (op, rest) = op.unwrap_or_else(|| panic!("a row without a change kind among others: {change}"));
        let times = rows.entry(format!("{{{}", &rest[2..])).or_default();
        *times += if op.starts_with('-') { -1 } else { 1 };
    }
    let count = |(row, times): (String, i64)| {
        assert!(times >= 0, "taken back and never given: {row}");
        std::iter::repeat_n(row, times as usize)
    };
    rows.into_iter().flat_map(count).collect()
}

#[test]
fn every_case_gives_its_rows() {
    let write = std::env::var("GOLDEN").is_ok_and(|value| value == "write");
    let mut wrong = Vec::new();
    for case in cases() {
        let text = std::fs::read_to_string(&case).unwrap();
        for workers in [1, 2] {
            let (extension, found) = match run(&text, workers, JobConfig::default().batch_rows_max) {
                Ok(rows) => ("out", rows.join("\n") + "\n"),
                Err(error) => ("err", error),
            };
            let expected_file = case.with_extension(extension);
            let expected = std::fs::read_to_string(&expected_file).ok();
            let name = case.file_stem().unwrap().to_string_lossy().into_owned();
            if name.starts_with("explain") && workers == 2 {
                continue;
            }
            match expected {
                Some(expected) if expected == found => {}
                None if write => std::fs::write(&expected_file, &found).unwrap(),
                Some(expected) => wrong.push(format!(
                    "{name} at {workers} workers:\n--- expected\n{expected}--- found\n{found}"
                )),
                None => {
                    wrong.push(format!("{name} at {workers} workers: no {extension} file, found\n{found}"))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// All cases, or those that are asked for.
fn cases() -> Vec<PathBuf> {
    let only = std::env::var("GOLDEN_ONLY").ok();
    let is_wanted = |path: &PathBuf| {
        only.as_ref().is_none_or(|only| only.split(' ').any(|part| path.to_string_lossy().contains(part)))
    };
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql") && is_wanted(path))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// The cases that have rows.
fn cases_with_rows() -> Vec<PathBuf> {
    let has_rows = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        path.with_extension("out").exists() && !name.starts_with("explain")
    };
    let cases: Vec<PathBuf> = cases().into_iter().filter(has_rows).collect();
    assert!(!cases.is_empty());
    cases
}

/// What `check` finds wrong in each case. Most of a case's time is spent waiting for its workers: several run beside each
/// other.
fn side_by_side(cases: &[PathBuf], check: &(impl Fn(&PathBuf) -> Vec<String> + Sync)) -> Vec<String> {
    std::thread::scope(|scope| {
        let parts = cases.chunks(cases.len().div_ceil(4));
        let parts: Vec<_> =
            parts.map(|part| scope.spawn(|| part.iter().flat_map(check).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// The same rows for any number of workers and size of batches: every case that has rows.
#[test]
fn answers_depend_on_neither_workers_nor_batches() {
    let differences = |case: &PathBuf| -> Vec<String> {
        let expected = std::fs::read_to_string(case.with_extension("out")).unwrap();
        let text = std::fs::read_to_string(case).unwrap();
        let name = case.file_stem().unwrap().to_string_lossy();
        let found = |(workers, batch_rows): (usize, usize)| {
            let found = run(&text, workers, batch_rows).unwrap().join("\n") + "\n";
            (found != expected).then(|| {
                format!(
                    "{name} at {workers} workers, {batch_rows} rows a batch:\n--- expected\n{expected}--- found\n{found}"
                )
            })
        };
        [(1, 1), (2, 7), (4, 3)].into_iter().filter_map(found).collect()
    };
    let wrong = side_by_side(&cases_with_rows(), &differences);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What mini-batches hold back comes to the same tables, in fewer changes: every case whose rows are updated.
#[test]
fn mini_batches_come_to_the_same_tables() {
    let (mut compared, mut changes, mut held, mut wrong) = (0, 0, 0, Vec::new());
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "sql") || is_explanation(&text) {
            continue;
        }
        let updates = |rows: &[String]| rows.iter().any(|row| row.starts_with("{\"op\":"));
        let Ok(plain) = run_with(&text, 1, 1, &[]) else { continue };
        if !updates(&plain) {
            continue;
        }
        compared += 1;
        changes += plain.len();
        for (workers, batch_rows, size) in [(1, 1, "5"), (2, 7, "1000000")] {
            let settings = [
                ("table.exec.mini-batch.enabled", "true"),
                ("table.exec.mini-batch.allow-latency", "1 h"),
                ("table.exec.mini-batch.size", size),
            ];
            let found = run_with(&text, workers, batch_rows, &settings).unwrap();
            held += if workers == 2 { found.len() } else { 0 };
            if folded(&found) != folded(&plain) {
                wrong.push(format!("{} at {workers} workers: {found:#?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(compared > 0 && 2 * held < changes, "{compared} cases, {changes} changes, {held} held back");
}
