//! Events per second from `nexmark` to `blackhole`, through SQL, for a pass-through and a windowed count.
//!
//! `cargo bench --bench nexmark -- --events 20000000 --workers 2 --runs 5 [--query q0|hop|generate] [--whole]`
//!
//! Each query runs `--runs` times; the median counts, since other work on the machine only ever makes a run slower.
//! `--whole` turns the projection into the generator off, so that all columns of all three kinds are made.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::time::Instant;

use millstream::Pipeline;

/// The command's allocator, so that this measures what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The table of nexmark-flink, with views as it has them.
const TABLES: &str = "
CREATE TABLE datagen (
    event_type INT,
    person ROW<id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR,
        `dateTime` TIMESTAMP(3), extra VARCHAR>,
    auction ROW<id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT,
        `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3),
        extra VARCHAR>,
    `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime` WHEN event_type = 1 THEN auction.`dateTime`
        ELSE bid.`dateTime` END,
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'first-event.rate' = '10000000', 'next-event.rate' = '10000000',
    'events.num' = '${EVENTS_NUM}', 'projection.push-down' = '${PUSH_DOWN}');
CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM datagen WHERE event_type = 2;
";

const QUERIES: [(&str, &str); 3] = [
    (
        "generate",
        "CREATE TABLE nothing (event_type INT) WITH ('connector' = 'blackhole');
         INSERT INTO nothing SELECT event_type FROM datagen",
    ),
    (
        "q0",
        "CREATE TABLE q0 (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra VARCHAR)
         WITH ('connector' = 'blackhole');
         INSERT INTO q0 SELECT auction, bidder, price, `dateTime`, extra FROM bid",
    ),
    (
        "hop",
        "CREATE TABLE counts (auction BIGINT, num BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3))
         WITH ('connector' = 'blackhole');
         INSERT INTO counts SELECT auction, COUNT(*), window_start, window_end
         FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
         GROUP BY auction, window_start, window_end",
    ),
];

struct Settings {
    events: u64,
    workers: usize,
    runs: usize,
    query: Option<String>,
    whole: bool,
}

impl Settings {
    fn from_arguments() -> Self {
        let mut settings = Self { events: 20_000_000, workers: 2, runs: 5, query: None, whole: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                "--events" => settings.events = value().parse().expect("--events takes a number"),
                "--workers" => settings.workers = value().parse().expect("--workers takes a number"),
                "--runs" => settings.runs = value().parse().expect("--runs takes a number"),
                "--query" => settings.query = Some(value()),
                "--whole" => settings.whole = true,
                // Cargo says so when it runs benches.
                "--bench" => {}
                other => panic!(
                    "unknown argument {other}; there are --events, --workers, --runs, --query, --whole"
                ),
            }
        }
        settings
    }
}

/// Seconds that one run takes.
fn seconds(query: &str, settings: &Settings) -> f64 {
    let (events, push_down) = (settings.events.to_string(), (!settings.whole).to_string());
    let builder = Pipeline::builder().workers(settings.workers).sql(format!("{TABLES}\n{query}")).variables(
        move |name| match name {
            "EVENTS_NUM" => Some(events.clone()),
            "PUSH_DOWN" => Some(push_down.clone()),
            _ => None,
        },
    );
    let started = Instant::now();
    builder.start().unwrap().wait().unwrap();
    started.elapsed().as_secs_f64()
}

fn main() {
    let settings = Settings::from_arguments();
    for (name, query) in QUERIES {
        if settings.query.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let mut times: Vec<f64> = (0..settings.runs.max(1)).map(|_| seconds(query, &settings)).collect();
        times.sort_by(f64::total_cmp);
        let rate = |time: f64| settings.events as f64 / time / 1e6;
        println!(
            "{name:>8}: {:.2} M events/s (median of {}; {:.2} to {:.2}), {} workers, {} events{}",
            rate(times[times.len() / 2]),
            times.len(),
            rate(times[times.len() - 1]),
            rate(times[0]),
            settings.workers,
            settings.events,
            if settings.whole { ", all columns made" } else { "" },
        );
    }
}
