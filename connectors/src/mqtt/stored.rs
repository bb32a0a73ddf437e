//! A message as the outbox has it.
//!
//! Layout, little-endian: version (u8); flags (u8: retain, properties); the topic (u32 and bytes); with properties: which
//! there are (u8), then of those content type, response topic and correlation data (each u32 and bytes), seconds until it
//! expires (u32), and how many of the sender's own there are (u32), each its key and value (u32 and bytes); the payload, to
//! the end. Written by handover.rs, read by the outbox's pump for publish.rs.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use millstream_engine::Result;
use millstream_engine::outbox::{Parcel, Ticket};

use super::packets::Publication;
use super::properties::Properties;
use super::waiting::Messages;

/// The form of a record.
const VERSION: u8 = 1;
const RETAIN: u8 = 1;
const PROPERTIES: u8 = 2;
const CONTENT_TYPE: u8 = 1;
const RESPONSE_TOPIC: u8 = 2;
const CORRELATION_DATA: u8 = 4;
const EXPIRY: u8 = 8;

/// Makes `to` the bytes of a message.
pub(super) fn write(to: &mut Vec<u8>, publication: &Publication) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let Publication { topic, payload, retain, properties } = publication;
    to.clear();
    to.put_u8(VERSION);
    to.put_u8(flag(*retain, RETAIN) | flag(properties.is_some(), PROPERTIES));
    put(to, topic);
    if let Some(properties) = properties {
        let Properties { content_type, response_topic, correlation_data, message_expiry_s, user } =
            properties.as_ref();
        to.put_u8(
            flag(content_type.is_some(), CONTENT_TYPE)
                | flag(response_topic.is_some(), RESPONSE_TOPIC)
                | flag(correlation_data.is_some(), CORRELATION_DATA)
                | flag(message_expiry_s.is_some(), EXPIRY),
        );
        [content_type, response_topic].into_iter().flatten().for_each(|text| put(to, text.as_bytes()));
        correlation_data.iter().for_each(|data| put(to, data));
        message_expiry_s.iter().for_each(|seconds| to.put_u32_le(*seconds));
        to.put_u32_le(user.len() as u32);
        user.iter().flat_map(|(key, value)| [key, value]).for_each(|text| put(to, text.as_bytes()));
    }
    to.put_slice(payload);
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_u32_le(bytes.len() as u32);
    to.put_slice(bytes);
}

/// The message of a record; none if it is none of this version.
pub(super) fn read(mut from: Bytes) -> Option<Publication> {
    let (version, flags) = (from.try_get_u8().ok()?, from.try_get_u8().ok()?);
    if version != VERSION {
        return None;
    }
    let topic = take(&mut from)?;
    let properties = if flags & PROPERTIES == 0 { None } else { Some(Box::new(properties(&mut from)?)) };
    Some(Publication { topic, payload: from, retain: flags & RETAIN != 0, properties })
}

fn properties(from: &mut Bytes) -> Option<Properties> {
    let flags = from.try_get_u8().ok()?;
    let mut all = Properties::default();
    if flags & CONTENT_TYPE != 0 {
        all.content_type = Some(text(from)?);
    }
    if flags & RESPONSE_TOPIC != 0 {
        all.response_topic = Some(text(from)?);
    }
    if flags & CORRELATION_DATA != 0 {
        all.correlation_data = Some(take(from)?);
    }
    if flags & EXPIRY != 0 {
        all.message_expiry_s = Some(from.try_get_u32_le().ok()?);
    }
    for _ in 0..from.try_get_u32_le().ok()? {
        all.user.push((text(from)?, text(from)?));
    }
    Some(all)
}

fn take(from: &mut Bytes) -> Option<Bytes> {
    let bytes = from.try_get_u32_le().ok()? as usize;
    (bytes <= from.len()).then(|| from.split_to(bytes))
}

fn text(from: &mut Bytes) -> Option<String> {
    String::from_utf8(take(from)?.into()).ok()
}

impl Parcel for Messages {
    fn read(bytes: Bytes, ticket: Arc<Ticket>) -> Result<Self> {
        let publication = read(bytes).ok_or_else(|| ticket.unreadable("message"))?;
        Ok(Self { publications: vec![publication], ticket: Some(ticket) })
    }

    fn num_bytes(&self) -> usize {
        self.publications.iter().map(Publication::num_bytes).sum()
    }

    fn rows(&self) -> Vec<Bytes> {
        self.publications.iter().map(|publication| publication.payload.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publications() -> [Publication; 3] {
        let bare = Publication {
            topic: Bytes::from_static(b"a/b"),
            payload: Bytes::from_static(b"{}"),
            retain: false,
            properties: None,
        };
        let some = Properties { message_expiry_s: Some(60), ..Properties::default() };
        let all = Properties {
            content_type: Some("application/json".into()),
            response_topic: Some("answers/ä".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            message_expiry_s: Some(u32::MAX),
            user: vec![("k".into(), "v".into()), ("k".into(), String::new())],
        };
        [
            Publication { retain: true, properties: Some(Box::new(all)), ..bare.clone() },
            Publication { payload: Bytes::new(), properties: Some(Box::new(some)), ..bare.clone() },
            bare,
        ]
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let mut bytes = vec![1, 2, 3];
        for publication in publications() {
            write(&mut bytes, &publication);
            assert_eq!(read(bytes.clone().into()), Some(publication));
        }
    }

    #[test]
    fn other_bytes_are_none_and_never_a_panic() {
        let mut bytes = Vec::new();
        for publication in publications() {
            write(&mut bytes, &publication);
            let head = bytes.len() - publication.payload.len();
            assert!((0..head).all(|cut| read(bytes[..cut].to_vec().into()).is_none()));
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1 << bit;
                    let _ = read(flipped.into());
                }
            }
        }
    }
}
