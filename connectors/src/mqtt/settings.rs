//! What the options of an MQTT table say, read once.
//!
//! Invariant: passwords and keys are never part of an error, a log line or `EXPLAIN`; [`Broker`] is what is shown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use rustls::ClientConfig;

use millstream_engine::dead_letter::OnError;
use millstream_engine::journal::bytes_max;
use millstream_engine::options::Options;
use millstream_engine::registry::Table;
use millstream_engine::{Error, ErrorKind, Result};

use crate::format::on_error;
use crate::tls;

use super::broker::{Broker, brokers};
use super::connection::WEBSOCKET_BYTES_MAX;
use super::packets::{RetainHandling, Version, Will};

/// Bytes of the smallest limit for packets that leaves room for a message.
const PACKET_BYTES_MIN: usize = 128;

/// What it takes to be connected, the same for reading and writing.
pub(super) struct Link {
    /// The table's name.
    pub table: String,
    /// At least one; the first is preferred.
    pub brokers: Vec<Broker>,
    /// For brokers whose address is one of TLS.
    pub tls: Option<Arc<ClientConfig>>,
    pub has_certificate: bool,
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
    pub retain_handling: RetainHandling,
    /// What the broker is told as our limit when reading.
    pub packet_bytes_max: Option<u32>,
    pub will: Option<Will>,
    pub on_error: OnError,
    pub journal_bytes_max: u64,
}

impl Link {
    /// Reads what reading and writing share.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let brokers = brokers(options)?;
        let tls = match brokers.iter().find(|broker| broker.scheme.is_encrypted()) {
            Some(_) => Some(tls::client_config(options)?),
            None => {
                tls::refuse_options(options, options.require("url")?)?;
                None
            }
        };
        let version = options
            .choice("version", &[("5", Version::V5), ("5.0", Version::V5), ("3.1.1", Version::V311)])?
            .unwrap_or(Version::V5);
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
            has_certificate: options.get("tls.cert").is_some(),
            tls,
            version,
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
            retain_handling: retain_handling(options, version)?,
            packet_bytes_max: packet_bytes_max(options, version, &brokers)?,
            will: will(options)?,
            on_error: on_error(options)?,
            journal_bytes_max: bytes_max(options)?,
            brokers,
        })
    }

    /// How long to wait after failure `failures`, counted from 1, of a kind: between half and all of the backoff, which
    /// is at its maximum from the start where somebody has to mend something.
    pub fn backoff(&self, failures: u32, kind: ErrorKind, random: &mut SmallRng) -> Duration {
        let full = match kind {
            ErrorKind::Config => self.backoff_max,
            _ => self.backoff_initial.saturating_mul(1 << (failures - 1).min(31)),
        };
        full.min(self.backoff_max).mul_f64(random.random_range(0.5..=1.0))
    }

    /// The broker of this number, from 0.
    pub fn broker(&self, number: usize) -> &Broker {
        &self.brokers[number % self.brokers.len()]
    }

    /// All brokers as one text.
    pub fn broker_names(&self) -> String {
        self.brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

fn retain_handling(options: &Options, version: Version) -> Result<RetainHandling> {
    let choices = [
        ("send-if-new", RetainHandling::IfNew),
        ("send-always", RetainHandling::Always),
        ("never", RetainHandling::Never),
    ];
    match options.choice("retain-handling", &choices)? {
        Some(RetainHandling::Never) if version == Version::V311 => {
            Err(Error::config("option 'retain-handling' = 'never' needs MQTT 5")
                .at(options.owner())
                .remedy("a 3.1.1 broker always sends them: read the metadata 'retained', and filter by it"))
        }
        given => Ok(given.unwrap_or(RetainHandling::IfNew)),
    }
}

fn packet_bytes_max(options: &Options, version: Version, brokers: &[Broker]) -> Result<Option<u32>> {
    match options.size_bytes("maximum-packet-size")? {
        Some(_) if version == Version::V311 => {
            Err(Error::config("option 'maximum-packet-size' needs MQTT 5")
                .at(options.owner())
                .remedy("'payload.max-bytes' bounds what is taken in with either version"))
        }
        Some(bytes) if bytes < PACKET_BYTES_MIN => {
            Err(options.invalid("maximum-packet-size", "at least 128 bytes"))
        }
        Some(bytes) => Ok(Some(u32::try_from(bytes).unwrap_or(u32::MAX))),
        // A larger one would end the connection, and come again over the next.
        None if brokers.iter().any(|broker| broker.scheme.is_websocket()) => {
            Ok(u32::try_from(WEBSOCKET_BYTES_MAX).ok())
        }
        None => Ok(None),
    }
}

fn will(options: &Options) -> Result<Option<Will>> {
    let Some(topic) = options.get("will.topic") else {
        let others = ["will.payload", "will.qos", "will.retain"];
        return match others.into_iter().find(|key| options.get(key).is_some()) {
            None => Ok(None),
            Some(key) => Err(Error::config(format!("option '{key}' needs 'will.topic'")).at(options.owner())),
        };
    };
    if topic.is_empty() || topic.len() > 65_535 || topic.contains(['+', '#', '\0']) {
        return Err(options.invalid("will.topic", "a topic without '+' and '#'"));
    }
    let payload = options.get("will.payload").unwrap_or_default();
    if payload.len() > 65_535 {
        return Err(Error::config("option 'will.payload' is over 65535 bytes").at(options.owner()));
    }
    let qos = match options.parse::<u8>("will.qos", "'0' or '1'")? {
        Some(given) if given > 1 => return Err(options.invalid("will.qos", "'0' or '1'")),
        given => given.unwrap_or(1),
    };
    let retain = options.bool("will.retain")?.unwrap_or(false);
    Ok(Some(Will {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain,
    }))
}

fn qos(options: &Options) -> Result<u8> {
    match options.parse::<u8>("qos", "'0', '1' or '2'")? {
        None => Ok(1),
        Some(given @ 0..=2) => Ok(given),
        Some(_) => Err(options.invalid("qos", "'0', '1' or '2'")),
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
