//! The options of a webhook table, read once.
//!
//! Invariant: a URL's path and query, header values and the signing secret may be credentials, so none of them is
//! ever part of an error, a log line or `EXPLAIN`; [`Settings::receiver`] (scheme, host, port) is what is shown.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};

use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::outbox::OutboxSettings;
use millstream_engine::registry::Table;
use millstream_engine::suggest::did_you_mean;
use millstream_engine::{Error, Result};

use rustls::ClientConfig;

use crate::tls;

use super::address::{self, AddressPolicy};
use super::request::{Content, Framing};
use super::retry::RetryPolicy;
use super::signature::{self, Signer};
use super::target::{Targets, url_template};
use super::template::{Syntax, Template};

/// Headers that the connector or HTTP itself sets.
const RESERVED_HEADERS: [&str; 9] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "idempotency-key",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
];

/// All options, in the order a reader wants them.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        "text",
        "",
        "Where rows are sent, http or https; '{{column}}' may stand in path and query. Redirects are not followed.",
    ),
    OptionSpec::new("method", "POST | PUT", "POST", "The request's method."),
    OptionSpec::new(
        "headers.*",
        "text",
        "",
        "A header added to each request, such as 'headers.Authorization'; '{{column}}' may stand in it.",
    ),
    OptionSpec::new(
        "body.template",
        "text",
        "",
        "The body instead of the row as JSON, such as '{\"text\": \"{{device}} is at {{t}}\"}'; ROWs by '{{row.field}}'.",
    ),
    OptionSpec::new(
        "content-type",
        "text",
        "",
        "The body's media type; of a template 'application/json' when not given, which also says how values are escaped.",
    ),
    OptionSpec::new(
        "content",
        "json | cloudevents",
        "json",
        "The row as a JSON object, or as the data of a CloudEvents 1.0 event (structured mode).",
    ),
    OptionSpec::new(
        "cloudevents.source",
        "text",
        "",
        "The event's source; '/millstream/TABLE' when not given.",
    ),
    OptionSpec::new("cloudevents.type", "text", "", "The event's type; 'millstream.TABLE' when not given."),
    OptionSpec::new(
        "key",
        "text",
        "",
        "Column (several: comma separated) whose rows stay in order; without it requests run in parallel, in no order.",
    ),
    OptionSpec::new(
        "max-in-flight",
        "integer",
        "8",
        "Requests attempted at a time; with 'key' each is of another key.",
    ),
    OptionSpec::new(
        "batch.max-rows",
        "integer",
        "1",
        "Rows in one request: 1 sends one object, more send a JSON array (or a CloudEvents batch).",
    ),
    OptionSpec::new(
        "batch.max-bytes",
        "size",
        "256 kb",
        "Size at which a request of several rows is closed.",
    ),
    OptionSpec::new("timeout", "duration", "10 s", "How long one attempt may take, connecting included."),
    OptionSpec::new(
        "retry.max-attempts",
        "integer",
        "10",
        "Attempts in all, the first included; 1 (or 0) does not retry.",
    ),
    OptionSpec::new(
        "retry.backoff.initial",
        "duration",
        "200 ms",
        "Wait before the first retry, doubled after.",
    ),
    OptionSpec::new(
        "retry.backoff.max",
        "duration",
        "30 s",
        "The longest wait, unless Retry-After asks for more.",
    ),
    OptionSpec::new(
        "retry.deadline",
        "duration",
        "5 min",
        "No attempt begins later than this after the first; then the rows go where 'on-error' says.",
    ),
    OptionSpec::new(
        signature::OPTION,
        "text",
        "",
        "Signs requests after Standard Webhooks: 'whsec_' and base64, or the secret as plain text.",
    )
    .secret(),
    OptionSpec::new(
        address::OPTION,
        "allow | deny",
        "deny",
        "Whether private and loopback addresses may be reached; link-local and metadata addresses never are.",
    ),
    OptionSpec::new(
        "outlet.max-bytes",
        "size",
        "4 mb",
        "Bytes that wait for delivery before the query is held back.",
    ),
    ON_ERROR_OPTION,
];

/// A webhook table's options, typed.
#[derive(Debug)]
pub(super) struct Settings {
    pub table: String,
    pub url: Uri,
    pub method: Method,
    pub headers: HeaderMap,
    /// What of URL and headers depends on the row.
    pub targets: Targets,
    pub tls: Arc<ClientConfig>,
    pub framing: Framing,
    /// Columns of the key.
    pub key: Vec<usize>,
    pub in_flight_max: usize,
    pub batch_rows_max: usize,
    pub batch_bytes_max: usize,
    pub timeout: Duration,
    pub retry: RetryPolicy,
    pub signer: Option<Signer>,
    pub addresses: AddressPolicy,
    pub outlet_bytes_max: usize,
    pub outbox: Option<OutboxSettings>,
    pub on_error: OnError,
}

impl Settings {
    /// Reads `table`'s options.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let allow_private = options.choice(address::OPTION, &[("allow", true), ("deny", false)])?;
        let addresses = AddressPolicy { allow_private: allow_private.unwrap_or(false) };
        let batch_rows_max = at_least_one(options, "batch.max-rows", 1)?;
        let framing = Framing { content: content(table, batch_rows_max)?, array: batch_rows_max > 1 };
        let mut targets = Targets::default();
        let url = url(table, addresses, &mut targets)?;
        let content_type = options.get("content-type").unwrap_or(framing.content_type());
        let headers = headers(table, content_type, &mut targets)?;
        if batch_rows_max > 1 && !targets.is_empty() {
            return Err(Error::config("columns in 'url' or 'headers.*' need 'batch.max-rows' = '1'")
                .at(options.owner())
                .remedy("rows of one request go to one place: leave 'batch.max-rows' or the columns out"));
        }
        if url.scheme_str() == Some("http") {
            tls::refuse_options(options, "http://")?;
        }
        Ok(Self {
            table: table.name.clone(),
            url,
            headers,
            targets,
            tls: tls::client_config(options)?,
            method: options
                .choice("method", &[("post", false), ("put", true)])?
                .map_or(Method::POST, |put| if put { Method::PUT } else { Method::POST }),
            framing,
            key: key(table)?,
            in_flight_max: at_least_one(options, "max-in-flight", 8)?.min(1_024),
            batch_rows_max,
            batch_bytes_max: options.size_bytes("batch.max-bytes")?.unwrap_or(256 << 10),
            timeout: duration(options, "timeout", 10_000)?.max(Duration::from_millis(1)),
            retry: RetryPolicy {
                attempts_max: options
                    .parse::<u32>("retry.max-attempts", "a number of attempts")?
                    .unwrap_or(10)
                    .max(1),
                initial: duration(options, "retry.backoff.initial", 200)?,
                max: duration(options, "retry.backoff.max", 30_000)?,
                deadline: duration(options, "retry.deadline", 300_000)?,
            },
            signer: Signer::from_options(options)?,
            addresses,
            outlet_bytes_max: options.size_bytes("outlet.max-bytes")?.unwrap_or(4 << 20),
            outbox: OutboxSettings::read(options)?,
            on_error: OnError::from_options(options)?,
        })
    }

    /// The receiver as it may be shown: without path and query, which may hold credentials.
    pub fn receiver(&self) -> String {
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.url.scheme_str().unwrap_or_default())
    }
}

/// The URL, with something harmless where columns stand.
fn url(table: &Table, addresses: AddressPolicy, targets: &mut Targets) -> Result<Uri> {
    let options = &table.options;
    let wrong = |what: &str| Error::config(format!("option 'url': {what}")).at(options.owner());
    let mut text = options.require("url")?.trim().to_owned();
    if Template::has_columns(&text) {
        let template =
            url_template(&text, table.schema.fields()).map_err(|error| of_option(options, "url", &error))?;
        text = template.sample();
        targets.url = Some(template);
    }
    let url: Uri = text
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| wrong(&format!("this is no URL: {error}")))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it must begin with 'http://' or 'https://'"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("it holds a user name or password")
            .remedy("send them as 'headers.Authorization' = 'Basic ...', which is never shown"));
    }
    let host = url.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
    addresses.check_host(host).map_err(|error| error.at(options.owner()))?;
    Ok(url)
}

/// The headers that are the same for all rows; the others go to `targets`.
fn headers(table: &Table, content_type: &str, targets: &mut Targets) -> Result<HeaderMap> {
    let options = &table.options;
    let wrong = |name: &str, what: &str| {
        Error::config(format!("option 'headers.{name}': {what}")).at(options.owner())
    };
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::from_str(content_type.trim())
        .map_err(|_| options.invalid("content-type", "a media type such as 'text/plain'"))?;
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("millstream/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in options.with_prefix("headers.") {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(wrong(name, "this header is set by the connector"));
        }
        let key: HeaderName = name.parse().map_err(|_| wrong(name, "this is no name of a header"))?;
        if Template::has_columns(value) {
            let template = Template::parse(value, Syntax::Plain, table.schema.fields())
                .map_err(|error| of_option(options, &format!("headers.{name}"), &error))?;
            targets.headers.push((key, template));
            continue;
        }
        let mut value: HeaderValue =
            value.parse().map_err(|_| wrong(name, "its value has characters that no header may hold"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// An error about the value of one option.
fn of_option(options: &Options, key: &str, error: &Error) -> Error {
    let named = Error::config(format!("option '{key}': {}", error.message())).at(options.owner());
    match error.remedy_text() {
        Some(remedy) => named.remedy(remedy),
        None => named,
    }
}

/// What the body's template makes, if there is one.
fn template(table: &Table, batch_rows_max: usize) -> Result<Option<Content>> {
    let options = &table.options;
    let Some(text) = options.get("body.template") else { return Ok(None) };
    let headers = options.with_prefix("headers.").find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = headers.map(|(_, value)| value).or(options.get("content-type")).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let syntax = match kind.as_str() {
        json if json.ends_with("/json") || json.ends_with("+json") => Syntax::Json,
        "application/x-www-form-urlencoded" => Syntax::Form,
        _ => Syntax::Plain,
    };
    if batch_rows_max > 1 && syntax != Syntax::Json {
        return Err(Error::config(format!("a 'body.template' of '{kind}' needs 'batch.max-rows' = '1'"))
            .at(options.owner())
            .remedy("only bodies of JSON can be put together, as an array"));
    }
    let template = Template::parse(text, syntax, table.schema.fields())
        .map_err(|error| of_option(options, "body.template", &error))?;
    Ok(Some(Content::Template(template)))
}

fn content(table: &Table, batch_rows_max: usize) -> Result<Content> {
    let options = &table.options;
    let template = template(table, batch_rows_max)?;
    let is_event = options.choice("content", &[("json", false), ("cloudevents", true)])?.unwrap_or(false);
    let text = |key: &str, default: String| {
        let value = options.get(key).map_or(default, |value| value.trim().to_owned());
        if value.is_empty() {
            return Err(options.invalid(key, "a text that is not empty"));
        }
        Ok(serde_json::Value::String(value).to_string())
    };
    if is_event {
        if template.is_some() {
            return Err(Error::config(
                "option 'body.template' and 'content' = 'cloudevents' exclude each other",
            )
            .at(options.owner()));
        }
        let source = text("cloudevents.source", format!("/millstream/{}", table.name.replace(' ', "%20")))?;
        let kind = text("cloudevents.type", format!("millstream.{}", table.name))?;
        return Ok(Content::CloudEvents { source, kind });
    }
    for key in ["cloudevents.source", "cloudevents.type"] {
        if options.get(key).is_some() {
            return Err(
                Error::config(format!("option '{key}' needs 'content' = 'cloudevents'")).at(options.owner())
            );
        }
    }
    Ok(template.unwrap_or(Content::Json))
}

/// The columns that the 'key' option names.
fn key(table: &Table) -> Result<Vec<usize>> {
    let Some(text) = table.options.get("key") else { return Ok(Vec::new()) };
    let fields = table.schema.fields();
    text.split(',')
        .map(|name| {
            let name = name.trim();
            fields.iter().position(|field| field.name() == name).ok_or_else(|| {
                let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
                let nearest = did_you_mean(name, names.iter().copied());
                Error::config(format!("option 'key': the table has no column '{name}'"))
                    .at(table.options.owner())
                    .remedy(format!(
                        "{}its columns are: {}",
                        nearest.map_or(String::new(), |near| format!("did you mean '{near}'? ")),
                        names.join(", ")
                    ))
            })
        })
        .collect()
}

fn duration(options: &Options, key: &str, default_ms: u64) -> Result<Duration> {
    let ms = options.duration_ms(key)?.and_then(|ms| u64::try_from(ms).ok());
    Ok(Duration::from_millis(ms.unwrap_or(default_ms)))
}

fn at_least_one(options: &Options, key: &str, default: usize) -> Result<usize> {
    match options.parse::<usize>(key, "a number from 1")? {
        Some(0) => Err(options.invalid(key, "a number from 1")),
        given => Ok(given.unwrap_or(default)),
    }
}
