//! The interface of everything that brings rows in.
//!
//! A source instance is polled by its worker; it emits what it has as soon as it is asked and never waits. Sources
//! over the network run a task on the I/O runtime that fills an inlet (io.rs) and rings the worker; decoding is
//! done here, on the worker. Rows go straight down the chain of the source's stage.

use std::time::Duration;

use crate::context::InstanceContext;
use crate::element::Epoch;
use crate::error::Result;
use crate::output::Output;
use crate::state::{StateReader, StateWriter};

/// What a poll found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePoll {
    /// There may be more right away.
    Ready,
    /// Nothing until somebody rings the worker.
    Waiting,
    /// Nothing until this much time has passed, or somebody rings.
    Sleep(Duration),
    /// Nothing will come any more.
    Finished,
}

/// One instance of a source.
pub trait Source: Send {
    /// Called once, before [`Source::restore`]: connect, spawn tasks.
    ///
    /// # Errors
    /// Ends the job.
    fn open(&mut self, _context: &InstanceContext) -> Result<()> {
        Ok(())
    }

    /// Emits at most about `batch_rows_max` rows, then says how to go on. Never blocks.
    ///
    /// # Errors
    /// Ends the job.
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll>;

    /// Writes the position to go on from.
    ///
    /// # Errors
    /// Ends the job.
    fn snapshot(&mut self, _state: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    /// Goes on from positions that former instances wrote.
    ///
    /// # Errors
    /// Ends the job.
    fn restore(&mut self, _state: &StateReader) -> Result<()> {
        Ok(())
    }

    /// Everything up to the barrier of `epoch` is safe: acknowledge it.
    ///
    /// # Errors
    /// Ends the job.
    fn on_checkpoint_complete(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }

    /// The job drains: take nothing new from outside. What was already taken is still polled for, until
    /// [`SourcePoll::Finished`]; the default of this method makes the engine not poll again.
    fn stop(&mut self) -> Stop {
        Stop::Now
    }
}

/// What is left in a source that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nothing: do not poll again.
    Now,
    /// Some rows: poll until finished.
    WhenFinished,
}
