//! What came from outside, safe on disk before its sender is told that it may forget it.
//!
//! A source appends what it takes in and goes on; a thread writes and syncs all that has gathered in one go (group
//! commit) and rings the worker, which then acknowledges up to [`Journal::safe`]. A checkpoint holds the number of the
//! last record whose rows it counts; after a kill, [`Journal::replay`] gives those behind it. When checkpoints no longer
//! need records, [`Journal::release`] gives their room back, a segment at a time.
//!
//! Limits: what waits to be written ([`BUFFER_BYTES_MAX`]) and what is on disk ([`Limits::bytes_max`]); at either
//! [`Journal::has_room`] is false, and a source takes nothing more from outside until it is true again. A full disk is the
//! same, tried again every half second. A failed sync ends the source: nothing can be promised after one (Rebello et al.,
//! "Can Applications Recover from fsync Failures?", ATC 2020). files: log.rs, their bytes: segment.rs.

mod log;
mod others;
mod reader;
mod segment;
#[cfg(test)]
mod tests;

/// What a simulation needs to drive a log without threads.
#[cfg(test)]
pub(crate) mod simulation {
    pub use super::log::{CommitError, Log};

    /// Records of these payloads, the first of which has the number `first`.
    pub fn frames(first: u64, payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut frames = Vec::new();
        for (number, payload) in (first..).zip(payloads) {
            super::segment::push(&mut frames, number, &[payload]);
        }
        frames
    }
}

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

pub(crate) use log::remove_all;
use log::{CommitError, Log};
pub use log::{Limits, Replay};
pub(crate) use others::{OtherJournal, of_others, outboxes};
pub(crate) use reader::Reader;

use crate::clock::ClockRef;
use crate::context::InstanceContext;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::metrics::OperatorMetrics;
use crate::options::{OptionSpec, Options};
use crate::park::Signal;

/// How much of a table's messages may be on disk.
pub const JOURNAL_OPTION: OptionSpec = OptionSpec::new(
    "journal.max-bytes",
    "size",
    "256 mb",
    "Read, with --state: bytes of acknowledged messages on disk that checkpoints still need; at that nothing more is taken in.",
);

/// Reads [`JOURNAL_OPTION`].
///
/// # Errors
/// If it is not a size.
pub fn bytes_max(options: &Options) -> Result<u64> {
    Ok(options.size_bytes(JOURNAL_OPTION.key)?.map_or(256 << 20, |bytes| bytes as u64))
}

/// A segment is this part of the whole, at most [`SEGMENT_BYTES_MAX`]: one is in memory while it is replayed.
const SEGMENTS: u64 = 32;
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Bytes that wait to be written.
pub const BUFFER_BYTES_MAX: usize = 4 << 20;

impl Limits {
    /// Those of a log of `bytes_max`.
    pub(crate) fn of(bytes_max: u64) -> Self {
        Self { bytes_max, segment_bytes: (bytes_max / SEGMENTS).min(SEGMENT_BYTES_MAX), records_kept: 0 }
    }
}

/// How soon a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

/// The folder of an instance's log inside the state folder `state`; `what` is its use.
pub(crate) fn folder(state: &Path, what: &str, operator: &str, instance: usize) -> PathBuf {
    state.join(format!("{what}-{}-{instance}", spelled(operator)))
}

/// A table's name as part of a folder's, which may hold anything, and stays told apart from all others.
fn spelled(operator: &str) -> String {
    let spell = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    operator.bytes().map(spell).collect()
}

/// One source instance's journal. See the module's page.
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    replay: Option<Replay>,
    bytes_max: u64,
    /// The last record that the last snapshot counts, and the one that the last complete checkpoint counts.
    snapshot: u64,
    complete: u64,
}

struct Shared {
    inner: Mutex<Inner>,
    bell: Condvar,
    /// Up to here records are in the file, where a [`Reader`] finds them.
    written: AtomicU64,
    safe: AtomicU64,
    disk_bytes: AtomicU64,
    /// Damaged segments that were set aside when it was opened.
    damaged: AtomicU64,
    /// How often the disk was made to sync.
    syncs: AtomicU64,
    worker: Arc<Signal>,
    /// Who is rung when there is something to read.
    reader: Option<Arc<Signal>>,
    clock: ClockRef,
}

struct Inner {
    /// Records that wait, without their sums.
    frames: Vec<u8>,
    /// The number of the last of them.
    last: u64,
    released: u64,
    is_disk_full: bool,
    is_ending: bool,
    failed: Option<Error>,
}

impl Journal {
    /// The journal of a source instance, where its job keeps state on disk. Of the last `records_kept` records, those stay
    /// that a quarter of `bytes_max` holds, though no checkpoint needs them.
    ///
    /// # Errors
    /// If its folder cannot be used.
    pub fn of(context: &InstanceContext, bytes_max: u64, records_kept: u64) -> Result<Option<Self>> {
        let Some(folder) = &context.journal_folder else { return Ok(None) };
        let limits = Limits { records_kept, ..Limits::of(bytes_max) };
        Self::open(folder, limits, Arc::clone(&context.waker), Arc::clone(&context.clock)).map(Some)
    }

    /// Opens the journal in `folder`, of which the job holds the lock.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(folder: &Path, limits: Limits, worker: Arc<Signal>, clock: ClockRef) -> Result<Self> {
        let disk = RealDisk::open(folder).map_err(|error| {
            Error::state(format!("the journal's folder {} cannot be used: {error}", folder.display()))
                .remedy("give --state a folder that this user may write to")
        })?;
        Self::on(Arc::new(disk), limits, worker, None, clock)
    }

    /// Opens the journal on `disk`; `reader` is rung when there is something to read.
    pub(crate) fn on(
        disk: Arc<dyn Disk>,
        limits: Limits,
        worker: Arc<Signal>,
        reader: Option<Arc<Signal>>,
        clock: ClockRef,
    ) -> Result<Self> {
        let log = Log::open(disk, limits)?;
        let replay = log.replay(0);
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                frames: Vec::new(),
                last: log.last(),
                released: 0,
                is_disk_full: false,
                is_ending: false,
                failed: None,
            }),
            bell: Condvar::new(),
            written: AtomicU64::new(log.last()),
            safe: AtomicU64::new(log.last()),
            disk_bytes: AtomicU64::new(log.bytes()),
            damaged: AtomicU64::new(log.damaged()),
            syncs: AtomicU64::new(0),
            worker,
            reader,
            clock,
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || own.write(log))
            .map_err(|error| Error::unavailable(format!("the journal's thread does not start: {error}")))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            replay: Some(replay),
            bytes_max: limits.bytes_max,
            snapshot: 0,
            complete: 0,
        })
    }

    /// A checkpoint that counts records up to `counted`, and knows of them up to `known`, was restored: no other record
    /// gets such a number, and those that it counts are safe in it, though a kill may have kept them from the journal.
    /// Before anything is appended.
    pub fn go_on_behind(&mut self, counted: u64, known: u64) {
        (self.snapshot, self.complete) = (counted, counted);
        self.shared.safe.fetch_max(counted, Ordering::AcqRel);
        let mut inner = self.shared.inner.lock();
        inner.last = inner.last.max(known);
    }

    /// The source's state is written, and counts records up to `number`.
    pub fn on_snapshot(&mut self, number: u64) {
        self.snapshot = number;
    }

    /// The checkpoint of the last snapshot is complete. The one before it stays for a person to go back to, so what it
    /// needs stays too.
    pub fn on_checkpoint_complete(&mut self) {
        self.release(self.complete);
        self.complete = self.snapshot;
    }

    /// Records of earlier runs, the first time it is asked for.
    pub fn replay(&mut self) -> Option<Replay> {
        self.replay.take()
    }

    /// The number that was given last.
    pub fn last(&self) -> u64 {
        self.shared.inner.lock().last
    }

    /// Takes records in; when this is dropped the thread begins to write them.
    pub fn appending(&self) -> Appending<'_> {
        Appending { inner: self.shared.inner.lock(), bell: &self.shared.bell }
    }

    /// The number up to which all records are safe.
    ///
    /// # Errors
    /// If the disk failed.
    pub fn safe(&self) -> Result<u64> {
        match &self.shared.inner.lock().failed {
            Some(error) => Err(error.clone()),
            None => Ok(self.shared.safe.load(Ordering::Acquire)),
        }
    }

    /// False while nothing more may be taken in.
    pub fn has_room(&self) -> bool {
        let inner = self.shared.inner.lock();
        let bytes = self.shared.disk_bytes.load(Ordering::Relaxed) + inner.frames.len() as u64;
        inner.frames.len() < BUFFER_BYTES_MAX && bytes < self.bytes_max && !inner.is_disk_full
    }

    /// No checkpoint that may be restored needs records up to `number`.
    fn release(&self, number: u64) {
        self.shared.release(number);
    }

    /// What others than the owner need of it.
    pub(crate) fn tail(&self) -> Tail {
        Tail(Arc::clone(&self.shared))
    }

    /// Shows in `metrics` how it stands.
    pub fn report(&self, metrics: &OperatorMetrics) {
        for (shown, own) in [
            (&metrics.journal_bytes, &self.shared.disk_bytes),
            (&metrics.journal_syncs, &self.shared.syncs),
            (&metrics.journal_damaged, &self.shared.damaged),
        ] {
            shown.store(own.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// A journal's end, for who reads what is written and says what is not needed any more.
#[derive(Clone)]
pub(crate) struct Tail(Arc<Shared>);

impl Tail {
    /// The number up to which records can be read.
    pub fn written(&self) -> u64 {
        self.0.written.load(Ordering::Acquire)
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.0.disk_bytes.load(Ordering::Relaxed)
    }

    /// Records up to `number` are not needed any more.
    pub fn release(&self, number: u64) {
        self.0.release(number);
    }
}

/// Takes records of one batch.
pub struct Appending<'a> {
    inner: MutexGuard<'a, Inner>,
    bell: &'a Condvar,
}

impl Appending<'_> {
    /// Takes a record, the concatenation of `parts`, and gives it its number, one more than the last. It is safe once
    /// [`Journal::safe`] says so.
    pub fn push(&mut self, parts: &[&[u8]]) -> u64 {
        let number = self.inner.last + 1;
        self.inner.last = number;
        segment::push(&mut self.inner.frames, number, parts);
        number
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.inner.lock().is_ending = true;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn release(&self, number: u64) {
        self.inner.lock().released = number;
        self.bell.notify_one();
    }

    /// The thread: writes what gathers until the journal is dropped, and what is left then.
    fn write(&self, mut log: Log) {
        let (mut frames, mut released) = (Vec::new(), 0);
        // Not a secret, only nothing that who sends can know beforehand.
        let salt = (self.clock.monotonic_ns() ^ self.clock.now_ms().unsigned_abs().rotate_left(32)) as u32;
        loop {
            let mut inner = self.inner.lock();
            while inner.frames.is_empty() && inner.released == released && !inner.is_ending {
                self.bell.wait(&mut inner);
            }
            std::mem::swap(&mut frames, &mut inner.frames);
            let (last, to_release, is_ending) = (inner.last, inner.released, inner.is_ending);
            drop(inner);
            if let Err(error) = self.commit(&mut log, &mut frames, last, salt) {
                self.inner.lock().failed = Some(error);
                self.worker.notify();
                return;
            }
            frames.clear();
            if to_release != released {
                released = to_release;
                if let Err(error) = log.release(released) {
                    tracing::warn!("{error}");
                }
                self.disk_bytes.store(log.bytes(), Ordering::Relaxed);
                self.worker.notify();
            }
            if is_ending {
                return;
            }
        }
    }

    /// Makes `frames` safe, however long the disk is full; not when the journal is to end.
    fn commit(&self, log: &mut Log, frames: &mut [u8], last: u64, salt: u32) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let mut was_full = false;
        loop {
            match log.write_frames(frames, last, salt) {
                Ok(()) => break,
                Err(CommitError::Broken(error)) => return Err(error),
                Err(CommitError::NoRoom(error)) => {
                    if !was_full {
                        tracing::warn!(
                            "the journal waits for room on the disk, and takes nothing in until then: {error}"
                        );
                    }
                    was_full = true;
                    let mut inner = self.inner.lock();
                    inner.is_disk_full = true;
                    if inner.is_ending {
                        return Ok(());
                    }
                    self.wait_for_room(&mut inner);
                    let released = inner.released;
                    drop(inner);
                    // What this makes free may be what is missing.
                    let _ = log.release(released);
                }
            }
        }
        if was_full {
            self.inner.lock().is_disk_full = false;
            tracing::info!("the journal has room on the disk again");
        }
        self.written.store(last, Ordering::Release);
        if let Some(reader) = &self.reader {
            reader.notify();
        }
        log.sync()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.disk_bytes.store(log.bytes(), Ordering::Relaxed);
        self.safe.store(last, Ordering::Release);
        self.worker.notify();
        Ok(())
    }

    fn wait_for_room(&self, inner: &mut MutexGuard<'_, Inner>) {
        self.bell.wait_for(inner, self.clock.sleep_for(FULL_DISK_PAUSE));
    }
}
