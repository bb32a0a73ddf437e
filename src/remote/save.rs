//! A checkpoint's files on their way into an object store.
//!
//! Each file is sent once: one that the last copy has with the same sum is copied inside the store, which costs the uplink
//! nothing. The manifest comes behind all it names. Files are of a state folder ([`StateFiles`]), open, so the pipeline
//! that runs with it goes on; what is in memory are two parts of one file.

use std::collections::HashMap;

use bytes::Bytes;
use millstream_engine::state::{StateFile, StateFiles};
use millstream_engine::{Error, Result};
use sha2::{Digest, Sha256};

use super::found::{Found, inside};
use super::manifest::{self, Entry, Manifest, hex, is_name};
use super::place::Place;

/// Bytes of a file that are in memory to count its sum.
const READ_BYTES: usize = 1 << 20;

/// What a copy came to.
#[derive(Debug)]
pub struct Saved {
    pub manifest: Manifest,
    /// Bytes that went over the uplink.
    pub sent_bytes: u64,
}

/// Copies `files`, of the state folder called `owner`, into `folder`; `last` is the newest copy there is. Afterwards it is whole.
///
/// # Errors
/// If the store or the disk fails; the folder is then half.
pub async fn save(
    place: &Place,
    folder: &str,
    files: &StateFiles,
    owner: &str,
    last: Option<&Found>,
) -> Result<Saved> {
    let there = match last {
        Some(last) => there(place, last).await?,
        None => HashMap::new(),
    };
    let (mut entries, mut sent_bytes) = (Vec::new(), 0);
    for file in files.iter() {
        if !is_name(&file.name) {
            return Err(Error::state(format!("'{}' is no name for an object in a store", file.name))
                .remedy("take what is not Millstream's out of the state folder"));
        }
        let to = inside(folder, &file.name);
        if let Some((from, sha256)) = there.get(&(file.name.as_str(), file.bytes))
            && sum(file)? == *sha256
            && place.copy(from, &to).await
        {
            entries.push(Entry { sha256: sha256.clone(), bytes: file.bytes, name: file.name.clone() });
            continue;
        }
        // Counted over what is sent, which may have been cut and written anew since the sum above.
        let mut sum = Sha256::new();
        let read = |offset, bytes_max| {
            let part: Bytes =
                file.read_at(offset, bytes_max).map_err(|error| unreadable(file, &error))?.into();
            sum.update(&part);
            Ok(part)
        };
        place.write(&to, file.bytes, read).await?;
        sent_bytes += file.bytes;
        entries.push(Entry { sha256: hex(&sum.finalize()), bytes: file.bytes, name: file.name.clone() });
    }
    let manifest = Manifest {
        epoch: files.epoch,
        completed_ms: files.completed_ms,
        owner: owner.to_owned(),
        files: entries,
    };
    let text = Bytes::from(manifest.to_text());
    place.write(&inside(folder, manifest::NAME), text.len() as u64, |_, _| Ok(text.clone())).await?;
    Ok(Saved { manifest, sent_bytes })
}

/// The files of a copy by name and bytes: where each is, and its sum. One that is not as long as it should be is none.
async fn there<'a>(place: &Place, last: &'a Found) -> Result<HashMap<(&'a str, u64), (String, String)>> {
    let objects = place.objects(&last.folder).await?;
    let bytes: HashMap<&str, u64> =
        objects.iter().map(|object| (object.name.as_str(), object.bytes)).collect();
    let whole = last.manifest.files.iter().filter(|file| bytes.get(file.name.as_str()) == Some(&file.bytes));
    Ok(whole
        .map(|file| {
            ((file.name.as_str(), file.bytes), (inside(&last.folder, &file.name), file.sha256.clone()))
        })
        .collect())
}

fn sum(file: &StateFile) -> Result<String> {
    let mut sum = Sha256::new();
    let mut offset = 0;
    while offset < file.bytes {
        let part = file.read_at(offset, READ_BYTES).map_err(|error| unreadable(file, &error))?;
        sum.update(&part);
        offset += part.len() as u64;
    }
    Ok(hex(&sum.finalize()))
}

fn unreadable(file: &StateFile, error: &std::io::Error) -> Error {
    Error::state(format!("'{}' cannot be read: {error}", file.name))
        .remedy("check the disk's health; the next copy is of what is there then")
}
