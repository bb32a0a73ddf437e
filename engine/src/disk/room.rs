//! What writes to a full disk waits for: room, or that waiting is given up.
//!
//! A checkpoint that cannot be written does no harm while the job goes on: its state waits in memory up to a limit, then
//! rows do, and what was complete stays. So it waits here, until somebody has made room or the job is over.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long it takes to ask the disk again.
const RETRY: Duration = Duration::from_millis(500);

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Room {
    given_up: Mutex<bool>,
    changed: Condvar,
    /// It was said that there is none.
    is_said: AtomicBool,
}

impl Room {
    /// Waits a while, as `error` says that there is no room for the file at `place`. False when it is not to be tried again.
    pub fn wait(&self, place: &str, error: &io::Error) -> bool {
        let mut given_up = self.given_up.lock();
        if !*given_up {
            if !self.is_said.swap(true, Ordering::Relaxed) {
                tracing::warn!("the checkpoint {place} waits for room on the disk: {error}");
            }
            self.changed.wait_for(&mut given_up, RETRY);
        }
        !*given_up
    }

    /// There is room.
    pub fn found(&self) {
        if self.is_said.swap(false, Ordering::Relaxed) {
            tracing::info!("the disk has room again, and checkpoints go on");
        }
    }

    /// True while something waits.
    #[cfg(test)]
    pub fn is_waited_for(&self) -> bool {
        self.is_said.load(Ordering::Relaxed)
    }

    /// Ends all waiting: what finds no room now fails.
    pub fn give_up(&self) {
        *self.given_up.lock() = true;
        self.changed.notify_all();
    }
}
