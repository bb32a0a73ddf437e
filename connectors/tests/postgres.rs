//! The PostgreSQL sink against a real server, each test with one of its own on a free port.
//!
//! These need Debian's `postgresql` package and are ignored without being asked for:
//! `cargo test --workspace --test postgres -- --ignored`. The programs are found where MILLSTREAM_POSTGRES says (their
//! folder), or in Debian's place; asked for and not found, they fail. What arrived is read with `psql`, so that our
//! client never proves itself. The server refuses to run as root; then user `postgres` runs it.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use millstream_connectors::registry;
use millstream_engine::context::IoRuntime;
use millstream_engine::metrics::{Link, OperatorMetrics};
use millstream_engine::options::Options;
use millstream_engine::state::{InstanceSnapshot, StateReader, StateWriter};
use millstream_engine::{
    Batch, ChangeKind, Clock, ErrorKind, InstanceContext, Ready, Result, Sink, SystemClock, Table,
};

#[path = "postgres/server.rs"]
mod server;

use server::{Server, free_port, wait_until};

use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};

fn table_of(server: &Server, schema: Schema, key: &[usize], more: &[(&str, &str)]) -> Table {
    let mut values: BTreeMap<String, String> = [
        ("connector", "postgres".to_owned()),
        ("url", format!("postgresql://postgres@127.0.0.1:{}/postgres", server.port)),
        ("password", "hunter2".to_owned()),
        ("table-name", "t".to_owned()),
        ("reconnect.backoff.initial", "20 ms".to_owned()),
        ("reconnect.backoff.max", "200 ms".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    values.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Table {
        name: "out".to_owned(),
        schema: Arc::new(schema),
        metadata: Vec::new(),
        primary_key: key.to_vec(),
        options: Options::new("table out", values),
        formats: registry().formats().clone(),
    }
}

/// A sink as its worker drives it.
struct Writer {
    sink: Box<dyn Sink>,
    context: InstanceContext,
}

impl Writer {
    fn start(table: &Table) -> Self {
        Self::restored(table, None, None)
    }

    /// One of a job whose state is on disk, after a restore if there is state.
    fn exact(table: &Table, state: Option<&InstanceSnapshot>) -> Self {
        Self::restored(table, state, Some("journal".into()))
    }

    fn restored(
        table: &Table,
        state: Option<&InstanceSnapshot>,
        journal_folder: Option<std::path::PathBuf>,
    ) -> Self {
        let connector = Arc::clone(registry().connector(table).unwrap());
        let provider = connector.sink(table).unwrap();
        assert_eq!(provider.accepts_updates(), !table.primary_key.is_empty());
        let context = InstanceContext {
            job: "test".into(),
            instance: 0,
            parallelism: 1,
            key_groups: 0..1,
            batch_rows_max: 4096,
            clock: SystemClock::shared(),
            waker: Arc::default(),
            metrics: OperatorMetrics::new("out", "sink", 0),
            dead_letters: Arc::default(),
            dead_letter_route: None,
            io: IoRuntime::default(),
            journal_folder,
        };
        let mut sink = provider.create(0, 1).unwrap();
        sink.open(&context).unwrap();
        if let Some(state) = state {
            sink.restore(&StateReader::gather([state], &(0..1))).unwrap();
        }
        Self { sink, context }
    }

    fn write(&mut self, batch: Batch) {
        wait_until("room", || self.sink.is_ready());
        self.sink.write(batch).unwrap();
    }

    /// What the sink hands over at the barrier of `epoch`.
    fn barrier(&mut self, epoch: u64) -> InstanceSnapshot {
        let mut state = StateWriter::default();
        wait_until("the barrier", || {
            state = StateWriter::default();
            self.sink.on_barrier(epoch, &mut state).unwrap() == Ready::Yes
        });
        state.finish()
    }

    /// Tells the sink that `epoch` is complete, and waits until it has committed.
    fn complete(&mut self, epoch: u64) {
        self.sink.on_checkpoint_complete(epoch).unwrap();
        wait_until("the commit", || self.sink.is_committed().unwrap());
    }

    /// Asks for everything to be delivered until it is, or the sink fails.
    fn finish(&mut self) -> Result<()> {
        let mut answer = Ok(());
        wait_until("the end", || match self.sink.on_end(1, &mut StateWriter::default()) {
            Ok(ready) => ready == Ready::Yes,
            Err(error) => {
                answer = Err(error);
                true
            }
        });
        answer
    }

    fn dead_letters(&self) -> Vec<(String, String)> {
        let letters = self.context.dead_letters.last();
        letters.into_iter().map(|letter| (String::from_utf8(letter.payload).unwrap(), letter.error)).collect()
    }
}

fn pairs_schema() -> Schema {
    Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("v", DataType::Utf8, true)])
}

fn pairs(ids: Vec<i64>, values: Vec<Option<&str>>) -> Batch {
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from(values))];
    Batch::new(RecordBatch::try_new(Arc::new(pairs_schema()), columns).unwrap())
}

fn changes(kinds: &[ChangeKind], ids: Vec<i64>, values: Vec<&str>) -> Batch {
    Batch { changes: Some(kinds.into()), ..pairs(ids, values.into_iter().map(Some).collect()) }
}

/// Rows `from .. to`, each with its number as text.
fn numbered(from: i64, to: i64) -> Batch {
    let texts: Vec<String> = (from..to).map(|id| id.to_string()).collect();
    pairs((from..to).collect(), texts.iter().map(|text| Some(text.as_str())).collect())
}

#[test]
#[ignore = "needs PostgreSQL"]
fn every_type_arrives_as_it_was() {
    let server = Server::start();
    server.ask(
        "CREATE TABLE t (i bigint, d double precision, n numeric(10,2), b boolean, s text, u uuid, x bytea, \
         dt date, tm time, ts timestamp, tz timestamptz, l jsonb, r jsonb, \"Odd \"\"name\" varchar(5))",
    );
    let list = ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
    ]);
    let row = StructArray::from(vec![(
        Arc::new(Field::new("a", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("q\"\u{e4}"), None])) as ArrayRef,
    )]);
    let uuid = "5f0c0a52-9d0f-4f2b-8d2e-0d1b6f9d2a11";
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("d", Arc::new(Float64Array::from(vec![Some(f64::INFINITY), Some(1e300)]))),
        (
            "n",
            Arc::new(Decimal128Array::from(vec![Some(-1205), None]).with_precision_and_scale(10, 2).unwrap()),
        ),
        ("b", Arc::new(BooleanArray::from(vec![Some(false), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("a'b\\c\n"), Some("")]))),
        ("u", Arc::new(StringArray::from(vec![Some(uuid), None]))),
        ("x", Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255][..]), None]))),
        ("dt", Arc::new(Date32Array::from(vec![Some(19_000), None]))),
        ("tm", Arc::new(Time32MillisecondArray::from(vec![Some(3_661_001), None]))),
        ("ts", Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None]))),
        ("tz", Arc::new(TimestampMillisecondArray::from(vec![Some(1_500), None]).with_timezone("UTC"))),
        ("l", Arc::new(list)),
        ("r", Arc::new(row)),
        ("Odd \"name", Arc::new(StringArray::from(vec![Some("12345"), None]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = Writer::start(&table_of(&server, rows.schema().as_ref().clone(), &[], &[]));
    writer.write(Batch::new(rows));
    writer.finish().unwrap();
    assert_eq!(writer.dead_letters(), []);
    let expected = format!(
        "{}|Infinity|-12.05|f|a'b\\c\n|{uuid}|\\x00ff|2022-01-08|01:01:01.001|1969-12-31 23:59:59.999\
         |1970-01-01 00:00:01.5+00|[1, null]|{{\"a\": \"q\\\"\u{e4}\"}}|12345",
        i64::MIN
    );
    assert_eq!(server.ask("SELECT * FROM t WHERE i IS NOT NULL"), expected);
    assert_eq!(server.ask("SELECT d, s, l, tz IS NULL FROM t WHERE i IS NULL"), "1e+300|||t");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn an_updating_stream_leaves_the_last_rows() {
    let server = Server::start();
    server
        .ask("CREATE SCHEMA plant; CREATE TABLE plant.t (id bigint PRIMARY KEY, v text, more int DEFAULT 7)");
    let url = format!("jdbc:postgresql://127.0.0.1:{}/postgres", server.port);
    let options = [("connector", "jdbc"), ("url", &url), ("username", "postgres"), ("table-name", "plant.t")];
    let mut writer = Writer::start(&table_of(&server, pairs_schema(), &[0], &options));
    writer.write(changes(&[Insert, Insert, Insert], vec![1, 2, 3], vec!["a", "b", "c"]));
    // Several rows of one key in one statement, a removal with them, and what is removed before it is there.
    writer.write(changes(
        &[UpdateBefore, UpdateAfter, UpdateBefore, UpdateAfter, Delete, Delete],
        vec![1, 1, 1, 1, 2, 9],
        vec!["a", "a2", "a2", "a3", "b", "x"],
    ));
    writer.sink.on_quiet().unwrap();
    writer.write(changes(&[Delete, Insert, Delete], vec![3, 3, 1], vec!["c", "c2", "a3"]));
    let mut ready = Ready::NotYet;
    wait_until("the barrier", || {
        ready = writer.sink.on_barrier(1, &mut StateWriter::default()).unwrap();
        ready == Ready::Yes
    });
    assert_eq!(server.ask("SELECT * FROM plant.t ORDER BY id"), "3|c2|7");
    writer.write(changes(&[Insert, UpdateBefore, UpdateAfter], vec![4, 3, 3], vec!["d", "c2", "c3"]));
    writer.finish().unwrap();
    assert_eq!(server.ask("SELECT id, v FROM plant.t ORDER BY id"), "3|c3\n4|d");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn refused_rows_are_found_and_the_others_written() {
    let server = Server::start();
    server.ask("CREATE TABLE t (id smallint UNIQUE, v varchar(4) NOT NULL)");
    let mut writer = Writer::start(&table_of(&server, pairs_schema(), &[], &[]));
    let mut ids: Vec<i64> = (0..1_000).collect();
    let mut values = vec![Some("good"); 1_000];
    (ids[17], values[18], ids[500], values[999]) = (40_000, None, 499, Some("too long"));
    writer.write(pairs(ids, values));
    writer.finish().unwrap();
    assert_eq!(server.count("t"), 996);
    assert_eq!(writer.context.metrics.rows_dead_letter.get(), 4);
    assert_eq!(writer.context.metrics.rows_out.get(), 996);
    let letters = writer.dead_letters();
    assert_eq!(letters[0].0, "{\"id\":\"40000\",\"v\":\"good\"}");
    let parts = ["22003", "23502", "23505", "22001"];
    assert!(letters.iter().zip(parts).all(|(letter, part)| letter.1.contains(part)), "{letters:?}");

    let mut strict = Writer::start(&table_of(&server, pairs_schema(), &[], &[("on-error", "fail")]));
    strict.write(pairs(vec![2_000, 2_001], vec![Some("good"), None]));
    let error = strict.finish().unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("23502"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_server_that_goes_and_comes_back_gets_every_row() {
    let server = Server::start();
    server.ask("CREATE TABLE t (id bigint PRIMARY KEY, v text)");
    let mut writer = Writer::start(&table_of(&server, pairs_schema(), &[0], &[]));
    let metrics = Arc::clone(&writer.context.metrics);
    for part in 0..10 {
        writer.write(numbered(part * 1_000, (part + 1) * 1_000));
    }
    wait_until("the first rows", || metrics.rows_out.get() > 0);
    server.stop();
    for part in 10..20 {
        writer.write(numbered(part * 1_000, (part + 1) * 1_000));
    }
    wait_until("the link down", || metrics.link() == Link::Down && metrics.retries.get() > 2);
    assert_eq!(writer.sink.on_end(1, &mut StateWriter::default()).unwrap(), Ready::NotYet);
    server.start_again();
    writer.finish().unwrap();
    assert_eq!(server.ask("SELECT count(*), sum(id) FROM t"), format!("20000|{}", 19_999 * 10_000));
    assert_eq!((metrics.link(), metrics.reconnects.get()), (Link::Up, 1));
    // An idle connection that breaks is noticed, too.
    server.stop();
    wait_until("the link down", || metrics.link() == Link::Down);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn what_is_wrong_is_named_at_the_start_and_the_password_is_not() {
    let server = Server::start();
    server.ask("CREATE TABLE t (id bigint, v text, flag boolean); CREATE ROLE guest LOGIN PASSWORD 'g'");
    let fails = |key: &[usize], schema: Schema, options: &[(&str, &str)]| {
        let mut writer = Writer::start(&table_of(&server, schema, key, options));
        let mut found = None;
        wait_until("the failure", || {
            found = writer.sink.on_quiet().and_then(|()| writer.finish()).err();
            found.is_some()
        });
        let error = found.unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    };
    let text = fails(&[], pairs_schema(), &[("password", "swordfish")]);
    assert!(text.contains("28P01") && !text.contains("swordfish"), "{text}");
    let text = fails(&[], pairs_schema(), &[("table-name", "public.missing")]);
    assert!(text.contains("no table public.missing"), "{text}");
    let column = |name: &str, kind| Schema::new(vec![Field::new(name, kind, true)]);
    let text = fails(&[], column("vv", DataType::Utf8), &[]);
    assert!(text.contains("no column 'vv'") && text.contains("did you mean 'v'"), "{text}");
    let text = fails(&[], column("flag", DataType::Utf8), &[]);
    assert!(text.contains("'flag' is STRING here, but boolean"), "{text}");
    let text = fails(
        &[],
        pairs_schema(),
        &[("url", &format!("postgresql://127.0.0.1:{}/nodb?user=postgres", server.port))],
    );
    assert!(text.contains("3D000"), "{text}");

    // These show with the first row.
    let mut writer = Writer::start(&table_of(&server, pairs_schema(), &[0], &[]));
    writer.write(numbered(0, 3));
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("42P10") && error.contains("UNIQUE"), "{error}");
    let url = format!("postgresql://guest:g@127.0.0.1:{}/postgres", server.port);
    let mut table = table_of(&server, pairs_schema(), &[], &[("url", &url), ("password", "g")]);
    table.options.set("url", url);
    let mut writer = Writer::start(&table);
    writer.write(numbered(0, 3));
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("42501") && error.contains("GRANT"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn retries_end_where_the_table_says() {
    let port = free_port().to_string();
    let server = Server::start();
    let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
    let mut writer =
        Writer::start(&table_of(&server, pairs_schema(), &[], &[("url", &url), ("sink.max-retries", "2")]));
    writer.write(numbered(0, 3));
    let error = writer.finish().unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("2 retries"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_hundred_thousand_rows_arrive() {
    let server = Server::start();
    server.ask("CREATE TABLE t (id bigint, v text); CREATE TABLE k (id bigint PRIMARY KEY, v text)");
    for (key, name) in [(&[][..], "t"), (&[0][..], "k")] {
        let mut writer = Writer::start(&table_of(&server, pairs_schema(), key, &[("table-name", name)]));
        let clock = SystemClock::default();
        for part in 0..25 {
            writer.write(numbered(part * 4_000, (part + 1) * 4_000));
        }
        writer.finish().unwrap();
        println!("{name}: 100,000 rows in {} ms", clock.monotonic_ns() / 1_000_000);
        let found = server.ask(&format!("SELECT count(*), count(DISTINCT id), sum(id) FROM {name}"));
        assert_eq!(found, format!("100000|100000|{}", 99_999_i64 * 50_000));
    }
}

const EXACT: [(&str, &str); 2] =
    [("sink.delivery-guarantee", "exactly-once"), ("sink.buffer-flush.max-rows", "30")];

#[test]
#[ignore = "needs PostgreSQL"]
fn exactly_once_a_row_is_added_once_whenever_the_run_dies() {
    let server = Server::start();
    server.ask("CREATE TABLE t (id bigint, v text CHECK (v <> '13'))");
    let table = table_of(&server, pairs_schema(), &[], &EXACT);
    let mut writer = Writer::exact(&table, None);
    writer.write(numbered(0, 100));
    assert_eq!(server.count("t"), 0, "nothing before its checkpoint");
    writer.barrier(1);
    writer.complete(1);
    // The one that the server refuses is with the dead letters, the others of its statement are there.
    assert_eq!((server.count("t"), writer.dead_letters().len()), (99, 1));
    // It died when its checkpoint was complete and nothing was committed: the next run commits.
    writer.write(numbered(100, 200));
    let state = writer.barrier(2);
    drop(writer);
    let mut writer = Writer::exact(&table, Some(&state));
    wait_until("the restored rows", || writer.sink.is_committed().unwrap());
    assert_eq!(server.count("t"), 199);
    // It died when that was committed, and before another checkpoint: the next finds it.
    drop(writer);
    writer = Writer::exact(&table, Some(&state));
    writer.write(numbered(200, 250));
    let state = writer.barrier(3);
    // The server dies: checkpoints wait for the commit, and it comes.
    server.stop();
    writer.sink.on_checkpoint_complete(3).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!writer.sink.is_committed().unwrap());
    let mut at_barrier = StateWriter::default();
    assert_eq!(writer.sink.on_barrier(4, &mut at_barrier).unwrap(), Ready::NotYet);
    server.start_again();
    wait_until("the commit", || writer.sink.is_committed().unwrap());
    assert_eq!(
        server.ask("SELECT count(*), count(DISTINCT id), sum(id) FROM t"),
        format!("249|249|{}", 249 * 250 / 2 - 13)
    );
    drop(writer);
    // Another life without state writes under another name, and is not taken for this one.
    let mut other = Writer::exact(&table, None);
    other.write(numbered(1_000, 1_010));
    other.barrier(1);
    other.complete(1);
    assert_eq!(server.count("t"), 259);
    assert_eq!(server.ask("SELECT count(*), max(epoch) FROM millstream_progress"), "2|3");
    drop(state);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn exactly_once_with_a_key_leaves_the_last_rows_and_needs_state() {
    let server = Server::start();
    server.ask("CREATE TABLE t (id bigint PRIMARY KEY, v text)");
    let table =
        table_of(&server, pairs_schema(), &[0], &[EXACT[0], ("sink.progress-table", "public.progress")]);
    let mut writer = Writer::exact(&table, None);
    writer.write(changes(&[Insert, Insert, Insert], vec![1, 2, 3], vec!["a", "b", "c"]));
    writer.barrier(1);
    writer.complete(1);
    writer.write(changes(&[UpdateBefore, UpdateAfter, Delete], vec![1, 1, 2], vec!["a", "d", "b"]));
    writer.barrier(2);
    writer.complete(2);
    assert_eq!(server.ask("SELECT * FROM t ORDER BY id"), "1|d\n3|c");
    assert_eq!(server.ask("SELECT epoch FROM progress"), "2");
    let provider = registry().connector(&table).unwrap().sink(&table).unwrap();
    let context = InstanceContext { journal_folder: None, ..writer.context.clone() };
    let error = provider.create(0, 1).unwrap().open(&context).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("--state"), "{error}");
}
