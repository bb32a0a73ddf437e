//! The checkpoint protocol's coordinator: who has answered the barrier of an epoch, and when it is complete.
//!
//! A trigger raises `requested`; every source stage sees it between two polls, snapshots and sends a barrier down;
//! gates align barriers; each operator instance puts its state here when the barrier has passed it. When all have,
//! the store makes the epoch the one to restore from, and sources and sinks are told. An instance that ended gives
//! its last state once, and it becomes part of every later epoch; when all have ended, these are the job's last one,
//! which sinks that commit with checkpoints wait for.
//!
//! An instance with much state answers in pieces ([`Checkpoints::add`]), while rows go on coming, the last of which
//! counts as its answer.
//!
//! A store on disk takes its time, so a thread of the job ([`Checkpoints::attend`]) writes and completes epochs there, and
//! starts them at an interval; one is under way at a time. A job that is suspended takes nothing in behind the barrier of its
//! last epoch and stops once that is complete, so a later start goes on as if nothing had been.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::ClockRef;
use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::park::Signal;
use crate::state::{InstanceSnapshot, StateStore};

/// Shared by all stages of a job.
pub(crate) struct Checkpoints {
    store: Arc<dyn StateStore>,
    requested: AtomicU64,
    completed: AtomicU64,
    /// Sources send nothing behind the barrier of this epoch.
    last: AtomicU64,
    /// The next epoch is wanted without waiting for the interval.
    hurried: AtomicBool,
    inner: Mutex<Inner>,
    changed: Condvar,
    wake: Vec<Arc<Signal>>,
}

struct Inner {
    /// Instances that must answer each epoch.
    instances: usize,
    /// Epochs under way.
    missing: BTreeMap<Epoch, Answers>,
    /// Last state of instances that ended.
    retired: Vec<(String, usize, InstanceSnapshot)>,
    /// The epoch that every instance has answered, and that the store is still to complete.
    to_complete: Option<Epoch>,
    /// The job is to stop behind its next epoch.
    suspending: bool,
    /// Every instance has ended, and what they left is the last epoch.
    is_last: bool,
    failed: Option<Error>,
    over: bool,
}

/// Who has answered an epoch's barrier: an instance that ends behind it must not answer once more, with a later state.
struct Answers {
    missing: usize,
    given: HashSet<(String, usize)>,
}

impl Checkpoints {
    pub fn new(
        store: Arc<dyn StateStore>,
        instances: usize,
        first: Epoch,
        wake: Vec<Arc<Signal>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            requested: AtomicU64::new(first),
            completed: AtomicU64::new(first),
            last: AtomicU64::new(Epoch::MAX),
            hurried: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                instances,
                missing: BTreeMap::new(),
                retired: Vec::new(),
                to_complete: None,
                suspending: false,
                is_last: false,
                failed: None,
                over: false,
            }),
            changed: Condvar::new(),
            wake,
        })
    }

    /// The epoch that barriers are wanted for.
    pub fn requested(&self) -> Epoch {
        self.requested.load(Ordering::Acquire)
    }

    /// The last complete epoch.
    pub fn completed(&self) -> Epoch {
        self.completed.load(Ordering::Acquire)
    }

    /// True when a source that has sent the barrier of `epoch` must send nothing more.
    pub fn ends_with(&self, epoch: Epoch) -> bool {
        epoch >= self.last.load(Ordering::Acquire)
    }

    /// Starts the next checkpoint. `None` while one is under way, or when the job is over.
    pub fn trigger(&self) -> Result<Option<Epoch>> {
        self.trigger_locked(&mut self.inner.lock())
    }

    fn trigger_locked(&self, inner: &mut Inner) -> Result<Option<Epoch>> {
        if inner.over || inner.is_last || !inner.missing.is_empty() || inner.to_complete.is_some() {
            return Ok(None);
        }
        let epoch = self.requested() + 1;
        let missing = inner.instances - inner.retired.len();
        if missing == 0 {
            return Ok(None);
        }
        for (operator, instance, snapshot) in &inner.retired {
            self.store.put(epoch, operator, *instance, snapshot.clone())?;
        }
        inner.missing.insert(epoch, Answers { missing, given: HashSet::new() });
        if inner.suspending {
            // Before the request, so that a source that sees the one sees the other.
            self.last.store(epoch, Ordering::Release);
        }
        self.hurried.store(false, Ordering::Release);
        self.requested.store(epoch, Ordering::Release);
        self.wake.iter().for_each(|signal| signal.notify());
        Ok(Some(epoch))
    }

    /// A piece of an instance's answer to the barrier of `epoch`; [`Checkpoints::put`] gives the last.
    pub fn add(&self, epoch: Epoch, operator: &str, instance: usize, piece: InstanceSnapshot) -> Result<()> {
        self.store.put(epoch, operator, instance, piece)?;
        self.ring(&self.inner.lock());
        Ok(())
    }

    /// Wakes the job's thread where it has something to write. Behind the lock, so that it is not between looking and
    /// waiting.
    fn ring(&self, _inner: &Inner) {
        if self.store.is_waiting() {
            self.changed.notify_all();
        }
    }

    /// True when operators' state can be restored.
    pub fn keeps_state(&self) -> bool {
        self.store.keeps_state()
    }

    /// True while no more pieces should be added: the disk is behind. The workers are rung whenever it has written some.
    pub fn is_full(&self) -> bool {
        self.store.is_full()
    }

    /// An instance's answer to the barrier of `epoch`.
    pub fn put(
        &self,
        epoch: Epoch,
        operator: &str,
        instance: usize,
        snapshot: InstanceSnapshot,
    ) -> Result<()> {
        self.store.put(epoch, operator, instance, snapshot)?;
        let mut inner = self.inner.lock();
        self.ring(&inner);
        self.answered(&mut inner, epoch, operator, instance)
    }

    /// An instance has ended with `snapshot` as its last state.
    pub fn retire(&self, operator: &str, instance: usize, snapshot: InstanceSnapshot) -> Result<()> {
        let mut inner = self.inner.lock();
        // A barrier under way will not reach it any more: its last state is its answer.
        let own = (operator.to_owned(), instance);
        let under_way: Vec<_> = inner
            .missing
            .iter()
            .filter(|(_, answers)| !answers.given.contains(&own))
            .map(|(epoch, _)| *epoch)
            .collect();
        for epoch in under_way {
            self.store.put(epoch, operator, instance, snapshot.clone())?;
            self.answered(&mut inner, epoch, operator, instance)?;
        }
        inner.retired.push((operator.to_owned(), instance, snapshot));
        if inner.retired.len() >= inner.instances {
            if self.store.is_durable() {
                self.changed.notify_all();
            } else {
                self.complete_last(&mut inner)?;
            }
        }
        Ok(())
    }

    /// A sink waits for the next epoch: it is to come at once, or as soon as the one under way is complete.
    pub fn hurry(&self) {
        if !self.hurried.swap(true, Ordering::AcqRel) {
            // Behind the lock, so that the thread is not between looking and waiting.
            let _inner = self.inner.lock();
            self.changed.notify_all();
        }
    }

    fn answered(&self, inner: &mut Inner, epoch: Epoch, operator: &str, instance: usize) -> Result<()> {
        let Some(answers) = inner.missing.get_mut(&epoch) else { return Ok(()) };
        answers.given.insert((operator.to_owned(), instance));
        answers.missing -= 1;
        if answers.missing == 0 {
            inner.missing.remove(&epoch);
            if self.store.is_durable() {
                inner.to_complete = Some(epoch);
                self.changed.notify_all();
            } else {
                self.complete(epoch)?;
            }
        }
        Ok(())
    }

    fn complete(&self, epoch: Epoch) -> Result<()> {
        failpoint::hit("checkpoint-before-complete");
        self.store.complete(epoch)?;
        failpoint::hit("checkpoint-complete");
        self.completed.store(epoch, Ordering::Release);
        self.changed.notify_all();
        self.wake.iter().for_each(|signal| signal.notify());
        Ok(())
    }

    /// Asks for one more epoch, behind which the job stops.
    pub fn suspend(&self) {
        self.store.stop_waiting();
        self.inner.lock().suspending = true;
        self.changed.notify_all();
    }

    /// The thread's work: completes epochs, and starts one every `interval`. Answers when the job is over, or with the
    /// epoch that it was suspended behind.
    ///
    /// # Errors
    /// If the store cannot complete an epoch.
    pub fn attend(&self, interval: Option<Duration>, clock: &ClockRef) -> Result<Option<Epoch>> {
        let interval_ns = interval.map(|interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
        let mut due_ns = interval_ns.map(|ns| clock.monotonic_ns().saturating_add(ns));
        let mut inner = self.inner.lock();
        loop {
            while self.store.is_waiting() {
                MutexGuard::unlocked(&mut inner, || self.store.write())?;
                // Each time: it may have been full for a moment while it wrote, which is when a worker looked.
                self.wake.iter().for_each(|signal| signal.notify());
            }
            if let Some(epoch) = inner.to_complete {
                MutexGuard::unlocked(&mut inner, || self.complete(epoch))?;
                inner.to_complete = None;
            }
            if inner.retired.len() >= inner.instances {
                self.complete_last(&mut inner)?;
            }
            let completed = self.completed();
            if self.ends_with(completed) {
                return Ok(Some(completed));
            }
            if inner.over {
                return Ok(None);
            }
            let now_ns = clock.monotonic_ns();
            let is_due = due_ns.is_some_and(|due_ns| due_ns <= now_ns);
            if inner.suspending || is_due || self.hurried.load(Ordering::Acquire) {
                // One that is still under way when the next is due makes that one later, not two.
                self.trigger_locked(&mut inner)?;
                due_ns = interval_ns.map(|ns| now_ns.saturating_add(ns));
            }
            match due_ns {
                Some(due_ns) => {
                    let wait = clock.sleep_for(Duration::from_nanos(due_ns.saturating_sub(now_ns)));
                    self.changed.wait_for(&mut inner, wait);
                }
                None => self.changed.wait(&mut inner),
            }
        }
    }

    /// A job whose every instance came to its end leaves that as its last epoch: what is run again goes on from there,
    /// which for sources that have ended is to do nothing.
    fn complete_last(&self, inner: &mut MutexGuard<'_, Inner>) -> Result<()> {
        if std::mem::replace(&mut inner.is_last, true) {
            return Ok(());
        }
        let epoch = self.requested() + 1;
        for (operator, instance, snapshot) in std::mem::take(&mut inner.retired) {
            self.store.put(epoch, &operator, instance, snapshot)?;
        }
        MutexGuard::unlocked(inner, || self.complete(epoch))
    }

    /// The job is over: nobody answers any more.
    pub fn close(&self, failed: Option<Error>) {
        self.store.stop_waiting();
        let mut inner = self.inner.lock();
        inner.over = true;
        inner.failed = failed;
        self.changed.notify_all();
    }

    /// Blocks until `epoch` is complete.
    pub fn wait(&self, epoch: Epoch) -> Result<()> {
        let mut inner = self.inner.lock();
        loop {
            if self.completed() >= epoch {
                return Ok(());
            }
            if inner.over && inner.to_complete.is_none() {
                return Err(inner.failed.clone().unwrap_or_else(|| {
                    Error::closed(format!("the job ended before checkpoint {epoch} was complete"))
                }));
            }
            self.changed.wait(&mut inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::clock::SystemClock;
    use crate::keys::KeyGroup;
    use crate::state::{MemoryStateStore, StateReader};

    /// A disk that a worker finds full while it writes, and never before or after.
    #[derive(Default)]
    struct FullWhileWriting {
        waits: AtomicBool,
        is_full: AtomicBool,
        seen_full: AtomicBool,
    }

    impl StateStore for FullWhileWriting {
        fn put(&self, _: Epoch, _: &str, _: usize, _: InstanceSnapshot) -> Result<()> {
            self.waits.store(true, Ordering::SeqCst);
            Ok(())
        }
        fn complete(&self, _: Epoch) -> Result<()> {
            Ok(())
        }
        fn latest(&self) -> Option<Epoch> {
            None
        }
        fn read(&self, _: Epoch, _: &str, _: &Range<KeyGroup>) -> Result<StateReader> {
            Err(Error::state("nothing is kept"))
        }
        fn is_waiting(&self) -> bool {
            self.waits.load(Ordering::SeqCst)
        }
        fn is_full(&self) -> bool {
            let is_full = self.is_full.load(Ordering::SeqCst);
            self.seen_full.fetch_or(is_full, Ordering::SeqCst);
            is_full
        }
        fn write(&self) -> Result<()> {
            self.waits.store(false, Ordering::SeqCst);
            self.is_full.store(true, Ordering::SeqCst);
            while !self.seen_full.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            self.is_full.store(false, Ordering::SeqCst);
            Ok(())
        }
        fn is_durable(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_worker_that_found_the_disk_full_while_it_wrote_is_rung() {
        let signal = Arc::new(Signal::default());
        let store = Arc::new(FullWhileWriting::default());
        let checkpoints = Checkpoints::new(store as _, 2, 0, vec![Arc::clone(&signal)]);
        let clock: ClockRef = Arc::new(SystemClock::default());
        let (rung, is_rung) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| checkpoints.attend(None, &clock));
            checkpoints.add(1, "window", 0, InstanceSnapshot::default()).unwrap();
            scope.spawn(|| {
                signal.own();
                while !checkpoints.is_full() {
                    std::thread::yield_now();
                }
                signal.park(None);
                let _ = rung.send(());
            });
            let was_rung = is_rung.recv_timeout(Duration::from_secs(20));
            checkpoints.close(None);
            signal.notify();
            assert!(was_rung.is_ok(), "the worker sleeps on");
        });
    }

    #[test]
    fn an_instance_that_ends_behind_a_barrier_answers_it_once() {
        let store = Arc::new(MemoryStateStore::default());
        let checkpoints = Checkpoints::new(Arc::clone(&store) as _, 2, 0, Vec::new());
        assert_eq!(checkpoints.trigger().unwrap(), Some(1));
        let at_barrier = InstanceSnapshot { blobs: vec!["at the barrier".into()], ..Default::default() };
        checkpoints.put(1, "source", 0, at_barrier).unwrap();
        checkpoints.retire("source", 0, InstanceSnapshot::default()).unwrap();
        assert_eq!(checkpoints.completed(), 0, "the sink has not answered");
        checkpoints.put(1, "sink", 0, InstanceSnapshot::default()).unwrap();
        assert_eq!(checkpoints.completed(), 1);
        let state = store.read(1, "source", &(0..1)).unwrap();
        assert_eq!(state.blobs().collect::<Vec<_>>(), [b"at the barrier"]);
        // One that ends before the barrier came answers with its last state, and all together are the last epoch.
        assert_eq!(checkpoints.trigger().unwrap(), Some(2));
        checkpoints.retire("sink", 0, InstanceSnapshot::default()).unwrap();
        assert_eq!(checkpoints.completed(), 3);
        assert_eq!(checkpoints.trigger().unwrap(), None);
    }
}
