//! The client of a schema registry with Confluent's interface: schemas by number, and numbers of schemas.
//!
//! Invariants: it waits only on the I/O side; workers look into what was fetched. What is kept is bounded: of schemas
//! beyond [`SCHEMAS_MAX`] and of unknown numbers beyond [`MISSING_MAX`] the oldest is forgotten and asked for again. An
//! answer larger than [`ANSWER_BYTES_MAX`] is not read. Passwords are in no error.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use millstream_engine::options::Options;
use millstream_engine::{Error, Result, causes};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::http_client::connector;

/// Schemas that are kept, as many as Confluent's own client keeps.
const SCHEMAS_MAX: usize = 1_000;
/// Numbers that the registry does not know and that are remembered, so that bad payloads do not become requests.
const MISSING_MAX: usize = 1_000;
const ANSWER_BYTES_MAX: usize = 4 << 20;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
const SHOWN_CHARS_MAX: usize = 200;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A registry. Shared by all instances of a table.
pub(super) struct SchemaRegistry {
    /// Without a slash at its end.
    url: String,
    authorization: Option<HeaderValue>,
    known: Mutex<Known>,
    /// Made with the first request, since it belongs to the runtime that it is made on.
    http: Mutex<Option<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>>,
}

#[derive(Default)]
struct Known {
    schemas: HashMap<u32, Arc<str>>,
    /// The numbers of `schemas`, oldest first.
    ages: VecDeque<u32>,
    missing: VecDeque<u32>,
    /// Numbers of schemas that were registered, by their text.
    registered: HashMap<String, u32>,
}

impl SchemaRegistry {
    /// The registry at `url`; `user_info` is `user:password`.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn new(url: &str, user_info: Option<&str>) -> Result<Self> {
        let url = url.trim().trim_end_matches('/');
        let parsed: Uri =
            url.parse().map_err(|error| Error::config(format!("'{url}' is no URL: {error}")))?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() {
            return Err(Error::config(format!("'{url}' is no http:// or https:// URL")));
        }
        let authorization = user_info.map(|user_info| {
            let text = format!("Basic {}", STANDARD.encode(user_info));
            HeaderValue::from_str(&text).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let authorization =
            authorization.transpose().map_err(|_| Error::internal("base64 is fit for a header"))?;
        Ok(Self { url: url.to_owned(), authorization, known: Mutex::default(), http: Mutex::default() })
    }

    /// The schema of this number, if it was fetched.
    pub fn schema(&self, id: u32) -> Option<Arc<str>> {
        self.known.lock().schemas.get(&id).cloned()
    }

    /// True when asking for the schema of this number would bring nothing new.
    pub fn is_settled(&self, id: u32) -> bool {
        let known = self.known.lock();
        known.schemas.contains_key(&id) || known.missing.contains(&id)
    }

    /// The number of a schema that was registered.
    pub fn id_of(&self, schema: &str) -> Option<u32> {
        self.known.lock().registered.get(schema).copied()
    }

    /// Fetches the schema of number `id`.
    ///
    /// # Errors
    /// `Unavailable` when the registry cannot be reached, `Data` when it has no such schema.
    pub async fn fetch(&self, id: u32) -> Result<()> {
        if self.is_settled(id) {
            return Ok(());
        }
        let (status, answer) = self.request(Method::GET, &format!("/schemas/ids/{id}"), None).await?;
        if status == StatusCode::NOT_FOUND {
            return Err(self.missing(id, format!("the schema registry has no schema {id}")));
        }
        let answer = self.accepted(status, answer)?;
        if let Some(kind) = answer["schemaType"].as_str().filter(|kind| *kind != "AVRO") {
            return Err(self.missing(id, format!("schema {id} is of type {kind}, not AVRO")));
        }
        let Some(schema) = answer["schema"].as_str() else {
            return Err(self.missing(id, format!("schema {id} has no text")));
        };
        let mut known = self.known.lock();
        if known.schemas.len() >= SCHEMAS_MAX
            && let Some(oldest) = known.ages.pop_front()
        {
            known.schemas.remove(&oldest);
        }
        if known.schemas.insert(id, schema.into()).is_none() {
            known.ages.push_back(id);
        }
        Ok(())
    }

    /// There is no such schema, which is remembered; `why` as an error.
    fn missing(&self, id: u32, why: String) -> Error {
        let mut known = self.known.lock();
        if known.missing.len() >= MISSING_MAX {
            known.missing.pop_front();
        }
        known.missing.push_back(id);
        Error::data(why).at(&self.url)
    }

    /// Registers `schema` under `subject`, which gives its number; one that is there already keeps its own.
    ///
    /// # Errors
    /// `Unavailable` when the registry cannot be reached, `Config` when it refuses.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<()> {
        if self.id_of(schema).is_some() {
            return Ok(());
        }
        let path = format!("/subjects/{}/versions", escaped(subject));
        let body = json!({"schema": schema}).to_string();
        let (status, answer) = self.request(Method::POST, &path, Some(body)).await?;
        let id = self.accepted(status, answer)?["id"]
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| Error::unavailable("the schema registry gave no number").at(&self.url))?;
        self.known.lock().registered.insert(schema.to_owned(), id);
        Ok(())
    }

    fn accepted(&self, status: StatusCode, answer: Bytes) -> Result<Value> {
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| {
                Error::unavailable(format!("the schema registry's answer is no JSON: {error}")).at(&self.url)
            });
        }
        let said: String = String::from_utf8_lossy(&answer)
            .chars()
            .filter(|c| !c.is_control())
            .take(SHOWN_CHARS_MAX)
            .collect();
        let why = format!("the schema registry answered {status}: {said}");
        let retried = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT;
        Err(if retried { Error::unavailable(why) } else { Error::config(why) }.at(&self.url))
    }

    async fn request(&self, method: Method, path: &str, body: Option<String>) -> Result<(StatusCode, Bytes)> {
        let away = |what: String| Error::unavailable(format!("the schema registry {what}")).at(&self.url);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(ACCEPT, MEDIA_TYPE)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Error::internal(format!("the request cannot be built: {error}")))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let http = self.client()?;
        let exchange = async {
            let response =
                http.request(request).await.map_err(|error| away(format!("is away: {}", causes(&error))))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| away(format!("broke off: {error}")))?;
            Ok((status, body.to_bytes()))
        };
        match timeout(REQUEST_TIME_MAX, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(away(format!("did not answer within {REQUEST_TIME_MAX:?}"))),
        }
    }

    fn client(&self) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
        let mut http = self.http.lock();
        if let Some(http) = http.as_ref() {
            return Ok(http.clone());
        }
        let tls = crate::tls::client_config(&Options::default())?;
        let made = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector(HttpConnector::new(), &tls));
        *http = Some(made.clone());
        Ok(made)
    }
}

/// A subject as a part of a path.
fn escaped(subject: &str) -> String {
    let mut path = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte))
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}
