//! The sink against a real HTTP receiver in this process.
//!
//! A [`Receiver`] keeps what it was sent and answers as the test says; a [`Rig`] is the sink with its surroundings,
//! driven as its worker would. Times are real but short.

mod content;
mod failures;
mod limits;
mod order;
mod storm;
mod templates;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use millstream_engine::context::IoRuntime;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::options::Options;
use millstream_engine::registry::{Connector, Table};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, InstanceContext, Ready, Sink, SystemClock};

use super::Webhook;

/// One request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    /// Which request of this id it is, from 1.
    attempt: usize,
    /// The status it was answered with; 0 for none.
    status: u16,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn id(&self) -> &str {
        self.header("webhook-id")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Column `n` of the only row.
    fn n(&self) -> i64 {
        self.json()["n"].as_i64().unwrap()
    }
}

/// What a receiver does with a request.
enum Reply {
    Status(u16),
    With(u16, Vec<(&'static str, String)>, String),
    /// Breaks the connection off.
    Reset,
    /// Never answers.
    Hang,
    /// Answers 200, then never ends the body.
    Stall,
    /// The same with another status.
    Trickle(u16),
}

/// An HTTP server on a port of its own.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    /// A server that answers as `reply` says.
    async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, reply).await
    }

    /// The same, over TLS if it is given.
    async fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = match tls {
            None => format!("http://127.0.0.1:{port}/hook"),
            Some(_) => format!("https://localhost:{port}/hook"),
        };
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (kept, reply) = (Arc::clone(&seen), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, reply) = (Arc::clone(&kept), Arc::clone(&reply));
                let service = service_fn(move |request| {
                    let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                    async move { answer(request, &seen, &*reply).await }
                });
                let server = hyper::server::conn::http1::Builder::new();
                let Some(tls) = tls.clone() else {
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
                    continue;
                };
                #[cfg(feature = "http")]
                tokio::spawn(async move {
                    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    }
                });
                #[cfg(not(feature = "http"))]
                drop((tls, stream, service, server));
            }
        });
        Self { url, seen }
    }

    async fn ok() -> Self {
        Self::start(|_| Reply::Status(200)).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// What was answered with 200, in order.
    fn accepted(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.status == 200).collect()
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Seen>>,
    reply: &(dyn Fn(&Seen) -> Reply + Send + Sync),
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let mut arrived = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: body.collect().await.map_err(std::io::Error::other)?.to_bytes(),
        attempt: 1,
        status: 0,
    };
    let reply = {
        let mut seen = seen.lock();
        arrived.attempt += seen.iter().filter(|other| other.id() == arrived.id()).count();
        let reply = reply(&arrived);
        arrived.status = match &reply {
            Reply::Status(status) | Reply::With(status, _, _) => *status,
            Reply::Stall => 200,
            Reply::Trickle(status) => *status,
            Reply::Reset | Reply::Hang => 0,
        };
        seen.push(arrived);
        reply
    };
    let (status, headers, body) = match reply {
        Reply::Status(status) => (status, Vec::new(), Full::new(Bytes::new()).boxed()),
        Reply::With(status, headers, body) => (status, headers, Full::new(Bytes::from(body)).boxed()),
        Reply::Reset => return Err(std::io::Error::other("reset")),
        Reply::Hang => std::future::pending().await,
        Reply::Trickle(status) => (status, vec![("content-length", "9".to_owned())], Never.boxed()),
        Reply::Stall => (200, vec![("content-length", "9".to_owned())], Never.boxed()),
    };
    let mut response = Response::builder().status(status).body(body).unwrap();
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).unwrap();
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(response)
}

/// A body that never comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

/// Options that every test wants: the local receiver is allowed, retries are quick.
const QUICK: [(&str, &str); 3] =
    [("private-addresses", "allow"), ("retry.backoff.initial", "10 ms"), ("retry.backoff.max", "40 ms")];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

fn table(url: &str, options: &[(&str, &str)]) -> Table {
    let values: BTreeMap<_, _> = [("connector", "webhook"), ("url", url)]
        .iter()
        .chain(&QUICK)
        .chain(options)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Table {
        name: "alerts".into(),
        schema: schema(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        options: Options::new("table alerts", values),
        formats: crate::registry().formats().clone(),
    }
}

fn rows(rows: &[(&str, i64)]) -> Batch {
    let devices: StringArray = rows.iter().map(|(device, _)| Some(*device)).collect();
    let numbers: Int64Array = rows.iter().map(|(_, n)| Some(*n)).collect();
    Batch::new(RecordBatch::try_new(schema(), vec![Arc::new(devices), Arc::new(numbers)]).unwrap())
}

/// A sink, opened, on the test's own runtime.
struct Rig {
    sink: Box<dyn Sink>,
    context: InstanceContext,
}

impl Rig {
    fn new(url: &str, options: &[(&str, &str)]) -> Self {
        let context = InstanceContext {
            dead_letter_route: None,
            job: "test".into(),
            instance: 0,
            parallelism: 1,
            key_groups: 0..128,
            batch_rows_max: 4096,
            clock: SystemClock::shared(),
            waker: Arc::default(),
            metrics: OperatorMetrics::new("alerts", "sink", 0),
            dead_letters: Arc::default(),
            io: IoRuntime::from_handle(Handle::current()),
            journal_folder: None,
        };
        let mut sink = Webhook.sink(&table(url, options)).unwrap().create(0, 1).unwrap();
        sink.open(&context).unwrap();
        Self { sink, context }
    }

    fn metrics(&self) -> &OperatorMetrics {
        &self.context.metrics
    }

    /// Writes as one batch, and says that nothing more comes right now.
    fn send(&mut self, batch: &[(&str, i64)]) {
        self.sink.write(rows(batch)).unwrap();
        self.sink.on_quiet().unwrap();
    }

    /// Finishes as a worker does, asking again and again.
    async fn finish(&mut self) -> millstream_engine::Result<()> {
        let asking = async {
            while self.sink.on_end(1, &mut StateWriter::default())? == Ready::NotYet {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("the sink does not finish")
    }

    /// The state at a barrier, once it has passed.
    async fn barrier(&mut self) -> StateReader {
        loop {
            let mut state = StateWriter::default();
            if self.sink.on_barrier(1, &mut state).unwrap() == Ready::Yes {
                return StateReader::gather([&state.finish()], &(0..128));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Payload and error of each dead letter.
    fn letters(&self) -> Vec<(String, String)> {
        let letters = self.context.dead_letters.last();
        letters.into_iter().map(|letter| (String::from_utf8(letter.payload).unwrap(), letter.error)).collect()
    }
}
