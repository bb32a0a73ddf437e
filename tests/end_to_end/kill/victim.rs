//! The pipeline as a process of its own, which is started, killed and started again.
//!
//! Invariant: it dies by a signal or not at all; one that ends by itself while it is to be killed fails the test.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use crate::support::{command, file, free_address, get, signal};

/// How long its own end may take.
const END: Duration = Duration::from_secs(180);
/// How long it may take to do what is waited for.
const WAIT: Duration = Duration::from_secs(90);

pub struct Victim {
    folder: tempfile::TempDir,
    child: Option<Child>,
    starts: usize,
    /// Where this start has its metrics, and from where on the log is its own.
    http: String,
    log_from: u64,
    state: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Victim {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Self { folder, child: None, starts: 0, http: String::new(), log_from: 0, state, environment: vec![] }
    }

    /// One with its state there.
    pub fn with_state(mut self, state: PathBuf) -> Self {
        self.state = state;
        self
    }

    /// One that is started with these variables.
    pub fn with_environment(mut self, environment: Vec<(&'static str, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// Starts `query` with as many workers, and one variable `more`.
    pub fn start(&mut self, query: &str, workers: usize, more: Option<(&str, &str)>) {
        assert!(self.child.is_none());
        self.starts += 1;
        let path = self.folder.path();
        let log = OpenOptions::new().create(true).append(true).open(path.join("log")).unwrap();
        let query = file(path, &format!("{}.sql", self.starts), query);
        self.log_from = log.metadata().unwrap().len();
        let state = self.state.display().to_string();
        self.http = free_address().to_string();
        let workers = workers.to_string();
        let mut command =
            command(&["run", &query, "--state", &state, "--workers", &workers, "--http", &self.http]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).envs(more);
        command.env("RUST_LOG", "info").stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// True when all its tables are connected.
    pub fn is_ready(&self) -> bool {
        get(&self.http, "/readyz").is_some_and(|(status, _)| status.contains("200"))
    }

    /// Its last checkpoint that is safe, 0 while there is none.
    pub fn checkpoint(&self) -> u64 {
        self.sum("millstream_checkpoint_last", "")
    }

    /// How many rows this start has had from a table.
    pub fn rows_in(&self, table: &str) -> u64 {
        self.sum("millstream_rows_in_total", &format!("operator=\"{table}\""))
    }

    /// The sum of a metric's values that have this label.
    fn sum(&self, name: &str, label: &str) -> u64 {
        let (_, metrics) = get(&self.http, "/metrics").unwrap_or_default();
        let own = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
        own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Waits until `done`. What it waited for, and the log, if that does not come.
    pub fn wait(&mut self, what: &str, done: impl FnMut(&Self) -> bool) {
        assert!(self.comes_to(what, done), "waited {WAIT:?} for {what}; {}", self.log());
    }

    /// The same, for what is looked at afterwards: false if it does not come.
    pub fn comes_to(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> bool {
        let step = Duration::from_millis(50);
        for _ in 0..WAIT.as_millis() / step.as_millis() {
            if done(self) {
                return true;
            }
            let status = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(status.is_none(), "{what}: it ended by itself: {status:?}; {}", self.log());
            std::thread::sleep(step);
        }
        println!("waited {WAIT:?} in vain for {what}");
        false
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

    /// True when it has ended by itself, with an error that says `why`.
    pub fn has_refused(&mut self, why: &str, what: &str) -> bool {
        let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() else { return false };
        let log = std::fs::read(self.folder.path().join("log")).unwrap();
        let own = String::from_utf8_lossy(&log[self.log_from as usize..]).into_owned();
        let is_told = status.code().is_some_and(|code| code > 0) && own.contains(why);
        assert!(is_told, "{what}: it ended by itself: {status}; {}", self.log());
        self.child = None;
        true
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
