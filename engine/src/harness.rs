//! Runs one operator as data: elements in, rows and watermarks out. For tests of operators, here and elsewhere.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use parking_lot::Mutex;

use crate::batch::Batch;
use crate::chain::{Body, Chain, Edge, Node};
use crate::checkpoint::Checkpoints;
use crate::clock::ManualClock;
use crate::context::{InstanceContext, IoRuntime};
use crate::element::{Element, WATERMARK_MIN_MS};
use crate::error::Result;
use crate::keys::{KEY_GROUPS, KeyGroup, key_group_range};
use crate::metrics::OperatorMetrics;
use crate::operator::{Firing, LATE, MAIN, Operator};
use crate::sink::{Ready, Sink};
use crate::state::{InstanceSnapshot, MemoryStateStore, StateReader, StateWriter};

/// What came out of the operator, in order.
#[derive(Debug, Clone)]
pub enum Emitted {
    /// Rows on the main output.
    Rows(Batch),
    /// Rows on the late output.
    Late(Batch),
    /// A watermark.
    Watermark(i64),
}

/// One operator instance with its surroundings. Time stands still until [`OperatorHarness::advance`].
pub struct OperatorHarness {
    chain: Chain,
    clock: Arc<ManualClock>,
    emitted: Arc<Mutex<Vec<Emitted>>>,
    metrics: Arc<OperatorMetrics>,
    input_clock_ms: i64,
    key_groups: Range<KeyGroup>,
    /// How many chunks the last firing took.
    pub chunks: usize,
}

struct Collect {
    emitted: Arc<Mutex<Vec<Emitted>>>,
    late: bool,
}

impl Sink for Collect {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let item = if self.late { Emitted::Late(batch) } else { Emitted::Rows(batch) };
        self.emitted.lock().push(item);
        Ok(())
    }

    fn on_watermark(&mut self, time_ms: i64) -> Result<()> {
        if !self.late {
            self.emitted.lock().push(Emitted::Watermark(time_ms));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Ready> {
        Ok(Ready::Yes)
    }
}

impl OperatorHarness {
    /// A single instance that owns every key group.
    ///
    /// # Errors
    /// What the operator's `open` answers.
    pub fn new(operator: Box<dyn Operator>) -> Result<Self> {
        Self::instance_of(operator, 0, 1, &StateReader::default())
    }

    /// Instance `instance` of `parallelism`, restored from `state`.
    ///
    /// # Errors
    /// What the operator's `open` and `restore` answer.
    pub fn instance_of(
        mut operator: Box<dyn Operator>,
        instance: usize,
        parallelism: usize,
        state: &StateReader,
    ) -> Result<Self> {
        let clock = ManualClock::at(0);
        let metrics = OperatorMetrics::new("operator", "test", instance);
        let context = InstanceContext {
            job: "test".into(),
            instance,
            parallelism,
            key_groups: key_group_range(instance, parallelism),
            batch_rows_max: 4096,
            clock: clock.clone(),
            waker: Arc::default(),
            metrics: Arc::clone(&metrics),
            dead_letters: Arc::default(),
            dead_letter_route: None,
            io: IoRuntime::default(),
            journal_folder: None,
        };
        operator.open(&context)?;
        if !state.is_empty() {
            operator.restore(state)?;
        }
        let emitted = Arc::<Mutex<Vec<Emitted>>>::default();
        let collect = |late| {
            let body = Body::Sink(Box::new(Collect { emitted: Arc::clone(&emitted), late }));
            Node::new(body, Vec::new(), OperatorMetrics::new("collect", "sink", 0))
        };
        let edges = vec![Edge { port: MAIN, to: 1 }, Edge { port: LATE, to: 2 }];
        let nodes = vec![
            Node::new(Body::Operator(operator), edges, Arc::clone(&metrics)),
            collect(false),
            collect(true),
        ];
        let checkpoints = Checkpoints::new(Arc::new(MemoryStateStore::default()), 1, 0, Vec::new());
        let chain = Chain::new(nodes, clock.clone(), checkpoints);
        let key_groups = context.key_groups;
        Ok(Self { chain, clock, emitted, metrics, input_clock_ms: WATERMARK_MIN_MS, key_groups, chunks: 0 })
    }

    /// Feeds rows into input 0, and answers what came out.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn batch(&mut self, batch: Batch) -> Result<Vec<Emitted>> {
        self.feed(0, Element::Batch(batch))
    }

    /// Feeds rows into input `port`.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn batch_on(&mut self, port: usize, batch: Batch) -> Result<Vec<Emitted>> {
        self.feed(port, Element::Batch(batch))
    }

    /// Says which partitions the source above reads.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn expect_partitions(&mut self, partitions: &[u32]) -> Result<Vec<Emitted>> {
        self.chain.expect_partitions(partitions)?;
        self.settle()
    }

    /// Feeds a watermark, to the end of what it fires.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn watermark(&mut self, time_ms: i64) -> Result<Vec<Emitted>> {
        self.feed(0, Element::Watermark { time_ms, ingested_ns: 0 })
    }

    /// Feeds the end of the input.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn end(&mut self) -> Result<Vec<Emitted>> {
        self.feed(0, Element::End)
    }

    /// Moves the clock and fires what is due.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn advance(&mut self, ms: i64) -> Result<Vec<Emitted>> {
        self.clock.advance(ms);
        self.chain.fire_timers()?;
        self.settle()
    }

    /// Sets the wall clock forward by `ms`, or back, while no time passes, and fires what is due.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn step_wall(&mut self, ms: i64) -> Result<Vec<Emitted>> {
        self.clock.step(ms);
        self.chain.fire_timers()?;
        self.settle()
    }

    /// True while the operator waits for an answer from outside.
    pub fn is_waiting(&self) -> bool {
        self.chain.is_waiting()
    }

    /// Lets a waiting operator look for its answer.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn ring(&mut self) -> Result<Vec<Emitted>> {
        self.chain.ring_waiting()?;
        self.settle()
    }

    /// Lets a barrier pass: what `on_barrier` emits, and the state.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn snapshot(&mut self) -> Result<(Vec<Emitted>, InstanceSnapshot)> {
        let emitted = self.feed(0, Element::Barrier(1))?;
        while self.chain.step_snapshots(false)? {}
        let (mut state, mut written) = self.begin_snapshot()?;
        while written == Firing::More {
            let (piece, after) = self.resume_snapshot()?;
            state.groups.extend(piece.groups);
            state.blobs.extend(piece.blobs);
            written = after;
        }
        Ok((emitted, state))
    }

    /// Begins a snapshot, without the barrier: its first piece, and whether there are more.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn begin_snapshot(&mut self) -> Result<(InstanceSnapshot, Firing)> {
        self.piece(|operator, state| operator.begin_snapshot(state))
    }

    /// The next piece of the snapshot that was begun, and whether there are more.
    ///
    /// # Errors
    /// What the operator answers.
    pub fn resume_snapshot(&mut self) -> Result<(InstanceSnapshot, Firing)> {
        self.piece(|operator, state| operator.resume_snapshot(state))
    }

    fn piece(
        &mut self,
        write: impl FnOnce(&mut dyn Operator, &mut StateWriter) -> Result<Firing>,
    ) -> Result<(InstanceSnapshot, Firing)> {
        let mut state = StateWriter::of(self.key_groups.clone());
        let written = match self.chain.operator_mut(0) {
            Some(operator) => write(operator, &mut state)?,
            None => Firing::Done,
        };
        Ok((state.finish(), written))
    }

    /// State for an instance that owns `groups`, out of former instances' snapshots.
    pub fn gather(snapshots: &[InstanceSnapshot], groups: Range<KeyGroup>) -> StateReader {
        StateReader::gather(snapshots, &groups)
    }

    /// State for a single instance.
    pub fn gather_all(snapshots: &[InstanceSnapshot]) -> StateReader {
        Self::gather(snapshots, 0..KEY_GROUPS)
    }

    /// The operator's counters.
    pub fn metrics(&self) -> &OperatorMetrics {
        &self.metrics
    }

    fn feed(&mut self, port: usize, element: Element) -> Result<Vec<Emitted>> {
        let moves = match &element {
            Element::Watermark { time_ms, .. } => Some(*time_ms),
            _ => None,
        };
        self.chain.feed(port, element, self.input_clock_ms)?;
        if let Some(time_ms) = moves {
            self.input_clock_ms = self.input_clock_ms.max(time_ms);
        }
        self.settle()
    }

    fn settle(&mut self) -> Result<Vec<Emitted>> {
        self.chunks = 0;
        while self.chain.is_pending() {
            self.chain.step_pending(false)?;
            self.chunks += 1;
        }
        Ok(std::mem::take(&mut *self.emitted.lock()))
    }
}

/// The rows of the main output among `emitted`, without watermarks.
pub fn rows(emitted: &[Emitted]) -> Vec<RecordBatch> {
    emitted
        .iter()
        .filter_map(|item| match item {
            Emitted::Rows(batch) => Some(batch.rows.clone()),
            _ => None,
        })
        .collect()
}
