//! A disk that forgets: for tests of what a power cut leaves.
//!
//! Bytes and names are safe only after their sync. At a [`SimulatedDisk::cut_power`] of what was not synced any part may
//! stay: of a file's new bytes sectors in any order, the others as zeros or as noise; of the changes of names any. One seed
//! makes all of it, so a run is repeated by its seed. Faults: a sync that fails once (bytes it was for are read as they
//! should be, and no later sync makes them safe, as Linux does it), a full disk that takes half of what is appended. A
//! process that is killed without a power cut finds everything as it was, safe or not.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};

const SECTOR: usize = 64;

/// A generator with a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    pub fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }
}

#[derive(Debug, Default, Clone)]
struct Inode {
    safe: Vec<u8>,
    now: Vec<u8>,
    /// Bytes of `now` that a failed sync was for.
    lost: Vec<Range<usize>>,
}

impl Inode {
    fn sync(&mut self, done: Result<()>) -> Result<()> {
        if done.is_err() {
            self.lost.push(self.safe.len().min(self.now.len())..self.now.len());
            return done;
        }
        self.safe.clone_from(&self.now);
        self.lost.iter().for_each(|lost| self.safe[lost.clone()].fill(0));
        Ok(())
    }

    fn truncate(&mut self, bytes: usize) {
        self.now.truncate(bytes);
        self.lost.iter_mut().for_each(|lost| *lost = lost.start.min(bytes)..lost.end.min(bytes));
    }
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    safe_names: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    /// Changes of names that are not safe, in order: a name, and what it stands for now.
    changes: Vec<Vec<(String, Option<usize>)>>,
    /// Bytes that may still be appended.
    room: Option<usize>,
    /// Syncs until one fails.
    fails_in: Option<u64>,
}

/// See the module's page.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// What is there after the power was cut.
    pub fn cut_power(&self, random: &mut Random) -> Self {
        let state = self.state.lock();
        let mut names = state.safe_names.clone();
        for change in &state.changes {
            // A rename is one change: both of its names or none.
            if random.one_in(2) {
                for (name, to) in change {
                    match to {
                        Some(inode) => names.insert(name.clone(), *inode),
                        None => names.remove(name),
                    };
                }
            }
        }
        let inodes: Vec<Inode> = state.inodes.iter().map(|inode| torn(inode, random)).collect();
        let after = State { inodes, safe_names: names.clone(), names, ..State::default() };
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// What a process that was killed finds, with the power cut or not; without faults.
    pub fn restart(self, random: &mut Random) -> Self {
        if random.one_in(2) {
            return self.cut_power(random);
        }
        let mut state = self.state.lock();
        (state.room, state.fails_in) = (None, None);
        drop(state);
        self
    }

    /// Only `bytes` more can be appended; `None` is room enough.
    pub fn set_room(&self, bytes: Option<usize>) {
        self.state.lock().room = bytes;
    }

    /// The sync after `syncs` others fails.
    pub fn fail_sync_in(&self, syncs: u64) {
        self.state.lock().fails_in = Some(syncs);
    }

    /// Flips a bit of a file, as a failing card does.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        let mut state = self.state.lock();
        let inode = state.names[name];
        state.inodes[inode].now[byte] ^= 1 << bit;
        state.inodes[inode].safe = state.inodes[inode].now.clone();
    }
}

fn torn(inode: &Inode, random: &mut Random) -> Inode {
    let (safe, now) = (&inode.safe, &inode.now);
    let mut left = safe.clone();
    if now.len() < safe.len() {
        if random.one_in(2) {
            left.truncate(now.len());
        }
    } else if now.len() > safe.len() {
        // Its length may be any, and in it each sector was written or not.
        left.resize(safe.len() + random.below((now.len() - safe.len()) as u64 + 1) as usize, 0);
        let mut at = safe.len();
        while at < left.len() {
            let end = left.len().min((at / SECTOR + 1) * SECTOR);
            match random.below(4) {
                0 => {}
                1 => left[at..end].iter_mut().for_each(|byte| *byte = random.number() as u8),
                _ => left[at..end].copy_from_slice(&now[at..end]),
            }
            at = end;
        }
    }
    Inode { now: left.clone(), safe: left, lost: Vec::new() }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, name.to_owned())
}

impl State {
    fn sync(&mut self) -> Result<()> {
        match &mut self.fails_in {
            Some(0) => {
                self.fails_in = None;
                Err(Error::other("the disk does not answer"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Vec<(String, Option<usize>)>) {
        for (name, to) in &change {
            match to {
                Some(inode) => self.names.insert(name.clone(), *inode),
                None => self.names.remove(name),
            };
        }
        self.changes.push(change);
    }
}

impl Disk for SimulatedDisk {
    fn place(&self, name: &str) -> String {
        format!("simulated/{name}")
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.names.get(name).ok_or_else(|| missing(name))?;
        Ok(state.inodes[*inode].now.clone())
    }

    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>> {
        let mut bytes = self.read(name)?;
        bytes.drain(..bytes.len().min(offset as usize));
        bytes.truncate(bytes_max);
        Ok(bytes)
    }

    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(vec![(name.to_owned(), Some(inode))]);
        Ok(Box::new(SimulatedFile { state: Arc::clone(&self.state), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state.lock();
        let inode = *state.names.get(from).ok_or_else(|| missing(from))?;
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.state.lock().change(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn truncate(&self, name: &str, bytes: u64) -> Result<()> {
        let mut state = self.state.lock();
        let inode = *state.names.get(name).ok_or_else(|| missing(name))?;
        state.inodes[inode].truncate(bytes as usize);
        let done = state.sync();
        state.inodes[inode].sync(done)
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.sync()?;
        state.changes.clear();
        state.safe_names = state.names.clone();
        Ok(())
    }
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

impl DiskFile for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        let fits = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if let Some(room) = &mut state.room {
            *room -= fits;
        }
        state.inodes[self.inode].now.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(Error::new(ErrorKind::StorageFull, "no room")) } else { Ok(()) }
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.state.lock().inodes[self.inode].truncate(bytes as usize);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut state = self.state.lock();
        let done = state.sync();
        state.inodes[self.inode].sync(done)
    }
}
