//! One instance of a stage: a head that gets elements (a source or a gate) and the chain they go through.
//!
//! [`StageInstance::run`] does a bounded piece of work and says whether it is worth calling again. It does nothing
//! while an output is full, and takes nothing new while an operator is in the middle of a firing; so backpressure
//! travels up the graph stage by stage.

use std::sync::Arc;
use std::time::Duration;

use crate::chain::Chain;
use crate::checkpoint::Checkpoints;
use crate::element::{Element, Epoch, WATERMARK_MAX_MS, WATERMARK_MIN_MS};
use crate::error::Result;
use crate::gate::Gate;
use crate::source::{SourcePoll, Stop};

/// Elements a gate hands over before the worker looks at its other stages again, if it takes no longer than [`RUN_NS`].
const ELEMENTS_PER_RUN: usize = 32;
/// How long a gate hands elements over, but for the last. A batch takes ten times as long while a large state is written.
const RUN_NS: u64 = 5_000_000;

pub(crate) enum Head {
    Source(SourceHead),
    Gate(Gate),
}

#[derive(Default)]
pub(crate) struct SourceHead {
    phase: SourcePhase,
    /// Barriers up to this epoch were sent.
    barrier: Epoch,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum SourcePhase {
    #[default]
    Running,
    /// Told to stop, and still giving what it had taken in.
    Stopping,
    /// Finished: the last watermark is to be sent.
    Finished,
    /// The last watermark was sent, the end is to follow.
    Closing,
    Ended,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was done: run again.
    Made,
    /// Nothing to do until the worker is rung, or until this much time has passed.
    Waiting(Option<Duration>),
    /// The end has passed through, and everything has left.
    Finished,
}

pub(crate) struct StageInstance {
    pub name: String,
    head: Head,
    chain: Chain,
    checkpoints: Arc<Checkpoints>,
    /// Epoch that sources and sinks were last told of.
    told: Epoch,
    /// Something was done since the sinks were last told that it is quiet.
    busy: bool,
    /// A sink had no room when it was last looked at.
    was_blocked: bool,
    finished: bool,
}

impl StageInstance {
    pub fn new(name: String, head: Head, chain: Chain, checkpoints: Arc<Checkpoints>) -> Self {
        let told = checkpoints.completed();
        let head = match head {
            Head::Source(source) => Head::Source(SourceHead { barrier: checkpoints.requested(), ..source }),
            gate => gate,
        };
        Self { name, head, chain, checkpoints, told, busy: false, was_blocked: false, finished: false }
    }

    /// Does a bounded piece of work. `drain` tells sources to take nothing new.
    pub fn run(&mut self, drain: bool) -> Result<Progress> {
        if self.finished {
            return Ok(Progress::Finished);
        }
        let mut progress = self.step(drain)?;
        if self.chain.step_snapshots(progress == Progress::Made)? {
            progress = Progress::Made;
        }
        match progress {
            Progress::Made => self.busy = true,
            Progress::Waiting(_) if self.busy => {
                self.busy = false;
                self.chain.quiet()?;
            }
            _ => {}
        }
        // A job that is suspended ends behind its last epoch, once sinks have committed it.
        let is_suspended = self.told > 0 && self.checkpoints.ends_with(self.told);
        if self.chain.is_finished()? || (is_suspended && self.chain.is_committed()?) {
            self.finished = true;
            return Ok(Progress::Finished);
        }
        Ok(progress)
    }

    fn step(&mut self, drain: bool) -> Result<Progress> {
        let completed = self.checkpoints.completed();
        if completed > self.told {
            self.told = completed;
            self.chain.checkpoint_complete(completed)?;
        }
        self.chain.attend()?;
        let blocked = self.chain.is_blocked();
        if !blocked && self.chain.ring_waiting()? {
            return Ok(Progress::Made);
        }
        if self.chain.is_pending() {
            return Ok(if self.chain.step_pending(blocked)? {
                Progress::Made
            } else {
                Progress::Waiting(None)
            });
        }
        if blocked {
            self.was_blocked = true;
            return Ok(Progress::Waiting(None));
        }
        if self.chain.is_waiting() {
            return Ok(Progress::Waiting(None));
        }
        if std::mem::take(&mut self.was_blocked) {
            // A sink that has room again may hold rows back, and is asked for them when it is quiet.
            self.busy = true;
        }
        if self.chain.emit_letters()? {
            return Ok(Progress::Made);
        }
        let wake = self.chain.next_timer();
        if wake.is_some_and(|wait| wait.is_zero()) {
            self.chain.fire_timers()?;
            return Ok(Progress::Made);
        }
        let progress = match &mut self.head {
            Head::Source(source) => step_source(source, &mut self.chain, &self.checkpoints, drain)?,
            Head::Gate(gate) => step_gate(gate, &mut self.chain)?,
        };
        Ok(match progress {
            Progress::Waiting(other) => Progress::Waiting(earlier(wake, other)),
            done => done,
        })
    }
}

/// The shorter of two waits, where there are any.
pub(crate) fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn step_gate(gate: &mut Gate, chain: &mut Chain) -> Result<Progress> {
    let mut made = false;
    let until_ns = chain.now_ns().saturating_add(RUN_NS);
    for _ in 0..ELEMENTS_PER_RUN {
        let Some(arrival) = gate.next()? else { break };
        made = true;
        chain.feed(arrival.port, arrival.element, arrival.clock_ms)?;
        if chain.is_pending() || chain.is_waiting() || chain.is_blocked() || chain.now_ns() > until_ns {
            break;
        }
    }
    chain.set_queue_bytes(gate.queue_bytes());
    Ok(if made { Progress::Made } else { Progress::Waiting(None) })
}

fn step_source(
    source: &mut SourceHead,
    chain: &mut Chain,
    checkpoints: &Checkpoints,
    drain: bool,
) -> Result<Progress> {
    if source.phase == SourcePhase::Ended {
        return Ok(Progress::Waiting(None));
    }
    let requested = checkpoints.requested();
    if requested > source.barrier {
        source.barrier = requested;
        chain.feed(0, Element::Barrier(requested), WATERMARK_MIN_MS)?;
        return Ok(Progress::Made);
    }
    if checkpoints.ends_with(source.barrier) {
        return Ok(Progress::Waiting(None));
    }
    match source.phase {
        SourcePhase::Running if drain => {
            source.phase = match chain.stop_source() {
                Stop::Now => SourcePhase::Finished,
                Stop::WhenFinished => SourcePhase::Stopping,
            };
            Ok(Progress::Made)
        }
        SourcePhase::Running | SourcePhase::Stopping => {
            match chain.poll_source()? {
                SourcePoll::Ready => Ok(Progress::Made),
                SourcePoll::Waiting => Ok(Progress::Waiting(None)),
                // A source is asked again whenever its worker comes round, which may be sooner.
                SourcePoll::Sleep(time) => Ok(Progress::Waiting(Some(time))),
                SourcePoll::Finished => {
                    source.phase = SourcePhase::Finished;
                    Ok(Progress::Made)
                }
            }
        }
        SourcePhase::Finished => {
            source.phase = SourcePhase::Closing;
            let last = Element::Watermark { time_ms: WATERMARK_MAX_MS, ingested_ns: 0 };
            chain.feed(0, last, WATERMARK_MIN_MS)?;
            Ok(Progress::Made)
        }
        SourcePhase::Closing => {
            source.phase = SourcePhase::Ended;
            chain.feed(0, Element::End, WATERMARK_MIN_MS)?;
            Ok(Progress::Made)
        }
        SourcePhase::Ended => Ok(Progress::Waiting(None)),
    }
}
