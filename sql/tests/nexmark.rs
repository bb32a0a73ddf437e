//! nexmark-flink's table and views through SQL: a pass-through, and a windowed count against one made by hand.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDateTime;
use millstream_connectors::print::JsonLines;
use millstream_engine::{Job, JobConfig, SinkProvider};
use millstream_sql::{CompileOptions, compile};
use parking_lot::Mutex;
use serde_json::Value;

/// The declaration, with variables where nexmark-flink's has them.
const TABLES: &str = "
CREATE TABLE datagen (
    event_type int,
    person ROW<id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR,
        `dateTime` TIMESTAMP(3), extra VARCHAR>,
    auction ROW<id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT,
        `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3),
        extra VARCHAR>,
    `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime` WHEN event_type = 1 THEN auction.`dateTime`
        ELSE bid.`dateTime` END,
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'first-event.rate' = '${TPS}', 'next-event.rate' = '${TPS}',
    'events.num' = '${EVENTS_NUM}', 'out-of-order' = '0.1');
CREATE VIEW person AS SELECT person.id, person.name, person.emailAddress, person.creditCard, person.city,
    person.state, `dateTime`, person.extra FROM ${NEXMARK_TABLE} WHERE event_type = 0;
CREATE VIEW auction AS SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve,
    `dateTime`, auction.expires, auction.seller, auction.category, auction.extra
    FROM ${NEXMARK_TABLE} WHERE event_type = 1;
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
    FROM ${NEXMARK_TABLE} WHERE event_type = 2;
";

const EVENTS: u64 = 10_000;

/// The rows of a query over the views.
fn run(query: &str, workers: usize) -> Vec<Value> {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&written);
    let options = CompileOptions {
        workers,
        variables: Arc::new(|name| match name {
            "TPS" => Some("1000".into()),
            "EVENTS_NUM" => Some(EVENTS.to_string()),
            "NEXMARK_TABLE" => Some("datagen".into()),
            _ => None,
        }),
        results: Some(Arc::new(move |_| {
            Arc::new(JsonLines { writer: Arc::clone(&writer) as _, prefix: String::new() })
                as Arc<dyn SinkProvider>
        })),
        ..CompileOptions::default()
    };
    let registry = millstream_connectors::registry();
    let program = compile(&format!("{TABLES}{query}"), &registry, &options)
        .map_err(|error| error.render("query"))
        .unwrap();
    let job = Job::start(&program.graph, JobConfig { workers, ..JobConfig::default() }).unwrap();
    job.wait().unwrap();
    let text = String::from_utf8(written.lock().clone()).unwrap();
    let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.sort_by_cached_key(ToString::to_string);
    rows
}

fn time_ms(value: &Value) -> i64 {
    let time = NaiveDateTime::parse_from_str(value.as_str().unwrap(), "%Y-%m-%dT%H:%M:%S%.f").unwrap();
    time.and_utc().timestamp_millis()
}

#[test]
fn views_pass_their_events_through() {
    let bids = run("SELECT auction, bidder, price, `dateTime`, extra FROM bid", 1);
    assert_eq!(bids.len() as u64, EVENTS / 50 * 46);
    assert!(
        bids.iter().all(|bid| bid.as_object().unwrap().values().all(|value| !value.is_null())),
        "{}",
        bids[0]
    );
    assert!(run("SELECT auction, bidder, price, `dateTime`, extra FROM bid", 2) == bids);
    let people =
        run("SELECT id, name, emailAddress, creditCard, city, state, `dateTime`, extra FROM person", 2);
    assert_eq!(people.len() as u64, EVENTS / 50);
    assert!(
        people.iter().all(|row| row.as_object().unwrap().values().all(|value| !value.is_null())),
        "{}",
        people[0]
    );
    let auctions = run("SELECT * FROM auction", 2);
    assert_eq!(auctions.len() as u64, EVENTS / 50 * 3);
    assert!(
        auctions.iter().all(|row| row.as_object().unwrap().values().all(|value| !value.is_null())),
        "{}",
        auctions[0]
    );
}

/// The delays stay below the watermark's, so no row is late and the count is that of all rows.
#[test]
fn bids_are_counted_in_hopping_windows() {
    let mut expected: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for bid in run("SELECT auction, `dateTime` FROM bid", 1) {
        let last_start = time_ms(&bid["dateTime"]).div_euclid(2_000) * 2_000;
        for start in (0..5).map(|slides| last_start - slides * 2_000) {
            *expected.entry((bid["auction"].as_i64().unwrap(), start)).or_default() += 1;
        }
    }
    for workers in [1, 2, 3] {
        let counts = run(
            "SELECT auction, COUNT(*) AS num, window_start, window_end
             FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
             GROUP BY auction, window_start, window_end",
            workers,
        );
        let found: BTreeMap<(i64, i64), i64> = counts
            .iter()
            .map(|row| {
                assert_eq!(time_ms(&row["window_end"]) - time_ms(&row["window_start"]), 10_000);
                (
                    (row["auction"].as_i64().unwrap(), time_ms(&row["window_start"])),
                    row["num"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(found.len(), counts.len());
        assert!(found == expected, "{workers} workers: {} of {} windows", found.len(), expected.len());
    }
}
