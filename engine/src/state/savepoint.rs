//! Savepoints: a state folder as it is at one checkpoint, copied to where retention does not reach it.
//!
//! The files of a checkpoint never change once they have their names, so a savepoint needs nothing of the process that runs:
//! it is the newest checkpoint, in one file that refers to no other, and the folders beside it (journals and the like), which hold what the last two checkpoints
//! need. A checkpoint that is still there once these are copied was among the last two all the while; one that is not is
//! left, and the copy is made anew from the newest.
//!
//! A state folder that begins from a savepoint gets epochs of its own, above all that anybody had before: a sink that
//! commits with checkpoints takes an epoch that its far end has seen for one that is written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{epoch_of, name_of, read};
use super::file::{Checkpoint, CheckpointWriter};
use super::stored::Storing;
use crate::disk::RealDisk;
use crate::disk::folder::{Folder, TEMPORARY};
use crate::element::Epoch;
use crate::error::{Error, Result};

/// How often a copy is begun anew because the process that runs was faster.
const ATTEMPTS_MAX: usize = 10;
/// Epochs behind a savepoint: this many for each millisecond of the clock, so that each start from it has other ones.
const EPOCHS_PER_MS: u64 = 1 << 16;

/// Copies the newest checkpoint of the state folder `state`, with what belongs to it, to the new folder `to`. A pipeline
/// may run with the folder meanwhile. Answers the checkpoint's epoch.
///
/// # Errors
/// If there is no checkpoint, it is damaged, or `to` exists or cannot be written.
pub fn take(state: &Path, to: &Path) -> Result<Epoch> {
    if to.exists() {
        return Err(Error::config(format!("{} exists already", to.display()))
            .remedy("give the savepoint a folder that is not there yet"));
    }
    let mut writing = to.as_os_str().to_owned();
    writing.push(format!(".{TEMPORARY}"));
    let writing = PathBuf::from(writing);
    let failed = failed_at(to);
    for _ in 0..ATTEMPTS_MAX {
        let epoch = newest(state)?;
        match fs::remove_dir_all(&writing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir_all(&writing).map_err(&failed)?;
        let copied = read(&RealDisk::open(state).map_err(&failed)?, epoch);
        let copied = copied.and_then(|checkpoint| {
            write_whole(
                &Folder::on(Arc::new(RealDisk::open(&writing).map_err(&failed)?))?,
                epoch,
                &checkpoint,
            )?;
            copy_folders(state, &writing).map_err(&failed)
        });
        // What the copy was of is not needed any more, so there is something newer.
        if !state.join(name_of(epoch)).exists() {
            continue;
        }
        copied?;
        fs::rename(&writing, to).and_then(|()| sync_folder(to.parent())).map_err(&failed)?;
        return Ok(epoch);
    }
    Err(Error::unavailable(format!("checkpoints came faster than they were copied, {ATTEMPTS_MAX} times"))
        .remedy("try again, or take the savepoint while the pipeline is stopped"))
}

/// Makes the state folder `state`, which has no state yet, begin from the savepoint `from`; another state folder that nobody
/// runs with will do as well. `now_ms` is the clock's.
///
/// # Errors
/// If `from` is no savepoint or is damaged, or `state` has state already or cannot be written.
pub fn begin_from(from: &Path, state: &Path, now_ms: i64) -> Result<Epoch> {
    let folder = Folder::open(state)?;
    let has_state = folder.names()?.iter().any(|name| epoch_of(name).is_some())
        || folders_in(state).map_err(failed_at(state))?.next().is_some();
    if has_state {
        return Err(Error::config(format!("the state folder {} has state already", state.display())).remedy(
            "leave --from away to go on with that, or begin from the savepoint with an empty --state folder",
        ));
    }
    let epoch = newest(from)?;
    let checkpoint = read(&RealDisk::open(from).map_err(failed_at(from))?, epoch)?;
    copy_folders(from, state).map_err(failed_at(state))?;
    let first = u64::try_from(now_ms).unwrap_or(0).saturating_mul(EPOCHS_PER_MS).max(epoch + 1);
    // Last, for it makes a state folder of it.
    write_whole(&folder, first, &checkpoint)?;
    Ok(first)
}

/// Writes `checkpoint` as that of `epoch`, in one file.
fn write_whole(folder: &Folder, epoch: Epoch, checkpoint: &Checkpoint) -> Result<()> {
    let mut writer = CheckpointWriter::new(epoch, Storing::whole());
    let mut begun = folder.begin(&name_of(epoch))?;
    folder.add(&mut begun, |to| writer.begin(to, &checkpoint.shape))?;
    for (operator, instance, piece) in &checkpoint.snapshots {
        let number = checkpoint.shape.iter().position(|known| known.id == *operator);
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number =
            number.ok_or_else(|| Error::internal("state of an operator that is not in the shape"))?;
        folder.add(&mut begun, |to| writer.piece(to, number, *instance, piece))?;
    }
    folder.add(&mut begun, |to| writer.end(to))?;
    folder.end(begun)
}

fn failed_at(place: &Path) -> impl Fn(io::Error) -> Error {
    let place = place.display().to_string();
    move |error| {
        Error::state(format!("the savepoint cannot be copied: {error}"))
            .at(&place)
            .remedy("check the disk's space and health, and the rights of both folders")
    }
}

/// The newest complete checkpoint in a folder.
fn newest(folder: &Path) -> Result<Epoch> {
    let names = fs::read_dir(folder).map_err(failed_at(folder))?.flatten();
    let epochs = names.filter_map(|entry| epoch_of(entry.file_name().to_str()?));
    epochs.max().ok_or_else(|| {
        Error::state(format!("there is no complete checkpoint in {}", folder.display()))
            .remedy("give the folder of a --state that has run for an interval, or a savepoint")
    })
}

fn folders_in(folder: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let entries = fs::read_dir(folder)?.flatten();
    Ok(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()))
}

/// Copies the folders inside `from` with their files, and makes them safe.
fn copy_folders(from: &Path, to: &Path) -> io::Result<()> {
    for folder in folders_in(from)? {
        let Some(name) = folder.file_name() else { continue };
        let own = to.join(name);
        fs::create_dir(&own)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                copy_file(&entry.path(), &own.join(entry.file_name()))?;
            }
        }
        sync_folder(Some(&own))?;
    }
    sync_folder(Some(to))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder.filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{DiskStateStore, InstanceSnapshot, OperatorShape, StateStore};

    fn shape() -> Vec<OperatorShape> {
        vec![OperatorShape { identity: "t: source".into(), id: "t".into(), does: "source".into() }]
    }

    fn complete(store: &DiskStateStore, epoch: Epoch) {
        let blobs = vec![format!("of {epoch}").into_bytes().into()];
        store.put(epoch, "t", 0, InstanceSnapshot { blobs, ..InstanceSnapshot::default() }).unwrap();
        store.complete(epoch).unwrap();
    }

    fn blob(store: &DiskStateStore) -> Vec<u8> {
        let epoch = store.latest().unwrap();
        store.read(epoch, "t", &(0..128)).unwrap().blobs().next().unwrap().to_vec()
    }

    #[test]
    fn a_savepoint_of_a_folder_in_use_begins_another_with_epochs_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (state, to, other) =
            (folder.path().join("state"), folder.path().join("saved"), folder.path().join("other"));
        let store = DiskStateStore::open(&state, shape(), false).unwrap();
        assert!(take(&state, &to).unwrap_err().to_string().contains("no complete checkpoint"));
        complete(&store, 1);
        complete(&store, 2);
        fs::create_dir(state.join("journal-t-0")).unwrap();
        fs::write(state.join("journal-t-0/segment"), "acknowledged").unwrap();
        assert_eq!(take(&state, &to).unwrap(), 2);
        assert!(take(&state, &to).unwrap_err().to_string().contains("exists already"));
        // The pipeline goes on, and the savepoint stays.
        (3..6).for_each(|epoch| complete(&store, epoch));
        drop(store);
        let now_ms = 1_767_225_600_000;
        let first = begin_from(&to, &other, now_ms).unwrap();
        assert!(first > 1 << 40 && first < i64::MAX as u64);
        let error = begin_from(&to, &other, now_ms).unwrap_err().to_string();
        assert!(error.contains("has state already"), "{error}");
        let store = DiskStateStore::open(&other, shape(), false).unwrap();
        assert_eq!((store.latest(), blob(&store)), (Some(first), b"of 2".to_vec()));
        assert_eq!(fs::read(other.join("journal-t-0/segment")).unwrap(), b"acknowledged");
        // Another start from it, later, has other epochs again.
        let again = begin_from(&to, &folder.path().join("third"), now_ms + 1).unwrap();
        assert!(again > first + 10_000);
    }

    #[test]
    fn a_damaged_savepoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (state, to) = (folder.path().join("state"), folder.path().join("saved"));
        complete(&DiskStateStore::open(&state, shape(), false).unwrap(), 1);
        take(&state, &to).unwrap();
        let file = to.join(name_of(1));
        let mut bytes = fs::read(&file).unwrap();
        bytes[20] ^= 4;
        fs::write(&file, bytes).unwrap();
        let other = folder.path().join("other");
        assert!(begin_from(&to, &other, 0).unwrap_err().to_string().contains("checksum"));
        // Nothing of it is there, so the folder can be used.
        assert_eq!(DiskStateStore::open(&other, shape(), false).unwrap().latest(), None);
        fs::write(state.join(name_of(1)), fs::read(&file).unwrap()).unwrap();
        let error = take(&state, &folder.path().join("again")).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
    }
}
