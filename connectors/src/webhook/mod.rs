//! The `webhook` connector: every row an HTTP request (or a place in one), delivered at least once.
//!
//! ```sql
//! CREATE TABLE alerts (device STRING, level STRING) WITH (
//!   'connector' = 'webhook', 'url' = 'https://example.com/hook', 'key' = 'device', 'signature.secret' = '${HOOK_SECRET}');
//! ```
//!
//! For receivers that want something else, a template makes the body ({{column}}, escaped as its place wants), and columns
//! may stand in the path and query of the URL and in headers, never in its host:
//!
//! ```sql
//! CREATE TABLE chat (device STRING, t DOUBLE) WITH (
//!   'connector' = 'webhook', 'url' = 'https://example.com/rooms/{{device}}', 'headers.Authorization' = 'Bearer ${CHAT}',
//!   'body.template' = '{"text": "{{device}} is at {{t}}", "value": {{t}}}');
//! ```
//!
//! The worker encodes rows (template.rs, target.rs) and groups them into requests (sink.rs, request.rs, ids.rs); an outlet bounded in bytes
//! carries them to one delivery task (dispatch.rs), which picks what may go next (lanes.rs), attempts it (client.rs,
//! signature.rs, address.rs) and decides when to try again (retry.rs). A full outlet holds back the query. With state on
//! disk they go into an outbox (stored.rs), which fills the outlet: then the query is held back when that is full, a
//! checkpoint waits for the disk and not for the receiver, and attempts that reach nobody take neither attempts nor
//! deadline.
//!
//! What a receiver can rely on:
//! - 2xx takes the rows. Transport errors, timeouts, 408, 429 and 5xx are tried again with jittered exponential
//!   backoff; `Retry-After` (seconds or a date) is the least that is waited, up to the deadline. Redirects and all other
//!   statuses refuse the rows at once. A batch refused with 413 is sent again in halves. Refused rows, and those whose
//!   attempts or deadline run out, go where 'on-error' says, each on its own, as its JSON.
//! - `webhook-id` and `Idempotency-Key` are equal, the same for every attempt, and the same again when rows are replayed
//!   from a checkpoint (ids.rs says when not). With several rows to a request, a replay may group them differently:
//!   then it is the CloudEvents ids, one a row, that stay.
//! - With 'key', requests of one key never overtake each other, retries included. Where requests hold several rows,
//!   keys share 'max-in-flight' lanes, and those of a lane wait for each other. Without 'key' there is no order.

mod address;
mod client;
mod dispatch;
mod ids;
mod lanes;
mod request;
mod retry;
mod settings;
mod signature;
mod sink;
mod stored;
mod target;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::outbox::OUTBOX_OPTIONS;
use millstream_engine::registry::{Connector, SinkProvider, Table};
use millstream_engine::{Codec, Result, Sink};

use crate::tls::TLS_OPTIONS;

use settings::Settings;
use sink::WebhookSink;

/// `'connector' = 'webhook'`.
#[derive(Debug)]
pub struct Webhook;

/// Its name.
const WEBHOOK: &str = "webhook";

impl Connector for Webhook {
    fn name(&self) -> &'static str {
        WEBHOOK
    }

    fn help(&self) -> &'static str {
        "Sends every row to an HTTP receiver, at least once, signed and in order of a key if wanted."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::OPTIONS, OUTBOX_OPTIONS, TLS_OPTIONS].concat()
    }

    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(Provider { settings: Arc::new(Settings::read(table)?) }))
    }

    fn letters(&self, table: &Table) -> Result<Arc<dyn Codec>> {
        // As sink.rs writes a row, whatever its template.
        table.formats.codec(
            &Options::new(table.options.owner(), BTreeMap::new()),
            "format",
            Some("json"),
            &table.schema,
        )
    }

    fn outbox_rows(&self, record: &Bytes) -> Option<Vec<Bytes>> {
        stored::rows(record)
    }
}

struct Provider {
    settings: Arc<Settings>,
}

impl SinkProvider for Provider {
    /// One, so that ids are counted and order is kept in one place; requests run in parallel all the same.
    fn parallelism(&self, _workers: usize) -> usize {
        1
    }

    fn order_keys(&self) -> Vec<usize> {
        self.settings.key.clone()
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(WebhookSink::new(Arc::clone(&self.settings))))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.settings.method, self.settings.receiver())
    }
}
