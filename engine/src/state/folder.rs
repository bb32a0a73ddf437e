//! A folder of files that are either whole or not there.
//!
//! A file is written under another name, synced, renamed, and the folder is synced; a file system that keeps its word
//! about fsync and rename then has the old state or the new one after a power cut, never half of one. One process at a
//! time has the folder, by a lock that the system takes away with the process. Every error names the path.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const LOCK: &str = "lock";
/// What files are called while they are written.
const TEMPORARY: &str = "writing";

/// See the module's page.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, locks it, and clears away what was being written when a run was killed.
    pub fn open(path: &Path) -> Result<Self> {
        let unusable = |error: io::Error| {
            Error::state(format!("the state folder {} cannot be used: {error}", path.display()))
                .remedy("give a folder that this user may write to")
        };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::state(format!("the state folder {} is in use", path.display())).remedy(
                    "stop the other pipeline that runs with it, or give this one a folder of its own",
                ));
            }
            Err(fs::TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        for name in folder.names()? {
            if name.ends_with(TEMPORARY) {
                folder.remove(&name)?;
            }
        }
        Ok(folder)
    }

    /// Where `name` is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of its files.
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.path).map_err(|error| self.failed("list", "", &error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| self.failed("list", "", &error))?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    /// All bytes of a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.path(name)).map_err(|error| self.failed("read", name, &error))
    }

    /// Makes `name` a file with what `write` writes. Afterwards it is safe.
    pub fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<()> {
        let failed = |error: io::Error| self.failed("write", name, &error);
        let temporary = format!("{name}.{TEMPORARY}");
        let mut to = BufWriter::new(File::create(self.path(&temporary)).map_err(failed)?);
        write(&mut to).map_err(failed)?;
        to.flush().map_err(failed)?;
        to.get_ref().sync_all().map_err(failed)?;
        fs::rename(self.path(&temporary), self.path(name)).map_err(failed)?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Takes a file away. That it was away already is no error.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", name, &error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &str, name: &str, error: &io::Error) -> Error {
        Error::state(format!("cannot {what} {}: {error}", self.path(name).display()))
            .remedy("check the disk's space and health, and the folder's rights")
    }
}
