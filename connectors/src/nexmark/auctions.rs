//! Auctions: what is sold.

use arrow_array::ArrayRef;
use arrow_buffer::{NullBuffer, ScalarBuffer};
use millstream_engine::Result;

use super::events::{Event, Field, Frame, Kind, Tables, no_field};
use super::people;
use crate::generator::{Draws, below};

/// The id of auction 0.
pub(super) const FIRST_ID: i64 = 1_000;
const FIRST_CATEGORY: i64 = 10;
const CATEGORIES: u64 = 5;
/// Auctions that are open at a time, on average.
const IN_FLIGHT: i64 = 100;
/// Auctions that are referred to before they are created.
const LEAD: i64 = 10;
/// Of so many persons in a row one is a hot seller.
const HOT_SELLER_EVERY: i64 = 100;
/// Bytes of an auction's numbers and times.
const FIXED_BYTES: usize = 48;

/// Number of an auction that is open when `event` happens, chosen by `draw`; a few do not exist yet.
#[inline]
pub(super) fn open(tables: &Tables, event: Event, draw: u64) -> i64 {
    let last = tables.last_auction(event);
    let first = (last - IN_FLIGHT).max(0);
    first + below(draw, (last - first + 1 + LEAD) as u64) as i64
}

/// When each auction ends: so that about [`IN_FLIGHT`] are open at a time.
pub(super) fn expires(frame: &Frame<'_>) -> ScalarBuffer<i64> {
    let draws = frame.tables.draws(Field::AuctionExpires);
    let [persons, auctions, bids] = frame.tables.config.proportions;
    let ahead = IN_FLIGHT as u64 * (persons + auctions + bids) / auctions.max(1);
    let schedule = &frame.plan.schedule;
    frame.numbers(Kind::Auction, |event, row| {
        let horizon_ms = schedule.time_ms(event.n.saturating_add(ahead)) - schedule.time_ms(event.n);
        frame.time_ms(row) + 1 + draws.below(event.n, (2 * horizon_ms).max(1)) as i64
    })
}

pub(super) fn number(frame: &Frame<'_>, name: &str) -> Result<ScalarBuffer<i64>> {
    let tables = frame.tables;
    let kind = Kind::Auction;
    let initial = tables.draws(Field::AuctionInitialBid);
    Ok(match name {
        "id" => frame.numbers(kind, |event, _| tables.last_auction(event) + FIRST_ID),
        "initialBid" => frame.numbers(kind, |event, _| tables.price(initial.unit(event.n))),
        "reserve" => {
            let above = tables.draws(Field::AuctionReserve);
            frame.numbers(kind, |event, _| {
                tables.price(initial.unit(event.n)) + tables.price(above.unit(event.n))
            })
        }
        "seller" => {
            let (hot, id) = (tables.draws(Field::AuctionSeller), tables.draws(Field::AuctionSellerId));
            frame.numbers(kind, |event, _| {
                let seller = if hot.below(event.n, tables.config.hot_seller_ratio) > 0 {
                    tables.last_person(event) / HOT_SELLER_EVERY * HOT_SELLER_EVERY
                } else {
                    people::active(tables, event, id.at(event.n))
                };
                seller + people::FIRST_ID
            })
        }
        "category" => {
            let draws = tables.draws(Field::AuctionCategory);
            frame.numbers(kind, |event, _| FIRST_CATEGORY + draws.below(event.n, CATEGORIES) as i64)
        }
        _ => return Err(no_field(name)),
    })
}

/// Words of 3 to `max - 1` letters.
fn words(tables: &Tables, draws: Draws, n: u64, max: u64) -> &str {
    let draw = draws.at(n);
    tables.words.slice(draw, 3 + below(draw.rotate_left(32), max - 3) as usize).trim_ascii()
}

pub(super) fn text(frame: &Frame<'_>, name: &str, nulls: &NullBuffer) -> Result<ArrayRef> {
    let tables = frame.tables;
    let kind = Kind::Auction;
    let (names, descriptions) = (tables.draws(Field::AuctionName), tables.draws(Field::AuctionDescription));
    let item = |event: Event| words(tables, names, event.n, 20);
    let description = |event: Event| words(tables, descriptions, event.n, 100);
    match name {
        "itemName" => frame.texts(kind, 12, nulls, |event, texts| texts.add(item(event))),
        "description" => frame.texts(kind, 52, nulls, |event, texts| texts.add(description(event))),
        "extra" => {
            let draws = tables.draws(Field::AuctionExtra);
            frame.texts(kind, tables.config.avg_bytes[kind as usize], nulls, |event, texts| {
                let bytes = FIXED_BYTES + item(event).len() + description(event).len();
                let draw = draws.at(event.n);
                tables.letters.fill(texts, draw, tables.extra_len(kind, bytes, draw.rotate_left(32)));
            })
        }
        _ => Err(no_field(name)),
    }
}
