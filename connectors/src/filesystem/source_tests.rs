//! The source in a job, over files that the test writes, rotates, empties and deletes meanwhile.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millstream_engine::clock::ManualClock;
use millstream_engine::state::MemoryStateStore;
use millstream_engine::{
    Clock, Connector, Encoder, Graph, Input, Job, JobConfig, Result, Sink, SystemClock, Table,
};

use super::sink_tests::{context, rows, table};
use super::{Filesystem, columns};
use crate::format::JsonEncoder;
use crate::memory::{MemorySink, Puller};

/// A job that reads a table's rows into this test.
struct Reader {
    job: Job,
    puller: Puller,
}

impl Reader {
    fn start_with(table: &Table, store: &Arc<MemoryStateStore>, restore: Option<u64>) -> Result<Self> {
        let provider = Filesystem.source(table)?;
        let (sink, puller) = MemorySink::channel(64 << 20);
        let mut graph = Graph::new();
        let source = graph.source("t", provider.describe(), provider, Arc::clone(&table.schema));
        graph.sink("out", "", Arc::new(sink), Input::gather(source));
        let store = Arc::clone(store);
        let job = Job::start(&graph, JobConfig { workers: 1, store, restore, ..JobConfig::default() })?;
        Ok(Self { job, puller })
    }

    fn start(table: &Table) -> Self {
        Self::start_with(table, &Arc::default(), None).unwrap()
    }

    /// The next `count` rows as JSON; no more have come by then.
    fn rows(&self, count: usize) -> Vec<String> {
        let clock = SystemClock::default();
        let mut found: Vec<String> = Vec::new();
        while found.len() < count {
            assert!(clock.monotonic_ns() < 30_000_000_000, "only {found:?}; {:?}", self.job.error());
            let Some(batch) = self.puller.recv_timeout(Duration::from_millis(100)) else { continue };
            let mut encoder = JsonEncoder::new(false);
            encoder.encode(&batch).unwrap();
            found.extend(encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap()));
        }
        assert_eq!(found.len(), count, "{found:?}");
        found
    }

    fn numbers(&self, count: usize) -> Vec<i64> {
        let number =
            |row: &String| row.split_once("\"n\":").unwrap().1.trim_end_matches('}').parse().unwrap();
        self.rows(count).iter().map(number).collect()
    }

    /// All rows until the job's end.
    fn drain(self) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(batch) = self.puller.recv() {
            let mut encoder = JsonEncoder::new(false);
            encoder.encode(&batch).unwrap();
            found.extend(encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap()));
        }
        self.job.wait().unwrap();
        found
    }
}

const FOLLOW: &[(&str, &str)] = &[("scan.mode", "follow"), ("source.monitor-interval", "5 ms")];

fn append(path: &Path, numbers: std::ops::Range<i64>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    add(&mut file, numbers);
}

fn add(file: &mut File, numbers: std::ops::Range<i64>) {
    let text: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    (folder, log)
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let (folder, log) = folder();
    let mut old = File::create(&log).unwrap();
    add(&mut old, 0..3);
    let reader = Reader::start(&table(&log, FOLLOW));
    assert_eq!(reader.numbers(3), [0, 1, 2]);
    for round in 0..3 {
        let first = 3 + round * 4;
        add(&mut old, first..first + 1);
        std::fs::rename(&log, folder.path().join(format!("app.log.{round}"))).unwrap();
        // As logrotate has it: the writer goes on in the old file until it is told, then makes the new one.
        add(&mut old, first + 1..first + 3);
        old = File::create(&log).unwrap();
        add(&mut old, first + 3..first + 4);
        assert_eq!(reader.numbers(4), (first..first + 4).collect::<Vec<_>>());
    }
}

#[test]
fn a_rotation_within_a_pattern_repeats_nothing() {
    let (folder, log) = folder();
    append(&log, 0..3);
    let reader = Reader::start(&table(&folder.path().join("app.log*"), FOLLOW));
    assert_eq!(reader.numbers(3), [0, 1, 2]);
    append(&log, 3..4);
    std::fs::rename(&log, folder.path().join("app.log.1")).unwrap();
    append(&log, 4..6);
    assert_eq!(reader.numbers(3), [3, 4, 5]);
}

#[test]
fn an_emptied_file_is_begun_again_and_a_longer_one_too() {
    let (_folder, log) = folder();
    append(&log, 0..50);
    let reader = Reader::start(&table(&log, FOLLOW));
    assert_eq!(reader.numbers(50).len(), 50);
    // Copytruncate: emptied in place.
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, 100..103);
    assert_eq!(reader.numbers(3), [100, 101, 102]);
    // Written anew, longer than what was read: seen by its first bytes.
    std::fs::write(&log, (200..240).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>()).unwrap();
    assert_eq!(reader.numbers(40), (200..240).collect::<Vec<_>>());
}

#[test]
fn new_files_come_and_deleted_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let reader = Reader::start(&table(folder.path(), FOLLOW));
    append(&folder.path().join("a"), 0..2);
    assert_eq!(reader.numbers(2), [0, 1]);
    append(&folder.path().join("b"), 2..3);
    assert_eq!(reader.numbers(1), [2]);
    std::fs::remove_file(folder.path().join("a")).unwrap();
    append(&folder.path().join(".hidden"), 90..91);
    append(&folder.path().join("a"), 3..4);
    assert_eq!(reader.numbers(1), [3]);
    append(&folder.path().join("b"), 4..5);
    assert_eq!(reader.numbers(1), [4]);
    assert_eq!(reader.job.error().map(|error| error.to_string()), None);
}

#[test]
fn a_restart_goes_on_where_it_was_after_a_rotation_too() {
    let (folder, log) = folder();
    let store = Arc::default();
    let table = table(&log, FOLLOW);
    append(&log, 0..3);
    let reader = Reader::start_with(&table, &store, None).unwrap();
    assert_eq!(reader.numbers(3), [0, 1, 2]);
    // The beginning of a line does not count.
    OpenOptions::new().append(true).open(&log).unwrap().write_all(b"{\"n\":").unwrap();
    let epoch = reader.job.checkpoint().unwrap();
    reader.job.stop();
    assert!(reader.job.wait_for(Duration::from_secs(30)));
    OpenOptions::new().append(true).open(&log).unwrap().write_all(b"3}\n").unwrap();
    append(&log, 4..5);
    std::fs::rename(&log, folder.path().join("app.log.1")).unwrap();
    append(&log, 5..6);
    let reader = Reader::start_with(&table, &store, epoch).unwrap();
    assert_eq!(reader.numbers(3), [3, 4, 5]);
}

#[test]
fn metadata_names_the_file_and_the_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("x/y")).unwrap();
    std::fs::write(folder.path().join("x/a.json"), "{\"n\":1}\n\nbad\n{\"n\":2}\n").unwrap();
    std::fs::write(folder.path().join("x/y/b.json"), "{\"n\":3}").unwrap();
    let mut table = table(&folder.path().join("**/*.json"), &[]);
    let mut fields = vec![Field::new("n", DataType::Int64, true)];
    for spec in columns::specs() {
        table.metadata.push((fields.len(), spec.key.to_owned()));
        fields.push(Field::new(spec.key, spec.data_type, true));
    }
    assert_eq!(fields[4].data_type(), &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    fields.remove(4);
    table.metadata =
        vec![(1, "file.path".into()), (2, "file.name".into()), (3, "file.size".into()), (4, "line".into())];
    table.schema = Arc::new(Schema::new(fields));
    let base = folder.path().display();
    let row = |n: i64, path: &str, name: &str, size: i64, line: i64| {
        format!(
            "{{\"n\":{n},\"file.path\":\"{base}/{path}\",\"file.name\":\"{name}\",\"file.size\":{size},\"line\":{line}}}"
        )
    };
    assert_eq!(
        Reader::start(&table).drain(),
        [
            row(1, "x/a.json", "a.json", 21, 1),
            row(2, "x/a.json", "a.json", 21, 4),
            row(3, "x/y/b.json", "b.json", 7, 1)
        ]
    );
}

/// Writes 10,000 rows through the sink, and answers what the source reads.
fn through(folder: &Path, options: &[(&str, &str)]) -> Vec<String> {
    let table = table(folder, options);
    let mut sink: Box<dyn Sink> = Filesystem.sink(&table).unwrap().create(0, 1).unwrap();
    sink.open(&context(ManualClock::at(0))).unwrap();
    sink.write(rows(0, 4_000)).unwrap();
    sink.write(rows(4_000, 10_000)).unwrap();
    let _ = sink.finish().unwrap();
    Reader::start(&table).drain()
}

fn expected() -> Vec<String> {
    let site = |n: i64| if n % 2 == 0 { "A" } else { "B" };
    (0..10_000).map(|n| format!("{{\"site\":\"{}\",\"n\":{n}}}", site(n))).collect()
}

#[cfg(feature = "compression")]
#[test]
fn compressed_files_are_read_as_they_were_written() {
    for kind in ["gzip", "zstd"] {
        let folder = tempfile::tempdir().unwrap();
        assert!(through(folder.path(), &[("sink.compression", kind)]) == expected(), "{kind}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut packed = snap::write::FrameEncoder::new(File::create(folder.path().join("a.json.sz")).unwrap());
    packed.write_all(expected().join("\n").as_bytes()).unwrap();
    drop(packed.into_inner().unwrap());
    assert!(Reader::start(&table(folder.path(), &[])).drain() == expected());
}

#[cfg(feature = "compression")]
#[test]
fn a_compressed_file_that_is_cut_is_one_bad_row_and_a_growing_one_is_waited_for() {
    let (folder, _) = folder();
    drop(through(folder.path(), &[("sink.compression", "gzip")]));
    let whole = std::fs::read(folder.path().join("part-0-0.json.gz")).unwrap();
    let (folder, log) = self::folder();
    let packed = log.with_extension("gz");
    std::fs::write(&packed, &whole[..whole.len() / 2]).unwrap();
    let once = Reader::start(&table(folder.path(), &[]));
    assert!(once.job.wait_for(Duration::from_secs(30)));
    let letters = once.job.dead_letters().last();
    assert!(letters.len() == 1 && letters[0].error.contains("app.gz"), "{letters:?}");
    // A new name under which the rest arrives.
    let following = Reader::start(&table(folder.path(), FOLLOW));
    std::fs::write(&packed, &whole).unwrap();
    assert!(following.rows(10_000) == expected());
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_by_name_and_wrong_types_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = [("format", "parquet"), ("sink.compression", "zstd")];
    assert!(through(folder.path(), &options) == expected());
    // Other columns in another order: one that is missing, one as a wider type.
    let mut other = table(folder.path(), &options);
    let field = |name: &str, kind| Field::new(name, kind, true);
    other.schema = Arc::new(Schema::new(vec![
        field("more", DataType::Utf8),
        field("n", DataType::Float64),
        field("site", DataType::Utf8),
    ]));
    let rows = Reader::start(&other).drain();
    assert_eq!((rows.len(), rows[1].as_str()), (10_000, "{\"more\":null,\"n\":1.0,\"site\":\"B\"}"));
    other.schema = Arc::new(Schema::new(vec![field("n", DataType::Boolean)]));
    let error = Reader::start(&other).job.wait().unwrap_err().to_string();
    assert!(
        ["'n'", "Int64", "Boolean", "part-0-0.parquet"].iter().all(|part| error.contains(part)),
        "{error}"
    );
    std::fs::write(folder.path().join("z.parquet"), "no parquet").unwrap();
    let reader = Reader::start(&table(folder.path(), &options));
    assert!(reader.job.wait_for(Duration::from_secs(30)));
    let letters = reader.job.dead_letters().last();
    assert!(letters.len() == 1 && letters[0].error.contains("z.parquet"), "{letters:?}");
}
