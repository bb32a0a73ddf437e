//! The thread that takes records out of the log and hands them to the connector's task.
//!
//! Invariants: it holds nothing itself; what is on its way is bounded by the connector's outlet, and refused rows that wait
//! for the worker by [`REFUSED_BYTES_MAX`]. It parks when there is nothing to send or no room, and is rung by the log, the
//! outlet and the worker. A record that is older than its time to live, or that this program cannot read, is refused.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::feed::{Fed, Feed};
use super::record::Record;
use super::shared::{REFUSED_BYTES_MAX, Shared};
use super::ticket::Ticket;
use crate::clock::ClockRef;
use crate::error::{Error, Result};
use crate::io::OutletSender;

/// How often it looks up although nobody has rung, while the worker watches it.
const WATCH: Duration = Duration::from_millis(200);
/// What waits is sent while less than this part of the outlet is on its way, so that what comes now finds room.
const BACKLOG_PART: usize = 8;

/// What a connector makes of a record.
pub trait Parcel: Sized + Send + 'static {
    /// Takes a record's bytes.
    ///
    /// # Errors
    /// If they are not what it wrote.
    fn read(bytes: Bytes, ticket: Arc<Ticket>) -> Result<Self>;

    /// What it counts for in the outlet.
    fn num_bytes(&self) -> usize;

    /// Its rows, as they go to the dead letters.
    fn rows(&self) -> Vec<Bytes>;
}

/// The thread; it ends when dropped.
pub(super) struct Pump {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(super) struct Pumping<T> {
    pub feed: Feed,
    pub outlet: OutletSender<T>,
    pub outlet_bytes_max: usize,
    pub ttl: Option<Duration>,
    pub clock: ClockRef,
    pub shared: Arc<Shared>,
}

impl Pump {
    pub fn start<T: Parcel>(mut pumping: Pumping<T>) -> Result<Self> {
        let shared = Arc::clone(&pumping.shared);
        let thread = std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || pumping.run())
            .map_err(|error| Error::unavailable(format!("the outbox's thread does not start: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::Release);
        self.shared.pump.notify();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<T: Parcel> Pumping<T> {
    fn run(&mut self) {
        self.shared.pump.own();
        while !self.shared.is_ending.load(Ordering::Acquire) {
            match self.step() {
                Ok(true) => {}
                Ok(false) if self.outlet.is_closed() => return,
                Ok(false) => {
                    self.shared.ring_watcher();
                    let is_watched = self.shared.is_watched.load(Ordering::Acquire);
                    self.shared.pump.park(is_watched.then(|| self.clock.sleep_for(WATCH)));
                }
                Err(error) => return self.shared.fail(error),
            }
        }
    }

    /// Sends a record. False when there is none, or no room.
    fn step(&mut self) -> Result<bool> {
        if !self.outlet.is_ready() || self.shared.with(|ledger| ledger.refused_bytes()) >= REFUSED_BYTES_MAX {
            return Ok(false);
        }
        let (written, now_ms) = (self.shared.tail().written(), self.clock.steady_ms());
        let wants_backlog = self.outlet.in_flight_bytes() <= self.outlet_bytes_max / BACKLOG_PART;
        match self.feed.next(written, now_ms, wants_backlog)? {
            Fed::Nothing => return Ok(false),
            Fed::Gap(first, last) => {
                tracing::error!("records {first} to {last} of an outbox are not there: damaged, or purged");
                self.shared.done(first, last);
            }
            Fed::Record { number, bytes, .. } => self.send(number, bytes, now_ms)?,
        }
        Ok(true)
    }

    fn send(&self, number: u64, bytes: Bytes, now_ms: i64) -> Result<()> {
        let refused = |rows: Vec<Bytes>, error: &Error| {
            let ticket = Ticket::new(number, now_ms, None, &self.shared);
            rows.into_iter().for_each(|row| ticket.refuse(row, error.clone()));
            ticket.settle();
        };
        let unreadable = || Error::state(format!("record {number} of the outbox is of another version"));
        let Some(record) = Record::read(bytes.clone()) else {
            refused(vec![bytes], &unreadable());
            return Ok(());
        };
        self.shared.with(|ledger| ledger.read(number, record.time_ms));
        let ticket = Ticket::new(number, record.time_ms, self.ttl, &self.shared);
        let waited_ms = ticket.expired_ms(now_ms);
        match (T::read(record.body, ticket), waited_ms) {
            (Err(error), _) => refused(vec![bytes], &error),
            (Ok(parcel), Some(waited_ms)) => refused(parcel.rows(), &expired(waited_ms)),
            (Ok(parcel), None) => {
                let bytes = parcel.num_bytes();
                // A task that has died has left why for the worker.
                let _ = self.outlet.send(parcel, bytes);
            }
        }
        Ok(())
    }
}

/// Why a row that has waited so long is not sent.
pub fn expired(waited_ms: i64) -> Error {
    Error::unavailable(format!(
        "it has waited {} s in the outbox, longer than 'outbox.ttl'",
        waited_ms / 1_000
    ))
}
