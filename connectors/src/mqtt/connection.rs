//! One connection to a broker: the handshake, packets in and out, and the keep-alive.
//!
//! Invariants: memory is bounded, because a publish over the limit is read past, with only its head kept, instead of
//! being gathered (closing the connection would only bring it again). Nothing is read while the caller says so, which
//! is how a full inlet pushes back on the broker; pings go out all the same, and their answers are then not missed.
//! Every future here may be dropped at any time without losing bytes.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use millstream_engine::{ClockRef, Error, Result};

use super::packets::{Hello, Incoming, Version, Welcome, is_v311_refusal, speaks_only_v311};
use super::settings::Link;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes a packet may have beyond its payload: a topic, properties.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// Waits without an end wake up after as long.
const NEVER: Duration = Duration::from_secs(86_400);
/// PUBLISH, the only packet that may be large.
const PUBLISH: u8 = 3;

/// A connection whose CONNECT was accepted.
pub(super) struct Connection {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    version: Version,
    incoming: BytesMut,
    /// Packets to be written; [`Connection::attend`] does.
    pub outgoing: BytesMut,
    /// Bytes written so far.
    pub written: u64,
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
    /// Connects and shakes hands. `payload_bytes_max` bounds what is gathered of one message.
    pub async fn open(
        link: &Link,
        hello: &Hello<'_>,
        payload_bytes_max: usize,
        clock: &ClockRef,
    ) -> Result<Self> {
        let opening = Self::dial(link, hello, payload_bytes_max, clock);
        match timeout(link.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::unavailable(format!("no answer within {:?}", link.connect_timeout)).remedy(
                "check 'url', and that a broker listens there; 'connect.timeout' says how long to wait",
            )),
        }
    }

    async fn dial(
        link: &Link,
        hello: &Hello<'_>,
        payload_bytes_max: usize,
        clock: &ClockRef,
    ) -> Result<Self> {
        let stream = TcpStream::connect((link.host.as_str(), link.port)).await.map_err(|error| {
            Error::unavailable(format!("not reachable: {error}"))
                .remedy("check 'url', and that the broker runs")
        })?;
        // Acknowledgements are small and must not wait for each other.
        stream.set_nodelay(true).map_err(|error| lost(&error))?;
        let (reader, writer) = stream.into_split();
        let connection = Self::over(reader, writer, link.version, payload_bytes_max, clock);
        connection.shake_hands(link, hello).await
    }

    /// A connection over any transport, before CONNECT.
    fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        version: Version,
        payload_bytes_max: usize,
        clock: &ClockRef,
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            version,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            written: 0,
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

    async fn shake_hands(mut self, link: &Link, hello: &Hello<'_>) -> Result<Self> {
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
                None => connection.attend(true).await.map_err(|error| match link.version {
                    Version::V5 => {
                        error.remedy("if the broker speaks MQTT 3.1.1 only, set 'version' = '3.1.1'")
                    }
                    Version::V311 => error,
                })?,
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
        tokio::select! {
            written = self.writer.write_buf(&mut self.outgoing), if !self.outgoing.is_empty() => {
                self.written += self.check(written)? as u64;
            }
            read = self.reader.read_buf(&mut self.incoming), if read => {
                self.check(read)?;
                self.keep_alive.heard = true;
            }
            () = sleep(self.clock.sleep_for(wait)) => self.ping_if_due()?,
        }
        Ok(())
    }

    /// What reading or writing answered; nothing is an end.
    fn check(&mut self, moved: std::io::Result<usize>) -> Result<usize> {
        match moved {
            Ok(0) => {
                self.closed_by_broker = true;
                Err(lost(&"the broker closed it"))
            }
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                self.closed_by_broker =
                    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                Err(lost(&error))
            }
        }
    }

    fn ping_if_due(&mut self) -> Result<()> {
        let now_ns = self.clock.monotonic_ns();
        if !self.keep_alive.is_on() || now_ns < self.keep_alive.next_ns {
            return Ok(());
        }
        if self.keep_alive.is_dead_at(now_ns) {
            return Err(lost(&format!(
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
            while !self.outgoing.is_empty() {
                self.writer.write_buf(&mut self.outgoing).await?;
            }
            self.writer.shutdown().await?;
            // What still comes will come again in the next session.
            tokio::io::copy(&mut self.reader, &mut tokio::io::sink()).await
        };
        // Failing here changes nothing any more.
        let _ = timeout(limit, closing).await;
    }
}

fn lost(why: &impl std::fmt::Display) -> Error {
    Error::unavailable(format!("connection lost: {why}"))
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
    use bytes::Bytes;
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
        let (reader, writer) = tokio::io::split(near);
        let clock: ClockRef = ManualClock::at(0);
        let mut connection = Connection::over(reader, writer, Version::V5, payload_bytes_max, &clock);
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
                Version::V5.write_publish(&mut bytes, &topic, &payload, number, false, false).unwrap();
                Version::write_puback(&mut bytes, number);
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
