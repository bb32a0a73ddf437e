//! The files of a state folder as it is at one checkpoint, held open.
//!
//! They are the newest checkpoint, those before it that it refers to, and the logs in the folders beside it (journals, outboxes), which hold what the last two
//! checkpoints need. A pipeline may run with the folder: it takes files away and adds to the end of the last of each log, and
//! changes nothing else, so what was opened stays readable as it was, however slow it is copied. A checkpoint that is still
//! there once all files are open was among the last two all the while; one that is not is left, and the newest is opened anew.
//! Copies of them are savepoints: in a folder (savepoint.rs), or in an object store (the library's `remote`).
//!
//! Limit: [`FILES_MAX`] files, because each takes one of those that a process may have open.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::file;
use super::folder::{epoch_of, name_of, read_with};
use crate::disk::folder::TEMPORARY;
use crate::element::Epoch;
use crate::error::{Error, Result};

/// How often files are opened anew because the process that runs was faster.
const ATTEMPTS_MAX: usize = 10;
/// Files that are open at once. A log has at most 33, and a checkpoint refers to as many.
pub const FILES_MAX: usize = 512;

/// See the module's page.
#[derive(Debug)]
pub struct StateFiles {
    /// The checkpoint that they are of.
    pub epoch: Epoch,
    /// When it was complete, in ms since 1970, by the file system.
    pub completed_ms: i64,
    files: Vec<StateFile>,
    place: PathBuf,
}

/// One of them.
#[derive(Debug)]
pub struct StateFile {
    /// Its name in the folder; one of a log has the log's folder and a `/` in front.
    pub name: String,
    /// Bytes that it had when it was opened.
    pub bytes: u64,
    file: File,
}

impl StateFiles {
    /// The newest complete checkpoint in the folder `state`, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn newest(state: &Path) -> Result<Option<Epoch>> {
        let names = fs::read_dir(state).map_err(failed_at(state))?.flatten();
        Ok(names.filter_map(|entry| epoch_of(entry.file_name().to_str()?)).max())
    }

    /// Opens those of the newest checkpoint in the folder `state`, which a pipeline may run with.
    ///
    /// # Errors
    /// If there is no checkpoint, or files cannot be opened.
    pub fn open(state: &Path) -> Result<Self> {
        for _ in 0..ATTEMPTS_MAX {
            let epoch = newest(state)?;
            match Self::of(state, epoch) {
                // What they were of is not needed any more, so there is something newer.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed_at(state)(error)),
                Ok(_) if !state.join(name_of(epoch)).exists() => {}
                Ok(files) => return Ok(files),
            }
        }
        Err(Error::unavailable(format!(
            "checkpoints came faster than they were opened, {ATTEMPTS_MAX} times"
        ))
        .at(state.display().to_string())
        .remedy("try again, with a longer 'execution.checkpointing.interval' if need be"))
    }

    fn of(state: &Path, epoch: Epoch) -> io::Result<Self> {
        let checkpoint = StateFile::open(state, name_of(epoch))?;
        // What a damaged one refers to is nothing; who reads it says so.
        let earlier = file::refers_to(&checkpoint.file).unwrap_or_default();
        let mut files = vec![checkpoint];
        for epoch in earlier {
            files.push(StateFile::open(state, name_of(epoch))?);
        }
        for folder in folders_in(state)? {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let (folder_name, name) = (folder.file_name().unwrap_or_default(), entry.file_name());
                let (Some(folder_name), Some(name)) = (folder_name.to_str(), name.to_str()) else {
                    return Err(io::Error::other(format!("{} has no name of ours", entry.path().display())));
                };
                if !name.ends_with(TEMPORARY) && entry.file_type()?.is_file() {
                    files.push(StateFile::open(state, format!("{folder_name}/{name}"))?);
                }
                if files.len() > FILES_MAX {
                    return Err(io::Error::other(format!(
                        "more than {FILES_MAX} files are needed: give journals and outboxes less room, or run fewer tables with it"
                    )));
                }
            }
        }
        let completed = files[0].file.metadata()?.modified()?;
        let completed_ms = completed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let completed_ms = i64::try_from(completed_ms).unwrap_or(i64::MAX);
        Ok(Self { epoch, completed_ms, files, place: state.to_owned() })
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &StateFile> {
        self.files.iter()
    }

    /// Bytes of all together.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads the checkpoint: that it can be is known now, and not on the day it is needed.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn check(&self) -> Result<()> {
        let place = |name: &str| self.place.join(name).display().to_string();
        let checked = read_with(self.epoch, &place, &mut |name, part| {
            let file = self.files.iter().find(|file| file.name == name).ok_or(ErrorKind::NotFound)?;
            let (offset, bytes_max) = part.unwrap_or((0, usize::MAX));
            file.read_at(offset, bytes_max)
        });
        checked.map(drop)
    }

    /// Copies them into the folder `to`, which is there, and makes them safe.
    pub(super) fn copy_to(&self, to: &Path) -> io::Result<()> {
        for file in &self.files {
            let own = to.join(&file.name);
            if let Some(folder) = own.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut copy = File::create(&own)?;
            let mut from = &file.file;
            from.seek(SeekFrom::Start(0))?;
            io::copy(&mut from.take(file.bytes), &mut copy)?;
            copy.sync_all()?;
        }
        sync_folders(to)
    }
}

impl StateFile {
    fn open(state: &Path, name: String) -> io::Result<Self> {
        let file = File::open(state.join(&name))?;
        Ok(Self { bytes: file.metadata()?.len(), name, file })
    }

    /// Its bytes from `offset` on, `bytes_max` of them, fewer only where it ends.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` where it was cut since it was opened.
    pub fn read_at(&self, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let length = self.bytes.saturating_sub(offset).min(bytes_max as u64);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        if file.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

/// The newest complete checkpoint in a folder that must have one.
pub(super) fn newest(folder: &Path) -> Result<Epoch> {
    StateFiles::newest(folder)?.ok_or_else(|| {
        Error::state(format!("there is no complete checkpoint in {}", folder.display()))
            .remedy("give the folder of a --state that has run for an interval, or a savepoint")
    })
}

/// The folders inside a state folder, those aside that are not whole yet.
pub(super) fn folders_in(folder: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let entries = fs::read_dir(folder)?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).filter(|path| !path.to_string_lossy().ends_with(TEMPORARY)))
}

/// Makes the names of files in `folder`, and in the folders inside it, safe.
pub(super) fn sync_folders(folder: &Path) -> io::Result<()> {
    for inside in folders_in(folder)? {
        File::open(inside)?.sync_all()?;
    }
    sync_folder(folder)
}

/// Makes the names of files in `folder` safe.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
}

pub(super) fn failed_at(place: &Path) -> impl Fn(io::Error) -> Error {
    let place = place.display().to_string();
    move |error| {
        Error::state(format!("the savepoint cannot be copied: {error}"))
            .at(&place)
            .remedy("check the disk's space and health, and the rights of both folders")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What retention takes away, and a log grows by, while a copy is under way makes no difference to it.
    #[test]
    fn files_stay_as_they_were_when_they_were_opened() {
        let state = tempfile::tempdir().unwrap();
        let log = state.path().join("journal-t-0");
        fs::create_dir(&log).unwrap();
        fs::create_dir(state.path().join("savepoint.writing")).unwrap();
        fs::write(state.path().join("savepoint.writing/half"), "half").unwrap();
        fs::write(state.path().join(name_of(6)), "older").unwrap();
        fs::write(state.path().join(name_of(7)), "newest").unwrap();
        fs::write(log.join("journal-1"), "first").unwrap();
        fs::write(log.join("journal-2.writing"), "half").unwrap();
        let files = StateFiles::open(state.path()).unwrap();
        assert_eq!((files.epoch, files.num_bytes()), (7, 11));
        fs::remove_file(state.path().join(name_of(7))).unwrap();
        fs::OpenOptions::new()
            .append(true)
            .open(log.join("journal-1"))
            .and_then(|mut file| {
                use std::io::Write;
                file.write_all(b" and second")
            })
            .unwrap();
        let read: Vec<_> =
            files.iter().map(|file| (file.name.as_str(), file.read_at(0, 100).unwrap())).collect();
        let expected = [(name_of(7), &b"newest"[..]), ("journal-t-0/journal-1".into(), b"first")];
        assert!(
            read.iter().zip(&expected).all(|(read, (name, bytes))| read.0 == name && read.1 == *bytes),
            "{read:?}"
        );
        assert_eq!(files.iter().last().unwrap().read_at(2, 2).unwrap(), b"rs");
        let to = tempfile::tempdir().unwrap();
        files.copy_to(to.path()).unwrap();
        assert_eq!(fs::read(to.path().join("journal-t-0/journal-1")).unwrap(), b"first");
        // One that was cut is not taken for a shorter one.
        fs::write(log.join("journal-1"), "").unwrap();
        let error = files.iter().last().unwrap().read_at(0, 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
