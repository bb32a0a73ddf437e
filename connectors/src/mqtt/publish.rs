//! The sink's task: takes publishes from the outlet, sends them in order, and sees to each until it is settled.
//!
//! Invariants: a publish keeps its parcel's share of the outlet's bytes until the broker has acknowledged it (QoS 0:
//! until it is written to the socket) or it is with the dead letters, so a drained outlet means that nothing is on the
//! way. At most 'max-in-flight', and the broker's own limit, are sent and not acknowledged. When the connection is
//! lost, what was not settled is sent again over the next one, first and in the same order; the session is always a new
//! one, for a publisher's session holds nothing. A message of an outbox has a ticket: what became of it goes there, and one
//! that has waited longer than 'outbox.ttl', or than its own 'message-expiry', is refused.
//!
//! A message that the broker cannot take must not stop all others for ever. Where the broker says so (a reason in the
//! PUBACK, a limit in the CONNACK) it goes to the dead letters at once. Where it just closes the connection each time
//! (a message over the limit of a 3.1.1 broker), the oldest unsettled message is suspected: after [`SUSPECTED`] closed
//! connections it is sent alone, and after [`CONDEMNED`] it goes to the dead letters too. Lines that break count not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_schema::SchemaRef;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::io::{InFlight, OutletReceiver};
use millstream_engine::outbox::{OutboxSettings, expired};
use millstream_engine::{Codec, Error, ErrorKind, InstanceContext, Result};

use super::connection::Connection;
use super::flight::Flight;
use super::handover::Shared;
use super::outage::Outage;
use super::packets::{Hello, Incoming, Publication};
use super::prepare::Preparing;
use super::receive::pause;
use super::settings::Link;
use super::waiting::{Messages, Waiting};

/// Connections that a message may be lost with before it is sent alone.
const SUSPECTED: u32 = 2;
/// Connections that a message may be lost with in all.
const CONDEMNED: u32 = 8;
/// Bytes that are made ready for the socket at a time.
const WRITE_BYTES: usize = 256 << 10;
/// How long saying goodbye may take.
const CLOSING: Duration = Duration::from_secs(2);
/// The largest packet that MQTT has.
const PACKET_BYTES_MAX: usize = 268_435_455;
/// Nothing that a sink wants to read is larger.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What a table that is written to says of sending.
pub(super) struct Sending {
    pub link: Arc<Link>,
    /// Fetches what it needs to encode `payload_schema` before the first row is taken.
    pub codec: Arc<dyn Codec>,
    pub payload_schema: SchemaRef,
    /// Whether the broker has to keep messages.
    pub needs_retain: bool,
    pub in_flight_max: usize,
    pub outlet_bytes_max: usize,
    /// None at QoS 0, which promises nothing.
    pub outbox: Option<OutboxSettings>,
}

/// See the module's page.
pub(super) struct Publisher {
    sending: Arc<Sending>,
    client_id: String,
    outlet: OutletReceiver<Messages>,
    /// The sink will hand over nothing more.
    is_closed: bool,
    /// To be sent, in order.
    queue: VecDeque<Waiting>,
    flight: Flight<Waiting>,
    errors: RowErrors,
    outage: Outage,
    preparing: Preparing,
    shared: Arc<Shared>,
    context: InstanceContext,
}

/// Why a connection ended.
enum End {
    /// Everything is delivered, and nothing more will come.
    Finished,
    Lost(Error),
    /// A row was refused, and the table says that this ends the job.
    Failed(Error),
}

impl Publisher {
    /// A task that is still to run, behind `outlet`.
    pub fn new(
        sending: Arc<Sending>,
        client_id: &str,
        outlet: OutletReceiver<Messages>,
        shared: Arc<Shared>,
        context: &InstanceContext,
    ) -> Self {
        Self {
            outage: Outage::new(Arc::clone(&sending.link), client_id, context),
            preparing: Preparing::new(&sending.link, client_id, context),
            client_id: client_id.to_owned(),
            errors: context.row_errors(sending.link.on_error),
            sending,
            outlet,
            is_closed: false,
            queue: VecDeque::new(),
            flight: Flight::default(),
            shared,
            context: context.clone(),
        }
    }

    /// Delivers what comes until the outlet is closed and all is settled.
    pub async fn run(mut self) {
        self.prepare().await;
        let failed = self.deliver_all().await.err();
        if let Some(error) = failed {
            tracing::error!("an MQTT sink ends its job: {error}");
            // Left before the queue and the outlet go: the worker must not find the outlet drained of what was dropped.
            *self.shared.failure.lock() = Some(error);
        }
        self.shared.ended.store(true, Ordering::Release);
        self.context.waker.notify();
    }

    /// Has what the format needs to encode fetched, before a connection is made. Until then no rows come but those of an
    /// outbox, which wait with those that are to be encoded; when the sink ends meanwhile no more need be.
    async fn prepare(&mut self) {
        let Self { sending, preparing, outlet, queue, is_closed, context, .. } = self;
        while let Some(prepare) = sending.codec.prepare_encoder(&sending.payload_schema) {
            let attempt = async {
                match preparing.attempt(prepare).await {
                    None => true,
                    Some(wait) => {
                        pause(&context.clock, wait).await;
                        false
                    }
                }
            };
            tokio::pin!(attempt);
            let is_done = loop {
                tokio::select! {
                    is_done = &mut attempt => break is_done,
                    handed = outlet.recv() => match handed {
                        Some((messages, share)) => queue.extend(Waiting::each(messages, share)),
                        None => {
                            *is_closed = true;
                            return;
                        }
                    },
                }
            };
            if is_done {
                break;
            }
        }
        self.shared.prepared.store(true, Ordering::Release);
        self.context.waker.notify();
    }

    async fn deliver_all(&mut self) -> Result<()> {
        loop {
            if self.is_finished() {
                return Ok(());
            }
            let lost = match self.connect().await {
                Err(error) => error,
                Ok(None) => continue,
                Ok(Some(mut connection)) => match self.deliver(&mut connection).await {
                    End::Finished => {
                        if self.shared.is_ending.load(Ordering::Acquire) {
                            connection.close(CLOSING).await;
                        }
                        return Ok(());
                    }
                    End::Failed(error) => return Err(error),
                    End::Lost(error) => {
                        // A cause that somebody has to mend has nothing to do with the message.
                        let suspect = connection.closed_by_broker && error.kind() != ErrorKind::Config;
                        self.return_to_queue(&error, suspect)?;
                        error
                    }
                },
            };
            self.expire()?;
            let wait = self.outage.down(&lost);
            let clock = Arc::clone(&self.context.clock);
            let waited = pause(&clock, wait);
            tokio::pin!(waited);
            loop {
                tokio::select! {
                    () = &mut waited => break,
                    handed = self.outlet.recv(), if !self.is_closed => self.accept(handed),
                }
                if self.is_finished() {
                    return Ok(());
                }
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.is_closed && self.queue.is_empty() && self.flight.is_empty()
    }

    fn accept(&mut self, handed: Option<(Messages, InFlight)>) {
        match handed {
            Some((messages, share)) => self.queue.extend(Waiting::each(messages, share)),
            None => self.is_closed = true,
        }
    }

    /// A connection that can do what the table asks; none when the sink has ended meanwhile.
    async fn connect(&mut self) -> Result<Option<Connection>> {
        let (link, client_id) = (Arc::clone(&self.sending.link), self.client_id.clone());
        let hello = Hello {
            client_id: &client_id,
            username: link.username.as_deref(),
            password: link.password.as_deref(),
            keep_alive_s: u16::try_from(link.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean_start: true,
            session_expiry_s: 0,
            receive_maximum: link.receive_maximum,
            packet_bytes_max: None,
            will: link.will.as_ref(),
        };
        let clock = Arc::clone(&self.context.clock);
        let broker = self.outage.broker().clone();
        let opening = Connection::open(&link, &broker, &hello, ANSWER_BYTES_MAX, &clock);
        tokio::pin!(opening);
        let connection = loop {
            tokio::select! {
                opened = &mut opening => break opened?,
                handed = self.outlet.recv(), if !self.is_closed => self.accept(handed),
            }
            if self.is_finished() {
                return Ok(None);
            }
        };
        if self.sending.needs_retain && !connection.welcome.retain_available {
            return Err(Error::config("the broker keeps no messages").remedy("set 'retain' = 'false'"));
        }
        let wants_kept = link.will.as_ref().is_some_and(|will| will.retain);
        if wants_kept && !connection.welcome.retain_available {
            return Err(Error::config("the broker keeps no messages").remedy("set 'will.retain' = 'false'"));
        }
        if connection.welcome.qos_max < link.qos {
            return Err(Error::config("the broker takes messages at QoS 0 only").remedy("set 'qos' = '0'"));
        }
        self.outage.up();
        Ok(Some(connection))
    }

    /// Sends and settles until the connection ends.
    async fn deliver(&mut self, connection: &mut Connection) -> End {
        if let Err(error) = self.expire() {
            return End::Failed(error);
        }
        loop {
            if let Err(error) = self.send(connection) {
                return End::Failed(error);
            }
            loop {
                match connection.next() {
                    Ok(Some(Incoming::PubAck { packet_id, refusal })) => {
                        let Some(waiting) = self.flight.acknowledge(packet_id) else { continue };
                        if let Err(error) = self.settle(waiting, refusal) {
                            return End::Failed(error);
                        }
                    }
                    Ok(Some(Incoming::Disconnect(error))) => {
                        connection.closed_by_broker = true;
                        return End::Lost(error);
                    }
                    Err(error) => return End::Lost(error),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                }
            }
            while let Some(waiting) = self.flight.pop_written(connection.written) {
                if let Err(error) = self.settle(waiting, None) {
                    return End::Failed(error);
                }
            }
            if self.is_finished() {
                return End::Finished;
            }
            if !self.queue.is_empty() && self.has_room(connection) {
                continue;
            }
            tokio::select! {
                handed = self.outlet.recv(), if !self.is_closed && self.queue.is_empty() => self.accept(handed),
                attended = connection.attend(true) => if let Err(error) = attended {
                    return End::Lost(error);
                },
            }
        }
    }

    fn has_room(&self, connection: &Connection) -> bool {
        // Alone means that nothing follows it either, until it is settled.
        let suspect = self
            .flight
            .oldest()
            .or_else(|| self.queue.front())
            .is_some_and(|oldest| oldest.losses >= SUSPECTED);
        let most = self.sending.in_flight_max.min(connection.welcome.receive_maximum.into());
        let window = match self.sending.link.qos {
            _ if suspect => 1,
            0 => usize::MAX,
            _ => most,
        };
        self.flight.len() < window && connection.outgoing.len() < WRITE_BYTES
    }

    /// Makes ready for the socket what may be sent now.
    fn send(&mut self, connection: &mut Connection) -> Result<()> {
        let link = Arc::clone(&self.sending.link);
        let bytes_max = connection.welcome.packet_bytes_max.unwrap_or(PACKET_BYTES_MAX).min(PACKET_BYTES_MAX);
        while self.has_room(connection) {
            let Some(waiting) = self.queue.pop_front() else { break };
            let bytes = waiting.publication.packet_bytes();
            if bytes > bytes_max {
                let error = Error::data(format!(
                    "a message of {bytes} bytes is over the broker's limit of {bytes_max}"
                ))
                .remedy("raise the broker's maximum packet size if such messages are meant");
                self.reject(&waiting, error)?;
                continue;
            }
            let aged = match waiting.aged(self.context.clock.steady_ms()) {
                Ok(aged) => aged,
                Err(error) => {
                    self.reject(&waiting, error)?;
                    continue;
                }
            };
            let publication = aged.as_ref().unwrap_or(&waiting.publication);
            let id = if link.qos == 0 { 0 } else { self.flight.next_id() };
            link.version.write_publish(&mut connection.outgoing, publication, link.qos, id, false)?;
            match id {
                0 => self.flight.push_written(waiting, connection.written + connection.outgoing.len() as u64),
                _ => self.flight.push_acknowledged(waiting),
            }
        }
        Ok(())
    }

    /// Refuses what has waited longer than its outbox keeps it.
    fn expire(&mut self) -> Result<()> {
        let now_ms = self.context.clock.steady_ms();
        if self.queue.iter().all(|waiting| waiting.expired_ms(now_ms).is_none()) {
            return Ok(());
        }
        for waiting in std::mem::take(&mut self.queue) {
            match waiting.expired_ms(now_ms) {
                Some(waited_ms) => self.reject(&waiting, expired(waited_ms))?,
                None => self.queue.push_back(waiting),
            }
        }
        Ok(())
    }

    /// The broker has taken a message, or says why not.
    fn settle(&self, waiting: Waiting, refusal: Option<String>) -> Result<()> {
        match refusal {
            None => {
                self.context.metrics.rows_out.add(1);
                self.context.metrics.bytes_out.add(waiting.publication.payload.len() as u64);
                waiting.settle();
                Ok(())
            }
            Some(why) => {
                let topic = String::from_utf8_lossy(&waiting.publication.topic).into_owned();
                let error = Error::data(format!("the broker refuses a message to '{topic}': {why}"))
                    .remedy("check what the broker lets this 'username' and 'client-id' write");
                self.reject(&waiting, error)
            }
        }
    }

    /// What was on its way when the connection was lost is first in the queue again; its oldest is to blame, perhaps.
    fn return_to_queue(&mut self, lost: &Error, suspect: bool) -> Result<()> {
        let mut left: VecDeque<_> = self.flight.take().collect();
        self.context.metrics.retries.add(left.len() as u64);
        if suspect && let Some(oldest) = left.front_mut() {
            oldest.losses += 1;
            if oldest.losses >= CONDEMNED {
                let Publication { topic, payload, .. } = &oldest.publication;
                let error = Error::data(format!(
                    "the broker closed {CONDEMNED} connections with this message of {} bytes to '{}' as the first on its \
                     way; at last: {}",
                    payload.len(),
                    String::from_utf8_lossy(topic),
                    lost.message()
                ))
                .remedy("it may have a limit for the size of messages, or rules for their topics");
                self.reject(oldest, error)?;
                left.pop_front();
            }
        }
        left.into_iter().rev().for_each(|waiting| self.queue.push_front(waiting));
        Ok(())
    }

    /// Puts a message where the table's 'on-error' says.
    fn reject(&self, waiting: &Waiting, error: Error) -> Result<()> {
        let routed = waiting.refuse(&self.errors, error);
        // Left at once, while the message still keeps the outlet from being drained.
        routed.inspect_err(|error| *self.shared.failure.lock() = Some(error.clone()))
    }
}
