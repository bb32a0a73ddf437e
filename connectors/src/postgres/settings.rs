//! The options of a PostgreSQL table, read once.
//!
//! Invariant: the URL may hold a password, so it is never part of an error, a log line or `EXPLAIN`;
//! [`Settings::server`] (host, port, database) is what is shown.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::outbox::OutboxSettings;
use millstream_engine::registry::Table;
use millstream_engine::{Error, Result};

use crate::tls;

/// All options, in the order a reader wants them. Names are those of Flink's JDBC connector where it has one.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        "text",
        "",
        "The database: 'postgresql://user@host:5432/db', or Flink's 'jdbc:postgresql://host:5432/db'; '?sslmode=' is disable, prefer (default) or require, and a server's certificate is always checked.",
    )
    .secret(),
    OptionSpec::new("table-name", "text", "", "The table to write, with its schema if wanted: 'public.readings'."),
    OptionSpec::new("username", "text", "", "The user, unless the URL names one."),
    OptionSpec::new("password", "text", "", "The user's password.").secret(),
    OptionSpec::new("driver", "text", "", "Accepted so that Flink's tables can stay as they are; not used."),
    OptionSpec::new(
        "sink.buffer-flush.max-rows",
        "integer",
        "1000",
        "Rows of one statement at most; fewer when the stream rests.",
    ),
    OptionSpec::new(
        "sink.buffer-flush.interval",
        "duration",
        "1 s",
        "The longest a row waits for others on a stream that never rests.",
    ),
    OptionSpec::new(
        "sink.max-retries",
        "integer",
        "",
        "Attempts in a row at reaching the server before the job ends; as many as it takes when not given.",
    ),
    OptionSpec::new("reconnect.backoff.initial", "duration", "200 ms", "What the first retry waits at most."),
    OptionSpec::new("reconnect.backoff.max", "duration", "30 s", "What any retry waits at most."),
    OptionSpec::new("connect.timeout", "duration", "10 s", "How long an attempt to connect may take."),
    OptionSpec::new("request.timeout", "duration", "60 s", "How long a statement may take before it counts as failed."),
    OptionSpec::new("outlet.max-bytes", "size", "4 mb", "What may wait for the server before the query is held back; 64 mb for 'exactly-once', where reaching it starts a checkpoint."),
    OptionSpec::new(
        "sink.delivery-guarantee",
        "exactly-once | at-least-once",
        "at-least-once",
        "'exactly-once' commits each checkpoint's rows in one transaction and needs --state.",
    ),
    OptionSpec::new(
        "sink.progress-table",
        "text",
        "millstream_progress",
        "For 'exactly-once': the table that holds which checkpoint was committed; created if it is not there.",
    ),
    ON_ERROR_OPTION,
];

/// A PostgreSQL table's options.
pub(super) struct Settings {
    /// The table's name in SQL, for messages.
    pub table: String,
    pub schema: SchemaRef,
    pub primary_key: Vec<usize>,
    pub config: Config,
    pub tls: Arc<ClientConfig>,
    /// The server's table: schema, if named, and name, as they are stored.
    pub target: (Option<String>, String),
    pub rows_max: usize,
    pub interval: Duration,
    pub retries_max: Option<u32>,
    pub backoff_initial: Duration,
    pub backoff_max: Duration,
    pub request_timeout: Duration,
    pub outlet_bytes_max: usize,
    /// The progress table, where rows are delivered exactly once.
    pub progress: Option<(Option<String>, String)>,
    /// Where a barrier waits for the disk, if the state is there.
    pub outbox: Option<OutboxSettings>,
    pub on_error: OnError,
}

impl Settings {
    /// Reads `table`'s options.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let mut config = address(options)?;
        config.connect_timeout(duration(options, "connect.timeout", 10_000)?);
        let guarantees = [("at-least-once", false), ("exactly-once", true)];
        let is_exact = options.choice("sink.delivery-guarantee", &guarantees)?.unwrap_or(false);
        let progress = options.get("sink.progress-table").unwrap_or("millstream_progress");
        let rows_max = options
            .parse::<usize>("sink.buffer-flush.max-rows", "a number of rows, at least 1")?
            .unwrap_or(1_000);
        if rows_max == 0 {
            return Err(options.invalid("sink.buffer-flush.max-rows", "a number of rows, at least 1"));
        }
        let outbox = if is_exact {
            let because = "an epoch that is delivered exactly once is in the checkpoint";
            OutboxSettings::refuse(options, "'sink.delivery-guarantee' = 'at-least-once'", because)?;
            None
        } else {
            OutboxSettings::read(options)?
        };
        if !table.primary_key.is_empty() {
            OutboxSettings::expect_order(outbox.as_ref(), options)?;
        }
        Ok(Self {
            table: table.name.clone(),
            schema: Arc::clone(&table.schema),
            primary_key: table.primary_key.clone(),
            tls: tls::client_config(options)?,
            config,
            target: server_table(options.require("table-name")?),
            progress: is_exact.then(|| server_table(progress)),
            rows_max: rows_max.min(100_000),
            interval: duration(options, "sink.buffer-flush.interval", 1_000)?,
            retries_max: options.parse::<u32>("sink.max-retries", "a number of attempts")?,
            backoff_initial: duration(options, "reconnect.backoff.initial", 200)?,
            backoff_max: duration(options, "reconnect.backoff.max", 30_000)?,
            request_timeout: duration(options, "request.timeout", 60_000)?.max(Duration::from_millis(1)),
            outlet_bytes_max: options
                .size_bytes("outlet.max-bytes")?
                .unwrap_or(if is_exact { 64 << 20 } else { 4 << 20 })
                .max(1),
            outbox,
            on_error: OnError::from_options(options)?,
        })
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.schema.fields().iter().map(|field| field.name())
    }

    /// The server as it may be shown: host, port, database and table.
    pub fn server(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }

    /// The server's table as it may be shown.
    pub fn target_name(&self) -> String {
        match &self.target {
            (Some(schema), name) => format!("{schema}.{name}"),
            (None, name) => name.clone(),
        }
    }
}

/// A table's schema, if named, and its name.
fn server_table(text: &str) -> (Option<String>, String) {
    let unquoted = |name: &str| name.trim_matches('"').to_owned();
    match text.trim().split_once('.') {
        Some((schema, table)) => (Some(unquoted(schema)), unquoted(table)),
        None => (None, unquoted(text.trim())),
    }
}

/// Reads the URL. What is wrong with it is said without showing it, for it may hold a password.
fn address(options: &Options) -> Result<Config> {
    let wrong = |what: &str| {
        Error::config(format!("option 'url' {what}"))
            .at(options.owner())
            .remedy("it has the form 'postgresql://user@host:5432/db', with the password in 'password'")
    };
    let given = options.require("url")?.trim();
    let url = given.strip_prefix("jdbc:").unwrap_or(given);
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        return Err(wrong(
            "is not the address of a PostgreSQL database, the only kind this connector writes to",
        ));
    }
    // Every certificate is checked in full here, so these two ask for what 'require' does.
    let url =
        url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    let mut config = Config::from_str(&url).map_err(|_| wrong("cannot be read"))?;
    if let Some(user) = options.get("username") {
        config.user(user);
    }
    if let Some(password) = options.get("password") {
        config.password(password);
    }
    if config.get_hosts().is_empty() {
        return Err(wrong("names no host"));
    }
    if config.get_user().is_none() {
        return Err(wrong("names no user").remedy("add it to the URL, or as 'username'"));
    }
    if config.get_ssl_mode() == SslMode::Disable {
        tls::refuse_options(options, "sslmode=disable")?;
    }
    config.application_name("millstream");
    // Times without a zone that meet a column with one are UTC, as everywhere in this engine.
    config.options("-c TimeZone=UTC -c client_min_messages=warning");
    config.keepalives_idle(Duration::from_secs(30));
    config.tcp_user_timeout(Duration::from_secs(30));
    Ok(config)
}

fn duration(options: &Options, key: &str, default_ms: i64) -> Result<Duration> {
    let ms = options.duration_ms(key)?.unwrap_or(default_ms);
    Ok(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(pairs: [(&str, &str); N]) -> Result<Config> {
        address(&Options::from_pairs("table t", pairs))
    }

    #[test]
    fn flinks_and_libpqs_addresses_are_read() {
        let config = read([("url", "postgresql://ann@db:5433/plant")]).unwrap();
        assert_eq!((config.get_user(), config.get_dbname()), (Some("ann"), Some("plant")));
        assert_eq!(config.get_ports(), [5433]);
        let config =
            read([("url", "jdbc:postgresql://db/plant?sslmode=verify-full"), ("username", "bob")]).unwrap();
        assert_eq!((config.get_user(), config.get_ssl_mode()), (Some("bob"), SslMode::Require));
    }

    #[test]
    fn a_wrong_address_is_refused_without_showing_it() {
        for url in
            ["jdbc:mysql://ann:hunter2@db/x", "postgresql://ann:hunter2@db:port/x", "postgresql://db/x"]
        {
            let error = read([("url", url)]).unwrap_err().to_string();
            assert!(error.contains("'url'") && !error.contains("hunter2"), "{error}");
        }
        let plain = read([("url", "postgresql://a@b/c?sslmode=disable"), ("tls.ca", "x")]).unwrap_err();
        assert!(plain.to_string().contains("tls.ca"), "{plain}");
    }
}
