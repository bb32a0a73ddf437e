//! What the tests share: the command as a process, an HTTP receiver, a broker in this process, a publisher.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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

/// A port nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub headers: HashMap<String, String>,
    pub body: String,
    /// What it was answered.
    pub status: &'static str,
}

/// An HTTP receiver that answers 204 and keeps what came. A thread a connection, each request after the other.
pub struct Receiver {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub fn start() -> Self {
        Self::answering(|_| "204 No Content")
    }

    /// One that answers 422 to bodies that have `part` in them.
    pub fn refusing(part: &'static str) -> Self {
        Self::answering(
            move |body| {
                if body.contains(part) { "422 Unprocessable Content" } else { "204 No Content" }
            },
        )
    }

    /// One that listens where it is told, as soon as that is free.
    pub fn start_on(address: SocketAddr) -> Self {
        Self::on(address, |_| "204 No Content")
    }

    /// One that answers to bodies what `status` says.
    pub fn answering(status: impl Fn(&str) -> &'static str + Copy + Send + 'static) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), status)
    }

    fn on(address: SocketAddr, status: impl Fn(&str) -> &'static str + Copy + Send + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream.unwrap(), &kept, status));
            }
        });
        Self { url, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many came.
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub fn bodies(&self) -> Vec<serde_json::Value> {
        self.requests().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Request>>, status: impl Fn(&str) -> &'static str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            match header.trim().split_once(':') {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
                None => break,
            };
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let status = status(&body);
        kept.lock().unwrap().push(Request { headers, body, status });
        let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
        if write!(stream, "HTTP/1.1 {status}\r\n{length}\r\n").is_err() {
            return;
        }
    }
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

/// A line between two addresses, which can be cut: connections break, and new ones come to nothing.
pub struct Relay {
    is_cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    /// Who connects to `from` is connected to `to`.
    pub fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).unwrap();
        let own = Self { is_cut: Arc::default(), streams: Arc::default() };
        let (is_cut, streams) = (Arc::clone(&own.is_cut), Arc::clone(&own.streams));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock().unwrap();
                if is_cut.load(Ordering::Acquire) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(to) else { continue };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                streams.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near, far_too), (far, near_too)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        own
    }

    pub fn cut(&self) {
        let mut streams = self.streams.lock().unwrap();
        self.is_cut.store(true, Ordering::Release);
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::Release);
    }
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
        self.next_id = self.next_id % u16::MAX + 1;
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.bytes());
        body.extend(self.next_id.to_be_bytes());
        body.extend(payload);
        self.stream.write_all(&packet(0x32, &body))?;
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer)?;
        assert_eq!((answer[0], u16::from_be_bytes([answer[2], answer[3]])), (0x40, self.next_id));
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
