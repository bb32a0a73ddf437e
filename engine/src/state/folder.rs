//! Checkpoints by the names of their files in a state folder: which there are, and one of them read, with what it refers to.
//!
//! Invariant: what is damaged is an error that names the file and says what to do; nothing is passed over in silence. They
//! were written by disk.rs, and go to it, to savepoints and to who looks into a folder at rest.

use std::io;

use bytes::Bytes;

use super::file::{self, Checkpoint};
use super::stored::Place;
use crate::disk::Disk;
use crate::disk::folder::Folder;
use crate::element::Epoch;
use crate::error::{Error, Result};

const PREFIX: &str = "checkpoint-";

/// What the file of `epoch` is called.
pub(super) fn name_of(epoch: Epoch) -> String {
    format!("{PREFIX}{epoch:020}")
}

pub(super) fn epoch_of(name: &str) -> Option<Epoch> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The epochs of the checkpoints in `folder`, in order.
pub(super) fn epochs_in(folder: &Folder) -> Result<Vec<Epoch>> {
    let mut epochs: Vec<Epoch> = folder.names()?.iter().filter_map(|name| epoch_of(name)).collect();
    epochs.sort_unstable();
    Ok(epochs)
}

/// The newest checkpoint in `folder`, which others do not use.
pub(crate) fn newest(folder: &Folder) -> Result<Option<Checkpoint>> {
    let disk = folder.disk();
    epochs_in(folder)?.pop().map(|epoch| read(disk, epoch, &|name| disk.place(name))).transpose()
}

/// The checkpoint of `epoch` on `disk`, whose files messages call as `place` says.
pub(super) fn read(disk: &dyn Disk, epoch: Epoch, place: &dyn Fn(&str) -> String) -> Result<Checkpoint> {
    read_with(epoch, place, &mut |name, part| match part {
        None => disk.read(name),
        Some((offset, bytes)) => disk.read_at(name, offset, bytes),
    })
}

/// Reads a file by name, all of it or bytes from an offset on.
pub(super) type ReadFile<'a> = &'a mut dyn FnMut(&str, Option<(u64, usize)>) -> io::Result<Vec<u8>>;

/// The checkpoint of `epoch`, of files that are read by `read` and that messages call as `place` says.
pub(super) fn read_with(
    epoch: Epoch,
    place: &dyn Fn(&str) -> String,
    read: ReadFile<'_>,
) -> Result<Checkpoint> {
    let name = name_of(epoch);
    let damaged = |why: String| {
        Error::state(format!("the checkpoint cannot be restored: {why}")).at(place(&name)).remedy(
            "move this file away to go on from the checkpoint before it (sinks may then get rows twice), or give an \
             empty --state folder to begin anew",
        )
    };
    let bytes = read(&name, None).map_err(|error| damaged(format!("cannot read it: {error}")))?;
    let mut fetch = |wanted: &Place| {
        let name = name_of(wanted.epoch);
        let length = usize::try_from(wanted.length).map_err(|error| error.to_string())?;
        let bytes = read(&name, Some((wanted.offset, length)))
            .map_err(|error| format!("cannot read {}, which it refers to: {error}", place(&name)))?;
        if !wanted.is_of(&bytes) {
            return Err(format!("bytes in {}, which it refers to, were changed or lost", place(&name)));
        }
        Ok(Bytes::from(bytes))
    };
    let checkpoint = file::read(bytes.into(), &mut fetch).map_err(damaged)?;
    if checkpoint.epoch != epoch {
        return Err(damaged(format!("it holds epoch {}", checkpoint.epoch)));
    }
    Ok(checkpoint)
}
