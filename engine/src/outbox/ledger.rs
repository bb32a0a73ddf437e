//! What of an outbox is still to be sent, and what became of the rest: the part that a checkpoint holds.
//!
//! Invariants: a record is pending, or refused and not yet with the dead letters, or done. A snapshot holds the number of
//! the last record that its epoch put in, and what was done with by then. Restored, everything behind that number counts as
//! done: the sources give its rows again, and they are put in again. What was refused is routed by the worker, in front
//! of the barrier whose snapshot says that it is done; so a letter and its mark are in one epoch. A record's room is given
//! back when it and all before it are done, and those that were refused only when the epoch with their letters, and the next one, are complete.
//! No disk, no thread, no clock: mod.rs has them, and a simulation drives this as it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, BufMut, Bytes};

use super::marks::Marks;
use crate::element::Epoch;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"MSOUTBOX";
const VERSION: u8 = 1;
/// Times of records that are remembered; with more, every other one is forgotten.
const TIMES_MAX: usize = 4_096;

/// A record that will not be sent, and why, row by row.
pub(super) struct Refused {
    pub number: u64,
    pub rows: Vec<(Bytes, Error)>,
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Ledger {
    marks: Marks,
    /// The number of the last record.
    last: u64,
    /// Refused, and still to be routed.
    refused: Vec<Refused>,
    refused_bytes: usize,
    /// Routed behind the last snapshot.
    fresh: BTreeSet<u64>,
    /// Routed, with the epoch whose snapshot says so.
    uncommitted: BTreeMap<u64, Epoch>,
    /// When some of the records were put in, in order of their numbers.
    times: VecDeque<(u64, i64)>,
}

impl Ledger {
    /// A record was put in.
    pub fn put(&mut self, number: u64, time_ms: i64) {
        self.last = self.last.max(number);
        if self.times.back().is_none_or(|(_, last_ms)| time_ms.abs_diff(*last_ms) >= 1_000) {
            self.times.push_back((number, time_ms));
        }
        if self.times.len() > TIMES_MAX {
            let mut place = 0;
            self.times.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }

    /// A record of an earlier run was read.
    pub fn read(&mut self, number: u64, time_ms: i64) {
        if self.times.front().is_none_or(|(first, _)| *first > number) {
            self.times.push_front((number, time_ms));
        }
    }

    /// All from `first` to `last` are through, or not there.
    pub fn done(&mut self, first: u64, last: u64) {
        self.marks.mark(first, last);
        let low = self.marks.low();
        while self.times.get(1).is_some_and(|(number, _)| *number <= low + 1) {
            self.times.pop_front();
        }
        if self.pending() == 0 {
            self.times.clear();
        }
    }

    /// A record will not be sent.
    pub fn refuse(&mut self, refused: Refused) {
        self.refused_bytes += refused.rows.iter().map(|(row, _)| row.len()).sum::<usize>();
        self.refused.push(refused);
    }

    /// Bytes of refused rows that wait to be routed.
    pub fn refused_bytes(&self) -> usize {
        self.refused_bytes
    }

    /// True while refused rows wait to be routed.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// What was refused, which the caller routes before the next snapshot.
    pub fn take_refused(&mut self) -> Vec<Refused> {
        self.refused_bytes = 0;
        let refused = std::mem::take(&mut self.refused);
        for Refused { number, .. } in &refused {
            self.fresh.insert(*number);
            self.done(*number, *number);
        }
        refused
    }

    /// How many records are not done.
    pub fn pending(&self) -> u64 {
        self.marks.pending(self.last)
    }

    /// When the oldest of them was put in, about; none where there is none.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.times.front().filter(|_| self.pending() > 0).map(|(_, time_ms)| *time_ms)
    }

    /// The ranges of records that are not done.
    pub fn todo(&self) -> Vec<(u64, u64)> {
        self.marks.gaps(self.last)
    }

    /// Up to here the room of records may be given back.
    pub fn released(&self) -> u64 {
        let held = self.fresh.first().into_iter().chain(self.uncommitted.keys().next()).min();
        self.marks.low().min(held.map_or(u64::MAX, |number| number - 1))
    }

    /// True while a complete epoch would let room be given back.
    pub fn awaits_checkpoint(&self) -> bool {
        self.released() < self.marks.low()
    }

    /// What the checkpoint of `epoch` holds of it.
    pub fn snapshot(&mut self, epoch: Epoch) -> Vec<u8> {
        self.uncommitted.extend(std::mem::take(&mut self.fresh).into_iter().map(|number| (number, epoch)));
        let mut bytes = MAGIC.to_vec();
        bytes.put_u8(VERSION);
        bytes.put_u64_le(self.last);
        self.marks.encode(&mut bytes);
        bytes
    }

    /// `epoch` is complete. The one before it stays for a person to go back to, so what it needs stays too.
    pub fn on_checkpoint_complete(&mut self, epoch: Epoch) {
        self.uncommitted.retain(|_, own| *own >= epoch);
    }

    /// Whether `blob` is a ledger's snapshot.
    pub fn is_snapshot(blob: &[u8]) -> bool {
        blob.starts_with(MAGIC)
    }

    /// The last number that a snapshot has, and what was done with.
    pub fn read_snapshot(blob: &[u8]) -> Result<(u64, Marks)> {
        let damaged = || Error::state("what a checkpoint has of an outbox is damaged");
        let mut bytes = blob.strip_prefix(MAGIC).ok_or_else(damaged)?;
        if bytes.try_get_u8().map_err(|_| damaged())? != VERSION {
            return Err(Error::state("a checkpoint of a later version has an outbox's state"));
        }
        let last = bytes.try_get_u64_le().map_err(|_| damaged())?;
        Ok((last, Marks::decode(&mut bytes).ok_or_else(damaged)?))
    }

    /// Goes on from a snapshot, with a log whose last record is `there`: what lies behind the snapshot's last record is put
    /// in again by others, and what the log does not have any more is done.
    ///
    /// # Errors
    /// If it is not one.
    pub fn restore(&mut self, blob: &[u8], there: u64) -> Result<()> {
        let (last, marks) = Self::read_snapshot(blob)?;
        self.marks = marks;
        self.last = last.max(there);
        self.done(last.min(there) + 1, self.last);
        Ok(())
    }

    /// Begins with a log whose last record is `there`, none of which is in a checkpoint; they are sent if they `count`.
    pub fn begin(&mut self, there: u64, count: bool) {
        self.last = there;
        if !count {
            self.done(1, there);
        }
    }
}
