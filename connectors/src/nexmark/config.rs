//! The options: nexmark-flink's under its names and defaults, and ours.
//!
//! As there, events come as fast as they are taken unless `'max-emit-speed' = 'false'` (or `'rate.limited' = 'true'`);
//! the rates then still say how far apart event times are.

use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Error, Result};

use crate::generator::{BaseTime, OutOfOrder, Plan, RateShape, Schedule};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("first-event.rate", "integer", "10000", "Events a second of event time, at first."),
    OptionSpec::new(
        "next-event.rate",
        "integer",
        "first-event.rate",
        "The rate at the other end of 'rate.shape'.",
    ),
    OptionSpec::new("rate.shape", "square | sine", "square", "How the rate moves between its two ends."),
    OptionSpec::new(
        "rate.period",
        "duration",
        "600 s",
        "How long the rate takes to move once there and back.",
    ),
    OptionSpec::new(
        "rate.limited",
        "boolean",
        "false",
        "Give out events at their time, as 'max-emit-speed' = 'false' does.",
    ),
    OptionSpec::new("max-emit-speed", "boolean", "true", "Give out events as fast as they are taken."),
    OptionSpec::new("events.num", "integer", "0", "How many events there are; 0 for no end."),
    OptionSpec::new("stop-at", "integer", "-1", "End at this event, if it is not negative."),
    OptionSpec::new("keep-alive", "boolean", "false", "Wait after the last event instead of ending."),
    OptionSpec::new("person.proportion", "integer", "1", "Persons in each cycle of events."),
    OptionSpec::new("auction.proportion", "integer", "3", "Auctions in each cycle of events."),
    OptionSpec::new("bid.proportion", "integer", "46", "Bids in each cycle of events."),
    OptionSpec::new(
        "person.avg-size",
        "size",
        "200b",
        "Average size of a person, filled up by 'extra'; at most 16 kb.",
    ),
    OptionSpec::new("auction.avg-size", "size", "500b", "Average size of an auction; at most 16 kb."),
    OptionSpec::new("bid.avg-size", "size", "100b", "Average size of a bid; at most 16 kb."),
    OptionSpec::new(
        "bid.hot-ratio.auctions",
        "integer",
        "2",
        "One in so many bids is not for a hot auction.",
    ),
    OptionSpec::new("bid.hot-ratio.bidders", "integer", "4", "One in so many bids is not by a hot bidder."),
    OptionSpec::new(
        "auction.hot-ratio.sellers",
        "integer",
        "4",
        "One in so many auctions is not by a hot seller.",
    ),
    OptionSpec::new("seed", "integer", "0", "Chooses another stream of events."),
    OptionSpec::new(
        "base-time",
        "now | time | integer",
        "2015-07-15T00:00:00, or now where events come at their time",
        "Event time of the first event: a UTC time, ms since 1970, or the clock at the start.",
    ),
    OptionSpec::new("out-of-order", "number", "0", "Share of events that come late: '0.05' or '5 %'."),
    OptionSpec::new("out-of-order.max", "duration", "3 s", "How late they come at most."),
    OptionSpec::new(
        "projection.push-down",
        "boolean",
        "true",
        "Make only the columns and fields that are read.",
    ),
];

/// Beam's base time: a fixed one, so that every run gives the same events.
const BASE_TIME_MS: i64 = 1_436_918_400_000;
/// Keeps a batch of rows far below the 2 GiB of a text column.
const AVG_SIZE_BYTES_MAX: usize = 16 << 10;
/// Proportions up to this keep ids far from overflow.
const PROPORTION_MAX: u64 = 1_000_000;

/// What decides an event's content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub seed: u64,
    /// Persons, auctions and bids in a cycle.
    pub proportions: [u64; 3],
    /// Average sizes of persons, auctions and bids, in bytes.
    pub avg_bytes: [usize; 3],
    pub hot_auction_ratio: u64,
    pub hot_bidder_ratio: u64,
    pub hot_seller_ratio: u64,
    pub out_of_order: OutOfOrder,
}

impl Config {
    pub fn from_options(options: &Options) -> Result<(Self, Plan)> {
        let proportion = |key, default| {
            at_least(options, key, 0, default).and_then(|value| match value {
                ..=PROPORTION_MAX => Ok(value),
                _ => Err(options.invalid(key, "an integer of at most 1000000")),
            })
        };
        let proportions = [
            proportion("person.proportion", 1)?,
            proportion("auction.proportion", 3)?,
            proportion("bid.proportion", 46)?,
        ];
        if proportions == [0; 3] {
            return Err(Error::config("all three proportions are 0, so there are no events")
                .at(options.owner())
                .remedy(
                    "give 'person.proportion', 'auction.proportion' or 'bid.proportion' a value above 0",
                ));
        }
        let size = |key, default| match options.size_bytes(key)? {
            None => Ok(default),
            Some(bytes) if bytes <= AVG_SIZE_BYTES_MAX => Ok(bytes),
            Some(_) => Err(options.invalid(key, "a size of at most 16 kb")),
        };
        let config = Self {
            seed: at_least(options, "seed", 0, 0)?,
            proportions,
            avg_bytes: [
                size("person.avg-size", 200)?,
                size("auction.avg-size", 500)?,
                size("bid.avg-size", 100)?,
            ],
            hot_auction_ratio: at_least(options, "bid.hot-ratio.auctions", 1, 2)?,
            hot_bidder_ratio: at_least(options, "bid.hot-ratio.bidders", 1, 4)?,
            hot_seller_ratio: at_least(options, "auction.hot-ratio.sellers", 1, 4)?,
            out_of_order: OutOfOrder::from_options(options, 3_000)?,
        };
        Ok((config, plan(options)?))
    }
}

fn plan(options: &Options) -> Result<Plan> {
    let first_rate = at_least(options, "first-event.rate", 1, 10_000)?;
    let next_rate = at_least(options, "next-event.rate", 1, first_rate)?;
    let shape = options.choice("rate.shape", &[("square", RateShape::Square), ("sine", RateShape::Sine)])?;
    let period_s =
        options.duration_ms("rate.period")?.unwrap_or(600_000).unsigned_abs().div_ceil(1_000).max(1);
    let schedule = Schedule::shaped(shape.unwrap_or(RateShape::Square), first_rate, next_rate, period_s);
    let limited = options.bool("rate.limited")?.unwrap_or(false);
    let paced = limited || !options.bool("max-emit-speed")?.unwrap_or(true);
    let events = match at_least(options, "events.num", 0, 0)? {
        0 => u64::MAX,
        events => events,
    };
    let stop_at = options.parse::<i64>("stop-at", "an integer, negative for none")?.unwrap_or(-1);
    let events = u64::try_from(stop_at).map_or(events, |stop| events.min(stop));
    let base = BaseTime::from_options(options)?;
    let base = base.unwrap_or(if paced { BaseTime::Now } else { BaseTime::At(BASE_TIME_MS) });
    let keep_alive = options.bool("keep-alive")?.unwrap_or(false);
    Ok(Plan::new(schedule, paced, base, events, keep_alive))
}

/// An integer of at least `min`.
fn at_least(options: &Options, key: &str, min: u64, default: u64) -> Result<u64> {
    let wanted = format!("an integer of at least {min}");
    match options.parse::<u64>(key, &wanted)? {
        Some(value) if value < min => Err(options.invalid(key, &wanted)),
        value => Ok(value.unwrap_or(default)),
    }
}
