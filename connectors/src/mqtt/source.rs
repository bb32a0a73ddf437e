//! The worker's side of reading: messages become rows, are emitted, and are then acknowledged.
//!
//! Invariants: every message is one or more rows, a bad row that is counted and routed, or empty (how a retained
//! message is deleted; counted as skipped). A message is acknowledged after its rows were emitted, never before, in
//! order of arrival; [`MqttSource::acknowledge`] is the only place. Where the job's state is on disk, it is acknowledged
//! when the journal has it safe (journaled.rs), and what the journal has of earlier runs is emitted first. An idle worker decodes a message as soon as it is
//! there; a busy one finds many waiting and decodes them together.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::vec::IntoIter;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::io::{InletReceiver, inlet};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{
    Batch, Codec, Error, InstanceContext, Output, Result, Source, SourcePoll, Stop, Task,
};

use crate::format::payload::over_limit;
use crate::format::{PayloadDecoder, PayloadOptions};

use super::client_id::ClientId;
use super::columns::Plan;
use super::journaled::Journaled;
use super::outage::Outage;
use super::packets::{Acknowledgement, Message};
use super::pattern::Patterns;
use super::prepare::Preparing;
use super::receive::{Chunk, Receiver, Taken};
use super::settings::Link;

/// What a table that is read from says.
pub(super) struct Reading {
    pub link: Arc<Link>,
    pub patterns: Patterns,
    pub codec: Arc<dyn Codec>,
    pub payload: PayloadOptions,
    pub inlet_bytes_max: usize,
}

/// One instance of an MQTT source.
pub(super) struct MqttSource {
    reading: Arc<Reading>,
    plan: Plan,
    decoder: PayloadDecoder,
    running: Option<Running>,
    /// The messages of the batch that is being made whose payloads were given to the decoder.
    messages: Vec<Message>,
    /// Their topics' segments.
    places: Vec<Range<u32>>,
    /// What to tell the broker when the batch is emitted, all of one connection.
    acknowledgements: Vec<Acknowledgement>,
    /// Where the job's state is on disk.
    journaled: Option<Journaled>,
}

/// What there is once the source is open.
struct Running {
    inlet: InletReceiver<Chunk>,
    taken: Arc<Taken>,
    _task: Task,
    errors: RowErrors,
    context: InstanceContext,
    /// What is left of the chunk that did not fit into the last batch, its connection, and when it came.
    rest: IntoIter<Message>,
    connection: u64,
    received_ns: u64,
    is_stopping: bool,
    is_drained: bool,
    _client_id: ClientId,
}

impl MqttSource {
    /// A source that is still to be opened.
    ///
    /// # Errors
    /// If the format cannot decode the columns.
    pub fn new(reading: Arc<Reading>, plan: Plan) -> Result<Self> {
        let schema = Arc::clone(&plan.payload_schema);
        let decoder = PayloadDecoder::new(schema, reading.codec.as_ref(), &reading.payload)?;
        let (messages, places, acknowledgements) = Default::default();
        Ok(Self {
            reading,
            plan,
            decoder,
            running: None,
            messages,
            places,
            acknowledgements,
            journaled: None,
        })
    }

    /// Takes messages, at most `batch_rows_max` and an inlet full of bytes. Answers when the oldest came, if any.
    fn gather(&mut self, running: &mut Running) -> Result<Option<u64>> {
        let (mut seen, mut oldest_ns, mut bytes) = (0, None, 0);
        while seen < running.context.batch_rows_max && bytes < self.reading.inlet_bytes_max as u64 {
            let Some(message) = running.rest.next() else {
                if self.journaled.as_ref().is_some_and(|journaled| !journaled.has_room()) {
                    break;
                }
                let Some(chunk) = running.inlet.try_recv() else { break };
                if let Some(journaled) = &mut self.journaled {
                    journaled.record(running.connection);
                }
                let changes_connection = chunk.connection != running.connection;
                running.rest = chunk.messages.into_iter();
                (running.connection, running.received_ns) = (chunk.connection, chunk.received_ns);
                if changes_connection && !self.acknowledgements.is_empty() {
                    // The broker has forgotten that it sent those, and will send them again.
                    self.acknowledgements.clear();
                }
                continue;
            };
            seen += 1;
            oldest_ns.get_or_insert(running.received_ns);
            bytes += message.payload_bytes as u64;
            match &mut self.journaled {
                _ if message.packet_id == 0 => {}
                None => self.acknowledgements.push(message.acknowledgement()),
                Some(journaled) => {
                    if journaled.knows(&message, running.connection) {
                        running.context.metrics.duplicates.add(1);
                        continue;
                    }
                    journaled.stage(&message)?;
                }
            }
            self.take(message, running)?;
        }
        if let Some(journaled) = &mut self.journaled {
            journaled.record(running.connection);
        }
        let metrics = &running.context.metrics;
        metrics.rows_in.add(seen as u64);
        metrics.bytes_in.add(bytes);
        metrics.queue_bytes.store(running.inlet.queue_bytes(), Ordering::Relaxed);
        Ok(oldest_ns)
    }

    /// Gives one message to the decoder, or counts why not.
    fn take(&mut self, message: Message, running: &Running) -> Result<()> {
        let metrics = &running.context.metrics;
        if message.duplicate {
            metrics.retries.add(1);
        }
        if message.payload_bytes == 0 {
            metrics.rows_skipped.add(1);
            return Ok(());
        }
        if message.payload_bytes > message.payload.len() {
            let error = over_limit(message.payload_bytes, self.reading.payload.bytes_max);
            return running.errors.reject(&message.payload, error);
        }
        if let Err(error) = self.plan.accept(&self.reading.patterns, &message, &mut self.places) {
            return running.errors.reject(&message.payload, error);
        }
        self.decoder.push(&message.payload, &running.errors)?;
        self.messages.push(message);
        Ok(())
    }

    /// Decodes and emits what was gathered.
    fn emit(&mut self, received_ns: u64, running: &Running, out: &mut Output<'_>) -> Result<()> {
        if self.decoder.is_empty() {
            return Ok(());
        }
        let decoded = self.decoder.flush(&running.errors)?;
        let rows = self.plan.assemble(decoded, &self.messages, &self.places)?;
        self.messages.clear();
        self.places.clear();
        let rows_max = running.context.batch_rows_max;
        // A payload may be an array of rows, so there may be more rows than messages.
        (0..rows.num_rows()).step_by(rows_max.max(1)).try_for_each(|from| {
            let part = rows.slice(from, rows_max.min(rows.num_rows() - from));
            out.emit(Batch { ingested_ns: received_ns, ..Batch::new(part) })
        })
    }

    /// Acknowledges every message of the batch, or what the journal has safe. This is the one place where the broker is
    /// told that it may forget them.
    fn acknowledge(&mut self, running: &Running) -> Result<()> {
        if let Some(journaled) = &mut self.journaled {
            return journaled.acknowledge(&running.taken, &running.context);
        }
        if !self.acknowledgements.is_empty() {
            running.taken.acknowledge(running.connection, &self.acknowledgements);
            self.acknowledgements.clear();
        }
        Ok(())
    }

    /// Emits messages of earlier runs, if there are any left.
    fn replay(&mut self, running: &Running, out: &mut Output<'_>) -> Result<bool> {
        let received_ns = running.context.clock.monotonic_ns();
        let mut seen = 0;
        while seen < running.context.batch_rows_max
            && let Some(message) = self.journaled.as_mut().map_or(Ok(None), Journaled::replayed)?
        {
            seen += 1;
            self.take(message, running)?;
        }
        running.context.metrics.rows_in.add(seen as u64);
        self.emit(received_ns, running, out)?;
        Ok(seen > 0)
    }

    fn poll_running(&mut self, running: &mut Running, out: &mut Output<'_>) -> Result<SourcePoll> {
        // Asked before the inlet is emptied: what comes in between is found by the next poll.
        let is_closed = running.inlet.is_closed();
        let has_died = running.taken.has_ended() && !running.is_stopping;
        if self.replay(running, out)? {
            return Ok(SourcePoll::Ready);
        }
        if let Some(received_ns) = self.gather(running)? {
            self.emit(received_ns, running, out)?;
            self.acknowledge(running)?;
            return Ok(SourcePoll::Ready);
        }
        self.acknowledge(running)?;
        if has_died {
            return Err(Error::internal("the MQTT task has died").at(&self.reading.link.table));
        }
        if !is_closed {
            return Ok(SourcePoll::Waiting);
        }
        if !running.is_drained {
            running.is_drained = true;
            running.taken.drained();
        }
        Ok(if running.taken.has_ended() { SourcePoll::Finished } else { SourcePoll::Waiting })
    }
}

impl Source for MqttSource {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.journaled = Journaled::open(&self.reading.link, context)?;
        let (link, filters) = (&self.reading.link, &self.reading.patterns.filters);
        let client_id = match &link.client_id {
            Some(given) => ClientId::given(given),
            None => {
                let what = format!("read {} {}", link.broker_names(), filters.join(";"));
                ClientId::derived(&context.job, &link.table, &what)
            }
        };
        let (sender, receiver) = inlet(self.reading.inlet_bytes_max, Arc::clone(&context.waker));
        let taken = Arc::<Taken>::default();
        let task = Receiver {
            link: Arc::clone(link),
            client_id: client_id.text.clone(),
            filters: filters.clone(),
            payload_bytes_max: self.reading.payload.bytes_max,
            inlet: sender,
            taken: Arc::clone(&taken),
            outage: Outage::new(Arc::clone(link), &client_id.text, context),
            codec: Arc::clone(&self.reading.codec),
            preparing: Preparing::new(link, &client_id.text, context),
            context: context.clone(),
        };
        let task = context.spawn(task.run())?;
        self.running = Some(Running {
            inlet: receiver,
            taken,
            _task: task,
            errors: context.row_errors(link.on_error),
            context: context.clone(),
            rest: Vec::new().into_iter(),
            connection: 0,
            received_ns: 0,
            is_stopping: false,
            is_drained: false,
            _client_id: client_id,
        });
        Ok(())
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        if let Some(journaled) = &mut self.journaled {
            journaled.snapshot(state)?;
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
        // Taken out while its messages are worked on; an error ends the source, so it need not come back.
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
                running.taken.stop();
                Stop::WhenFinished
            }
            None => Stop::Now,
        }
    }
}
