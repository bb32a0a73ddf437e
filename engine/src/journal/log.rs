//! The journal's files: segments that are written one after the other and taken away as a whole.
//!
//! Invariants: a record counts as safe only after its segment, and the name of it, were synced. What a power cut left
//! half written at the end of the last segment is cut off: it never counted. What a killed run wrote may be in memory
//! only, and after a failed sync no later one tells; so the last segment is written anew when it is opened, before what it
//! holds counts as safe. Damage to what was safe is none of a power cut: the segment goes aside as it is
//! (`damaged-…`), its good records stay, and it is said and counted. A full disk
//! leaves everything as it was, to be tried again; a failed sync ends it. No thread, no clock: journal/mod.rs has them,
//! and a simulation drives this as it likes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::segment::{self, HEAD_BYTES, HeadError, Record};
use crate::disk::{Disk, DiskFile, is_lasting};
use crate::error::{Error, Result};

const PREFIX: &str = "journal-";
const DAMAGED: &str = "damaged-";
const TEMPORARY: &str = ".writing";
/// Damaged segments that are kept for a person to look at.
const DAMAGED_KEPT: usize = 4;

/// How much it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes on disk; at that, nothing is taken until something was released.
    pub bytes_max: u64,
    /// Bytes after which a segment is closed; what is released is given back a segment at a time.
    pub segment_bytes: u64,
    /// As many of the last records stay though they are released, in up to a quarter of the bytes.
    pub records_kept: u64,
}

/// Why records are not safe.
#[derive(Debug)]
pub enum CommitError {
    /// They can be tried again: nothing has changed.
    NoRoom(io::Error),
    /// Nothing can be promised any more.
    Broken(Error),
}

/// A segment that is not written any more.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Closed {
    first: u64,
    last: u64,
    bytes: u64,
}

struct Open {
    file: Box<dyn DiskFile>,
    first: u64,
    last: u64,
    bytes: u64,
    salt: u32,
}

/// See the module's page.
pub struct Log {
    disk: Arc<dyn Disk>,
    limits: Limits,
    closed: VecDeque<Closed>,
    open: Option<Open>,
    last: u64,
    damaged: u64,
}

/// The name of the segment whose first record is `first`.
pub(super) fn name_of(first: u64) -> String {
    format!("{PREFIX}{first:020}")
}

/// The first records of the segments among files of these names, in order.
pub(super) fn firsts_of(names: &[String]) -> Vec<u64> {
    let numbers = names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok());
    let mut firsts: Vec<u64> = numbers.filter(|first| *first > 0).collect();
    firsts.sort_unstable();
    firsts
}

/// Takes all records of a log away that nobody has open, the newest first: cut short, what is left are the oldest.
///
/// # Errors
/// If the folder cannot be read or written.
pub fn remove_all(disk: &dyn Disk) -> Result<()> {
    let failed = |what, name: &str, error| broken(disk, name, what, &error);
    let names = disk.names().map_err(|error| failed("list", "", error))?;
    for first in firsts_of(&names).into_iter().rev() {
        let name = name_of(first);
        disk.remove(&name).map_err(|error| failed("remove", &name, error))?;
    }
    disk.sync().map_err(|error| failed("sync", "", error))
}

impl Log {
    /// Opens what is there.
    ///
    /// # Errors
    /// If the folder cannot be read, or has a segment of another version.
    pub fn open(disk: Arc<dyn Disk>, limits: Limits) -> Result<Self> {
        let mut log = Self { disk, limits, closed: VecDeque::new(), open: None, last: 0, damaged: 0 };
        let names = log.disk.names().map_err(|error| log.failed("list", "", &error))?;
        for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
            log.disk.remove(name).map_err(|error| log.failed("remove", name, &error))?;
        }
        let firsts = firsts_of(&names);
        for (place, first) in firsts.iter().enumerate() {
            log.take_up(*first, firsts.get(place + 1).copied())?;
        }
        // What was taken away, here or by a run that was killed, must not come back beside numbers that are given anew.
        log.disk.sync().map_err(|error| log.failed("sync", "", &error))?;
        Ok(log)
    }

    /// Looks through a segment that an earlier run left.
    fn take_up(&mut self, first: u64, next: Option<u64>) -> Result<()> {
        let name = name_of(first);
        let failed = |error: io::Error| self.failed("read", &name, &error);
        let bytes = self.disk.read(&name).map_err(failed)?;
        let salt = match segment::salt(&bytes) {
            Ok(salt) => salt,
            Err(why @ HeadError::Version(_)) => {
                return Err(
                    Error::state(format!("the journal cannot be read: {why}")).at(self.disk.place(&name))
                );
            }
            // A power cut before its first sync; nothing in it counted.
            Err(_) if next.is_none() && bytes.len() <= HEAD_BYTES => {
                return self.disk.remove(&name).map_err(|error| self.failed("remove", &name, &error));
            }
            Err(why) => {
                self.damaged += 1;
                return self.set_aside(&name, &bytes, &[], &why.to_string());
            }
        };
        let found = segment::look_through(&bytes, salt, first);
        let last = found.records.last().map_or(first - 1, |record| record.number);
        // The end of a segment that another one follows was safe, unless nothing is missing between the two.
        let has_lost_its_end = found.tail.is_some() && next.is_some_and(|next| next != last + 1);
        let mut good = found.tail.unwrap_or(bytes.len());
        let is_damaged = found.is_damaged || has_lost_its_end;
        if is_damaged || !found.gaps.is_empty() {
            let why = if is_damaged { "bytes in it have changed" } else { "its end was written in part" };
            self.set_aside(&name, &bytes, &found.records, why)?;
            self.damaged += u64::from(is_damaged);
            good = HEAD_BYTES + found.records.iter().map(|record| record.frame.len()).sum::<usize>();
        } else if found.tail.is_some() || next.is_none() {
            let cut = bytes.len() - good;
            if cut > 0 {
                tracing::warn!(
                    "the journal {} ended in {cut} bytes that are no record: cut off",
                    self.disk.place(&name)
                );
            }
            self.renew(&name, &bytes[..good]).map_err(|error| self.failed("renew", &name, &error))?;
        }
        match found.records.last() {
            None => self.disk.remove(&name).map_err(|error| self.failed("remove", &name, &error))?,
            Some(record) => {
                self.last = self.last.max(record.number);
                self.closed.push_back(Closed { first, last: record.number, bytes: good as u64 });
            }
        }
        Ok(())
    }

    /// Keeps a damaged segment under another name, and its good records under its own.
    fn set_aside(&mut self, name: &str, bytes: &[u8], good: &[Record], why: &str) -> Result<()> {
        let aside = format!("{DAMAGED}{name}");
        tracing::error!(
            "the journal {} is damaged: {why}; it is kept as {}, and {} good records of it are used",
            self.disk.place(name),
            self.disk.place(&aside),
            good.len()
        );
        let done = self.write(&aside, &mut std::iter::once(bytes)).and_then(|()| match good {
            [] => self.disk.remove(name),
            _ => {
                let head = std::iter::once(&bytes[..HEAD_BYTES]);
                self.write(name, &mut head.chain(good.iter().map(|record| &bytes[record.frame.clone()])))
            }
        });
        done.and_then(|()| self.disk.sync()).map_err(|error| self.failed("set aside", name, &error))?;
        let names = self.disk.names().map_err(|error| self.failed("list", "", &error))?;
        let mut kept: Vec<String> = names.into_iter().filter(|name| name.starts_with(DAMAGED)).collect();
        kept.sort();
        for oldest in kept.iter().take(kept.len().saturating_sub(DAMAGED_KEPT)) {
            self.disk.remove(oldest).map_err(|error| self.failed("remove", oldest, &error))?;
        }
        Ok(())
    }

    /// Makes a segment hold `good` and nothing else, safely.
    fn renew(&self, name: &str, good: &[u8]) -> io::Result<()> {
        match self.write(name, &mut std::iter::once(good)) {
            // Its own bytes can be synced without room for a second copy, which is as good unless an earlier sync failed.
            Err(error) if !is_lasting(&error) => {
                self.disk.remove(&format!("{name}{TEMPORARY}"))?;
                self.disk.truncate(name, good.len() as u64)?;
            }
            done => done?,
        }
        self.disk.sync()
    }

    /// Makes `name` a file of `parts`; its name is safe after the next sync of names.
    fn write(&self, name: &str, parts: &mut dyn Iterator<Item = &[u8]>) -> io::Result<()> {
        let temporary = format!("{name}{TEMPORARY}");
        let mut file = self.disk.create(&temporary)?;
        for part in parts {
            file.append(part)?;
        }
        file.sync()?;
        self.disk.rename(&temporary, name)
    }

    /// The highest number that was given.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Segments that were found damaged.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|closed| closed.bytes).sum::<u64>()
            + self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Makes `frames` (of [`segment::push`]) safe, the last of which has the number `last`.
    ///
    /// # Errors
    /// See [`CommitError`].
    #[cfg(test)]
    pub fn commit(
        &mut self,
        frames: &mut [u8],
        last: u64,
        salt: u32,
    ) -> std::result::Result<(), CommitError> {
        self.write_frames(frames, last, salt)?;
        self.sync().map_err(CommitError::Broken)
    }

    /// Writes `frames` (of [`segment::push`]), the last of which has the number `last`: they can be read at once, and are
    /// safe after the next [`Log::sync`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn write_frames(
        &mut self,
        frames: &mut [u8],
        last: u64,
        salt: u32,
    ) -> std::result::Result<(), CommitError> {
        if frames.is_empty() {
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|open| open.bytes >= self.limits.segment_bytes) {
            self.close();
        }
        if self.open.is_none() {
            self.open = Some(self.begin(segment::first(frames), salt)?);
        }
        let disk = Arc::clone(&self.disk);
        let Some(open) = &mut self.open else { return Ok(()) };
        segment::seal(frames, open.salt, u32::try_from(open.bytes).unwrap_or(u32::MAX));
        let broken = |what, error| broken(disk.as_ref(), &name_of(open.first), what, &error);
        if let Err(error) = open.file.append(frames) {
            // What is there of them must not stand in front of those that come after.
            open.file.truncate(open.bytes).map_err(|error| CommitError::Broken(broken("cut", error)))?;
            return Err(if is_lasting(&error) {
                CommitError::Broken(broken("write", error))
            } else {
                CommitError::NoRoom(error)
            });
        }
        open.bytes += frames.len() as u64;
        (open.last, self.last) = (last, last);
        Ok(())
    }

    /// Makes all that was written safe.
    ///
    /// # Errors
    /// If it failed; nothing can be promised any more.
    pub fn sync(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let (disk, name) = (self.disk.as_ref(), name_of(open.first));
        open.file.sync().map_err(|error| broken(disk, &name, "sync", &error))
    }

    /// Makes a segment whose head and name are safe, so that one with records and a bad head was damaged later.
    fn begin(&self, first: u64, salt: u32) -> std::result::Result<Open, CommitError> {
        let name = name_of(first);
        let made = self.disk.create(&name).and_then(|mut file| {
            file.append(&segment::head(salt, first))?;
            Ok(file)
        });
        let mut file = made.map_err(|error| {
            // What is left of it would be written over by the next attempt.
            let _ = self.disk.remove(&name);
            CommitError::NoRoom(error)
        })?;
        file.sync()
            .and_then(|()| self.disk.sync())
            .map_err(|error| CommitError::Broken(broken(self.disk.as_ref(), &name, "sync", &error)))?;
        Ok(Open { file, first, last: first - 1, bytes: HEAD_BYTES as u64, salt })
    }

    fn close(&mut self) {
        if let Some(Open { first, last, bytes, .. }) = self.open.take() {
            self.closed.push_back(Closed { first, last, bytes });
        }
    }

    /// Records up to `number` are not needed any more. Answers whether room has come of it.
    ///
    /// # Errors
    /// If a segment cannot be taken away.
    pub fn release(&mut self, number: u64) -> Result<bool> {
        // One that is full and wholly released may be all that takes the room a next commit waits for.
        let limit = self.limits.segment_bytes;
        if self.open.as_ref().is_some_and(|open| open.last <= number && open.bytes >= limit) {
            self.close();
        }
        let mut is_less = false;
        let kept_from = self.last.saturating_sub(self.limits.records_kept);
        while let Some(closed) = self.closed.pop_front_if(|closed| closed.last <= number) {
            // The oldest goes first, so what is kept is what all that is there takes.
            if closed.last > kept_from && self.bytes() + closed.bytes <= self.limits.bytes_max / 4 {
                self.closed.push_front(closed);
                break;
            }
            let name = name_of(closed.first);
            self.disk.remove(&name).map_err(|error| self.failed("remove", &name, &error))?;
            is_less = true;
        }
        Ok(is_less)
    }

    /// Reads what an earlier run left behind `number`, in order.
    pub fn replay(&self, number: u64) -> Replay {
        Replay {
            disk: Arc::clone(&self.disk),
            segments: self.closed.clone(),
            records: Vec::new().into_iter(),
            bytes: Bytes::new(),
            last: 0,
        }
        .behind(number)
    }

    fn failed(&self, what: &str, name: &str, error: &io::Error) -> Error {
        Error::state(format!("cannot {what} the journal {}: {error}", self.disk.place(name)))
            .remedy("check the disk's space and health, and the folder's rights")
    }
}

fn broken(disk: &dyn Disk, name: &str, what: &str, error: &io::Error) -> Error {
    Error::state(format!("cannot {what} {}: {error}", disk.place(name)))
        .remedy("what was acknowledged is safe; check the disk's health, then start again")
}

/// Records of an earlier run, a segment in memory at a time.
pub struct Replay {
    disk: Arc<dyn Disk>,
    segments: VecDeque<Closed>,
    bytes: Bytes,
    records: std::vec::IntoIter<Record>,
    last: u64,
}

impl Replay {
    /// Only those behind `number`, too.
    #[must_use]
    pub fn behind(mut self, number: u64) -> Self {
        self.last = self.last.max(number);
        // Not read: they may be released, and so be away, before their turn comes.
        self.segments.retain(|closed| closed.last > number);
        self
    }

    /// The next record up to `number`.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn next_until(&mut self, number: u64) -> Result<Option<(u64, Bytes)>> {
        loop {
            while self.records.as_slice().first().is_some_and(|record| record.number <= number) {
                let Some(record) = self.records.next() else { break };
                if record.number > self.last {
                    self.last = record.number;
                    return Ok(Some((record.number, self.bytes.slice(record.payload()))));
                }
            }
            let is_wanted = |closed: &mut Closed| closed.first <= number;
            if !self.records.as_slice().is_empty() {
                return Ok(None);
            }
            let Some(Closed { first, .. }) = self.segments.pop_front_if(is_wanted) else { return Ok(None) };
            let name = name_of(first);
            let unreadable = |why: String| {
                Error::state(format!("the journal {} cannot be read: {why}", self.disk.place(&name)))
            };
            self.bytes = self.disk.read(&name).map_err(|error| unreadable(error.to_string()))?.into();
            let salt = segment::salt(&self.bytes).map_err(|error| unreadable(error.to_string()))?;
            self.records = segment::look_through(&self.bytes, salt, first).records.into_iter();
        }
    }
}

/// Numbers and payloads; an error is that a segment cannot be read any more.
impl Iterator for Replay {
    type Item = Result<(u64, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(u64::MAX).transpose()
    }
}
