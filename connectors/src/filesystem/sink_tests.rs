//! The sink into folders as its worker drives it; files are read back with the standard library.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream_engine::clock::ManualClock;
use millstream_engine::context::IoRuntime;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::options::Options;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Connector, InstanceContext, Ready, Result, Sink, Table};

use super::Filesystem;

/// A table (site STRING, n BIGINT) over `path`.
pub(super) fn table(path: &Path, options: &[(&str, &str)]) -> Table {
    let mut values: BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    values.insert("path".to_owned(), path.display().to_string());
    values.insert("connector".to_owned(), "filesystem".to_owned());
    Table {
        name: "t".to_owned(),
        schema: rows(0, 0).rows.schema(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        options: Options::new("table t", values),
        formats: crate::registry().formats().clone(),
    }
}

/// Rows `from .. to`, at sites A and B by turns.
pub(super) fn rows(from: i64, to: i64) -> Batch {
    let sites: StringArray = (from..to).map(|n| Some(if n % 2 == 0 { "A" } else { "B" })).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("site", Arc::new(sites)), ("n", Arc::new(Int64Array::from_iter_values(from..to)))];
    Batch::new(
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap(),
    )
}

pub(super) fn context(clock: Arc<ManualClock>) -> InstanceContext {
    InstanceContext {
        job: "test".into(),
        instance: 0,
        parallelism: 1,
        key_groups: 0..1,
        batch_rows_max: 4096,
        clock,
        waker: Arc::default(),
        metrics: OperatorMetrics::new("t", "sink", 0),
        dead_letters: Arc::default(),
        dead_letter_route: None,
        io: IoRuntime::default(),
        journal_folder: None,
    }
}

fn start(table: &Table, clock: &Arc<ManualClock>) -> Result<Box<dyn Sink>> {
    let mut sink = Filesystem.sink(table)?.create(0, 1)?;
    sink.open(&context(Arc::clone(clock)))?;
    Ok(sink)
}

/// All files below `folder` by path, hidden ones too.
pub(super) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(
                files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_keys().collect()
}

fn lines(from: i64, to: i64) -> String {
    (from..to)
        .map(|n| format!("{{\"site\":\"{}\",\"n\":{n}}}\n", if n % 2 == 0 { "A" } else { "B" }))
        .collect()
}

#[test]
fn files_are_rolled_by_size_and_age_and_hidden_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let table = table(folder.path(), &[("sink.rolling-policy.file-size", "100 kb")]);
    let mut sink = start(&table, &clock).unwrap();
    sink.write(rows(0, 3)).unwrap();
    sink.on_quiet().unwrap();
    assert_eq!(names(folder.path()), [".part-0-0.json.inprogress"]);
    sink.write(rows(3, 10_000)).unwrap();
    assert_eq!(names(folder.path()), ["part-0-0.json"]);
    sink.write(rows(0, 3)).unwrap();
    clock.advance(30 * 60_000);
    sink.on_quiet().unwrap();
    assert_eq!(names(folder.path()), ["part-0-0.json", "part-0-1.json"]);
    sink.write(rows(7, 8)).unwrap();
    assert_eq!(sink.finish().unwrap(), Ready::Yes);
    drop(sink);
    let files = files(folder.path());
    let texts: Vec<_> = files.values().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect();
    assert_eq!(texts, [lines(0, 10_000), lines(0, 3), lines(7, 8)]);
    // A later run adds files and replaces none.
    let mut sink = start(&table, &clock).unwrap();
    sink.write(rows(8, 9)).unwrap();
    assert_eq!(sink.finish().unwrap(), Ready::Yes);
    assert_eq!(names(folder.path()).len(), 4);
}

#[test]
fn partitions_are_folders_and_few_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let options = [("sink.partition-by", "site"), ("sink.open-files.max", "1")];
    let mut sink = start(&table(folder.path(), &options), &clock).unwrap();
    sink.write(rows(0, 4)).unwrap();
    let open = |name: &String| name.ends_with(".inprogress");
    assert_eq!(names(folder.path()).iter().filter(|name| open(name)).count(), 1);
    assert_eq!(sink.finish().unwrap(), Ready::Yes);
    let files = files(folder.path());
    let of = |site: &str| {
        files.iter().find(|(name, _)| name.starts_with(&format!("site={site}/part-0-"))).unwrap().1
    };
    assert_eq!(of("A"), b"{\"n\":0}\n{\"n\":2}\n");
    assert_eq!(of("B"), b"{\"n\":1}\n{\"n\":3}\n");
}

#[test]
fn a_checkpoint_names_its_files_when_it_is_complete_or_restored() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let table = table(folder.path(), &[("sink.rolling-policy.file-size", "1 mb")]);
    let mut sink = start(&table, &clock).unwrap();
    sink.write(rows(0, 2)).unwrap();
    let mut state = StateWriter::default();
    assert_eq!(sink.on_barrier(1, &mut state).unwrap(), Ready::Yes);
    sink.write(rows(2, 4)).unwrap();
    sink.on_checkpoint_complete(1).unwrap();
    assert_eq!(names(folder.path()), [".part-0-1.json.inprogress", "part-0-0.json"]);
    let mut state = StateWriter::default();
    assert_eq!(sink.on_barrier(2, &mut state).unwrap(), Ready::Yes);
    sink.write(rows(4, 6)).unwrap();
    sink.on_quiet().unwrap();
    drop(sink);
    // The run died before it heard that epoch 2 is complete; the rows after it come again.
    let mut sink = start(&table, &clock).unwrap();
    sink.restore(&StateReader::gather(&[state.finish()], &(0..1))).unwrap();
    sink.write(rows(4, 6)).unwrap();
    assert_eq!(sink.finish().unwrap(), Ready::Yes);
    let text: String =
        files(folder.path()).into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    assert_eq!(text, lines(0, 6));
}

/// The surroundings in a job whose state is on disk.
fn start_durable(table: &Table, state: Option<StateWriter>) -> Box<dyn Sink> {
    let mut sink = Filesystem.sink(table).unwrap().create(0, 1).unwrap();
    let context = context(ManualClock::at(0));
    sink.open(&InstanceContext { journal_folder: Some("journal".into()), ..context }).unwrap();
    if let Some(state) = state {
        sink.restore(&StateReader::gather(&[state.finish()], &(0..1))).unwrap();
    }
    sink
}

fn barrier(sink: &mut dyn Sink, epoch: u64) -> StateWriter {
    let mut state = StateWriter::default();
    assert_eq!(sink.on_barrier(epoch, &mut state).unwrap(), Ready::Yes);
    state
}

#[test]
fn with_state_on_disk_a_file_has_its_name_only_behind_a_complete_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let options = [("sink.partition-by", "site"), ("sink.rolling-policy.file-size", "100 kb")];
    let table = table(folder.path(), &options);
    let visible = || -> BTreeMap<String, Vec<u8>> {
        files(folder.path()).into_iter().filter(|(name, _)| !name.contains("/.")).collect()
    };
    // A run that died before its first checkpoint: its rows come again.
    let mut sink = start_durable(&table, None);
    sink.write(rows(0, 30_000)).unwrap();
    drop(sink);
    let mut sink = start_durable(&table, None);
    sink.write(rows(0, 30_000)).unwrap();
    assert_eq!(visible().len(), 0, "rolled, and still hidden");
    let state = barrier(&mut *sink, 1);
    sink.write(rows(30_000, 30_010)).unwrap();
    drop(sink);
    // Killed before it heard of epoch 1, which was complete.
    let mut sink = start_durable(&table, Some(state));
    let named = visible();
    sink.write(rows(30_000, 30_004)).unwrap();
    let mut last = StateWriter::default();
    assert_eq!(sink.on_end(2, &mut last).unwrap(), Ready::Yes);
    assert!(!sink.is_committed().unwrap() && visible() == named);
    sink.on_checkpoint_complete(1).unwrap();
    assert!(!sink.is_committed().unwrap() && visible() == named);
    sink.on_checkpoint_complete(2).unwrap();
    assert!(sink.is_committed().unwrap());
    let text: String = visible().into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    let mut numbers: Vec<i64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30_004).collect::<Vec<_>>());
}

#[test]
fn with_state_on_disk_one_file_is_cut_off_at_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.json");
    std::fs::write(&path, "of another life\n").unwrap();
    let table = table(&path, &[]);
    let mut sink = start_durable(&table, None);
    sink.write(rows(0, 3)).unwrap();
    let state = barrier(&mut *sink, 1);
    sink.write(rows(3, 9)).unwrap();
    sink.on_quiet().unwrap();
    drop(sink);
    let mut sink = start_durable(&table, Some(state));
    sink.write(rows(3, 5)).unwrap();
    let mut last = StateWriter::default();
    assert_eq!(sink.on_end(2, &mut last).unwrap(), Ready::Yes);
    drop(sink);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(0, 5));
    // It had come to its end: another run has nothing to do, and loses nothing.
    drop(start_durable(&table, Some(last)));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(0, 5));
}

#[test]
fn a_dead_runs_lines_are_kept_and_a_living_ones_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let table = table(folder.path(), &[("sink.rolling-policy.file-size", "1 mb")]);
    std::fs::write(folder.path().join(".part-0-0.json.inprogress"), "{\"n\":1}\n{\"n\":2}\n{\"n").unwrap();
    std::fs::write(folder.path().join(".part-0-1.json.gz.inprogress"), "half").unwrap();
    let mut living = start(&table, &clock).unwrap();
    living.write(rows(0, 1)).unwrap();
    let mut other = start(&table, &clock).unwrap();
    other.on_quiet().unwrap();
    assert_eq!(names(folder.path()), [".part-0-1.json.inprogress", "part-0-0.json"]);
    assert_eq!(files(folder.path())["part-0-0.json"], b"{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error =
        start(&table(&file, &[("sink.compression", "gzip")]), &ManualClock::at(0)).err().unwrap().to_string();
    assert!(error.contains("is a file, not a folder"), "{error}");
    let error = start(&table(&file.join("below/"), &[]), &ManualClock::at(0)).err().unwrap().to_string();
    assert!(error.contains("below"), "{error}");
}
