//! The interface of everything that takes rows out.
//!
//! A sink instance is called by its worker and never blocks. Sinks over the network hand encoded batches to a task
//! through an outlet (io.rs) and are not ready while it is full; their stage then waits, and so, by backpressure,
//! does everything before it.

use crate::batch::Batch;
use crate::context::InstanceContext;
use crate::element::Epoch;
use crate::error::Result;
use crate::state::{StateReader, StateWriter};

/// Whether a sink is through with what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Ready {
    /// Done.
    Yes,
    /// Not yet: asked again when somebody rings the worker.
    NotYet,
}

/// One instance of a sink.
pub trait Sink: Send {
    /// Called once, before [`Sink::restore`]: connect, spawn tasks.
    ///
    /// # Errors
    /// Ends the job.
    fn open(&mut self, _context: &InstanceContext) -> Result<()> {
        Ok(())
    }

    /// Takes rows. Only called while [`Sink::is_ready`]; what one callback of the stage emits may come on top.
    ///
    /// # Errors
    /// Ends the job.
    fn write(&mut self, batch: Batch) -> Result<()>;

    /// False while the sink has no room.
    fn is_ready(&self) -> bool {
        true
    }

    /// The worker comes by, the first time when state is restored: see to what a task has left. Called often, also while
    /// the sink is not ready and when no rows come.
    ///
    /// # Errors
    /// Ends the job.
    fn attend(&mut self) -> Result<()> {
        Ok(())
    }

    /// The event time has moved on.
    ///
    /// # Errors
    /// Ends the job.
    fn on_watermark(&mut self, _time_ms: i64) -> Result<()> {
        Ok(())
    }

    /// Nothing more is coming right now: send what is buffered, so that nothing waits at rest.
    ///
    /// # Errors
    /// Ends the job.
    fn on_quiet(&mut self) -> Result<()> {
        Ok(())
    }

    /// Everything before belongs to `epoch`: write state, and answer `Yes` once all of it is delivered or in that
    /// state. Called again with an empty writer until it does; only the last writer counts.
    ///
    /// # Errors
    /// Ends the job.
    fn on_barrier(&mut self, _epoch: Epoch, _state: &mut StateWriter) -> Result<Ready> {
        Ok(Ready::Yes)
    }

    /// Every instance's state of `epoch` is safe: commit what waits for it.
    ///
    /// # Errors
    /// Ends the job.
    fn on_checkpoint_complete(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }

    /// Takes over state that former instances wrote.
    ///
    /// # Errors
    /// Ends the job.
    fn restore(&mut self, _state: &StateReader) -> Result<()> {
        Ok(())
    }

    /// Nothing more will come: deliver what is left. Called until it answers `Yes`.
    ///
    /// # Errors
    /// Ends the job.
    fn finish(&mut self) -> Result<Ready> {
        Ok(Ready::Yes)
    }

    /// Nothing more will come, to a sink that commits with checkpoints: as at a barrier, what is left goes into `state`,
    /// and is committed when `epoch`, or a later one, is complete. Called as [`Sink::on_barrier`] is. Sinks that deliver
    /// at once have [`Sink::finish`].
    ///
    /// # Errors
    /// Ends the job.
    fn on_end(&mut self, _epoch: Epoch, _state: &mut StateWriter) -> Result<Ready> {
        self.finish()
    }

    /// False while something waits to be committed. The job's end waits for it, behind its last epoch.
    ///
    /// # Errors
    /// Ends the job.
    fn is_committed(&self) -> Result<bool> {
        Ok(true)
    }

    /// True when the sink is not ready because it holds all the uncommitted rows it may: a checkpoint is then taken at
    /// once, and while its barrier is on the way the sink is given the rows before it all the same.
    fn wants_checkpoint(&self) -> bool {
        false
    }
}
