//! A checkpoint as the bytes of one file.
//!
//! Layout of version 2, little-endian: `MILLCKPT`, version (u32), epoch (u64); the shape of the graph: a count (u32) of
//! (identity, id, what it does) texts; pieces of state as they came, each a 1 (u8), (number of the operator in the shape u32, instance
//! u32, keyed state: a count (u32) of (first key group u16, the one behind the last u16, bytes), blobs: a count (u32) of
//! bytes); a 0 (u8); and the CRC-32 of all before it. Texts and bytes have their length (u64) in front. One sum over
//! everything, so that no byte can change unseen. In version 1 a count (u32) stands before all pieces instead of a 1
//! before each, a shape has no identities, and a piece has its operator's id and one key group. A checkpoint comes from [`super::disk`], piece by
//! piece, and goes back there whole.

use std::io::{self, Write};
use std::ops::Range;

use bytes::{Buf, Bytes};

use super::{InstanceSnapshot, OperatorShape};
use crate::element::Epoch;
use crate::keys::{KEY_GROUPS, KeyGroup};

const MAGIC: &[u8; 8] = b"MILLCKPT";
/// What is written. Every version from 1 on is read, and tests/state keeps files of each.
const VERSION: u32 = 2;
/// Magic, version and the sum: less is no file of ours.
const BYTES_MIN: usize = 8 + 4 + 4;

/// What a checkpoint holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub epoch: Epoch,
    /// Every operator of the graph. Identities are those of the first version where the file is of it.
    pub shape: Vec<OperatorShape>,
    /// (id of the operator, instance) and what it wrote.
    pub snapshots: Vec<(String, u32, InstanceSnapshot)>,
}

/// Writes a checkpoint piece by piece.
#[derive(Debug, Default)]
pub(super) struct CheckpointWriter {
    sum: crc32fast::Hasher,
}

/// Counts the sum of what goes through.
struct Summed<'a> {
    to: &'a mut dyn Write,
    sum: &'a mut crc32fast::Hasher,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl CheckpointWriter {
    /// Writes what stands before all pieces.
    pub fn begin(&mut self, to: &mut dyn Write, epoch: Epoch, shape: &[OperatorShape]) -> io::Result<()> {
        let mut to = Summed { to, sum: &mut self.sum };
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&epoch.to_le_bytes())?;
        write_count(&mut to, shape.len())?;
        for OperatorShape { identity, id, does } in shape {
            [identity, id, does].into_iter().try_for_each(|text| write_bytes(&mut to, text.as_bytes()))?;
        }
        Ok(())
    }

    /// Writes a piece of an instance's state; the operator is the one of that number in the shape.
    pub fn piece(
        &mut self,
        to: &mut dyn Write,
        operator: u32,
        instance: u32,
        piece: &InstanceSnapshot,
    ) -> io::Result<()> {
        let mut to = Summed { to, sum: &mut self.sum };
        to.write_all(&[1])?;
        to.write_all(&operator.to_le_bytes())?;
        to.write_all(&instance.to_le_bytes())?;
        write_count(&mut to, piece.groups.len())?;
        for (groups, bytes) in &piece.groups {
            to.write_all(&groups.start.to_le_bytes())?;
            to.write_all(&groups.end.to_le_bytes())?;
            write_bytes(&mut to, bytes)?;
        }
        write_count(&mut to, piece.blobs.len())?;
        piece.blobs.iter().try_for_each(|bytes| write_bytes(&mut to, bytes))
    }

    /// Writes what stands behind all pieces.
    pub fn end(mut self, to: &mut dyn Write) -> io::Result<()> {
        Summed { to: &mut *to, sum: &mut self.sum }.write_all(&[0])?;
        to.write_all(&self.sum.finalize().to_le_bytes())?;
        to.flush()
    }
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
/// In words, if they are not what a [`CheckpointWriter`] of a known version wrote.
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
    // The sum holds, so what follows is what was written; lengths are checked all the same.
    let parsed = match version {
        1 => parse_1(&mut bytes),
        VERSION => parse(&mut bytes),
        _ => {
            return Err(format!("it has version {version}, and this program reads versions 1 to {VERSION}"));
        }
    };
    parsed.ok_or_else(|| "what it says of itself does not fit".into())
}

fn parse_head(
    bytes: &mut Bytes,
    read_shape: impl Fn(&mut Bytes) -> Option<OperatorShape>,
) -> Option<Checkpoint> {
    let mut checkpoint = Checkpoint { epoch: bytes.try_get_u64_le().ok()?, ..Checkpoint::default() };
    for _ in 0..bytes.try_get_u32_le().ok()? {
        checkpoint.shape.push(read_shape(bytes)?);
    }
    Some(checkpoint)
}

fn parse(bytes: &mut Bytes) -> Option<Checkpoint> {
    let mut checkpoint = parse_head(bytes, |bytes| {
        let [identity, id, does] = [read_text(bytes)?, read_text(bytes)?, read_text(bytes)?];
        Some(OperatorShape { identity, id, does })
    })?;
    while bytes.try_get_u8().ok()? == 1 {
        let operator = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
        let operator = checkpoint.shape.get(operator)?.id.clone();
        let instance = bytes.try_get_u32_le().ok()?;
        let piece =
            read_piece(bytes, |bytes| Some(bytes.try_get_u16_le().ok()?..bytes.try_get_u16_le().ok()?))?;
        checkpoint.snapshots.push((operator, instance, piece));
    }
    bytes.is_empty().then_some(checkpoint)
}

fn parse_1(bytes: &mut Bytes) -> Option<Checkpoint> {
    let mut checkpoint = parse_head(bytes, |bytes| {
        let (id, does) = (read_text(bytes)?, read_text(bytes)?);
        let mut operator = OperatorShape { identity: String::new(), id, does };
        operator.identity = operator.first_identity();
        Some(operator)
    })?;
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let (operator, instance) = (read_text(bytes)?, bytes.try_get_u32_le().ok()?);
        let piece = read_piece(bytes, |bytes| {
            let group = bytes.try_get_u16_le().ok()?;
            Some(group..group.checked_add(1)?)
        })?;
        checkpoint.snapshots.push((operator, instance, piece));
    }
    bytes.is_empty().then_some(checkpoint)
}

fn read_piece(
    bytes: &mut Bytes,
    read_groups: impl Fn(&mut Bytes) -> Option<Range<KeyGroup>>,
) -> Option<InstanceSnapshot> {
    let mut piece = InstanceSnapshot::default();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let groups = read_groups(bytes).filter(|groups| !groups.is_empty() && groups.end <= KEY_GROUPS)?;
        piece.groups.push((groups, read_bytes(bytes)?));
    }
    for _ in 0..bytes.try_get_u32_le().ok()? {
        piece.blobs.push(read_bytes(bytes)?);
    }
    Some(piece)
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
        let first = InstanceSnapshot {
            groups: vec![
                (3..4, Bytes::from_static(b"keyed")),
                (3..4, Bytes::new()),
                (127..128, Bytes::from_static(b"x")),
            ],
            blobs: vec![Bytes::from_static(b"position")],
        };
        let second =
            InstanceSnapshot { groups: vec![(64..128, Bytes::from_static(b"any key"))], blobs: vec![] };
        Checkpoint {
            epoch: 42,
            shape: vec![
                OperatorShape {
                    identity: "window: TUMBLE(1 min) by d".into(),
                    id: "window".into(),
                    does: "TUMBLE(1 min) by d".into(),
                },
                OperatorShape { identity: "result: ".into(), id: "result".into(), does: String::new() },
            ],
            snapshots: vec![
                ("window".into(), 1, first),
                ("result".into(), 0, InstanceSnapshot::default()),
                ("window".into(), 1, second),
            ],
        }
    }

    pub fn written(checkpoint: &Checkpoint) -> Vec<u8> {
        let (mut bytes, mut writer) = (Vec::new(), CheckpointWriter::default());
        writer.begin(&mut bytes, checkpoint.epoch, &checkpoint.shape).unwrap();
        for (operator, instance, piece) in &checkpoint.snapshots {
            let number = checkpoint.shape.iter().position(|known| known.id == *operator).unwrap();
            writer.piece(&mut bytes, number as u32, *instance, piece).unwrap();
        }
        writer.end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(written(&example()).into()).unwrap(), example());
    }

    /// Every bit of the file flipped, every length it can be cut to, and a byte more: an error each time.
    #[test]
    fn no_byte_changes_unseen() {
        let mut bytes = written(&example());
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

    /// Bytes whose sum is right and that nobody wrote: an error or a checkpoint, never a panic.
    #[test]
    fn nonsense_with_a_right_sum_does_no_harm() {
        let bytes = written(&example());
        let body = &bytes[..bytes.len() - 4];
        for at in 8..body.len() {
            for to in [0, 1, 2, 0x7f, 0xff] {
                let mut changed = body.to_vec();
                changed[at] = to;
                let sum = crc32fast::hash(&changed);
                changed.extend_from_slice(&sum.to_le_bytes());
                let _ = read(changed.into());
            }
        }
    }

    /// A file of today, byte for byte: a program that cannot read it any more strands a gateway. One that writes another
    /// gets a new version, and keeps reading this one.
    #[test]
    fn the_format_is_what_it_was() {
        let bytes = written(&example());
        assert_eq!((bytes.len(), crc32fast::hash(&bytes[..bytes.len() - 4])), (LENGTH, SUM));
    }
    const LENGTH: usize = 269;
    const SUM: u32 = 127_620_466;

    /// What the first version of the format wrote.
    #[test]
    fn a_file_of_version_1_is_read() {
        let bytes: &[u8] = include_bytes!("fixtures/version-1.checkpoint");
        let mut expected = example();
        expected.snapshots.pop();
        assert_eq!(read(Bytes::from_static(bytes)).unwrap(), expected);
    }
}
