//! One request: its body, and where in the body each row is.
//!
//! The worker appends rows to a [`BodyBuilder`] (sink.rs) and closes it into a [`Request`], which travels through the
//! outlet to the dispatcher (dispatch.rs). Rows keep their place in the body, so that a batch the receiver finds too
//! large can be cut in two, and each row of a refused batch goes to the dead letters on its own, as the plain JSON it
//! was, without the CloudEvents envelope, and whatever a template made of it.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};

use millstream_engine::outbox::Ticket;

use super::ids::Id;
use super::retry::Tries;
use super::target::Target;
use super::template::Template;

/// Bytes a row or a request takes beside its body, counted against the outlet so that tiny rows are bounded too.
const OVERHEAD_BYTES: usize = 256;

/// Bytes of a CloudEvents envelope at most, without source and type.
const ENVELOPE_BYTES: usize = 192;

/// What a body looks like.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// The row as a JSON object.
    Json,
    /// The row as `data` of a CloudEvents 1.0 event in structured mode; both texts are JSON strings with quotes.
    CloudEvents { source: String, kind: String },
    /// What a template makes of the row.
    Template(Template),
}

/// How rows become bodies.
#[derive(Debug, Clone)]
pub(super) struct Framing {
    pub content: Content,
    /// Several rows to a request, as a JSON array.
    pub array: bool,
}

/// One row, encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its own JSON.
    pub json: &'a [u8],
    /// What the template made of it, if there is one.
    pub rendered: Option<&'a [u8]>,
    pub id: Id,
    /// When it happened, in ms since 1970.
    pub time_ms: i64,
}

impl Framing {
    pub fn content_type(&self) -> &'static str {
        match (&self.content, self.array) {
            (Content::Json | Content::Template(_), _) => "application/json",
            (Content::CloudEvents { .. }, false) => "application/cloudevents+json",
            (Content::CloudEvents { .. }, true) => "application/cloudevents-batch+json",
        }
    }
}

/// One row of a request.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub id: Id,
    /// Its item in the body, envelope included.
    pub item: Range<usize>,
    /// Its own JSON, in the body or, with a template, beside it.
    pub data: Range<usize>,
}

/// One request, and how its delivery stands.
pub(super) struct Request {
    /// Requests of one lane are delivered one after another.
    pub lane: u64,
    /// `webhook-id` and `Idempotency-Key`: the row's id, or the rows' ids hashed.
    pub id: Id,
    pub body: Bytes,
    /// The rows' JSON, where the body does not have it.
    pub beside: Option<Bytes>,
    pub rows: Vec<Row>,
    /// Whether the body is an array.
    pub array: bool,
    /// Where it goes, if not where all go.
    pub target: Option<Arc<Target>>,
    /// How it stands, attempt by attempt.
    pub tries: Tries,
    /// Its place in the outbox, where there is one.
    pub ticket: Option<Arc<Ticket>>,
}

impl Request {
    pub fn new(lane: u64, body: Bytes, beside: Option<Bytes>, rows: Vec<Row>, array: bool) -> Self {
        let id = match rows.as_slice() {
            [only] if !array => only.id,
            rows => Id::of_rows(rows.iter().map(|row| row.id)),
        };
        Self { lane, id, body, beside, rows, array, target: None, tries: Tries::default(), ticket: None }
    }

    pub fn num_rows(&self) -> usize {
        self.rows.len()
    }

    /// What it counts for in the outlet.
    pub fn num_bytes(&self) -> usize {
        let beside = self.beside.as_ref().map_or(0, Bytes::len);
        let target = self.target.as_ref().map_or(0, |target| target.num_bytes());
        self.body.len() + beside + target + OVERHEAD_BYTES * (1 + self.rows.len())
    }

    /// The rows' own JSON, in order.
    pub fn rows(&self) -> impl Iterator<Item = Bytes> {
        let data = self.beside.as_ref().unwrap_or(&self.body);
        self.rows.iter().map(|row| data.slice(row.data.clone()))
    }

    /// Two requests of half the rows each, to be delivered in this order, with attempts and deadline of their own;
    /// none for a single row.
    pub fn split(&self) -> Option<(Self, Self)> {
        let (first, second) = self.rows.split_at(self.rows.len() / 2);
        if first.is_empty() {
            return None;
        }
        let half = |rows: &[Row]| {
            let mut body = vec![b'['];
            let moved = rows
                .iter()
                .map(|row| {
                    separate(&mut body);
                    let (old, new) = (row.item.start, body.len());
                    body.extend_from_slice(&self.body[row.item.clone()]);
                    let shift = |range: &Range<usize>| range.start - old + new..range.end - old + new;
                    let data = if self.beside.is_some() { row.data.clone() } else { shift(&row.data) };
                    Row { id: row.id, item: shift(&row.item), data }
                })
                .collect();
            body.push(b']');
            Self {
                ticket: self.ticket.clone(),
                ..Self::new(self.lane, body.into(), self.beside.clone(), moved, true)
            }
        };
        Some((half(first), half(second)))
    }
}

/// Puts a comma between the items of an array.
fn separate(body: &mut Vec<u8>) {
    if body.len() > 1 {
        body.push(b',');
    }
}

/// Collects rows into the body of one request.
#[derive(Debug, Default)]
pub(super) struct BodyBuilder {
    body: Vec<u8>,
    beside: Vec<u8>,
    rows: Vec<Row>,
    /// Where the request goes, if not where all go.
    pub target: Option<Arc<Target>>,
    /// When the first row came, by the monotonic clock.
    pub opened_ns: u64,
}

impl BodyBuilder {
    pub fn opened(now_ns: u64) -> Self {
        Self { opened_ns: now_ns, ..Self::default() }
    }

    pub fn num_rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether another row keeps the body within `bytes_max`, its envelope and the array's brackets included.
    pub fn has_room(&self, framing: &Framing, item: &Item<'_>, bytes_max: usize) -> bool {
        let envelope = match &framing.content {
            Content::Json | Content::Template(_) => 0,
            Content::CloudEvents { source, kind } => ENVELOPE_BYTES + source.len() + kind.len(),
        };
        let bytes = item.rendered.map_or(item.json.len(), <[u8]>::len);
        self.body.len() + bytes + envelope + 2 <= bytes_max
    }

    /// Adds a row.
    pub fn push(&mut self, framing: &Framing, item: &Item<'_>) {
        let Item { json, id, .. } = *item;
        if framing.array {
            if self.body.is_empty() {
                self.body.push(b'[');
            }
            separate(&mut self.body);
        }
        let start = self.body.len();
        if let Some(rendered) = item.rendered {
            self.body.extend_from_slice(rendered);
            let data = self.beside.len()..self.beside.len() + json.len();
            self.beside.extend_from_slice(json);
            self.rows.push(Row { id, item: start..self.body.len(), data });
            return;
        }
        if let Content::CloudEvents { source, kind } = &framing.content {
            self.body.extend_from_slice(envelope(source, kind, id, item.time_ms).as_bytes());
        }
        let data = self.body.len()..self.body.len() + json.len();
        self.body.extend_from_slice(json);
        if matches!(framing.content, Content::CloudEvents { .. }) {
            self.body.push(b'}');
        }
        self.rows.push(Row { id, item: start..self.body.len(), data });
    }

    /// The request of the rows so far; the builder is empty again.
    pub fn close(&mut self, framing: &Framing, lane: u64) -> Request {
        let Self { mut body, beside, rows, target, .. } = std::mem::take(self);
        if framing.array {
            body.push(b']');
        }
        let beside = matches!(framing.content, Content::Template(_)).then(|| beside.into());
        Request { target, ..Request::new(lane, body.into(), beside, rows, framing.array) }
    }
}

/// A CloudEvents event up to its data.
fn envelope(source: &str, kind: &str, id: Id, time_ms: i64) -> String {
    let mut text = format!(r#"{{"specversion":"1.0","id":"{id}","source":{source},"type":{kind},"#);
    if let Some(time) = DateTime::from_timestamp_millis(time_ms) {
        // Writing to a string does not fail.
        let _ = write!(text, r#""time":"{}","#, time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    }
    text.push_str(r#""datacontenttype":"application/json","data":"#);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::ids::Ids;

    fn request(framing: &Framing, rows: &[&str]) -> Request {
        let (mut ids, mut builder) = (Ids::new("t", 1), BodyBuilder::default());
        for row in rows {
            let (json, rendered) = (row.as_bytes(), row.replace('a', "bb"));
            let rendered = matches!(framing.content, Content::Template(_)).then_some(rendered.as_bytes());
            builder.push(framing, &Item { json, rendered, id: ids.next(json), time_ms: 1_500 });
        }
        builder.close(framing, 3)
    }

    fn text(request: &Request) -> &str {
        std::str::from_utf8(&request.body).unwrap()
    }

    #[test]
    fn rows_are_found_again_in_every_framing() {
        let rows = [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#];
        let events = Content::CloudEvents { source: r#""/s""#.into(), kind: r#""k""#.into() };
        let template = Template::parse("{}", crate::webhook::template::Syntax::Json, &[]).unwrap();
        for content in [Content::Json, events, Content::Template(template)] {
            let framing = Framing { content, array: true };
            let whole = request(&framing, &rows);
            serde_json::from_slice::<Vec<serde_json::Value>>(&whole.body).unwrap();
            assert!(whole.rows().eq(rows.iter().map(|row| row.as_bytes())));
            let (first, second) = whole.split().unwrap();
            assert_eq!((first.num_rows(), second.num_rows(), second.lane), (1, 2, 3));
            assert!(first.rows().chain(second.rows()).eq(whole.rows()));
            for half in [&first, &second] {
                serde_json::from_slice::<Vec<serde_json::Value>>(&half.body).unwrap();
                assert_ne!(half.id, whole.id);
            }
            assert!(first.split().is_none());
        }
    }

    #[test]
    fn bodies_are_objects_arrays_or_events() {
        let json = Framing { content: Content::Json, array: false };
        assert_eq!(text(&request(&json, &["{}"])), "{}");
        let array = Framing { array: true, ..json };
        assert_eq!(text(&request(&array, &["{}", "{}"])), "[{},{}]");
        let content = Content::CloudEvents { source: r#""/s""#.into(), kind: r#""k""#.into() };
        let event = request(&Framing { content, array: false }, &["{}"]);
        let expected = format!(
            r#"{{"specversion":"1.0","id":"{}","source":"/s","type":"k","time":"1970-01-01T00:00:01.500Z","datacontenttype":"application/json","data":{{}}}}"#,
            event.id
        );
        assert_eq!(text(&event), expected);
    }
}
