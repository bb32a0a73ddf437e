//! The thread that reads: finds the partitions of one instance, assigns them to itself, and fills the inlet.
//!
//! Invariants: partitions are spread as Flink does (a topic's hash, plus the partition, modulo instances), so each has
//! one reader whatever restarts; every start is a number before it is assigned, and is told to the worker first, so
//! that a snapshot always holds it. Nothing is polled while the inlet is full; librdkafka then keeps at most
//! 'fetch.max-buffered-bytes' and stops asking the brokers. What fails is tried again until it works or the source ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::{Offset, Timestamp, TopicPartitionList};
use tokio::runtime::Handle;

use millstream_engine::ClockRef;
use millstream_engine::io::InletSender;

use super::settings::{Reading, Start, Stop};
use super::watch::{Context, Watch};

/// A topic's partition.
pub(super) type Lane = (Arc<str>, i32);
/// The next offset of each partition.
pub(super) type Positions = BTreeMap<Lane, i64>;

/// How long one request to the brokers, or one silent poll, may take.
const REQUEST: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// How long to wait after a request that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// A chunk is handed over when it is as large.
const CHUNK_BYTES: usize = 128 << 10;
const CHUNK_MESSAGES: usize = 1024;

/// One message, its payload in the chunk's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub offset: i64,
    pub time_ms: Option<i64>,
    pub is_append_time: bool,
    /// Where its payload ends; it starts where the one before ends.
    pub end: usize,
    pub is_tombstone: bool,
}

/// Messages of one partition, in order. One without messages tells where the partition starts.
pub(super) struct Chunk {
    pub lane: Lane,
    /// Its number in the table, the same after each restart: the watermark keeps a clock for each.
    pub number: u32,
    pub start: i64,
    pub bytes: Vec<u8>,
    pub messages: Vec<Message>,
    pub received_ns: u64,
}

/// What the worker and the thread tell each other beside the inlet.
#[derive(Default)]
pub(super) struct Shared {
    pub is_stopping: AtomicBool,
    /// Positions to commit for the group.
    pub commit: Mutex<Option<Positions>>,
}

/// The thread's own.
pub(super) struct Fetcher {
    pub reading: Arc<Reading>,
    pub instance: usize,
    pub parallelism: usize,
    pub restored: Option<Positions>,
    pub inlet: InletSender<Chunk>,
    pub io: Handle,
    pub shared: Arc<Shared>,
    pub watch: Arc<Watch>,
    pub clock: ClockRef,
}

struct Assigned {
    chunk: Chunk,
    end: Option<i64>,
    is_done: bool,
}

impl Fetcher {
    /// Runs until told to stop, the source is gone, or a bounded read is through.
    pub fn run(self) {
        let Some(consumer) = self.consumer() else { return };
        let mut lanes: Vec<Assigned> = Vec::new();
        let mut numbers: BTreeMap<Lane, usize> = BTreeMap::new();
        let mut discover_ns = 0;
        let mut is_first = true;
        while !self.has_to_end() {
            let now_ns = self.clock.monotonic_ns();
            let interval = self.reading.discovery_ms.map(|ms| ms.saturating_mul(1_000_000));
            if is_first || !self.watch.is_up() || interval.is_some_and(|wait| now_ns - discover_ns >= wait) {
                discover_ns = now_ns;
                match self.discover(&consumer, &mut lanes, &mut numbers, is_first) {
                    Ok(()) => {
                        self.watch.up();
                        is_first = false;
                    }
                    Err(error) => {
                        self.watch.down(&error.to_string());
                        if lanes.is_empty() {
                            // Serves librdkafka's reports; there is no message yet that this could lose.
                            let _ = consumer.poll(PAUSE);
                            continue;
                        }
                    }
                }
            }
            if self.reading.stop != Stop::Never && lanes.iter().all(|lane| lane.is_done) {
                break;
            }
            if !self.fill(&consumer, &mut lanes, &numbers) {
                break;
            }
            self.commit(&consumer);
        }
        self.commit(&consumer);
    }

    fn has_to_end(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Relaxed) || self.inlet.is_closed()
    }

    fn consumer(&self) -> Option<BaseConsumer<Context>> {
        let mut config = ClientConfig::new();
        // A group is needed to be a consumer at all; nothing is committed for one that the user did not name.
        config.set("group.id", format!("millstream-{}", self.reading.table));
        config.set("queued.max.messages.kbytes", (self.reading.buffered_bytes_max >> 10).max(64).to_string());
        self.reading.properties.consumer().for_each(|(key, value)| {
            config.set(key, value);
        });
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", if self.reading.stop == Stop::Never { "false" } else { "true" })
            // Only for an offset that retention has removed: go on with what is left.
            .set("auto.offset.reset", "earliest");
        match config.create_with_context(Context(Arc::clone(&self.watch))) {
            Ok(consumer) => Some(consumer),
            Err(error) => {
                // The provider made one with the same settings before, so this is about threads or memory.
                self.watch.down(&error.to_string());
                None
            }
        }
    }

    /// Polls until there is nothing right now or enough, and hands it over. False when the source is gone.
    fn fill(
        &self,
        consumer: &BaseConsumer<Context>,
        lanes: &mut [Assigned],
        numbers: &BTreeMap<Lane, usize>,
    ) -> bool {
        let (mut bytes, mut count, mut wait) = (0, 0, POLL);
        let mut last: Option<usize> = None;
        while bytes < CHUNK_BYTES && count < CHUNK_MESSAGES {
            let message = match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_end(lanes, partition);
                    continue;
                }
                Some(Err(error)) => {
                    self.watch.report(&error, "while reading");
                    break;
                }
            };
            wait = Duration::ZERO;
            let is_same = |at: &usize| {
                let (topic, partition) = &lanes[*at].chunk.lane;
                *partition == message.partition() && **topic == *message.topic()
            };
            let Some(at) = last
                .filter(is_same)
                .or_else(|| numbers.get(&(Arc::from(message.topic()), message.partition())).copied())
            else {
                continue;
            };
            last = Some(at);
            let lane = &mut lanes[at];
            if lane.end.is_some_and(|end| message.offset() >= end) {
                lane.is_done = true;
                continue;
            }
            if lane.end.is_some_and(|end| message.offset() + 1 >= end) {
                lane.is_done = true;
            }
            let chunk = &mut lane.chunk;
            if chunk.messages.is_empty() {
                chunk.received_ns = self.clock.monotonic_ns();
            }
            let payload = message.payload();
            chunk.bytes.extend_from_slice(payload.unwrap_or_default());
            let (time_ms, is_append_time) = match message.timestamp() {
                Timestamp::NotAvailable => (None, false),
                Timestamp::CreateTime(ms) => (Some(ms), false),
                Timestamp::LogAppendTime(ms) => (Some(ms), true),
            };
            chunk.messages.push(Message {
                offset: message.offset(),
                time_ms,
                is_append_time,
                end: chunk.bytes.len(),
                is_tombstone: payload.is_none(),
            });
            bytes += payload.map_or(0, <[u8]>::len);
            count += 1;
        }
        if count > 0 {
            self.watch.up();
        }
        lanes.iter_mut().filter(|lane| !lane.chunk.messages.is_empty()).all(|lane| {
            let next = lane.chunk.messages.last().map_or(lane.chunk.start, |last| last.offset + 1);
            let empty = Chunk::starting(&lane.chunk.lane, lane.chunk.number, next);
            self.hand_over(std::mem::replace(&mut lane.chunk, empty))
        })
    }

    fn hand_over(&self, chunk: Chunk) -> bool {
        let bytes = chunk.bytes.len() + chunk.messages.len() * size_of::<Message>();
        self.io.block_on(self.inlet.send(chunk, bytes)).is_ok()
    }

    /// Looks for partitions of this instance that are not assigned yet.
    fn discover(
        &self,
        consumer: &BaseConsumer<Context>,
        lanes: &mut Vec<Assigned>,
        numbers: &mut BTreeMap<Lane, usize>,
        is_first: bool,
    ) -> KafkaResult<()> {
        let mut fresh: Vec<Lane> = Vec::new();
        for name in &self.reading.topics {
            let metadata = consumer.fetch_metadata(Some(name), REQUEST)?;
            for topic in metadata.topics() {
                if let Some(error) = topic.error() {
                    return Err(KafkaError::MetadataFetch(error.into()));
                }
                let shared: Arc<str> = Arc::from(topic.name());
                let own = |partition: &i32| owner(&shared, *partition, self.parallelism) == self.instance;
                let all = topic.partitions().iter().map(|partition| partition.id());
                fresh.extend(all.filter(own).map(|partition| (Arc::clone(&shared), partition)));
            }
        }
        fresh.retain(|lane| !numbers.contains_key(lane));
        if fresh.is_empty() {
            return Ok(());
        }
        let starts = self.starts(consumer, &fresh, is_first)?;
        let ends = self.ends(consumer, &fresh)?;
        let mut list = TopicPartitionList::new();
        for (lane, start) in fresh.iter().zip(&starts) {
            list.add_partition_offset(&lane.0, lane.1, Offset::Offset(*start))?;
        }
        consumer.incremental_assign(&list)?;
        for ((lane, start), end) in fresh.into_iter().zip(starts).zip(ends) {
            numbers.insert(lane.clone(), lanes.len());
            let topic = self.reading.topics.iter().position(|topic| **topic == *lane.0).unwrap_or_default();
            let number = ((topic as u32) << 16) | lane.1.unsigned_abs();
            let chunk = Chunk::starting(&lane, number, start);
            self.hand_over(Chunk::starting(&lane, number, start));
            lanes.push(Assigned { chunk, end, is_done: end.is_some_and(|end| start >= end) });
        }
        Ok(())
    }

    fn starts(
        &self,
        consumer: &BaseConsumer<Context>,
        lanes: &[Lane],
        is_first: bool,
    ) -> KafkaResult<Vec<i64>> {
        // What turns up later, or was not there when the snapshot was taken, is read from its first message.
        let is_later = !is_first || self.restored.is_some();
        let start = if is_later { &Start::Earliest } else { &self.reading.start };
        let mut starts = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let restored = self.restored.as_ref().and_then(|positions| positions.get(lane)).copied();
            starts.push(match (restored, start) {
                (Some(offset), _) => offset,
                (None, Start::Specific(offsets)) => match offsets.get(&lane.1) {
                    Some(offset) => *offset,
                    None => consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.0,
                },
                (None, Start::Earliest) => consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.0,
                (None, Start::Latest) => consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.1,
                (None, Start::Time(time_ms)) => at_time(consumer, lane, *time_ms)?,
                (None, Start::Group) => match committed(consumer, lane)? {
                    Some(offset) => offset,
                    None => consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.0,
                },
            });
        }
        Ok(starts)
    }

    fn ends(&self, consumer: &BaseConsumer<Context>, lanes: &[Lane]) -> KafkaResult<Vec<Option<i64>>> {
        let end = |lane: &Lane| match &self.reading.stop {
            Stop::Never => Ok(None),
            Stop::Latest => Ok(Some(consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.1)),
            Stop::Time(time_ms) => at_time(consumer, lane, *time_ms).map(Some),
            Stop::Group => committed(consumer, lane).map(|offset| offset.or(Some(0))),
            Stop::Specific(offsets) => match offsets.get(&lane.1) {
                Some(offset) => Ok(Some(*offset)),
                None => Ok(Some(consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.1)),
            },
        };
        lanes.iter().map(end).collect()
    }

    /// Tells the group how far the worker is.
    fn commit(&self, consumer: &BaseConsumer<Context>) {
        let Some(positions) = self.shared.commit.lock().take() else { return };
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &positions {
            if list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).is_err() {
                return;
            }
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            self.watch.report(&error, "while committing the group's offsets");
        }
    }
}

impl Chunk {
    fn starting(lane: &Lane, number: u32, start: i64) -> Self {
        let (bytes, messages) = Default::default();
        Self { lane: lane.clone(), number, start, bytes, messages, received_ns: 0 }
    }
}

/// A partition was read to its end, which was no earlier than the one to stop at. Transactions leave offsets without a
/// message, so the last one may never be seen; several topics with such a number are told apart by their offsets only.
fn at_end(lanes: &mut [Assigned], partition: i32) {
    let mut same = lanes.iter_mut().filter(|lane| lane.chunk.lane.1 == partition);
    if let (Some(lane), None) = (same.next(), same.next()) {
        lane.is_done = true;
    }
}

/// Which instance reads a partition, as in Flink.
pub(super) fn owner(topic: &str, partition: i32, parallelism: usize) -> usize {
    let hash = topic.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    let start = (hash.wrapping_mul(31) & i32::MAX) as usize;
    (start % parallelism.max(1) + partition.max(0) as usize) % parallelism.max(1)
}

fn at_time(consumer: &BaseConsumer<Context>, lane: &Lane, time_ms: i64) -> KafkaResult<i64> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&lane.0, lane.1, Offset::Offset(time_ms))?;
    let found = consumer.offsets_for_times(list, REQUEST)?;
    match found.find_partition(&lane.0, lane.1).map(|element| element.offset()) {
        Some(Offset::Offset(offset)) => Ok(offset),
        _ => Ok(consumer.fetch_watermarks(&lane.0, lane.1, REQUEST)?.1),
    }
}

fn committed(consumer: &BaseConsumer<Context>, lane: &Lane) -> KafkaResult<Option<i64>> {
    let mut list = TopicPartitionList::new();
    list.add_partition(&lane.0, lane.1);
    let found = consumer.committed_offsets(list, REQUEST)?;
    Ok(match found.find_partition(&lane.0, lane.1).map(|element| element.offset()) {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    })
}
