//! What the tests share: the command as a process, what it answers over HTTP, a broker in this process, a publisher.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millstream::engine::{Clock, SystemClock};

/// How a run of the command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output as JSON values.
    pub fn rows(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The command with `arguments`, its environment free of our own variables; MILLSTREAM_PROGRAM names another program, such as
/// one that is broken on purpose.
pub fn command(arguments: &[&str]) -> Command {
    let program = std::env::var_os("MILLSTREAM_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_millstream").into()));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLSTREAM_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the command to its end.
pub fn run(arguments: &[&str]) -> Ran {
    ended(command(arguments).spawn().unwrap())
}

/// Waits for a process and gives what it printed.
pub fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Long enough for a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Waits until `done`, or panics saying what was awaited.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    let start_ns = clock.monotonic_ns();
    while !done() {
        let waited = Duration::from_nanos(clock.monotonic_ns() - start_ns);
        assert!(waited < WAIT_MAX, "waited {WAIT_MAX:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes `text` as a file of `folder`, and gives its path.
pub fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// How many lines a file has by now.
pub fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// The rows of all files of a folder that have their names, in no order.
pub fn parts(folder: &Path) -> Vec<serde_json::Value> {
    let parts = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let parts = parts.filter(|part| part.file_name().to_string_lossy().starts_with("part-"));
    let text: String = parts.map(|part| std::fs::read_to_string(part.path()).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A port nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A GET request's status line and body.
pub fn get(address: &str, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

/// The value of a gauge or counter `name` of the operator `of`.
pub fn metric(http: &str, name: &str, of: &str) -> Option<f64> {
    let (_, text) = get(http, "/metrics")?;
    let (name, of) = (format!("{name}{{"), format!("\"{of}\""));
    text.lines().find(|line| line.starts_with(&name) && line.contains(&of))?.rsplit(' ').next()?.parse().ok()
}

/// A publisher of MQTT 3.1.1 that knows nothing of our client: every message is QoS 1, and acknowledged when
/// [`Publisher::publish`] returns.
pub struct Publisher {
    stream: TcpStream,
    next_id: u16,
}

impl Publisher {
    /// Connects, or says why not.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut body = vec![0, 4];
        // A clean session, and a keep-alive of a minute.
        body.extend(b"MQTT\x04\x02\x00\x3c");
        let id = format!("test-{}", address.port());
        body.extend((id.len() as u16).to_be_bytes());
        body.extend(id.bytes());
        stream.write_all(&packet(0x10, &body))?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        assert_eq!(answer[3], 0, "the broker refuses the publisher");
        Ok(Self { stream, next_id: 0 })
    }

    /// Publishes and waits for the broker's acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> std::io::Result<()> {
        self.send(0x32, topic, payload)?;
        self.answer(0x40)
    }

    /// The same at QoS 2, to its end.
    pub fn publish_once(&mut self, topic: &str, payload: &[u8]) -> std::io::Result<()> {
        self.send(0x34, topic, payload)?;
        self.answer(0x50)?;
        self.stream.write_all(&packet(0x62, &self.next_id.to_be_bytes()))?;
        self.answer(0x70)
    }

    fn send(&mut self, head: u8, topic: &str, payload: &[u8]) -> std::io::Result<()> {
        self.next_id = self.next_id % u16::MAX + 1;
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.bytes());
        body.extend(self.next_id.to_be_bytes());
        body.extend(payload);
        self.stream.write_all(&packet(head, &body))
    }

    fn answer(&mut self, head: u8) -> std::io::Result<()> {
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer)?;
        assert_eq!((answer[0], u16::from_be_bytes([answer[2], answer[3]])), (head, self.next_id));
        Ok(())
    }
}

fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    let mut length = body.len();
    loop {
        let mut digit = (length % 128) as u8;
        length /= 128;
        if length > 0 {
            digit |= 128;
        }
        bytes.push(digit);
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// An MQTT broker in this process, which lives until the process ends: the address for MQTT 5 (ours) and for 3.1.1
/// (the publisher's).
pub fn broker() -> (SocketAddr, SocketAddr) {
    use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
    let server = |listen: SocketAddr| ServerSettings {
        name: listen.to_string(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 16 << 20,
            max_inflight_count: 500,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let (five, three) = (free_address(), free_address());
    let router = RouterConfig {
        max_connections: 32,
        max_outgoing_packet_count: 500,
        max_segment_size: 16 << 20,
        max_segment_count: 8,
        ..RouterConfig::default()
    };
    let config = Config {
        router,
        v4: Some(HashMap::from([("three".to_owned(), server(three))])),
        v5: Some(HashMap::from([("five".to_owned(), server(five))])),
        ..Config::default()
    };
    let mut broker = Broker::new(config);
    std::thread::spawn(move || broker.start().unwrap());
    for address in [five, three] {
        wait_until("the broker to listen", || TcpStream::connect(address).is_ok());
    }
    (five, three)
}
