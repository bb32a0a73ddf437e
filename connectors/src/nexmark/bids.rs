//! Bids: nearly all of the stream. Half go to a hot auction, three quarters come from a hot bidder, half through one
//! of four channels.
//!
//! nexmark-flink adds the first person's id to a bidder twice; here, as in Beam, bidders are persons.

use arrow_array::ArrayRef;
use arrow_buffer::{NullBuffer, ScalarBuffer};
use millstream_engine::Result;

use super::events::{Field, Frame, Kind, no_field};
use super::{auctions, people};
use crate::generator::{Draws, below};

/// Of so many auctions in a row one is hot.
const HOT_AUCTION_EVERY: i64 = 100;
/// Of so many persons in a row one, the second, is a hot bidder.
const HOT_BIDDER_EVERY: i64 = 100;
/// Bytes of a bid's numbers and time.
const FIXED_BYTES: usize = 32;

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// Channels that are not hot.
const CHANNELS: u64 = 10_000;

pub(super) fn number(frame: &Frame<'_>, name: &str) -> Result<ScalarBuffer<i64>> {
    let tables = frame.tables;
    let kind = Kind::Bid;
    Ok(match name {
        "auction" => {
            let (hot, id) = (tables.draws(Field::BidAuction), tables.draws(Field::BidAuctionId));
            frame.numbers(kind, |event, _| {
                let auction = if hot.below(event.n, tables.config.hot_auction_ratio) > 0 {
                    tables.last_auction(event) / HOT_AUCTION_EVERY * HOT_AUCTION_EVERY
                } else {
                    auctions::open(tables, event, id.at(event.n))
                };
                auction + auctions::FIRST_ID
            })
        }
        "bidder" => {
            let (hot, id) = (tables.draws(Field::BidBidder), tables.draws(Field::BidBidderId));
            frame.numbers(kind, |event, _| {
                let bidder = if hot.below(event.n, tables.config.hot_bidder_ratio) > 0 {
                    tables.last_person(event) / HOT_BIDDER_EVERY * HOT_BIDDER_EVERY + 1
                } else {
                    people::active(tables, event, id.at(event.n))
                };
                bidder + people::FIRST_ID
            })
        }
        "price" => {
            let draws = tables.draws(Field::BidPrice);
            frame.numbers(kind, |event, _| tables.price(draws.unit(event.n)))
        }
        _ => return Err(no_field(name)),
    })
}

pub(super) fn text(frame: &Frame<'_>, name: &str, nulls: &NullBuffer) -> Result<ArrayRef> {
    let tables = frame.tables;
    let kind = Kind::Bid;
    let draws = tables.draws(Field::BidChannel);
    match name {
        "channel" | "url" => {
            let channels = tables.channels();
            let (list, bytes) = if name == "url" { (&channels.urls, 80) } else { (&channels.names, 10) };
            frame.texts(kind, bytes, nulls, |event, texts| texts.add(list.get(pick(draws, event.n))))
        }
        "extra" => {
            let draws = tables.draws(Field::BidExtra);
            frame.texts(kind, tables.config.avg_bytes[kind as usize], nulls, |event, texts| {
                let draw = draws.at(event.n);
                let len = tables.extra_len(kind, FIXED_BYTES, draw.rotate_left(32));
                tables.letters.fill(texts, draw, len);
            })
        }
        _ => Err(no_field(name)),
    }
}

/// Number of a bid's channel: the hot ones come first.
#[inline]
fn pick(draws: Draws, n: u64) -> usize {
    let draw = draws.at(n);
    let hot = HOT_CHANNELS.len();
    if draw & 1 == 1 { below(draw, hot as u64) as usize } else { hot + below(draw, CHANNELS) as usize }
}

/// Names and URLs of all channels.
pub(super) struct Channels {
    names: List,
    urls: List,
}

/// Texts one after the other.
#[derive(Default)]
struct List {
    bytes: String,
    ends: Vec<usize>,
}

impl List {
    fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    #[inline]
    fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

impl Channels {
    pub fn new(draws: Draws) -> Self {
        let (mut names, mut urls) = (List::default(), List::default());
        let hot = HOT_CHANNELS.len() as u64;
        for index in 0..hot + CHANNELS {
            let mut url = base_url(draws, index);
            match index.checked_sub(hot) {
                None => names.push(HOT_CHANNELS[index as usize]),
                Some(number) => {
                    names.push(&format!("channel-{number}"));
                    // One in ten has no channel in its URL.
                    if below(draws.at(u64::MAX - index), 10) > 0 {
                        let id = (number as u32).reverse_bits().cast_signed().unsigned_abs();
                        url.push_str(&format!("&channel_id={id}"));
                    }
                }
            }
            urls.push(&url);
        }
        Self { names, urls }
    }
}

/// A URL with three short parts of letters and underscores.
fn base_url(draws: Draws, index: u64) -> String {
    let part = |part: u64| -> String {
        let at = (index * 3 + part) * 8;
        let letter = |n| match draws.below(n, 13) {
            0 => '_',
            _ => char::from(b'a' + (draws.at(n) % 26) as u8),
        };
        (at..at + 3 + draws.below(at + 7, 2)).map(letter).collect()
    };
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", part(0), part(1), part(2))
}
