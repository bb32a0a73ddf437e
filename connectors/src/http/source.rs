//! The worker's side: requests become rows, are emitted, and are then answered.
//!
//! Invariants: every payload of a request is one or more rows or a bad row that is counted and routed; a request is
//! answered after all of its rows were emitted, never before, and [`HttpSource::answer`] is the only place; where the
//! job's state is on disk, when the journal has it safe too (journaled.rs). An idle
//! worker takes a request as soon as it is there; a busy one finds many waiting and decodes them together. A large
//! request is spread over several batches. Told to stop, the source goes on until all that were admitted have their
//! answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::io::{InletReceiver, inlet};
use millstream_engine::metrics::Link;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{
    Batch, Codec, Decoded, Error, InstanceContext, Output, Result, Source, SourcePoll, Stop,
};

use crate::format::payload::over_limit;
use crate::format::{PayloadDecoder, PayloadOptions};

use super::columns::Plan;
use super::journaled::{Journaled, Replayed};
use super::listener::Place;
use super::route::Route;
use super::settings::Settings;
use super::ticket::{Posted, Verdict};

/// Bad rows of a request that its answer names.
const ERRORS_MAX: usize = 20;
/// How long answers may take to be written when the source is to end.
const CLOSING_MAX_NS: u64 = 2_000_000_000;
/// How often that is looked at.
const CLOSING_STEP: Duration = Duration::from_millis(50);

/// What a table that is read from says.
pub(super) struct Reading {
    pub settings: Arc<Settings>,
    pub codec: Arc<dyn Codec>,
    pub payload: PayloadOptions,
}

/// One instance of an HTTP source.
pub(super) struct HttpSource {
    reading: Arc<Reading>,
    plan: Plan,
    decoder: PayloadDecoder,
    running: Option<Running>,
    /// Requests with rows in the batch that is being made; only the last may have more than fit.
    requests: Vec<Taking>,
    /// For each payload given to the decoder its request, by number in `requests`, and its number there, from 1.
    payloads: Vec<(u32, u64)>,
    /// Where the job's state is on disk.
    journaled: Option<Journaled>,
}

/// What there is once the source is open.
struct Running {
    place: Place,
    inlet: InletReceiver<Posted>,
    errors: RowErrors,
    context: InstanceContext,
    is_stopping: bool,
    /// When the last request was taken, or the source was told to stop.
    busy_ns: u64,
}

/// A request whose rows are being taken.
struct Taking {
    posted: Posted,
    /// Its number in the journal.
    number: u64,
    /// Payloads found so far.
    payloads: u64,
    is_split: bool,
    verdict: Verdict,
}

impl Taking {
    fn reject(&mut self, payload: u64, error: &Error) {
        self.verdict.rejected += 1;
        if self.verdict.errors.len() < ERRORS_MAX {
            self.verdict.errors.push((payload, error.to_string()));
        }
    }
}

impl HttpSource {
    /// A source that is still to be opened.
    ///
    /// # Errors
    /// If the format cannot decode the columns.
    pub fn new(reading: Arc<Reading>, plan: Plan) -> Result<Self> {
        let schema = Arc::clone(&plan.payload_schema);
        let decoder = PayloadDecoder::new(schema, reading.codec.as_ref(), &reading.payload)?;
        let (requests, payloads) = Default::default();
        Ok(Self { reading, plan, decoder, running: None, requests, payloads, journaled: None })
    }

    /// Takes payloads, at most `batch_rows_max` and an inlet full of bytes. False when there was no request.
    fn gather(&mut self, running: &mut Running) -> Result<bool> {
        let (mut seen, mut bytes) = (0, 0);
        let bytes_max = self.reading.payload.bytes_max;
        while seen < running.context.batch_rows_max && bytes < self.reading.settings.inlet_bytes_max {
            if self.requests.last().is_none_or(|request| request.is_split) {
                let Some(request) = self.next_request(running)? else { break };
                self.requests.push(request);
                continue;
            }
            let number = self.requests.len() as u32 - 1;
            let Some(request) = self.requests.last_mut() else { break };
            let Posted { body, rows, .. } = &mut request.posted;
            let Some(payload) = rows.next(body).map(|range| &body[range]) else {
                request.is_split = true;
                continue;
            };
            (seen, bytes) = (seen + 1, bytes + payload.len());
            request.payloads += 1;
            if payload.len() > bytes_max {
                let error = over_limit(payload.len(), bytes_max);
                running.errors.reject(payload, error.clone())?;
                request.reject(request.payloads, &error);
            } else {
                self.decoder.push(payload, &running.errors)?;
                self.payloads.push((number, request.payloads));
            }
        }
        let metrics = &running.context.metrics;
        metrics.rows_in.add(seen as u64);
        metrics.bytes_in.add(bytes as u64);
        metrics.queue_bytes.store(running.inlet.queue_bytes(), Ordering::Relaxed);
        Ok(!self.requests.is_empty())
    }

    /// The next request, one of an earlier run first.
    fn next_request(&mut self, running: &mut Running) -> Result<Option<Taking>> {
        let taking = |posted, number| Taking {
            posted,
            number,
            payloads: 0,
            is_split: false,
            verdict: Verdict::default(),
        };
        if let Some(journaled) = &mut self.journaled {
            let now_ns = running.context.clock.monotonic_ns();
            if let Some(Replayed { number, posted, skipped }) =
                journaled.replayed(self.reading.codec.as_ref(), now_ns)?
            {
                let mut request = taking(posted, number);
                while request.payloads < skipped && request.posted.rows.next(&request.posted.body).is_some() {
                    request.payloads += 1;
                }
                return Ok(Some(request));
            }
            if !journaled.has_room() {
                return Ok(None);
            }
        }
        while let Some(posted) = running.inlet.try_recv() {
            // Otherwise its sender was told, or has left: it is counted there.
            if posted.ticket.begin() {
                let number = self.journaled.as_ref().map_or(Ok(0), |journaled| journaled.record(&posted))?;
                return Ok(Some(taking(posted, number)));
            }
        }
        Ok(None)
    }

    /// Decodes and emits what was gathered.
    fn emit(&mut self, running: &Running, out: &mut Output<'_>) -> Result<()> {
        if self.decoder.is_empty() {
            return Ok(());
        }
        let (payloads, requests) = (&self.payloads, &mut self.requests);
        let Decoded { rows, payload_of, .. } = self.decoder.flush_with(&mut |number, payload, error| {
            let (request, number) = payloads[number as usize];
            requests[request as usize].reject(number, &error);
            running.errors.reject(payload, error)
        })?;
        let request_of = |row: usize| {
            let payload = payload_of.as_ref().map_or(row, |numbers| numbers[row] as usize);
            payloads[payload].0 as usize
        };
        for row in 0..rows.num_rows() {
            requests[request_of(row)].verdict.rows += 1;
        }
        let received_ns = requests.first().map_or(0, |request| request.posted.received_ns);
        let rows = self.plan.assemble(rows, |row| &requests[request_of(row)].posted.origin)?;
        self.payloads.clear();
        let rows_max = running.context.batch_rows_max.max(1);
        // A payload may be several rows, so there may be more rows than payloads.
        (0..rows.num_rows()).step_by(rows_max).try_for_each(|from| {
            let part = rows.slice(from, rows_max.min(rows.num_rows() - from));
            out.emit(Batch { ingested_ns: received_ns, ..Batch::new(part) })
        })
    }

    /// Answers every request that is through, and in the journal where there is one. This is the one place where senders
    /// are told that they may forget their rows.
    fn answer(&mut self, running: &Running) -> Result<()> {
        let unfinished = self.requests.pop_if(|request| !request.is_split);
        for request in self.requests.drain(..) {
            match &mut self.journaled {
                Some(journaled) => journaled.through(request.number, request.posted.ticket, request.verdict),
                None => request.posted.ticket.answer(request.verdict),
            }
        }
        self.requests.extend(unfinished);
        self.journaled.as_mut().map_or(Ok(()), |journaled| journaled.answer(&running.context))
    }

    fn poll_running(&mut self, running: &mut Running, out: &mut Output<'_>) -> Result<SourcePoll> {
        // Asked before the inlet is emptied: a request is counted before it is in there.
        let all_answered = running.place.route.in_progress() == 0;
        if self.gather(running)? {
            self.emit(running, out)?;
            self.answer(running)?;
            running.busy_ns = running.context.clock.monotonic_ns();
            return Ok(SourcePoll::Ready);
        }
        self.answer(running)?;
        if !running.is_stopping {
            return Ok(SourcePoll::Waiting);
        }
        let waited_ns = running.context.clock.monotonic_ns().saturating_sub(running.busy_ns);
        if all_answered || waited_ns >= CLOSING_MAX_NS {
            return Ok(SourcePoll::Finished);
        }
        Ok(SourcePoll::Sleep(CLOSING_STEP))
    }
}

impl Source for HttpSource {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let settings = &self.reading.settings;
        self.journaled = Journaled::open(settings.journal_bytes_max, context)?;
        let (sender, receiver) = inlet(settings.inlet_bytes_max, Arc::clone(&context.waker));
        let route = Route::new(
            Arc::clone(settings),
            Arc::clone(&self.reading.codec),
            self.plan.wants_headers(),
            sender,
            context.clone(),
        );
        let place = Place::open(route, &context.io.handle()?)?;
        if settings.token.is_none() && !settings.listen.ip().is_loopback() {
            tracing::warn!(
                table = %settings.table,
                "anybody who reaches {} may send rows: 'token' would ask them for one",
                settings.shown()
            );
        }
        context.metrics.set_link(Link::Up);
        self.running = Some(Running {
            place,
            inlet: receiver,
            errors: context.row_errors(settings.on_error),
            context: context.clone(),
            is_stopping: false,
            busy_ns: 0,
        });
        Ok(())
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        if let Some(journaled) = &mut self.journaled {
            let begun = self.requests.last().map_or(0, |request| request.payloads);
            journaled.snapshot(begun, state);
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.journaled.as_mut().map_or(Ok(()), |journaled| journaled.restore(state))
    }

    fn on_checkpoint_complete(&mut self, _epoch: Epoch) -> Result<()> {
        if let Some(journaled) = &mut self.journaled {
            journaled.on_checkpoint_complete();
        }
        Ok(())
    }

    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        // Taken out while its requests are worked on; an error ends the source, so it need not come back.
        let mut running =
            self.running.take().ok_or_else(|| Error::internal("polled before it was opened"))?;
        let poll = self.poll_running(&mut running, out)?;
        self.running = Some(running);
        Ok(poll)
    }

    fn stop(&mut self) -> Stop {
        match &mut self.running {
            Some(running) => {
                running.is_stopping = true;
                running.busy_ns = running.context.clock.monotonic_ns();
                running.place.stop();
                Stop::WhenFinished
            }
            None => Stop::Now,
        }
    }
}
