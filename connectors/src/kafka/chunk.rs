//! What the thread that reads hands to the worker: which partitions it reads, and messages of one, their bytes in one
//! buffer.

use std::sync::Arc;

use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// A topic's partition.
pub(super) type Lane = (Arc<str>, i32);

/// What chunks hold beside payloads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants {
    pub key: bool,
    pub headers: bool,
}

/// One message, its payload, key and headers in this order in the chunk's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub offset: i64,
    pub time_ms: Option<i64>,
    pub is_append_time: bool,
    pub is_tombstone: bool,
    pub has_bad_headers: bool,
    has_key: bool,
    start: usize,
    payload_end: usize,
    key_end: usize,
    /// Its headers are those up to here, from where the ones of the message before end.
    headers_end: usize,
}

/// A header, its name and value one after the other in the chunk's buffer.
#[derive(Debug, Clone, Copy)]
struct Header {
    start: usize,
    name_end: usize,
    value_end: Option<usize>,
}

/// What the thread hands over, in order.
pub(super) enum Handed {
    /// Partitions that are read from now on, in front of any message of theirs; none, if the instance has none at all.
    Partitions(Vec<Starting>),
    Messages(Chunk),
}

/// A partition that is read from now on.
pub(super) struct Starting {
    pub lane: Lane,
    pub number: u32,
    pub start: i64,
    /// A bounded read has nothing to read of it.
    pub is_done: bool,
}

/// Messages of one partition, in order.
pub(super) struct Chunk {
    pub lane: Lane,
    /// Its number in the table, the same after each restart: the watermark keeps a clock for each.
    pub number: u32,
    pub start: i64,
    pub messages: Vec<Message>,
    pub received_ns: u64,
    bytes: Vec<u8>,
    headers: Vec<Header>,
}

impl Chunk {
    /// An empty one, that says where its partition goes on.
    pub fn starting(lane: &Lane, number: u32, start: i64) -> Self {
        let (bytes, messages, headers) = Default::default();
        Self { lane: lane.clone(), number, start, bytes, messages, headers, received_ns: 0 }
    }

    /// Adds a message; the bytes it takes.
    pub fn push(&mut self, message: &BorrowedMessage<'_>, wants: Wants) -> usize {
        let start = self.bytes.len();
        let payload = message.payload();
        self.bytes.extend_from_slice(payload.unwrap_or_default());
        let payload_end = self.bytes.len();
        let key = message.key().filter(|_| wants.key);
        self.bytes.extend_from_slice(key.unwrap_or_default());
        let key_end = self.bytes.len();
        let has_bad_headers = wants.headers && !self.push_headers(message);
        let (time_ms, is_append_time) = match message.timestamp() {
            Timestamp::NotAvailable => (None, false),
            Timestamp::CreateTime(ms) => (Some(ms), false),
            Timestamp::LogAppendTime(ms) => (Some(ms), true),
        };
        self.messages.push(Message {
            offset: message.offset(),
            time_ms,
            is_append_time,
            is_tombstone: payload.is_none(),
            has_bad_headers,
            has_key: key.is_some(),
            start,
            payload_end,
            key_end,
            headers_end: self.headers.len(),
        });
        self.bytes.len() - start
    }

    /// False when the name of one is not UTF-8.
    fn push_headers(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let Some(headers) = message.headers() else { return true };
        for number in 0..headers.count() {
            // The client panics where a name is not UTF-8, and input bytes must not end the thread.
            let read = std::panic::AssertUnwindSafe(|| headers.try_get(number));
            let Ok(Some(header)) = std::panic::catch_unwind(read) else { return false };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(header.key.as_bytes());
            let name_end = self.bytes.len();
            self.bytes.extend_from_slice(header.value.unwrap_or_default());
            let value_end = header.value.map(|_| self.bytes.len());
            self.headers.push(Header { start, name_end, value_end });
        }
        true
    }

    /// The payload of message `number`.
    pub fn payload(&self, number: usize) -> &[u8] {
        let message = &self.messages[number];
        &self.bytes[message.start..message.payload_end]
    }

    /// The key of message `number`, if it has one and keys are wanted.
    pub fn key(&self, number: usize) -> Option<&[u8]> {
        let message = &self.messages[number];
        message.has_key.then(|| &self.bytes[message.payload_end..message.key_end])
    }

    /// The headers of message `number`, each as its name and its value.
    pub fn headers(&self, number: usize) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let from = if number == 0 { 0 } else { self.messages[number - 1].headers_end };
        self.headers[from..self.messages[number].headers_end].iter().map(|header| {
            let value = header.value_end.map(|end| &self.bytes[header.name_end..end]);
            (&self.bytes[header.start..header.name_end], value)
        })
    }

    /// Bytes of all messages.
    pub fn num_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory it takes, about.
    pub fn queue_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.messages.as_slice()) + size_of_val(self.headers.as_slice())
    }
}
