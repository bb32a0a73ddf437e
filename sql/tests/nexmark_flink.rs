//! Every query of Nexmark over files of 100,000 events, in order and not, against what Flink 2.2 answered to the same
//! files: how many rows, and a digest of them (scripts/record-nexmark).
//!
//! Of a query that updates, it is the rows that all changes come to. `NEXMARK_KEEP=FOLDER` leaves our rows there, one a
//! line, to be compared with those that the script keeps. q12 goes by the wall clock, and is held to its own sums.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use arrow_schema::DataType;
use millstream_connectors::print::JsonLines;
use millstream_engine::options::OptionSpec;
use millstream_engine::{Connector, Job, JobConfig, Registry, Result, SinkProvider, Table};
use millstream_sql::{CompileOptions, ScalarFunction, compile};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

const EVENTS: u64 = 100_000;

/// The inputs that were recorded: the share of events that come late. Some come too late for their windows.
const INPUTS: [(&str, &str); 2] = [("ordered", "0"), ("shuffled", "0.05")];

fn queries() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/nexmark")
}

/// Stands for `blackhole`, and keeps what comes.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Connector for Kept {
    fn name(&self) -> &'static str {
        "blackhole"
    }
    fn help(&self) -> &'static str {
        "Keeps rows as lines of JSON."
    }
    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }
    fn sink(&self, _table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(JsonLines { writer: Arc::clone(&self.0) as _, prefix: String::new() }))
    }
}

/// q14's function.
struct CountChar;

impl ScalarFunction for CountChar {
    fn name(&self) -> &str {
        "COUNT_CHAR"
    }
    fn arguments(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Utf8; given.len()])
    }
    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }
    fn evaluate(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let text = |at: usize| arguments[at].as_any().downcast_ref::<StringArray>().unwrap();
        let count = |row: usize| {
            assert!(text(0).is_valid(row));
            text(0).value(row).matches(text(1).value(row)).count() as i64
        };
        Ok(Arc::new((0..rows).map(count).collect::<Int64Array>()))
    }
}

/// Runs a text whose variables are `variables`; gives what was kept.
fn run(
    text: &str,
    workers: usize,
    variables: Vec<(&'static str, String)>,
) -> std::result::Result<String, String> {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let mut registry: Registry = millstream_connectors::registry();
    registry.add(Arc::new(Kept(Arc::clone(&kept))));
    let options = CompileOptions {
        workers,
        scalar_functions: vec![Arc::new(CountChar)],
        variables: Arc::new(move |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        }),
        ..CompileOptions::default()
    };
    let program = compile(text, &registry, &options).map_err(|error| error.render("query"))?;
    let config = JobConfig { workers, checkpoint_interval: None, ..JobConfig::default() };
    let job = Job::start(&program.graph, config).map_err(|error| error.to_string())?;
    job.wait().map_err(|error| error.to_string())?;
    let bytes = kept.lock().clone();
    Ok(String::from_utf8(bytes).unwrap())
}

/// A file of events, made once; the same for every run.
fn events(name: &str, out_of_order: &str) -> PathBuf {
    let file =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nexmark-{name}-{}.json", std::process::id()));
    let tables = std::fs::read_to_string(queries().join("tables.sql")).unwrap();
    let declaration = &tables[..tables.find("CREATE VIEW").unwrap()];
    let columns = &declaration[declaration.find('(').unwrap()..declaration.find("`dateTime` AS").unwrap()];
    let columns = columns.trim_end().trim_end_matches(',');
    let source = format!(
        "'connector' = 'nexmark', 'first-event.rate' = '1000', 'next-event.rate' = '1000', 'events.num' = '{EVENTS}',
         'seed' = '1', 'out-of-order' = '{out_of_order}', 'out-of-order.max' = '6 s'"
    );
    let text = format!(
        "CREATE TABLE datagen {columns}) WITH ({source});
         CREATE TABLE file {columns}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         INSERT INTO file SELECT event_type, person, auction, bid FROM datagen;",
        file.display()
    );
    run(&text, 1, Vec::new()).unwrap();
    file
}

/// The rows that hold after all changes, a line a row: the columns by name.
fn folded(changes: &str) -> Vec<String> {
    let mut table: BTreeMap<String, i64> = BTreeMap::new();
    for line in changes.lines() {
        let mut row: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        let back = row.remove("op").is_some_and(|op| op.as_str().is_some_and(|op| op.starts_with('-')));
        let mut text = String::new();
        for (name, value) in row {
            let comma = if text.is_empty() { "" } else { "," };
            write!(text, "{comma}{name}={value}").unwrap();
        }
        *table.entry(text).or_default() += if back { -1 } else { 1 };
    }
    let all = |(row, times): (String, i64)| {
        assert!(times >= 0, "taken back and never given: {row}");
        std::iter::repeat_n(row, times as usize)
    };
    table.into_iter().flat_map(all).collect()
}

/// The lines of partitioned files, each behind its folder; a committed folder counts as a line.
fn lines_of_partitions(root: &Path, folder: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines_of_partitions(root, &path, lines);
            continue;
        }
        let of = folder.strip_prefix(root).unwrap().display();
        let text = std::fs::read_to_string(&path).unwrap();
        let is_mark = path.file_name().unwrap() == "_SUCCESS";
        let found = if is_mark { vec![""] } else { text.lines().collect() };
        lines.extend(found.into_iter().map(|line| format!("{of}: {}", line.replace('"', ""))));
    }
}

/// The rows of query `name`, sorted.
fn rows(name: &str, file: &Path, workers: usize) -> std::result::Result<Vec<String>, String> {
    let scratch =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nexmark-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let (side_input, output) = (scratch.join("side_input.txt"), scratch.join("output"));
    std::fs::write(&side_input, (0..10_000).map(|key| format!("{key},{key}\n")).collect::<String>()).unwrap();
    let source = format!("'connector' = 'filesystem', 'format' = 'json', 'path' = '{}'", file.display());
    let tables = std::fs::read_to_string(queries().join("tables.sql")).unwrap().replace("${SOURCE}", &source);
    let text = std::fs::read_to_string(queries().join(format!("{name}.sql"))).unwrap();
    let variables =
        vec![("SIDE_INPUT", side_input.display().to_string()), ("OUTPUT", format!("{}/", output.display()))];
    let found = run(&format!("{tables}{text}"), workers, variables).map(|kept| {
        let mut rows = folded(&kept);
        if output.exists() {
            lines_of_partitions(&output, &output, &mut rows);
        }
        rows.sort();
        rows
    });
    std::fs::remove_dir_all(&scratch).unwrap();
    found
}

#[test]
#[ignore = "takes two minutes; scripts/test runs it"]
fn every_query_gives_flinks_rows() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nexmark/recorded.jsonl");
    let recorded: Vec<Value> = std::fs::read_to_string(recorded)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let only = std::env::var("NEXMARK_ONLY").ok();
    let keep = std::env::var("NEXMARK_KEEP").ok();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (input, out_of_order) in INPUTS {
        let file = events(input, out_of_order);
        for case in recorded.iter().filter(|case| case["input"] == input) {
            let name = case["query"].as_str().unwrap();
            if only.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            compared += 1;
            // Each number of workers has an input; that it changes no answer is shown elsewhere for every operator.
            let workers = if input == "ordered" { 1 } else { 2 };
            let rows = match rows(name, &file, workers) {
                Ok(rows) => rows,
                Err(error) => {
                    wrong.push(format!("{name} {input}: {error}"));
                    continue;
                }
            };
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            if let Some(folder) = &keep {
                std::fs::write(Path::new(folder).join(format!("{name}.{input}")), &text).unwrap();
            }
            let digest = Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            if case["rows"] != rows.len() || case["sha256"] != digest {
                wrong.push(format!(
                    "{name} {input}: {} rows, Flink has {}, or others",
                    rows.len(),
                    case["rows"]
                ));
            }
        }
        std::fs::remove_file(file).unwrap();
    }
    assert!(
        compared > 0 && (only.is_some() || compared == recorded.len()),
        "{compared} of {}",
        recorded.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
