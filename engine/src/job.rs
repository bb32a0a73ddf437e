//! A running graph: started from a [`Graph`], watched, drained, stopped and waited for through its [`Job`] handle.
//!
//! Lifecycle: `Running` until every source ended and everything is delivered (`Finished`), a stage failed (`Failed`),
//! or the job was stopped (`Stopped`). Draining treats the sources as ended, so windows close and sinks deliver.
//! Nothing is shared between jobs, so a failure stays inside one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::assemble::assemble;
use crate::checkpoint::Checkpoints;
use crate::clock::{ClockRef, SystemClock};
use crate::context::IoRuntime;
use crate::dead_letter::DeadLetters;
use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::keys::KEY_GROUPS;
use crate::metrics::OperatorMetrics;
use crate::park::Signal;
use crate::state::{NoStateStore, StateStore};

/// How long a job that is suspended waits for sinks to commit its last epoch, which they can do after a restore too.
const COMMIT_WAIT: Duration = Duration::from_secs(10);

/// How a job runs.
#[derive(Clone)]
pub struct JobConfig {
    /// Its name in metrics and messages.
    pub name: String,
    /// Worker threads; at most 128, the number of key groups.
    pub workers: usize,
    /// Bytes that one queue between two workers holds before its producer waits.
    pub queue_bytes_max: usize,
    /// Rows that sources put into a batch; batches of less than a quarter are gathered in front of keyed operators.
    pub batch_rows_max: usize,
    /// Where time comes from.
    pub clock: ClockRef,
    /// Where checkpoints are kept.
    pub store: Arc<dyn StateStore>,
    /// The epoch to restore from, if any.
    pub restore: Option<Epoch>,
    /// How often a checkpoint is taken by itself; never when not given.
    pub checkpoint_interval: Option<Duration>,
    /// Where async connectors run.
    pub io: IoRuntime,
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            name: "pipeline".into(),
            workers: std::thread::available_parallelism().map_or(1, Into::into),
            queue_bytes_max: 1 << 20,
            batch_rows_max: 4096,
            clock: SystemClock::shared(),
            store: Arc::new(NoStateStore::default()),
            restore: None,
            checkpoint_interval: None,
            io: IoRuntime::default(),
        }
    }
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Working.
    Running,
    /// Taking nothing new, and delivering what is inside.
    Draining,
    /// Everything is delivered.
    Finished,
    /// Stopped before everything was delivered.
    Stopped,
    /// A stage failed.
    Failed,
}

/// Flags that workers look at, and how the job ended.
pub(crate) struct Control {
    stopped: AtomicBool,
    draining: AtomicBool,
    signals: Vec<Arc<Signal>>,
    outcome: Mutex<Outcome>,
    changed: Condvar,
}

#[derive(Default)]
struct Outcome {
    /// Worker threads, and the one that attends to checkpoints.
    running: usize,
    workers: usize,
    /// The epoch that the job was suspended behind.
    suspended: Option<Epoch>,
    error: Option<Error>,
}

impl Control {
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn ring(&self) {
        self.signals.iter().for_each(|signal| signal.notify());
    }

    fn worker_ended(&self, result: Result<()>, checkpoints: &Checkpoints) {
        let mut outcome = self.outcome.lock();
        outcome.running -= 1;
        outcome.workers -= 1;
        if let Err(error) = result {
            self.fail(&mut outcome, error);
        }
        if outcome.workers == 0 {
            checkpoints.close(outcome.error.clone());
        }
        self.changed.notify_all();
    }

    fn checkpoints_ended(&self, result: Result<Option<Epoch>>, clock: &ClockRef) {
        let mut outcome = self.outcome.lock();
        match result {
            Err(error) => self.fail(&mut outcome, error),
            Ok(None) => {}
            Ok(suspended) => {
                outcome.suspended = suspended;
                let is_working = |outcome: &mut Outcome| outcome.workers > 0 && outcome.error.is_none();
                let limit = clock.sleep_for(COMMIT_WAIT);
                self.changed.wait_while_for(&mut outcome, is_working, limit);
                if outcome.workers > 0 && outcome.error.is_none() && !self.is_stopped() {
                    tracing::warn!(
                        "a sink has not committed its last rows within {COMMIT_WAIT:?}: the next run does"
                    );
                }
                self.stopped.store(true, Ordering::Release);
                self.ring();
            }
        }
        outcome.running -= 1;
        self.changed.notify_all();
    }

    fn fail(&self, outcome: &mut Outcome, error: Error) {
        // The first error is the cause; what follows (closed queues) is its echo.
        outcome.error.get_or_insert(error);
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }
}

/// Handle to a running job. Dropping it stops the job and waits for its threads.
pub struct Job {
    name: String,
    control: Arc<Control>,
    checkpoints: Arc<Checkpoints>,
    metrics: Vec<Arc<OperatorMetrics>>,
    dead_letters: Arc<DeadLetters>,
    clock: ClockRef,
    started_ns: u64,
    threads: Vec<JoinHandle<()>>,
    /// There is a thread that attends to checkpoints.
    has_checkpoints: bool,
    // Keeps the I/O runtime for as long as the job; dropped after the workers have ended.
    _io: IoRuntime,
}

impl Job {
    /// Opens every operator of `graph` and starts its workers.
    ///
    /// # Errors
    /// If the configuration is unusable, or an operator cannot be opened or restored.
    pub fn start(graph: &Graph, config: JobConfig) -> Result<Self> {
        if config.workers == 0 || config.workers > usize::from(KEY_GROUPS) {
            return Err(Error::config(format!("{} workers", config.workers))
                .at("workers")
                .remedy(format!("choose 1 to {KEY_GROUPS}")));
        }
        if graph.is_empty() {
            return Err(Error::config("the graph has no operators").remedy("add a source and a sink"));
        }
        let signals: Vec<Arc<Signal>> = (0..config.workers).map(|_| Arc::default()).collect();
        let control = Arc::new(Control {
            stopped: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            signals: signals.clone(),
            outcome: Mutex::new(Outcome {
                running: config.workers,
                workers: config.workers,
                ..Outcome::default()
            }),
            changed: Condvar::new(),
        });
        let dead_letters = Arc::<DeadLetters>::default();
        let assembly = assemble(graph, &config, &signals, &control, &dead_letters)?;
        let mut job = Self {
            name: config.name.clone(),
            control: Arc::clone(&control),
            checkpoints: Arc::clone(&assembly.checkpoints),
            metrics: assembly.metrics,
            dead_letters,
            started_ns: config.clock.monotonic_ns(),
            clock: config.clock,
            threads: Vec::with_capacity(config.workers + 1),
            has_checkpoints: config.store.is_durable() || config.checkpoint_interval.is_some(),
            _io: config.io,
        };
        for (number, worker) in assembly.workers.into_iter().enumerate() {
            let (control, checkpoints) = (Arc::clone(&control), Arc::clone(&assembly.checkpoints));
            let thread = std::thread::Builder::new().name(format!("mill-{number}")).spawn(move || {
                let result = worker.run();
                control.worker_ended(result, &checkpoints);
            });
            match thread {
                Ok(thread) => job.threads.push(thread),
                Err(error) => {
                    // Dropping the handle stops the workers that did start.
                    let mut outcome = job.control.outcome.lock();
                    outcome.running -= config.workers - number;
                    outcome.workers -= config.workers - number;
                    drop(outcome);
                    return Err(Error::unavailable(format!("worker {number} does not start: {error}")));
                }
            }
        }
        if job.has_checkpoints {
            job.attend_checkpoints(config.checkpoint_interval)?;
        }
        Ok(job)
    }

    /// Starts the thread that completes checkpoints and takes them at an interval.
    fn attend_checkpoints(&mut self, interval: Option<Duration>) -> Result<()> {
        let (control, checkpoints) = (Arc::clone(&self.control), Arc::clone(&self.checkpoints));
        let clock = Arc::clone(&self.clock);
        self.control.outcome.lock().running += 1;
        let attend = move || control.checkpoints_ended(checkpoints.attend(interval, &clock), &clock);
        match std::thread::Builder::new().name("mill-checkpoint".into()).spawn(attend) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                self.control.outcome.lock().running -= 1;
                return Err(Error::unavailable(format!("the checkpoint thread does not start: {error}")));
            }
        }
        Ok(())
    }

    /// Takes a last checkpoint and stops behind it, with nothing in between: a start that restores it goes on as if
    /// nothing had been. Returns at once: [`Job::wait`] waits, [`Job::suspended`] says how it went. Needs a store that
    /// is durable, or a checkpoint interval; without, it is [`Job::stop`].
    pub fn suspend(&self) {
        if self.has_checkpoints {
            self.checkpoints.suspend();
        } else {
            self.stop();
        }
    }

    /// The checkpoint that it was suspended behind.
    pub fn suspended(&self) -> Option<Epoch> {
        self.control.outcome.lock().suspended
    }

    /// The last complete checkpoint; 0 when there is none.
    pub fn last_checkpoint(&self) -> Epoch {
        self.checkpoints.completed()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is doing.
    pub fn state(&self) -> JobState {
        let outcome = self.control.outcome.lock();
        match (outcome.running, &outcome.error) {
            (_, Some(_)) => JobState::Failed,
            (0, None) if self.control.is_stopped() => JobState::Stopped,
            (0, None) => JobState::Finished,
            _ if self.control.is_draining() => JobState::Draining,
            _ => JobState::Running,
        }
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<Error> {
        self.control.outcome.lock().error.clone()
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        Duration::from_nanos(self.clock.monotonic_ns().saturating_sub(self.started_ns))
    }

    /// The counters of all operator instances, in graph order.
    pub fn metrics(&self) -> &[Arc<OperatorMetrics>] {
        &self.metrics
    }

    /// The last bad rows.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    /// The clock the job runs by.
    pub fn clock(&self) -> &ClockRef {
        &self.clock
    }

    /// Takes nothing new in, closes open windows, delivers everything, ends. Returns at once: [`Job::wait`] waits.
    pub fn drain(&self) {
        self.control.draining.store(true, Ordering::Release);
        self.control.ring();
    }

    /// Ends without delivering what is inside. Returns at once.
    pub fn stop(&self) {
        self.control.stopped.store(true, Ordering::Release);
        self.control.ring();
    }

    /// Takes a checkpoint and waits for it. `None` when another is under way or the job has ended.
    ///
    /// # Errors
    /// If the job ends before the checkpoint is complete.
    pub fn checkpoint(&self) -> Result<Option<Epoch>> {
        match self.checkpoints.trigger()? {
            Some(epoch) => self.checkpoints.wait(epoch).map(|()| Some(epoch)),
            None => Ok(None),
        }
    }

    /// Makes every worker look for work; for tests that step a clock.
    pub fn wake(&self) {
        self.control.ring();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The error that ended the job.
    pub fn wait(&self) -> Result<()> {
        let mut outcome = self.control.outcome.lock();
        while outcome.running > 0 {
            self.control.changed.wait(&mut outcome);
        }
        outcome.error.clone().map_or(Ok(()), Err)
    }

    /// Waits for the end, at most `limit`. True when it has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let mut outcome = self.control.outcome.lock();
        // One worker after the other ends, each with a notification.
        self.control.changed.wait_while_for(&mut outcome, |outcome| outcome.running > 0, limit);
        outcome.running == 0
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A panic inside was already turned into the job's error.
            let _ = thread.join();
        }
    }
}
