//! A request as the outbox has it.
//!
//! Layout, little-endian: version (u8); flags (u8: an array, rows beside the body, a target, a key); lane (u64); rows (u32),
//! each its id (16 bytes) and where its item and its own JSON are (4 x u32); the target: its URL (u32 and bytes, 0 for the
//! table's) and headers (u16, each u16 and name, u32 and value); body (u32 and bytes); what is beside it, to the end.
//! Written by sink.rs, read by the outbox's pump for dispatch.rs. A target's values may be credentials, as its rows may be:
//! the folder is to be kept like them.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use millstream_engine::Result;
use millstream_engine::outbox::{Parcel, Ticket};

use super::ids::Id;
use super::request::{Request, Row};
use super::target::Target;

/// The form of a record.
const VERSION: u8 = 1;
const ARRAY: u8 = 1;
const BESIDE: u8 = 2;
const TARGET: u8 = 4;
const KEYED: u8 = 8;

/// A request's bytes, the last of which is its body and what is beside it. One without a key gets a lane of its own again.
pub(super) fn write(request: &Request, is_keyed: bool) -> Vec<u8> {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let mut to = Vec::with_capacity(64 + request.body.len() + 32 * request.rows.len());
    to.put_u8(VERSION);
    to.put_u8(
        flag(request.array, ARRAY)
            | flag(request.beside.is_some(), BESIDE)
            | flag(request.target.is_some(), TARGET)
            | flag(is_keyed, KEYED),
    );
    to.put_u64_le(request.lane);
    to.put_u32_le(request.rows.len() as u32);
    for row in &request.rows {
        to.put_slice(&row.id.bytes());
        for end in [row.item.start, row.item.end, row.data.start, row.data.end] {
            to.put_u32_le(end as u32);
        }
    }
    if let Some(target) = &request.target {
        let url = target.url.as_ref().map_or(String::new(), Uri::to_string);
        to.put_u32_le(url.len() as u32);
        to.put_slice(url.as_bytes());
        to.put_u16_le(target.headers.len() as u16);
        for (name, value) in &target.headers {
            to.put_u16_le(name.as_str().len() as u16);
            to.put_slice(name.as_str().as_bytes());
            to.put_u32_le(value.len() as u32);
            to.put_slice(value.as_bytes());
        }
    }
    to.put_u32_le(request.body.len() as u32);
    to.put_slice(&request.body);
    to.put_slice(request.beside.as_deref().unwrap_or_default());
    to
}

impl Parcel for Request {
    fn read(bytes: Bytes, ticket: Arc<Ticket>) -> Result<Self> {
        let request = read(bytes, ticket.number()).ok_or_else(|| ticket.unreadable("request"))?;
        Ok(Self { ticket: Some(ticket), ..request })
    }

    fn num_bytes(&self) -> usize {
        Request::num_bytes(self)
    }

    fn rows(&self) -> Vec<Bytes> {
        Request::rows(self).collect()
    }
}

/// The rows of a record, for people; none if it is no request.
pub(super) fn rows(record: &Bytes) -> Option<Vec<Bytes>> {
    read(record.clone(), 0).map(|request| request.rows().collect())
}

fn read(mut from: Bytes, number: u64) -> Option<Request> {
    let (version, flags) = (from.try_get_u8().ok()?, from.try_get_u8().ok()?);
    if version != VERSION {
        return None;
    }
    let lane = from.try_get_u64_le().ok()?;
    let lane = if flags & KEYED == 0 { number } else { lane };
    let mut rows = Vec::new();
    for _ in 0..from.try_get_u32_le().ok()? {
        let id = Id::from_bytes(take(&mut from, 16)?.as_ref().try_into().ok()?);
        rows.push(Row { id, item: range(&mut from)?, data: range(&mut from)? });
    }
    let target = if flags & TARGET == 0 { None } else { Some(Arc::new(target(&mut from)?)) };
    let body_bytes = from.try_get_u32_le().ok()? as usize;
    let body = take(&mut from, body_bytes)?;
    let beside = (flags & BESIDE != 0).then_some(from);
    let data_bytes = beside.as_ref().unwrap_or(&body).len();
    let fits = rows.iter().all(|row| row.item.end <= body.len() && row.data.end <= data_bytes);
    if !fits || rows.is_empty() {
        return None;
    }
    Some(Request { target, ..Request::new(lane, body, beside, rows, flags & ARRAY != 0) })
}

fn take(from: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= from.len()).then(|| from.split_to(bytes))
}

fn range(from: &mut Bytes) -> Option<Range<usize>> {
    let (start, end) = (from.try_get_u32_le().ok()? as usize, from.try_get_u32_le().ok()? as usize);
    (start <= end).then_some(start..end)
}

fn target(from: &mut Bytes) -> Option<Target> {
    let url_bytes = from.try_get_u32_le().ok()? as usize;
    let url = take(from, url_bytes)?;
    let url = if url.is_empty() { None } else { Some(Uri::from_maybe_shared(url).ok()?) };
    let mut headers = Vec::new();
    for _ in 0..from.try_get_u16_le().ok()? {
        let name_bytes = usize::from(from.try_get_u16_le().ok()?);
        let name = HeaderName::from_bytes(&take(from, name_bytes)?).ok()?;
        let value_bytes = from.try_get_u32_le().ok()? as usize;
        let mut value = HeaderValue::from_maybe_shared(take(from, value_bytes)?).ok()?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Some(Target { url, headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::ids::Ids;
    use crate::webhook::request::{BodyBuilder, Content, Framing, Item};

    fn requests() -> Vec<Request> {
        let target = Target {
            url: Some("https://r/a/b?c=d".parse().unwrap()),
            headers: vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("1"))],
        };
        let mut all = Vec::new();
        for (array, rendered, target) in
            [(false, false, None), (true, true, None), (false, true, Some(Arc::new(target)))]
        {
            let template =
                crate::webhook::template::Template::parse("{}", crate::webhook::template::Syntax::Json, &[]);
            let content = if rendered { Content::Template(template.unwrap()) } else { Content::Json };
            let framing = Framing { content, array };
            let (mut ids, mut builder) = (Ids::new("t", 1), BodyBuilder::default());
            for row in [&b"{\"a\":1}"[..], b"{\"a\":22}"].into_iter().take(if array { 2 } else { 1 }) {
                let rendered = rendered.then_some(&b"{}"[..]);
                builder.push(&framing, &Item { json: row, rendered, id: ids.next(row), time_ms: 0 });
            }
            builder.target = target;
            all.push(builder.close(&framing, 5));
        }
        all
    }

    #[test]
    fn a_request_comes_back_as_it_was_with_its_id() {
        for request in requests() {
            let stored = write(&request, true);
            let again = read(stored.clone().into(), 9).unwrap();
            assert_eq!((again.id, &again.body, again.lane), (request.id, &request.body, 5));
            assert!(again.rows().eq(request.rows()));
            let shown = |request: &Request| {
                request.target.as_ref().map(|target| (target.url.clone(), target.headers.clone()))
            };
            assert_eq!(shown(&again), shown(&request));
            assert_eq!(write(&again, true), stored);
            assert_eq!(read(write(&request, false).into(), 9).unwrap().lane, 9);
        }
    }

    #[test]
    fn other_bytes_are_none_and_never_a_panic() {
        for request in requests() {
            let stored = write(&request, true);
            let cut = 14 + 32 * request.num_rows();
            assert!((0..cut).all(|cut| read(stored[..cut].to_vec().into(), 1).is_none()));
            for byte in 0..stored.len() {
                for bit in 0..8 {
                    let mut bytes = stored.clone();
                    bytes[byte] ^= 1 << bit;
                    if let Some(request) = read(bytes.into(), 1) {
                        request.rows().for_each(drop);
                        let _ = request.split();
                    }
                }
            }
        }
    }
}
