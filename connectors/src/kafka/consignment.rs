//! Messages that are handed to librdkafka together: what they count for while they are on their way, and the record of an
//! outbox that they are.
//!
//! Invariants: their bytes count until the last of them is delivered or with the dead letters; what becomes of a message of
//! an outbox goes to the record's ticket. librdkafka has one reference a message, as its opaque; flight.rs gets it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::io::InFlight;
use millstream_engine::outbox::Ticket;
use millstream_engine::{Error, Result};

use super::flight::Flight;

/// See the module's page.
pub(super) struct Consignment {
    ticket: Option<Arc<Ticket>>,
    share: Share,
}

enum Share {
    /// Of what the sink itself has handed over.
    Flight { flight: Arc<Flight>, bytes: AtomicUsize },
    /// Of the outlet that the outbox fills.
    Outlet(#[allow(dead_code, reason = "kept until it is dropped")] InFlight),
}

impl Consignment {
    /// Of rows that the sink hands over itself.
    pub fn straight(flight: &Arc<Flight>) -> Arc<Self> {
        let share = Share::Flight { flight: Arc::clone(flight), bytes: AtomicUsize::new(0) };
        Arc::new(Self { ticket: None, share })
    }

    /// Of a record of `messages` messages.
    pub fn of_record(ticket: Arc<Ticket>, messages: usize, share: InFlight) -> Arc<Self> {
        ticket.split(messages.saturating_sub(1));
        Arc::new(Self { ticket: Some(ticket), share: Share::Outlet(share) })
    }

    /// A message of `bytes` is about to be handed over.
    pub fn add(&self, bytes: usize) {
        if let Share::Flight { flight, bytes: all } = &self.share {
            all.fetch_add(bytes, Ordering::AcqRel);
            flight.add(bytes);
        }
    }

    /// A message is delivered.
    pub fn settle(&self) {
        if let Some(ticket) = &self.ticket {
            ticket.settle();
        }
    }

    /// A message goes where the table's 'on-error' says, which `errors` know; one of an outbox by way of the worker.
    ///
    /// # Errors
    /// If that ends the job.
    pub fn refuse(&self, payload: Option<&[u8]>, error: Error, errors: &RowErrors) -> Result<()> {
        let payload = payload.unwrap_or_default();
        match &self.ticket {
            None => errors.reject(payload, error),
            Some(ticket) => {
                ticket.refuse(payload.to_vec().into(), error);
                ticket.settle();
                Ok(())
            }
        }
    }

    /// How long it has waited in an outbox, if that is longer than its time to live.
    pub fn expired_ms(&self, now_ms: i64) -> Option<i64> {
        self.ticket.as_ref()?.expired_ms(now_ms)
    }
}

impl Drop for Consignment {
    fn drop(&mut self) {
        if let Share::Flight { flight, bytes } = &self.share {
            flight.done(bytes.load(Ordering::Acquire));
        }
    }
}
