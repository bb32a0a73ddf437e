//! The `postgres` connector (and Flink's `jdbc` with a PostgreSQL URL): rows into a table of a PostgreSQL database.
//!
//! ```sql
//! CREATE TABLE devices (id STRING, seen TIMESTAMP_LTZ(3), n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH (
//!   'connector' = 'postgres', 'url' = 'postgresql://app@db:5432/plant', 'password' = '${PG}', 'table-name' = 'devices');
//! ```
//!
//! The worker writes rows as text columns (rows.rs) and hands them over, up to 'sink.buffer-flush.max-rows' at a time
//! and whenever the stream rests (sink.rs), through an outlet bounded in bytes to one task (delivery.rs), which
//! connects and judges errors (link.rs) and runs the statements (target.rs). With state on disk they go into an outbox
//! (stored.rs), which fills the outlet.
//!
//! Rows that a stream looks up are asked for by one statement for many keys (lookup.rs).
//!
//! What one can rely on:
//! - With a PRIMARY KEY the sink takes updates: rows replace those of their key, `-D` and `-U` remove theirs. Rows of
//!   one key keep their order, and within one statement the last one wins. A replay leaves the same rows.
//! - Without a key rows are added, at least once: a connection that breaks during a commit may add them twice.
//! - With 'sink.delivery-guarantee' = 'exactly-once' and --state each checkpoint's rows (epoch.rs) are committed in one
//!   transaction, with its number in 'sink.progress-table' (exactly_once.rs), and a row once.
//! - A row that the server refuses is found by halving, goes where 'on-error' says, and the others are written.
//! - An outage is retried with jittered backoff; a barrier and the end wait until everything is committed. With an outbox a
//!   barrier waits for the disk only, and what a kill has left there is written by the next run.

mod delivery;
mod epoch;
mod exactly_once;
mod link;
mod lookup;
mod rows;
mod settings;
mod sink;
mod stored;
mod target;

use std::sync::Arc;

use bytes::Bytes;

use millstream_engine::lookup::{LOOKUP_OPTIONS, LookupProvider};
use millstream_engine::options::OptionSpec;
use millstream_engine::outbox::OUTBOX_OPTIONS;
use millstream_engine::registry::{Connector, SinkProvider, Table};
use millstream_engine::{Result, Sink};

use crate::tls::TLS_OPTIONS;
use exactly_once::ExactlyOnceSink;
use lookup::PostgresLookup;
use settings::Settings;
use sink::PostgresSink;

/// Its own name, which its records in an outbox have, those of `jdbc` tables too.
const POSTGRES: &str = "postgres";

/// `'connector' = 'postgres'`, and under [`Postgres::JDBC`] Flink's `'connector' = 'jdbc'`.
#[derive(Debug)]
pub struct Postgres {
    name: &'static str,
}

impl Postgres {
    /// Under its own name.
    pub const NATIVE: Self = Self { name: POSTGRES };
    /// Under the name that Flink's tables have.
    pub const JDBC: Self = Self { name: "jdbc" };
}

impl Connector for Postgres {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        "Writes rows to a PostgreSQL table, and looks rows up in one: adds them, or with a primary key replaces and removes them."
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::OPTIONS, OUTBOX_OPTIONS, LOOKUP_OPTIONS, TLS_OPTIONS].concat()
    }

    fn lookup(&self, table: &Table) -> Result<Arc<dyn LookupProvider>> {
        Ok(Arc::new(PostgresLookup::read(table)?))
    }

    fn outbox_rows(&self, record: &Bytes) -> Option<Vec<Bytes>> {
        stored::objects(record)
    }

    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(Provider { settings: Arc::new(Settings::read(table)?) }))
    }
}

struct Provider {
    settings: Arc<Settings>,
}

impl SinkProvider for Provider {
    /// One connection, so that rows arrive in order.
    fn parallelism(&self, _workers: usize) -> usize {
        1
    }

    fn accepts_updates(&self) -> bool {
        !self.settings.primary_key.is_empty()
    }

    fn order_keys(&self) -> Vec<usize> {
        self.settings.primary_key.clone()
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        let settings = Arc::clone(&self.settings);
        if settings.progress.is_some() {
            return Ok(Box::new(ExactlyOnceSink::new(settings)));
        }
        Ok(Box::new(PostgresSink::new(settings)))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.settings.server(), self.settings.target_name())
    }
}
