//! The source's task: keeps the connection and the subscription, and hands what arrives to the worker.
//!
//! Invariants: a message goes to the worker in arrival order, with the number of the connection it came over, and is
//! acknowledged only when the worker says so ([`Taken`]), in that order, and only over that same connection: after a
//! reconnect the broker sends again what was not acknowledged, and an old acknowledgement could hit another message.
//! While the inlet has no room nothing is read, so the broker's own flow control holds; pings and acknowledgements go
//! on; nor while a format's registry is asked for a schema (prepare.rs), when messages wait here. Told to stop, the task hands over what it has read, waits until all of it is taken and its acknowledgements are
//! written, says goodbye and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use millstream_engine::io::InletSender;
use millstream_engine::metrics::Link as LinkState;
use millstream_engine::park::Signal;
use millstream_engine::{ClockRef, Codec, Error, InstanceContext, Result};

use super::connection::Connection;
use super::outage::Outage;
use super::pace::Pace;
use super::packets::{Acknowledgement, Hello, Incoming, Message, Version};
use super::prepare::Preparing;
use super::settings::Link;

/// The only packet id we ask with: one SUBSCRIBE a connection.
const SUBSCRIBE_ID: u16 = 1;
/// Messages handed over at a time, at most.
const CHUNK_MESSAGES_MAX: usize = 4_096;
/// How long saying goodbye may take.
const CLOSING: Duration = Duration::from_secs(2);

/// Messages that were read together.
pub(super) struct Chunk {
    pub messages: Vec<Message>,
    /// Which of the task's connections they came over.
    pub connection: u64,
    /// When, by the job's monotonic clock.
    pub received_ns: u64,
}

/// What the worker tells the task, and the other way round at the end.
#[derive(Default)]
pub(super) struct Taken {
    ids: Mutex<Ids>,
    stopping: AtomicBool,
    drained: AtomicBool,
    ended: AtomicBool,
    bell: Notify,
}

#[derive(Default)]
struct Ids {
    connection: u64,
    waiting: Vec<Acknowledgement>,
}

impl Taken {
    /// The messages of these are safe: write them, in this order.
    pub fn acknowledge(&self, connection: u64, acknowledgements: &[Acknowledgement]) {
        let mut ids = self.ids.lock();
        if ids.connection != connection {
            ids.connection = connection;
            ids.waiting.clear();
        }
        ids.waiting.extend_from_slice(acknowledgements);
        drop(ids);
        self.bell.notify_one();
    }

    /// Take nothing new from the broker.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Everything handed over is taken: acknowledge the last of it, and end.
    pub fn drained(&self) {
        self.drained.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// True once the task has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Writes the acknowledgements that are waiting; those for other connections are dropped.
    fn write_to(&self, connection: u64, out: &mut BytesMut) {
        let mut ids = self.ids.lock();
        if ids.connection == connection {
            out.reserve(4 * ids.waiting.len());
            ids.waiting.iter().for_each(|waiting| waiting.write(out));
        }
        ids.waiting.clear();
    }
}

/// The task.
pub(super) struct Receiver {
    pub link: Arc<Link>,
    pub client_id: String,
    pub filters: Vec<String>,
    /// A payload that is larger is not taken in as a whole.
    pub payload_bytes_max: usize,
    pub inlet: InletSender<Chunk>,
    pub taken: Arc<Taken>,
    pub outage: Outage,
    /// Fetches what it needs to decode the messages before they are handed over.
    pub codec: Arc<dyn Codec>,
    pub preparing: Preparing,
    pub context: InstanceContext,
}

/// Tells the worker that the task has ended.
struct Ending {
    taken: Arc<Taken>,
    waker: Arc<Signal>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.taken.ended.store(true, Ordering::Release);
        self.waker.notify();
    }
}

/// Why a connection's messages ended.
enum End {
    Stopping,
    SourceGone,
    Lost(Error),
}

impl Receiver {
    /// Runs until told to stop, or until the source is gone.
    pub async fn run(mut self) {
        // First in, last out: the worker is told of the end, a panic's too, when all else is gone.
        let _ending = Ending { taken: Arc::clone(&self.taken), waker: Arc::clone(&self.context.waker) };
        // Connections tried; whether one was made; whether our subscription stood once.
        let (mut number, mut was_connected, mut has_session) = (0, false, false);
        let mut last = None;
        while !self.taken.is_stopping() && !self.inlet.is_closed() {
            number += 1;
            let opened = tokio::select! {
                biased;
                () = told_to_stop(&self.taken) => break,
                opened = self.connect(!was_connected) => opened,
            };
            let error = match opened {
                Err(error) => error,
                Ok(mut connection) => {
                    was_connected = true;
                    match self.receive(&mut connection, number, &mut has_session).await {
                        End::Lost(error) => error,
                        End::SourceGone => break,
                        End::Stopping => {
                            last = Some(connection);
                            break;
                        }
                    }
                }
            };
            let wait = self.outage.down(&error);
            tokio::select! {
                biased;
                () = told_to_stop(&self.taken) => break,
                () = pause(&self.context.clock, wait) => {}
            }
        }
        let taken = Arc::clone(&self.taken);
        // The worker sees the inlet closed behind the last chunk, and says when that is taken.
        drop(self.inlet);
        if let Some(mut connection) = last {
            let drained = async {
                while !taken.is_drained() {
                    taken.write_to(number, &mut connection.outgoing);
                    tokio::select! {
                        () = taken.bell.notified() => {}
                        attended = connection.attend(false) => if attended.is_err() { break },
                    }
                }
            };
            drained.await;
            taken.write_to(number, &mut connection.outgoing);
            connection.close(CLOSING).await;
        }
    }

    async fn connect(&self, is_first: bool) -> Result<Connection> {
        let link = &self.link;
        let hello = Hello {
            client_id: &self.client_id,
            username: link.username.as_deref(),
            password: link.password.as_deref(),
            keep_alive_s: u16::try_from(link.keep_alive.as_secs()).unwrap_or(u16::MAX),
            // Later connections go on with the session that this run began.
            clean_start: link.clean_start && is_first,
            session_expiry_s: link.session_expiry_s,
            receive_maximum: link.receive_maximum,
            packet_bytes_max: link.packet_bytes_max,
            will: None,
        };
        let (broker, clock) = (self.outage.broker(), &self.context.clock);
        Connection::open(link, broker, &hello, self.payload_bytes_max, clock).await
    }

    /// Subscribes, and hands over what arrives until the connection ends.
    async fn receive(&mut self, connection: &mut Connection, number: u64, has_session: &mut bool) -> End {
        let session_present = connection.welcome.session_present;
        if *has_session && !session_present {
            tracing::warn!(
                table = %self.link.table,
                "{} has no memory of our session: what was published while we were away is lost \
                 (let the broker keep sessions on disk, and check 'session-expiry')",
                self.outage.broker()
            );
        }
        let mut subscribing_until_ns = None;
        if *has_session && session_present {
            self.outage.up();
        } else {
            // A session from a former run may have another subscription, so ours is asked for all the same.
            let Link { version, qos, retain_handling, .. } = *self.link;
            let out = &mut connection.outgoing;
            if let Err(error) =
                version.write_subscribe(out, SUBSCRIBE_ID, &self.filters, qos, retain_handling)
            {
                return End::Lost(error);
            }
            let timeout_ns = u64::try_from(self.link.connect_timeout.as_nanos()).unwrap_or(u64::MAX);
            subscribing_until_ns = Some(self.context.clock.monotonic_ns().saturating_add(timeout_ns));
        }
        let mut pace = Pace::default();
        loop {
            let mut messages = match self.read(connection, &mut subscribing_until_ns) {
                Ok(read) => read,
                Err(error) => return End::Lost(error),
            };
            *has_session |= subscribing_until_ns.is_none();
            if messages.is_empty() {
                if self.taken.is_stopping() {
                    return End::Stopping;
                }
                if self.inlet.is_closed() {
                    return End::SourceGone;
                }
                if let Err(error) =
                    wait(connection, &self.taken, number, true, subscribing_until_ns, &self.context).await
                {
                    return End::Lost(error);
                }
                continue;
            }
            let received_ns = self.context.clock.monotonic_ns();
            let unacknowledged = messages.iter().filter(|message| message.packet_id == 0).count();
            // Lost connection or not, what was read is handed over: at QoS 0 nobody would send it again.
            let mut failure = self.prepare(connection, &mut messages, number).await;
            let bytes = messages.iter().map(Message::num_bytes).sum();
            let chunk = Chunk { messages, connection: number, received_ns };
            let sending = self.inlet.send(chunk, bytes);
            let (taken, context) = (&self.taken, &self.context);
            let sent = attended(sending, connection, taken, number, context, &mut failure, false).await;
            if sent.is_none_or(|sent| sent.is_err()) {
                return End::SourceGone;
            }
            if let Some(error) = failure {
                return End::Lost(error);
            }
            if let Some(gather) = pace.after(unacknowledged, received_ns)
                && let Err(error) = connection.rest(gather).await
            {
                return End::Lost(error);
            }
        }
    }

    /// Has what the messages cannot be decoded without fetched, however long that takes. Told to stop meanwhile, it leaves
    /// those that the broker keeps for us. Answers what ended the connection, if that came in between.
    async fn prepare(
        &mut self,
        connection: &mut Connection,
        messages: &mut Vec<Message>,
        number: u64,
    ) -> Option<Error> {
        let (mut lost, mut next, mut was_failing) = (None, 0, false);
        let (taken, clock) = (Arc::clone(&self.taken), Arc::clone(&self.context.clock));
        while let Some(message) = messages.get(next) {
            let Some(prepare) = self.codec.prepare(&message.payload) else {
                next += 1;
                continue;
            };
            // At QoS 0 nobody would send it again, so that it is tried once also when told to stop.
            let attempt = self.preparing.attempt(prepare);
            let tried =
                attended(attempt, connection, &taken, number, &self.context, &mut lost, was_failing).await;
            match tried {
                Some(None) => {
                    next += 1;
                    if std::mem::take(&mut was_failing) && lost.is_none() {
                        self.context.metrics.set_link(LinkState::Up);
                    }
                }
                Some(Some(wait)) => {
                    was_failing = true;
                    let waiting = pause(&clock, wait);
                    attended(waiting, connection, &taken, number, &self.context, &mut lost, true).await;
                }
                None => {}
            }
            if was_failing && taken.is_stopping() {
                let behind = messages.split_off(next);
                messages.extend(behind.into_iter().filter(|message| message.packet_id == 0));
                break;
            }
        }
        lost
    }

    /// The messages among what has arrived.
    fn read(
        &mut self,
        connection: &mut Connection,
        subscribing_until_ns: &mut Option<u64>,
    ) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while messages.len() < CHUNK_MESSAGES_MAX {
            match connection.next() {
                Ok(Some(Incoming::Publish(message))) => messages.push(message),
                Ok(Some(Incoming::SubAck(granted))) => {
                    self.subscribed(&granted)?;
                    *subscribing_until_ns = None;
                }
                // Answered whatever we know of it: a PUBREL comes until it is, after a restart of ours too.
                Ok(Some(Incoming::PubRel { packet_id })) => {
                    Version::write_pubcomp(&mut connection.outgoing, packet_id);
                }
                Ok(Some(Incoming::Pong | Incoming::PubAck { .. })) => {}
                Ok(Some(Incoming::Welcome(_))) => {
                    return Err(Error::unavailable("the broker answered CONNECT twice"));
                }
                Ok(None) => break,
                // First what came before it.
                Ok(Some(Incoming::Disconnect(error))) | Err(error) => {
                    if messages.is_empty() {
                        return Err(error);
                    }
                    connection.break_off(error);
                    break;
                }
            }
        }
        Ok(messages)
    }

    /// What the broker answered to each filter.
    fn subscribed(&mut self, granted: &[Result<u8, String>]) -> Result<()> {
        if granted.len() != self.filters.len() {
            return Err(Error::unavailable("the broker does not answer every filter of the subscription"));
        }
        for (filter, granted) in self.filters.iter().zip(granted) {
            match granted {
                Ok(qos) if *qos < self.link.qos => tracing::warn!(
                    table = %self.link.table,
                    "{} grants only QoS {qos} for '{filter}': messages may be lost with the connection",
                    self.outage.broker()
                ),
                Ok(_) => {}
                Err(why) => {
                    let what = format!("the broker refuses the subscription to '{filter}': {why}");
                    return Err(Error::config(what).remedy(
                        "check 'topic', and what the broker lets this 'username' and 'client-id' read",
                    ));
                }
            }
        }
        self.outage.up();
        Ok(())
    }
}

/// Does what there is to do for the connection, or waits for something to do.
async fn wait(
    connection: &mut Connection,
    taken: &Taken,
    number: u64,
    read: bool,
    subscribing_until_ns: Option<u64>,
    context: &InstanceContext,
) -> Result<()> {
    taken.write_to(number, &mut connection.outgoing);
    let now_ns = context.clock.monotonic_ns();
    let left = subscribing_until_ns.map(|until_ns| Duration::from_nanos(until_ns.saturating_sub(now_ns)));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(Error::unavailable("the broker does not answer the subscription"));
    }
    tokio::select! {
        () = taken.bell.notified() => Ok(()),
        attended = connection.attend(read) => attended,
        () = sleep(context.clock.sleep_for(left.unwrap_or_default())), if left.is_some() => Ok(()),
    }
}

/// Does `work` while the connection is kept; `lost` is what ends that. Told to stop where it may be, it answers `None`.
async fn attended<T>(
    work: impl Future<Output = T>,
    connection: &mut Connection,
    taken: &Taken,
    number: u64,
    context: &InstanceContext,
    lost: &mut Option<Error>,
    may_stop: bool,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        if may_stop && taken.is_stopping() {
            return None;
        }
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            waited = wait(connection, taken, number, false, None, context), if lost.is_none() => {
                *lost = waited.err();
            }
            () = told_to_stop(taken), if may_stop && lost.is_some() => {}
        }
    }
}

async fn told_to_stop(taken: &Taken) {
    while !taken.is_stopping() {
        taken.bell.notified().await;
    }
}

/// Sleeps for `wait` of the clock's time.
pub(super) async fn pause(clock: &ClockRef, wait: Duration) {
    let until_ns = clock.monotonic_ns().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    loop {
        let left = until_ns.saturating_sub(clock.monotonic_ns());
        if left == 0 {
            return;
        }
        sleep(clock.sleep_for(Duration::from_nanos(left))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_keep_their_order_and_their_connection() {
        let of = |packet_id| {
            let (topic, payload) = Default::default();
            let (payload_bytes, qos, retained, duplicate) = (0, 1, false, false);
            Message { topic, payload, payload_bytes, packet_id, qos, retained, duplicate, properties: None }
                .acknowledgement()
        };
        let (taken, mut out) = (Taken::default(), BytesMut::new());
        taken.acknowledge(1, &[of(7), of(3)]);
        taken.acknowledge(1, &[of(9)]);
        taken.write_to(1, &mut out);
        assert_eq!(&out[..], &[0x40, 2, 0, 7, 0x40, 2, 0, 3, 0x40, 2, 0, 9]);
        out.clear();
        taken.acknowledge(1, &[of(1)]);
        taken.write_to(2, &mut out);
        taken.acknowledge(1, &[of(2)]);
        taken.acknowledge(2, &[of(5)]);
        taken.write_to(2, &mut out);
        assert_eq!(&out[..], &[0x40, 2, 0, 5]);
    }
}
