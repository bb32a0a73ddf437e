//! One attempt at one request, over pooled HTTP/1.1 connections.
//!
//! Invariants: redirects are not followed; no address the policy refuses is connected to (address.rs); TLS is rustls on
//! ring, configured by the table (tls.rs of the crate) and not for the process; an attempt takes no longer than the table's
//! 'timeout'; of a response no more than [`RESPONSE_BYTES_MAX`] is read. A status of 2xx is the delivery: what becomes of
//! the response's body after it does not matter, it is only read so that the connection can serve again.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use millstream_engine::{Error, Result, causes};

use crate::http_client::connector;

use super::address::GuardedResolver;
use super::ids::Id;
use super::retry::retry_after;
use super::settings::Settings;
use super::target::Target;

/// How much of a response is read before its connection is given up.
const RESPONSE_BYTES_MAX: usize = 64 << 10;
/// How much of a response an error shows.
const SHOWN_BYTES_MAX: usize = 200;
/// How long the body of a response is waited for; its status is known by then.
const BODY_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long an unused connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Not this time.
    Failed {
        why: String,
        /// How long the receiver asks to be left alone.
        retry_after: Option<Duration>,
        /// The receiver answered, if not well.
        reached: bool,
    },
    /// The receiver finds the body too large: smaller ones may pass.
    TooLarge(String),
    /// The receiver will not have it.
    Refused(Error),
}

/// Sends requests to one receiver.
pub(super) struct Receiver {
    http: Client<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>,
}

impl Receiver {
    /// Connects to nothing yet.
    pub fn new(settings: &Settings) -> Result<Self> {
        let tcp = HttpConnector::new_with_resolver(GuardedResolver::new(settings.addresses));
        let connector = connector(tcp, &settings.tls);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(settings.in_flight_max)
            .build(connector);
        Ok(Self { http })
    }

    /// Makes one attempt, which begins at `now_ms` by the wall clock.
    /// It goes to `target` where that says more than the table.
    pub async fn attempt(
        &self,
        settings: &Settings,
        target: Option<&Target>,
        id: Id,
        body: Bytes,
        now_ms: i64,
    ) -> Outcome {
        let request = match http_request(settings, target, id, body, now_ms) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error),
        };
        let failed = |what: String| Outcome::Failed {
            why: format!("{} {what}", settings.receiver()),
            retry_after: None,
            reached: false,
        };
        let response = match timeout(settings.timeout, self.http.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failed(format!("cannot be reached: {}", causes(&error))),
            Err(_) => return failed(format!("did not answer within {:?}", settings.timeout)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let mut said = Vec::new();
        // Out of patience, the connection is dropped rather than used again; the status stands.
        let _ = timeout(BODY_WAIT_MAX, read(response, &mut said)).await;
        if status.is_success() {
            return Outcome::Delivered;
        }
        judge(&settings.receiver(), status, &headers, &said, now_ms)
    }
}

/// What a status other than 2xx means.
fn judge(receiver: &str, status: StatusCode, headers: &HeaderMap, said: &[u8], now_ms: i64) -> Outcome {
    let mut why = format!("{receiver} answered {status}");
    if !said.is_empty() {
        let shown = String::from_utf8_lossy(&said[..said.len().min(SHOWN_BYTES_MAX)]);
        // Writing to a string does not fail. Control characters would break up a log line.
        let _ = write!(why, ": {}", shown.trim().replace(char::is_control, " "));
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge(why),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Outcome::Failed {
            why,
            retry_after: text(RETRY_AFTER).and_then(|header| retry_after(header, now_ms)),
            reached: true,
        },
        status if status.is_server_error() => Outcome::Failed {
            why,
            retry_after: text(RETRY_AFTER).and_then(|header| retry_after(header, now_ms)),
            reached: true,
        },
        status if status.is_redirection() => {
            // A query may carry credentials back to us.
            let to: String = text(LOCATION)
                .and_then(|to| to.split(['?', '#']).next())
                .unwrap_or("nowhere")
                .chars()
                .take(SHOWN_BYTES_MAX)
                .collect();
            Outcome::Refused(
                Error::data(format!("{receiver} answered {status}, a redirect to {to}"))
                    .remedy("redirects are not followed: set 'url' to the final address"),
            )
        }
        _ => Outcome::Refused(Error::data(why)),
    }
}

fn http_request(
    settings: &Settings,
    target: Option<&Target>,
    id: Id,
    body: Bytes,
    now_ms: i64,
) -> Result<HttpRequest<Full<Bytes>>> {
    let wrong =
        |error: &dyn std::error::Error| Error::internal(format!("the request cannot be built: {error}"));
    let (id, timestamp_s) = (id.to_string(), now_ms.div_euclid(1_000));
    let signature = settings.signer.as_ref().map(|signer| signer.sign(&id, timestamp_s, &body));
    let mut request = HttpRequest::builder()
        .method(settings.method.clone())
        .uri(target.and_then(|target| target.url.as_ref()).unwrap_or(&settings.url).clone())
        .body(Full::new(body))
        .map_err(|error| wrong(&error))?;
    let text = |text: &str| HeaderValue::from_str(text).map_err(|error| wrong(&error));
    let headers = request.headers_mut();
    *headers = settings.headers.clone();
    for (name, value) in target.iter().flat_map(|target| &target.headers) {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert("webhook-id", text(&id)?);
    headers.insert("idempotency-key", text(&id)?);
    headers.insert("webhook-timestamp", timestamp_s.into());
    if let Some(signature) = signature {
        headers.insert("webhook-signature", text(&signature)?);
    }
    Ok(request)
}

/// Reads a response's body to its end, or to what is read at most.
async fn read(response: Response<Incoming>, read: &mut Vec<u8>) {
    let mut body = response.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            let room = RESPONSE_BYTES_MAX - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
            if read.len() == RESPONSE_BYTES_MAX {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, headers: &[(&'static str, &'static str)], said: &[u8]) -> Outcome {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        judge("https://r", StatusCode::from_u16(status).unwrap(), &headers, said, 0)
    }

    #[test]
    fn statuses_are_sorted_by_what_helps() {
        for status in [408, 429, 500, 502, 503, 599] {
            let outcome = outcome(status, &[("retry-after", "3")], b"");
            assert!(
                matches!(outcome, Outcome::Failed { retry_after: Some(after), reached: true, .. }
                    if after == Duration::from_secs(3)),
                "{status}: {outcome:?}"
            );
        }
        assert!(matches!(outcome(413, &[], b""), Outcome::TooLarge(_)));
        for status in [301, 304, 400, 401, 404, 410, 422] {
            assert!(matches!(outcome(status, &[], b""), Outcome::Refused(_)), "{status}");
        }
    }

    #[test]
    fn refusals_say_what_the_receiver_said() {
        let Outcome::Refused(error) = outcome(404, &[], &[b'x'; 1_000]) else { panic!() };
        assert_eq!(error.message(), format!("https://r answered 404 Not Found: {}", "x".repeat(200)));
        let to = [("location", "https://other/path?token=hunter2")];
        let Outcome::Refused(error) = outcome(302, &to, b"") else { panic!() };
        let text = error.to_string();
        assert!(text.contains("redirect to https://other/path (") && text.contains("set 'url'"), "{text}");
        assert!(!text.contains("hunter2"));
    }
}
