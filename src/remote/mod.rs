//! Checkpoints away from the machine: copies of a state folder's checkpoints in an object store, and the way back.
//!
//! A state folder stays on the machine's own disk, which is what journals, outboxes and checkpoints are synced to; nothing of the
//! stream waits for an uplink. Behind it a thread (copier.rs, rounds.rs) copies the newest checkpoint, with the journals and outboxes that
//! belong to it, every so often: save.rs writes files and then the manifest (manifest.rs) that makes them a checkpoint. On another
//! machine fetch.rs makes a state folder of the newest whole one (found.rs). A savepoint in a bucket is the same, once.
//!
//! Invariants: what is there without its manifest does not count; nothing that is read back is used before its sum was compared;
//! places are places (place.rs) of one pipeline (owner.rs).

mod copier;
mod failure;
mod fetch;
mod found;
mod manifest;
mod owner;
mod place;
mod rounds;
mod save;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use millstream_engine::state::{StateFiles, savepoint};
use millstream_engine::{ClockRef, Error, Result};
use tokio::runtime::Runtime;

pub(crate) use copier::Copier;
pub use copier::CopyStatus;
use owner::Owner;
use place::{Place, RETRIES_OF_A_COMMAND};

/// Where checkpoints are copied to, how often, and how many stay there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCheckpoints {
    /// `s3://BUCKET/FOLDER`, or `file:///FOLDER` on another disk.
    pub url: String,
    /// Between two copies; one that takes longer makes the next one later.
    pub interval: Duration,
    /// Checkpoints that stay there, at least one.
    pub retained: usize,
}

impl RemoteCheckpoints {
    /// Reads the URL and the environment, before anything is begun.
    pub(crate) fn check(&self) -> Result<()> {
        Place::open(&self.url, RETRIES_OF_A_COMMAND).map(drop)
    }
}

/// Between two copies where nothing is said.
pub const COPY_INTERVAL: Duration = Duration::from_secs(60);
/// Checkpoints that stay where nothing is said.
pub const CHECKPOINTS_RETAINED: usize = 3;

impl<T: Into<String>> From<T> for RemoteCheckpoints {
    fn from(url: T) -> Self {
        Self { url: url.into(), interval: COPY_INTERVAL, retained: CHECKPOINTS_RETAINED }
    }
}

/// Copies the newest checkpoint of the state folder `state`, with what belongs to it, to the place `url`, where nothing is yet. A
/// pipeline may run with the folder meanwhile. Answers the checkpoint's epoch.
///
/// # Errors
/// If there is no checkpoint, it is damaged, something is at `url` already, or the store fails.
pub fn save_savepoint(state: &Path, url: &str, clock: &ClockRef) -> Result<u64> {
    let place = Place::open(url, RETRIES_OF_A_COMMAND)?;
    let files = StateFiles::open(state)?;
    files.check()?;
    let owner = Owner::of(state, clock)?;
    on_a_thread(|runtime| {
        runtime.block_on(async {
            let is_taken =
                found::manifest_in(&place, "").await?.is_some() || !found::epochs(&place).await?.is_empty();
            if is_taken {
                return Err(Error::config("there is a checkpoint already")
                    .at(place.url(""))
                    .remedy("give the savepoint a folder that is not there yet"));
            }
            save::save(&place, "", &files, &owner.own, None).await.map(|saved| saved.manifest.epoch)
        })
    })
}

/// Makes the state folder `state`, which has no state yet, begin from the savepoint at `url`, or from the newest checkpoint that was
/// copied there.
///
/// # Errors
/// If there is none, it is damaged, the store fails, or `state` has state already or cannot be written.
pub fn begin_from(url: &str, state: &Path, clock: &ClockRef) -> Result<u64> {
    let place = Place::open(url, RETRIES_OF_A_COMMAND)?;
    on_a_thread(|runtime| {
        let (found, epochs) = runtime.block_on(fetch::find(&place))?;
        savepoint::begin_with(&place.url(&found.folder), state, clock.now_ms(), |to| {
            runtime.block_on(fetch::fetch(&place, &found, &epochs, to))?;
            Owner::begin(state, Some(found.manifest.owner.clone()), clock).map(drop)
        })
    })
}

/// Runs `work` on a thread of its own: its caller may be on a runtime, which must not wait inside another.
fn on_a_thread<T: Send>(work: impl FnOnce(&Runtime) -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| work(&runtime()?)).join();
        done.unwrap_or_else(|_| Err(Error::internal("the copy of a checkpoint panicked")))
    })
}

fn runtime() -> Result<Runtime> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| Error::internal(format!("no runtime for an object store: {error}")))
}
