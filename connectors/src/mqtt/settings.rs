//! The options of an MQTT table, read once.
//!
//! Invariant: the password is never part of an error, a log line or `EXPLAIN`; [`Link::broker`] is what is shown.

use std::time::Duration;

use millstream_engine::dead_letter::{ON_ERROR_OPTION, OnError};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::registry::Table;
use millstream_engine::{Error, Result};

use crate::format::on_error;

use super::packets::Version;

/// All options of the connector itself, in the order a reader wants them; the format's come on top.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("url", "text", "", "The broker, such as 'mqtt://host:1883'."),
    OptionSpec::new(
        "topic",
        "text",
        "",
        "Read: a filter with + and #, where '{name}' for a level fills that column. Write: a topic, where '{name}' \
         stands for that column's value.",
    ),
    OptionSpec::new(
        "qos",
        "0 | 1",
        "1",
        "0: a message may be lost with the connection. 1: it arrives at least once.",
    ),
    OptionSpec::new("version", "5 | 3.1.1", "5", "The protocol's version."),
    OptionSpec::new(
        "client-id",
        "text",
        "",
        "Name of the session at the broker, one a running table; derived from pipeline, table and host when not given.",
    ),
    OptionSpec::new("username", "text", "", "User name for the broker."),
    OptionSpec::new("password", "text", "", "Password for the broker.").secret(),
    OptionSpec::new("keep-alive", "duration", "30 s", "How often a quiet connection is tested; '0 s' never."),
    OptionSpec::new("connect.timeout", "duration", "10 s", "How long connecting may take."),
    OptionSpec::new(
        "reconnect.backoff.initial",
        "duration",
        "200 ms",
        "Wait before connecting again, doubled after.",
    ),
    OptionSpec::new("reconnect.backoff.max", "duration", "30 s", "The longest wait before connecting again."),
    OptionSpec::new(
        "clean-start",
        "boolean",
        "false",
        "Read: whether to begin without what the broker kept for this client id.",
    ),
    OptionSpec::new(
        "session-expiry",
        "duration",
        "1 h",
        "Read: how long the broker keeps messages while we are away (MQTT 5; with 3.1.1 the broker decides).",
    ),
    OptionSpec::new(
        "receive-maximum",
        "integer",
        "1024",
        "Read: QoS 1 messages the broker may send before we acknowledge (MQTT 5).",
    ),
    OptionSpec::new(
        "inlet.max-bytes",
        "size",
        "4 mb",
        "Read: bytes that wait for the query before the broker must.",
    ),
    OptionSpec::new(
        "retain",
        "boolean",
        "false",
        "Write: whether the broker keeps the topic's last message.",
    ),
    OptionSpec::new(
        "max-in-flight",
        "integer",
        "256",
        "Write: QoS 1 messages sent before one is acknowledged.",
    ),
    OptionSpec::new(
        "outlet.max-bytes",
        "size",
        "4 mb",
        "Write: bytes that wait for delivery before the query is held back.",
    ),
    ON_ERROR_OPTION,
];

/// What it takes to be connected, the same for reading and writing.
pub(super) struct Link {
    /// The table's name.
    pub table: String,
    pub host: String,
    pub port: u16,
    pub version: Version,
    pub qos: u8,
    /// Its own name at the broker, if the table gives it one.
    pub client_id: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// Zero: never.
    pub keep_alive: Duration,
    pub connect_timeout: Duration,
    pub backoff_initial: Duration,
    pub backoff_max: Duration,
    pub clean_start: bool,
    pub session_expiry_s: u32,
    pub receive_maximum: u16,
    pub on_error: OnError,
}

impl Link {
    /// Reads what reading and writing share.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let (host, port) = broker(options)?;
        let password = options.get("password").map(str::to_owned);
        let username = options.get("username").map(str::to_owned);
        if password.is_some() && username.is_none() {
            return Err(Error::config("option 'password' needs 'username'").at(options.owner()));
        }
        let keep_alive = duration(options, "keep-alive", 30_000)?;
        if keep_alive.as_secs() > u64::from(u16::MAX) || (keep_alive.as_secs() == 0 && !keep_alive.is_zero())
        {
            return Err(options.invalid("keep-alive", "whole seconds, at most 65535, or '0 s' for never"));
        }
        let backoff_initial =
            duration(options, "reconnect.backoff.initial", 200)?.max(Duration::from_millis(1));
        Ok(Self {
            table: table.name.clone(),
            host,
            port,
            version: options
                .choice("version", &[("5", Version::V5), ("5.0", Version::V5), ("3.1.1", Version::V311)])?
                .unwrap_or(Version::V5),
            qos: qos(options)?,
            client_id: client_id(options)?,
            username,
            password,
            keep_alive: Duration::from_secs(keep_alive.as_secs()),
            connect_timeout: duration(options, "connect.timeout", 10_000)?.max(Duration::from_millis(1)),
            backoff_initial,
            backoff_max: duration(options, "reconnect.backoff.max", 30_000)?.max(backoff_initial),
            clean_start: options.bool("clean-start")?.unwrap_or(false),
            session_expiry_s: u32::try_from(duration(options, "session-expiry", 3_600_000)?.as_secs())
                .unwrap_or(u32::MAX),
            receive_maximum: match options.parse::<u16>("receive-maximum", "a number from 1 to 65535")? {
                Some(0) => return Err(options.invalid("receive-maximum", "a number from 1 to 65535")),
                given => given.unwrap_or(1_024),
            },
            on_error: on_error(options)?,
        })
    }

    /// The broker as messages name it.
    pub fn broker(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("mqtt://[{host}]:{port}") } else { format!("mqtt://{host}:{port}") }
    }
}

/// Host and port of the 'url' option.
fn broker(options: &Options) -> Result<(String, u16)> {
    let wrong = |what: &str| Error::config(format!("option 'url': {what}")).at(options.owner());
    let url = options.require("url")?.trim();
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(wrong("it must look like 'mqtt://host:1883'"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => {}
        "mqtts" | "ws" | "wss" => {
            return Err(wrong(&format!(
                "'{scheme}://' is not supported yet, this version speaks MQTT over plain TCP"
            ))
            .remedy(
                "use 'mqtt://host:1883', for example to a broker on this machine that bridges to the far one",
            ));
        }
        _ => return Err(wrong(&format!("'{scheme}://' is no MQTT, it must look like 'mqtt://host:1883'"))),
    }
    if rest.contains('@') {
        return Err(
            wrong("it holds a user name or password").remedy("give them as 'username' and 'password'")
        );
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(wrong("a path means nothing to MQTT over TCP, end it after the port"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => return Err(wrong("the address's bracket is not closed")),
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| wrong(&format!("'{port}' is no port")))?,
        None => 1_883,
    };
    Ok((host.to_owned(), port))
}

fn qos(options: &Options) -> Result<u8> {
    match options.parse::<u8>("qos", "'0' or '1'")? {
        None => Ok(1),
        Some(given @ (0 | 1)) => Ok(given),
        Some(2) => Err(Error::config("option 'qos': QoS 2 is not supported")
            .at(options.owner())
            .remedy("use '1': every message arrives at least once")),
        Some(_) => Err(options.invalid("qos", "'0' or '1'")),
    }
}

fn client_id(options: &Options) -> Result<Option<String>> {
    match options.get("client-id") {
        None => Ok(None),
        Some(id) if id.is_empty() || id.len() > 65_535 || id.contains('\0') => {
            Err(options.invalid("client-id", "a text that is not empty"))
        }
        Some(id) => Ok(Some(id.to_owned())),
    }
}

pub(super) fn duration(options: &Options, key: &str, default_ms: u64) -> Result<Duration> {
    let ms = options.duration_ms(key)?.and_then(|ms| u64::try_from(ms).ok());
    Ok(Duration::from_millis(ms.unwrap_or(default_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker_of(url: &str) -> Result<(String, u16)> {
        broker(&Options::from_pairs("table t", [("url", url)]))
    }

    #[test]
    fn urls_name_a_host_and_perhaps_a_port() {
        assert_eq!(broker_of("mqtt://host").unwrap(), ("host".to_owned(), 1_883));
        assert_eq!(broker_of("mqtt://host:2883/").unwrap(), ("host".to_owned(), 2_883));
        assert_eq!(broker_of("mqtt://[::1]:1").unwrap(), ("::1".to_owned(), 1));
        for (url, part) in [
            ("host:1883", "must look like"),
            ("mqtts://host", "not supported yet"),
            ("ws://host", "not supported yet"),
            ("http://host", "no MQTT"),
            ("mqtt://user:hunter2@host", "'username' and 'password'"),
            ("mqtt://host/path", "a path means nothing"),
            ("mqtt://:1883", "names no host"),
            ("mqtt://host:x", "'x' is no port"),
        ] {
            let error = broker_of(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
