//! A folder of files as checkpoints and journals need it, so that a simulation can take a disk's place.
//!
//! Invariants of every implementation: bytes are safe once [`DiskFile::sync`] answers, names once [`Disk::sync`] does; a
//! rename is whole or not there; what was not synced may be lost, torn or reordered by a power cut. The folder of
//! checkpoints (folder.rs) and the journal are written against this and nothing else.

pub(crate) mod folder;
mod real;
mod room;
#[cfg(test)]
pub(crate) mod simulated;

use std::fmt::Debug;
use std::io::{Error, ErrorKind, Result};

pub use real::RealDisk;
pub(crate) use room::Room;

/// One folder.
pub trait Disk: Send + Sync + Debug {
    /// Where `name` is, for messages.
    fn place(&self, name: &str) -> String;

    /// The names of its files.
    ///
    /// # Errors
    /// The system's.
    fn names(&self) -> Result<Vec<String>>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, name: &str) -> Result<Vec<u8>>;

    /// Bytes of a file from `offset` on, at most `bytes_max`, fewer only where it ends.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>>;

    /// Makes an empty file, in place of one that was there.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of one that had it.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Takes a file away; that it was away already is no error.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> Result<()>;

    /// Cuts a file to `bytes` and makes that safe.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&self, name: &str, bytes: u64) -> Result<()>;

    /// Makes names safe.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> Result<()>;
}

/// A file that is being written.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at its end. After an error any part of them may be there.
    ///
    /// # Errors
    /// The system's; `StorageFull` where the disk is.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Cuts it to `bytes`.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&mut self, bytes: u64) -> Result<()>;

    /// Makes its bytes safe. After an error nothing is known of what was not safe before: trying again proves nothing.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> Result<()>;
}

/// A disk that is full may have room again; one that does not answer will not by asking it again and again.
pub(crate) fn is_lasting(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::Interrupted | ErrorKind::FileTooLarge
    )
}
