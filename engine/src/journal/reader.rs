//! Reads a log from a number on, while another thread writes it: piece by piece, with little of it in memory.
//!
//! Invariants: only records up to what [`Tail::written`](super::Tail::written) says are given, each once and in order; of
//! what is behind that, nothing is kept, since it may be cut off and written anew. A record whose sum is wrong is passed
//! over, so that one bad byte costs itself and holds up nobody; who asks sees by the numbers that it is missing.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;

use super::log::{firsts_of, name_of};
use super::segment::{self, FRAME_BYTES, HEAD_BYTES};
use crate::disk::Disk;
use crate::error::{Error, Result};

/// Bytes that are read at a time, unless a record is longer.
const CHUNK_BYTES: usize = 256 << 10;

/// See the module's page.
pub(crate) struct Reader {
    disk: Arc<dyn Disk>,
    next: u64,
    place: Option<Place>,
}

/// Where in which segment it is.
struct Place {
    first: u64,
    salt: u32,
    /// The number of the last record that was passed.
    last: u64,
    /// Where in the segment `chunk` begins.
    offset: u64,
    chunk: Bytes,
    /// Where in `chunk` the next record begins.
    at: usize,
}

impl Reader {
    /// Gives records from the number `next` on.
    pub fn new(disk: Arc<dyn Disk>, next: u64) -> Self {
        Self { disk, next: next.max(1), place: None }
    }

    /// The number that is given next, or the first behind it that is there.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Goes to another number.
    pub fn seek(&mut self, next: u64) {
        (self.next, self.place) = (next, None);
    }

    /// The next record, of those up to `written`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next(&mut self, written: u64) -> Result<Option<(u64, Bytes)>> {
        while self.next <= written {
            let Some(place) = &mut self.place else {
                if self.find(0)? {
                    continue;
                }
                return Ok(None);
            };
            if let Some(record) = segment::record_at(&place.chunk, place.salt, place.at, place.last) {
                if record.number > written {
                    break;
                }
                (place.at, place.last) = (record.frame.end, record.number);
                if record.number >= self.next {
                    self.next = record.number + 1;
                    return Ok(Some((record.number, place.chunk.slice(record.payload()))));
                }
            } else if !place.fill(self.disk.as_ref()).map_err(|error| self.unreadable(&error))? {
                let first = self.place.as_ref().map_or(0, |place| place.first);
                if !self.find(first)? {
                    return Ok(None);
                }
            }
        }
        if let Some(place) = &mut self.place {
            place.forget();
        }
        Ok(None)
    }

    /// Goes to the segment that has the next record, of those behind the one that begins with `passed`. False where there
    /// is none.
    fn find(&mut self, passed: u64) -> Result<bool> {
        let names = self.disk.names().map_err(|error| self.unreadable(&error))?;
        let firsts = firsts_of(&names).into_iter().filter(|first| *first > passed);
        let (before, behind): (Vec<u64>, Vec<u64>) = firsts.partition(|first| *first <= self.next);
        // One that was released between the two steps is passed over.
        for first in before.last().into_iter().chain(&behind) {
            let Ok(head) = self.disk.read_at(&name_of(*first), 0, HEAD_BYTES) else { continue };
            let Ok(salt) = segment::salt(&head) else { continue };
            let (last, offset) = (first - 1, HEAD_BYTES as u64);
            self.place = Some(Place { first: *first, salt, last, offset, chunk: Bytes::new(), at: 0 });
            return Ok(true);
        }
        Ok(false)
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        let name = self.place.as_ref().map_or(String::new(), |place| name_of(place.first));
        Error::state(format!("cannot read {}: {error}", self.disk.place(&name)))
            .remedy("check the disk's health, and the folder's rights")
    }
}

impl Place {
    /// Nothing that was read ahead is kept.
    fn forget(&mut self) {
        self.offset += self.at as u64;
        (self.chunk, self.at) = (Bytes::new(), 0);
    }

    /// There is no good record at the place: reads more, or, where the bytes are all there and make none, passes a byte.
    /// False at the end of the segment.
    fn fill(&mut self, disk: &dyn Disk) -> std::io::Result<bool> {
        let left = self.chunk.len() - self.at;
        let wanted = segment::frame_bytes(&self.chunk[self.at..]).unwrap_or(FRAME_BYTES);
        if left >= wanted {
            self.at += 1;
            return Ok(true);
        }
        self.forget();
        self.chunk = match disk.read_at(&name_of(self.first), self.offset, wanted.max(CHUNK_BYTES)) {
            Ok(bytes) => bytes.into(),
            // Released, because nobody needs any of it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.chunk.len() > left {
            return Ok(true);
        }
        // The file ends in bytes that are no record; one may begin in them.
        self.at = usize::from(!self.chunk.is_empty());
        Ok(!self.chunk.is_empty())
    }
}
