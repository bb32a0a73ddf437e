//! Which record of an outbox is sent next.
//!
//! Oldest first: in order of their numbers. Live first: what has just been put in goes before what has waited, and the
//! backlog is taken up, oldest first, whenever nothing live is there. Live is what is read within [`LIVE_MS`] of being put
//! in; when the reader falls behind that, because the far end was away, all that waits becomes backlog and it goes on at
//! the end of the log. Numbers that are passed over, because they are damaged or were purged, are given as gaps, so that
//! somebody counts them off.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::record::Record;
use crate::disk::Disk;
use crate::error::Result;
use crate::journal::Reader;

/// How long what was put in is live.
const LIVE_MS: i64 = 1_000;

/// The option's two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// In the order of putting in.
    #[default]
    OldestFirst,
    /// What comes now before what has waited.
    LiveFirst,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// A record. It was live, or waited.
    Record { number: u64, bytes: Bytes, is_live: bool },
    /// These numbers are not there.
    Gap(u64, u64),
    /// Nothing now.
    Nothing,
}

/// See the module's page.
pub(super) struct Feed {
    order: Order,
    /// Ranges that wait, in order.
    todo: VecDeque<(u64, u64)>,
    backlog: Reader,
    live: Reader,
    /// A record behind a gap that was given first.
    held: Option<Fed>,
}

impl Feed {
    /// Gives the records of the ranges `todo`, and all behind the number `last`.
    pub fn new(disk: &Arc<dyn Disk>, order: Order, todo: Vec<(u64, u64)>, last: u64) -> Self {
        let reader = |next| Reader::new(Arc::clone(disk), next);
        Self { order, todo: todo.into(), backlog: reader(1), live: reader(last + 1), held: None }
    }

    /// What is next of the records up to `written`; of those that wait only if `wants_backlog`.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn next(&mut self, written: u64, now_ms: i64, wants_backlog: bool) -> Result<Fed> {
        if let Some(held) = self.held.take() {
            return Ok(held);
        }
        if self.order == Order::OldestFirst && !self.todo.is_empty() {
            return self.waiting();
        }
        let expected = self.live.next_number();
        if let Some((number, bytes)) = self.live.next(written)? {
            let put_ms = Record::read(bytes.clone()).map_or(now_ms, |record| record.time_ms);
            let is_behind = now_ms.saturating_sub(put_ms) > LIVE_MS && number < written;
            if self.order == Order::LiveFirst && is_behind {
                self.todo.push_back((expected, written));
                self.live.seek(written + 1);
            } else {
                return Ok(self.with_gap(expected, number, Fed::Record { number, bytes, is_live: true }));
            }
        }
        if wants_backlog && !self.todo.is_empty() { self.waiting() } else { Ok(Fed::Nothing) }
    }

    /// The next record that waits.
    fn waiting(&mut self) -> Result<Fed> {
        let Some((first, last)) = self.todo.front_mut() else { return Ok(Fed::Nothing) };
        let (from, to) = (*first, *last);
        if self.backlog.next_number() != from {
            self.backlog.seek(from);
        }
        match self.backlog.next(to)? {
            Some((number, bytes)) => {
                *first = number + 1;
                if number == to {
                    self.todo.pop_front();
                }
                Ok(self.with_gap(from, number, Fed::Record { number, bytes, is_live: false }))
            }
            None => {
                self.todo.pop_front();
                Ok(Fed::Gap(from, to))
            }
        }
    }

    fn with_gap(&mut self, expected: u64, number: u64, record: Fed) -> Fed {
        if number == expected {
            return record;
        }
        self.held = Some(record);
        Fed::Gap(expected, number - 1)
    }
}
