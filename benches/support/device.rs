//! An MQTT 3.1.1 device on a raw socket: a load, and a reader to compare with, that owe nothing to our own client.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Acknowledgements that are sent together, about.
const ACK_BYTES_MAX: usize = 1 << 10;

/// A connection.
pub struct Device {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    /// PUBACKs that are still to be sent.
    acks: Vec<u8>,
}

impl Device {
    /// With a session that ends with the connection.
    pub fn connect(broker: &str, client_id: &str) -> Self {
        Self::with_session(broker, client_id, true)
    }

    /// With one that stays at the broker, unless it `is_clean`.
    pub fn with_session(broker: &str, client_id: &str, is_clean: bool) -> Self {
        let stream = TcpStream::connect(broker).expect("the broker answers");
        stream.set_nodelay(true).expect("a socket");
        let reader = BufReader::with_capacity(1 << 20, stream.try_clone().expect("a socket"));
        let mut device = Self { stream, reader, acks: Vec::new() };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, u8::from(is_clean) * 2, 0, 0];
        text(&mut body, client_id);
        device.send(&packet(0x10, &body));
        assert_eq!(device.next().expect("CONNACK").0, 0x20);
        device
    }

    pub fn subscribe(&mut self, filter: &str) {
        self.subscribe_at(filter, 0);
    }

    pub fn subscribe_at(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 1];
        text(&mut body, filter);
        body.push(qos);
        self.send(&packet(0x82, &body));
        assert_eq!(self.next().expect("SUBACK").0, 0x90);
    }

    /// Reading gives up after this long without a message.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a socket");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Returns when the broker has read all that was sent.
    pub fn settle(&mut self) {
        self.send(&[0xC0, 0]);
        while self.next().is_some_and(|(first, _)| first != 0xD0) {}
    }

    /// Sends messages at QoS 1, and returns when each is acknowledged.
    pub fn send_acknowledged(&mut self, topic: &str, payloads: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        for (id, payload) in (1_u16..).zip(payloads) {
            bytes.extend_from_slice(&published(0x32, topic, &id.to_be_bytes(), payload));
        }
        self.send(&bytes);
        for _ in payloads {
            assert_eq!(self.next().expect("PUBACK").0, 0x40);
        }
    }

    /// The payload of the next message, which is acknowledged; none when there is none for too long.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            if self.reader.buffer().is_empty() || self.acks.len() >= ACK_BYTES_MAX {
                self.acknowledge();
            }
            let (first, body) = self.next()?;
            if first >> 4 == 3 {
                let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                if first & 0x06 != 0 {
                    self.acks.extend_from_slice(&[0x40, 2, body[at], body[at + 1]]);
                    at += 2;
                }
                return Some(body[at..].to_vec());
            }
        }
    }

    /// Acknowledges what it has received and says goodbye, which leaves a session that stays.
    pub fn leave(mut self) {
        self.acknowledge();
        self.settle();
        self.send(&[0xE0, 0]);
    }

    fn acknowledge(&mut self) {
        let acks = std::mem::take(&mut self.acks);
        if !acks.is_empty() {
            self.send(&acks);
        }
    }

    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte).ok()?;
        let first = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.reader.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        Some((first, body))
    }
}

/// A PUBLISH at QoS 0.
pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    published(0x30, topic, &[], payload)
}

/// A PUBLISH; QoS 0 has no packet id.
fn published(first: u8, topic: &str, id: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 + topic.len() + id.len() + payload.len());
    text(&mut body, topic);
    body.extend_from_slice(id);
    body.extend_from_slice(payload);
    packet(first, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = if length >= 0x80 { 0x80 } else { 0 };
        packet.push((length & 0x7F) as u8 | more);
        length >>= 7;
        if more == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
