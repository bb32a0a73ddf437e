//! Lookups at an HTTP server in this process.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use millstream_engine::context::IoRuntime;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::options::Options;
use millstream_engine::{ErrorKind, SystemClock};
use parking_lot::Mutex;

use super::*;

/// A server that answers each path with a status and a body; the requests it has seen.
fn server(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::io::Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = head[0].split(' ').nth(1).unwrap().to_owned();
            let (status, body) = answer(&path);
            kept.lock().push(head.join("\n"));
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    (url, seen)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("site", DataType::Utf8, true),
    ]))
}

fn table(options: &[(&str, &str)]) -> Table {
    let mut formats = millstream_engine::Registry::default();
    crate::format::register_all(&mut formats);
    Table {
        name: "t".to_owned(),
        schema: schema(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        options: Options::new(
            "table t",
            options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ),
        formats: formats.formats().clone(),
    }
}

fn lookup(options: &[(&str, &str)]) -> Result<Arc<dyn Lookup>> {
    let context = InstanceContext {
        job: "test".into(),
        instance: 0,
        parallelism: 1,
        key_groups: 0..1,
        batch_rows_max: 4096,
        clock: SystemClock::shared(),
        waker: Arc::default(),
        metrics: OperatorMetrics::new("t", "lookup join", 0),
        dead_letters: Arc::default(),
        dead_letter_route: None,
        io: IoRuntime::default(),
        journal_folder: None,
    };
    RestLookup.lookup(&table(options))?.create(schema(), &[0, 2], &context)
}

fn key(id: &str, site: &str) -> Option<RecordBatch> {
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    Some(RecordBatch::try_from_iter([("id", text(id)), ("site", text(site))]).unwrap())
}

/// (id, n, site) of all rows.
fn shown(batches: &[RecordBatch]) -> Vec<(String, Option<i64>, String)> {
    let of = |batch: &RecordBatch| -> Vec<_> {
        let numbers: &Int64Array = batch.column(1).as_primitive::<Int64Type>();
        let text = |at: usize, row: usize| batch.column(at).as_string::<i32>().value(row).to_owned();
        let number = |row: usize| numbers.iter().nth(row).flatten();
        (0..batch.num_rows()).map(|row| (text(0, row), number(row), text(2, row))).collect()
    };
    batches.iter().flat_map(of).collect()
}

#[tokio::test]
async fn a_key_is_a_request_and_its_answer_the_rows() {
    let (url, seen) = server(|path| match path {
        "/d/a%20b%2F1?site=north" => (200, "{\"n\": 1, \"site\": \"elsewhere\", \"more\": [1]}".into()),
        "/d/two?site=north" => (200, " [ {\"n\":1,\"x\":\"a],\\\"[\"} , {\"n\":null},{\"n\":3} ]".into()),
        "/d/none?site=north" => (200, "[]".into()),
        _ => (404, "no such device".into()),
    });
    let url = format!("{url}/d/{{id}}");
    let lookup = lookup(&[("url", &url), ("headers.X-Token", "hunter2")]).unwrap();
    let row = |id: &str, n| (id.to_owned(), n, "north".to_owned());
    assert_eq!(shown(&lookup.find(key("a b/1", "north")).await.unwrap()), [row("a b/1", Some(1))]);
    assert!(seen.lock()[0].contains("hunter2"));
    let rows = shown(&lookup.find(key("two", "north")).await.unwrap());
    assert_eq!(rows, [row("two", Some(1)), row("two", None), row("two", Some(3))]);
    assert!(shown(&lookup.find(key("none", "north")).await.unwrap()).is_empty());
    assert!(lookup.find(key("gone", "north")).await.unwrap().is_empty());
}

#[tokio::test]
async fn errors_say_whether_trying_again_may_help() {
    let (url, _) = server(|path| match path {
        "/busy?site=x" => (503, String::new()),
        _ => (401, "who are you?".into()),
    });
    let lookup = lookup(&[("url", &format!("{url}/{{id}}"))]).unwrap();
    assert_eq!(lookup.find(key("busy", "x")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let refused = lookup.find(key("other", "x")).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("who are you?"), "{refused}");
    let away = super::tests::lookup(&[("url", "http://127.0.0.1:1/{id}")]).unwrap();
    assert_eq!(away.find(key("a", "x")).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_wrong_url_is_refused_before_the_first_row() {
    for url in ["ftp://host/{id}", "http://{id}/x", "no url"] {
        assert!(RestLookup.lookup(&table(&[("url", url)])).is_err(), "{url}");
    }
    let unknown = RestLookup.lookup(&table(&[("url", "http://h/{nope}")])).err().unwrap().to_string();
    assert!(unknown.contains("'nope'"), "{unknown}");
    let no_key = lookup(&[("url", "http://h/{n}")]).err().unwrap().to_string();
    assert!(no_key.contains("ON a.x = t.n"), "{no_key}");
}
