//! What a compilation takes beside its text, and what it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use chrono_tz::Tz;
use millstream_engine::{ClockRef, Graph, SinkProvider, SourceProvider, SystemClock, Table};
use millstream_operators::{AggregateFunction, MiniBatch};

use crate::functions::ScalarFunction;

/// Looks up `${NAME}` of a file: the environment of the process, or what a host program gives.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Makes the sink that a bare `SELECT` writes to.
pub type ResultSinks = Arc<dyn Fn(&QueryResult) -> Arc<dyn SinkProvider> + Send + Sync>;

/// A bare `SELECT` of a file.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// Its number among the bare `SELECT`s, from 0.
    pub index: usize,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether rows may be updated, so that each needs its change kind shown.
    pub updates: bool,
    /// How many rows there will be at most, where the query says it: `LIMIT n` of rows that stay.
    pub rows_max: Option<usize>,
}

/// A time column and how far behind its largest value the watermark stays.
#[derive(Debug, Clone)]
pub struct TableWatermark {
    /// Name of a `TIMESTAMP(3)` or `TIMESTAMP_LTZ(3)` column.
    pub column: String,
    /// How late a row may be, in ms.
    pub delay_ms: i64,
}

/// A table that a program hands over instead of declaring it in SQL.
#[derive(Clone)]
pub struct ProvidedTable {
    /// Its name, as queries call it.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its event time, for windows.
    pub watermark: Option<TableWatermark>,
    /// Reads it, if it can be read.
    pub source: Option<Arc<dyn SourceProvider>>,
    /// Writes it, if it can be written.
    pub sink: Option<Arc<dyn SinkProvider>>,
}

/// What a compilation takes beside its text.
#[derive(Clone)]
pub struct CompileOptions {
    /// How many workers EXPLAIN shows the graph for, unless the text sets `parallelism.default`.
    pub workers: usize,
    /// Settings that win over the text's own `SET` statements: `--set` of the command line.
    pub settings: BTreeMap<String, String>,
    /// Looks up `${NAME}`.
    pub variables: Variables,
    /// What `CURRENT_TIMESTAMP` and its kin read.
    pub clock: ClockRef,
    /// Seed of `RAND()` and its kin.
    pub seed: u64,
    /// Makes the sinks of bare `SELECT`s; without it they are refused.
    pub results: Option<ResultSinks>,
    /// Tables from the program.
    pub tables: Vec<ProvidedTable>,
    /// Scalar functions of the program's own.
    pub scalar_functions: Vec<Arc<dyn ScalarFunction>>,
    /// Aggregate functions of the program's own.
    pub aggregate_functions: Vec<Arc<dyn AggregateFunction>>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            workers: 1,
            settings: BTreeMap::new(),
            variables: Arc::new(|name| std::env::var(name).ok()),
            clock: SystemClock::shared(),
            seed: 0x006d_696c_6c73,
            results: None,
            tables: Vec::new(),
            scalar_functions: Vec::new(),
            aggregate_functions: Vec::new(),
        }
    }
}

/// What the text's `SET` statements and the given settings come to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `pipeline.name`.
    pub pipeline_name: Option<String>,
    /// `parallelism.default`: how many workers.
    pub workers: Option<usize>,
    /// `table.local-time-zone`: what `TIMESTAMP_LTZ` values are shown in and functions of the day depend on.
    pub local_time_zone: Tz,
    /// `table.exec.source.idle-timeout`, in ms.
    pub idle_timeout_ms: Option<i64>,
    /// `table.exec.state.ttl`, in ms: how long state of a key is kept that is not written; 0 for ever, none not said.
    pub state_ttl_ms: Option<i64>,
    /// `execution.checkpointing.interval`, in ms.
    pub checkpoint_interval_ms: Option<i64>,
    /// `execution.checkpointing.dir`: the URL that checkpoints are copied to.
    pub checkpoint_dir: Option<String>,
    /// `execution.checkpointing.dir.interval`, in ms.
    pub checkpoint_dir_interval_ms: Option<i64>,
    /// `execution.checkpointing.num-retained`: how many stay there.
    pub checkpoints_retained: Option<usize>,
    /// `table.exec.mini-batch.*`: how long changes are held back, if they are.
    pub mini_batch: Option<MiniBatch>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pipeline_name: None,
            workers: None,
            local_time_zone: Tz::UTC,
            idle_timeout_ms: None,
            state_ttl_ms: None,
            checkpoint_interval_ms: None,
            checkpoint_dir: None,
            checkpoint_dir_interval_ms: None,
            checkpoints_retained: None,
            mini_batch: None,
        }
    }
}

/// A compiled text.
pub struct Program {
    /// What to run; empty if the text only declares or explains.
    pub graph: Graph,
    /// What to run it with.
    pub settings: Settings,
    /// The answers of the text's `EXPLAIN` statements, in order.
    pub explanations: Vec<String>,
    /// How many `INSERT INTO` there are.
    pub inserts: usize,
    /// How many bare `SELECT`s there are.
    pub queries: usize,
    /// The tables that the text declares, as their connectors see them when they are written.
    pub tables: Vec<Table>,
    /// The names of those that `INSERT INTO` writes.
    pub written: Vec<String>,
}
