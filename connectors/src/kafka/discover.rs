//! Asks the brokers which partitions there are, where to start each and where to stop: on a blocking thread of the I/O
//! runtime, so that reading goes on meanwhile.
//!
//! Invariants: partitions are spread as Flink does (a topic's hash, plus the partition, modulo instances), so each has
//! one reader whatever restarts; what is found is new to the instance and has a start that is a number. The answer goes
//! to the thread that reads (fetch.rs). At most one search runs at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};

use super::chunk::Lane;
use super::fetch::Positions;
use super::settings::{Reading, Start, Stop};
use super::topics::Topics;
use super::watch::Context;

/// How long one request to the brokers may take.
const REQUEST: Duration = Duration::from_secs(5);

/// A partition that is not read yet.
pub(super) struct Found {
    pub lane: Lane,
    pub start: i64,
    /// It has never had a message.
    pub is_unwritten: bool,
    /// Where to stop, for a bounded read.
    pub end: Option<i64>,
}

/// Looks for the partitions of one instance.
pub(super) struct Discovery {
    pub reading: Arc<Reading>,
    pub instance: usize,
    pub parallelism: usize,
    pub restored: Option<Positions>,
    pub consumer: Arc<BaseConsumer<Context>>,
}

impl Discovery {
    /// The partitions of this instance beside `known`. What turns up after the first time is read from its first message.
    ///
    /// # Errors
    /// If the brokers do not answer, or know no such topic.
    pub fn run(&self, known: &BTreeSet<Lane>, is_first: bool) -> KafkaResult<Vec<Found>> {
        let mut fresh: Vec<Lane> = Vec::new();
        match &self.reading.topics {
            Topics::Named(names) => {
                for name in names {
                    let metadata = self.consumer.fetch_metadata(Some(name), REQUEST)?;
                    metadata.topics().iter().try_for_each(|topic| self.own(topic, known, &mut fresh))?;
                }
            }
            pattern @ Topics::Pattern { .. } => {
                let metadata = self.consumer.fetch_metadata(None, REQUEST)?;
                let of_pattern = metadata.topics().iter().filter(|topic| pattern.matches(topic.name()));
                of_pattern.into_iter().try_for_each(|topic| self.own(topic, known, &mut fresh))?;
            }
        }
        let starts = self.starts(&fresh, is_first)?;
        let ends = self.ends(&fresh)?;
        let all = fresh.into_iter().zip(starts).zip(ends).map(|((lane, start), end)| {
            let is_unwritten = start == 0 && self.last(&lane)? == 0;
            Ok(Found { lane, start, is_unwritten, end })
        });
        all.collect()
    }

    fn own(&self, topic: &MetadataTopic, known: &BTreeSet<Lane>, fresh: &mut Vec<Lane>) -> KafkaResult<()> {
        if let Some(error) = topic.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let name: Arc<str> = Arc::from(topic.name());
        let all = topic.partitions().iter().map(|partition| partition.id());
        let own = all.filter(|partition| owner(&name, *partition, self.parallelism) == self.instance);
        fresh
            .extend(own.map(|partition| (Arc::clone(&name), partition)).filter(|lane| !known.contains(lane)));
        Ok(())
    }

    fn starts(&self, lanes: &[Lane], is_first: bool) -> KafkaResult<Vec<i64>> {
        // What turns up later, or was not there when the snapshot was taken, is read from its first message.
        let is_later = !is_first || self.restored.is_some();
        let start = if is_later { &Start::Earliest } else { &self.reading.start };
        let one = |lane: &Lane| {
            let restored = self.restored.as_ref().and_then(|positions| positions.get(lane)).copied();
            match (restored, start) {
                (Some(offset), _) => Ok(offset),
                (None, Start::Specific(offsets)) => match offsets.get(&lane.1) {
                    Some(offset) => Ok(*offset),
                    None => self.first(lane),
                },
                (None, Start::Earliest) => self.first(lane),
                (None, Start::Latest) => self.last(lane),
                (None, Start::Time(time_ms)) => self.at_time(lane, *time_ms),
                (None, Start::Group) => match self.committed(lane)? {
                    Some(offset) => Ok(offset),
                    None => self.first(lane),
                },
            }
        };
        lanes.iter().map(one).collect()
    }

    fn ends(&self, lanes: &[Lane]) -> KafkaResult<Vec<Option<i64>>> {
        let end = |lane: &Lane| match &self.reading.stop {
            Stop::Never => Ok(None),
            Stop::Latest => self.last(lane).map(Some),
            Stop::Time(time_ms) => self.at_time(lane, *time_ms).map(Some),
            Stop::Group => self.committed(lane).map(|offset| offset.or(Some(0))),
            Stop::Specific(offsets) => match offsets.get(&lane.1) {
                Some(offset) => Ok(Some(*offset)),
                None => self.last(lane).map(Some),
            },
        };
        lanes.iter().map(end).collect()
    }

    fn first(&self, lane: &Lane) -> KafkaResult<i64> {
        self.consumer.fetch_watermarks(&lane.0, lane.1, REQUEST).map(|(first, _)| first)
    }

    fn last(&self, lane: &Lane) -> KafkaResult<i64> {
        self.consumer.fetch_watermarks(&lane.0, lane.1, REQUEST).map(|(_, last)| last)
    }

    fn at_time(&self, lane: &Lane, time_ms: i64) -> KafkaResult<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&lane.0, lane.1, Offset::Offset(time_ms))?;
        let found = self.consumer.offsets_for_times(list, REQUEST)?;
        match found.find_partition(&lane.0, lane.1).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => self.last(lane),
        }
    }

    fn committed(&self, lane: &Lane) -> KafkaResult<Option<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&lane.0, lane.1);
        let found = self.consumer.committed_offsets(list, REQUEST)?;
        Ok(match found.find_partition(&lane.0, lane.1).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }
}

/// Which instance reads a partition, as in Flink.
fn owner(topic: &str, partition: i32, parallelism: usize) -> usize {
    let hash = topic.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    let start = (hash.wrapping_mul(31) & i32::MAX) as usize;
    (start % parallelism.max(1) + partition.max(0) as usize) % parallelism.max(1)
}
