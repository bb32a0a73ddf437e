//! Messages as the outbox has them: a record holds those of one batch, or of a part of it.
//!
//! Layout: version (u8), then each message as output.rs has it. Written by sink.rs, read by the outbox's pump for
//! forward.rs. A record is through when each of its messages is, and after a kill all of it goes out again; so it is no
//! longer than [`RECORD_BYTES_MAX`], and one row a second has a record of its own.

use std::sync::Arc;

use bytes::Bytes;

use millstream_engine::Result;
use millstream_engine::outbox::{Outbox, Parcel, Ticket};

use super::output::Message;
use super::producer::MESSAGE_BYTES;

/// The form of a record.
const VERSION: u8 = 1;
/// At so many bytes a record is closed.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A record while it grows; its memory is kept.
#[derive(Default)]
pub(super) struct OpenRecord {
    bytes: Vec<u8>,
}

impl OpenRecord {
    /// Adds a message, and puts the record into `outbox` when it is full.
    ///
    /// # Errors
    /// If the message is of more than 2 GB.
    pub fn push(&mut self, message: &Message<'_>, outbox: &mut Outbox, topic: &str) -> Result<()> {
        if self.bytes.is_empty() {
            self.bytes.push(VERSION);
        }
        message.write(&mut self.bytes)?;
        if self.bytes.len() >= RECORD_BYTES_MAX {
            self.close(outbox, topic);
        }
        Ok(())
    }

    /// Puts what is there into `outbox`, under the name of its topic.
    pub fn close(&mut self, outbox: &mut Outbox, topic: &str) {
        if !self.bytes.is_empty() {
            outbox.put(topic.as_bytes(), &self.bytes);
            self.bytes.clear();
        }
    }
}

/// A record on its way.
pub(super) struct Stored {
    messages: Bytes,
    count: usize,
    pub ticket: Arc<Ticket>,
}

impl Stored {
    /// Its messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Result<Message<'_>>> {
        Message::each(&self.messages)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.count
    }
}

impl Parcel for Stored {
    fn read(bytes: Bytes, ticket: Arc<Ticket>) -> Result<Self> {
        let (messages, count) = read(&bytes).ok_or_else(|| ticket.unreadable("message"))?;
        Ok(Self { messages, count, ticket })
    }

    fn num_bytes(&self) -> usize {
        self.messages.len() + self.count * MESSAGE_BYTES
    }

    fn rows(&self) -> Vec<Bytes> {
        payloads(&self.messages)
    }
}

/// The payloads of a record, for people; none if it is none of this version.
pub(super) fn rows(record: &Bytes) -> Option<Vec<Bytes>> {
    read(record).map(|(messages, _)| payloads(&messages))
}

/// The messages of a record, of which there is at least one, and how many they are.
fn read(record: &Bytes) -> Option<(Bytes, usize)> {
    if *record.first()? != VERSION {
        return None;
    }
    let messages = record.slice(1..);
    let count = Message::each(&messages).try_fold(0, |count, message| message.ok().map(|_| count + 1))?;
    (count > 0).then_some((messages, count))
}

/// Those of a tombstone are empty.
fn payloads(messages: &Bytes) -> Vec<Bytes> {
    let all = Message::each(messages).filter_map(Result::ok);
    all.map(|message| messages.slice_ref(message.payload.unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for message in [
            Message { partition: None, key: Some(b"k"), payload: Some(b"{\"n\":1}") },
            Message { partition: Some(3), key: Some(b""), payload: None },
            Message { partition: None, key: None, payload: Some(b"") },
        ] {
            message.write(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn messages_come_back_as_they_were_and_tombstones_have_no_row() {
        let (messages, count) = read(&record().into()).unwrap();
        let all: Vec<_> = Message::each(&messages).map(Result::unwrap).collect();
        assert_eq!(count, 3);
        assert_eq!(all[0], Message { partition: None, key: Some(b"k"), payload: Some(b"{\"n\":1}") });
        assert_eq!(all[1], Message { partition: Some(3), key: Some(b""), payload: None });
        assert_eq!(all[2], Message { partition: None, key: None, payload: Some(b"") });
        assert_eq!(rows(&record().into()).unwrap(), [&b"{\"n\":1}"[..], b"", b""]);
    }

    #[test]
    fn other_bytes_are_none_and_never_a_panic() {
        let record = record();
        let whole: Vec<usize> =
            (0..record.len()).filter(|cut| read(&record[..*cut].to_vec().into()).is_some()).collect();
        assert_eq!(whole.len(), 2, "only where a message ends: {whole:?}");
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut flipped = record.clone();
                flipped[at] ^= 1 << bit;
                let _ = rows(&flipped.into());
            }
        }
    }
}
