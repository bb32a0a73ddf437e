//! One copy of the newest checkpoint of a state folder, and the end of copies that are too many.
//!
//! It looks at the state folder as anybody might: files of the newest checkpoint are held open, so that retention takes nothing of it
//! away. What is there already is asked of the place each time, so nothing is remembered that a restart forgets. copier.rs says
//! when.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_engine::state::StateFiles;
use millstream_engine::{Error, ErrorKind, Result};

use super::copier::CopyStatus;
use super::found::{self, Found, folder_of, inside};
use super::manifest;
use super::owner::Owner;
use super::place::Place;
use super::save::save;

/// Copies what is newest, as often as it is told to.
pub struct Rounds {
    pub state: PathBuf,
    pub place: Place,
    pub owner: Owner,
    pub retained: usize,
    pub status: Arc<CopyStatus>,
}

impl Rounds {
    /// True when the newest checkpoint is there, as far as is known.
    pub fn is_done(&self) -> bool {
        StateFiles::newest(&self.state)
            .is_ok_and(|newest| newest.is_none_or(|newest| newest == self.status.last()))
    }

    pub fn say_unfinished(&self, why: &str) {
        tracing::error!(
            "the last checkpoint was not copied to {}, where the newest is {}: {why}",
            self.place.url(""),
            self.status.last()
        );
    }

    /// Copies the newest checkpoint where it is not there yet, and takes those away that are too many.
    pub async fn round(&self) -> Result<()> {
        let epochs = found::epochs(&self.place).await?;
        let last = match found::newest(&self.place, &epochs).await {
            // It is refused when it is to be begun from; a newer one in front of it does no harm.
            Err(error) if error.kind() == ErrorKind::State => {
                tracing::warn!("{}: {}", error.place().unwrap_or_default(), error.message());
                None
            }
            last => last?,
        };
        let own = last.as_ref().filter(|last| last.manifest.owner == self.owner.own);
        if let Some(own) = own {
            self.status.copied(&own.manifest);
        }
        let newest = StateFiles::newest(&self.state)?;
        if let Some(other) = last.as_ref().filter(|_| own.is_none()) {
            self.check_follows(other, newest)?;
        }
        if newest.is_none() || own.is_some_and(|own| newest <= Some(own.manifest.epoch)) {
            return Ok(());
        }
        let files = StateFiles::open(&self.state)?;
        let saved =
            save(&self.place, &folder_of(files.epoch), &files, &self.owner.own, last.as_ref()).await?;
        self.status.sent(saved.sent_bytes);
        self.status.copied(&saved.manifest);
        if let Err(error) = self.retain(saved.manifest.epoch).await {
            tracing::warn!("old checkpoints stay where they are: {error}");
        }
        Ok(())
    }

    /// The newest checkpoint there is another folder's: it must be one that this began from, and older than what this has.
    fn check_follows(&self, other: &Found, newest: Option<u64>) -> Result<()> {
        let is_older = newest.is_none_or(|newest| other.manifest.epoch < newest);
        if self.owner.follows(&other.manifest.owner) && is_older {
            return Ok(());
        }
        Err(Error::config("the newest checkpoint there is another pipeline's, or a former state folder's")
            .at(self.place.url(&other.folder))
            .remedy("give each pipeline a URL of its own; to go on from what is there, begin an empty --state folder with --from"))
    }

    /// Takes away what is older than the last `retained` whole ones, and halves.
    async fn retain(&self, newest: u64) -> Result<()> {
        let mut whole = 0;
        for epoch in found::epochs(&self.place).await?.into_iter().filter(|epoch| *epoch <= newest) {
            let folder = folder_of(epoch);
            let objects = self.place.objects(&folder).await?;
            let is_whole = objects.iter().any(|object| object.name == manifest::NAME);
            if is_whole && whole < self.retained {
                whole += 1;
                continue;
            }
            // The manifest first, so that what is left of it when this is cut off does not count.
            let (manifest, files): (Vec<_>, Vec<_>) =
                objects.iter().partition(|object| object.name == manifest::NAME);
            for object in manifest.into_iter().chain(files) {
                self.place.remove(&inside(&folder, &object.name)).await?;
            }
        }
        Ok(())
    }
}
