//! What one record of an outbox is: when it was put in, by which connector, a title for people, and the connector's own
//! bytes.
//!
//! Layout, little-endian: version (u8), time (i64, ms since 1970), length of the connector's name (u8), name, length of the
//! title (u16), title, the rest is the connector's. In version 1 there is no name: only `webhook` wrote it. Written by mod.rs,
//! read by pump.rs for the connector and by at_rest.rs for people.

use bytes::{Buf, Bytes};

/// The form of a record.
const VERSION: u8 = 2;
/// Bytes of a title, and of a connector's name, that are kept.
const TITLE_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 255;

/// Makes `to` the bytes in front of the connector's.
pub(super) fn head(to: &mut Vec<u8>, time_ms: i64, connector: &str, title: &[u8]) {
    let name = &connector.as_bytes()[..connector.len().min(NAME_BYTES_MAX)];
    let title = &title[..title.len().min(TITLE_BYTES_MAX)];
    to.clear();
    to.push(VERSION);
    to.extend_from_slice(&time_ms.to_le_bytes());
    to.push(name.len() as u8);
    to.extend_from_slice(name);
    to.extend_from_slice(&(title.len() as u16).to_le_bytes());
    to.extend_from_slice(title);
}

/// See the module's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub time_ms: i64,
    pub connector: Bytes,
    pub title: Bytes,
    pub body: Bytes,
}

impl Record {
    /// Takes it apart; none if it is of another version.
    pub fn read(mut bytes: Bytes) -> Option<Self> {
        let version = bytes.try_get_u8().ok()?;
        let time_ms = bytes.try_get_i64_le().ok()?;
        let connector = match version {
            1 => Bytes::from_static(b"webhook"),
            VERSION => {
                let name_bytes = usize::from(bytes.try_get_u8().ok()?);
                take(&mut bytes, name_bytes)?
            }
            _ => return None,
        };
        let title_bytes = usize::from(bytes.try_get_u16_le().ok()?);
        let title = take(&mut bytes, title_bytes)?;
        Some(Self { time_ms, connector, title, body: bytes })
    }
}

fn take(from: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= from.len()).then(|| from.split_to(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_anything_else_is_none() {
        let mut bytes = Vec::new();
        head(&mut bytes, -5, "webhook", b"msg_1");
        let head_bytes = bytes.len();
        bytes.extend_from_slice(b"body");
        let record = Record::read(bytes.clone().into()).unwrap();
        let expected = Record {
            time_ms: -5,
            connector: Bytes::from_static(b"webhook"),
            title: Bytes::from_static(b"msg_1"),
            body: Bytes::from_static(b"body"),
        };
        assert_eq!(record, expected);
        for cut in 0..head_bytes {
            assert!(Record::read(bytes[..cut].to_vec().into()).is_none(), "{cut}");
        }
        assert!(Record::read(vec![9; 40].into()).is_none());
        // The first version had no name.
        bytes[0] = 1;
        bytes.drain(9..17);
        assert_eq!(Record::read(bytes.into()), Some(expected));
    }
}
