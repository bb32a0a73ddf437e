//! What goes outside, safe on disk until it is through: a dead endpoint holds up neither checkpoints nor other sinks.
//!
//! A sink puts records in ([`Outbox::put`]); the log's thread writes and syncs them (journal/mod.rs: the same log that
//! sources have); the pump (pump.rs) reads what is written, in the order that is wanted (feed.rs), and hands it to the
//! connector's task with a [`Ticket`], by which the task says what became of it. A barrier passes when what was put in
//! before it is safe here, not when it is delivered. What is pending, done and refused is the ledger's (ledger.rs).
//!
//! After a kill: the checkpoint says which record its epoch put in last. What is behind that counts as done, because the
//! sources give its rows again; before it, what was not done is sent. So each record goes out at least once, and those
//! that were delivered after the checkpoint go out again as they were, or as the same rows make them again.
//!
//! Limits: bytes on disk ([`OUTBOX_OPTIONS`]), at which the sink is not ready; what waits to be written, as in the
//! journal; what is on its way, by the connector's outlet. A full disk is tried again, a failed sync ends the job.

mod at_rest;
mod feed;
mod ledger;
mod marks;
mod pump;
mod record;
mod settings;
mod shared;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use at_rest::{OutboxAtRest, OutboxesAtRest, Waiting, leave};
pub use feed::Order;
pub use pump::{Parcel, expired};
pub use settings::{OUTBOX_OPTIONS, OutboxSettings};
pub use ticket::Ticket;

use feed::Feed;
use ledger::Ledger;
use pump::{Pump, Pumping};
use shared::Shared;

use crate::clock::ClockRef;
use crate::context::InstanceContext;
use crate::dead_letter::RowErrors;
use crate::disk::folder::Folder;
use crate::disk::{Disk, RealDisk};
use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::io::OutletSender;
use crate::journal::{Journal, Limits};
use crate::metrics::OperatorMetrics;
use crate::park::Signal;
use crate::sink::Ready;
use crate::state::{StateReader, StateWriter};

/// How long the end of a job waits for an outbox that does not get on.
const END_WAIT: Duration = Duration::from_secs(10);
/// Holds the number of a run without a checkpoint.
const FIRST_RUN: &str = "first-run";

/// Starts the pump, once what is to be sent is known.
type Start = Box<dyn FnOnce(Feed) -> Result<Pump> + Send>;

/// One sink instance's outbox. See the module's page.
pub struct Outbox {
    /// The connector's name, which each record has.
    connector: &'static str,
    settings: OutboxSettings,
    /// Of the record that is put in, kept for its memory.
    head: Vec<u8>,
    // Dropped before the journal, which it reads.
    pump: Option<Pump>,
    journal: Journal,
    disk: Arc<dyn Disk>,
    folder: Folder,
    shared: Arc<Shared>,
    /// There until the first time the worker comes by.
    start: Option<Start>,
    is_restored: bool,
    /// The number of a run that no checkpoint holds yet; `true` where it is on disk.
    first_run: Option<(u64, bool)>,
    clock: ClockRef,
    metrics: Arc<OperatorMetrics>,
    /// How many records were settled when an end last looked, and when that was.
    progress: Option<(u64, u64)>,
}

impl Outbox {
    /// The outbox of a sink instance of `connector`, where its table wants one and its job keeps state on disk. A sink
    /// without one calls [`leave`] when it is restored.
    ///
    /// # Errors
    /// If its folder cannot be used.
    pub fn of(
        context: &InstanceContext,
        connector: &'static str,
        settings: Option<OutboxSettings>,
    ) -> Result<Option<Self>> {
        let (Some(settings), Some(path)) = (settings, &context.journal_folder) else { return Ok(None) };
        let disk = RealDisk::open(path).map_err(|error| {
            Error::state(format!("the outbox's folder {} cannot be used: {error}", path.display()))
                .remedy("give --state a folder that this user may write to")
        })?;
        Self::on(Arc::new(disk), connector, settings, context).map(Some)
    }

    fn on(
        disk: Arc<dyn Disk>,
        connector: &'static str,
        settings: OutboxSettings,
        context: &InstanceContext,
    ) -> Result<Self> {
        let folder = Folder::on(Arc::clone(&disk))?;
        let first_run = match folder.names()?.iter().any(|name| name == FIRST_RUN) {
            true => {
                let bytes = folder.read(FIRST_RUN)?;
                bytes.first_chunk().map(|bytes| (u64::from_le_bytes(*bytes), true))
            }
            false => None,
        };
        let (worker, clock) = (Arc::clone(&context.waker), Arc::clone(&context.clock));
        let signal = Arc::<Signal>::default();
        let limits = Limits::of(settings.bytes_max);
        let journal = Journal::on(
            Arc::clone(&disk),
            limits,
            Arc::clone(&worker),
            Some(Arc::clone(&signal)),
            Arc::clone(&clock),
        )?;
        let metrics = Arc::clone(&context.metrics);
        let shared = Arc::new(Shared::new(journal.tail(), Arc::clone(&metrics), worker, signal));
        Ok(Self {
            connector,
            settings,
            head: Vec::new(),
            pump: None,
            journal,
            disk,
            folder,
            shared,
            start: None,
            is_restored: false,
            first_run,
            clock,
            metrics,
            progress: None,
        })
    }

    /// A number that stays the same until the first checkpoint is complete, `proposed` in a run that is the first: so that
    /// what is made of the rows of a run that was killed before is the same again.
    pub fn first_run(&mut self, proposed: u64) -> u64 {
        self.first_run.get_or_insert((proposed, false)).0
    }

    /// Whether `blob` is what [`Outbox::on_barrier`] wrote.
    pub fn is_snapshot(blob: &[u8]) -> bool {
        Ledger::is_snapshot(blob)
    }

    /// Who rings the pump: an outlet that has room again.
    pub fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.shared.pump)
    }

    /// What is sent goes into `outlet`, from the first [`Outbox::attend`] on.
    pub fn send_into<T: Parcel>(&mut self, outlet: OutletSender<T>, outlet_bytes_max: usize) {
        let (ttl, clock, shared) = (self.settings.ttl, Arc::clone(&self.clock), Arc::clone(&self.shared));
        self.start = Some(Box::new(move |feed| {
            Pump::start(Pumping { feed, outlet, outlet_bytes_max, ttl, clock, shared })
        }));
    }

    /// Goes on from what [`Outbox::on_barrier`] wrote, if it is among `state`.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn restore(&mut self, state: &StateReader) -> Result<()> {
        let Some(blob) = state.blobs().find(|blob| Self::is_snapshot(blob)) else { return Ok(()) };
        let there = self.journal.last();
        self.shared.with(|ledger| ledger.restore(blob, there))?;
        let (last, _) = Ledger::read_snapshot(blob)?;
        self.journal.go_on_behind(last, last);
        self.is_restored = true;
        Ok(())
    }

    /// The worker comes by: begins to send, the first time, and puts what was refused with the dead letters.
    ///
    /// # Errors
    /// If the disk failed, or the table says that a refused row ends the job.
    pub fn attend(&mut self, errors: &RowErrors) -> Result<()> {
        if let Some(start) = self.start.take() {
            self.begin(start)?;
        }
        if let Some(error) = self.shared.failed() {
            return Err(error);
        }
        if self.shared.with(|ledger| ledger.has_refused()) {
            for refused in self.shared.with(Ledger::take_refused) {
                refused.rows.into_iter().try_for_each(|(row, error)| errors.reject(&row, error))?;
            }
            self.shared.pump.notify();
        }
        Ok(())
    }

    fn begin(&mut self, start: Start) -> Result<()> {
        if self.is_restored {
            self.forget_first_run()?;
        } else {
            let there = self.journal.last();
            let (number, was_killed) = self.first_run.unwrap_or((0, false));
            // Killed before its first checkpoint: the sources give all rows again.
            self.shared.with(|ledger| ledger.begin(there, !was_killed));
            if !was_killed {
                self.folder.write(FIRST_RUN, |to| to.write_all(&number.to_le_bytes()))?;
                self.first_run = Some((number, true));
            }
        }
        let todo = self.shared.with(|ledger| ledger.todo());
        let pending = self.shared.with(|ledger| ledger.pending());
        if pending > 0 {
            tracing::info!(table = %self.metrics.operator, "{pending} requests of an earlier run are sent first");
        }
        let feed = Feed::new(&self.disk, self.settings.order, todo, self.journal.last());
        self.pump = Some(start(feed)?);
        Ok(())
    }

    fn forget_first_run(&mut self) -> Result<()> {
        match self.first_run.take() {
            Some((_, true)) => self.folder.remove(FIRST_RUN),
            _ => Ok(()),
        }
    }

    /// Puts a record in, under a title for people.
    pub fn put(&mut self, title: &[u8], body: &[u8]) {
        let time_ms = self.clock.steady_ms();
        record::head(&mut self.head, time_ms, self.connector, title);
        let number = self.journal.appending().push(&[&self.head, body]);
        self.shared.with(|ledger| ledger.put(number, time_ms));
    }

    /// True when all that was put in is through.
    pub fn is_empty(&self) -> bool {
        self.shared.with(|ledger| ledger.pending()) == 0
    }

    /// Gives up its end of the outlet: what is still in it, the next run sends.
    pub fn stop_sending(&mut self) {
        (self.start, self.pump) = (None, None);
    }

    /// False while nothing more may be put in.
    pub fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    /// True when there is no room, and a checkpoint would make some.
    pub fn wants_checkpoint(&self) -> bool {
        !self.has_room() && self.shared.with(|ledger| ledger.awaits_checkpoint())
    }

    /// Writes its state, once all that was put in is safe.
    ///
    /// # Errors
    /// As of [`Outbox::attend`].
    pub fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter, errors: &RowErrors) -> Result<Ready> {
        self.attend(errors)?;
        self.journal.report(&self.metrics);
        if self.journal.safe()? < self.journal.last() {
            return Ok(Ready::NotYet);
        }
        state.put_blob(self.shared.with(|ledger| ledger.snapshot(epoch)));
        Ok(Ready::Yes)
    }

    /// `epoch` is complete.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        self.shared.with(|ledger| ledger.on_checkpoint_complete(epoch));
        self.forget_first_run()
    }

    /// Nothing more will be put in: waits until all is through, as long as it gets on; what then is left, the next run sends.
    ///
    /// # Errors
    /// As of [`Outbox::attend`].
    pub fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter, errors: &RowErrors) -> Result<Ready> {
        self.attend(errors)?;
        self.shared.is_watched.store(true, Ordering::Release);
        self.shared.pump.notify();
        let (settled, now_ns) = (self.shared.settled(), self.clock.monotonic_ns());
        let since_ns = match self.progress {
            Some((before, since_ns)) if before == settled => since_ns,
            _ => now_ns,
        };
        self.progress = Some((settled, since_ns));
        let pending = self.shared.with(|ledger| ledger.pending());
        if pending > 0 {
            if u128::from(now_ns.saturating_sub(since_ns)) < END_WAIT.as_nanos() {
                return Ok(Ready::NotYet);
            }
            tracing::warn!(
                table = %self.metrics.operator,
                "{pending} requests were not delivered and wait in the outbox: the next run sends them"
            );
        }
        self.on_barrier(epoch, state, errors)
    }
}
