//! Formats that need a schema registry, against one in this process that is away at first.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// What the registry was asked and told.
#[derive(Default)]
struct Kept {
    /// Method and path of each request.
    requests: Vec<String>,
    /// Schemas, by number less one.
    schemas: Vec<String>,
}

/// Answers each kind of request with 503 once, then as a registry does.
fn answer(kept: &mut Kept, request: String, body: &str) -> (u16, String) {
    let is_first = !kept.requests.contains(&request);
    kept.requests.push(request.clone());
    if is_first {
        return (503, "later".to_owned());
    }
    if let Some(number) = request.strip_prefix("GET /schemas/ids/") {
        let number: usize = number.parse().unwrap();
        return match kept.schemas.get(number - 1) {
            Some(schema) => (200, serde_json::json!({ "schema": schema }).to_string()),
            None => (404, "{}".to_owned()),
        };
    }
    let given: HashMap<String, String> = serde_json::from_str(body).unwrap();
    kept.schemas.push(given["schema"].clone());
    (200, format!(r#"{{"id":{}}}"#, kept.schemas.len()))
}

fn serve(stream: TcpStream, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let request = line.rsplit_once(' ').unwrap().0.to_owned();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            match header.trim().to_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, text) = answer(&mut kept.lock().unwrap(), request, std::str::from_utf8(&body).unwrap());
        if write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{text}", text.len()).is_err() {
            return;
        }
    }
}

fn registry() -> (String, Arc<Mutex<Kept>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kept = Arc::<Mutex<Kept>>::default();
    let shared = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || serve(stream.unwrap(), &shared));
        }
    });
    (url, kept)
}

#[test]
fn a_registry_that_is_away_is_waited_for_by_sink_and_source() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    let (url, kept) = registry();
    let more = [
        ("key.fields", "k"),
        ("key.format", "avro-confluent"),
        ("key.avro-confluent.url", url.as_str()),
        ("value.format", "avro-confluent"),
        ("value.avro-confluent.url", url.as_str()),
        ("scan.startup.mode", "earliest-offset"),
    ];
    write_with(&brokers, 0, 3, &more);
    let expected = [r#"{"k":"k0","n":0}"#, r#"{"k":"k1","n":1}"#, r#"{"k":"k2","n":2}"#];
    assert_eq!(read(&brokers, columns(), &more, 1), expected);
    let requests = kept.lock().unwrap().requests.clone();
    let wanted = ["POST /subjects/t-value/versions", "POST /subjects/t-key/versions", "GET /schemas/ids/1"];
    for request in wanted {
        assert_eq!(requests.iter().filter(|made| *made == request).count(), 2, "{request}: {requests:?}");
    }
}
