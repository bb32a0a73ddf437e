//! The worker's side of a PostgreSQL sink that delivers exactly once: an epoch's rows are gathered, handed over with its
//! checkpoint, and committed in one transaction, with the epoch's number in the progress table, when that is complete.
//!
//! Invariants: every row is in the open epoch, in one that the checkpoint holds, or committed; the checkpoint holds
//! all that are not known to be committed, and a restore hands them over again: the transaction finds by its number
//! whether it was committed before. At 'outlet.max-bytes' of such rows the sink is not ready and asks for a checkpoint.

use std::sync::Arc;

use millstream_engine::element::Epoch;
use millstream_engine::keys::hash_bytes;
use millstream_engine::outbox::{self, Outbox};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Ready, Result, Sink, failpoint};

use crate::way::Delivery;

use super::delivery;
use super::epoch::EpochRows;
use super::rows::Rows;
use super::settings::Settings;

/// One instance of a PostgreSQL sink that delivers exactly once.
pub(super) struct ExactlyOnceSink {
    settings: Arc<Settings>,
    context: Option<InstanceContext>,
    /// Stays the same over restores, and is new where state begins anew.
    lineage: u64,
    open: EpochRows,
    /// Handed over at a barrier.
    handed_over: Vec<EpochRows>,
    /// Restored, to be handed to the task when it starts.
    restored: Vec<EpochRows>,
    delivery: Option<Delivery<EpochRows>>,
}

impl ExactlyOnceSink {
    /// A sink that is still to be opened.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            context: None,
            lineage: 0,
            open: EpochRows::default(),
            handed_over: Vec::new(),
            restored: Vec::new(),
            delivery: None,
        }
    }

    /// The running task, started when it is known whether there was a restore.
    fn delivery(&mut self) -> Result<&Delivery<EpochRows>> {
        if self.delivery.is_none() {
            let context =
                self.context.as_ref().ok_or_else(|| Error::internal("the PostgreSQL sink was not opened"))?;
            let writer = format!("{}/{}/{:016x}", context.job, context.metrics.operator, self.lineage);
            let delivery = delivery::start_epochs(Arc::clone(&self.settings), context, writer)?;
            for rows in self.restored.drain(..) {
                let bytes = rows.num_bytes();
                delivery.outlet.send(rows, bytes)?;
            }
            self.delivery = Some(delivery);
        }
        let delivery = self.delivery.as_ref().ok_or_else(|| Error::internal("the task is gone"))?;
        delivery.check()?;
        Ok(delivery)
    }

    fn held_bytes(&self) -> usize {
        self.open.num_bytes() + self.handed_over.iter().map(EpochRows::num_bytes).sum::<usize>()
    }

    fn hand_over(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.delivery()?;
        let rows = std::mem::take(&mut self.open);
        // One that is empty too: the next run learns the lineage from it.
        self.handed_over.push(EpochRows { epoch, ..rows });
        self.handed_over.iter().for_each(|rows| state.put_blob(rows.to_bytes(self.lineage)));
        failpoint::hit("postgres-handed-over");
        Ok(Ready::Yes)
    }
}

impl Sink for ExactlyOnceSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        if !context.is_durable() {
            return Err(Error::config("exactly-once delivery needs the pipeline's state to be on disk")
                .at(format!("table {}", self.settings.table))
                .remedy("run it with --state FOLDER, or use 'sink.delivery-guarantee' = 'at-least-once'"));
        }
        let born = format!("{} {} {}", self.settings.table, context.clock.now_ms(), std::process::id());
        self.lineage = hash_bytes(born.as_bytes());
        self.context = Some(context.clone());
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        if let Some(context) = &self.context {
            outbox::leave(context, state)?;
        }
        for blob in state.blobs().filter(|blob| !Outbox::is_snapshot(blob)) {
            let (lineage, rows) = EpochRows::read(blob, self.settings.schema.fields().len())?;
            self.lineage = lineage;
            if !rows.is_empty() {
                self.restored.push(rows);
            }
        }
        self.restored.sort_by_key(|rows| rows.epoch);
        self.delivery().map(|_| ())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.delivery()?;
        let (columns, rows_max) = (self.settings.schema.fields().len(), self.settings.rows_max);
        let mut from = 0;
        while from < batch.num_rows() {
            let statements = &mut self.open.statements;
            if statements.last().is_none_or(|rows| rows.len() >= rows_max) {
                statements.push(Rows::opened(columns, 0));
            }
            let Some(rows) = statements.last_mut() else { break };
            let count = (rows_max - rows.len()).min(batch.num_rows() - from);
            rows.append(&batch.slice(from, count))?;
            from += count;
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let in_flight = self.delivery.as_ref().map_or(0, |delivery| delivery.outlet.in_flight_bytes());
        self.held_bytes() + in_flight < self.settings.outlet_bytes_max
    }

    fn wants_checkpoint(&self) -> bool {
        !self.open.is_empty()
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.delivery().map(|_| ())
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        // What is on its way is in no other checkpoint than those before: it has to be in this one or committed.
        if !self.delivery()?.is_drained()? {
            return Ok(Ready::NotYet);
        }
        self.hand_over(epoch, state)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        let complete: Vec<EpochRows> = self.handed_over.extract_if(.., |rows| rows.epoch <= epoch).collect();
        let delivery = self.delivery()?;
        for rows in complete.into_iter().filter(|rows| !rows.is_empty()) {
            let bytes = rows.num_bytes();
            delivery.outlet.send(rows, bytes)?;
        }
        Ok(())
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.on_barrier(epoch, state)
    }

    fn is_committed(&self) -> Result<bool> {
        let is_drained = self.delivery.as_ref().map_or(Ok(true), Delivery::is_drained)?;
        Ok(is_drained && self.handed_over.is_empty())
    }
}
