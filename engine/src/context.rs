//! What an operator, source or sink instance is told about itself when it opens.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::clock::ClockRef;
use crate::dead_letter::{DeadLetters, OnError, Route, RowErrors};
use crate::error::{Error, Result};
use crate::keys::KeyGroup;
use crate::metrics::OperatorMetrics;
use crate::park::Signal;
use crate::task::Task;

/// One instance's surroundings. Cheap to clone; connectors keep it.
#[derive(Debug, Clone)]
pub struct InstanceContext {
    /// Name of the job.
    pub job: Arc<str>,
    /// Which instance this is, from 0.
    pub instance: usize,
    /// How many instances the operator has.
    pub parallelism: usize,
    /// The key groups this instance owns.
    pub key_groups: Range<KeyGroup>,
    /// How many rows a source should put into a batch at most.
    pub batch_rows_max: usize,
    /// Where time comes from.
    pub clock: ClockRef,
    /// Wakes the worker this instance lives on. I/O tasks ring it when they have something.
    pub waker: Arc<Signal>,
    /// This instance's counters.
    pub metrics: Arc<OperatorMetrics>,
    /// The job's dead letters.
    pub dead_letters: Arc<DeadLetters>,
    /// Where this instance's dead letters become rows of a table, if they do.
    pub dead_letter_route: Option<Arc<Route>>,
    /// Where async connectors run.
    pub io: IoRuntime,
    /// Where a source may keep a journal of what it takes in, and a sink an outbox of what it sends; none where the job's
    /// state is not on disk.
    pub journal_folder: Option<PathBuf>,
}

impl InstanceContext {
    /// True when checkpoints are on disk, so that what waits for one outlives this process.
    pub fn is_durable(&self) -> bool {
        self.journal_folder.is_some()
    }

    /// Runs `future` on the I/O runtime for as long as the instance keeps what this answers.
    ///
    /// # Errors
    /// If the runtime does not start.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Result<Task> {
        Ok(Task::new(self.io.handle()?.spawn(future).abort_handle()))
    }

    /// A handle to report bad rows with.
    pub fn row_errors(&self, on_error: OnError) -> RowErrors {
        RowErrors::new(
            on_error,
            Arc::clone(&self.dead_letters),
            Arc::clone(&self.metrics),
            Arc::clone(&self.clock),
        )
        .with_route(self.dead_letter_route.clone())
    }
}

/// The job's small tokio runtime, started when the first connector asks for it, so that a job without async
/// connectors has no thread for it.
#[derive(Clone, Default)]
pub struct IoRuntime {
    inner: Arc<IoInner>,
}

#[derive(Default)]
struct IoInner {
    given: Option<Handle>,
    own: OnceLock<std::io::Result<Runtime>>,
}

impl Drop for IoInner {
    fn drop(&mut self) {
        if let Some(Ok(runtime)) = self.own.take() {
            // The last handle may be dropped on an async thread, where blocking is not allowed.
            runtime.shutdown_background();
        }
    }
}

impl IoRuntime {
    /// Uses a runtime that the host program has already.
    pub fn from_handle(handle: Handle) -> Self {
        Self { inner: Arc::new(IoInner { given: Some(handle), own: OnceLock::new() }) }
    }

    /// The runtime to spawn on.
    ///
    /// # Errors
    /// If its thread cannot be started.
    pub fn handle(&self) -> Result<Handle> {
        if let Some(given) = &self.inner.given {
            return Ok(given.clone());
        }
        let own = self.inner.own.get_or_init(|| {
            Builder::new_multi_thread().worker_threads(1).thread_name("millstream-io").enable_all().build()
        });
        own.as_ref()
            .map(|runtime| runtime.handle().clone())
            .map_err(|error| Error::unavailable(format!("the I/O runtime does not start: {error}")))
    }
}

impl std::fmt::Debug for IoRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoRuntime").field("started", &self.inner.own.get().is_some()).finish()
    }
}
