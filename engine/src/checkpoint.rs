//! The checkpoint protocol's coordinator: who has answered the barrier of an epoch, and when it is complete.
//!
//! A trigger raises `requested`; every source stage sees it between two polls, snapshots and sends a barrier down;
//! gates align barriers; each operator instance puts its state here when the barrier has passed it. When all have,
//! the store makes the epoch the one to restore from, and sources and sinks are told. An instance that ended gives
//! its last state once, and it becomes part of every later epoch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::park::Signal;
use crate::state::{InstanceSnapshot, StateStore};

/// Shared by all stages of a job.
pub(crate) struct Checkpoints {
    store: Arc<dyn StateStore>,
    requested: AtomicU64,
    completed: AtomicU64,
    inner: Mutex<Inner>,
    changed: Condvar,
    wake: Vec<Arc<Signal>>,
}

struct Inner {
    /// Instances that must answer each epoch.
    instances: usize,
    /// Answers still missing, by epoch.
    missing: BTreeMap<Epoch, usize>,
    /// Last state of instances that ended.
    retired: Vec<(String, usize, InstanceSnapshot)>,
    failed: Option<Error>,
    over: bool,
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
            inner: Mutex::new(Inner {
                instances,
                missing: BTreeMap::new(),
                retired: Vec::new(),
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

    /// Starts the next checkpoint. `None` while one is under way, or when the job is over.
    pub fn trigger(&self) -> Result<Option<Epoch>> {
        let mut inner = self.inner.lock();
        if inner.over || !inner.missing.is_empty() {
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
        inner.missing.insert(epoch, missing);
        self.requested.store(epoch, Ordering::Release);
        drop(inner);
        self.wake.iter().for_each(|signal| signal.notify());
        Ok(Some(epoch))
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
        self.answered(&mut self.inner.lock(), epoch)
    }

    /// An instance has ended with `snapshot` as its last state.
    pub fn retire(&self, operator: &str, instance: usize, snapshot: InstanceSnapshot) -> Result<()> {
        let mut inner = self.inner.lock();
        // A barrier under way will not reach it any more: its last state is its answer.
        let under_way: Vec<_> = inner.missing.keys().copied().collect();
        for epoch in under_way {
            self.store.put(epoch, operator, instance, snapshot.clone())?;
            self.answered(&mut inner, epoch)?;
        }
        inner.retired.push((operator.to_owned(), instance, snapshot));
        Ok(())
    }

    fn answered(&self, inner: &mut Inner, epoch: Epoch) -> Result<()> {
        let Some(missing) = inner.missing.get_mut(&epoch) else { return Ok(()) };
        *missing -= 1;
        if *missing == 0 {
            inner.missing.remove(&epoch);
            self.store.complete(epoch)?;
            self.completed.store(epoch, Ordering::Release);
            self.changed.notify_all();
            self.wake.iter().for_each(|signal| signal.notify());
        }
        Ok(())
    }

    /// The job is over: nobody answers any more.
    pub fn close(&self, failed: Option<Error>) {
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
            if inner.over {
                return Err(inner.failed.clone().unwrap_or_else(|| {
                    Error::closed(format!("the job ended before checkpoint {epoch} was complete"))
                }));
            }
            self.changed.wait(&mut inner);
        }
    }
}
