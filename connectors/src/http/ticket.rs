//! A request between the I/O side and the worker: what was posted, and the ticket by which its sender is answered.
//!
//! Invariant: a request's rows are taken by the worker, or given up by the I/O side (the sender is gone, or has been told
//! to come again), never both: whoever changes the state first has it. So nothing is half taken, and no answer lies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::split::Splitter;

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A request's body on its way to the worker.
pub(super) struct Posted {
    /// Decompressed.
    pub body: Bytes,
    /// Cuts the body into payloads.
    pub rows: Splitter,
    pub origin: Origin,
    pub ticket: Ticket,
    /// When the body was there, by the job's monotonic clock.
    pub received_ns: u64,
}

/// Where a request came from, for metadata columns.
#[derive(Serialize, Deserialize)]
pub(super) struct Origin {
    pub path: String,
    pub remote: SocketAddr,
    pub content_type: Option<String>,
    /// Names in lower case, sorted; empty when no column wants them. Never credentials.
    pub headers: Vec<(String, String)>,
    /// When the body was there, in ms since 1970.
    pub received_ms: i64,
}

/// What became of a request's rows.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Rows that were taken into the pipeline.
    pub rows: u64,
    /// Payloads that were no rows.
    pub rejected: u64,
    /// The first of those: number in the body, from 1, and what is wrong.
    pub errors: Vec<(u64, String)>,
}

/// The worker's end.
pub(super) struct Ticket {
    state: Arc<AtomicU8>,
    answer: oneshot::Sender<Verdict>,
}

/// The I/O side's end. Dropped while the worker has not begun, the request is given up.
pub(super) struct Claim {
    state: Arc<AtomicU8>,
    answer: oneshot::Receiver<Verdict>,
}

/// A ticket and the claim on its answer.
pub(super) fn ticket() -> (Ticket, Claim) {
    let (state, (sender, receiver)) = (Arc::new(AtomicU8::new(WAITING)), oneshot::channel());
    (Ticket { state: Arc::clone(&state), answer: sender }, Claim { state, answer: receiver })
}

impl Ticket {
    /// The worker begins to take the rows; false when the request was given up.
    pub fn begin(&self) -> bool {
        self.state.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// All rows are taken: the sender may be told. Nobody may be there any more.
    pub fn answer(self, verdict: Verdict) {
        let _ = self.answer.send(verdict);
    }
}

impl Claim {
    /// Waits for the answer; `None` when the source ended without one. May be asked again when cancelled.
    pub async fn verdict(&mut self) -> Option<Verdict> {
        (&mut self.answer).await.ok()
    }

    /// Gives the request up; false when the worker has begun.
    pub fn give_up(&self) -> bool {
        self.state.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_taken_or_given_up() {
        let (ticket, mut claim) = ticket();
        assert!(ticket.begin() && !claim.give_up());
        ticket.answer(Verdict { rows: 3, ..Verdict::default() });
        assert_eq!(claim.verdict().await.unwrap().rows, 3);

        let (ticket, claim) = super::ticket();
        drop(claim);
        assert!(!ticket.begin());

        let (ticket, mut claim) = super::ticket();
        drop(ticket);
        assert!(claim.verdict().await.is_none());
    }
}
