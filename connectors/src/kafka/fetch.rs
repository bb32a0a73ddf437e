//! The thread that reads: assigns itself the partitions that discover.rs finds, and fills the inlet.
//!
//! Invariants: a partition's start is told to the worker before any message, with all that were found together, so that a
//! snapshot always holds it and the watermark waits for each. Reading goes on while the brokers are asked for partitions;
//! whether they answer is what the link's state says. Nothing is polled while the inlet is full; librdkafka then keeps at
//! most 'fetch.max-buffered-bytes' and stops asking the brokers. What fails is tried again until it works or the source ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use millstream_engine::ClockRef;
use millstream_engine::io::InletSender;
use millstream_engine::metrics::OperatorMetrics;

use super::chunk::{Chunk, Handed, Lane, Starting, Wants};
use super::discover::{Discovery, Found};
use super::prepare;
use super::settings::{Reading, Stop};
use super::watch::{Context, Watch};

/// The next offset of each partition.
pub(super) type Positions = BTreeMap<Lane, i64>;

/// How long one silent poll may take, and one before anything is assigned.
const POLL: Duration = Duration::from_millis(100);
const POLL_FIRST: Duration = Duration::from_millis(5);
/// Brokers that are there have answered the first question after as long.
const ANSWER_NS: u64 = 1_000_000_000;
/// Brokers that do not answer are asked again after as long at the soonest.
const PAUSE_NS: u64 = 500_000_000;
/// A chunk is handed over when it is as large.
const CHUNK_BYTES: usize = 128 << 10;
const CHUNK_MESSAGES: usize = 1024;

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
    pub wants: Wants,
    pub instance: usize,
    pub parallelism: usize,
    pub restored: Option<Positions>,
    pub inlet: InletSender<Handed>,
    pub io: Handle,
    pub shared: Arc<Shared>,
    pub watch: Arc<Watch>,
    pub metrics: Arc<OperatorMetrics>,
    pub clock: ClockRef,
}

/// What is read, and where in that list each partition is.
#[derive(Default)]
struct Lanes {
    all: Vec<Assigned>,
    numbers: BTreeMap<Lane, usize>,
}

type Search = JoinHandle<KafkaResult<Vec<Found>>>;

struct Assigned {
    chunk: Chunk,
    end: Option<i64>,
    is_done: bool,
}

impl Fetcher {
    /// Runs until told to stop, the source is gone, or a bounded read is through.
    pub fn run(self) {
        let Some(consumer) = self.consumer() else { return };
        let mut lanes = Lanes::default();
        let mut search: Option<Search> = None;
        // When the brokers were asked last, and whether they have ever answered.
        let (mut asked_ns, mut is_first) = (None::<u64>, true);
        let started_ns = self.clock.monotonic_ns();
        while !self.has_to_end() {
            if let Some(outcome) = search.take_if(|search| search.is_finished()).map(|it| self.outcome(it)) {
                match outcome.and_then(|found| self.assign(&consumer, found, &mut lanes)) {
                    Ok(()) => {
                        self.watch.up();
                        is_first = false;
                    }
                    Err(error) if is_first || self.watch.has_to_ask() => self.watch.down(&error.to_string()),
                    // A partition without a leader right now is no outage: asked again before it is told.
                    Err(_) => self.watch.suspect(),
                }
            }
            let wait_ns = if is_first || self.watch.has_to_ask() {
                Some(PAUSE_NS)
            } else {
                self.reading.discovery_ms.map(|ms| ms.saturating_mul(1_000_000))
            };
            let now_ns = self.clock.monotonic_ns();
            let is_due =
                asked_ns.is_none_or(|at| wait_ns.is_some_and(|wait| now_ns.saturating_sub(at) >= wait));
            if search.is_none() && is_due {
                asked_ns = Some(now_ns);
                search = Some(self.search(&consumer, &lanes, is_first));
            }
            if is_first {
                // Serves librdkafka's reports; nothing is assigned yet, so there is no message that this could lose.
                let is_soon = now_ns.saturating_sub(started_ns) < ANSWER_NS;
                if let Some(Err(error)) = consumer.poll(if is_soon { POLL_FIRST } else { POLL }) {
                    tracing::debug!(table = %self.watch.table, "while looking for partitions: {error}");
                }
                continue;
            }
            if self.reading.stop != Stop::Never && lanes.all.iter().all(|lane| lane.is_done) {
                break;
            }
            if !self.fill(&consumer, &mut lanes) {
                break;
            }
            self.commit(&consumer);
        }
        self.commit(&consumer);
    }

    /// Starts to look for partitions.
    fn search(&self, consumer: &Arc<BaseConsumer<Context>>, lanes: &Lanes, is_first: bool) -> Search {
        let discovery = Discovery {
            reading: Arc::clone(&self.reading),
            instance: self.instance,
            parallelism: self.parallelism,
            restored: self.restored.clone(),
            consumer: Arc::clone(consumer),
        };
        let known = lanes.numbers.keys().cloned().collect();
        self.io.spawn_blocking(move || discovery.run(&known, is_first))
    }

    fn outcome(&self, search: Search) -> KafkaResult<Vec<Found>> {
        // It is cancelled only with its runtime, and then the source ends too.
        self.io.block_on(search).unwrap_or(Err(KafkaError::Canceled))
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Context>,
        found: Vec<Found>,
        lanes: &mut Lanes,
    ) -> KafkaResult<()> {
        if found.is_empty() {
            if lanes.all.is_empty() {
                self.hand_over(Handed::Partitions(Vec::new()));
            }
            return Ok(());
        }
        self.tell_unwritten(&found);
        let mut list = TopicPartitionList::new();
        for Found { lane, start, .. } in &found {
            list.add_partition_offset(&lane.0, lane.1, Offset::Offset(*start))?;
        }
        consumer.incremental_assign(&list)?;
        let mut starting = Vec::with_capacity(found.len());
        for Found { lane, start, end, .. } in found {
            let number = self.reading.topics.number(&lane.0, lane.1);
            let is_done = end.is_some_and(|end| start >= end);
            starting.push(Starting { lane: lane.clone(), number, start, is_done });
            let chunk = Chunk::starting(&lane, number, start);
            lanes.numbers.insert(lane, lanes.all.len());
            lanes.all.push(Assigned { chunk, end, is_done });
        }
        self.hand_over(Handed::Partitions(starting));
        Ok(())
    }

    /// Windows wait for such partitions, which is hard to find out when nobody says so.
    fn tell_unwritten(&self, found: &[Found]) {
        let names = found.iter().filter(|one| one.is_unwritten && one.end.is_none());
        let names: Vec<String> = names.map(|one| format!("{} {}", one.lane.0, one.lane.1)).collect();
        if !names.is_empty() {
            tracing::info!(
                table = %self.reading.table,
                "partitions without a message yet ({}): event time waits for their first, unless \
                 'scan.watermark.idle-timeout' or 'table.exec.source.idle-timeout' says how long",
                names.join(", ")
            );
        }
    }

    fn has_to_end(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Relaxed) || self.inlet.is_closed()
    }

    fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
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
            Ok(consumer) => Some(Arc::new(consumer)),
            Err(error) => {
                // The provider made one with the same settings before, so this is about threads or memory.
                self.watch.down(&error.to_string());
                None
            }
        }
    }

    /// Polls until there is nothing right now or enough, and hands it over. False when the source is gone.
    fn fill(&self, consumer: &BaseConsumer<Context>, lanes: &mut Lanes) -> bool {
        let Lanes { all: lanes, numbers } = lanes;
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
            if !self.prepared(&message) {
                return false;
            }
            let chunk = &mut lane.chunk;
            if chunk.messages.is_empty() {
                chunk.received_ns = self.clock.monotonic_ns();
            }
            bytes += chunk.push(&message, self.wants);
            count += 1;
        }
        lanes.iter_mut().filter(|lane| !lane.chunk.messages.is_empty()).all(|lane| {
            let next = lane.chunk.messages.last().map_or(lane.chunk.start, |last| last.offset + 1);
            let empty = Chunk::starting(&lane.chunk.lane, lane.chunk.number, next);
            self.hand_over(Handed::Messages(std::mem::replace(&mut lane.chunk, empty)))
        })
    }

    /// Waits for what decoding the message needs. False when the source has to end.
    fn prepared(&self, message: &BorrowedMessage<'_>) -> bool {
        // Tombstones are not decoded.
        let Some(payload) = message.payload() else { return true };
        let with = || (&self.io, &*self.watch, &*self.metrics);
        let key = self.reading.key_codec.as_ref().zip(message.key().filter(|_| self.wants.key));
        prepare::payload(self.reading.codec.as_ref(), payload, with(), || self.has_to_end())
            && key.is_none_or(|(codec, key)| {
                prepare::payload(codec.as_ref(), key, with(), || self.has_to_end())
            })
    }

    fn hand_over(&self, handed: Handed) -> bool {
        let bytes = match &handed {
            Handed::Messages(chunk) => chunk.queue_bytes(),
            Handed::Partitions(starting) => size_of_val(starting.as_slice()),
        };
        self.io.block_on(self.inlet.send(handed, bytes)).is_ok()
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

/// A partition was read to its end, which was no earlier than the one to stop at. Transactions leave offsets without a
/// message, so the last one may never be seen; several topics with such a number are told apart by their offsets only.
fn at_end(lanes: &mut [Assigned], partition: i32) {
    let mut same = lanes.iter_mut().filter(|lane| lane.chunk.lane.1 == partition);
    if let (Some(lane), None) = (same.next(), same.next()) {
        lane.is_done = true;
    }
}
