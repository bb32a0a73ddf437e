//! `rest-lookup`: rows that a stream looks up at an HTTP endpoint, under the name that Flink's community connector has.
//!
//! ```sql
//! CREATE TABLE devices (id STRING, site STRING, limit_c DOUBLE)
//! WITH ('connector' = 'rest-lookup', 'url' = 'https://assets/api/devices/{id}', 'lookup.cache' = 'PARTIAL');
//! ```
//!
//! A key is a GET: its columns fill the URL's placeholders, those without one are query parameters. The answer is a JSON
//! object (in the table's format), or a list of them; 404 and 204 say that there is none. Invariants: 429 and 5xx, and an
//! endpoint that is away, are tried again as 'lookup.max-retries' says, other refusals end the job; an answer larger than
//! [`ANSWER_BYTES_MAX`] is not read; headers, which may hold a token, are in no error.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use millstream_engine::batch::record_batch;
use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError, RowErrors};
use millstream_engine::lookup::{LOOKUP_OPTIONS, Lookup, LookupProvider, LookupSettings, Rows};
use millstream_engine::options::OptionSpec;
use millstream_engine::{Codec, Connector, Error, InstanceContext, Result, Table, causes};

use crate::format::{PAYLOAD_OPTIONS, PayloadDecoder, PayloadOptions};
use crate::http_client::connector;
use crate::tls::{TLS_OPTIONS, client_config};

/// Bytes of the largest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const SHOWN_CHARS_MAX: usize = 200;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        "text",
        "",
        "Where rows are: 'https://host/devices/{id}'; keys without a place in it are query parameters.",
    ),
    OptionSpec::new("headers.*", "text", "", "Sent with each request: 'headers.Authorization' = 'Bearer …'.")
        .secret(),
    ON_ERROR_OPTION,
];

/// The connector.
pub struct RestLookup;

impl Connector for RestLookup {
    fn name(&self) -> &'static str {
        "rest-lookup"
    }
    fn help(&self) -> &'static str {
        "Rows that are looked up by key at an HTTP endpoint."
    }
    fn options(&self) -> Vec<OptionSpec> {
        [OPTIONS, LOOKUP_OPTIONS, PAYLOAD_OPTIONS, TLS_OPTIONS].concat()
    }
    fn lookup(&self, table: &Table) -> Result<Arc<dyn LookupProvider>> {
        Ok(Arc::new(Provider::read(table)?))
    }
}

struct Provider {
    url: String,
    headers: HeaderMap,
    tls: Arc<rustls::ClientConfig>,
    lookup: LookupSettings,
    payload: PayloadOptions,
    on_error: OnError,
    table: Table,
}

impl Provider {
    fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let url = options.require("url")?.trim().to_owned();
        // What stands for a key may be anywhere but in the host.
        let parsed = url.replace(['{', '}'], "_").parse::<Uri>();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let host = parsed.as_ref().ok().and_then(|uri| uri.authority()).map(|host| host.as_str().to_owned());
        if !parsed.is_ok_and(|uri| is_http(&uri)) || !host.is_some_and(|host| url.contains(&host)) {
            return Err(
                options.invalid("url", "an http:// or https:// URL, such as 'https://host/devices/{id}'")
            );
        }
        for name in placeholders(&url) {
            if table.schema.index_of(name).is_err() {
                return Err(
                    options.invalid("url", &format!("columns of the table in braces, '{name}' is none"))
                );
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in options.with_prefix("headers.") {
            let wrong =
                || options.invalid(&format!("headers.{name}"), "the name and the value of an HTTP header");
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
        Ok(Self {
            url,
            headers,
            tls: client_config(options)?,
            lookup: LookupSettings::from_options(options, 1)?,
            payload: PayloadOptions::from_options(options)?,
            on_error: OnError::from_options(options)?,
            table: table.clone(),
        })
    }
}

/// The names in braces.
fn placeholders(url: &str) -> impl Iterator<Item = &str> {
    url.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

impl LookupProvider for Provider {
    fn settings(&self) -> LookupSettings {
        self.lookup.clone()
    }

    fn create(
        &self,
        schema: SchemaRef,
        keys: &[usize],
        context: &InstanceContext,
    ) -> Result<Arc<dyn Lookup>> {
        let names: Vec<String> = keys.iter().map(|key| schema.field(*key).name().clone()).collect();
        if let Some(name) = placeholders(&self.url).find(|name| !names.iter().any(|key| key == name)) {
            return Err(Error::config(format!(
                "the URL has a place for '{name}', which is not among what is equal in ON"
            ))
            .at(self.table.options.owner())
            .remedy(format!("add it to the join's condition: ON a.x = t.{name}")));
        }
        let rest: Vec<usize> = (0..schema.fields().len()).filter(|column| !keys.contains(column)).collect();
        let content: SchemaRef = Arc::new(Schema::new(schema.project(&rest)?.fields().clone()));
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector(HttpConnector::new(), &self.tls));
        Ok(Arc::new(Endpoint {
            inner: Arc::new(Inner {
                url: self.url.clone(),
                headers: self.headers.clone(),
                codec: self.table.codec_for(&content)?,
                payload: self.payload.clone(),
                errors: context.row_errors(self.on_error),
                http,
                names,
                schema,
                keys: keys.to_vec(),
                content,
            }),
        }))
    }

    fn describe(&self) -> String {
        self.url.split('?').next().unwrap_or_default().to_owned()
    }
}

struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    headers: HeaderMap,
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    codec: Arc<dyn Codec>,
    payload: PayloadOptions,
    errors: RowErrors,
    schema: SchemaRef,
    /// The key's columns in `schema`, and their names.
    keys: Vec<usize>,
    names: Vec<String>,
    /// The other columns, which answers are read for.
    content: SchemaRef,
}

impl Lookup for Endpoint {
    fn find(&self, keys: Option<RecordBatch>) -> Rows {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let keys = keys.ok_or_else(|| Error::internal("an endpoint is asked by keys"))?;
            let mut found = Vec::new();
            for row in 0..keys.num_rows() {
                found.extend(inner.find(&keys.slice(row, 1)).await?);
            }
            Ok(found)
        })
    }
}

impl Inner {
    /// The rows of one key.
    async fn find(&self, key: &RecordBatch) -> Result<Option<RecordBatch>> {
        let uri = self.uri(key)?;
        let host = uri.host().unwrap_or_default().to_owned();
        let mut request = Request::get(uri)
            .body(Empty::new())
            .map_err(|error| Error::internal(format!("the request cannot be built: {error}")))?;
        request.headers_mut().extend(self.headers.clone());
        let away = |what: String| Error::unavailable(format!("'{host}' {what}"));
        let response = self.http.request(request).await;
        let response = response.map_err(|error| away(format!("is away: {}", causes(&error))))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| away(format!("broke off: {error}")))?.to_bytes();
        match status {
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => Ok(None),
            status if status.is_success() => self.rows(key, &body).map(Some),
            status => {
                let shown = String::from_utf8_lossy(&body);
                let said: String = shown.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
                let why = format!("'{host}' answered {status} to a lookup: {said}");
                let may_pass = status.is_server_error()
                    || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                Err(if may_pass { Error::unavailable(why) } else { Error::config(why) })
            }
        }
    }

    /// The URL with the key in it.
    fn uri(&self, key: &RecordBatch) -> Result<Uri> {
        let (mut url, options) = (self.url.clone(), FormatOptions::new());
        for (name, column) in self.names.iter().zip(key.columns()) {
            let value = escaped(&ArrayFormatter::try_new(column.as_ref(), &options)?.value(0).to_string());
            let place = format!("{{{name}}}");
            if url.contains(&place) {
                url = url.replace(&place, &value);
            } else {
                let sign = if url.contains('?') { '&' } else { '?' };
                url.push_str(&format!("{sign}{}={value}", escaped(name)));
            }
        }
        url.parse().map_err(|error| Error::data(format!("a key makes no URL: {error}")))
    }

    fn rows(&self, key: &RecordBatch, body: &[u8]) -> Result<RecordBatch> {
        let objects = objects(body);
        let (count, columns) = if self.content.fields().is_empty() {
            (objects.len(), Vec::new())
        } else {
            let mut decoder =
                PayloadDecoder::new(Arc::clone(&self.content), self.codec.as_ref(), &self.payload)?;
            for object in objects {
                decoder.push(object, &self.errors)?;
            }
            let rows = decoder.flush(&self.errors)?.rows;
            (rows.num_rows(), rows.columns().to_vec())
        };
        let first = UInt32Array::from(vec![0; count]);
        let mut rest = columns.into_iter();
        let columns = (0..self.schema.fields().len())
            .map(|column| match self.keys.iter().position(|key| *key == column) {
                Some(place) => Ok(take(key.column(place), &first, None)?),
                None => rest.next().ok_or_else(|| Error::internal("an answer lacks a column")),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        record_batch(Arc::clone(&self.schema), columns, count)
    }
}

/// The object that an answer is, or those of its list. What is no JSON is a bad row to the format.
fn objects(body: &[u8]) -> Vec<&[u8]> {
    let body = body.trim_ascii();
    let Some(list) = body.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return if body.is_empty() { Vec::new() } else { vec![body] };
    };
    let (mut found, mut start, mut depth, mut in_text, mut is_escaped) =
        (Vec::new(), 0, 0_usize, false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                found.push(list[start..at].trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = list[start..].trim_ascii();
    if !(found.is_empty() && last.is_empty()) {
        found.push(last);
    }
    found
}

/// A value as a part of a URL.
fn escaped(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests;
