//! A checkpoint as the bytes of one file, and of those of earlier checkpoints that it refers to.
//!
//! Layout of version 3, little-endian: `MILLCKPT`, version (u32), epoch (u64); the shape of the graph: a count (u32) of
//! (identity, id, what it does) texts; pieces of state as they came, each a 1 (u8), (number of the operator in the shape u32, instance
//! u32, keyed state: a count (u32) of (first key group u16, the one behind the last u16, bytes), blobs: a count (u32) of
//! bytes); a 0 (u8); and the CRC-32 of all before it. Texts and bytes have their length (u64) in front. Bytes of state whose
//! length has the highest bit set are in the file of an earlier epoch (stored.rs): it (u64), where they begin there (u64)
//! and their CRC-32 follow. One sum over everything, so that no byte can change unseen. In version 2 all bytes are in the
//! file. In version 1 a count (u32) stands before all pieces instead of a 1 before each, a shape has no identities, and a
//! piece has its operator's id and one key group. A checkpoint comes from [`super::disk`], piece by piece, and goes back
//! there whole.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Seek, Write};
use std::ops::Range;

use bytes::{Buf, Bytes};

use super::stored::{Place, Storing};
use super::{InstanceSnapshot, OperatorShape};
use crate::element::Epoch;
use crate::keys::{KEY_GROUPS, KeyGroup};

const MAGIC: &[u8; 8] = b"MILLCKPT";
/// What is written. Every version from 1 on is read, and tests/state keeps files of each.
const VERSION: u32 = 3;
/// In a length: the bytes are in another file.
const ELSEWHERE: u64 = 1 << 63;
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
#[derive(Debug)]
pub(super) struct CheckpointWriter {
    epoch: Epoch,
    sum: crc32fast::Hasher,
    /// Bytes that were written.
    at: u64,
    storing: Storing,
}

/// Counts bytes, and their sum, of what goes through.
struct Summed<'a> {
    to: &'a mut dyn Write,
    sum: &'a mut crc32fast::Hasher,
    at: &'a mut u64,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        *self.at += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl CheckpointWriter {
    /// For the checkpoint of `epoch`, which refers to what `storing` says.
    pub fn new(epoch: Epoch, storing: Storing) -> Self {
        Self { epoch, sum: crc32fast::Hasher::new(), at: 0, storing }
    }

    /// Writes what stands before all pieces.
    pub fn begin(&mut self, to: &mut dyn Write, shape: &[OperatorShape]) -> io::Result<()> {
        let mut to = Summed { to, sum: &mut self.sum, at: &mut self.at };
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&self.epoch.to_le_bytes())?;
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
        let Self { epoch, sum, at, storing } = self;
        let mut to = Summed { to, sum, at };
        to.write_all(&[1])?;
        to.write_all(&operator.to_le_bytes())?;
        to.write_all(&instance.to_le_bytes())?;
        write_count(&mut to, piece.groups.len())?;
        for (groups, bytes) in &piece.groups {
            to.write_all(&groups.start.to_le_bytes())?;
            to.write_all(&groups.end.to_le_bytes())?;
            write_state(&mut to, *epoch, storing, bytes)?;
        }
        write_count(&mut to, piece.blobs.len())?;
        piece.blobs.iter().try_for_each(|bytes| write_state(&mut to, *epoch, storing, bytes))
    }

    /// Writes what stands behind all pieces.
    pub fn end(&mut self, to: &mut dyn Write) -> io::Result<()> {
        Summed { to: &mut *to, sum: &mut self.sum, at: &mut self.at }.write_all(&[0])?;
        to.write_all(&self.sum.clone().finalize().to_le_bytes())?;
        self.at += 4;
        to.flush()
    }

    /// Bytes that were written.
    pub fn num_bytes(&self) -> u64 {
        self.at
    }

    /// What it refers to.
    pub fn storing(&self) -> &Storing {
        &self.storing
    }

    /// The same, for good.
    pub fn into_storing(self) -> Storing {
        self.storing
    }
}

fn write_state(to: &mut Summed<'_>, epoch: Epoch, storing: &mut Storing, bytes: &[u8]) -> io::Result<()> {
    let length = bytes.len() as u64;
    let offset = *to.at + 8;
    match storing.place(bytes, || Place { epoch, offset, length, sum: crc32fast::hash(bytes) }) {
        None => write_bytes(to, bytes),
        Some(Place { epoch, offset, length, sum }) => {
            to.write_all(&(length | ELSEWHERE).to_le_bytes())?;
            to.write_all(&epoch.to_le_bytes())?;
            to.write_all(&offset.to_le_bytes())?;
            to.write_all(&sum.to_le_bytes())
        }
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

/// Gets bytes that are in another file, as [`Place::is_of`] says.
pub(super) type Fetch<'a> = &'a mut dyn FnMut(&Place) -> Result<Bytes, String>;

/// The epochs whose files the checkpoint in a file refers to. State is passed over and not read, for it may be large; nor is
/// the sum, so what is damaged answers anything, and who reads it says so.
///
/// # Errors
/// If the file ends too early, or cannot be read.
pub(super) fn refers_to(file: impl Read + Seek) -> io::Result<BTreeSet<Epoch>> {
    let (mut from, mut epochs) = (BufReader::new(file), BTreeSet::new());
    from.seek_relative(MAGIC.len() as i64)?;
    if u32::from_le_bytes(take(&mut from)?) != VERSION {
        return Ok(epochs);
    }
    from.seek_relative(8)?;
    for _ in 0..3 * u64::from(u32::from_le_bytes(take(&mut from)?)) {
        pass_bytes(&mut from)?;
    }
    while take(&mut from)? == [1] {
        from.seek_relative(8)?;
        for _ in 0..u32::from_le_bytes(take(&mut from)?) {
            from.seek_relative(4)?;
            epochs.extend(pass_bytes(&mut from)?);
        }
        for _ in 0..u32::from_le_bytes(take(&mut from)?) {
            epochs.extend(pass_bytes(&mut from)?);
        }
    }
    Ok(epochs)
}

/// Passes over a text or bytes of state, and answers in which epoch's file they are, if in another one.
fn pass_bytes(from: &mut BufReader<impl Read + Seek>) -> io::Result<Option<Epoch>> {
    let length = u64::from_le_bytes(take(from)?);
    if length & ELSEWHERE == 0 {
        return from.seek_relative(length as i64).map(|()| None);
    }
    let epoch = u64::from_le_bytes(take(from)?);
    from.seek_relative(8 + 4).map(|()| Some(epoch))
}

fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map(|()| bytes)
}

/// The checkpoint in `bytes`; its state shares their memory, where it is in them.
///
/// # Errors
/// In words, if they are not what a [`CheckpointWriter`] of a known version wrote, or as `fetch` says.
pub(super) fn read(mut bytes: Bytes, fetch: Fetch<'_>) -> Result<Checkpoint, String> {
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
    let mut failed = None;
    let parsed = match version {
        1 => parse_1(&mut bytes),
        2 => parse(&mut bytes, read_bytes),
        VERSION => parse(&mut bytes, |bytes| {
            let fetched = read_state(bytes, fetch)?;
            fetched.map_err(|why| failed = Some(why)).ok()
        }),
        _ => {
            return Err(format!("it has version {version}, and this program reads versions 1 to {VERSION}"));
        }
    };
    parsed.ok_or_else(|| failed.unwrap_or_else(|| "what it says of itself does not fit".into()))
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

fn parse(bytes: &mut Bytes, mut read_state: impl FnMut(&mut Bytes) -> Option<Bytes>) -> Option<Checkpoint> {
    let mut checkpoint = parse_head(bytes, |bytes| {
        let [identity, id, does] = [read_text(bytes)?, read_text(bytes)?, read_text(bytes)?];
        Some(OperatorShape { identity, id, does })
    })?;
    while bytes.try_get_u8().ok()? == 1 {
        let operator = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
        let operator = checkpoint.shape.get(operator)?.id.clone();
        let instance = bytes.try_get_u32_le().ok()?;
        let read_groups =
            |bytes: &mut Bytes| Some(bytes.try_get_u16_le().ok()?..bytes.try_get_u16_le().ok()?);
        let piece = read_piece(bytes, read_groups, &mut read_state)?;
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
        let read_groups = |bytes: &mut Bytes| {
            let group = bytes.try_get_u16_le().ok()?;
            Some(group..group.checked_add(1)?)
        };
        let piece = read_piece(bytes, read_groups, &mut read_bytes)?;
        checkpoint.snapshots.push((operator, instance, piece));
    }
    bytes.is_empty().then_some(checkpoint)
}

fn read_piece(
    bytes: &mut Bytes,
    read_groups: impl Fn(&mut Bytes) -> Option<Range<KeyGroup>>,
    read_state: &mut impl FnMut(&mut Bytes) -> Option<Bytes>,
) -> Option<InstanceSnapshot> {
    let mut piece = InstanceSnapshot::default();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let groups = read_groups(bytes).filter(|groups| !groups.is_empty() && groups.end <= KEY_GROUPS)?;
        piece.groups.push((groups, read_state(bytes)?));
    }
    for _ in 0..bytes.try_get_u32_le().ok()? {
        piece.blobs.push(read_state(bytes)?);
    }
    Some(piece)
}

fn read_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u64_le().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

/// Bytes of state, here or elsewhere.
fn read_state(bytes: &mut Bytes, fetch: Fetch<'_>) -> Option<Result<Bytes, String>> {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length))?;
    if length & ELSEWHERE == 0 {
        return read_bytes(bytes).map(Ok);
    }
    bytes.advance(8);
    let (epoch, offset) = (bytes.try_get_u64_le().ok()?, bytes.try_get_u64_le().ok()?);
    let place = Place { epoch, offset, length: length & !ELSEWHERE, sum: bytes.try_get_u32_le().ok()? };
    Some(fetch(&place))
}

fn read_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(read_bytes(bytes)?.to_vec()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

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
        written_behind(checkpoint, Storing::whole()).0
    }

    fn written_behind(checkpoint: &Checkpoint, storing: Storing) -> (Vec<u8>, Storing) {
        let (mut bytes, mut writer) = (Vec::new(), CheckpointWriter::new(checkpoint.epoch, storing));
        writer.begin(&mut bytes, &checkpoint.shape).unwrap();
        for (operator, instance, piece) in &checkpoint.snapshots {
            let number = checkpoint.shape.iter().position(|known| known.id == *operator).unwrap();
            writer.piece(&mut bytes, number as u32, *instance, piece).unwrap();
        }
        writer.end(&mut bytes).unwrap();
        assert_eq!(writer.num_bytes(), bytes.len() as u64);
        (bytes, writer.into_storing())
    }

    /// Reads what refers to nothing.
    fn read_whole(bytes: Bytes) -> Result<Checkpoint, String> {
        read(bytes, &mut |_| Err("there is no other file".into()))
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read_whole(written(&example()).into()).unwrap(), example());
    }

    /// Every bit of the file flipped, every length it can be cut to, and a byte more: an error each time.
    #[test]
    fn no_byte_changes_unseen() {
        let mut bytes = written(&example());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(read_whole(changed.into()).is_err(), "bit {bit} of byte {at}");
            }
            assert!(read_whole(Bytes::copy_from_slice(&bytes[..at])).is_err(), "cut to {at}");
        }
        bytes.push(0);
        assert!(read_whole(bytes.into()).is_err());
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
                let _ = read_whole(changed.into());
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
    const SUM: u32 = 199_458_107;

    /// What the first version of the format wrote.
    #[test]
    fn a_file_of_version_1_is_read() {
        let bytes: &[u8] = include_bytes!("fixtures/version-1.checkpoint");
        let mut expected = example();
        expected.snapshots.pop();
        assert_eq!(read_whole(Bytes::from_static(bytes)).unwrap(), expected);
    }

    #[test]
    fn what_an_earlier_file_holds_is_read_from_there_and_checked() {
        let mut first = example();
        first.snapshots[0].2.blobs = vec![Bytes::from(vec![7; 400]), Bytes::from(vec![8; 50])];
        let (earlier, storing) = written_behind(&first, Storing::whole());
        let sizes = [(first.epoch, Some(earlier.len() as u64))].into();
        let mut second = Checkpoint { epoch: 43, ..first.clone() };
        second.snapshots[0].2.blobs[1] = Bytes::from(vec![9; 50]);
        let (bytes, _) = written_behind(&second, Storing::behind(&storing.finish().into(), &sizes, 0));
        assert!(bytes.len() + 370 < earlier.len(), "{} and {}", bytes.len(), earlier.len());
        let read_with = |earlier: &[u8]| {
            read(bytes.clone().into(), &mut |place| {
                assert_eq!(place.epoch, 42);
                let range = place.offset as usize..(place.offset + place.length) as usize;
                let bytes = Bytes::copy_from_slice(&earlier[range]);
                if place.is_of(&bytes) { Ok(bytes) } else { Err("changed".into()) }
            })
        };
        assert_eq!(read_with(&earlier).unwrap(), second);
        assert_eq!(refers_to(Cursor::new(&bytes)).unwrap(), [42].into());
        assert_eq!(refers_to(Cursor::new(&earlier)).unwrap(), [].into());
        (0..bytes.len() - 5).for_each(|end| assert!(refers_to(Cursor::new(&bytes[..end])).is_err(), "{end}"));
        let nobody = read_whole(bytes.clone().into()).unwrap_err();
        assert_eq!(nobody, "there is no other file");
        let at = earlier.windows(400).position(|bytes| bytes == [7; 400]).unwrap();
        for at in at..at + 400 {
            let mut changed = earlier.clone();
            changed[at] ^= 1;
            assert_eq!(read_with(&changed).map(|_| at).unwrap_err(), "changed");
        }
    }
}
