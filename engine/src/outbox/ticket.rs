//! What a record on its way carries, so that the outbox learns what became of it.
//!
//! Invariants: a record is settled when each of its parts is ([`Ticket::split`] makes one more), and what is dropped
//! unsettled, because the job ends, stays in the outbox. Delivered, it is done at once. With rows that were refused it
//! waits for the worker, which puts them with the dead letters in front of a barrier.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::ledger::Refused;
use super::shared::Shared;
use crate::error::Error;

/// See the module's page.
pub struct Ticket {
    number: u64,
    /// When it was put in, and from when it is not worth sending.
    put_ms: i64,
    expires_ms: i64,
    parts: AtomicUsize,
    refused: Mutex<Vec<(Bytes, Error)>>,
    shared: Arc<Shared>,
}

impl Ticket {
    pub(super) fn new(number: u64, put_ms: i64, ttl: Option<Duration>, shared: &Arc<Shared>) -> Arc<Self> {
        let ttl_ms = ttl.map_or(i64::MAX, |ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        Arc::new(Self {
            number,
            put_ms,
            expires_ms: put_ms.saturating_add(ttl_ms),
            parts: AtomicUsize::new(1),
            refused: Mutex::default(),
            shared: Arc::clone(shared),
        })
    }

    /// The record's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// That the record is no `what` that this program can read.
    pub fn unreadable(&self, what: &str) -> Error {
        Error::state(format!("record {} of the outbox is no {what} of this version", self.number))
    }

    /// How long it has waited, if that is longer than its time to live.
    pub fn expired_ms(&self, now_ms: i64) -> Option<i64> {
        (now_ms >= self.expires_ms).then(|| self.waited_ms(now_ms))
    }

    /// How long it has waited; not less than nothing, whatever the clock was set to.
    pub fn waited_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.put_ms).max(0)
    }

    /// There are as many parts more, to be settled each.
    pub fn split(&self, more: usize) {
        self.parts.fetch_add(more, Ordering::AcqRel);
    }

    /// A row of it is given up; to be followed by [`Ticket::settle`].
    pub fn refuse(&self, row: Bytes, error: Error) {
        self.refused.lock().push((row, error));
    }

    /// A part is through.
    pub fn settle(&self) {
        if self.parts.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let rows = std::mem::take(&mut *self.refused.lock());
        if rows.is_empty() {
            self.shared.done(self.number, self.number);
        } else {
            self.shared.refuse(Refused { number: self.number, rows });
        }
    }
}
