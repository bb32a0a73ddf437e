//! A snapshot that an operator writes in pieces, behind a barrier that has passed on (chain.rs): a piece between rows, as
//! often as rows leave time for it, and all that is left in front of the next barrier or the end. Pieces go to the
//! job's checkpoints (checkpoint.rs).

use super::{Body, Chain, Node, Run};
use crate::element::Epoch;
use crate::error::Result;
use crate::operator::Firing;
use crate::state::StateWriter;

/// While rows come, a piece of a snapshot is written only when this many times as long as the last one took was spent on
/// them: a checkpoint may take an eighth of a worker, and all of one that has nothing else to do.
const ROWS_PER_SNAPSHOT: u64 = 7;

/// Puts a piece of a node's snapshot, which is the last where it is `written`.
pub(super) fn hand_over(
    node: &mut Node,
    epoch: Epoch,
    state: StateWriter,
    written: Firing,
    run: &mut Run,
) -> Result<()> {
    let (operator, instance) = (&node.metrics.operator, node.metrics.instance);
    if written == Firing::Done {
        node.snapshot = None;
        return run.checkpoints.put(epoch, operator, instance, state.finish());
    }
    node.snapshot = Some(epoch);
    run.checkpoints.add(epoch, operator, instance, state.finish())
}

/// Writes the next piece of a node's snapshot.
fn step(node: &mut Node, epoch: Epoch, run: &mut Run) -> Result<()> {
    let mut state = StateWriter::of(node.key_groups.clone());
    let written = match &mut node.body {
        Body::Operator(operator) => {
            operator.resume_snapshot(&mut state).map_err(|error| error.at(&node.metrics.operator))?
        }
        _ => Firing::Done,
    };
    hand_over(node, epoch, state, written, run)
}

/// Writes all that is left of a node's snapshot.
pub(super) fn finish(node: &mut Node, run: &mut Run) -> Result<()> {
    while let Some(epoch) = node.snapshot {
        step(node, epoch, run)?;
    }
    Ok(())
}

impl Chain {
    pub(super) fn is_writing_snapshot(&self) -> bool {
        self.nodes.iter().any(|node| node.snapshot.is_some())
    }

    /// Writes a piece of a snapshot, if it is time for one; it is where the worker has no rows to work on. True when one was
    /// written.
    pub fn step_snapshots(&mut self, has_rows: bool) -> Result<bool> {
        let Some((at, epoch)) =
            self.nodes.iter().enumerate().find_map(|(at, node)| Some((at, node.snapshot?)))
        else {
            return Ok(false);
        };
        let started_ns = self.run.clock.monotonic_ns();
        if (has_rows && started_ns < self.rows_until_ns) || self.run.checkpoints.is_full() {
            return Ok(false);
        }
        step(&mut self.nodes[at], epoch, &mut self.run)?;
        let ended_ns = self.run.clock.monotonic_ns();
        self.rows_until_ns = ended_ns + ROWS_PER_SNAPSHOT * ended_ns.saturating_sub(started_ns);
        Ok(true)
    }
}
