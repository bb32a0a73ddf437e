//! An MQTT 3.1.1 device on a raw socket, QoS 0: a load that owes nothing to our own client.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Connected with a clean session.
pub struct Device {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Device {
    pub fn connect(broker: &str, client_id: &str) -> Self {
        let stream = TcpStream::connect(broker).expect("the broker answers");
        stream.set_nodelay(true).expect("a socket");
        let reader = BufReader::with_capacity(1 << 20, stream.try_clone().expect("a socket"));
        let mut device = Self { stream, reader };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
        text(&mut body, client_id);
        device.send(&packet(0x10, &body));
        assert_eq!(device.next().expect("CONNACK").0, 0x20);
        device
    }

    pub fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 1];
        text(&mut body, filter);
        body.push(0);
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

    /// The payload of the next message; none when there is none for too long.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let (first, body) = self.next()?;
            if first >> 4 == 3 {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                return Some(body[2 + topic..].to_vec());
            }
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
    let mut body = Vec::with_capacity(2 + topic.len() + payload.len());
    text(&mut body, topic);
    body.extend_from_slice(payload);
    packet(0x30, &body)
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
