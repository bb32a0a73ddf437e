//! One request, from its head to its answer.
//!
//! Invariants: rows enter the inlet only when the whole body is there, so a request is taken whole or not at all; 200 is
//! said only when the worker has emitted all rows; whatever is not taken is answered with what the sender can do about
//! it, or counted as a retry when the sender is gone. Answers are JSON; none holds a credential.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use millstream_engine::ErrorKind;
use millstream_engine::metrics::OperatorMetrics;
use serde_json::json;
use tokio::time::timeout;

use super::body::{Coding, Limits, bytes_to_begin, discard, read};
use super::route::{InProgress, Route, Routes};
use super::serve::Last;
use super::split::Splitter;
use super::ticket::{Origin, Posted, Verdict, ticket};

/// What `Retry-After` says, in seconds.
const RETRY_AFTER_S: u32 = 1;
/// Bytes that are still read of a body that is refused, and for how long.
const DISCARD_BYTES_MAX: usize = 16 << 20;
const DISCARD_TIME: std::time::Duration = std::time::Duration::from_secs(2);
/// Headers that are not shown to queries.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Why a request's rows are not taken.
pub(super) struct Refusal {
    status: StatusCode,
    what: String,
    header: Option<(HeaderName, HeaderValue)>,
    /// The same request may be taken another time.
    is_again: bool,
}

impl Refusal {
    pub fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), header: None, is_again: false }
    }

    pub fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    fn again(status: StatusCode, what: impl Into<String>) -> Self {
        Self { is_again: true, ..Self::new(status, what) }.with(RETRY_AFTER, RETRY_AFTER_S.into())
    }

    fn too_slow(limit: std::time::Duration) -> Self {
        let what = format!("the body did not arrive within {limit:?}");
        Self { is_again: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, what) }
            .with(CONNECTION, HeaderValue::from_static("close"))
    }

    pub fn busy() -> Self {
        Self::again(StatusCode::TOO_MANY_REQUESTS, "the query is behind; send this again later")
    }

    fn stopping() -> Self {
        Self::again(StatusCode::SERVICE_UNAVAILABLE, "this table takes no more rows: its pipeline is ending")
    }

    pub fn too_large(bytes_max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is over the limit of {bytes_max} bytes; send fewer rows at a time"),
        )
    }

    /// The sender, or what is between, broke the body off or wrote it wrong.
    pub fn broken(error: &hyper::Error) -> Self {
        let what = format!("the body breaks off: {error}");
        Self { is_again: true, ..Self::new(StatusCode::BAD_REQUEST, what) }
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = respond(self.status, json!({ "error": self.what }).to_string());
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Counts a request whose sender goes before it has an answer.
struct Unanswered<'a> {
    metrics: &'a OperatorMetrics,
    is_answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.metrics.retries.add(1);
        }
    }
}

/// Answers one request; `last` is that before it on the same connection.
pub(super) async fn answer(
    request: Request<Incoming>,
    remote: SocketAddr,
    routes: &Routes,
    last: &Last,
) -> Response<Full<Bytes>> {
    // The answer to the one before is written by now.
    drop(last.lock().take());
    let (head, mut body) = request.into_parts();
    let Some(route) = routes.find(head.uri.path()) else {
        let nowhere = Refusal::new(StatusCode::NOT_FOUND, "no table has this path");
        return refuse(nowhere, &head, &mut body).await;
    };
    let metrics = &route.context.metrics;
    let mut unanswered = Unanswered { metrics, is_answered: false };
    let taken = take(&route, &head, &mut body, remote, last).await;
    unanswered.is_answered = true;
    match taken {
        Ok(verdict) => decided(&verdict),
        Err(refusal) => {
            metrics.retries.add(refusal.is_again.into());
            refuse(refusal, &head, &mut body).await
        }
    }
}

/// Has the rows of a request taken, if they can be.
async fn take(
    route: &Arc<Route>,
    head: &Parts,
    body: &mut Incoming,
    remote: SocketAddr,
    last: &Last,
) -> Result<Verdict, Refusal> {
    let settings = &route.settings;
    authorize(route, &head.headers)?;
    if head.method != Method::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "rows are sent with POST")
            .with(ALLOW, HeaderValue::from_static("POST")));
    }
    if route.is_stopping() {
        return Err(Refusal::stopping());
    }
    let coding = Coding::of(&head.headers)?;
    if body.size_hint().lower() > settings.body_bytes_max as u64 {
        return Err(Refusal::too_large(settings.body_bytes_max));
    }
    let mut room = route.inlet.try_reserve(bytes_to_begin(body)).ok_or_else(Refusal::busy)?;
    let limits = Limits { bytes_max: settings.body_bytes_max, room: &mut room };
    let body = timeout(settings.body_timeout, read(body, coding, limits))
        .await
        .map_err(|_| Refusal::too_slow(settings.body_timeout))??;
    if body.trim_ascii().is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is empty"));
    }
    // What is wrong with a body is for its decoder to say; what is not there yet can be waited for.
    if !route.codec.is_lines()
        && let Some(prepare) = route.codec.prepare(&body)
        && let Err(error) = prepare.await
        && error.kind() == ErrorKind::Unavailable
    {
        return Err(Refusal::again(StatusCode::SERVICE_UNAVAILABLE, error.message()));
    }
    let (ticket, mut claim) = ticket();
    let clock = &route.context.clock;
    let posted = Posted {
        rows: Splitter::new(&body, route.codec.as_ref()),
        body,
        origin: origin(route, head, remote, clock.now_ms()),
        ticket,
        received_ns: clock.monotonic_ns(),
    };
    let in_progress: InProgress = route.admit().ok_or_else(Refusal::stopping)?;
    route.inlet.send_reserved(posted, room).map_err(|_| Refusal::stopping())?;
    let verdict = match timeout(settings.answer_timeout, claim.verdict()).await {
        Ok(verdict) => verdict,
        Err(_) if claim.give_up() => {
            let what = format!("the query did not take the rows within {:?}", settings.answer_timeout);
            return Err(Refusal::again(StatusCode::SERVICE_UNAVAILABLE, what));
        }
        // Some of the rows are taken: the rest will be.
        Err(_) => claim.verdict().await,
    };
    *last.lock() = Some(in_progress);
    verdict.ok_or_else(Refusal::stopping)
}

fn authorize(route: &Route, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &route.settings.token else { return Ok(()) };
    let refuse = |what: &str, challenge| {
        Refusal::new(StatusCode::UNAUTHORIZED, what)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    };
    match headers.get(AUTHORIZATION) {
        None => Err(refuse(
            "send the table's token as 'Authorization: Bearer TOKEN'",
            r#"Bearer realm="millstream""#,
        )),
        Some(given) if token.is_shown_by(given.as_bytes()) => Ok(()),
        Some(_) => {
            Err(refuse("the token is not the table's", r#"Bearer realm="millstream", error="invalid_token""#))
        }
    }
}

fn origin(route: &Route, head: &Parts, remote: SocketAddr, received_ms: i64) -> Origin {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers = Vec::new();
    if route.wants_headers {
        for name in head.headers.keys().filter(|name| !CREDENTIALS.contains(&name.as_str())) {
            let values: Vec<String> = head.headers.get_all(name).iter().map(text).collect();
            headers.push((name.as_str().to_owned(), values.join(", ")));
        }
        headers.sort_unstable();
    }
    Origin {
        path: head.uri.path().to_owned(),
        remote,
        content_type: head.headers.get(CONTENT_TYPE).map(text),
        headers,
        received_ms,
    }
}

/// Answers a refusal; a sender that is in the middle of its body may finish first, within limits.
async fn refuse(refusal: Refusal, head: &Parts, body: &mut Incoming) -> Response<Full<Bytes>> {
    // Who asks before sending has not begun, and reading would tell it to.
    if !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
        let _ = timeout(DISCARD_TIME, discard(body, DISCARD_BYTES_MAX)).await;
    }
    refusal.response()
}

fn decided(verdict: &Verdict) -> Response<Full<Bytes>> {
    let Verdict { rows, rejected, errors } = verdict;
    // Written out, for people read it: a map would sort its keys.
    let mut said = format!("{{\"rows\":{rows},\"rejected\":{rejected}");
    if *rejected > 0 {
        let errors: serde_json::Value =
            errors.iter().map(|(row, error)| json!({ "row": row, "error": error })).collect();
        said.push_str(&format!(",\"errors\":{errors}"));
    }
    said.push('}');
    respond(if *rows == 0 && *rejected > 0 { StatusCode::BAD_REQUEST } else { StatusCode::OK }, said)
}

fn respond(status: StatusCode, said: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(said + "\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
