//! The worker's side of a PostgreSQL sink: gathers rows as text and hands them to the delivery task.
//!
//! Invariants: rows wait here no longer than the stream is busy (`on_quiet`), or 'sink.buffer-flush.interval' on one
//! that never rests; at most 'sink.buffer-flush.max-rows' are handed over at once. A barrier passes when all rows
//! before it are committed or with the dead letters, so there is no state; with state on disk they go into an outbox instead,
//! a barrier passes when they are safe there, and the state is its. What a checkpoint has of a sink that delivered
//! exactly once is handed over first.

use std::sync::Arc;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::outbox::Outbox;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Ready, Result, Sink};

use crate::way::Way;

use super::POSTGRES;
use super::delivery;
use super::epoch::EpochRows;
use super::rows::Rows;
use super::settings::Settings;
use super::stored::{self, Handed};

/// One instance of a PostgreSQL sink.
pub(super) struct PostgresSink {
    settings: Arc<Settings>,
    open: Option<Rows>,
    running: Option<Running>,
}

/// What there is once the sink is open.
struct Running {
    way: Way<Handed>,
    errors: RowErrors,
    /// Restored, until the outbox can take it.
    restored: Vec<Rows>,
    /// A record's bytes, kept for their memory.
    record: Vec<u8>,
    context: InstanceContext,
}

impl Running {
    fn hand_over(&mut self, rows: Rows, settings: &Settings) -> Result<()> {
        match &mut self.way {
            Way::Direct(delivery) => {
                let bytes = rows.num_bytes();
                delivery.outlet.send(Handed { rows, record: None }, bytes)
            }
            Way::Outbox(outbox, _) => {
                stored::write(&mut self.record, &rows, &settings.schema);
                outbox.put(settings.target_name().as_bytes(), &self.record);
                Ok(())
            }
        }
    }
}

impl PostgresSink {
    /// A sink that is still to be opened.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, open: None, running: None }
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::internal("the PostgreSQL sink was not opened"))
    }

    /// Hands over what was gathered.
    fn close(&mut self) -> Result<()> {
        let (rows, settings) = (self.open.take(), Arc::clone(&self.settings));
        let running = self.running()?;
        running.way.check()?;
        rows.map_or(Ok(()), |rows| running.hand_over(rows, &settings))
    }
}

impl Sink for PostgresSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let settings = Arc::clone(&self.settings);
        let way = match Outbox::of(context, POSTGRES, settings.outbox)? {
            None => Way::Direct(delivery::start(settings, context)?),
            Some(mut outbox) => {
                let (task, outlet) = delivery::start_behind(settings, context, outbox.signal())?;
                outbox.send_into(outlet, self.settings.outlet_bytes_max);
                Way::Outbox(Box::new(outbox), task)
            }
        };
        let errors = context.row_errors(self.settings.on_error);
        let (restored, record) = (Vec::new(), Vec::new());
        self.running = Some(Running { way, errors, restored, record, context: context.clone() });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let running = self.running()?;
        running.way.check()?;
        let now_ns = running.context.clock.monotonic_ns();
        let mut from = 0;
        while from < batch.num_rows() {
            let columns = self.settings.schema.fields().len();
            let open = self.open.get_or_insert_with(|| Rows::opened(columns, now_ns));
            let room = self.settings.rows_max.saturating_sub(open.len()).max(1);
            let count = room.min(batch.num_rows() - from);
            open.append(&batch.slice(from, count))?;
            let is_full = open.len() >= self.settings.rows_max;
            let waited_ns = u128::from(now_ns.saturating_sub(open.opened_ns));
            from += count;
            if is_full || waited_ns >= self.settings.interval.as_nanos() {
                self.close()?;
            }
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let columns = self.settings.schema.fields().len();
        let mut epochs = Vec::new();
        for blob in state.blobs().filter(|blob| !Outbox::is_snapshot(blob)) {
            epochs.push(EpochRows::read(blob, columns)?.1);
        }
        epochs.sort_by_key(|rows| rows.epoch);
        let running = self.running()?;
        running.restored = epochs.into_iter().flat_map(|epoch| epoch.statements).collect();
        running.way.restore(&running.context, state)
    }

    fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.way.is_ready())
    }

    fn wants_checkpoint(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.way.wants_checkpoint())
    }

    fn attend(&mut self) -> Result<()> {
        let settings = Arc::clone(&self.settings);
        let running = self.running()?;
        running.way.attend(&running.errors)?;
        std::mem::take(&mut running.restored)
            .into_iter()
            .try_for_each(|rows| running.hand_over(rows, &settings))
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.close()
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.close()?;
        let running = self.running()?;
        running.way.on_barrier(epoch, state, &running.errors)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        self.running()?.way.on_checkpoint_complete(epoch)
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.close()?;
        let running = self.running()?;
        running.way.on_end(epoch, state, &running.errors)
    }
}
