//! A folder of files that are either whole or not there.
//!
//! A file is written under another name, synced, renamed, and the folder is synced; a disk that keeps its word about sync
//! and rename then has the old state or the new one after a power cut, never half of one. One process at a time has the
//! folder, by a lock that the system takes away with the process. Every error names the path.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, RealDisk, Room, is_lasting};
use crate::error::{Error, Result};

const LOCK: &str = "lock";
/// What files are called while they are written.
pub(crate) const TEMPORARY: &str = "writing";
/// Small writes are gathered to this.
const BUFFER_BYTES: usize = 64 << 10;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Folder {
    disk: Arc<dyn Disk>,
    /// Where it is, if it is on the machine's own disk.
    path: Option<PathBuf>,
    /// Holds the lock.
    _lock: Option<File>,
    /// What a full disk is waited for with; without, it is an error.
    room: Option<Arc<Room>>,
}

impl Folder {
    /// Makes the folder where it is missing, locks it, and clears away what was being written when a run was killed.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_if_free(path)?.ok_or_else(|| {
            Error::state(format!("the state folder {} is in use", path.display()))
                .remedy("stop the other pipeline that runs with it, or give this one a folder of its own")
        })
    }

    /// The same; none while another process has it.
    pub fn open_if_free(path: &Path) -> Result<Option<Self>> {
        let unusable = |error: io::Error| {
            Error::state(format!("the state folder {} cannot be used: {error}", path.display()))
                .remedy("give a folder that this user may write to")
        };
        let disk = RealDisk::open(path).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(unusable(error)),
        }
        Self::clear(Self { disk: Arc::new(disk), path: Some(path.to_owned()), _lock: Some(lock), room: None })
            .map(Some)
    }

    /// The same on any disk, which nobody else has.
    pub fn on(disk: Arc<dyn Disk>) -> Result<Self> {
        Self::clear(Self { disk, path: None, _lock: None, room: None })
    }

    /// Waits with what is begun while the disk is full, until that is given up.
    pub fn waiting_for_room(self, room: Arc<Room>) -> Self {
        Self { room: Some(room), ..self }
    }

    fn clear(self) -> Result<Self> {
        for name in self.names()? {
            if name.ends_with(TEMPORARY) {
                self.remove(&name)?;
            }
        }
        // A killed run may have renamed and not synced: what is gone on from must be there after a power cut too.
        self.disk.sync().map_err(|error| self.failed("sync", "", &error))?;
        Ok(self)
    }

    /// Where it is, if it is on the machine's own disk.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it is on.
    pub fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    /// Where `name` is, for messages.
    pub fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }

    /// The names of its files.
    pub fn names(&self) -> Result<Vec<String>> {
        self.disk.names().map_err(|error| self.failed("list", "", &error))
    }

    /// All bytes of a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.disk.read(name).map_err(|error| self.failed("read", name, &error))
    }

    /// Begins a file that is to be called `name`.
    pub fn begin(&self, name: &str) -> Result<Begun> {
        let temporary = format!("{name}.{TEMPORARY}");
        let place = self.place(name);
        let file = loop {
            match self.disk.create(&temporary) {
                Err(error) if waits(self.room.as_deref(), &place, &error) => {}
                created => break created.map_err(|error| self.failed("write", name, &error))?,
            }
        };
        let writer = Writer { file, bytes: 0, place, room: self.room.clone() };
        Ok(Begun { to: BufWriter::with_capacity(BUFFER_BYTES, writer), name: name.to_owned(), temporary })
    }

    /// Adds what `write` writes to a file that was begun.
    pub fn add(&self, begun: &mut Begun, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        write(&mut begun.to).map_err(|error| self.failed("write", &begun.name, &error))
    }

    /// Gives a file that was begun its name. Afterwards it is safe.
    pub fn end(&self, Begun { to, name, temporary }: Begun) -> Result<()> {
        let failed = |error: io::Error| self.failed("write", &name, &error);
        let mut file = to.into_inner().map_err(|error| failed(error.into_error()))?;
        file.file.sync().map_err(failed)?;
        self.disk.rename(&temporary, &name).map_err(failed)?;
        self.disk.sync().map_err(failed)
    }

    /// Writes a whole file. Afterwards it is safe.
    pub fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut begun = self.begin(name)?;
        self.add(&mut begun, write)?;
        self.end(begun)
    }

    /// Takes a file away. That it was away already is no error.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.disk.remove(name).map_err(|error| self.failed("remove", name, &error))
    }

    fn failed(&self, what: &str, name: &str, error: &io::Error) -> Error {
        Error::state(format!("cannot {what} {}: {error}", self.place(name)))
            .remedy("check the disk's space and health, and the folder's rights")
    }
}

/// A file that has not its name yet; one that is dropped is cleared away when the folder is opened again.
pub(crate) struct Begun {
    to: BufWriter<Writer>,
    name: String,
    temporary: String,
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Writer {
    file: Box<dyn DiskFile>,
    /// How many it holds.
    bytes: u64,
    place: String,
    room: Option<Arc<Room>>,
}

/// True when what failed with `error` is to be tried again, after a while.
fn waits(room: Option<&Room>, place: &str, error: &io::Error) -> bool {
    !is_lasting(error) && room.is_some_and(|room| room.wait(place, error))
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.append(bytes) {
                Ok(()) => {
                    self.bytes += bytes.len() as u64;
                    self.room.iter().for_each(|room| room.found());
                    return Ok(bytes.len());
                }
                Err(error) => {
                    // Any part of them may be there.
                    self.file.truncate(self.bytes)?;
                    if !waits(self.room.as_deref(), &self.place, &error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    #[test]
    fn a_file_waits_for_room_and_is_whole() {
        let disk = SimulatedDisk::default();
        let room = Arc::new(Room::default());
        let folder = Folder::on(Arc::new(disk.clone())).unwrap().waiting_for_room(Arc::clone(&room));
        disk.set_room(Some(100_000));
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        std::thread::scope(|scope| {
            let written = scope.spawn(|| folder.write("file", |to| to.write_all(&bytes)));
            while !room.is_waited_for() {
                std::thread::yield_now();
            }
            disk.set_room(None);
            written.join().unwrap().unwrap();
        });
        assert_eq!(folder.read("file").unwrap(), bytes);
    }

    #[test]
    fn waiting_ends_when_it_is_given_up() {
        let disk = SimulatedDisk::default();
        let room = Arc::new(Room::default());
        let folder = Folder::on(Arc::new(disk.clone())).unwrap().waiting_for_room(Arc::clone(&room));
        disk.set_room(Some(10));
        std::thread::scope(|scope| {
            let written = scope.spawn(|| folder.write("file", |to| to.write_all(&[7; 1_000])));
            while !room.is_waited_for() {
                std::thread::yield_now();
            }
            room.give_up();
            let error = written.join().unwrap().unwrap_err().to_string();
            assert!(error.contains("cannot write"), "{error}");
        });
        assert!(!folder.names().unwrap().contains(&"file".to_owned()));
    }
}
