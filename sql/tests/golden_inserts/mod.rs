//! Golden cases of INSERT INTO: what is in the sinks' files afterwards, each row with its table in front (`.out`).
//!
//! A sink of a case in inserts/ is a table of files with the path `${OUT}/NAME/`. Flink's rows (`.flink`) are recorded by
//! scripts/record-flink; numbers are compared as numbers. `GOLDEN=write` writes what is missing, as for the other cases.

use std::path::Path;
use std::sync::Arc;

use millstream_engine::{Job, JobConfig};
use millstream_sql::{CompileOptions, compile};

use super::{Row, difference, folder, values};

/// The rows of all files in `${OUT}` after the case ran, or its error as a person sees it.
fn run(text: &str, workers: usize, batch_rows_max: usize) -> Result<Vec<String>, String> {
    let out = tempfile::tempdir().unwrap();
    let (data, target) = (folder().join("data").display().to_string(), out.path().display().to_string());
    let options = CompileOptions {
        workers,
        variables: Arc::new(move |name| match name {
            "DATA" => Some(data.clone()),
            "OUT" => Some(target.clone()),
            _ => None,
        }),
        ..CompileOptions::default()
    };
    let program = compile(text, &millstream_connectors::registry(), &options)
        .map_err(|error| error.render("case.sql"))?;
    let job = Job::start(&program.graph, JobConfig { workers, batch_rows_max, ..JobConfig::default() })
        .map_err(|error| error.to_string())?;
    job.wait().map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for table in std::fs::read_dir(out.path()).unwrap() {
        let table = table.unwrap().path();
        let name = table.file_name().unwrap().to_string_lossy().into_owned();
        for file in std::fs::read_dir(&table).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            rows.extend(text.lines().map(|line| {
                assert!(line.starts_with('{'), "{line}");
                let rest = line[1..].trim_start();
                format!("{{\"table\":\"{name}\",{rest}")
            }));
        }
    }
    rows.sort();
    Ok(rows)
}

#[test]
fn every_insert_writes_its_rows() {
    let write = std::env::var("GOLDEN").is_ok_and(|value| value == "write");
    let inserts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inserts");
    let (mut compared, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(inserts).unwrap() {
        let case = entry.unwrap().path();
        if case.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let name = case.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&case).unwrap();
        for (workers, batch_rows) in [(1, 4_096), (2, 7)] {
            let found = match run(&text, workers, batch_rows) {
                Ok(rows) => rows.join("\n") + "\n",
                Err(error) => error,
            };
            let file = case.with_extension("out");
            match std::fs::read_to_string(&file) {
                Ok(expected) if expected == found => {}
                Err(_) if write => std::fs::write(&file, &found).unwrap(),
                expected => wrong.push(format!(
                    "{name} at {workers} workers:\n--- expected\n{}--- found\n{found}",
                    expected.unwrap_or_default()
                )),
            }
        }
        let ours = std::fs::read_to_string(case.with_extension("out")).unwrap_or_default();
        let Ok(flinks) = std::fs::read_to_string(case.with_extension("flink")) else {
            assert!(name.starts_with("own_"), "{name} is not recorded on Flink");
            continue;
        };
        compared += 1;
        let [ours, flinks]: [Vec<Row>; 2] = [values(&ours), values(&flinks)];
        if let Some(difference) = difference(&ours, &flinks) {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(compared > 0, "scripts/record-flink writes Flink's answers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
