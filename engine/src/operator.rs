//! The interface of everything that transforms rows.
//!
//! An operator is a plain synchronous state machine: the engine calls it with a batch, a watermark, a timer or a
//! barrier, it answers by emitting into [`Output`], and each call runs to completion. It never blocks, spawns or
//! locks. One instance sees the rows of its key groups only. Its rows come from a channel (gate.rs) or from the
//! operator above it in its stage, and go to the operators below it by plain calls (chain.rs).

use crate::batch::Batch;
use crate::context::InstanceContext;
use crate::error::Result;
use crate::state::{StateReader, StateWriter};

pub use crate::output::Output;

/// Whether an operator has said all it has to say to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Firing {
    /// Everything is emitted.
    Done,
    /// More is to come: the engine calls [`Operator::resume`] until it is done, and in between lets the consumers
    /// of this stage catch up. Nothing else is delivered to the operator meanwhile.
    More,
}

/// The main output of an operator.
pub const MAIN: u8 = 0;
/// The side output that late rows go to, when something is connected to it.
pub const LATE: u8 = 1;
/// The side output that dead letters go to, when something is connected to it.
pub const DEAD: u8 = 2;

/// A transformation of streams. See the module's page for the rules of the game.
pub trait Operator: Send {
    /// Called once, before [`Operator::restore`] and before any row.
    ///
    /// # Errors
    /// Ends the job.
    fn open(&mut self, _context: &InstanceContext) -> Result<()> {
        Ok(())
    }

    /// Takes rows from input `port` (0 for operators with one input).
    ///
    /// # Errors
    /// Ends the job.
    fn process(&mut self, port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()>;

    /// The minimum of the inputs' watermarks has moved to `time_ms`. When done, the engine passes the watermark on
    /// (see [`Operator::forwards_watermarks`]).
    ///
    /// # Errors
    /// Ends the job.
    fn on_watermark(&mut self, _time_ms: i64, _out: &mut Output<'_>) -> Result<Firing> {
        Ok(Firing::Done)
    }

    /// A timer set with [`Output::set_timer`] or [`Output::set_wall_timer`] is due.
    ///
    /// # Errors
    /// Ends the job.
    fn on_timer(&mut self, _now_ms: i64, _out: &mut Output<'_>) -> Result<Firing> {
        Ok(Firing::Done)
    }

    /// A barrier is about to pass: emit what must not be part of the state. [`Operator::snapshot`] follows.
    ///
    /// # Errors
    /// Ends the job.
    fn on_barrier(&mut self, _out: &mut Output<'_>) -> Result<Firing> {
        Ok(Firing::Done)
    }

    /// The inputs have ended. A watermark of the maximum came before, if the stream has time.
    ///
    /// # Errors
    /// Ends the job.
    fn on_end(&mut self, _out: &mut Output<'_>) -> Result<Firing> {
        Ok(Firing::Done)
    }

    /// The next chunk, after a call answered [`Firing::More`].
    ///
    /// # Errors
    /// Ends the job.
    fn resume(&mut self, _out: &mut Output<'_>) -> Result<Firing> {
        Ok(Firing::Done)
    }

    /// The source reads these partitions, beside those it said before (see [`Output::expect_partitions`]).
    ///
    /// # Errors
    /// Ends the job.
    fn expect_partitions(&mut self, _partitions: &[u32], _out: &mut Output<'_>) -> Result<()> {
        Ok(())
    }

    /// True for operators that want [`Operator::on_timer`] called once as soon as the job runs.
    fn starts_with_timer(&self) -> bool {
        false
    }

    /// True while rows wait for an answer from outside, whose arrival rings the worker. Meanwhile nothing new is fed to
    /// the operator's stage, and [`Operator::on_ring`] is called whenever the worker comes round.
    fn is_waiting(&self) -> bool {
        false
    }

    /// The worker was rung, perhaps by an answer that the operator waits for. True when there was something to do.
    ///
    /// # Errors
    /// Ends the job.
    fn on_ring(&mut self, _out: &mut Output<'_>) -> Result<bool> {
        Ok(false)
    }

    /// False for operators that make their own watermarks with [`Output::watermark`].
    fn forwards_watermarks(&self) -> bool {
        true
    }

    /// Writes everything that later answers depend on. The live state goes on unchanged.
    ///
    /// # Errors
    /// Ends the job.
    fn snapshot(&mut self, _state: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    /// As [`Operator::snapshot`], for operators whose state may be so large that rows should not wait until all of it is
    /// written: those answer [`Firing::More`] and write the rest when [`Operator::resume_snapshot`] asks for it, as it is
    /// now, though rows and watermarks come meanwhile.
    ///
    /// # Errors
    /// Ends the job.
    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.snapshot(state).map(|()| Firing::Done)
    }

    /// Writes the next piece of a snapshot that was begun: a millisecond's work or so, for rows wait for it.
    ///
    /// # Errors
    /// Ends the job.
    fn resume_snapshot(&mut self, _state: &mut StateWriter) -> Result<Firing> {
        Ok(Firing::Done)
    }

    /// Takes over state that former instances wrote, which may have been more or fewer.
    ///
    /// # Errors
    /// Ends the job.
    fn restore(&mut self, _state: &StateReader) -> Result<()> {
        Ok(())
    }
}
