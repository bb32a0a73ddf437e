//! A source whose job keeps its state on disk answers a request only when the journal has it.
//!
//! Invariants: every request whose rows are emitted is in the journal or on its way there, in the order they were taken; its
//! sender is told 200 once it is safe. A checkpoint holds the number of the last request whose rows it counts and, of a
//! request that was spread over several batches, how many payloads it counts of the next: after a restart rows go on behind
//! those. A record is its origin as JSON with its length (u32) in front, and the body.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use millstream_engine::journal::{Journal, Replay};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Codec, Error, InstanceContext, Result};

use super::split::Splitter;
use super::ticket::{Origin, Posted, Ticket, Verdict, ticket};

/// The form of what a checkpoint holds.
const STATE_VERSION: u8 = 1;

/// See the module's page.
pub(super) struct Journaled {
    journal: Journal,
    /// Requests of earlier runs whose rows are still to be emitted.
    replay: Option<Replay>,
    /// The number of the last request whose rows were all emitted.
    counted: u64,
    /// Payloads of the next one that a restored checkpoint counts.
    skipped: u64,
    /// Requests that are through and not safe yet.
    waiting: VecDeque<(u64, Ticket, Verdict)>,
}

/// A request of an earlier run.
pub(super) struct Replayed {
    pub number: u64,
    pub posted: Posted,
    /// Payloads whose rows were emitted before.
    pub skipped: u64,
}

impl Journaled {
    /// Opens the journal, if the job has a place for one.
    ///
    /// # Errors
    /// If its folder cannot be used.
    pub fn open(bytes_max: u64, context: &InstanceContext) -> Result<Option<Self>> {
        Ok(Journal::of(context, bytes_max, 0)?.map(|mut journal| {
            let replay = journal.replay();
            Self { journal, replay, counted: 0, skipped: 0, waiting: VecDeque::new() }
        }))
    }

    /// Goes on from what [`Journaled::snapshot`] wrote.
    ///
    /// # Errors
    /// If it is not what that wrote.
    pub fn restore(&mut self, state: &StateReader) -> Result<()> {
        let Some(mut bytes) = state.blobs().next() else { return Ok(()) };
        let broken = |_| Error::state("what a checkpoint has of an HTTP source is damaged");
        if bytes.try_get_u8().map_err(broken)? != STATE_VERSION {
            return Err(Error::state("a checkpoint of a later version has an HTTP source's position"));
        }
        self.counted = bytes.try_get_u64_le().map_err(broken)?;
        self.skipped = bytes.try_get_u64_le().map_err(broken)?;
        // Of a request that is counted in part the number is known, too.
        self.journal.go_on_behind(self.counted, self.counted + u64::from(self.skipped > 0));
        self.replay = self.replay.take().map(|replay| replay.behind(self.counted));
        Ok(())
    }

    /// Writes the position; `begun` are the payloads that were emitted of the request behind it.
    pub fn snapshot(&mut self, begun: u64, state: &mut StateWriter) {
        // What is left of a request that an earlier run began is still counted as it was.
        let begun = if begun == 0 && self.replay.is_some() { self.skipped } else { begun };
        let mut bytes = BytesMut::with_capacity(17);
        bytes.put_u8(STATE_VERSION);
        bytes.put_u64_le(self.counted);
        bytes.put_u64_le(begun);
        state.put_blob(bytes);
        self.journal.on_snapshot(self.counted);
    }

    /// The checkpoint of the last snapshot is complete.
    pub fn on_checkpoint_complete(&mut self) {
        self.journal.on_checkpoint_complete();
    }

    /// The next request of an earlier run.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn replayed(&mut self, codec: &dyn Codec, received_ns: u64) -> Result<Option<Replayed>> {
        let Some(replay) = &mut self.replay else { return Ok(None) };
        let Some((number, record)) = replay.next().transpose()? else {
            self.replay = None;
            return Ok(None);
        };
        let (origin, body) = read(record)
            .ok_or_else(|| Error::state(format!("record {number} of the journal is no request")))?;
        // Nobody waits for its answer any more.
        let (ticket, claim) = ticket();
        ticket.begin();
        drop(claim);
        let posted = Posted { rows: Splitter::new(&body, codec), body, origin, ticket, received_ns };
        // If the journal lost what a checkpoint counted in part, the next request is another one.
        let skipped = if number == self.counted + 1 { std::mem::take(&mut self.skipped) } else { 0 };
        self.skipped = 0;
        Ok(Some(Replayed { number, posted, skipped }))
    }

    /// False while nothing more may be taken.
    pub fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    /// Records a request that is taken, and gives its number.
    ///
    /// # Errors
    /// If its origin cannot be written.
    pub fn record(&self, posted: &Posted) -> Result<u64> {
        let origin =
            serde_json::to_vec(&posted.origin).map_err(|error| Error::internal(error.to_string()))?;
        let length = (origin.len() as u32).to_le_bytes();
        Ok(self.journal.appending().push(&[&length, &origin, &posted.body]))
    }

    /// All rows of request `number` are emitted: it is answered when it is safe.
    pub fn through(&mut self, number: u64, ticket: Ticket, verdict: Verdict) {
        self.counted = number;
        self.waiting.push_back((number, ticket, verdict));
    }

    /// Answers what is safe by now.
    ///
    /// # Errors
    /// If the disk failed.
    pub fn answer(&mut self, context: &InstanceContext) -> Result<()> {
        let safe = self.journal.safe()?;
        while let Some((_, ticket, verdict)) = self.waiting.pop_front_if(|(number, ..)| *number <= safe) {
            ticket.answer(verdict);
        }
        self.journal.report(&context.metrics);
        Ok(())
    }
}

fn read(mut record: Bytes) -> Option<(Origin, Bytes)> {
    let length = record.try_get_u32_le().ok()? as usize;
    let origin = (length <= record.len()).then(|| record.split_to(length))?;
    Some((serde_json::from_slice(&origin).ok()?, record))
}
