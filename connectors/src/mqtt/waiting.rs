//! A message that is still to be settled, with what it holds: its share of the outlet's bytes, and its ticket where it came
//! from an outbox.
//!
//! Invariants: the share is kept until the message is acknowledged or refused; of a message of an outbox, what became of it
//! goes to its ticket, and its life counts from when it was put in. Made from what handover.rs or the outbox's pump hands
//! over; publish.rs has it in its queue and its flight.

use std::sync::Arc;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::io::InFlight;
use millstream_engine::outbox::Ticket;
use millstream_engine::{Error, Result};

use super::packets::Publication;

/// Messages that are handed over together.
pub(super) struct Messages {
    pub publications: Vec<Publication>,
    /// Of the record of an outbox, which is one message.
    pub ticket: Option<Arc<Ticket>>,
}

/// See the module's page.
pub(super) struct Waiting {
    pub publication: Publication,
    /// Connections that were lost while it was the oldest on its way.
    pub losses: u32,
    ticket: Option<Arc<Ticket>>,
    _share: Arc<InFlight>,
}

impl Waiting {
    /// Each of `messages`, which share `share`.
    pub fn each(messages: Messages, share: InFlight) -> impl Iterator<Item = Self> {
        let (share, ticket) = (Arc::new(share), messages.ticket);
        messages.publications.into_iter().map(move |publication| Self {
            publication,
            losses: 0,
            ticket: ticket.clone(),
            _share: Arc::clone(&share),
        })
    }

    /// The broker has taken it.
    pub fn settle(&self) {
        if let Some(ticket) = &self.ticket {
            ticket.settle();
        }
    }

    /// It goes where the table's 'on-error' says, which `errors` know; one of an outbox by way of the worker.
    pub fn refuse(&self, errors: &RowErrors, error: Error) -> Result<()> {
        let payload = &self.publication.payload;
        match &self.ticket {
            None => errors.reject(payload, error),
            Some(ticket) => {
                ticket.refuse(payload.clone(), error);
                ticket.settle();
                Ok(())
            }
        }
    }

    /// How long it has waited in an outbox, if that is longer than its time to live.
    pub fn expired_ms(&self, now_ms: i64) -> Option<i64> {
        self.ticket.as_ref()?.expired_ms(now_ms)
    }

    /// The message with what is left of its 'message-expiry', if it has one and comes from an outbox.
    ///
    /// # Errors
    /// If nothing is left.
    pub fn aged(&self, now_ms: i64) -> Result<Option<Publication>> {
        let properties = self.publication.properties.as_ref();
        let (Some(expiry_s), Some(ticket)) =
            (properties.and_then(|properties| properties.message_expiry_s), &self.ticket)
        else {
            return Ok(None);
        };
        let waited_s = ticket.waited_ms(now_ms) / 1_000;
        let left_s = u32::try_from(waited_s).ok().and_then(|waited_s| expiry_s.checked_sub(waited_s));
        let Some(left_s @ 1..) = left_s else {
            return Err(Error::unavailable(format!(
                "it has waited {waited_s} s in the outbox, longer than its 'message-expiry' of {expiry_s} s"
            )));
        };
        let mut aged = self.publication.clone();
        if let Some(properties) = &mut aged.properties {
            properties.message_expiry_s = Some(left_s);
        }
        Ok(Some(aged))
    }
}
