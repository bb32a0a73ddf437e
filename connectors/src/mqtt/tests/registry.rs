//! Payloads whose schemas are in a registry, here one of this process that can be away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use millstream_engine::metrics::Link;
use parking_lot::Mutex;

use super::rig::{Device, Reader, Writer, wait_until};
use super::{Line, TestBroker};

/// Schemas 7 and 8; whatever is registered gets number 9.
struct Registry {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    /// What it answers instead, while it is not to be used.
    refusal: Option<&'static str>,
    asked: Vec<String>,
}

const AWAY: &str = "503 Service Unavailable";
const REFUSED: &str = "401 Unauthorized";

impl Registry {
    fn start(refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { refusal, asked: Vec::new() }));
        let kept = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &kept);
            }
        });
        Self { port, state }
    }

    fn come_back(&self) {
        self.state.lock().refusal = None;
    }

    fn asked(&self, path: &str) -> usize {
        self.state.lock().asked.iter().filter(|asked| asked.as_str() == path).count()
    }

    fn wait_asked(&self, path: &str) {
        wait_until(path, || self.asked(path) > 0);
    }

    fn options(&self, broker: u16, topic: &str) -> Vec<(&'static str, String)> {
        vec![
            ("url", format!("mqtt://127.0.0.1:{broker}")),
            ("topic", topic.to_owned()),
            ("format", "avro-confluent".to_owned()),
            ("avro-confluent.url", format!("http://127.0.0.1:{}", self.port)),
            ("reconnect.backoff.initial", "5 ms".to_owned()),
            ("reconnect.backoff.max", "20 ms".to_owned()),
        ]
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let field = |kind: &str| {
        let schema = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"n","type":"{kind}"}}]}}"#);
        ("200 OK", format!("{{\"schema\":{schema:?}}}"))
    };
    let mut state = state.lock();
    let (status, text) = match (state.refusal, path.as_str()) {
        (Some(refusal), _) => (refusal, String::new()),
        (None, "/schemas/ids/7") => field("int"),
        (None, "/schemas/ids/8") => field("long"),
        (None, path) if path.ends_with("/versions") => ("200 OK", r#"{"id":9}"#.to_owned()),
        (None, _) => ("404 Not Found", "{}".to_owned()),
    };
    state.asked.push(path);
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    let _ = (&stream).write_all(format!("{head}{text}").as_bytes());
}

const COLUMNS: &[&str] = &["n BIGINT"];

#[test]
fn messages_wait_until_the_registry_is_there() {
    let broker = TestBroker::start();
    for (port, version, refusal) in [(broker.v5, "5", AWAY), (broker.v4, "3.1.1", REFUSED)] {
        let registry = Registry::start(Some(refusal));
        let topic = format!("away/{version}");
        let mut options = registry.options(port, &topic);
        options.push(("version", version.to_owned()));
        let mut reader = Reader::start(COLUMNS, &options);
        let mut device = Device::connect(broker.v4, "publisher");
        device.publish(&topic, b"\0\0\0\0\x07\x05");
        device.publish(&topic, b"\0\0\0\0\x08\x02");
        device.publish(&topic, b"\0\0\0\0\x01\x02");
        device.publish(&topic, b"{}");
        registry.wait_asked("/schemas/ids/7");
        reader.wait_link(Link::Down);
        assert_eq!((reader.take(), reader.dead_letters()), (0, vec![]));
        registry.come_back();
        assert_eq!(reader.rows(2), [r#"{"n":-3}"#, r#"{"n":1}"#]);
        reader.wait_link(Link::Up);
        assert!(reader.metrics().retries.get() > 0);
        device.publish(&topic, b"\0\0\0\0\x07\x01");
        assert_eq!(reader.rows(1), [r#"{"n":-1}"#]);
        let errors = reader.dead_letters().join("\n");
        assert!(errors.contains("schema 1") && errors.contains("begins with byte 123"), "{errors}");
        assert_eq!((registry.asked("/schemas/ids/8"), registry.asked("/schemas/ids/1")), (1, 1));
        assert_eq!(reader.drain(), Vec::<String>::new());
    }
}

#[test]
fn a_line_that_breaks_while_the_registry_is_away_loses_nothing() {
    let broker = TestBroker::start();
    let line = Line::to(broker.v5);
    let registry = Registry::start(Some(AWAY));
    let mut reader = Reader::start(COLUMNS, &registry.options(line.port, "line"));
    let mut device = Device::connect(broker.v4, "publisher");
    device.publish("line", b"\0\0\0\0\x07\x05");
    device.send_only("line", b"\0\0\0\0\x07\x07");
    registry.wait_asked("/schemas/ids/7");
    line.cut();
    let before = registry.asked("/schemas/ids/7");
    wait_until("more attempts", || registry.asked("/schemas/ids/7") > before + 3);
    line.mend();
    registry.come_back();
    let rows = reader.rows(2);
    assert!(rows.contains(&r#"{"n":-3}"#.to_owned()), "{rows:?}");
    reader.wait_link(Link::Up);
    device.publish("line", b"\0\0\0\0\x07\x09");
    wait_until("the last", || reader.rows(1).contains(&r#"{"n":-5}"#.to_owned()));
}

#[test]
fn a_source_ends_while_the_registry_is_away_and_leaves_its_messages_with_the_broker() {
    let broker = TestBroker::start();
    let registry = Registry::start(Some(AWAY));
    let options = registry.options(broker.v5, "ends");
    let reader = Reader::start_with(COLUMNS, &options, 1 << 20, "ends-while-away").unwrap();
    reader.wait_link(Link::Up);
    Device::connect(broker.v4, "publisher").publish("ends", b"\0\0\0\0\x07\x05");
    reader.wait_link(Link::Down);
    let job_metrics = Arc::clone(&reader.job.metrics()[0]);
    assert_eq!(reader.drain(), Vec::<String>::new());
    assert_eq!((job_metrics.rows_dead_letter.get(), job_metrics.rows_in.get()), (0, 0));
    registry.come_back();
    let mut reader = Reader::start_with(COLUMNS, &options, 1 << 20, "ends-while-away").unwrap();
    assert_eq!(reader.rows(1), [r#"{"n":-3}"#]);
}

#[test]
fn a_sink_takes_rows_when_its_schema_is_registered() {
    let broker = TestBroker::start();
    for refusal in [AWAY, REFUSED] {
        let registry = Registry::start(Some(refusal));
        let mut device = Device::connect(broker.v4, "subscriber");
        device.subscribe("numbers/x");
        let mut writer = Writer::start(COLUMNS, &registry.options(broker.v5, "numbers/x")).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(-3), None]));
        let batch = RecordBatch::try_new(Arc::clone(&writer.schema), vec![column]).unwrap();
        writer.pusher.as_ref().unwrap().push(batch).unwrap();
        let path = "/subjects/numbers%2Fx-value/versions";
        wait_until("attempts", || registry.asked(path) > 3);
        assert_eq!((writer.metrics().link(), writer.metrics().rows_out.get()), (Link::Down, 0));
        assert!(!writer.job.wait_for(Duration::ZERO), "{:?}", writer.job.error());
        registry.come_back();
        writer.finish();
        let payloads: Vec<_> = device.receive(2).into_iter().map(|message| message.payload).collect();
        assert_eq!(payloads, [&b"\0\0\0\0\x09\x02\x05"[..], b"\0\0\0\0\x09\0"]);
        assert_eq!(writer.metrics().rows_out.get(), 2);
    }
}

#[test]
fn a_sink_without_rows_ends_while_the_registry_is_away() {
    let broker = TestBroker::start();
    let registry = Registry::start(Some(AWAY));
    let mut writer = Writer::start(COLUMNS, &registry.options(broker.v5, "none")).unwrap();
    registry.wait_asked("/subjects/none-value/versions");
    writer.finish();
}
