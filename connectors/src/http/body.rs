//! Reads a request's body, out of its coding if it has one, within the table's limits.
//!
//! Invariants: every byte that is kept has room in the inlet, taken before more is read, so that all bodies together stay
//! within 'inlet.max-bytes'; no body is larger than 'body.max-bytes', before or after decompression. Inflating gives way
//! to other requests every so often, because all of them share the I/O thread.

use std::io::{ErrorKind, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use millstream_engine::io::Room;

use super::ingest::Refusal;

/// Bytes a request takes in the inlet beside its body, so that many small ones are bounded too.
const REQUEST_BYTES: usize = 1 << 10;
/// How much is inflated at a time.
const STEP_BYTES: usize = 64 << 10;
/// Steps of inflating between which others have their turn.
const STEPS_A_TURN: usize = 4;
/// The largest window of zstd that is given memory for, as a power of two: 8 MiB, what its standard asks for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Memory that hyper says a body's length may be believed for.
const CAPACITY_MAX: usize = 1 << 20;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

impl Coding {
    /// What the headers say.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut given = headers.get_all("content-encoding").iter();
        let first = given.next().map(HeaderValue::as_bytes).unwrap_or_default().trim_ascii();
        if given.next().is_none() {
            match first.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => return Ok(Self::Plain),
                b"gzip" | b"x-gzip" => return Ok(Self::Gzip),
                b"zstd" => return Ok(Self::Zstd),
                _ => {}
            }
        }
        let shown = String::from_utf8_lossy(first);
        let what = format!("Content-Encoding '{shown}' is not supported: send gzip, zstd or none");
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what)
            .with(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd")))
    }
}

/// Bytes of the inlet that a body of this length needs to begin with.
pub(super) fn bytes_to_begin(body: &Incoming) -> usize {
    REQUEST_BYTES + usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// What a body may take.
pub(super) struct Limits<'a> {
    pub bytes_max: usize,
    /// Room in the inlet, which grows with the body.
    pub room: &'a mut Room,
}

impl Limits<'_> {
    /// Whether `bytes` may be kept in all.
    fn allow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.bytes_max {
            return Err(Refusal::too_large(self.bytes_max));
        }
        if !self.room.try_grow(bytes.saturating_add(REQUEST_BYTES)) {
            return Err(Refusal::busy());
        }
        Ok(())
    }
}

/// Reads all of `body`, decompressed.
pub(super) async fn read(
    body: &mut Incoming,
    coding: Coding,
    mut limits: Limits<'_>,
) -> Result<Bytes, Refusal> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut read = Vec::with_capacity(expected.min(CAPACITY_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::broken(&error))?;
        if let Some(data) = frame.data_ref() {
            limits.allow(read.len().saturating_add(data.len()))?;
            read.extend_from_slice(data);
        }
    }
    let inflated = match coding {
        Coding::Plain => read,
        // A sender that has nothing to say may say so without a header of gzip's.
        _ if read.is_empty() => read,
        Coding::Gzip => inflate(MultiGzDecoder::new(read.as_slice()), read.len(), limits).await?,
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(read.as_slice())
                .map_err(|error| undecodable(&error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| undecodable(&error))?;
            inflate(decoder, read.len(), limits).await?
        }
    };
    Ok(inflated.into())
}

/// All that `reader` gives; `kept` bytes beside it are kept meanwhile.
async fn inflate(mut reader: impl Read, kept: usize, limits: Limits<'_>) -> Result<Vec<u8>, Refusal> {
    let (mut out, mut steps) = (Vec::new(), 0);
    loop {
        let before = out.len();
        // One byte more than may be, so that the limit itself is seen to be passed.
        let step = STEP_BYTES.min(limits.bytes_max.saturating_sub(before).saturating_add(1));
        out.resize(before + step, 0);
        let more = loop {
            match reader.read(&mut out[before..]) {
                Ok(more) => break more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(undecodable(&error)),
            }
        };
        out.truncate(before + more);
        if more == 0 {
            return Ok(out);
        }
        if out.len() > limits.bytes_max {
            return Err(Refusal::too_large(limits.bytes_max));
        }
        if !limits.room.try_grow(out.len().saturating_add(kept).saturating_add(REQUEST_BYTES)) {
            return Err(Refusal::busy());
        }
        steps += 1;
        if steps % STEPS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn undecodable(error: &std::io::Error) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not what its Content-Encoding says: {error}"))
}

/// Reads on, up to `bytes_max`, so that a sender that is still sending gets to see its answer.
pub(super) async fn discard(body: &mut Incoming, bytes_max: usize) {
    let mut seen = 0;
    while seen < bytes_max {
        match body.frame().await {
            Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}
