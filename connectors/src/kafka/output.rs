//! What a sink that delivers exactly once wrote in one epoch, as bytes: part of the checkpoint, then of a transaction.
//!
//! Invariants: one buffer holds whose output it is and all messages, so that the checkpoint and the transaction share it
//! without a copy; it is read with every length checked, for it comes from a disk.
//!
//! `version u8 | lineage u64 | is_known u8 | instance u32 | epoch u64 | id: u16, bytes |`
//! then for each message `partition i32 | key: i32, bytes | payload: i32, bytes`, lengths of -1 for none.

use bytes::Bytes;

use millstream_engine::element::Epoch;
use millstream_engine::{Error, Result};

const VERSION: u8 = 1;
/// Where `is_known` and `epoch` are, which are set last.
const KNOWN_AT: usize = 9;
const EPOCH_AT: usize = 14;

/// Whose output it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The transactional id it is written under.
    pub id: String,
    /// Stays the same over restores, and differs between pipelines and between lives without state.
    pub lineage: u64,
    pub instance: u32,
}

/// One epoch's output while it grows.
pub(super) struct OpenOutput {
    bytes: Vec<u8>,
    header: usize,
}

impl OpenOutput {
    /// Nothing yet.
    pub fn new(owner: &Owner) -> Self {
        let mut bytes = vec![VERSION];
        bytes.extend(owner.lineage.to_le_bytes());
        bytes.push(0);
        bytes.extend(owner.instance.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        let id = owner.id.as_bytes();
        bytes.extend(u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend(&id[..id.len().min(usize::from(u16::MAX))]);
        Self { header: bytes.len(), bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.header
    }

    /// Bytes of its messages.
    pub fn num_bytes(&self) -> usize {
        self.bytes.len() - self.header
    }

    /// Adds a message.
    ///
    /// # Errors
    /// If it is of more than 2 GB.
    pub fn push(&mut self, message: &Message<'_>) -> Result<()> {
        message.write(&mut self.bytes)
    }

    /// Ends it at the barrier of `epoch`.
    pub fn close(mut self, epoch: Epoch, is_known: bool) -> Output {
        self.bytes[KNOWN_AT] = u8::from(is_known);
        self.bytes[EPOCH_AT..EPOCH_AT + 8].copy_from_slice(&epoch.to_le_bytes());
        Output { epoch, messages_at: self.header, bytes: self.bytes.into() }
    }
}

/// One epoch's output.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub epoch: Epoch,
    messages_at: usize,
    pub bytes: Bytes,
}

/// A message as it is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The partition, if it is not the key's.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Adds it to `bytes`.
    ///
    /// # Errors
    /// If it is of more than 2 GB.
    pub fn write(&self, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.extend(self.partition.unwrap_or(-1).to_le_bytes());
        for part in [self.key, self.payload] {
            let length = part.map_or(Ok(-1), |part| i32::try_from(part.len()));
            let length = length.map_err(|_| Error::data("a message of more than 2 GB"))?;
            bytes.extend(length.to_le_bytes());
            bytes.extend(part.unwrap_or_default());
        }
        Ok(())
    }

    /// Those that [`Message::write`] made `bytes` of, in order; an error is the last.
    pub fn each(mut bytes: &'a [u8]) -> impl Iterator<Item = Result<Self>> {
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            let message = next_message(&mut bytes);
            if message.is_err() {
                bytes = &[];
            }
            Some(message)
        })
    }
}

impl Output {
    /// Reads what a checkpoint holds: whose it is, and whether that lineage had written a transaction before.
    ///
    /// # Errors
    /// If it is of another version or damaged.
    pub fn read(bytes: &[u8]) -> Result<(Owner, bool, Self)> {
        let mut rest = bytes;
        let [version] = take::<1>(&mut rest)?;
        if version != VERSION {
            return Err(Error::state(format!("a Kafka sink's state of version {version}"))
                .remedy("start the version that wrote it, or a newer one"));
        }
        let lineage = u64::from_le_bytes(take(&mut rest)?);
        let [is_known] = take::<1>(&mut rest)?;
        let instance = u32::from_le_bytes(take(&mut rest)?);
        let epoch = u64::from_le_bytes(take(&mut rest)?);
        let length = u16::from_le_bytes(take(&mut rest)?);
        let id = rest.split_off(..usize::from(length)).ok_or_else(damaged)?;
        let id = String::from_utf8(id.to_vec()).map_err(|_| damaged())?;
        let output =
            Self { epoch, messages_at: bytes.len() - rest.len(), bytes: Bytes::copy_from_slice(bytes) };
        output.messages().try_for_each(|message| message.map(|_| ()))?;
        Ok((Owner { id, lineage, instance }, is_known != 0, output))
    }

    pub fn is_empty(&self) -> bool {
        self.messages_at == self.bytes.len()
    }

    /// Its messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Result<Message<'_>>> {
        Message::each(self.bytes.get(self.messages_at..).unwrap_or_default())
    }
}

fn next_message<'a>(rest: &mut &'a [u8]) -> Result<Message<'a>> {
    let partition = i32::from_le_bytes(take(rest)?);
    let mut part = || -> Result<Option<&'a [u8]>> {
        match i32::from_le_bytes(take(rest)?) {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| damaged())?;
                rest.split_off(..length).map(Some).ok_or_else(damaged)
            }
        }
    };
    Ok(Message { key: part()?, payload: part()?, partition: (partition >= 0).then_some(partition) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let taken = rest.split_off(..N).ok_or_else(damaged)?;
    taken.try_into().map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::state("a Kafka sink's state is damaged").remedy("restore an earlier checkpoint")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (Owner, Output) {
        let owner = Owner { id: "prefix-sums-1".to_owned(), lineage: 7, instance: 1 };
        let mut open = OpenOutput::new(&owner);
        assert!(open.is_empty());
        open.push(&Message { partition: None, key: Some(b"k"), payload: Some(b"payload") }).unwrap();
        open.push(&Message { partition: Some(3), key: None, payload: None }).unwrap();
        (owner, open.close(42, true))
    }

    #[test]
    fn what_was_written_is_read() {
        let (owner, output) = output();
        let (read_owner, is_known, read) = Output::read(&output.bytes).unwrap();
        assert_eq!((&read_owner, is_known, read.epoch, read.is_empty()), (&owner, true, 42, false));
        let messages: Vec<_> = read.messages().map(|message| message.unwrap()).collect();
        let expected = [
            Message { partition: None, key: Some(b"k"), payload: Some(b"payload") },
            Message { partition: Some(3), key: None, payload: None },
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn what_is_cut_off_or_of_another_version_is_refused() {
        let (_, output) = output();
        let whole: Vec<usize> =
            (0..output.bytes.len()).filter(|end| Output::read(&output.bytes[..*end]).is_ok()).collect();
        // Only where a message ends.
        assert_eq!(whole.len(), 2, "{whole:?}");
        let mut other = output.bytes.to_vec();
        other[0] = 9;
        assert!(Output::read(&other).unwrap_err().to_string().contains("version 9"));
    }
}
