//! One connection to a broker: the handshake, packets in and out, and the keep-alive.
//!
//! Invariants: memory is bounded, because a publish over the limit is read past, with only its head kept, instead of
//! being gathered (closing the connection would only bring it again). Nothing is read while the caller says so, which
//! is how a full inlet pushes back on the broker; pings go out all the same, and their answers are then not missed.
//! Every future here may be dropped at any time without losing bytes.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use millstream_engine::{ClockRef, Error, Result};

use super::answers::{is_v311_refusal, speaks_only_v311};
use super::broker::Broker;
use super::packets::{Hello, Incoming, Version, Welcome};
use super::refusal::{lost, lost_for};
use super::settings::Link;
use super::stream::Stream;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes a packet may have beyond its payload: a topic, properties.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// Bytes of a websocket message, which is gathered as a whole, unless packets may be larger.
pub(super) const WEBSOCKET_BYTES_MAX: usize = 16 << 20;
/// Waits without an end wake up after as long.
const NEVER: Duration = Duration::from_secs(86_400);
/// PUBLISH, the only packet that may be large.
const PUBLISH: u8 = 3;

/// A connection whose CONNECT was accepted.
pub(super) struct Connection {
    stream: Stream,
    version: Version,
    incoming: BytesMut,
    /// Packets to be written; [`Connection::attend`] does.
    pub outgoing: BytesMut,
    /// Bytes of it that the socket has taken so far.
    pub written: u64,
    /// Bytes that the stream has taken, perhaps into a buffer of its own.
    accepted: u64,
    /// Bytes still to be thrown away of a publish that is too large.
    skipping: usize,
    /// A packet that holds more is too large.
    packet_bytes_max: usize,
    /// What the broker said of itself.
    pub welcome: Welcome,
    keep_alive: KeepAlive,
    /// The broker has closed it, or reset it: neither we nor the line did.
    pub closed_by_broker: bool,
    /// Why nothing more is to be read, if so.
    broken: Option<Error>,
    clock: ClockRef,
}

/// Knows when to ping, and when a broker that does not answer is gone.
struct KeepAlive {
    interval_ns: u64,
    next_ns: u64,
    /// Since the last ping: something came; or we did not listen all the time.
    heard: bool,
    deaf: bool,
    pinged: bool,
}

impl KeepAlive {
    fn new(interval: Duration, now_ns: u64) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let next_ns = now_ns.saturating_add(interval_ns);
        Self { interval_ns, next_ns, heard: false, deaf: false, pinged: false }
    }

    fn is_on(&self) -> bool {
        self.interval_ns > 0
    }

    /// Called when an interval is over: whether the broker has been silent since the last ping.
    fn is_dead_at(&mut self, now_ns: u64) -> bool {
        let is_dead = self.pinged && !self.heard && !self.deaf;
        *self = Self::new(Duration::from_nanos(self.interval_ns), now_ns);
        self.pinged = true;
        is_dead
    }
}

impl Connection {
    /// Connects to `broker` and shakes hands. `payload_bytes_max` bounds what is gathered of one message.
    pub async fn open(
        link: &Link,
        broker: &Broker,
        hello: &Hello<'_>,
        payload_bytes_max: usize,
        clock: &ClockRef,
    ) -> Result<Self> {
        let opening = async {
            let message_bytes_max = WEBSOCKET_BYTES_MAX.max(payload_bytes_max.saturating_add(HEAD_BYTES_MAX));
            let stream = Stream::dial(broker, link.tls.as_ref(), message_bytes_max).await?;
            Self::over(stream, link.version, payload_bytes_max, clock).shake_hands(link, broker, hello).await
        };
        match timeout(link.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::unavailable(format!("no answer within {:?}", link.connect_timeout)).remedy(
                "check 'url', and that a broker listens there; 'connect.timeout' says how long to wait",
            )),
        }
    }

    /// A connection over any transport, before CONNECT.
    fn over(stream: Stream, version: Version, payload_bytes_max: usize, clock: &ClockRef) -> Self {
        Self {
            stream,
            version,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            written: 0,
            accepted: 0,
            skipping: 0,
            packet_bytes_max: payload_bytes_max.saturating_add(HEAD_BYTES_MAX),
            welcome: Welcome {
                session_present: false,
                receive_maximum: 1,
                packet_bytes_max: None,
                retain_available: true,
                qos_max: 1,
                keep_alive_s: None,
            },
            // Not before we are in: the timeout of connecting rules until then.
            keep_alive: KeepAlive::new(Duration::ZERO, 0),
            closed_by_broker: false,
            broken: None,
            clock: ClockRef::clone(clock),
        }
    }

    async fn shake_hands(mut self, link: &Link, broker: &Broker, hello: &Hello<'_>) -> Result<Self> {
        let connection = &mut self;
        link.version.write_connect(&mut connection.outgoing, hello)?;
        connection.welcome = loop {
            if link.version == Version::V5 && is_v311_refusal(&connection.incoming) {
                return Err(speaks_only_v311());
            }
            match connection.next()? {
                Some(Incoming::Welcome(welcome)) => break welcome,
                Some(Incoming::Disconnect(error)) => return Err(error),
                Some(_) => {
                    return Err(Error::unavailable("the broker sent something before it answered CONNECT"));
                }
                None => {
                    let attended = connection.attend(true).await;
                    attended.map_err(|error| unanswered(error, link, broker))?;
                }
            }
        };
        let keep_alive = match connection.welcome.keep_alive_s {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None => link.keep_alive,
        };
        connection.keep_alive = KeepAlive::new(keep_alive, connection.clock.monotonic_ns());
        Ok(self)
    }

    /// Lets the next [`Connection::next`] answer `error`, after what was read before it has been seen to.
    pub fn break_off(&mut self, error: Error) {
        self.broken = Some(error);
    }

    /// The next packet that is there as a whole.
    pub fn next(&mut self) -> Result<Option<Incoming>> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        if self.skipping > 0 {
            let skipped = self.skipping.min(self.incoming.len());
            self.incoming.advance(skipped);
            self.skipping -= skipped;
        }
        let Some((head, body)) = frame(&self.incoming)? else { return Ok(None) };
        let kind = self.incoming[0] >> 4;
        if head + body > self.packet_bytes_max {
            if kind != PUBLISH {
                return Err(Error::unavailable(format!(
                    "the broker sent a packet of {body} bytes that is no message"
                )));
            }
            return self.next_too_large(head, body);
        }
        if self.incoming.len() < head + body {
            self.incoming.reserve(head + body - self.incoming.len());
            return Ok(None);
        }
        self.version.read(&mut self.incoming).map(Some)
    }

    /// A publish of which only the head is kept: it is cut to what the codec can take for a whole one.
    fn next_too_large(&mut self, head: usize, body: usize) -> Result<Option<Incoming>> {
        let kept = HEAD_BYTES_MAX.min(body);
        if self.incoming.len() < head + kept {
            self.incoming.reserve(head + kept - self.incoming.len());
            return Ok(None);
        }
        let first = self.incoming[0];
        self.incoming.advance(head);
        let mut packet = BytesMut::with_capacity(kept + 5);
        packet.extend_from_slice(&[first]);
        let mut length = kept;
        while length >= 0x80 {
            packet.extend_from_slice(&[(length & 0x7F) as u8 | 0x80]);
            length >>= 7;
        }
        packet.extend_from_slice(&[length as u8]);
        packet.extend_from_slice(&self.incoming.split_to(kept));
        self.skipping = body - kept;
        let Incoming::Publish(mut message) = self.version.read(&mut packet)? else {
            return Err(Error::internal("a publish was read as something else"));
        };
        message.payload_bytes += body - kept;
        Ok(Some(Incoming::Publish(message)))
    }

    /// Leaves what arrives in the socket for `time`, which must be short: nothing is written either.
    ///
    /// # Errors
    /// As [`Connection::attend`].
    pub async fn rest(&mut self, time: Duration) -> Result<()> {
        self.stream.rest(time).await.map_err(|error| self.end(Some(error)))
    }

    /// Does one thing of what there is to do: writes, reads (if `read`), pings; otherwise waits.
    pub async fn attend(&mut self, read: bool) -> Result<()> {
        self.keep_alive.deaf |= !read;
        let wait = match self.keep_alive.is_on() {
            true => Duration::from_nanos(self.keep_alive.next_ns.saturating_sub(self.clock.monotonic_ns())),
            false => NEVER,
        };
        if read && self.incoming.capacity() - self.incoming.len() < READ_BYTES / 8 {
            self.incoming.reserve(READ_BYTES);
        }
        let ping = sleep(self.clock.sleep_for(wait));
        tokio::select! {
            biased;
            moved = self.move_bytes(read) => moved?,
            () = ping => self.ping_if_due()?,
        }
        Ok(())
    }

    /// Reads (if `read`) and writes what can be without waiting; waits until something can.
    async fn move_bytes(&mut self, read: bool) -> Result<()> {
        let moved = poll_fn(|context| {
            let mut has_moved = false;
            // First what the broker says: it may be why nothing can be written any more.
            if read {
                let reading = pin!(self.stream.read_buf(&mut self.incoming));
                if let Poll::Ready(bytes) = reading.poll(context) {
                    match bytes {
                        Ok(0) => return Poll::Ready(Err(None)),
                        Ok(_) => has_moved = true,
                        Err(error) => return Poll::Ready(Err(Some(error))),
                    }
                    self.keep_alive.heard = true;
                }
            }
            while !self.outgoing.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, &self.outgoing) {
                    Poll::Ready(Ok(bytes)) if bytes > 0 => {
                        self.outgoing.advance(bytes);
                        self.accepted += bytes as u64;
                    }
                    // It comes again when what was read is seen to.
                    Poll::Ready(_) if has_moved => return Poll::Ready(Ok(())),
                    Poll::Ready(failed) => return Poll::Ready(Err(failed.err())),
                    Poll::Pending => break,
                }
            }
            if self.written < self.accepted {
                match Pin::new(&mut self.stream).poll_flush(context) {
                    Poll::Ready(Ok(())) => {
                        self.written = self.accepted;
                        has_moved = true;
                    }
                    Poll::Ready(Err(_)) if has_moved => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Some(error))),
                    Poll::Pending => {}
                }
            }
            if has_moved { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await;
        moved.map_err(|error| self.end(error))
    }

    /// What a failed read or write means; none is an end.
    fn end(&mut self, failed: Option<io::Error>) -> Error {
        let Some(error) = failed else {
            self.closed_by_broker = true;
            return lost_for(&"the broker closed it");
        };
        self.closed_by_broker = matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
        );
        lost(&error)
    }

    fn ping_if_due(&mut self) -> Result<()> {
        let now_ns = self.clock.monotonic_ns();
        if !self.keep_alive.is_on() || now_ns < self.keep_alive.next_ns {
            return Ok(());
        }
        if self.keep_alive.is_dead_at(now_ns) {
            return Err(lost_for(&format!(
                "no sign of life for {:?}",
                Duration::from_nanos(self.keep_alive.interval_ns)
            )));
        }
        Version::write_ping(&mut self.outgoing);
        Ok(())
    }

    /// Writes what is left, says goodbye, and waits until the broker has closed too, all within `limit`. Only then has
    /// it read our last acknowledgements: a session that we begin before would take over this one, and the broker would
    /// throw away what it had not read yet.
    pub async fn close(mut self, limit: Duration) {
        Version::write_disconnect(&mut self.outgoing);
        let closing = async {
            self.stream.write_all_buf(&mut self.outgoing).await?;
            self.stream.flush().await?;
            self.stream.shutdown().await?;
            // What still comes will come again in the next session.
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await
        };
        // Failing here changes nothing any more.
        let _ = timeout(limit, closing).await;
    }
}

/// A handshake that ended without an answer: with what may be the reason.
fn unanswered(error: Error, link: &Link, broker: &Broker) -> Error {
    if error.remedy_text().is_some() {
        return error;
    }
    if broker.scheme.is_encrypted() && !link.has_certificate {
        return error
            .remedy("if the broker asks for a client certificate, name it in 'tls.cert' and 'tls.key'");
    }
    match link.version {
        Version::V5 => error.remedy(
            "if the broker speaks MQTT 3.1.1 only, set 'version' = '3.1.1'; if its port is one of TLS or websockets, \
             'url' must say so ('mqtts://', 'ws://', 'wss://')",
        ),
        Version::V311 => error.remedy(
            "if the broker's port is one of TLS or websockets, 'url' must say so ('mqtts://', 'ws://', 'wss://')",
        ),
    }
}

/// Length of the fixed header and of what follows it, once the header is there.
fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut body = 0;
    for (number, byte) in bytes.iter().skip(1).take(4).enumerate() {
        body |= usize::from(byte & 0x7F) << (7 * number);
        if byte & 0x80 == 0 {
            return Ok(Some((number + 2, body)));
        }
    }
    match bytes.len() {
        0..5 => Ok(None),
        _ => Err(Error::unavailable("the broker sent something that is not MQTT: a length without end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packets::Publication;
    use bytes::{BufMut, Bytes};
    use millstream_engine::ManualClock;
    use proptest::prelude::*;

    #[test]
    fn frames_are_found_at_every_length() {
        assert_eq!(frame(&[]).unwrap(), None);
        assert_eq!(frame(&[0x30]).unwrap(), None);
        assert_eq!(frame(&[0xD0, 0]).unwrap(), Some((2, 0)));
        assert_eq!(frame(&[0x30, 0x80]).unwrap(), None);
        assert_eq!(frame(&[0x30, 0x80, 0x01]).unwrap(), Some((3, 128)));
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).unwrap(), Some((5, 268_435_455)));
        assert!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
    }

    #[test]
    fn silence_counts_only_while_we_listen() {
        let mut alive = KeepAlive::new(Duration::from_nanos(10), 0);
        assert!(!alive.is_dead_at(10), "nothing was asked yet");
        alive.heard = true;
        assert!(!alive.is_dead_at(20));
        alive.deaf = true;
        assert!(!alive.is_dead_at(30));
        assert!(alive.is_dead_at(40));
    }

    /// What is read of `bytes` when they arrive in pieces, and whether that ended in an error.
    async fn read_in_pieces(bytes: &[u8], piece: usize, payload_bytes_max: usize) -> (Vec<Incoming>, bool) {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let clock: ClockRef = ManualClock::at(0);
        let mut connection = Connection::over(Stream::Memory(near), Version::V5, payload_bytes_max, &clock);
        let mut packets = Vec::new();
        for piece in bytes.chunks(piece) {
            far.write_all(piece).await.unwrap();
            let mut left = piece.len();
            while left > 0 {
                let before = connection.incoming.len();
                connection.attend(true).await.unwrap();
                left -= connection.incoming.len() - before;
                loop {
                    match connection.next() {
                        Ok(Some(packet)) => packets.push(packet),
                        Ok(None) => break,
                        Err(_) => return (packets, true),
                    }
                }
                assert!(connection.incoming.len() <= payload_bytes_max + 2 * HEAD_BYTES_MAX);
            }
        }
        (packets, false)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        #[test]
        fn messages_are_the_same_in_whatever_pieces_they_arrive(
            sizes in prop::collection::vec(prop_oneof![8 => 0..300_usize, 1 => 130_000..600_000_usize], 1..8),
            piece in prop_oneof![1..100_usize, 1_000..70_000_usize],
        ) {
            let payload_bytes_max = 1_000;
            let (mut bytes, topic) = (BytesMut::new(), Bytes::from_static(b"a/b"));
            for (number, size) in (1..).zip(&sizes) {
                let payload = Bytes::from(vec![b'x'; *size]);
                let publication =
                    Publication { topic: topic.clone(), payload, retain: false, properties: None };
                Version::V5.write_publish(&mut bytes, &publication, 1, number, false).unwrap();
                bytes.put_slice(&[0x40, 2, (number >> 8) as u8, number as u8]);
            }
            let (packets, failed) = runtime().block_on(read_in_pieces(&bytes, piece, payload_bytes_max));
            prop_assert!(!failed);
            prop_assert_eq!(packets.len(), 2 * sizes.len());
            for (number, (pair, size)) in packets.chunks(2).zip(&sizes).enumerate() {
                let Incoming::Publish(message) = &pair[0] else { panic!("no publish") };
                prop_assert_eq!(usize::from(message.packet_id), number + 1);
                prop_assert_eq!((&message.topic, message.payload_bytes), (&topic, *size));
                let whole = message.payload.len() == *size;
                prop_assert!(whole || *size > payload_bytes_max);
                prop_assert!(message.payload.len() <= HEAD_BYTES_MAX + payload_bytes_max);
                let is_taken = matches!(pair[1], Incoming::PubAck { refusal: None, .. });
                prop_assert!(is_taken);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            runtime().block_on(read_in_pieces(&bytes, piece, 100));
        }
    }
}
