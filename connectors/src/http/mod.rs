//! The `http` connector: a table that devices and programs push rows into with plain HTTP requests.
//!
//! ```sql
//! CREATE TABLE readings (device STRING, t DOUBLE, ts TIMESTAMP(3), sender STRING METADATA FROM 'remote-address') WITH (
//!   'connector' = 'http', 'listen' = '0.0.0.0:8090', 'path' = '/ingest/readings', 'token' = '${INGEST_TOKEN}');
//! ```
//!
//! A request's way: listener.rs accepts its connection, serve.rs runs HTTP on it, ingest.rs judges the request, reads
//! its body (body.rs, which also takes it out of gzip or zstd) and puts it into the inlet of the table that its path
//! names (route.rs); there source.rs, on the worker, takes it, cuts it into payloads (split.rs), decodes, fills in the
//! metadata (columns.rs), emits, and answers through the request's ticket (ticket.rs). settings.rs has the options.
//!
//! What a sender can rely on:
//! - 200 `{"rows":n,"rejected":m}`: the rows have been taken into the pipeline, all of the request's; never before. Rows
//!   that cannot be decoded go where 'on-error' says; the answer names the first of them.
//! - 400: there was not one good row, or no body. The bad rows went where 'on-error' says all the same.
//! - 401 without the right token, 404 for a path that no table has, 405 for methods other than POST, 413 for a body over
//!   'body.max-bytes' (decompressed), 415 for a coding other than gzip and zstd, 408 for a body that does not come within
//!   'body.timeout': nothing was taken, and sending the same again does not help.
//! - 429 with `Retry-After` while 'inlet.max-bytes' are waiting for the query, 503 with it while the table drains or has
//!   not taken the rows within 'answer.timeout': nothing was taken, send it again later.
//! - Who breaks the connection off before the answer does not know; either all rows were taken or none. A request whose
//!   sender is gone before its rows are looked at is dropped whole.
//!
//! Requests that were told to come again (408, 429, 503) or broke off count as `retries` of the table. Where the job's
//! state is on disk, a request is answered when it is in the journal (journaled.rs); elsewhere its rows are in memory only.
//!
//! Tables with the same 'listen' share one socket, also over several pipelines of the process; it is closed with the
//! last of them.

mod body;
mod columns;
mod ingest;
mod journaled;
mod listener;
mod route;
mod serve;
mod settings;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;

use arrow_schema::SchemaRef;

use millstream_engine::options::OptionSpec;
use millstream_engine::registry::{Connector, MetadataSpec, SourceProvider, Table};
use millstream_engine::{Result, Source};

use crate::format::{PAYLOAD_OPTIONS, PayloadOptions};
use crate::tls::SERVER_TLS_OPTIONS;

use columns::Plan;
use settings::Settings;
use source::{HttpSource, Reading};

/// How far ahead of our clock a sender's clock may be: more than any mistaken time zone.
const AHEAD_MAX_MS: i64 = 24 * 3_600_000;

/// `'connector' = 'http'`.
#[derive(Debug)]
pub struct Http;

impl Connector for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn help(&self) -> &'static str {
        "Takes rows that are posted over HTTP, and answers once they are in the pipeline."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::OPTIONS, SERVER_TLS_OPTIONS, PAYLOAD_OPTIONS].concat()
    }

    fn metadata(&self) -> Vec<MetadataSpec> {
        columns::metadata()
    }

    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        let reading = Reading {
            settings: Arc::new(Settings::read(table)?),
            codec: table.codec()?,
            payload: PayloadOptions::from_options(&table.options)?,
        };
        Ok(Arc::new(Provider { table: table.clone(), reading: Arc::new(reading) }))
    }
}

struct Provider {
    table: Table,
    reading: Arc<Reading>,
}

impl SourceProvider for Provider {
    fn is_bounded(&self) -> bool {
        false
    }

    fn ahead_max_ms(&self) -> Option<i64> {
        Some(AHEAD_MAX_MS)
    }

    fn create(&self, schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        let plan = Plan::new(&self.table, &schema)?;
        Ok(Box::new(HttpSource::new(Arc::clone(&self.reading), plan)?))
    }

    fn describe(&self) -> String {
        self.reading.settings.shown()
    }
}
