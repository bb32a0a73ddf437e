//! The bytes of one segment: a head, then records.
//!
//! Layout, little-endian. Head: `MILLJRNL`, version (u32), salt (u32), number of the first record (u64), CRC-32 of these.
//! A record: length (u32), CRC-32 (u32), number (u64), where its commit begins in the segment (u32), payload; its sum
//! covers the salt and all but itself, so what a device sends cannot pass for a record. Numbers go up; a record is good
//! by itself, so that those behind a damaged one are found again. A commit is written when that before it is safe: bytes
//! that are no record and lie in front of a later commit were damaged, others may be what a power cut left.

use std::ops::Range;

const MAGIC: &[u8; 8] = b"MILLJRNL";
const VERSION: u32 = 1;
/// Bytes of a segment's head.
pub const HEAD_BYTES: usize = 28;
/// Bytes of a record beside its payload.
pub const FRAME_BYTES: usize = 20;
/// A payload that is longer is no record.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// The head of a segment whose first record is `first`.
pub fn head(salt: u32, first: u64) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&salt.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Why a segment has no salt.
#[derive(Debug, PartialEq, Eq)]
pub enum HeadError {
    Damaged,
    /// One that this program does not read.
    Version(u32),
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged => write!(f, "its head is damaged"),
            Self::Version(found) => {
                write!(f, "it has version {found}, and this program reads version {VERSION}")
            }
        }
    }
}

/// The salt of a segment.
///
/// # Errors
/// If the head is not one of ours.
pub fn salt(segment: &[u8]) -> Result<u32, HeadError> {
    let bytes = segment.first_chunk::<HEAD_BYTES>().ok_or(HeadError::Damaged)?;
    if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..24]) != u32_at(bytes, 24) {
        return Err(HeadError::Damaged);
    }
    match u32_at(bytes, 8) {
        VERSION => Ok(u32_at(bytes, 12)),
        other => Err(HeadError::Version(other)),
    }
}

/// Adds a record to `frames`; its sum and the place of its commit are still missing ([`seal`]).
pub fn push(frames: &mut Vec<u8>, number: u64, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    frames.reserve(FRAME_BYTES + length);
    frames.extend_from_slice(&(length as u32).to_le_bytes());
    frames.extend_from_slice(&[0; 4]);
    frames.extend_from_slice(&number.to_le_bytes());
    frames.extend_from_slice(&[0; 4]);
    parts.iter().for_each(|part| frames.extend_from_slice(part));
}

/// The number of the first record of `frames`.
pub fn first(frames: &[u8]) -> u64 {
    u64_at(frames, 8)
}

/// Makes `frames` a commit that begins at `begin` of its segment.
pub fn seal(frames: &mut [u8], salt: u32, begin: u32) {
    let mut at = 0;
    while at < frames.len() {
        let end = at + FRAME_BYTES + u32_at(frames, at) as usize;
        frames[at + 16..at + 20].copy_from_slice(&begin.to_le_bytes());
        let sum = sum(&frames[at..end], salt);
        frames[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        at = end;
    }
}

fn sum(frame: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A record in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub number: u64,
    /// Where its commit begins.
    pub commit: usize,
    /// Where its frame is.
    pub frame: Range<usize>,
}

impl Record {
    /// Where its payload is.
    pub fn payload(&self) -> Range<usize> {
        self.frame.start + FRAME_BYTES..self.frame.end
    }
}

/// The record at `at`, if a good one is there whose number is over `last`.
pub fn record_at(segment: &[u8], salt: u32, at: usize, last: u64) -> Option<Record> {
    let head = segment.get(at..at + FRAME_BYTES)?;
    let (length, number) = (u32_at(head, 0) as usize, u64_at(head, 8));
    // So few numbers are possible that a search costs next to nothing.
    let is_near = number > last && number - last <= segment.len() as u64;
    let frame = at..at.checked_add(FRAME_BYTES + length.min(PAYLOAD_BYTES_MAX + 1))?;
    let bytes = segment.get(frame.clone()).filter(|_| is_near && length <= PAYLOAD_BYTES_MAX)?;
    (sum(bytes, salt) == u32_at(head, 4)).then_some(Record {
        number,
        commit: u32_at(head, 16) as usize,
        frame,
    })
}

/// How many bytes the frame at the beginning of `bytes` says it has, if it can be one.
pub fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let length = u32_at(bytes.get(..FRAME_BYTES)?, 0) as usize;
    (length <= PAYLOAD_BYTES_MAX).then_some(FRAME_BYTES + length)
}

/// What a look through a segment found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub records: Vec<Record>,
    /// Bytes that are no record, with good ones behind them.
    pub gaps: Vec<Range<usize>>,
    /// One of the gaps was safe once.
    pub is_damaged: bool,
    /// Where the bytes begin that are no record and have no good one behind them, if there are any.
    pub tail: Option<usize>,
}

/// Looks through a segment whose first record is `first`.
pub fn look_through(segment: &[u8], salt: u32, first: u64) -> Found {
    let mut found = Found::default();
    let (mut at, mut bad_from, mut last) = (HEAD_BYTES, None, first - 1);
    while at < segment.len() {
        match record_at(segment, salt, at, last) {
            Some(record) => {
                if let Some(from) = bad_from.take() {
                    found.gaps.push(from..at);
                }
                found.is_damaged |= found.gaps.iter().any(|gap| gap.start < record.commit);
                (at, last) = (record.frame.end, record.number);
                found.records.push(record);
            }
            None => {
                bad_from.get_or_insert(at);
                at += 1;
            }
        }
    }
    found.tail = bad_from;
    found
}
