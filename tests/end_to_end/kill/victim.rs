//! The pipeline as a process of its own, which is started, killed and started again.
//!
//! Invariant: it dies by a signal or not at all; one that ends by itself while it is to be killed fails the test.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use crate::support::{command, file, signal};

/// How long its own end may take.
const END: Duration = Duration::from_secs(180);

pub struct Victim {
    folder: tempfile::TempDir,
    child: Option<Child>,
    starts: usize,
}

impl Victim {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), child: None, starts: 0 }
    }

    /// Starts `query` with as many workers and `more` arguments; it dies by itself at `place`, `NAME:TIMES`.
    pub fn start(&mut self, query: &str, workers: usize, place: Option<&str>, more: &[&str]) {
        assert!(self.child.is_none());
        self.starts += 1;
        let path = self.folder.path();
        let log = OpenOptions::new().create(true).append(true).open(path.join("log")).unwrap();
        let query = file(path, &format!("{}.sql", self.starts), query);
        let state = path.join("state").display().to_string();
        let mut command = command(&["run", &query, "--state", &state, "--workers", &workers.to_string()]);
        command.args(more);
        if let Some(place) = place {
            command.env("MILLSTREAM_FAILPOINT", place);
        }
        command.env("RUST_LOG", "info").stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits for it to die by itself. False when it does not in time.
    pub fn dies_within(&mut self, limit: Duration) -> bool {
        let step = Duration::from_millis(20);
        for _ in 0..limit.as_millis() / step.as_millis() {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(step);
        }
        false
    }

    /// Sees to it that it is dead, and by no end of its own.
    pub fn kill(&mut self, what: &str) {
        let mut child = self.child.take().unwrap();
        let _ = child.kill();
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "{what}: it ended by itself: {status}; {}", self.log());
    }

    /// Waits for its own end, which must be a good one; with a SIGTERM if that is what ends it.
    pub fn ends(&mut self, by_signal: bool) {
        if by_signal {
            signal(self.child.as_ref().unwrap(), "TERM");
        }
        self.dies_within(END);
        let mut child = self.child.take().unwrap();
        let _ = child.kill();
        let status = child.wait().unwrap();
        assert!(status.success(), "it did not end well: {status}; {}", self.log());
    }

    /// How often its log says `text`.
    pub fn said(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.matches(text).count()
    }

    /// The end of its log, for a message. The whole folder is kept, and named.
    pub fn log(&mut self) -> String {
        self.folder.disable_cleanup(true);
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let from = text.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
        format!("{} is kept; the end of its log:\n{}", self.folder.path().display(), &text[from..])
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
