//! `--http`: /healthz, /readyz, /metrics (Prometheus) and /dead-letters, read only, for probes and scrapers; /rows, the
//! rows of bare SELECTs as they come (live.rs).

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use millstream::Pipeline;
use millstream::engine::JobState;
use millstream::engine::metrics::{Link, OperatorMetrics};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::exit::Failure;
use crate::live::Live;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// The running endpoint; ends when dropped.
pub struct Endpoint {
    _runtime: tokio::runtime::Runtime,
    /// Where it listens.
    #[allow(dead_code)]
    pub address: SocketAddr,
}

/// What requests are about.
struct Served {
    pipeline: Arc<Pipeline>,
    live: Arc<Live>,
}

/// Serves the state of `pipeline` and the rows of `live` at `address`.
pub fn serve(address: SocketAddr, pipeline: Arc<Pipeline>, live: Arc<Live>) -> Result<Endpoint, Failure> {
    let refuse = |error: std::io::Error| Failure::Usage(format!("--http {address}: cannot listen: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(refuse)?;
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    let rows = if live.queries() > 0 { ", /rows" } else { "" };
    runtime.spawn(accept(listener, Arc::new(Served { pipeline, live })));
    eprintln!("serving http://{address}/metrics, /healthz, /readyz, /dead-letters{rows}");
    Ok(Endpoint { _runtime: runtime, address })
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let cut = Arc::<Notify>::default();
            let service = service_fn(|request| {
                let answer = match rows(&request, &served.live, &cut) {
                    Some(answer) => answer,
                    None => answer(&request, &served).map(BodyExt::boxed),
                };
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(std::time::Duration::from_secs(10));
            tokio::select! {
                _ = server.serve_connection(TokioIo::new(stream), service) => {}
                // Who does not read its rows does not read the end of them either.
                () = cut.notified() => {}
            }
            drop(permit);
        });
    }
}

/// The answer to `/rows` and `/rows/N`; `None` when something else is asked for.
fn rows<B>(
    request: &Request<B>,
    live: &Arc<Live>,
    cut: &Arc<Notify>,
) -> Option<Response<BoxBody<Bytes, Infallible>>> {
    let path = request.uri().path().strip_prefix("/rows")?;
    if request.method() != Method::GET || !(path.is_empty() || path.starts_with('/')) {
        return None;
    }
    let refuse = |status, what: &str| {
        let mut response = Response::new(Full::new(Bytes::from(format!("{what}\n"))).boxed());
        *response.status_mut() = status;
        Some(response)
    };
    let query = path.strip_prefix('/').map(|number| number.parse::<usize>().unwrap_or(0).wrapping_sub(1));
    let queries = live.queries();
    if queries == 0 || query.is_some_and(|query| query >= queries) {
        let there = format!(
            "the text has {queries} SELECTs without INSERT INTO: /rows is all of them, /rows/1 the first"
        );
        return refuse(StatusCode::NOT_FOUND, &there);
    }
    let Some(events) = live.listen(query, Arc::clone(cut)) else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many listen already");
    };
    let mut response = Response::new(events.boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn answer<B>(request: &Request<B>, served: &Served) -> Response<Full<Bytes>> {
    let pipeline = &*served.pipeline;
    let text = |status: StatusCode, kind: &'static str, body: String| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".into());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "text/plain", "ok\n".into()),
        "/readyz" => {
            let down = pipeline.metrics().iter().find(|operator| operator.link() == Link::Down);
            match (pipeline.state(), down) {
                (JobState::Running, None) => text(StatusCode::OK, "text/plain", "ready\n".into()),
                (JobState::Running, Some(operator)) => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "text/plain",
                    format!("{} is not connected\n", operator.operator),
                ),
                (state, _) => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "text/plain",
                    format!("the pipeline is {state:?}\n"),
                ),
            }
        }
        "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4", metrics(pipeline, &served.live)),
        "/dead-letters" => {
            let letters: Vec<_> = pipeline
                .dead_letters()
                .last()
                .iter()
                .map(|letter| {
                    serde_json::json!({
                        "source": letter.operator,
                        "payload_bytes": letter.payload_bytes,
                        "error": letter.error.to_string(),
                        "payload": String::from_utf8_lossy(&letter.payload),
                        "time_ms": letter.time_ms,
                    })
                })
                .collect();
            text(StatusCode::OK, "application/json", serde_json::Value::from(letters).to_string() + "\n")
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /healthz, /readyz, /metrics, /dead-letters, and /rows: the rows of SELECTs as they come\n".into(),
        ),
    }
}

type Read = fn(&OperatorMetrics) -> u64;

const COUNTERS: &[(&str, &str, Read)] = &[
    ("rows_in_total", "Rows taken in.", |m| m.rows_in.get()),
    ("rows_out_total", "Rows passed on.", |m| m.rows_out.get()),
    ("bytes_in_total", "Bytes taken in; of a source, payload bytes.", |m| m.bytes_in.get()),
    ("bytes_out_total", "Bytes passed on.", |m| m.bytes_out.get()),
    ("rows_late_total", "Rows whose windows had all closed.", |m| m.rows_late.get()),
    ("rows_dead_letter_total", "Bad rows and payloads that went to the dead letters.", |m| {
        m.rows_dead_letter.get()
    }),
    ("rows_skipped_total", "Bad rows dropped because the table says so.", |m| m.rows_skipped.get()),
    ("retries_total", "Deliveries tried again.", |m| m.retries.get()),
    ("duplicates_total", "Messages that came again and were in the journal already.", |m| m.duplicates.get()),
    ("reconnects_total", "Connections made after the first.", |m| m.reconnects.get()),
];

/// What sources show that keep a journal.
const JOURNAL: &[(&str, &str, &str, Read)] = &[
    ("journal_bytes", "gauge", "Bytes of the source's journal on disk.", |m| m.journal_bytes.load(Relaxed)),
    ("journal_syncs_total", "counter", "Times the journal's disk was made to sync.", |m| {
        m.journal_syncs.load(Relaxed)
    }),
    ("journal_damaged_total", "counter", "Damaged pieces of the journal that were set aside.", |m| {
        m.journal_damaged.load(Relaxed)
    }),
];

/// What sinks show that have an outbox.
const OUTBOX: &[(&str, &str, Read)] = &[
    ("outbox_depth", "Requests or messages that wait in the outbox or are on their way.", |m| {
        m.outbox_depth.load(Relaxed)
    }),
    ("outbox_bytes", "Bytes of the outbox on disk.", |m| m.outbox_bytes.load(Relaxed)),
];

/// All counters in Prometheus' text format.
fn metrics(pipeline: &Pipeline, live: &Live) -> String {
    let mut out = String::with_capacity(8_192);
    let all = pipeline.metrics();
    let labels = |m: &OperatorMetrics| {
        format!(
            "pipeline=\"{}\",operator=\"{}\",connector=\"{}\",instance=\"{}\"",
            escaped(pipeline.name()),
            escaped(&m.operator),
            escaped(&m.kind),
            m.instance
        )
    };
    let mut family =
        |name: &str, kind: &str, help: &str, value: &dyn Fn(&OperatorMetrics) -> Option<String>| {
            let _ = writeln!(out, "# HELP millstream_{name} {help}\n# TYPE millstream_{name} {kind}");
            for m in all {
                if let Some(value) = value(m) {
                    let _ = writeln!(out, "millstream_{name}{{{}}} {value}", labels(m));
                }
            }
        };
    for (name, help, read) in COUNTERS {
        family(name, "counter", help, &|m| Some(read(m).to_string()));
    }
    family("busy_seconds_total", "counter", "Time inside the operator's own code.", &|m| {
        Some(format!("{:.6}", m.busy_ns.get() as f64 / 1e9))
    });
    family("queue_bytes", "gauge", "Bytes waiting in front of the operator.", &|m| {
        Some(m.queue_bytes.load(Relaxed).to_string())
    });
    if pipeline.state_folder().is_some() {
        for (name, kind, help, read) in JOURNAL {
            family(name, kind, help, &|m| (m.kind == "source").then(|| read(m).to_string()));
        }
    }
    let (now_ms, steady_ms) = (pipeline.clock().now_ms(), pipeline.clock().steady_ms());
    if pipeline.state_folder().is_some() {
        for (name, help, read) in OUTBOX {
            family(name, "gauge", help, &|m| (m.kind == "sink").then(|| read(m).to_string()));
        }
        family("outbox_oldest_seconds", "gauge", "How long the oldest of those has waited, about.", &|m| {
            let waited_ms =
                m.outbox_oldest_ms().map_or(0, |oldest_ms| steady_ms.saturating_sub(oldest_ms).max(0));
            (m.kind == "sink").then(|| format!("{:.3}", waited_ms as f64 / 1e3))
        });
    }
    family("watermark_lag_seconds", "gauge", "How far the watermark is behind the clock.", &|m| {
        m.watermark_ms().map(|watermark| format!("{:.3}", now_ms.saturating_sub(watermark) as f64 / 1e3))
    });
    family("connected", "gauge", "1 while the connector reaches its other end.", &|m| match m.link() {
        Link::None => None,
        Link::Up => Some("1".into()),
        Link::Down => Some("0".into()),
    });
    let _ = writeln!(
        out,
        "# HELP millstream_latency_seconds From entering the process to the sink.\n# TYPE millstream_latency_seconds summary"
    );
    for m in all {
        let Some(latency) = m.latency() else { continue };
        for quantile in [0.5, 0.99, 0.999] {
            let value = latency.value_at_quantile(quantile) as f64 / 1e9;
            let _ = writeln!(
                out,
                "millstream_latency_seconds{{{},quantile=\"{quantile}\"}} {value:.6}",
                labels(m)
            );
        }
        let _ = writeln!(out, "millstream_latency_seconds_count{{{}}} {}", labels(m), latency.len());
    }
    let _ = writeln!(
        out,
        "# HELP millstream_live_listeners Who is sent rows from /rows.\n# TYPE millstream_live_listeners gauge\n\
         millstream_live_listeners {}\n\
         # HELP millstream_live_dropped_total Listeners to /rows that were disconnected for being too slow.\n\
         # TYPE millstream_live_dropped_total counter\nmillstream_live_dropped_total {}",
        live.listeners(),
        live.dropped()
    );
    let up = u8::from(pipeline.state() == JobState::Running);
    if pipeline.state_folder().is_some() {
        let _ = writeln!(
            out,
            "# HELP millstream_checkpoint_last The last checkpoint that is safe on disk; it counts up.\n\
             # TYPE millstream_checkpoint_last gauge\nmillstream_checkpoint_last{{pipeline=\"{}\"}} {}",
            escaped(pipeline.name()),
            pipeline.last_checkpoint()
        );
    }
    #[cfg(feature = "object-store")]
    if let Some((url, status)) = pipeline.checkpoint_copies() {
        let age_ms = now_ms.saturating_sub(status.last_completed_ms()).max(0);
        let labels = format!("pipeline=\"{}\",url=\"{}\"", escaped(pipeline.name()), escaped(url));
        for (name, kind, help, value) in [
            (
                "last",
                "gauge",
                "The newest checkpoint that is whole in the object store; it counts up.",
                status.last().to_string(),
            ),
            (
                "age_seconds",
                "gauge",
                "How old that is, and so how much would be lost with the machine; without one, since the start.",
                format!("{:.3}", age_ms as f64 / 1e3),
            ),
            ("bytes", "gauge", "Bytes of it.", status.last_bytes().to_string()),
            (
                "sent_bytes_total",
                "counter",
                "Bytes of checkpoints that went over the uplink.",
                status.sent_bytes().to_string(),
            ),
            (
                "failures_total",
                "counter",
                "Copies of checkpoints that failed.",
                status.failures().to_string(),
            ),
        ] {
            let _ = writeln!(
                out,
                "# HELP millstream_checkpoint_copy_{name} {help}\n# TYPE millstream_checkpoint_copy_{name} {kind}\n\
                 millstream_checkpoint_copy_{name}{{{labels}}} {value}"
            );
        }
    }
    let _ = writeln!(
        out,
        "# HELP millstream_up 1 while the pipeline runs.\n# TYPE millstream_up gauge\nmillstream_up{{pipeline=\"{}\"}} {up}",
        escaped(pipeline.name())
    );
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
