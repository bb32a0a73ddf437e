//! What writes the input: records in order of their numbers, at a rate, as far as the harness has come.
//!
//! Invariant: every number is handed to the writer once, and all of them by the end; a kill finds input under way, because
//! there is some left for it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the input of one kill takes.
const KILL: Duration = Duration::from_secs(5);
/// Records handed to the writer at once.
const CHUNK: u64 = 500;

#[derive(Default)]
struct Limits {
    allowed: AtomicU64,
    is_hurried: AtomicBool,
}

/// What records are handed to.
pub trait Writer: Send + 'static {
    /// What it has to say at its end.
    type Account: Send + 'static;

    fn write(&mut self, numbers: Range<u64>);

    /// Behind the last record.
    fn close(self) -> Self::Account;
}

/// A thread that writes.
pub struct Feed<W: Writer> {
    limits: Arc<Limits>,
    records: u64,
    kills: u64,
    thread: JoinHandle<W::Account>,
}

impl<W: Writer> Feed<W> {
    /// Starts to write `records` records, for as many kills.
    pub fn start(records: u64, kills: u64, mut writer: W) -> Self {
        let limits = Arc::<Limits>::default();
        let of_thread = Arc::clone(&limits);
        let pause = KILL.mul_f64((CHUNK * kills) as f64 / records as f64);
        let thread = std::thread::spawn(move || {
            let mut written = 0;
            while written < records {
                let until = of_thread.allowed.load(Ordering::Acquire).min(written + CHUNK);
                if until > written {
                    writer.write(written..until);
                    written = until;
                }
                if !of_thread.is_hurried.load(Ordering::Acquire) {
                    std::thread::sleep(pause);
                }
            }
            writer.close()
        });
        Self { limits, records, kills, thread }
    }

    /// The input of kill `kill` may be written.
    pub fn allow(&self, kill: u64) {
        let until = (self.records * (kill + 1) / self.kills).min(self.records);
        self.limits.allowed.store(until, Ordering::Release);
    }

    /// Has the rest written; the writer's account.
    pub fn finish(self) -> W::Account {
        self.limits.allowed.store(self.records, Ordering::Release);
        self.limits.is_hurried.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}
