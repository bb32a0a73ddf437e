//! Pipelines: built from SQL or from a graph wired in Rust, started, watched and ended through one handle.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "object-store")]
use crate::remote::{Copier, CopyStatus, RemoteCheckpoints};
#[cfg(feature = "sql")]
use arrow_schema::SchemaRef;
#[cfg(feature = "sql")]
use millstream_connectors::memory::{MemorySink, MemorySource, Puller, Pusher};
use millstream_engine::context::IoRuntime;
use millstream_engine::dead_letter::DeadLetters;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::state::{DiskStateStore, StateStore, savepoint};
use millstream_engine::{ClockRef, Connector, Error, Format, Graph, Job, JobConfig, JobState, Registry};
#[cfg(feature = "sql")]
use millstream_operators::AggregateFunction;
#[cfg(feature = "sql")]
use millstream_sql::{CompileOptions, ProvidedTable, ResultSinks, ScalarFunction, SqlError, TableWatermark};

/// Bytes that an input or output between the program and its pipeline holds before it pushes back.
#[cfg(feature = "sql")]
const EXCHANGE_BYTES_MAX: usize = 16 << 20;

/// How often state is made safe where there is a folder for it and no setting.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// A running pipeline. Dropping it stops it at once; [`Pipeline::drain`] ends it in order.
pub struct Pipeline {
    job: Job,
    state_folder: Option<PathBuf>,
    #[cfg(feature = "object-store")]
    copier: Option<Copier>,
}

impl Pipeline {
    /// Describes a pipeline.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.job.name()
    }

    /// What it is doing.
    pub fn state(&self) -> JobState {
        self.job.state()
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<Error> {
        self.job.error()
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.job.uptime()
    }

    /// The counters of all operators, one entry an instance.
    pub fn metrics(&self) -> &[Arc<OperatorMetrics>] {
        self.job.metrics()
    }

    /// The last bad rows.
    pub fn dead_letters(&self) -> &DeadLetters {
        self.job.dead_letters()
    }

    /// The clock it runs by.
    pub fn clock(&self) -> &ClockRef {
        self.job.clock()
    }

    /// Takes nothing new in, closes open windows, delivers everything and ends. Returns at once.
    pub fn drain(&self) {
        self.job.drain();
    }

    /// Ends without delivering what is inside. Returns at once.
    pub fn stop(&self) {
        self.job.stop();
    }

    /// Makes a last checkpoint and stops behind it: the next start with the same state folder goes on as if nothing had
    /// been. Returns at once. Without a state folder it is [`Pipeline::stop`].
    pub fn suspend(&self) {
        self.job.suspend();
    }

    /// The checkpoint it was suspended behind.
    pub fn suspended(&self) -> Option<u64> {
        self.job.suspended()
    }

    /// The last complete checkpoint; 0 when there is none.
    pub fn last_checkpoint(&self) -> u64 {
        self.job.last_checkpoint()
    }

    /// Where its state is kept.
    pub fn state_folder(&self) -> Option<&Path> {
        self.state_folder.as_deref()
    }

    /// Where its checkpoints are copied to, and what has been copied.
    #[cfg(feature = "object-store")]
    pub fn checkpoint_copies(&self) -> Option<(&str, &CopyStatus)> {
        self.copier.as_ref().map(|copier| (copier.url(), copier.status()))
    }

    /// Waits for the end: of bounded sources, of draining, or of a failure; then, for 10 s at most, until the last checkpoint
    /// is copied, where checkpoints are.
    ///
    /// # Errors
    /// The error that ended it.
    pub fn wait(&self) -> Result<(), Error> {
        let ended = self.job.wait();
        #[cfg(feature = "object-store")]
        if let Some(copier) = &self.copier {
            if self.state() == JobState::Stopped && self.suspended().is_none() {
                copier.stop();
            } else {
                copier.finish();
            }
        }
        ended
    }

    /// Waits for the end, at most `limit`. True when it has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        self.job.wait_for(limit)
    }
}

/// What a pipeline is made of. See [`Pipeline::builder`].
pub struct PipelineBuilder {
    config: JobConfig,
    registry: Registry,
    graph: Graph,
    state_folder: Option<PathBuf>,
    savepoint: Option<PathBuf>,
    #[cfg(feature = "object-store")]
    checkpoints: Option<RemoteCheckpoints>,
    allow_dropped_state: bool,
    #[cfg(feature = "sql")]
    texts: Vec<String>,
    #[cfg(feature = "sql")]
    options: CompileOptions,
}

impl Default for PipelineBuilder {
    fn default() -> Self {
        let config = JobConfig::default();
        Self {
            registry: millstream_connectors::registry(),
            graph: Graph::new(),
            state_folder: None,
            savepoint: None,
            #[cfg(feature = "object-store")]
            checkpoints: None,
            allow_dropped_state: false,
            #[cfg(feature = "sql")]
            texts: Vec::new(),
            #[cfg(feature = "sql")]
            options: CompileOptions { workers: config.workers, ..CompileOptions::default() },
            config,
        }
    }
}

impl PipelineBuilder {
    /// Its name in metrics and messages.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Worker threads, 1 to 128; as many as cores when not given.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers;
        #[cfg(feature = "sql")]
        {
            self.options.workers = workers;
        }
        self
    }

    /// Where time comes from; for tests.
    #[must_use]
    pub fn clock(mut self, clock: ClockRef) -> Self {
        self.config.clock = Arc::clone(&clock);
        #[cfg(feature = "sql")]
        {
            self.options.clock = clock;
        }
        self
    }

    /// Runs async connectors on the program's own tokio runtime instead of one of the pipeline's.
    #[must_use]
    pub fn io_handle(mut self, handle: tokio::runtime::Handle) -> Self {
        self.config.io = IoRuntime::from_handle(handle);
        self
    }

    /// Adds a connector of the program's own.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.registry.add(connector);
        self
    }

    /// Adds a format of the program's own, for `'format' = '…'`.
    #[must_use]
    pub fn format(mut self, format: Arc<dyn Format>) -> Self {
        self.registry.add_format(format);
        self
    }

    /// Keeps state in `folder`, and goes on from the last checkpoint there. A checkpoint is taken every 10 s, or as
    /// `execution.checkpointing.interval` says. One pipeline at a time has the folder.
    #[must_use]
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_folder = Some(folder.into());
        self
    }

    /// Copies checkpoints of the state folder to an object store, behind the pipeline: `s3://BUCKET/FOLDER`, or a
    /// [`RemoteCheckpoints`] that says how often and how many stay. It wins over `execution.checkpointing.dir`.
    #[cfg(feature = "object-store")]
    #[must_use]
    pub fn checkpoints(mut self, to: impl Into<RemoteCheckpoints>) -> Self {
        self.checkpoints = Some(to.into());
        self
    }

    /// Begins the state folder, which must have no state yet, from a savepoint
    /// ([`millstream_engine::state::savepoint::take`]), or from the URL that checkpoints were copied to.
    #[must_use]
    pub fn from_savepoint(mut self, savepoint: impl Into<PathBuf>) -> Self {
        self.savepoint = Some(savepoint.into());
        self
    }

    /// Lets a changed query begin without the state of operators that it does not have any more.
    #[must_use]
    pub fn allow_dropped_state(mut self, allow: bool) -> Self {
        self.allow_dropped_state = allow;
        self
    }

    /// Changes how the job runs in detail: sizes of batches and queues, checkpoints.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut JobConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Runs a graph wired in Rust. It replaces one given before, and is not mixed with SQL.
    #[must_use]
    pub fn graph(mut self, graph: Graph) -> Self {
        self.graph = graph;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// If the SQL is wrong, there is nothing to run, a thread cannot be started, or the state folder cannot be used or
    /// belongs to another query.
    #[cfg_attr(not(feature = "sql"), allow(unused_mut))]
    pub fn start(mut self) -> Result<Pipeline, StartError> {
        #[cfg(feature = "sql")]
        if !self.texts.is_empty() {
            if !self.graph.is_empty() {
                return Err(Error::config("a pipeline is made of SQL or of a graph, not of both")
                    .remedy("start two pipelines")
                    .into());
            }
            let program = self.compile()?;
            self.take_copies(&program.settings)?;
            if let Some(name) = program.settings.pipeline_name {
                self.config.name = name;
            }
            self.config.workers = program.settings.workers.unwrap_or(self.config.workers);
            let interval_ms = program.settings.checkpoint_interval_ms.and_then(|ms| u64::try_from(ms).ok());
            self.config.checkpoint_interval = interval_ms.map(Duration::from_millis);
            self.graph = program.graph;
        }
        #[cfg(feature = "object-store")]
        if let Some(to) = &self.checkpoints {
            to.check()?;
            if self.state_folder.is_none() {
                return Err(Error::config(format!(
                    "checkpoints are copied to {} from a state folder",
                    to.url
                ))
                .remedy("say where state is kept: --state FOLDER, or .state(FOLDER)")
                .into());
            }
        }
        match &self.state_folder {
            Some(folder) => {
                if let Some(from) = &self.savepoint {
                    begin_from(from, folder, &self.config.clock)?;
                }
                let store = DiskStateStore::open(folder, self.graph.shape(), self.allow_dropped_state)?;
                self.config.restore = store.latest();
                self.config.store = Arc::new(store);
                self.config.checkpoint_interval.get_or_insert(CHECKPOINT_INTERVAL);
            }
            None if self.savepoint.is_some() => {
                return Err(Error::config("a savepoint is begun from in a state folder")
                    .remedy("say where state is kept: .state(FOLDER)")
                    .into());
            }
            // In memory a checkpoint would help nobody.
            None => self.config.checkpoint_interval = None,
        }
        #[cfg(feature = "object-store")]
        let copier = match (&self.state_folder, &self.checkpoints) {
            (Some(folder), Some(to)) => {
                Some(Copier::start(folder.clone(), to, Arc::clone(&self.config.clock))?)
            }
            _ => None,
        };
        Ok(Pipeline {
            job: Job::start(&self.graph, self.config)?,
            state_folder: self.state_folder,
            #[cfg(feature = "object-store")]
            copier,
        })
    }

    /// What the text says about copies of checkpoints, where the program does not.
    #[cfg(all(feature = "sql", feature = "object-store"))]
    fn take_copies(&mut self, settings: &millstream_sql::Settings) -> Result<(), Error> {
        let said = settings.checkpoint_dir.clone().map(RemoteCheckpoints::from);
        self.checkpoints = self.checkpoints.take().or(said);
        if let Some(to) = &mut self.checkpoints {
            let interval_ms = settings.checkpoint_dir_interval_ms.and_then(|ms| u64::try_from(ms).ok());
            to.interval = interval_ms.map_or(to.interval, Duration::from_millis);
            to.retained = settings.checkpoints_retained.unwrap_or(to.retained);
        }
        Ok(())
    }

    #[cfg(all(feature = "sql", not(feature = "object-store")))]
    fn take_copies(&mut self, settings: &millstream_sql::Settings) -> Result<(), Error> {
        match &settings.checkpoint_dir {
            Some(url) => Err(no_object_store(url)),
            None => Ok(()),
        }
    }
}

/// Makes the state folder `state` begin from a savepoint, by its path or its URL.
fn begin_from(from: &Path, state: &Path, clock: &ClockRef) -> Result<(), Error> {
    match from.to_str().filter(|from| from.contains("://")) {
        #[cfg(feature = "object-store")]
        Some(url) => crate::remote::begin_from(url, state, clock).map(drop),
        #[cfg(not(feature = "object-store"))]
        Some(url) => Err(no_object_store(url)),
        None => savepoint::begin_from(from, state, clock.now_ms()).map(drop),
    }
}

#[cfg(not(feature = "object-store"))]
fn no_object_store(url: &str) -> Error {
    Error::config(format!("this build has no object stores, so not {url}"))
        .remedy("build it with the feature object-store")
}

#[cfg(feature = "sql")]
impl PipelineBuilder {
    /// Adds statements; several texts are one.
    #[must_use]
    pub fn sql(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
        self
    }

    /// A setting that wins over the text's own `SET`.
    #[must_use]
    pub fn setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.settings.insert(key.into(), value.into());
        self
    }

    /// Looks up `${NAME}` of the text; the environment of the process when not given.
    #[must_use]
    pub fn variables(mut self, variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.options.variables = Arc::new(variables);
        self
    }

    /// A table from the program: a source or sink of its own under a name.
    #[must_use]
    pub fn table(mut self, table: ProvidedTable) -> Self {
        self.options.tables.push(table);
        self
    }

    /// A scalar function of the program's own, called by its name.
    #[must_use]
    pub fn scalar_function(mut self, function: Arc<dyn ScalarFunction>) -> Self {
        self.options.scalar_functions.push(function);
        self
    }

    /// An aggregate function of the program's own, called by its name.
    #[must_use]
    pub fn aggregate_function(mut self, function: Arc<dyn AggregateFunction>) -> Self {
        self.options.aggregate_functions.push(function);
        self
    }

    /// Makes the sinks of bare `SELECT`s.
    #[must_use]
    pub fn results(mut self, results: ResultSinks) -> Self {
        self.options.results = Some(results);
        self
    }

    /// A table whose rows the program pushes. A full pipeline makes [`Pusher::push`] wait.
    pub fn input(&mut self, name: &str, schema: SchemaRef, watermark: Option<TableWatermark>) -> Pusher {
        let (source, pusher) = MemorySource::channel(Arc::clone(&schema), EXCHANGE_BYTES_MAX);
        let source = Some(Arc::new(source) as _);
        self.options.tables.push(ProvidedTable {
            name: name.to_owned(),
            schema,
            watermark,
            source,
            sink: None,
        });
        pusher
    }

    /// A table whose rows the program takes: `INSERT INTO name SELECT …`. A program that takes nothing makes the
    /// pipeline wait.
    pub fn output(&mut self, name: &str, schema: SchemaRef) -> Puller {
        let (sink, puller) = MemorySink::channel(EXCHANGE_BYTES_MAX);
        let sink = Some(Arc::new(sink) as _);
        self.options.tables.push(ProvidedTable {
            name: name.to_owned(),
            schema,
            watermark: None,
            source: None,
            sink,
        });
        puller
    }

    /// Takes the rows of the text's bare `SELECT`.
    pub fn result(&mut self) -> Puller {
        let (sink, puller) = MemorySink::channel(EXCHANGE_BYTES_MAX);
        let sink = Arc::new(sink);
        self.options.results = Some(Arc::new(move |_| Arc::clone(&sink) as _));
        puller
    }

    /// Compiles the text without running it.
    ///
    /// # Errors
    /// If the SQL is wrong.
    pub fn compile(&self) -> Result<millstream_sql::Program, SqlError> {
        millstream_sql::compile(&self.texts.join("\n;\n"), &self.registry, &self.options)
    }
}

/// Why a pipeline does not start.
#[derive(Debug)]
pub enum StartError {
    /// The SQL is wrong.
    #[cfg(feature = "sql")]
    Sql(SqlError),
    /// The configuration is wrong, or the machine refuses.
    Engine(Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sql")]
            Self::Sql(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

#[cfg(feature = "sql")]
impl From<SqlError> for StartError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}
