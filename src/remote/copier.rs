//! The thread that copies checkpoints to an object store, behind a pipeline that runs.
//!
//! It knows nothing of the job: every so often the newest checkpoint of the state folder is copied (rounds.rs). Nothing waits for it. While the store is away
//! each interval is one more attempt, with what is newest then: there is no queue, so an outage of hours costs one copy afterwards.
//! What cannot be copied is said at once, then every ten minutes, and counted.
//!
//! At the end of a pipeline the last checkpoint has [`ENDING_MAX`] to be copied; then it is said that it was not. A copy that is
//! cut off leaves a folder without a manifest, which does not count and goes with the next that is whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream_engine::{ClockRef, Error, ErrorKind, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::RemoteCheckpoints;
use super::manifest::Manifest;
use super::owner::Owner;
use super::place::{Place, RETRIES_OF_AN_UPLOAD};
use super::rounds::Rounds;
use super::runtime;

/// How long the end of a pipeline waits for the copy of its last checkpoint.
const ENDING_MAX: Duration = Duration::from_secs(10);
/// Between two messages about the same failure.
const SAYING_EVERY: Duration = Duration::from_secs(600);

/// What has been copied, for metrics.
#[derive(Debug, Default)]
pub struct CopyStatus {
    last: AtomicU64,
    last_completed_ms: AtomicI64,
    last_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    failures: AtomicU64,
}

impl CopyStatus {
    /// The newest checkpoint that is whole there; 0 when there is none.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// When that was complete on the machine, in ms since 1970; before there is one, when copying began. What came since is lost
    /// with the machine.
    pub fn last_completed_ms(&self) -> i64 {
        self.last_completed_ms.load(Ordering::Relaxed)
    }

    /// Bytes of it.
    pub fn last_bytes(&self) -> u64 {
        self.last_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of state that went over the uplink.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Copies that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A whole one is there.
    pub(super) fn copied(&self, manifest: &Manifest) {
        self.last_completed_ms.store(manifest.completed_ms, Ordering::Relaxed);
        self.last_bytes.store(manifest.num_bytes(), Ordering::Relaxed);
        self.last.store(manifest.epoch, Ordering::Release);
    }
}

/// What the thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Copy the last checkpoint, until so much of the monotonic clock.
    Ending {
        until_ns: u64,
    },
    Stopped,
}

/// The thread's handle. Dropped, it ends at once.
pub(crate) struct Copier {
    url: String,
    clock: ClockRef,
    status: Arc<CopyStatus>,
    phase: watch::Sender<Phase>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Copier {
    /// Starts copying the checkpoints of the folder `state`.
    pub fn start(state: PathBuf, to: &RemoteCheckpoints, clock: ClockRef) -> Result<Self> {
        let place = Place::open(&to.url, RETRIES_OF_AN_UPLOAD)?;
        let url = place.url("");
        let status = Arc::<CopyStatus>::default();
        status.last_completed_ms.store(clock.now_ms(), Ordering::Relaxed);
        let owner = Owner::of(&state, &clock)?;
        let (phase, watched) = watch::channel(Phase::Running);
        let rounds =
            Rounds { state, place, owner, retained: to.retained.max(1), status: Arc::clone(&status) };
        let (interval, own_clock) = (to.interval, Arc::clone(&clock));
        let runtime = runtime()?;
        let thread = std::thread::Builder::new()
            .name("checkpoint-copy".into())
            .spawn(move || runtime.block_on(attend(rounds, interval, own_clock, watched)))
            .map_err(|error| Error::internal(format!("no thread to copy checkpoints: {error}")))?;
        Ok(Self { url, clock, status, phase, thread: Mutex::new(Some(thread)) })
    }

    /// Where copies go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has been copied.
    pub fn status(&self) -> &CopyStatus {
        &self.status
    }

    /// The pipeline has ended: waits a while for the copy of its last checkpoint.
    pub fn finish(&self) {
        let until_ns = self.clock.monotonic_ns().saturating_add(ENDING_MAX.as_nanos() as u64);
        self.end(Phase::Ending { until_ns });
    }

    /// Ends without it.
    pub fn stop(&self) {
        self.end(Phase::Stopped);
    }

    fn end(&self, phase: Phase) {
        if let Some(thread) = self.thread.lock().take() {
            let _ = self.phase.send(phase);
            if thread.join().is_err() {
                tracing::error!("the thread that copies checkpoints to {} panicked", self.url);
            }
        }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What was said last about copies that fail.
struct Said {
    kind: ErrorKind,
    at_ns: u64,
}

/// The thread's work.
async fn attend(rounds: Rounds, interval: Duration, clock: ClockRef, mut phase: watch::Receiver<Phase>) {
    let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    // The first at once: a place that cannot be written is said when somebody is looking.
    let mut due_ns = clock.monotonic_ns();
    let mut said: Option<Said> = None;
    loop {
        while *phase.borrow() == Phase::Running {
            let left_ns = due_ns.saturating_sub(clock.monotonic_ns());
            if left_ns == 0 {
                break;
            }
            let wait = clock.sleep_for(Duration::from_nanos(left_ns));
            let _ = tokio::time::timeout(wait, phase.changed()).await;
        }
        let is_last = *phase.borrow() != Phase::Running;
        if is_last && rounds.is_done() {
            return;
        }
        let done = tokio::select! {
            biased;
            () = given_up(&mut phase, &clock) => None,
            done = rounds.round() => Some(done),
        };
        let error = match done {
            None if *phase.borrow() == Phase::Stopped => return,
            None => return rounds.say_unfinished("it takes too long"),
            Some(Ok(())) => {
                if said.take().is_some() {
                    tracing::warn!("checkpoints are copied to {} again", rounds.place.url(""));
                }
                None
            }
            Some(Err(error)) => Some(error),
        };
        if let Some(error) = error {
            rounds.status.failures.fetch_add(1, Ordering::Relaxed);
            if is_last {
                return rounds.say_unfinished(&error.to_string());
            }
            let now_ns = clock.monotonic_ns();
            let is_said = said.as_ref().is_some_and(|said| {
                said.kind == error.kind()
                    && now_ns.saturating_sub(said.at_ns) < SAYING_EVERY.as_nanos() as u64
            });
            if !is_said {
                tracing::error!(
                    "checkpoints are not copied, and go on in {}: {error}",
                    rounds.state.display()
                );
                said = Some(Said { kind: error.kind(), at_ns: now_ns });
            }
        }
        if is_last {
            return;
        }
        due_ns = clock.monotonic_ns().saturating_add(interval_ns);
    }
}

/// Waits until nobody waits for a copy any more.
async fn given_up(phase: &mut watch::Receiver<Phase>, clock: &ClockRef) {
    loop {
        let now = *phase.borrow_and_update();
        match now {
            Phase::Stopped => return,
            Phase::Running => {
                if phase.changed().await.is_err() {
                    return;
                }
            }
            Phase::Ending { until_ns } => {
                let left_ns = until_ns.saturating_sub(clock.monotonic_ns());
                if left_ns == 0 {
                    return;
                }
                let wait = clock.sleep_for(Duration::from_nanos(left_ns));
                let _ = tokio::time::timeout(wait, phase.changed()).await;
            }
        }
    }
}
