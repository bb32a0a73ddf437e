//! Savepoints: a state folder as it is at one checkpoint, copied to where retention does not reach it.
//!
//! The files of a checkpoint never change once they have their names, so a savepoint needs nothing of the process that runs:
//! it is the files of the newest checkpoint (files.rs), copied. A state folder that begins from one gets it as one file,
//! which refers to no other.
//!
//! A state folder that begins from a savepoint gets epochs of its own, above all that anybody had before: a sink that
//! commits with checkpoints takes an epoch that its far end has seen for one that is written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::CheckpointWriter;
use super::files::{StateFiles, failed_at, folders_in, newest, sync_folder};
use super::folder::{epoch_of, name_of, read};
use super::stored::Storing;
use crate::disk::RealDisk;
use crate::disk::folder::{Folder, TEMPORARY};
use crate::element::Epoch;
use crate::error::{Error, Result};

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
    let files = StateFiles::open(state)?;
    files.check()?;
    make_empty(&writing)
        .and_then(|()| files.copy_to(&writing))
        .and_then(|()| fs::rename(&writing, to))
        .and_then(|()| sync_folder(to.parent().unwrap_or(Path::new(""))))
        .map_err(failed_at(to))?;
    Ok(files.epoch)
}

/// Makes the state folder `state`, which has no state yet, begin from the savepoint `from`; another state folder that nobody
/// runs with will do as well. `now_ms` is the clock's.
///
/// # Errors
/// If `from` is no savepoint or is damaged, or `state` has state already or cannot be written.
pub fn begin_from(from: &Path, state: &Path, now_ms: i64) -> Result<Epoch> {
    begin_with(&from.display().to_string(), state, now_ms, |to| {
        StateFiles::open(from)?.copy_to(to).map_err(failed_at(state))
    })
}

/// The same with a savepoint that is somewhere else: `fetch` puts its files into the folder that it is given, which is inside
/// `state`, and messages call it `from`.
///
/// # Errors
/// Those of `fetch`; if what it fetched is damaged; if `state` has state already or cannot be written.
pub fn begin_with(
    from: &str,
    state: &Path,
    now_ms: i64,
    fetch: impl FnOnce(&Path) -> Result<()>,
) -> Result<Epoch> {
    let folder = Folder::open(state)?;
    let has_state = folder.names()?.iter().any(|name| epoch_of(name).is_some())
        || folders_in(state).map_err(failed_at(state))?.next().is_some();
    if has_state {
        return Err(Error::config(format!("the state folder {} has state already", state.display())).remedy(
            "leave --from away to go on with that, or begin from the savepoint with an empty --state folder",
        ));
    }
    let fetched = state.join(format!("savepoint.{TEMPORARY}"));
    make_empty(&fetched).map_err(failed_at(state))?;
    let begun = fetch(&fetched).and_then(|()| begin(from, &fetched, state, &folder, now_ms));
    let cleared = fs::remove_dir_all(&fetched).map_err(failed_at(state));
    begun.and_then(|epoch| cleared.map(|()| epoch))
}

/// Makes a state folder of what was `fetched`.
fn begin(from: &str, fetched: &Path, state: &Path, folder: &Folder, now_ms: i64) -> Result<Epoch> {
    let epoch = newest(fetched)?;
    let disk = RealDisk::open(fetched).map_err(failed_at(state))?;
    let checkpoint = read(&disk, epoch, &|name| format!("{from}/{name}"))?;
    for log in folders_in(fetched).map_err(failed_at(state))? {
        let own = state.join(log.file_name().unwrap_or_default());
        fs::rename(&log, &own).map_err(failed_at(state))?;
    }
    sync_folder(state).map_err(failed_at(state))?;
    let first = u64::try_from(now_ms).unwrap_or(0).saturating_mul(EPOCHS_PER_MS).max(epoch + 1);
    // Last, for it makes a state folder of it.
    let (mut begun, mut writer) =
        (folder.begin(&name_of(first))?, CheckpointWriter::new(first, Storing::whole()));
    folder.add(&mut begun, |to| writer.begin(to, &checkpoint.shape))?;
    for (operator, instance, piece) in &checkpoint.snapshots {
        let number = checkpoint.shape.iter().position(|known| known.id == *operator);
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number =
            number.ok_or_else(|| Error::internal("state of an operator that is not in the shape"))?;
        folder.add(&mut begun, |to| writer.piece(to, number, *instance, piece))?;
    }
    folder.add(&mut begun, |to| writer.end(to))?;
    folder.end(begun)?;
    Ok(first)
}

/// Makes a folder, without what was in it.
fn make_empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)
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
