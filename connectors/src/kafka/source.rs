//! The worker's side of reading: chunks of one partition become rows and are emitted under the partition's number, by
//! which the watermark keeps a clock for each.
//!
//! Invariants: every message is rows, a bad row that is counted and routed, or a tombstone (counted as skipped). A
//! partition's position moves on when the rows before it were emitted, so a snapshot repeats nothing and leaves
//! nothing out. Positions are written one a line, so that any number of instances can read them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};

use millstream_engine::batch::record_batch;
use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::io::{InletReceiver, inlet};
use millstream_engine::registry::{MetadataSpec, Table};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Output, Result, Source, SourcePoll, Stop};

use crate::format::PayloadDecoder;

use super::fetch::{Chunk, Fetcher, Message, Positions, Shared};
use super::settings::Reading;
use super::watch::Watch;

/// The group is told this often how far we are, where there are no checkpoints.
const COMMIT_NS: u64 = 5_000_000_000;

/// What readers can ask for beside the payload.
pub(super) fn metadata() -> Vec<MetadataSpec> {
    let spec = |key, data_type, help| MetadataSpec { key, data_type, help };
    vec![
        spec("topic", DataType::Utf8, "The topic."),
        spec("partition", DataType::Int32, "The partition's number."),
        spec("offset", DataType::Int64, "The offset in the partition."),
        spec("timestamp", DataType::Timestamp(TimeUnit::Millisecond, None), "The message's own time."),
        spec("timestamp-type", DataType::Utf8, "'CreateTime', 'LogAppendTime' or 'NoTimestampType'."),
    ]
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Payload(usize),
    Topic,
    Partition,
    Offset,
    Time,
    TimeType,
}

/// One instance of a Kafka source.
pub(super) struct KafkaSource {
    reading: Arc<Reading>,
    schema: SchemaRef,
    from: Vec<From>,
    decoder: PayloadDecoder,
    positions: Positions,
    restored: Option<Positions>,
    /// What the last snapshot said.
    snapshot: Option<Positions>,
    place: (usize, usize),
    messages: Vec<Message>,
    running: Option<Running>,
}

struct Running {
    context: InstanceContext,
    errors: RowErrors,
    shared: Arc<Shared>,
    /// There from the first poll on: positions are restored before it.
    inlet: Option<InletReceiver<Chunk>>,
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
        let (mut from, mut payload) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let column = table.schema.fields().iter().position(|other| other.name() == field.name());
            from.push(match column.and_then(|column| table.metadata_key(column)) {
                Some("topic") => From::Topic,
                Some("partition") => From::Partition,
                Some("offset") => From::Offset,
                Some("timestamp") => From::Time,
                Some("timestamp-type") => From::TimeType,
                Some(other) => {
                    return Err(
                        Error::config(format!("connector 'kafka' has no metadata '{other}'")).at(&table.name)
                    );
                }
                None => {
                    payload.push(Arc::clone(field));
                    From::Payload(payload.len() - 1)
                }
            });
        }
        let decoder =
            PayloadDecoder::new(Arc::new(Schema::new(payload)), reading.codec.as_ref(), &reading.payload)?;
        Ok(Self {
            reading,
            schema,
            from,
            decoder,
            positions: Positions::new(),
            restored: None,
            snapshot: None,
            place,
            messages: Vec::new(),
            running: None,
        })
    }

    /// Starts the thread that reads.
    fn start(&self, running: &Running) -> Result<InletReceiver<Chunk>> {
        let (sender, receiver) = inlet(self.reading.inlet_bytes_max, Arc::clone(&running.context.waker));
        let fetcher = Fetcher {
            reading: Arc::clone(&self.reading),
            instance: self.place.0,
            parallelism: self.place.1,
            restored: self.restored.clone(),
            inlet: sender,
            io: running.context.io.handle()?,
            shared: Arc::clone(&running.shared),
            watch: Watch::new(
                &self.reading.table,
                &self.reading.properties.brokers,
                &running.context.metrics,
                &running.context.clock,
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

    /// Decodes and emits a chunk, and moves its partition's position on.
    fn emit(&mut self, chunk: Chunk, running: &Running, out: &mut Output<'_>) -> Result<()> {
        let metrics = &running.context.metrics;
        let (mut from, mut next) = (0, chunk.start);
        metrics.rows_in.add(chunk.messages.len() as u64);
        metrics.bytes_in.add(chunk.bytes.len() as u64);
        self.messages.clear();
        for message in &chunk.messages {
            let payload = &chunk.bytes[from..message.end];
            (from, next) = (message.end, message.offset + 1);
            if message.is_tombstone {
                metrics.rows_skipped.add(1);
            } else if self.decoder.push(payload, &running.errors)? {
                self.messages.push(*message);
            }
        }
        if !self.decoder.is_empty() {
            let decoded = self.decoder.flush(&running.errors)?;
            let count = decoded.rows.num_rows();
            let of = |row: usize| {
                &self.messages[decoded.payload_of.as_ref().map_or(row, |numbers| numbers[row] as usize)]
            };
            let each = || (0..count).map(of);
            let columns = self.from.iter().map(|from| -> ArrayRef {
                match from {
                    From::Payload(number) => Arc::clone(decoded.rows.column(*number)),
                    From::Topic => Arc::new(StringArray::from_iter_values(each().map(|_| &*chunk.lane.0))),
                    From::Partition => Arc::new(Int32Array::from_iter_values(each().map(|_| chunk.lane.1))),
                    From::Offset => {
                        Arc::new(Int64Array::from_iter_values(each().map(|message| message.offset)))
                    }
                    From::Time => {
                        Arc::new(each().map(|message| message.time_ms).collect::<TimestampMillisecondArray>())
                    }
                    From::TimeType => {
                        Arc::new(StringArray::from_iter_values(each().map(|message| match message.time_ms {
                            None => "NoTimestampType",
                            Some(_) if message.is_append_time => "LogAppendTime",
                            Some(_) => "CreateTime",
                        })))
                    }
                }
            });
            let rows = record_batch(Arc::clone(&self.schema), columns.collect(), count)?;
            let rows_max = running.context.batch_rows_max.max(1);
            for at in (0..count).step_by(rows_max) {
                let part = rows.slice(at, rows_max.min(count - at));
                let batch = Batch::new(part);
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
        let chunk = inlet.try_recv();
        running.context.metrics.queue_bytes.store(inlet.queue_bytes(), Ordering::Relaxed);
        let now_ns = running.context.clock.monotonic_ns();
        if now_ns.saturating_sub(running.committed_ns) >= COMMIT_NS {
            running.committed_ns = now_ns;
            self.commit(running, &self.positions);
        }
        match chunk {
            Some(chunk) => {
                self.emit(chunk, running, out)?;
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
