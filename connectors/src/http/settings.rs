//! The options of an HTTP table, read once.
//!
//! Invariant: the token and the private key are never part of an error, a log line or `EXPLAIN`; [`Settings::shown`] is
//! what is shown. A token is compared in a time that does not depend on how much of it is right.

use std::fmt;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError};
use millstream_engine::journal::{JOURNAL_OPTION, bytes_max};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::registry::Table;
use millstream_engine::{Error, Result};
use rustls::ServerConfig;

use crate::format::on_error;
use crate::tls::{SERVER_TLS_OPTIONS, server_config};

/// All options of the connector itself, in the order a reader wants them; TLS and the format's come on top.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "listen",
        "text",
        "",
        "Address and port to listen on, such as '127.0.0.1:8090'; several tables may share one.",
    ),
    OptionSpec::new(
        "path",
        "text",
        "",
        "Where rows are posted, '/TABLE' when not given; with '/*' at its end, everything below.",
    ),
    OptionSpec::new(
        "token",
        "text",
        "",
        "What senders must show as 'Authorization: Bearer TOKEN'; without it anybody may send.",
    )
    .secret(),
    OptionSpec::new("body.max-bytes", "size", "16 mb", "The largest body of a request, decompressed."),
    OptionSpec::new("body.timeout", "duration", "30 s", "How long a body may take to arrive."),
    OptionSpec::new(
        "header.timeout",
        "duration",
        "60 s",
        "How long the head of a request may take to arrive, and so how long an idle connection is kept.",
    ),
    OptionSpec::new(
        "answer.timeout",
        "duration",
        "30 s",
        "How long rows may wait for the query before their sender is asked to come again.",
    ),
    OptionSpec::new(
        "inlet.max-bytes",
        "size",
        "32 mb",
        "Bytes that wait for the query before senders are asked to come again.",
    ),
    OptionSpec::new(
        "connections.max",
        "integer",
        "256",
        "Connections that are served at a time; more wait to be accepted.",
    ),
    JOURNAL_OPTION,
    ON_ERROR_OPTION,
];

/// Connections of the largest machine that are worth serving by one process.
const CONNECTIONS_MAX: usize = 65_536;

/// An HTTP table's options, typed.
#[derive(Debug)]
pub(super) struct Settings {
    pub table: String,
    pub listen: SocketAddr,
    pub path: Path,
    pub token: Option<Token>,
    pub body_bytes_max: usize,
    pub body_timeout: Duration,
    pub header_timeout: Duration,
    pub answer_timeout: Duration,
    pub inlet_bytes_max: usize,
    pub connections_max: usize,
    pub tls: Option<Tls>,
    pub on_error: OnError,
    pub journal_bytes_max: u64,
}

impl Settings {
    /// Reads `table`'s options.
    ///
    /// # Errors
    /// If one is wrong or missing.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let wanted = "a number of connections from 1 to 65536";
        let connections_max = match options.parse::<usize>("connections.max", wanted)? {
            Some(given) if given == 0 || given > CONNECTIONS_MAX => {
                return Err(options.invalid("connections.max", wanted));
            }
            given => given.unwrap_or(256),
        };
        Ok(Self {
            table: table.name.clone(),
            listen: listen(options)?,
            path: Path::read(options, &table.name)?,
            token: Token::read(options)?,
            body_bytes_max: options.size_bytes("body.max-bytes")?.unwrap_or(16 << 20).max(1),
            body_timeout: duration(options, "body.timeout", 30_000)?,
            header_timeout: duration(options, "header.timeout", 60_000)?,
            answer_timeout: duration(options, "answer.timeout", 30_000)?,
            inlet_bytes_max: options.size_bytes("inlet.max-bytes")?.unwrap_or(32 << 20).max(1),
            connections_max,
            tls: Tls::read(options)?,
            on_error: on_error(options)?,
            journal_bytes_max: bytes_max(options)?,
        })
    }

    /// The table's address as it may be shown.
    pub fn shown(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.listen, self.path)
    }
}

fn listen(options: &Options) -> Result<SocketAddr> {
    let text = options.require("listen")?.trim();
    text.parse().map_err(|_| {
        options.invalid("listen", "an IP address and a port").remedy(
            "'127.0.0.1:8090' is for programs on this machine, '0.0.0.0:8090' or '[::]:8090' for all networks",
        )
    })
}

/// The path, or with `/*` the paths, of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Without `*`.
    text: String,
    is_prefix: bool,
}

impl Path {
    fn read(options: &Options, table: &str) -> Result<Self> {
        let given = options.get("path").map_or_else(|| format!("/{table}"), |path| path.trim().to_owned());
        let (text, is_prefix) = match given.strip_suffix("/*") {
            Some(before) => (format!("{before}/"), true),
            None => (given, false),
        };
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '*' | '"' | '<' | '>');
        if text.starts_with('/') && text.chars().all(is_plain) {
            return Ok(Self { text, is_prefix });
        }
        Err(Error::config(format!("option 'path': '{text}' is no path that a request can have"))
            .at(options.owner())
            .remedy("write it like '/ingest/readings', other characters percent-encoded"))
    }

    /// How well `path` fits: none, or the better the larger.
    pub fn fit(&self, path: &str) -> Option<usize> {
        match self.is_prefix {
            false => (path == self.text).then_some(usize::MAX),
            true => path.starts_with(&self.text).then_some(self.text.len()),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

/// What a sender must show.
pub(super) struct Token(String);

impl Token {
    fn read(options: &Options) -> Result<Option<Self>> {
        let Some(token) = options.get("token") else { return Ok(None) };
        let token = token.trim();
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::config("option 'token': it must be visible ASCII characters, and not empty")
                .at(options.owner())
                .remedy("leave the option out to let anybody send"));
        }
        Ok(Some(Self(token.to_owned())))
    }

    /// Whether an `Authorization` header shows the token.
    pub fn is_shown_by(&self, header: &[u8]) -> bool {
        let Some((scheme, given)) = header.split_at_checked(7) else { return false };
        let (given, wanted) = (given.trim_ascii(), self.0.as_bytes());
        let mut difference = given.len() ^ wanted.len();
        for (at, byte) in given.iter().enumerate() {
            difference |= usize::from(byte ^ wanted[at % wanted.len()]);
        }
        scheme.eq_ignore_ascii_case(b"bearer ") && black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// What TLS is spoken with.
#[derive(Clone)]
pub(super) struct Tls {
    pub config: Arc<ServerConfig>,
    /// The options as given, by which two tables at one address are told to mean the same.
    given: Vec<Option<String>>,
}

impl Tls {
    fn read(options: &Options) -> Result<Option<Self>> {
        let given: Vec<_> =
            SERVER_TLS_OPTIONS.iter().map(|spec| options.get(spec.key).map(str::to_owned)).collect();
        if given.iter().all(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(Self { config: server_config(options)?, given }))
    }

    /// Whether both mean the same.
    pub fn is_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        one.map(|tls| &tls.given) == other.map(|tls| &tls.given)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn duration(options: &Options, key: &str, default_ms: u64) -> Result<Duration> {
    let ms = options.duration_ms(key)?.and_then(|ms| u64::try_from(ms).ok());
    Ok(Duration::from_millis(ms.unwrap_or(default_ms).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_equal_or_not() {
        let token = Token("abc".into());
        for (header, is_right) in [
            ("Bearer abc", true),
            ("bearer  abc ", true),
            ("Bearer abcabc", false),
            ("Bearer ab", false),
            ("Bearer abd", false),
            ("Bearer ", false),
            ("Basic abc", false),
            ("abc", false),
        ] {
            assert_eq!(token.is_shown_by(header.as_bytes()), is_right, "{header}");
        }
    }

    #[test]
    fn paths_fit_exactly_or_below() {
        let path = |text| Path::read(&Options::from_pairs("t", [("path", text)]), "t").unwrap();
        assert_eq!(path("/a").fit("/a"), Some(usize::MAX));
        assert_eq!(
            (path("/a").fit("/a/b"), path("/a/*").fit("/a/b"), path("/a/*").fit("/a")),
            (None, Some(3), None)
        );
        assert_eq!(Path::read(&Options::default(), "readings").unwrap().to_string(), "/readings");
        for wrong in ["a", "/a b", "/a?b", "/*/b"] {
            Path::read(&Options::from_pairs("t", [("path", wrong)]), "t").unwrap_err();
        }
    }
}
