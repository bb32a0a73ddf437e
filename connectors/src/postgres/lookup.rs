//! Looks rows up in the server's table: one statement for all keys that are wanted at a time.
//!
//! Keys go as `text[]` and are cast by the server to the column's type, as rows that are written are; rows come back as
//! JSON objects, made by the server, which the json format decodes. Invariants: one connection, on which statements follow each
//! other without waiting; one that broke is made anew with the next attempt; only the columns that the query names are
//! asked for.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::lookup::{Lookup, LookupProvider, LookupSettings, Rows};
use millstream_engine::options::Options;
use millstream_engine::{Batch, Codec, Error, InstanceContext, Result, Table};

use super::link::{judged, open, server_columns};
use super::rows::{Chosen, Rows as Texts};
use super::settings::Settings;
use super::target::{casts, lookup_statement, quoted_target};
use crate::format::{PayloadDecoder, PayloadOptions};

/// Keys of one statement.
const KEYS_MAX: usize = 1_000;

/// See the module's page.
pub(super) struct PostgresLookup {
    settings: Arc<Settings>,
    lookup: LookupSettings,
    table: Table,
}

impl PostgresLookup {
    /// Reads `table`'s options.
    pub fn read(table: &Table) -> Result<Self> {
        Ok(Self {
            settings: Arc::new(Settings::read(table)?),
            lookup: LookupSettings::from_options(&table.options, KEYS_MAX)?,
            table: table.clone(),
        })
    }
}

impl LookupProvider for PostgresLookup {
    fn settings(&self) -> LookupSettings {
        self.lookup.clone()
    }

    fn create(
        &self,
        schema: SchemaRef,
        keys: &[usize],
        context: &InstanceContext,
    ) -> Result<Arc<dyn Lookup>> {
        let options = Options::new(self.table.options.owner(), Default::default());
        Ok(Arc::new(Server {
            inner: Arc::new(Inner {
                settings: Arc::clone(&self.settings),
                codec: self.table.formats.codec(&options, "format", Some("json"), &schema)?,
                payload: PayloadOptions::from_options(&options)?,
                errors: context.row_errors(self.settings.on_error),
                keys: keys.to_vec(),
                schema,
                connection: Mutex::new(None),
            }),
        }))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.settings.server(), self.settings.target_name())
    }
}

struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    schema: SchemaRef,
    keys: Vec<usize>,
    codec: Arc<dyn Codec>,
    payload: PayloadOptions,
    errors: RowErrors,
    connection: Mutex<Option<Arc<Connection>>>,
}

struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    find: Statement,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Lookup for Server {
    fn find(&self, keys: Option<RecordBatch>) -> Rows {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let keys = keys.ok_or_else(|| Error::internal("a database is asked by keys"))?;
            let server = inner.settings.server();
            inner.find(keys).await.map_err(|error| error.at(format!("PostgreSQL at {server}")))
        })
    }
}

impl Inner {
    async fn find(&self, keys: RecordBatch) -> Result<Vec<RecordBatch>> {
        let connection = self.connected().await?;
        let mut texts = Texts::opened(keys.num_columns(), 0);
        texts.append(&Batch::new(keys))?;
        let all: Vec<u32> = (0..u32::try_from(texts.len()).unwrap_or(u32::MAX)).collect();
        let values: Vec<Chosen<'_>> =
            texts.columns.iter().map(|column| Chosen { column, rows: &all }).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let found =
            connection.client.query(&connection.find, &parameters).await.map_err(|error| judged(&error))?;
        let schema = Arc::clone(&self.schema);
        let mut decoder = PayloadDecoder::new(schema, self.codec.as_ref(), &self.payload)?;
        for row in &found {
            let object: &str = row.try_get(0).map_err(|error| judged(&error))?;
            decoder.push(object.as_bytes(), &self.errors)?;
        }
        Ok(vec![decoder.flush(&self.errors)?.rows])
    }

    /// The connection, made anew when it broke.
    async fn connected(&self) -> Result<Arc<Connection>> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| !connection.client.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let (client, driver) = open(&self.settings).await?;
        let columns = server_columns(&client, &self.settings).await?;
        let keys = Schema::new(self.schema.project(&self.keys)?.fields().clone());
        let casts = casts(&keys, &columns, &self.settings.target_name())?;
        let find = lookup_statement(&quoted_target(&self.settings.target), &self.schema, &self.keys, &casts);
        let find = client.prepare(&find).await.map_err(|error| judged(&error))?;
        let connection = Arc::new(Connection { client, driver, find });
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

/// How column `name` is asked for, so that json has it as our formats write it.
pub(super) fn as_json(name: &str, kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => format!("t.{name}::text AS {name}"),
        // PostgreSQL breaks its lines.
        DataType::Binary => format!("translate(encode(t.{name}, 'base64'), E'\\n', '') AS {name}"),
        DataType::Timestamp(_, Some(_)) => {
            format!("to_char(t.{name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS {name}")
        }
        _ => format!("t.{name}"),
    }
}
