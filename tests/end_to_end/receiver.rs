//! An HTTP receiver of the tests' own, which answers as it is told and keeps what came.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub headers: HashMap<String, String>,
    pub body: String,
    /// What it was answered.
    pub answer: Answer,
}

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Answers with a status, `503 Service Unavailable`, and what header fields follow in lines of their own.
    Status(&'static str),
    /// Resets the connection.
    Reset,
    /// Says nothing, while the connection stands.
    Silence,
    /// Answers with a status, and says that a body comes, of which there is a byte now and then.
    Slow(&'static str),
}

impl Answer {
    /// True when the sender may take it for delivered.
    pub fn is_taken(self) -> bool {
        matches!(self, Self::Status(status) if status.starts_with("204"))
    }
}

impl From<&'static str> for Answer {
    fn from(status: &'static str) -> Self {
        Self::Status(status)
    }
}

/// How long a receiver keeps quiet at most, and how long between the bytes of a slow body.
const SILENCE: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_millis(500);

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

    /// One that answers to bodies what `answer` says.
    pub fn answering<A: Into<Answer>>(answer: impl Fn(&str) -> A + Copy + Send + 'static) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), answer)
    }

    fn on<A: Into<Answer>>(address: SocketAddr, answer: impl Fn(&str) -> A + Copy + Send + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream.unwrap(), &kept, |body| answer(body).into()));
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

    /// The `n` of the bodies whose requests had several ids, or that of another `n`.
    pub fn without_an_id_of_their_own(&self) -> Vec<u64> {
        let (mut ids, mut owners) =
            (BTreeMap::<u64, BTreeSet<String>>::new(), BTreeMap::<String, BTreeSet<u64>>::new());
        for request in self.requests() {
            let row: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            let (n, id) = (row["n"].as_u64().unwrap(), request.headers["webhook-id"].clone());
            ids.entry(n).or_default().insert(id.clone());
            owners.entry(id).or_default().insert(n);
        }
        let is_its_own = |of: &BTreeSet<String>| of.len() == 1 && of.iter().all(|id| owners[id].len() == 1);
        ids.iter().filter(|(_, of)| !is_its_own(of)).map(|(n, _)| *n).collect()
    }

    pub fn bodies(&self) -> Vec<serde_json::Value> {
        self.requests().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Request>>, answer: impl Fn(&str) -> Answer) {
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
        let answer = answer(&body);
        kept.lock().unwrap().push(Request { headers, body, answer });
        let is_written = match answer {
            Answer::Status(status) => {
                let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
                write!(stream, "HTTP/1.1 {status}\r\n{length}\r\n").is_ok()
            }
            Answer::Reset => {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                false
            }
            Answer::Silence => {
                let _ = stream.set_read_timeout(Some(SILENCE));
                // Until the sender gives up, too.
                let _ = stream.read(&mut [0]);
                false
            }
            Answer::Slow(status) => {
                let bytes = SILENCE.as_millis() / SLOW.as_millis();
                let mut is_there =
                    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\n\r\n").is_ok();
                while is_there {
                    std::thread::sleep(SLOW);
                    is_there = stream.write_all(b"x").is_ok();
                }
                false
            }
        };
        if !is_written {
            return;
        }
    }
}
