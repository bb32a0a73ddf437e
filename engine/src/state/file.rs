//! A checkpoint as the bytes of one file.
//!
//! Layout, little-endian: `MILLCKPT`, version (u32), epoch (u64); the shape of the graph: a count (u32) of (operator,
//! shape) texts; the snapshots: a count (u32) of (operator, instance u32, key groups: u32 of (u16, bytes), blobs: u32 of
//! bytes); and the CRC-32 of all before it. Texts and bytes have their length (u64) in front. One sum over everything,
//! so that no byte can change unseen. A checkpoint comes from [`super::disk`], and goes back there.

use bytes::{Buf, Bytes};
use std::io::{self, Write};

use super::InstanceSnapshot;
use crate::element::Epoch;
use crate::keys::KEY_GROUPS;

const MAGIC: &[u8; 8] = b"MILLCKPT";
/// Files of another version are refused; one that can read older ones keeps fixtures of them in tests/.
const VERSION: u32 = 1;
/// Magic, version and the sum: less is no file of ours.
const BYTES_MIN: usize = 8 + 4 + 4;

/// What a checkpoint holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Checkpoint {
    pub epoch: Epoch,
    /// Every operator of the graph and what it does, in words.
    pub shape: Vec<(String, String)>,
    /// (operator, instance) and what it wrote.
    pub snapshots: Vec<(String, u32, InstanceSnapshot)>,
}

/// Counts the sum of what goes through.
struct Summed<W> {
    to: W,
    sum: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes `checkpoint` to `to`.
pub(super) fn write(checkpoint: &Checkpoint, to: impl Write) -> io::Result<()> {
    let mut to = Summed { to, sum: crc32fast::Hasher::new() };
    to.write_all(MAGIC)?;
    to.write_all(&VERSION.to_le_bytes())?;
    to.write_all(&checkpoint.epoch.to_le_bytes())?;
    write_count(&mut to, checkpoint.shape.len())?;
    for (operator, shape) in &checkpoint.shape {
        write_bytes(&mut to, operator.as_bytes())?;
        write_bytes(&mut to, shape.as_bytes())?;
    }
    write_count(&mut to, checkpoint.snapshots.len())?;
    for (operator, instance, snapshot) in &checkpoint.snapshots {
        write_bytes(&mut to, operator.as_bytes())?;
        to.write_all(&instance.to_le_bytes())?;
        write_count(&mut to, snapshot.groups.len())?;
        for (group, bytes) in &snapshot.groups {
            to.write_all(&group.to_le_bytes())?;
            write_bytes(&mut to, bytes)?;
        }
        write_count(&mut to, snapshot.blobs.len())?;
        snapshot.blobs.iter().try_for_each(|bytes| write_bytes(&mut to, bytes))?;
    }
    let sum = to.sum.clone().finalize();
    to.to.write_all(&sum.to_le_bytes())?;
    to.flush()
}

fn write_count(to: &mut impl Write, count: usize) -> io::Result<()> {
    let count = u32::try_from(count).map_err(|_| io::Error::other("more than 4 billion parts of state"))?;
    to.write_all(&count.to_le_bytes())
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)
}

/// The checkpoint in `bytes`; its state shares their memory.
///
/// # Errors
/// In words, if they are not what [`write`] wrote.
pub(super) fn read(mut bytes: Bytes) -> Result<Checkpoint, String> {
    if bytes.len() < BYTES_MIN || &bytes[..8] != MAGIC {
        return Err("it is not a checkpoint".into());
    }
    let body = bytes.len() - 4;
    let sum = bytes.split_off(body).get_u32_le();
    if crc32fast::hash(&bytes) != sum {
        return Err("its checksum is wrong: bytes were changed or lost".into());
    }
    bytes.advance(8);
    let version = bytes.get_u32_le();
    if version != VERSION {
        return Err(format!("it has version {version}, and this program reads version {VERSION}"));
    }
    // The sum holds, so what follows is what was written; lengths are checked all the same.
    parse(&mut bytes).ok_or_else(|| "it ends too early".into())
}

fn parse(bytes: &mut Bytes) -> Option<Checkpoint> {
    let mut checkpoint = Checkpoint { epoch: bytes.try_get_u64_le().ok()?, ..Checkpoint::default() };
    for _ in 0..bytes.try_get_u32_le().ok()? {
        checkpoint.shape.push((read_text(bytes)?, read_text(bytes)?));
    }
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let (operator, instance) = (read_text(bytes)?, bytes.try_get_u32_le().ok()?);
        let mut snapshot = InstanceSnapshot::default();
        for _ in 0..bytes.try_get_u32_le().ok()? {
            let group = bytes.try_get_u16_le().ok().filter(|group| *group < KEY_GROUPS)?;
            snapshot.groups.push((group, read_bytes(bytes)?));
        }
        for _ in 0..bytes.try_get_u32_le().ok()? {
            snapshot.blobs.push(read_bytes(bytes)?);
        }
        checkpoint.snapshots.push((operator, instance, snapshot));
    }
    bytes.is_empty().then_some(checkpoint)
}

fn read_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u64_le().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn read_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(read_bytes(bytes)?.to_vec()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn example() -> Checkpoint {
        let snapshot = InstanceSnapshot {
            groups: vec![
                (3, Bytes::from_static(b"keyed")),
                (3, Bytes::new()),
                (127, Bytes::from_static(b"x")),
            ],
            blobs: vec![Bytes::from_static(b"position")],
        };
        Checkpoint {
            epoch: 42,
            shape: vec![("window".into(), "TUMBLE(1 min) by d".into()), ("result".into(), String::new())],
            snapshots: vec![
                ("window".into(), 1, snapshot),
                ("result".into(), 0, InstanceSnapshot::default()),
            ],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut bytes = Vec::new();
        write(&example(), &mut bytes).unwrap();
        assert_eq!(read(bytes.into()).unwrap(), example());
    }

    /// Every bit of the file flipped, every length it can be cut to, and a byte more: an error each time.
    #[test]
    fn no_byte_changes_unseen() {
        let mut bytes = Vec::new();
        write(&example(), &mut bytes).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(read(changed.into()).is_err(), "bit {bit} of byte {at}");
            }
            assert!(read(Bytes::copy_from_slice(&bytes[..at])).is_err(), "cut to {at}");
        }
        bytes.push(0);
        assert!(read(bytes.into()).is_err());
    }

    /// A file of version 1, byte for byte: a program that cannot read it any more strands a gateway.
    #[test]
    fn the_format_is_what_it_was() {
        let mut bytes = Vec::new();
        write(&example(), &mut bytes).unwrap();
        assert_eq!((bytes.len(), crc32fast::hash(&bytes[..bytes.len() - 4])), (LENGTH, SUM));
    }
    const LENGTH: usize = 198;
    const SUM: u32 = 416_748_199;
}
