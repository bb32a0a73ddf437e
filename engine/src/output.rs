//! What an operator or source gets to put its rows, watermarks and timers into.
//!
//! Emitting calls the operators below at once (chain.rs makes the call); what goes to another stage ends in an exchange.

use std::time::Duration;

use crate::batch::Batch;
use crate::chain::{Edge, Node, Run, deliver_batch, deliver_control, expect_partitions};
use crate::clock::{Clock, ClockRef};
use crate::element::Element;
use crate::error::Result;
use crate::metrics::OperatorMetrics;
use crate::operator::MAIN;

/// When a node's timers are due, `i64::MAX` for never.
pub(crate) struct Timers {
    pub steady_ms: i64,
    pub wall_ms: i64,
}

impl Timers {
    /// None, or one at once.
    pub fn new(is_due: bool) -> Self {
        Self { steady_ms: if is_due { i64::MIN } else { i64::MAX }, wall_ms: i64::MAX }
    }

    /// The earliest of both.
    pub fn and(&self, other: &Self) -> Self {
        Self { steady_ms: self.steady_ms.min(other.steady_ms), wall_ms: self.wall_ms.min(other.wall_ms) }
    }

    /// Takes out those that are due. True when there was one.
    pub fn take_due(&mut self, clock: &ClockRef) -> bool {
        let is_steady_due = self.steady_ms < i64::MAX && self.steady_ms <= clock.steady_ms();
        let is_wall_due = self.wall_ms < i64::MAX && self.wall_ms <= clock.now_ms();
        if is_steady_due {
            self.steady_ms = i64::MAX;
        }
        if is_wall_due {
            self.wall_ms = i64::MAX;
        }
        is_steady_due || is_wall_due
    }

    /// How long until one is due, if there is one.
    pub fn wait(&self, clock: &ClockRef) -> Option<Duration> {
        let until = |at_ms: i64, now_ms: fn(&dyn Clock) -> i64| {
            (at_ms < i64::MAX).then(|| u64::try_from(at_ms.saturating_sub(now_ms(&**clock))).unwrap_or(0))
        };
        let steady = until(self.steady_ms, |clock| clock.steady_ms());
        let wall = until(self.wall_ms, |clock| clock.now_ms());
        steady.into_iter().chain(wall).min().map(Duration::from_millis)
    }
}

/// Where an operator or source puts what it produces. Emitting calls the operators below at once; what they refuse
/// comes back as the error of the emit.
pub struct Output<'a> {
    pub(crate) below: &'a mut [Node],
    pub(crate) base: usize,
    pub(crate) children: &'a [Edge],
    pub(crate) metrics: &'a OperatorMetrics,
    pub(crate) timers: &'a mut Timers,
    pub(crate) watermark_ms: &'a mut i64,
    /// Rows go out under this node's own last watermark, not under their input's.
    pub(crate) own_clock: bool,
    pub(crate) run: &'a mut Run,
}

impl Output<'_> {
    /// Emits rows on the main output.
    ///
    /// # Errors
    /// What the operators below answer.
    pub fn emit(&mut self, batch: Batch) -> Result<()> {
        self.emit_to(MAIN, batch)
    }

    /// Emits rows on output `port`. Rows on an output that nothing is connected to are dropped: count them first.
    ///
    /// # Errors
    /// What the operators below answer.
    pub fn emit_to(&mut self, port: u8, mut batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if port == MAIN {
            self.metrics.rows_out.add(batch.num_rows() as u64);
            self.metrics.bytes_out.add(batch.num_bytes() as u64);
        }
        if batch.ingested_ns == 0 {
            batch.ingested_ns = self.run.ingested_ns;
        }
        let saved = self.run.input_clock_ms;
        if self.own_clock {
            self.run.input_clock_ms = *self.watermark_ms;
        }
        let mut rest = self.children.iter().filter(|edge| edge.port == port).peekable();
        let mut batch = Some(batch);
        while let Some(edge) = rest.next() {
            // The last child gets the batch itself: a chain never clones.
            let piece = if rest.peek().is_some() { batch.clone() } else { batch.take() };
            if let Some(piece) = piece {
                deliver_batch(self.below, self.base, edge.to, 0, piece, self.run)?;
            }
        }
        self.run.input_clock_ms = saved;
        Ok(())
    }

    /// True when something is connected to output `port`.
    pub fn is_connected(&self, port: u8) -> bool {
        self.children.iter().any(|edge| edge.port == port)
    }

    /// Emits a watermark: no row at or below `time_ms` will be emitted any more. Only for sources, and for operators
    /// that do not forward watermarks. One that does not move forward is ignored.
    ///
    /// # Errors
    /// What the operators below answer.
    pub fn watermark(&mut self, time_ms: i64) -> Result<()> {
        if time_ms <= *self.watermark_ms {
            return Ok(());
        }
        *self.watermark_ms = time_ms;
        self.metrics.set_watermark_ms(time_ms);
        let ingested_ns = self.run.ingested_ns;
        self.control(&Element::Watermark { time_ms, ingested_ns })
    }

    /// Says that this stream has gone quiet and must not hold back others.
    ///
    /// # Errors
    /// What the operators below answer.
    pub fn idle(&mut self) -> Result<()> {
        self.control(&Element::Idle)
    }

    /// Says that this instance reads `partitions`, beside those it said before. The stream's watermark stays back until
    /// each of them has had a row, or has been idle for as long as its table allows; after a restore it stays where
    /// theirs had been. For sources with several partitions: before the first row of any, and all that were found together
    /// in one call. An instance that reads none says that it is idle, or it would hold back the others for ever.
    ///
    /// # Errors
    /// What the operators below answer.
    pub fn expect_partitions(&mut self, partitions: &[u32]) -> Result<()> {
        for edge in self.children {
            expect_partitions(self.below, self.base, edge.to, partitions, self.run)?;
        }
        Ok(())
    }

    fn control(&mut self, element: &Element) -> Result<()> {
        for edge in self.children {
            deliver_control(self.below, self.base, edge.to, element, self.run)?;
        }
        Ok(())
    }

    /// Asks for [`on_timer`](crate::Operator::on_timer) at `at_ms` by [`Output::now_ms`]. Only the earliest is kept: set the
    /// next one when it fires.
    pub fn set_timer(&mut self, at_ms: i64) {
        self.timers.steady_ms = self.timers.steady_ms.min(at_ms);
    }

    /// The same, at `at_ms` by [`Output::wall_ms`].
    pub fn set_wall_timer(&mut self, at_ms: i64) {
        self.timers.wall_ms = self.timers.wall_ms.min(at_ms);
    }

    /// The job's time: ms since 1970 as the wall clock was when the process began, and what has passed since. For how long
    /// something is kept, held back or waited for, whatever the wall clock is set to meanwhile.
    pub fn now_ms(&self) -> i64 {
        self.run.clock.steady_ms()
    }

    /// The wall clock, in ms since 1970: for times that rows get. It may step.
    pub fn wall_ms(&self) -> i64 {
        self.run.clock.now_ms()
    }

    /// The watermark under which the rows being processed were sent: lateness is judged against it, so that the
    /// answer does not depend on what other channels have delivered meanwhile. A batch's own clocks come first.
    pub fn input_clock_ms(&self) -> i64 {
        self.run.input_clock_ms
    }

    /// This instance's counters.
    pub fn metrics(&self) -> &OperatorMetrics {
        self.metrics
    }
}
