//! Which state folder a checkpoint in an object store is from.
//!
//! A state folder has a name of its own, made of the clock when it is first copied, in its file `owner`; below it the name of
//! the one whose copy it began from. Checkpoints of one place are of one folder and of those that it began from. So a gateway that
//! comes back after another took its place, or two with the same URL, do not take each other's checkpoints away: the one that
//! finds a newer one of somebody else stops copying, and says so. It is noticed at the next copy, not prevented.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use millstream_engine::disk::{Disk, RealDisk};
use millstream_engine::{ClockRef, Error, Result};
use sha2::{Digest, Sha256};

use super::manifest::hex;

const NAME: &str = "owner";

/// The names in a state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub own: String,
    /// The one whose copy it began from.
    pub before: Option<String>,
}

impl Owner {
    /// That of the folder `state`, which is given a name where it has none.
    pub fn of(state: &Path, clock: &ClockRef) -> Result<Self> {
        let text = match fs::read_to_string(state.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::begin(state, None, clock),
            Err(error) => return Err(failed(state, &error)),
        };
        let mut names = text.lines().map(str::to_owned);
        match names.next().filter(|own| !own.is_empty()) {
            Some(own) => Ok(Self { own, before: names.next() }),
            None => Self::begin(state, None, clock),
        }
    }

    /// Gives the folder `state` a new name; it began from a copy of `before`.
    pub fn begin(state: &Path, before: Option<String>, clock: &ClockRef) -> Result<Self> {
        let what = (clock.now_ms(), clock.monotonic_ns(), std::process::id(), state);
        let own = hex(&Sha256::digest(format!("{what:?}"))[..8]);
        let text =
            format!("{own}\n{}", before.as_deref().map(|name| format!("{name}\n")).unwrap_or_default());
        let write = || {
            let (disk, temporary) = (RealDisk::open(state)?, format!("{NAME}.writing"));
            let mut file = disk.create(&temporary)?;
            file.append(text.as_bytes())?;
            file.sync()?;
            disk.rename(&temporary, NAME)?;
            disk.sync()
        };
        write().map_err(|error| failed(state, &error))?;
        Ok(Self { own, before })
    }

    /// True when checkpoints of `other` are this one's to go on from.
    pub fn follows(&self, other: &str) -> bool {
        self.own == other || self.before.as_deref() == Some(other)
    }
}

fn failed(state: &Path, error: &std::io::Error) -> Error {
    Error::state(format!("its name cannot be read or written: {error}"))
        .at(state.join(NAME).display().to_string())
        .remedy("check the disk's space and health, and the folder's rights")
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_engine::SystemClock;

    #[test]
    fn a_folder_keeps_its_name_and_knows_whom_it_began_from() {
        let clock = SystemClock::shared();
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = Owner::of(first.path(), &clock).unwrap();
        assert_eq!(Owner::of(first.path(), &clock).unwrap(), own);
        let next = Owner::begin(second.path(), Some(own.own.clone()), &clock).unwrap();
        assert_eq!(Owner::of(second.path(), &clock).unwrap(), next);
        assert!(next.own != own.own && next.follows(&own.own) && next.follows(&next.own));
        assert!(!own.follows(&next.own));
    }
}
