//! The inside of a stage instance: operators in topological order that call each other directly.
//!
//! Node 0 is the head (a source, or what the stage's gate feeds); every other node has exactly one node above it.
//! Streams meet only at gates (gate.rs), so nothing here waits for a second input. Invariants: a node is called with
//! nothing new while it has a call pending ([`Firing::More`], a sink not ready); a watermark, barrier or end reaches
//! a node's children only after the node is done with it; the head is not fed while any node has a call pending. A
//! snapshot that an operator writes in pieces is no pending call: the barrier has passed on, and rows come between them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::batch::Batch;
use crate::checkpoint::Checkpoints;
use crate::clock::ClockRef;
use crate::dead_letter::Route;
use crate::element::{Element, Epoch, WATERMARK_MIN_MS};
use crate::error::{Error, Result};
use crate::exchange::ExchangeWriter;
use crate::keys::{KEY_GROUPS, KeyGroup};
use crate::metrics::OperatorMetrics;
use crate::operator::{DEAD, Firing, Operator};
use crate::output::{Output, Timers};
use crate::sink::{Ready, Sink};
use crate::source::{Source, SourcePoll, Stop};
use crate::state::StateWriter;

mod snapshot;

/// What a node does.
pub(crate) enum Body {
    Source(Box<dyn Source>),
    Operator(Box<dyn Operator>),
    Sink(Box<dyn Sink>),
    Exchange(ExchangeWriter),
}

/// An edge to a node further down: rows emitted on `port` go to node `to`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub port: u8,
    pub to: usize,
}

/// A call that a node has not finished.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Watermark { time_ms: i64, ingested_ns: u64 },
    Timer,
    Barrier(Epoch),
    End,
}

pub(crate) struct Node {
    pub body: Body,
    pub children: Vec<Edge>,
    pub metrics: Arc<OperatorMetrics>,
    /// Where this node's dead letters wait, if they are to be rows.
    pub route: Option<Arc<Route>>,
    /// The key groups that this instance owns.
    pub key_groups: Range<KeyGroup>,
    /// The epoch whose snapshot is being written.
    snapshot: Option<Epoch>,
    timers: Timers,
    /// The last watermark passed on.
    watermark_ms: i64,
    pending: Option<Pending>,
    ended: bool,
}

impl Node {
    pub fn new(body: Body, children: Vec<Edge>, metrics: Arc<OperatorMetrics>) -> Self {
        let timer_at_start = matches!(&body, Body::Operator(operator) if operator.starts_with_timer());
        Self {
            body,
            children,
            metrics,
            route: None,
            key_groups: 0..KEY_GROUPS,
            snapshot: None,
            timers: Timers::new(timer_at_start),
            watermark_ms: WATERMARK_MIN_MS,
            pending: None,
            ended: false,
        }
    }
}

/// What a call needs to know of the stage it runs in.
pub(crate) struct Run {
    pub clock: ClockRef,
    pub checkpoints: Arc<Checkpoints>,
    /// The epoch of the last barrier that came to the head.
    barrier: Epoch,
    /// Watermark of the channel (or assigner) that the rows under way came through.
    pub input_clock_ms: i64,
    /// Stamp of what is under way.
    pub ingested_ns: u64,
    /// Time spent in nodes below the one that is running, to be left out of its own.
    child_ns: u64,
}

/// Runs `call` on the node at `at` with its output, and counts the time in its own code.
fn call<R>(
    nodes: &mut [Node],
    base: usize,
    at: usize,
    run: &mut Run,
    own_clock: bool,
    body: impl FnOnce(&mut Body, &mut Output<'_>) -> Result<R>,
) -> Result<R> {
    let Some((head, below)) = nodes.get_mut(at - base..).and_then(|rest| rest.split_first_mut()) else {
        return Err(Error::internal(format!("there is no node {at} in this stage")));
    };
    let started = run.clock.monotonic_ns();
    let outer_child_ns = std::mem::take(&mut run.child_ns);
    let mut out = Output {
        below,
        base: at + 1,
        children: &head.children,
        metrics: &head.metrics,
        timers: &mut head.timers,
        watermark_ms: &mut head.watermark_ms,
        own_clock,
        run,
    };
    let result = body(&mut head.body, &mut out);
    let total = run.clock.monotonic_ns().saturating_sub(started);
    head.metrics.busy_ns.add(total.saturating_sub(run.child_ns));
    run.child_ns = outer_child_ns + total;
    result.map_err(|error| error.at(&head.metrics.operator))
}

fn not_callable<R>() -> Result<R> {
    Err(Error::internal("this node cannot be called so"))
}

pub(crate) fn deliver_batch(
    nodes: &mut [Node],
    base: usize,
    at: usize,
    port: usize,
    batch: Batch,
    run: &mut Run,
) -> Result<()> {
    let node = &mut nodes[at - base];
    let (rows, ingested_ns) = (batch.num_rows() as u64, batch.ingested_ns);
    node.metrics.rows_in.add(rows);
    let own_clock = match &mut node.body {
        Body::Exchange(exchange) => return exchange.write(batch),
        Body::Operator(operator) => !operator.forwards_watermarks(),
        Body::Sink(_) => {
            node.metrics.bytes_in.add(batch.num_bytes() as u64);
            false
        }
        Body::Source(_) => true,
    };
    let saved = std::mem::replace(&mut run.ingested_ns, ingested_ns);
    let metrics = Arc::clone(&node.metrics);
    let is_sink = matches!(node.body, Body::Sink(_));
    let result = call(nodes, base, at, run, own_clock, |body, out| match body {
        Body::Operator(operator) => operator.process(port, batch, out),
        Body::Sink(sink) => sink.write(batch),
        Body::Source(_) | Body::Exchange(_) => not_callable(),
    });
    if is_sink && ingested_ns > 0 {
        metrics.record_latency(run.clock.monotonic_ns().saturating_sub(ingested_ns), rows);
    }
    run.ingested_ns = saved;
    result
}

/// Tells the operators of this stage; what is behind an exchange goes by watermarks.
pub(crate) fn expect_partitions(
    nodes: &mut [Node],
    base: usize,
    at: usize,
    partitions: &[u32],
    run: &mut Run,
) -> Result<()> {
    if !matches!(nodes[at - base].body, Body::Operator(_)) {
        return Ok(());
    }
    call(nodes, base, at, run, true, |body, out| match body {
        Body::Operator(operator) => operator.expect_partitions(partitions, out),
        _ => not_callable(),
    })?;
    let Some((head, below)) = nodes.get_mut(at - base..).and_then(|rest| rest.split_first_mut()) else {
        return Ok(());
    };
    for edge in &head.children {
        expect_partitions(below, at + 1, edge.to, partitions, run)?;
    }
    Ok(())
}

/// Delivers anything but a batch.
pub(crate) fn deliver_control(
    nodes: &mut [Node],
    base: usize,
    at: usize,
    element: &Element,
    run: &mut Run,
) -> Result<()> {
    let node = &mut nodes[at - base];
    if let Body::Exchange(exchange) = &mut node.body {
        node.ended |= matches!(element, Element::End);
        exchange.broadcast(element);
        return Ok(());
    }
    let pending = match element {
        Element::Idle => return forward(nodes, base, at, element, run),
        Element::Batch(_) => return Err(Error::internal("a batch is no control element")),
        Element::Watermark { time_ms, ingested_ns } => {
            Pending::Watermark { time_ms: *time_ms, ingested_ns: *ingested_ns }
        }
        Element::Barrier(epoch) => Pending::Barrier(*epoch),
        Element::End => Pending::End,
    };
    let stamp = match pending {
        Pending::Watermark { ingested_ns, .. } => ingested_ns,
        _ => 0,
    };
    let saved = std::mem::replace(&mut run.ingested_ns, stamp);
    let firing = call(nodes, base, at, run, true, |body, out| match (body, pending) {
        (Body::Operator(operator), Pending::Watermark { time_ms, .. }) => operator.on_watermark(time_ms, out),
        (Body::Operator(operator), Pending::Barrier(_)) => operator.on_barrier(out),
        (Body::Operator(operator), Pending::End) => operator.on_end(out),
        (Body::Sink(sink), Pending::Watermark { time_ms, .. }) => {
            sink.on_watermark(time_ms).map(|()| Firing::Done)
        }
        // Sinks answer barrier and end in `settle`, which asks until they are ready.
        _ => Ok(Firing::Done),
    })?;
    run.ingested_ns = saved;
    nodes[at - base].pending = Some(pending);
    if firing == Firing::Done {
        settle(nodes, base, at, run)?;
    }
    Ok(())
}

/// The node at `at` is done with its pending call: do what follows from it, if the sink or store is ready.
fn settle(nodes: &mut [Node], base: usize, at: usize, run: &mut Run) -> Result<bool> {
    let node = &mut nodes[at - base];
    let Some(pending) = node.pending else { return Ok(false) };
    let operator = node.metrics.operator.clone();
    let instance = node.metrics.instance;
    let element = match pending {
        Pending::Timer => None,
        Pending::Watermark { time_ms, ingested_ns } => {
            let forwards = match &node.body {
                Body::Operator(operator) => operator.forwards_watermarks(),
                _ => true,
            };
            (forwards && time_ms > node.watermark_ms).then(|| {
                node.watermark_ms = time_ms;
                node.metrics.set_watermark_ms(time_ms);
                Element::Watermark { time_ms, ingested_ns }
            })
        }
        Pending::Barrier(epoch) => {
            snapshot::finish(node, run)?;
            let mut state = StateWriter::of(node.key_groups.clone());
            let mut written = Firing::Done;
            match &mut node.body {
                Body::Source(source) => source.snapshot(&mut state)?,
                Body::Operator(operator) if run.checkpoints.keeps_state() => {
                    written = operator.begin_snapshot(&mut state)?;
                }
                Body::Sink(sink) => {
                    if sink.on_barrier(epoch, &mut state)? == Ready::NotYet {
                        return Ok(false);
                    }
                }
                Body::Operator(_) | Body::Exchange(_) => {}
            }
            snapshot::hand_over(node, epoch, state, written, run)?;
            Some(Element::Barrier(epoch))
        }
        Pending::End => {
            snapshot::finish(node, run)?;
            let mut state = StateWriter::of(node.key_groups.clone());
            if let Body::Sink(sink) = &mut node.body
                && sink.on_end(run.barrier + 1, &mut state).map_err(|error| error.at(&operator))?
                    == Ready::NotYet
            {
                return Ok(false);
            }
            match &mut node.body {
                Body::Source(source) => source.snapshot(&mut state)?,
                Body::Operator(operator) if run.checkpoints.keeps_state() => {
                    let mut written = operator.begin_snapshot(&mut state)?;
                    while written == Firing::More {
                        written = operator.resume_snapshot(&mut state)?;
                    }
                }
                Body::Operator(_) | Body::Sink(_) | Body::Exchange(_) => {}
            }
            node.ended = true;
            run.checkpoints.retire(&operator, instance, state.finish())?;
            Some(Element::End)
        }
    };
    node.pending = None;
    emit_letters(nodes, base, at, run)?;
    if let Some(element) = element {
        forward(nodes, base, at, &element, run)?;
    }
    Ok(true)
}

/// Emits the dead letters that wait at a node. True when there were any.
fn emit_letters(nodes: &mut [Node], base: usize, at: usize, run: &mut Run) -> Result<bool> {
    let Some(route) = &nodes[at - base].route else { return Ok(false) };
    let Some(letters) = route.take()? else { return Ok(false) };
    call(nodes, base, at, run, true, |_, out| out.emit_to(DEAD, letters))?;
    Ok(true)
}

fn forward(nodes: &mut [Node], base: usize, at: usize, element: &Element, run: &mut Run) -> Result<()> {
    let Some((head, below)) = nodes.get_mut(at - base..).and_then(|rest| rest.split_first_mut()) else {
        return Ok(());
    };
    for edge in &head.children {
        deliver_control(below, at + 1, edge.to, element, run)?;
    }
    Ok(())
}

/// The operators of one stage instance.
pub(crate) struct Chain {
    nodes: Vec<Node>,
    run: Run,
    /// Until then rows come first.
    rows_until_ns: u64,
}

impl Chain {
    pub fn new(nodes: Vec<Node>, clock: ClockRef, checkpoints: Arc<Checkpoints>) -> Self {
        let barrier = checkpoints.requested();
        let run = Run {
            clock,
            checkpoints,
            barrier,
            input_clock_ms: WATERMARK_MIN_MS,
            ingested_ns: 0,
            child_ns: 0,
        };
        Self { nodes, run, rows_until_ns: 0 }
    }

    /// Feeds the head with one element that came through a channel whose watermark is `clock_ms`.
    pub fn feed(&mut self, port: usize, element: Element, clock_ms: i64) -> Result<()> {
        self.run.input_clock_ms = clock_ms;
        self.run.child_ns = 0;
        if let Element::Barrier(epoch) = &element {
            self.run.barrier = *epoch;
        }
        match element {
            Element::Batch(batch) => deliver_batch(&mut self.nodes, 0, 0, port, batch, &mut self.run),
            control => deliver_control(&mut self.nodes, 0, 0, &control, &mut self.run),
        }
    }

    /// Tells the operators which partitions the source above the head reads; for tests of them.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn expect_partitions(&mut self, partitions: &[u32]) -> Result<()> {
        expect_partitions(&mut self.nodes, 0, 0, partitions, &mut self.run)
    }

    /// The job's monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.run.clock.monotonic_ns()
    }

    /// Polls the source at the head.
    pub fn poll_source(&mut self) -> Result<SourcePoll> {
        self.run.child_ns = 0;
        self.run.ingested_ns = self.run.clock.monotonic_ns().max(1);
        call(&mut self.nodes, 0, 0, &mut self.run, true, |body, out| match body {
            Body::Source(source) => source.poll(out),
            _ => not_callable(),
        })
    }

    /// Tells the source at the head that the job drains.
    pub fn stop_source(&mut self) -> Stop {
        match self.nodes.first_mut().map(|node| &mut node.body) {
            Some(Body::Source(source)) => source.stop(),
            _ => Stop::Now,
        }
    }

    /// True while an exchange or sink below has no room: the stage must not run.
    pub fn is_blocked(&mut self) -> bool {
        // What rows are about to change is written first, so they wait as well where the disk is behind.
        let mut blocked = self.is_writing_snapshot() && self.run.checkpoints.is_full();
        let awaits_barrier = self.run.checkpoints.requested() > self.run.barrier;
        for node in &mut self.nodes {
            // No short cut: asking a full exchange is also what makes its consumer wake us.
            blocked |= match &mut node.body {
                Body::Exchange(exchange) => exchange.is_full(),
                Body::Sink(sink) if sink.is_ready() => false,
                // Holding back the barrier that the sink waits for would be for ever.
                Body::Sink(sink) if sink.wants_checkpoint() => {
                    if !awaits_barrier {
                        self.run.checkpoints.hurry();
                    }
                    !awaits_barrier
                }
                Body::Sink(_) => true,
                _ => false,
            };
        }
        blocked
    }

    /// Emits the dead letters that wait. True when there were any.
    pub fn emit_letters(&mut self) -> Result<bool> {
        let mut any = false;
        for at in 0..self.nodes.len() {
            any |= emit_letters(&mut self.nodes, 0, at, &mut self.run)?;
        }
        Ok(any)
    }

    /// Has sinks see to what their tasks have left.
    pub fn attend(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Body::Sink(sink) = &mut node.body {
                sink.attend().map_err(|error| error.at(&node.metrics.operator))?;
            }
        }
        Ok(())
    }

    /// True while a node has a call pending.
    pub fn is_pending(&self) -> bool {
        self.nodes.iter().any(|node| node.pending.is_some())
    }

    /// Goes on with the lowest pending call that can. True when that was progress. While the outputs are `blocked`,
    /// operators do not emit further chunks; sinks are asked in any case.
    pub fn step_pending(&mut self, blocked: bool) -> Result<bool> {
        for at in (0..self.nodes.len()).rev() {
            let Some(pending) = self.nodes[at].pending else { continue };
            let firing = if matches!(self.nodes[at].body, Body::Operator(_)) {
                // What waits for an answer goes on when it has come.
                if blocked
                    || matches!(&self.nodes[at].body, Body::Operator(operator) if operator.is_waiting())
                {
                    continue;
                }
                if let Pending::Watermark { ingested_ns, .. } = pending {
                    self.run.ingested_ns = ingested_ns;
                }
                call(&mut self.nodes, 0, at, &mut self.run, true, |body, out| match body {
                    Body::Operator(operator) => operator.resume(out),
                    _ => not_callable(),
                })?
            } else {
                Firing::Done
            };
            match firing {
                Firing::More => return Ok(true),
                // A sink that is not ready holds back its own branch, not the others.
                Firing::Done if settle(&mut self.nodes, 0, at, &mut self.run)? => return Ok(true),
                Firing::Done => {}
            }
        }
        Ok(false)
    }

    /// True while an operator waits for an answer from outside.
    pub fn is_waiting(&self) -> bool {
        self.nodes.iter().any(|node| matches!(&node.body, Body::Operator(operator) if operator.is_waiting()))
    }

    /// Lets the operators that wait look for their answers. True when one had come.
    pub fn ring_waiting(&mut self) -> Result<bool> {
        let mut made = false;
        for at in (0..self.nodes.len()).rev() {
            if !matches!(&self.nodes[at].body, Body::Operator(operator) if operator.is_waiting()) {
                continue;
            }
            self.run.ingested_ns = 0;
            made |= call(&mut self.nodes, 0, at, &mut self.run, true, |body, out| match body {
                Body::Operator(operator) => operator.on_ring(out),
                _ => not_callable(),
            })?;
        }
        Ok(made)
    }

    /// How long until a timer is due, if there is one.
    pub fn next_timer(&self) -> Option<Duration> {
        let none = Timers::new(false);
        self.nodes.iter().fold(none, |earliest, node| earliest.and(&node.timers)).wait(&self.run.clock)
    }

    /// Fires the timers that are due. True when there was one.
    pub fn fire_timers(&mut self) -> Result<bool> {
        let now_ms = self.run.clock.steady_ms();
        let mut fired = false;
        for at in 0..self.nodes.len() {
            if self.nodes[at].pending.is_some() || !self.nodes[at].timers.take_due(&self.run.clock) {
                continue;
            }
            fired = true;
            self.run.ingested_ns = 0;
            let firing = call(&mut self.nodes, 0, at, &mut self.run, true, |body, out| match body {
                Body::Operator(operator) => operator.on_timer(now_ms, out),
                _ => Ok(Firing::Done),
            })?;
            if firing == Firing::More {
                self.nodes[at].pending = Some(Pending::Timer);
            }
        }
        Ok(fired)
    }

    /// Nothing more is coming right now.
    pub fn quiet(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Body::Sink(sink) = &mut node.body
                && !node.ended
            {
                sink.on_quiet().map_err(|error| error.at(&node.metrics.operator))?;
            }
        }
        Ok(())
    }

    /// Every instance's state of `epoch` is safe.
    pub fn checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        for node in &mut self.nodes {
            match &mut node.body {
                Body::Source(source) if !node.ended => source.on_checkpoint_complete(epoch)?,
                Body::Sink(sink) => {
                    sink.on_checkpoint_complete(epoch).map_err(|error| error.at(&node.metrics.operator))?
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// True when the end has passed every node, everything sent has left, and sinks have committed it.
    pub fn is_finished(&mut self) -> Result<bool> {
        let has_left = self.nodes.iter_mut().all(|node| {
            node.ended
                && match &mut node.body {
                    Body::Exchange(exchange) => exchange.is_flushed(),
                    _ => true,
                }
        });
        Ok(has_left && self.is_committed()?)
    }

    /// True when no sink has something left that a complete epoch lets it commit.
    pub fn is_committed(&self) -> Result<bool> {
        for node in &self.nodes {
            if let Body::Sink(sink) = &node.body
                && !sink.is_committed().map_err(|error| error.at(&node.metrics.operator))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets the gauge of bytes queued in front of the head.
    pub fn set_queue_bytes(&self, bytes: u64) {
        if let Some(head) = self.nodes.first() {
            head.metrics.queue_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn operator_mut(&mut self, at: usize) -> Option<&mut dyn Operator> {
        match self.nodes.get_mut(at).map(|node| &mut node.body) {
            Some(Body::Operator(operator)) => Some(operator.as_mut()),
            _ => None,
        }
    }
}
