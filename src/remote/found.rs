//! The checkpoints at a place: which there are, and which is the newest whole one.
//!
//! A checkpoint is a folder `checkpoint-EPOCH`; the place itself may be one too, a savepoint. One without a manifest is half:
//! its copy is under way or came to nothing, and the one before it is as good as it ever was. One whose manifest is damaged
//! was whole, so it is refused by name and never passed over in silence: going back further makes sinks see rows twice.

use millstream_engine::{Error, Result};

use super::manifest::{self, Manifest};
use super::place::Place;

const PREFIX: &str = "checkpoint-";

/// A whole checkpoint.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its folder; empty where that is the place itself.
    pub folder: String,
    pub manifest: Manifest,
}

/// The folder of the checkpoint of `epoch`.
pub fn folder_of(epoch: u64) -> String {
    format!("{PREFIX}{epoch:020}")
}

/// The name of `name` in `folder`.
pub fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Epochs of the folders of checkpoints, whole or not, the newest first.
pub async fn epochs(place: &Place) -> Result<Vec<u64>> {
    let folders = place.folders().await?;
    let mut epochs: Vec<u64> =
        folders.iter().filter_map(|folder| folder.strip_prefix(PREFIX)?.parse().ok()).collect();
    epochs.sort_unstable_by(|one, other| other.cmp(one));
    Ok(epochs)
}

/// The manifest in `folder`; none where that is not whole.
pub async fn manifest_in(place: &Place, folder: &str) -> Result<Option<Manifest>> {
    let name = inside(folder, manifest::NAME);
    let Some(bytes) = place.read(&name, manifest::BYTES_MAX).await? else { return Ok(None) };
    let damaged = |why| Error::state(format!("the checkpoint cannot be used: {why}")).at(place.url(&name));
    Manifest::read(&bytes).map(Some).map_err(damaged)
}

/// The newest whole checkpoint of `epochs`: those above it are half.
pub async fn newest(place: &Place, epochs: &[u64]) -> Result<Option<Found>> {
    for epoch in epochs {
        let folder = folder_of(*epoch);
        let manifest =
            manifest_in(place, &folder).await.map_err(|error| before(error, place, epochs, *epoch))?;
        if let Some(manifest) = manifest {
            return Ok(Some(Found { folder, manifest }));
        }
    }
    Ok(None)
}

/// Says which checkpoint is left to begin from.
pub fn before(error: Error, place: &Place, epochs: &[u64], epoch: u64) -> Error {
    match epochs.iter().find(|other| **other < epoch) {
        Some(other) => error.remedy(format!(
            "begin from the one before it with --from {} (sinks may then get rows twice)",
            place.url(&folder_of(*other))
        )),
        None if epochs.is_empty() => error.remedy("give --from the URL of another checkpoint or savepoint"),
        None => error.remedy("there is none before it: begin anew, or from a savepoint"),
    }
}
