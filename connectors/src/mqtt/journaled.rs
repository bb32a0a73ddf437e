//! A source whose job keeps its state on disk tells the broker to forget a message only when the journal has it.
//!
//! Invariants: every QoS 1 or 2 message whose rows are emitted is in the journal or on its way there, in order of arrival, and is
//! acknowledged once it is safe. A checkpoint holds the number of the last message whose rows it counts: after a restart
//! the messages behind that number come from the journal, and what the broker sends again of those before it is known by
//! packet id and content and dropped, as it is after a reconnect. The journal keeps [`KNOWN_MAX`] messages for that, and
//! the checkpoint the packet ids of those that it counts and the journal may not have: a kill can take them from it. A
//! record is how many bytes the payload had (u32), and the message as an MQTT 5 PUBLISH.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use millstream_engine::journal::{Journal, Replay};
use millstream_engine::keys::hash_bytes;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Error, InstanceContext, Result};

use super::packets::{Acknowledgement, Incoming, Message, Publication, Version};
use super::receive::Taken;
use super::recent::Recent;
use super::settings::Link;

/// The form of what a checkpoint holds.
const STATE_VERSION: u8 = 1;
/// As many as have a packet id at the same time. Not 'receive-maximum': Mosquitto 2.0 sends more than that ahead after a
/// reconnect, and all of it again after the next.
const KNOWN_MAX: u16 = u16::MAX;

/// See the module's page.
pub(super) struct Journaled {
    journal: Journal,
    /// Messages of earlier runs that are still to be emitted.
    replay: Option<Replay>,
    /// The number of the last message whose rows were emitted.
    counted: u64,
    /// Messages that were taken and are not recorded yet.
    staged: Vec<Staged>,
    records: BytesMut,
    /// Recorded, and not acknowledged, with their numbers and connections.
    waiting: VecDeque<(u64, u64, Acknowledgement)>,
    acknowledged: Vec<Acknowledgement>,
    /// Messages that the broker may not know to be acknowledged.
    recent: Recent,
    /// Those of them that only the checkpoint had when it was restored: packet ids and sums.
    inherited: Vec<(u16, u64)>,
    /// The number of the last of these.
    inherited_until: u64,
}

struct Staged {
    packet_id: u16,
    sum: u64,
    acknowledgement: Acknowledgement,
    /// Where its record ends in `records`.
    end: usize,
}

/// Topic and payload in one number.
fn sum_of(message: &Message) -> u64 {
    hash_bytes(&message.topic).rotate_left(1) ^ hash_bytes(&message.payload)
}

impl Journaled {
    /// Opens the journal, if the table needs one and the job has a place for it.
    ///
    /// # Errors
    /// If its folder cannot be used.
    pub fn open(link: &Link, context: &InstanceContext) -> Result<Option<Self>> {
        if link.qos == 0 {
            return Ok(None);
        }
        let journal = Journal::of(context, link.journal_bytes_max, KNOWN_MAX.into())?;
        Ok(journal.map(Self::on))
    }

    fn on(mut journal: Journal) -> Self {
        Self {
            replay: journal.replay(),
            journal,
            counted: 0,
            staged: Vec::new(),
            records: BytesMut::new(),
            waiting: VecDeque::new(),
            acknowledged: Vec::new(),
            recent: Recent::new(KNOWN_MAX.into()),
            inherited: Vec::new(),
            inherited_until: 0,
        }
    }

    /// Goes on from what [`Journaled::snapshot`] wrote.
    ///
    /// # Errors
    /// If it is not what that wrote.
    pub fn restore(&mut self, state: &StateReader) -> Result<()> {
        let Some(mut bytes) = state.blobs().next() else { return Ok(()) };
        let broken = |_| Error::state("what a checkpoint has of an MQTT source is damaged");
        if bytes.try_get_u8().map_err(broken)? != STATE_VERSION {
            return Err(Error::state("a checkpoint of a later version has an MQTT source's position"));
        }
        let counted = bytes.try_get_u64_le().map_err(broken)?;
        for _ in 0..bytes.try_get_u32_le().map_err(broken)? {
            let (packet_id, sum) =
                (bytes.try_get_u16_le().map_err(broken)?, bytes.try_get_u64_le().map_err(broken)?);
            self.inherited.push((packet_id, sum));
        }
        (self.counted, self.inherited_until) = (counted, counted);
        self.journal.go_on_behind(counted, counted);
        if let Some(replay) = self.replay.take() {
            let known_from = counted.saturating_sub(KNOWN_MAX.into());
            let mut replay = replay.behind(known_from);
            while let Some(record) = replay.next_until(counted)? {
                let message = message_of(record)?;
                self.recent.remember(message.packet_id, sum_of(&message));
            }
            self.replay = Some(replay);
        }
        self.inherited.iter().for_each(|(packet_id, sum)| self.recent.remember(*packet_id, *sum));
        Ok(())
    }

    /// Writes the position.
    ///
    /// # Errors
    /// If the disk failed.
    pub fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        if self.counted - self.inherited_until > KNOWN_MAX.into() {
            self.inherited.clear();
        }
        // What is on its way to the journal is not acknowledged, so it comes again after a kill that takes it from there.
        let on_its_way = self.counted.saturating_sub(self.journal.safe()?);
        let recent = self.recent.last(usize::try_from(on_its_way).unwrap_or(usize::MAX));
        let known: Vec<(u16, u64)> = self.inherited.iter().copied().chain(recent).collect();
        let mut bytes = BytesMut::with_capacity(13 + 10 * known.len());
        bytes.put_u8(STATE_VERSION);
        bytes.put_u64_le(self.counted);
        bytes.put_u32_le(known.len() as u32);
        for (packet_id, sum) in known {
            bytes.put_u16_le(packet_id);
            bytes.put_u64_le(sum);
        }
        state.put_blob(bytes);
        self.journal.on_snapshot(self.counted);
        Ok(())
    }

    /// The checkpoint of the last snapshot is complete.
    pub fn on_checkpoint_complete(&mut self) {
        self.journal.on_checkpoint_complete();
    }

    /// The next message of an earlier run.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn replayed(&mut self) -> Result<Option<Message>> {
        let Some(replay) = &mut self.replay else { return Ok(None) };
        let Some(record) = replay.next().transpose()? else {
            self.replay = None;
            return Ok(None);
        };
        self.counted = record.0;
        let message = message_of(record)?;
        self.recent.remember(message.packet_id, sum_of(&message));
        Ok(Some(Message { packet_id: 0, ..message }))
    }

    /// False while nothing more may be taken.
    pub fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    /// True if the broker sends again what was taken already: its rows must not be emitted once more.
    pub fn knows(&mut self, message: &Message, connection: u64) -> bool {
        let is_known = message.duplicate && self.recent.knows(message.packet_id, sum_of(message));
        if is_known {
            // Safe at the latest when all that was recorded by now is.
            self.waiting.push_back((self.counted, connection, message.acknowledgement()));
        }
        is_known
    }

    /// Takes a message that is to be recorded.
    ///
    /// # Errors
    /// If it cannot be written as a packet.
    pub fn stage(&mut self, message: &Message) -> Result<()> {
        let publication = Publication {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            retain: message.retained,
            properties: message.properties.clone(),
        };
        self.records.put_u32_le(message.payload_bytes as u32);
        let (qos, packet_id) = (message.qos, message.packet_id);
        Version::V5.write_publish(&mut self.records, &publication, qos, packet_id, message.duplicate)?;
        let acknowledgement = message.acknowledgement();
        let (sum, end) = (sum_of(message), self.records.len());
        self.staged.push(Staged { packet_id, sum, acknowledgement, end });
        Ok(())
    }

    /// Records what was staged, all of it from one connection.
    pub fn record(&mut self, connection: u64) {
        if self.staged.is_empty() {
            return;
        }
        let (staged, mut begin) = (std::mem::take(&mut self.staged), 0);
        let mut journal = self.journal.appending();
        for Staged { acknowledgement, end, .. } in &staged {
            self.counted = journal.push(&[&self.records[begin..*end]]);
            self.waiting.push_back((self.counted, connection, *acknowledgement));
            begin = *end;
        }
        drop(journal);
        for Staged { packet_id, sum, .. } in &staged {
            self.recent.remember(*packet_id, *sum);
        }
        self.records.clear();
        self.staged = staged;
        self.staged.clear();
    }

    /// Acknowledges what is safe by now.
    ///
    /// # Errors
    /// If the disk failed.
    pub fn acknowledge(&mut self, taken: &Taken, context: &InstanceContext) -> Result<()> {
        let safe = self.journal.safe()?;
        while let Some((_, connection, _)) =
            self.waiting.front().filter(|(number, ..)| *number <= safe).copied()
        {
            let is_own = |(number, of, _): &(u64, u64, Acknowledgement)| *number <= safe && *of == connection;
            while let Some((.., acknowledgement)) = self.waiting.pop_front_if(|waiting| is_own(waiting)) {
                self.acknowledged.push(acknowledgement);
            }
            taken.acknowledge(connection, &self.acknowledged);
            self.acknowledged.clear();
        }
        self.journal.report(&context.metrics);
        Ok(())
    }
}

/// The message of a record with its number.
fn message_of((number, record): (u64, Bytes)) -> Result<Message> {
    read(&record).ok_or_else(|| Error::state(format!("record {number} of the journal is no message")))
}

/// The message in a record.
fn read(record: &Bytes) -> Option<Message> {
    let mut bytes = record.clone();
    let payload_bytes = bytes.try_get_u32_le().ok()? as usize;
    match Version::V5.read(&mut BytesMut::from(bytes)).ok()? {
        Incoming::Publish(message) => Some(Message { payload_bytes, ..message }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use millstream_engine::SystemClock;
    use millstream_engine::journal::Limits;
    use millstream_engine::keys::KEY_GROUPS;

    use super::*;

    fn open(folder: &Path) -> Journaled {
        let limits = Limits { bytes_max: 1 << 20, segment_bytes: 2_000, records_kept: KNOWN_MAX.into() };
        let clock = Arc::new(SystemClock::default());
        Journaled::on(Journal::open(folder, limits, Arc::default(), clock).unwrap())
    }

    fn message(n: u16, duplicate: bool) -> Message {
        let payload = Bytes::from(n.to_string());
        let (topic, payload_bytes) = ("t".into(), payload.len());
        let (qos, retained, properties) = (1, false, None);
        Message { topic, payload, payload_bytes, packet_id: n, qos, retained, duplicate, properties }
    }

    fn take(journaled: &mut Journaled, numbers: std::ops::RangeInclusive<u16>) {
        numbers.for_each(|n| journaled.stage(&message(n, false)).unwrap());
        journaled.record(1);
    }

    fn snapshot(journaled: &mut Journaled) -> (StateReader, usize) {
        let mut state = StateWriter::default();
        journaled.snapshot(&mut state).unwrap();
        journaled.on_checkpoint_complete();
        let snapshot = state.finish();
        (StateReader::gather([&snapshot], &(0..KEY_GROUPS)), snapshot.num_bytes())
    }

    /// As Mosquitto does, which sends more ahead than 'receive-maximum' after a reconnect.
    #[test]
    fn all_that_a_broker_may_send_again_is_known_whatever_checkpoints_hold() {
        let folder = tempfile::tempdir().unwrap();
        let mut journaled = open(folder.path());
        take(&mut journaled, 1..=4_000);
        while journaled.journal.safe().unwrap() < 4_000 {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            snapshot(&mut journaled);
        }
        let (state, bytes) = snapshot(&mut journaled);
        assert_eq!(bytes, 13, "what the journal has needs no place in a checkpoint");
        take(&mut journaled, 4_001..=5_000);
        drop(journaled);
        let mut journaled = open(folder.path());
        journaled.restore(&state).unwrap();
        let mut replayed = 4_001..;
        while let Some(message) = journaled.replayed().unwrap() {
            assert_eq!(message.payload, replayed.next().unwrap().to_string());
        }
        assert_eq!(replayed.next(), Some(5_001));
        assert!((1..=5_000).all(|n| journaled.knows(&message(n, true), 2)));
        assert!(!journaled.knows(&message(7, false), 2) && !journaled.knows(&message(5_001, true), 2));
    }

    #[test]
    fn what_a_kill_took_from_the_journal_is_known_from_the_checkpoint_and_the_one_after_it() {
        let sum = |n| sum_of(&message(n, false)).to_le_bytes();
        let known: Vec<u8> =
            [1, 2].into_iter().flat_map(|n: u16| [&n.to_le_bytes()[..], &sum(n)].concat()).collect();
        let head = [&[STATE_VERSION][..], &2_u64.to_le_bytes(), &2_u32.to_le_bytes()].concat();
        let mut state = StateWriter::default();
        state.put_blob([head, known].concat());
        let mut state = StateReader::gather([&state.finish()], &(0..KEY_GROUPS));
        for _ in 0..3 {
            let empty = tempfile::tempdir().unwrap();
            let mut journaled = open(empty.path());
            journaled.restore(&state).unwrap();
            assert!((1..=2).all(|n| journaled.knows(&message(n, true), 1)));
            state = snapshot(&mut journaled).0;
        }
    }
}
