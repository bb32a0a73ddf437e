//! The thread of one exactly-once sink: finishes what former runs left, then writes each epoch whose checkpoint is
//! complete, in order (transaction.rs).
//!
//! Invariants: what a restored checkpoint holds is written, or found written, before anything else of this instance,
//! and before the next checkpoint can be complete, so a key's messages keep their order over a change of workers. Every
//! former transactional id is seen to by one instance, those of former instances that there are no more too: so a
//! former run can write nothing under any of them. An epoch is the sink's, and in every checkpoint, until
//! it is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use parking_lot::Mutex;

use millstream_engine::element::Epoch;
use millstream_engine::park::Signal;
use millstream_engine::{Error, Result};

use super::output::{Output, Owner};
use super::transaction::{Surroundings, Transactions};

/// What the thread and the worker share.
#[derive(Default)]
pub(super) struct Shared {
    /// The last epoch that was written.
    pub written: AtomicU64,
    /// What former runs left is written.
    pub is_recovered: AtomicBool,
    /// This lineage has written a transaction.
    pub has_committed: AtomicBool,
    failure: Mutex<Option<Error>>,
    waker: Arc<Signal>,
}

impl Shared {
    pub fn new(waker: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self { waker, ..Self::default() })
    }

    /// What ends the job with the next call of the sink; the first failure stays.
    pub fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        self.waker.notify();
    }

    /// # Errors
    /// The failure, if there is one.
    pub fn check(&self) -> Result<()> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    pub fn has_failed(&self) -> bool {
        self.failure.lock().is_some()
    }
}

/// What a checkpoint holds of one transactional id.
#[derive(Default)]
pub(super) struct Former {
    pub lineage: u64,
    /// It had written a transaction before, so the brokers must know which was its last.
    pub is_known: bool,
    outputs: BTreeMap<Epoch, Output>,
}

impl Former {
    /// Takes in one blob of it.
    pub fn add(&mut self, lineage: u64, is_known: bool, output: Output) {
        self.lineage = lineage;
        self.is_known |= is_known;
        if !output.is_empty() {
            self.outputs.insert(output.epoch, output);
        }
    }
}

/// The thread's work.
pub(super) struct Committer {
    pub around: Surroundings,
    pub shared: Arc<Shared>,
    pub owner: Owner,
    pub formers: BTreeMap<String, Former>,
    pub outputs: Receiver<Output>,
}

impl Committer {
    /// Runs until the sink is gone.
    pub fn run(mut self) {
        if let Err(error) = self.work() {
            self.shared.fail(error);
        }
    }

    fn work(&mut self) -> Result<()> {
        let mut formers = std::mem::take(&mut self.formers);
        let own = formers.remove(&self.owner.id);
        for (id, former) in &formers {
            self.recover(&mut Transactions::open(&self.around, id, former.lineage)?, former)?;
        }
        let lineage = self.owner.lineage;
        let mut transactions = Transactions::open(&self.around, &self.owner.id, lineage)?;
        if let Some(former) = &own {
            self.recover(&mut transactions, former)?;
        }
        self.shared.is_recovered.store(true, Ordering::Release);
        self.shared.waker.notify();
        while let Ok(output) = self.outputs.recv() {
            transactions.write(&output, lineage)?;
            self.shared.has_committed.store(true, Ordering::Release);
            self.shared.written.store(output.epoch, Ordering::Release);
            self.shared.waker.notify();
        }
        Ok(())
    }

    /// Writes what the checkpoint holds of an id and the topic does not.
    fn recover(&self, transactions: &mut Transactions, former: &Former) -> Result<()> {
        if former.outputs.is_empty() {
            return Ok(());
        }
        let progress = transactions.progress()?;
        if progress.is_none() && former.is_known {
            return Err(Error::state(
                "the brokers no longer know which epoch was written last ('offsets.retention.minutes'), so the last one could come twice",
            )
            .at(&self.around.writing.table)
            .remedy("to accept that, start once with 'sink.delivery-guarantee' = 'at-least-once', which writes it again"));
        }
        for output in former.outputs.values() {
            let (epoch, id) = (output.epoch, transactions.id.clone());
            if Some(epoch) <= progress {
                tracing::info!("epoch {epoch} of {id} was written by a former run");
            } else {
                transactions.write(output, former.lineage)?;
                tracing::info!("epoch {epoch} of {id}, which a former run left, is written now");
            }
        }
        Ok(())
    }
}
