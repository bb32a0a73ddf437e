//! The source in a running pipeline, against senders on raw sockets, so that no client of ours proves itself.
//!
//! A [`Table`] is a pipeline from an `http` table into the test; nothing is taken out of it before the test asks, so a
//! stopped sink is a test that does not ask. A [`Sender`] is one connection.

mod answers;
mod bodies;
mod flow;
mod tls;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema};

use crate::format::JsonEncoder;
use crate::memory::{MemorySink, Puller};
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::options::Options;
use millstream_engine::registry::{Connector, Table as Declared};
use millstream_engine::{Clock, Encoder, Error, Graph, Input, Job, JobConfig, Result, SystemClock};

use super::Http;

/// How long a test waits for what should be there at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `is_so`; fails the test when it takes too long.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !is_so() {
        assert!(clock.monotonic_ns() < PATIENCE.as_nanos() as u64, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An address that nobody listens on, different at each call, outside of what the system gives to clients.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (number % 2_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A table of the columns `n` and `s` and whatever metadata is asked for.
pub(super) fn declared(name: &str, metadata: &[&str], options: &[(&str, &str)]) -> Declared {
    let mut fields = vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)];
    let mut keys = Vec::new();
    for key in metadata {
        let spec = Http.metadata().into_iter().find(|spec| spec.key == *key).unwrap();
        keys.push((fields.len(), (*key).to_owned()));
        fields.push(Field::new(*key, spec.data_type, true));
    }
    let values: BTreeMap<_, _> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Declared {
        name: name.to_owned(),
        schema: Arc::new(Schema::new(fields)),
        metadata: keys,
        primary_key: Vec::new(),
        options: Options::new(format!("table {name}"), values),
        formats: crate::registry().formats().clone(),
    }
}

/// A pipeline from an HTTP table into this program.
struct Table {
    job: Job,
    puller: Puller,
    address: SocketAddr,
    rows: Vec<String>,
}

impl Table {
    /// A table `t` at an address of its own.
    fn start(options: &[(&str, &str)]) -> Self {
        Self::start_with(&declared("t", &[], options), free_address(), 64 << 20).unwrap()
    }

    /// A pipeline of `table` at `address`, whose rows wait in a queue of `queue_bytes` for the test.
    fn start_with(table: &Declared, address: SocketAddr, queue_bytes: usize) -> Result<Self> {
        let mut table = table.clone();
        table.options.set("listen", address.to_string());
        let provider = Http.source(&table)?;
        let (sink, puller) = MemorySink::channel(queue_bytes);
        let mut graph = Graph::new();
        let source = graph.source("t", provider.describe(), provider, Arc::clone(&table.schema));
        graph.sink("out", "", Arc::new(sink), Input::gather(source));
        let job = Job::start(&graph, JobConfig { workers: 1, ..JobConfig::default() })?;
        let mut started = Self { job, puller, address, rows: Vec::new() };
        match started.failure() {
            None => Ok(started),
            Some(error) => Err(error),
        }
    }

    /// What ended the job, if it did not come to listen.
    fn failure(&mut self) -> Option<Error> {
        wait_until("the table to listen", || {
            self.job.error().is_some() || self.metrics().link() == millstream_engine::metrics::Link::Up
        });
        self.job.error()
    }

    fn metrics(&self) -> &OperatorMetrics {
        self.job.metrics().iter().find(|metrics| metrics.operator == "t").unwrap()
    }

    fn sender(&self) -> Sender {
        Sender::connect(self.address)
    }

    /// Posts to `/t` over a connection of its own.
    fn post(&self, body: &str) -> Answer {
        self.sender().post("/t", &[], body.as_bytes())
    }

    /// Takes what is there.
    fn take(&mut self) -> usize {
        while let Some(batch) = self.puller.try_recv() {
            let mut encoder = JsonEncoder::new(false);
            encoder.encode(&batch).unwrap();
            self.rows.extend(encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap()));
        }
        self.rows.len()
    }

    /// The rows so far, once there are at least `count`.
    fn rows(&mut self, count: usize) -> Vec<serde_json::Value> {
        wait_until("rows", || self.take() >= count);
        std::mem::take(&mut self.rows).iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// The values of column `n`, once there are at least `count`.
    fn numbers(&mut self, count: usize) -> Vec<i64> {
        self.rows(count).iter().map(|row| row["n"].as_i64().unwrap()).collect()
    }

    fn letters(&self) -> Vec<(String, String)> {
        let letters = self.job.dead_letters().last();
        letters
            .into_iter()
            .map(|letter| (String::from_utf8_lossy(&letter.payload).into(), letter.error))
            .collect()
    }
}

/// What a sender was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Rows and rejected rows.
    fn counts(&self) -> (u64, u64) {
        let said = self.json();
        (said["rows"].as_u64().unwrap(), said["rejected"].as_u64().unwrap())
    }
}

/// One connection.
struct Sender {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Sender {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// Sends bytes as they are.
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request without waiting for its answer.
    fn begin(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        self.send(head + "\r\n");
        self.send(body);
    }

    fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.begin(path, headers, body);
        self.answer()
    }

    /// The next answer.
    fn answer(&mut self) -> Answer {
        self.try_answer().unwrap_or_else(|| panic!("the connection is closed without an answer"))
    }

    /// The next answer; `None` when the connection is closed instead.
    fn try_answer(&mut self) -> Option<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = self.line()?.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        Some(Answer { status, headers, body: String::from_utf8(body).unwrap() })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// True when the other side closes without another word.
    fn ends_silently(mut self) -> bool {
        self.try_answer().is_none()
    }
}
