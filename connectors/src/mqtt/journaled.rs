//! A source whose job keeps its state on disk tells the broker to forget a message only when the journal has it.
//!
//! Invariants: every QoS 1 message whose rows are emitted is in the journal or on its way there, in order of arrival, and is
//! acknowledged once it is safe. A checkpoint holds the number of the last message whose rows it counts, and the packet
//! ids that the broker may not know to be acknowledged: after a restart the messages behind that number come from the
//! journal, and what the broker sends again of those before it is known by packet id and content and dropped, as it is
//! after a reconnect. A record is how many bytes the payload had (u32), and the message as an MQTT 5 PUBLISH.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use millstream_engine::journal::{Journal, Replay};
use millstream_engine::keys::hash_bytes;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Error, InstanceContext, Result};

use super::packets::{Incoming, Message, Publication, Version};
use super::receive::Taken;
use super::recent::Recent;
use super::settings::Link;

/// The form of what a checkpoint holds.
const STATE_VERSION: u8 = 1;

/// See the module's page.
pub(super) struct Journaled {
    journal: Journal,
    /// Messages of earlier runs that are still to be emitted.
    replay: Option<Replay>,
    /// The number of the last message whose rows were emitted.
    counted: u64,
    /// Messages that were taken and are not recorded yet: (packet id, sum, where its record ends in `records`).
    staged: Vec<(u16, u64, usize)>,
    records: BytesMut,
    /// Recorded, and not acknowledged: (number, connection, packet id).
    waiting: VecDeque<(u64, u64, u16)>,
    acknowledged: Vec<u16>,
    /// Messages that the broker may not know to be acknowledged.
    recent: Recent,
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
        let Some(mut journal) = Journal::of(context, link.journal_bytes_max)? else { return Ok(None) };
        let replay = journal.replay();
        let unacknowledged_max = match link.version {
            Version::V5 => link.receive_maximum.into(),
            // The broker does not say how many it sends ahead.
            Version::V311 => usize::from(u16::MAX),
        };
        Ok(Some(Self {
            journal,
            replay,
            counted: 0,
            staged: Vec::new(),
            records: BytesMut::new(),
            waiting: VecDeque::new(),
            acknowledged: Vec::new(),
            recent: Recent::new(unacknowledged_max),
        }))
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
        self.counted = bytes.try_get_u64_le().map_err(broken)?;
        for _ in 0..bytes.try_get_u32_le().map_err(broken)? {
            let (packet_id, sum) =
                (bytes.try_get_u16_le().map_err(broken)?, bytes.try_get_u64_le().map_err(broken)?);
            self.recent.remember(packet_id, sum);
        }
        self.journal.go_on_behind(self.counted, self.counted);
        self.replay = self.replay.take().map(|replay| replay.behind(self.counted));
        Ok(())
    }

    /// Writes the position.
    pub fn snapshot(&mut self, state: &mut StateWriter) {
        let mut bytes = BytesMut::with_capacity(13 + 10 * self.recent.len());
        bytes.put_u8(STATE_VERSION);
        bytes.put_u64_le(self.counted);
        bytes.put_u32_le(self.recent.len() as u32);
        for (packet_id, sum) in self.recent.all() {
            bytes.put_u16_le(packet_id);
            bytes.put_u64_le(sum);
        }
        state.put_blob(bytes);
        self.journal.on_snapshot(self.counted);
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
        let Some((number, record)) = replay.next().transpose()? else {
            self.replay = None;
            return Ok(None);
        };
        let message = read(&record)
            .ok_or_else(|| Error::state(format!("record {number} of the journal is no message")))?;
        self.recent.remember(message.packet_id, sum_of(&message));
        self.counted = number;
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
            self.waiting.push_back((self.counted, connection, message.packet_id));
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
        Version::V5.write_publish(&mut self.records, &publication, message.packet_id, message.duplicate)?;
        let sum = sum_of(message);
        self.staged.push((message.packet_id, sum, self.records.len()));
        Ok(())
    }

    /// Records what was staged, all of it from one connection.
    pub fn record(&mut self, connection: u64) {
        if self.staged.is_empty() {
            return;
        }
        let (staged, mut begin) = (std::mem::take(&mut self.staged), 0);
        let mut journal = self.journal.appending();
        for (packet_id, _, end) in &staged {
            self.counted = journal.push(&[&self.records[begin..*end]]);
            self.waiting.push_back((self.counted, connection, *packet_id));
            begin = *end;
        }
        drop(journal);
        for (packet_id, sum, _) in &staged {
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
            let is_own = |(number, of, _): &(u64, u64, u16)| *number <= safe && *of == connection;
            while let Some((_, _, packet_id)) = self.waiting.pop_front_if(|waiting| is_own(waiting)) {
                self.acknowledged.push(packet_id);
            }
            taken.acknowledge(connection, &self.acknowledged);
            self.acknowledged.clear();
        }
        self.journal.report(&context.metrics);
        Ok(())
    }
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
