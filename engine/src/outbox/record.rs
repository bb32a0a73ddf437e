//! What one record of an outbox is: when it was put in, a title for people, and the connector's own bytes.
//!
//! Layout, little-endian: version (u8), time (i64, ms since 1970), length of the title (u16), title, the rest is the
//! connector's. Written by mod.rs, read by pump.rs for the connector and by inspect.rs for people.

use bytes::{Buf, Bytes};

/// The form of a record.
const VERSION: u8 = 1;
/// Bytes of a title that are kept.
const TITLE_BYTES_MAX: usize = 1_024;

/// The bytes in front of the connector's.
pub(super) fn head(time_ms: i64, title: &[u8]) -> Vec<u8> {
    let title = &title[..title.len().min(TITLE_BYTES_MAX)];
    let mut bytes = Vec::with_capacity(11 + title.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&time_ms.to_le_bytes());
    bytes.extend_from_slice(&(title.len() as u16).to_le_bytes());
    bytes.extend_from_slice(title);
    bytes
}

/// See the module's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub time_ms: i64,
    pub title: Bytes,
    pub body: Bytes,
}

impl Record {
    /// Takes it apart; none if it is of another version.
    pub fn read(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let time_ms = bytes.try_get_i64_le().ok()?;
        let title_bytes = usize::from(bytes.try_get_u16_le().ok()?);
        if title_bytes > bytes.len() {
            return None;
        }
        Some(Self { time_ms, title: bytes.split_to(title_bytes), body: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_anything_else_is_none() {
        let bytes = [head(-5, b"msg_1"), b"body".to_vec()].concat();
        let record = Record::read(bytes.clone().into()).unwrap();
        assert_eq!((record.time_ms, &record.title[..], &record.body[..]), (-5, &b"msg_1"[..], &b"body"[..]));
        for cut in 0..16 {
            assert!(Record::read(bytes[..cut].to_vec().into()).is_none(), "{cut}");
        }
        assert!(Record::read(vec![9; 40].into()).is_none());
    }
}
