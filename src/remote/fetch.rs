//! A checkpoint in an object store on its way back into a state folder.
//!
//! Every file is compared with its length and its sum while it is written; what is not as it was is refused by name, with what
//! to begin from instead. Nothing of it counts before all is there: state/savepoint.rs of the engine makes a state folder of it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use millstream_engine::{Error, Result};
use sha2::{Digest, Sha256};

use super::found::{self, Found, inside, manifest_in};
use super::manifest::{Entry, hex};
use super::place::Place;

/// The checkpoint to begin from: that at `place` itself, or the newest whole one in it; and the epochs of all there are.
///
/// # Errors
/// If there is none, or the store fails.
pub async fn find(place: &Place) -> Result<(Found, Vec<u64>)> {
    if let Some(manifest) = manifest_in(place, "").await? {
        return Ok((Found { folder: String::new(), manifest }, Vec::new()));
    }
    let epochs = found::epochs(place).await?;
    let found = found::newest(place, &epochs).await?;
    let whole = found.as_ref().map_or(0, |found| found.manifest.epoch);
    for half in epochs.iter().filter(|epoch| **epoch > whole) {
        tracing::warn!(
            "{} is not whole, for its copy did not come to its end: the one before it counts",
            place.url(&found::folder_of(*half))
        );
    }
    match found {
        Some(found) => Ok((found, epochs)),
        None => Err(Error::state("there is no whole checkpoint")
            .at(place.url(""))
            .remedy("give the URL that --checkpoints or savepoint --to had")),
    }
}

/// Writes the files of `found` into the folder `to`, safely.
///
/// # Errors
/// If one is missing or is not what it was, or the store or the disk fails.
pub async fn fetch(place: &Place, found: &Found, epochs: &[u64], to: &Path) -> Result<()> {
    for file in &found.manifest.files {
        fetch_file(place, &found.folder, file, to)
            .await
            .map_err(|error| found::before(error, place, epochs, found.manifest.epoch))?;
    }
    Ok(())
}

async fn fetch_file(place: &Place, folder: &str, entry: &Entry, to: &Path) -> Result<()> {
    let (name, own) = (inside(folder, &entry.name), to.join(&entry.name));
    let unwritable = |error: io::Error| {
        Error::state(format!("it cannot be written: {error}"))
            .at(own.display().to_string())
            .remedy("check the disk's space and health, and the folder's rights")
    };
    if let Some(above) = own.parent() {
        fs::create_dir_all(above).map_err(unwritable)?;
    }
    let mut file = File::create(&own).map_err(unwritable)?;
    let (mut sum, mut bytes) = (Sha256::new(), 0);
    place
        .stream(&name, |piece| {
            sum.update(piece);
            bytes += piece.len() as u64;
            file.write_all(piece).map_err(unwritable)
        })
        .await?;
    file.sync_all().map_err(unwritable)?;
    let damaged =
        |why: String| Error::state(format!("the checkpoint cannot be restored: {why}")).at(place.url(&name));
    if bytes != entry.bytes {
        return Err(damaged(format!("the object has {bytes} bytes of {}", entry.bytes)));
    }
    if hex(&sum.finalize()) != entry.sha256 {
        return Err(damaged("the object's checksum does not fit".into()));
    }
    Ok(())
}
