//! The worker's side of reading: chunks of one partition become rows (rows.rs) and are emitted under the partition's
//! number, by which the watermark keeps a clock for each.
//!
//! Invariants: a partition's position moves on when the rows before it were emitted, so a snapshot repeats nothing and
//! leaves nothing out. Positions are written one a line, so that any number of instances can read them. Partitions are
//! announced before the first row, so that none runs ahead of the others' event time; as in Flink one without a row holds
//! the watermark back until it is idle. An instance without a partition holds back nothing, which in Flink it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_schema::SchemaRef;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::io::{InletReceiver, inlet};
use millstream_engine::registry::Table;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Output, Result, Source, SourcePoll, Stop};

use super::chunk::{Chunk, Handed, Starting};
use super::fetch::{Fetcher, Positions, Shared};
use super::rows::Rows;
use super::settings::Reading;
use super::watch::Watch;

/// The group is told this often how far we are, where there are no checkpoints.
const COMMIT_NS: u64 = 5_000_000_000;

/// One instance of a Kafka source.
pub(super) struct KafkaSource {
    reading: Arc<Reading>,
    rows: Rows,
    positions: Positions,
    restored: Option<Positions>,
    /// What the last snapshot said.
    snapshot: Option<Positions>,
    place: (usize, usize),
    running: Option<Running>,
}

struct Running {
    context: InstanceContext,
    errors: RowErrors,
    shared: Arc<Shared>,
    /// There from the first poll on: positions are restored before it.
    inlet: Option<InletReceiver<Handed>>,
    committed_ns: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
    }
}

impl KafkaSource {
    /// A source that is still to be opened.
    ///
    /// # Errors
    /// If the format cannot decode the columns.
    pub fn new(
        reading: Arc<Reading>,
        table: &Table,
        schema: SchemaRef,
        place: (usize, usize),
    ) -> Result<Self> {
        let rows = Rows::new(&reading, table, schema)?;
        Ok(Self {
            reading,
            rows,
            positions: Positions::new(),
            restored: None,
            snapshot: None,
            place,
            running: None,
        })
    }

    /// Starts the thread that reads.
    fn start(&self, running: &Running) -> Result<InletReceiver<Handed>> {
        let (sender, receiver) = inlet(self.reading.inlet_bytes_max, Arc::clone(&running.context.waker));
        let fetcher = Fetcher {
            reading: Arc::clone(&self.reading),
            wants: self.rows.wants(),
            instance: self.place.0,
            parallelism: self.place.1,
            restored: self.restored.clone(),
            inlet: sender,
            io: running.context.io.handle()?,
            shared: Arc::clone(&running.shared),
            watch: Watch::new(
                &self.reading.table,
                &self.reading.properties.brokers,
                &self.reading.told,
                &running.context,
            ),
            metrics: Arc::clone(&running.context.metrics),
            clock: Arc::clone(&running.context.clock),
        };
        std::thread::Builder::new()
            .name("millstream-kafka".to_owned())
            .spawn(move || fetcher.run())
            .map_err(|error| Error::unavailable(format!("the thread that reads does not start: {error}")))?;
        Ok(receiver)
    }

    /// Announces partitions.
    fn begin(&mut self, starting: Vec<Starting>, out: &mut Output<'_>) -> Result<()> {
        let awaited: Vec<u32> = starting.iter().filter(|one| !one.is_done).map(|one| one.number).collect();
        self.positions.extend(starting.into_iter().map(|one| (one.lane, one.start)));
        if self.positions.is_empty() { out.idle() } else { out.expect_partitions(&awaited) }
    }

    /// Decodes and emits a chunk, and moves its partition's position on.
    fn emit(&mut self, chunk: Chunk, running: &Running, out: &mut Output<'_>) -> Result<()> {
        let metrics = &running.context.metrics;
        metrics.rows_in.add(chunk.messages.len() as u64);
        metrics.bytes_in.add(chunk.num_bytes() as u64);
        let next = chunk.messages.last().map_or(chunk.start, |last| last.offset + 1);
        if let Some(rows) = self.rows.decode(&chunk, &running.errors, metrics)? {
            let rows_max = running.context.batch_rows_max.max(1);
            for at in (0..rows.num_rows()).step_by(rows_max) {
                let batch = Batch::new(rows.slice(at, rows_max.min(rows.num_rows() - at)));
                out.emit(Batch { ingested_ns: chunk.received_ns, partition: chunk.number, ..batch })?;
            }
        }
        self.positions.insert(chunk.lane, next);
        Ok(())
    }

    fn poll_running(&mut self, running: &mut Running, out: &mut Output<'_>) -> Result<SourcePoll> {
        if running.inlet.is_none() {
            running.inlet = Some(self.start(running)?);
        }
        let Some(inlet) = &mut running.inlet else { return Ok(SourcePoll::Finished) };
        // Asked before the inlet is emptied: what comes in between is found by the next poll.
        let is_closed = inlet.is_closed();
        let handed = inlet.try_recv();
        running.context.metrics.queue_bytes.store(inlet.queue_bytes(), Ordering::Relaxed);
        let now_ns = running.context.clock.monotonic_ns();
        if now_ns.saturating_sub(running.committed_ns) >= COMMIT_NS {
            running.committed_ns = now_ns;
            self.commit(running, &self.positions);
        }
        match handed {
            Some(Handed::Messages(chunk)) => {
                self.emit(chunk, running, out)?;
                Ok(SourcePoll::Ready)
            }
            Some(Handed::Partitions(starting)) => {
                self.begin(starting, out)?;
                Ok(SourcePoll::Ready)
            }
            None if is_closed => Ok(SourcePoll::Finished),
            None => Ok(SourcePoll::Waiting),
        }
    }

    fn commit(&self, running: &Running, positions: &Positions) {
        if self.reading.properties.group.is_some() && !positions.is_empty() {
            *running.shared.commit.lock() = Some(positions.clone());
        }
    }
}

impl Source for KafkaSource {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.running = Some(Running {
            context: context.clone(),
            errors: context.row_errors(self.reading.on_error),
            shared: Arc::default(),
            inlet: None,
            committed_ns: context.clock.monotonic_ns(),
        });
        Ok(())
    }

    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        // Taken out while its chunks are worked on; an error ends the source, so it need not come back.
        let mut running =
            self.running.take().ok_or_else(|| Error::internal("polled before it was opened"))?;
        let poll = self.poll_running(&mut running, out)?;
        self.running = Some(running);
        Ok(poll)
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        // Restored positions that the brokers have not been asked about yet are kept as they are; each instance
        // then writes all of them, and the furthest counts.
        let mut all = self.restored.clone().unwrap_or_default();
        all.extend(self.positions.iter().map(|(lane, offset)| (lane.clone(), *offset)));
        let text: String = all
            .iter()
            .map(|((topic, partition), offset)| format!("{topic} {partition} {offset}\n"))
            .collect();
        state.put_blob(text.into_bytes());
        self.snapshot = Some(self.positions.clone());
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let damaged = || Error::state("a Kafka source's positions cannot be read").at(&self.reading.table);
        let mut positions = Positions::new();
        for blob in state.blobs() {
            for line in std::str::from_utf8(blob).map_err(|_| damaged())?.lines() {
                let mut words = line.split(' ');
                let (Some(topic), Some(Ok(partition)), Some(Ok(offset)), None) = (
                    words.next(),
                    words.next().map(str::parse::<i32>),
                    words.next().map(str::parse::<i64>),
                    words.next(),
                ) else {
                    return Err(damaged());
                };
                let position = positions.entry((Arc::from(topic), partition)).or_insert(offset);
                *position = offset.max(*position);
            }
        }
        if !state.is_empty() {
            self.restored = Some(positions);
        }
        Ok(())
    }

    fn on_checkpoint_complete(&mut self, _epoch: Epoch) -> Result<()> {
        if let (Some(running), Some(positions)) = (&self.running, &self.snapshot) {
            self.commit(running, positions);
        }
        Ok(())
    }

    fn stop(&mut self) -> Stop {
        match &mut self.running {
            Some(running) if running.inlet.is_some() => {
                running.shared.is_stopping.store(true, Ordering::Relaxed);
                Stop::WhenFinished
            }
            _ => Stop::Now,
        }
    }
}
