//! What a table says of its outbox.
//!
//! Read by connectors, once a table, with its other options; a sink's instances hand it to [`Outbox::of`](super::Outbox::of).

use std::time::Duration;

use super::feed::Order;
use crate::error::{Error, Result};
use crate::options::{OptionSpec, Options};

/// The options of a sink that has an outbox.
pub const OUTBOX_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "outbox.max-bytes",
        "size",
        "256 mb",
        "With --state: bytes on disk that wait for the far end before the query is held back; 0: no outbox, checkpoints wait for the far end.",
    ),
    OptionSpec::new(
        "outbox.ttl",
        "duration",
        "",
        "With --state: what has waited longer goes where 'on-error' says; without it, it waits for ever.",
    ),
    OptionSpec::new(
        "outbox.order",
        "oldest-first | live-first",
        "oldest-first",
        "With --state: whether what has waited goes out before what comes now, or after it.",
    ),
];

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct OutboxSettings {
    /// Bytes on disk.
    pub bytes_max: u64,
    /// How long a record may wait.
    pub ttl: Option<Duration>,
    /// What goes first.
    pub order: Order,
}

impl OutboxSettings {
    /// Reads [`OUTBOX_OPTIONS`]; none where the table wants no outbox.
    ///
    /// # Errors
    /// If a value is not of its kind.
    pub fn read(options: &Options) -> Result<Option<Self>> {
        let ttl_ms = options.duration_ms("outbox.ttl")?.and_then(|ms| u64::try_from(ms).ok());
        let orders = [("oldest-first", Order::OldestFirst), ("live-first", Order::LiveFirst)];
        let settings = Self {
            bytes_max: options.size_bytes("outbox.max-bytes")?.map_or(256 << 20, |bytes| bytes as u64),
            ttl: ttl_ms.map(Duration::from_millis),
            order: options.choice("outbox.order", &orders)?.unwrap_or_default(),
        };
        Ok((settings.bytes_max > 0).then_some(settings))
    }

    /// Refuses 'live-first' for a table that is written by key.
    ///
    /// # Errors
    /// If `settings` say so.
    pub fn expect_order(settings: Option<&Self>, options: &Options) -> Result<()> {
        if settings.is_none_or(|settings| settings.order == Order::OldestFirst) {
            return Ok(());
        }
        Err(Error::config(
            "'outbox.order' = 'live-first' would write rows that have waited over newer ones of their key",
        )
        .at(options.owner())
        .remedy("leave 'outbox.order' away for a table that is written by key"))
    }

    /// Refuses [`OUTBOX_OPTIONS`] where a table has no outbox, `because` it has not what `needed` says, such as
    /// `'qos' = '1'`.
    ///
    /// # Errors
    /// If one is given.
    pub fn refuse(options: &Options, needed: &str, because: &str) -> Result<()> {
        match OUTBOX_OPTIONS.iter().find(|spec| options.get(spec.key).is_some()) {
            None => Ok(()),
            Some(spec) => Err(Error::config(format!("option '{}' needs {needed}", spec.key))
                .at(options.owner())
                .remedy(format!("set {needed}, or leave the option away: {because}"))),
        }
    }
}
