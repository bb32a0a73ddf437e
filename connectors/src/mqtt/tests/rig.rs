//! What the tests of this connector share, those against a real broker too: an MQTT 3.1.1 device of its own on raw
//! sockets, so that our client never proves itself, and pipelines that read and write.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::connectors::format::JsonEncoder;
use super::connectors::memory::{MemorySink, MemorySource, Puller, Pusher};
use super::connectors::mqtt::Mqtt;
use millstream_engine::metrics::{Link, OperatorMetrics};
use millstream_engine::options::Options;
use millstream_engine::registry::Table;
use millstream_engine::state::DiskStateStore;
use millstream_engine::{Clock, Connector, Encoder, Graph, Input, Job, JobConfig, Result, SystemClock};

/// How long a test waits for what should be there at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `is_so`; fails the test when it takes too long.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !is_so() {
        assert!(clock.monotonic_ns() < PATIENCE.as_nanos() as u64, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on, different at each call. Below those that the system gives to clients: one of them
/// could take the port before its broker does, or even connect to itself there.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + (number % 18_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A message as a [`Device`] received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retained: bool,
}

/// An MQTT 3.1.1 client on a raw blocking socket.
pub struct Device {
    stream: TcpStream,
    next_id: u16,
    received: Vec<Received>,
    /// Publishes the broker has acknowledged.
    pub acknowledged: usize,
}

impl Device {
    /// Connects with a clean session.
    pub fn connect(port: u16, client_id: &str) -> Self {
        Self::try_connect(port, client_id, None).unwrap()
    }

    /// Connects, perhaps with user name and password.
    pub fn try_connect(port: u16, client_id: &str, login: Option<(&str, &str)>) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut device = Self { stream, next_id: 1, received: Vec::new(), acknowledged: 0 };
        let flags = 0x02 | if login.is_some() { 0xC0 } else { 0 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 2, 88];
        text(&mut body, client_id);
        if let Some((username, password)) = login {
            text(&mut body, username);
            text(&mut body, password);
        }
        device.send(0x10, &body)?;
        let (first, body) = device.packet()?;
        if first != 0x20 || body.get(1) != Some(&0) {
            return Err(std::io::Error::other(format!("refused: {body:?}")));
        }
        Ok(device)
    }

    /// Publishes at QoS 0.
    pub fn send_only(&mut self, topic: &str, payload: &[u8]) {
        let mut body = Vec::new();
        text(&mut body, topic);
        body.extend_from_slice(payload);
        self.send(0x30, &body).unwrap();
    }

    /// Publishes at QoS 1 and waits for the acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.try_publish(topic, payload, false).unwrap();
    }

    /// Publishes a message that the broker keeps.
    pub fn retain(&mut self, topic: &str, payload: &[u8]) {
        self.try_publish(topic, payload, true).unwrap();
    }

    /// Publishes at QoS 1; an error when the connection breaks before the acknowledgement.
    pub fn try_publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> std::io::Result<()> {
        self.begin_publish(topic, payload, retain)?;
        self.wait_acknowledged(self.acknowledged + 1)
    }

    /// Publishes at QoS 1 without waiting.
    pub fn begin_publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> std::io::Result<()> {
        let mut body = Vec::with_capacity(payload.len() + topic.len() + 4);
        text(&mut body, topic);
        body.extend_from_slice(&self.next_id.to_be_bytes());
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        body.extend_from_slice(payload);
        self.send(0x32 | u8::from(retain), &body)
    }

    /// Waits until the broker has acknowledged `count` publishes in all.
    pub fn wait_acknowledged(&mut self, count: usize) -> std::io::Result<()> {
        while self.acknowledged < count {
            self.step()?;
        }
        Ok(())
    }

    /// Subscribes at QoS 1.
    pub fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0xFF, 0xFF];
        text(&mut body, filter);
        body.push(1);
        self.send(0x82, &body).unwrap();
        loop {
            let (first, body) = self.packet().unwrap();
            if first == 0x90 {
                assert!(body[2] < 3, "the subscription was refused");
                return;
            }
            self.handle(first, &body).unwrap();
        }
    }

    /// The messages received so far, once there are at least `count`.
    pub fn receive(&mut self, count: usize) -> Vec<Received> {
        while self.received.len() < count {
            self.step().unwrap();
        }
        std::mem::take(&mut self.received)
    }

    fn step(&mut self) -> std::io::Result<()> {
        let (first, body) = self.packet()?;
        self.handle(first, &body)
    }

    fn handle(&mut self, first: u8, body: &[u8]) -> std::io::Result<()> {
        match first >> 4 {
            3 => {
                let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
                let qos = (first >> 1) & 3;
                let mut at = 2 + length;
                if qos > 0 {
                    self.send(0x40, &body[at..at + 2])?;
                    at += 2;
                }
                let payload = body[at..].to_vec();
                self.received.push(Received { topic, payload, qos, retained: first & 1 == 1 });
            }
            4 => self.acknowledged += 1,
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, first: u8, body: &[u8]) -> std::io::Result<()> {
        let mut packet = vec![first];
        let mut length = body.len();
        loop {
            let more = if length >= 0x80 { 0x80 } else { 0 };
            packet.push((length & 0x7F) as u8 | more);
            length >>= 7;
            if more == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet)
    }

    fn packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let first = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A table whose columns are given as `name TYPE`, or `name FROM key` for metadata.
pub fn table(columns: &[&str], options: &[(&str, String)]) -> Table {
    let (mut fields, mut metadata) = (Vec::new(), Vec::new());
    for (number, column) in columns.iter().enumerate() {
        let (name, kind) = column.split_once(' ').unwrap();
        let kind = match kind {
            "STRING" => DataType::Utf8,
            "INT" => DataType::Int32,
            "BIGINT" => DataType::Int64,
            "DOUBLE" => DataType::Float64,
            "TIMESTAMP" => DataType::Timestamp(TimeUnit::Millisecond, None),
            from => {
                let key = from.strip_prefix("FROM ").unwrap();
                metadata.push((number, key.to_owned()));
                Mqtt.metadata().into_iter().find(|spec| spec.key == key).unwrap().data_type
            }
        };
        fields.push(Field::new(name, kind, true));
    }
    let mut values: BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    values.entry("connector".to_owned()).or_insert_with(|| "mqtt".to_owned());
    Table {
        name: "t".to_owned(),
        schema: Arc::new(Schema::new(fields)),
        metadata,
        primary_key: Vec::new(),
        options: Options::new("table t", values),
        formats: super::connectors::registry().formats().clone(),
    }
}

/// A job's name that no other test has, so that sessions are not shared.
fn job_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A pipeline from an MQTT table into this program.
pub struct Reader {
    pub job: Job,
    puller: Puller,
    rows: Vec<String>,
}

impl Reader {
    /// Reads all columns of `columns`; rows wait in a queue of `queue_bytes`.
    pub fn start_with(
        columns: &[&str],
        options: &[(&str, String)],
        queue_bytes: usize,
        name: &str,
    ) -> Result<Self> {
        let table = table(columns, options);
        Self::start_table(&table, Arc::clone(&table.schema), queue_bytes, name)
    }

    /// Reads the columns of `schema` only.
    pub fn start_table(table: &Table, schema: SchemaRef, queue_bytes: usize, name: &str) -> Result<Self> {
        let provider = Mqtt.source(table)?;
        let (sink, puller) = MemorySink::channel(queue_bytes);
        let mut graph = Graph::new();
        let source = graph.source("t", provider.describe(), provider, schema);
        graph.sink("out", "", Arc::new(sink), Input::gather(source));
        let job =
            Job::start(&graph, JobConfig { name: name.to_owned(), workers: 1, ..JobConfig::default() })?;
        Ok(Self { job, puller, rows: Vec::new() })
    }

    /// Reads under a name of its own, and waits until the subscription stands.
    pub fn start(columns: &[&str], options: &[(&str, String)]) -> Self {
        let reader = Self::start_with(columns, options, 64 << 20, &job_name()).unwrap();
        reader.wait_link(Link::Up);
        reader
    }

    pub fn metrics(&self) -> &OperatorMetrics {
        self.job.metrics().iter().find(|metrics| metrics.operator == "t").unwrap()
    }

    pub fn wait_link(&self, link: Link) {
        wait_until(&format!("link {link:?}"), || self.metrics().link() == link);
    }

    /// Takes what is there.
    pub fn take(&mut self) -> usize {
        while let Some(batch) = self.puller.try_recv() {
            let mut encoder = JsonEncoder::new(false);
            encoder.encode(&batch).unwrap();
            self.rows.extend(encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap()));
        }
        self.rows.len()
    }

    /// The rows so far as JSON, once there are at least `count`.
    pub fn rows(&mut self, count: usize) -> Vec<String> {
        let clock = SystemClock::default();
        while self.take() < count {
            assert!(
                clock.monotonic_ns() < PATIENCE.as_nanos() as u64,
                "{} of {count} rows came; dead letters: {:?}; {:?}",
                self.rows.len(),
                self.dead_letters(),
                self.job.error()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        std::mem::take(&mut self.rows)
    }

    pub fn dead_letters(&self) -> Vec<String> {
        self.job.dead_letters().last().into_iter().map(|letter| letter.error).collect()
    }

    /// Drains the job, and answers the rows that came until its end.
    pub fn drain(mut self) -> Vec<String> {
        self.job.drain();
        wait_until("the job's end", || {
            self.take();
            self.job.wait_for(Duration::from_millis(5))
        });
        self.take();
        std::mem::take(&mut self.rows)
    }
}

/// A pipeline from this program into an MQTT table.
pub struct Writer {
    pub job: Job,
    pub pusher: Option<Pusher>,
    pub schema: SchemaRef,
}

impl Writer {
    pub fn start(columns: &[&str], options: &[(&str, String)]) -> Result<Self> {
        Self::start_in(columns, options, None)
    }

    /// Writes with its state in `folder`, if there is one, and a checkpoint every 20 ms.
    pub fn start_in(columns: &[&str], options: &[(&str, String)], folder: Option<&Path>) -> Result<Self> {
        let table = table(columns, options);
        let schema = Arc::clone(&table.schema);
        let provider = Mqtt.sink(&table)?;
        let (source, pusher) = MemorySource::channel(Arc::clone(&schema), 64 << 20);
        let mut graph = Graph::new();
        let source = graph.source("in", "", Arc::new(source), Arc::clone(&schema));
        graph.sink("t", provider.describe(), provider, Input::gather(source));
        let mut config = JobConfig { name: job_name(), workers: 1, ..JobConfig::default() };
        if let Some(folder) = folder {
            config.store = Arc::new(DiskStateStore::open(folder, graph.shape(), false)?);
            config.checkpoint_interval = Some(Duration::from_millis(20));
        }
        let job = Job::start(&graph, config)?;
        Ok(Self { job, pusher: Some(pusher), schema })
    }

    pub fn metrics(&self) -> &OperatorMetrics {
        self.job.metrics().iter().find(|metrics| metrics.operator == "t").unwrap()
    }

    pub fn dead_letters(&self) -> Vec<String> {
        self.job.dead_letters().last().into_iter().map(|letter| letter.error).collect()
    }

    /// Ends the input, and waits until everything is delivered.
    pub fn finish(&mut self) {
        drop(self.pusher.take());
        assert!(self.job.wait_for(PATIENCE), "the job does not end");
        if let Some(error) = self.job.error() {
            panic!("the job failed: {error}");
        }
    }
}
