//! Runs generated sources in a job and gathers what comes out. For tests.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use millstream_engine::element::Epoch;
use millstream_engine::options::Options;
use millstream_engine::state::StateWriter;
use millstream_engine::{
    Batch, Connector, Encoder, Graph, Input, InstanceContext, Job, JobConfig, Ready, Registry, Result, Sink,
    SinkProvider, Table,
};
use parking_lot::{Condvar, Mutex};

use crate::format::JsonEncoder;

/// A sink that keeps everything, and how many rows had come when a barrier passed.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    inner: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    batches: Vec<RecordBatch>,
    rows: usize,
    at_barrier: usize,
}

impl Kept {
    /// Waits until there are `rows` rows.
    pub fn wait_for(&self, rows: usize) {
        let mut state = self.inner.0.lock();
        while state.rows < rows {
            self.inner.1.wait(&mut state);
        }
    }

    /// How many rows had come when the last barrier passed.
    pub fn at_barrier(&self) -> usize {
        self.inner.0.lock().at_barrier
    }

    /// All rows, as they came.
    pub fn rows(&self, schema: &SchemaRef) -> RecordBatch {
        concat_batches(schema, &self.inner.0.lock().batches).unwrap()
    }
}

impl SinkProvider for Kept {
    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Kept {
    fn open(&mut self, _context: &InstanceContext) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: Batch) -> Result<()> {
        let mut state = self.inner.0.lock();
        state.rows += batch.num_rows();
        state.batches.push(batch.rows);
        self.inner.1.notify_all();
        Ok(())
    }
    fn on_barrier(&mut self, _epoch: Epoch, _state: &mut StateWriter) -> Result<Ready> {
        let mut state = self.inner.0.lock();
        state.at_barrier = state.rows;
        Ok(Ready::Yes)
    }
    fn finish(&mut self) -> Result<Ready> {
        Ok(Ready::Yes)
    }
}

/// A table of `connector`.
pub(crate) fn table(fields: Vec<Field>, options: &[(&str, &str)]) -> Table {
    let values = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Table {
        name: "t".into(),
        schema: Arc::new(Schema::new(fields)),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        options: Options::new("table t", values),
        formats: crate::registry().formats().clone(),
    }
}

/// Starts a job that reads the columns of `schema` from `table`.
pub(crate) fn start(
    connector: &dyn Connector,
    table: &Table,
    schema: &SchemaRef,
    config: JobConfig,
) -> Result<(Job, Kept)> {
    let kept = Kept::default();
    let mut graph = Graph::new();
    let source = graph.source("t", "", connector.source(table)?, Arc::clone(schema));
    graph.sink("kept", "", Arc::new(kept.clone()), Input::gather(source));
    Ok((Job::start(&graph, config)?, kept))
}

/// All rows of a bounded table, in whatever order they came.
pub(crate) fn rows(
    connector: &dyn Connector,
    table: &Table,
    schema: &SchemaRef,
    workers: usize,
    batch: usize,
) -> RecordBatch {
    let config = JobConfig { workers, batch_rows_max: batch, ..JobConfig::default() };
    let (job, kept) = start(connector, table, schema, config).unwrap();
    job.wait().unwrap();
    kept.rows(schema)
}

/// Rows as sorted lines of JSON.
pub(crate) fn lines(rows: &RecordBatch) -> Vec<String> {
    let mut encoder = JsonEncoder::default();
    let mut bytes = Vec::new();
    encoder.encode(&Batch::new(rows.clone())).unwrap();
    encoder.encoded().lines(&mut bytes);
    let mut lines: Vec<String> = String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The error that a table's options give, as a person sees it.
pub(crate) fn error(connector: Arc<dyn Connector>, table: &Table) -> String {
    let mut registry = Registry::default();
    registry.add(connector);
    match registry.connector(table).and_then(|connector| connector.source(table)) {
        Ok(_) => "no error".into(),
        Err(error) => error.to_string(),
    }
}
