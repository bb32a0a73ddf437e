//! The worker's side of a PostgreSQL sink: gathers rows as text and hands them to the delivery task.
//!
//! Invariants: rows wait here no longer than the stream is busy (`on_quiet`), or 'sink.buffer-flush.interval' on one
//! that never rests; at most 'sink.buffer-flush.max-rows' are handed over at once. A barrier passes when all rows
//! before it are committed or with the dead letters, so there is no state.

use std::sync::Arc;

use millstream_engine::element::Epoch;
use millstream_engine::state::StateWriter;
use millstream_engine::{Batch, ClockRef, Error, InstanceContext, Ready, Result, Sink};

use crate::delivery::Delivery;

use super::delivery;
use super::rows::Rows;
use super::settings::Settings;

/// One instance of a PostgreSQL sink.
pub(super) struct PostgresSink {
    settings: Arc<Settings>,
    open: Option<Rows>,
    running: Option<(Delivery<Rows>, ClockRef)>,
}

impl PostgresSink {
    /// A sink that is still to be opened.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, open: None, running: None }
    }

    fn running(&self) -> Result<&(Delivery<Rows>, ClockRef)> {
        self.running.as_ref().ok_or_else(|| Error::internal("the PostgreSQL sink was not opened"))
    }

    /// Hands over what was gathered.
    fn close(&mut self) -> Result<()> {
        match self.open.take() {
            Some(rows) => {
                let bytes = rows.num_bytes();
                self.running()?.0.outlet.send(rows, bytes)
            }
            None => Ok(()),
        }
    }

    /// Hands over what was gathered; answers whether nothing is left on the way.
    fn drain(&mut self) -> Result<Ready> {
        self.running()?.0.check()?;
        self.close()?;
        Ok(if self.running()?.0.is_drained()? { Ready::Yes } else { Ready::NotYet })
    }
}

impl Sink for PostgresSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let delivery = delivery::start(Arc::clone(&self.settings), context)?;
        self.running = Some((delivery, Arc::clone(&context.clock)));
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let (delivery, clock) = self.running()?;
        delivery.check()?;
        let now_ns = clock.monotonic_ns();
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

    fn is_ready(&self) -> bool {
        // After a failure the outlet is empty, so that the next write, which reports it, is not kept out.
        self.running.as_ref().is_some_and(|(delivery, _)| delivery.outlet.is_ready())
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.drain().map(|_| ())
    }

    fn on_barrier(&mut self, _epoch: Epoch, _state: &mut StateWriter) -> Result<Ready> {
        self.drain()
    }

    fn finish(&mut self) -> Result<Ready> {
        self.drain()
    }
}
