//! nexmark-flink's table and views through SQL: pass-through, windows, joins, Top-N, against answers made by hand.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

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

/// The rows of a query over the views; of one that updates, those that its changes come to.
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
        .unwrap_or_else(|error| panic!("{}", error.render("query")));
    Job::start(&program.graph, JobConfig { workers, ..JobConfig::default() }).unwrap().wait().unwrap();
    let text = String::from_utf8(written.lock().clone()).unwrap();
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in text.lines() {
        let (back, row) = match line.strip_prefix("{\"op\":\"") {
            Some(rest) => (rest.starts_with('-'), format!("{{{}", rest.get(4..).unwrap())),
            None => (false, line.to_owned()),
        };
        *rows.entry(row).or_default() += if back { -1 } else { 1 };
    }
    let mut all = Vec::new();
    for (row, times) in rows {
        assert!(times >= 0, "taken back and never given: {row}");
        let row: Value = serde_json::from_str(&row).unwrap();
        all.extend(std::iter::repeat_n(row, times as usize));
    }
    all.sort_by_cached_key(ToString::to_string);
    all
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

fn int(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap()
}

/// Each auction with its bids that came while it was open.
fn auctions_with_bids() -> Vec<(Value, Vec<Value>)> {
    let bids = run("SELECT auction, bidder, price, `dateTime` FROM bid", 1);
    let auctions = run("SELECT id, seller, category, `dateTime`, expires FROM auction", 1);
    let of = |auction: &Value| {
        let open = time_ms(&auction["dateTime"])..=time_ms(&auction["expires"]);
        let mine =
            |bid: &&Value| bid["auction"] == auction["id"] && open.contains(&time_ms(&bid["dateTime"]));
        bids.iter().filter(mine).cloned().collect::<Vec<_>>()
    };
    auctions.iter().map(|auction| (auction.clone(), of(auction))).collect()
}

#[test]
fn the_mean_of_winning_prices_follows_every_bid() {
    let mut prices: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (auction, bids) in auctions_with_bids() {
        if let Some(most) = bids.iter().map(|bid| int(bid, "price")).max() {
            prices.entry(int(&auction, "category")).or_default().push(most);
        }
    }
    let mean = |prices: Vec<i64>| prices.iter().sum::<i64>() / prices.len() as i64;
    let expected: BTreeMap<i64, i64> =
        prices.into_iter().map(|(category, prices)| (category, mean(prices))).collect();
    for workers in [1, 2, 3] {
        let rows = run(
            "SELECT category, AVG(winning) AS mean FROM (
                 SELECT MAX(price) AS winning, a.category
                 FROM auction a, bid b
                 WHERE a.id = b.auction AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires
                 GROUP BY a.id, a.category)
             GROUP BY category",
            workers,
        );
        let found: BTreeMap<i64, i64> =
            rows.iter().map(|row| (int(row, "category"), int(row, "mean"))).collect();
        assert_eq!(found, expected, "{workers} workers");
    }
}

#[test]
fn the_first_bids_of_each_auction_are_its_highest() {
    let mut expected: Vec<(i64, i64, i64)> = Vec::new();
    for (auction, bids) in auctions_with_bids() {
        let mut prices: Vec<i64> = bids.iter().map(|bid| int(bid, "price")).collect();
        prices.sort_unstable_by(|one, other| other.cmp(one));
        expected.extend((1..).zip(prices).take(3).map(|(place, price)| (int(&auction, "id"), place, price)));
    }
    expected.sort_unstable();
    for workers in [1, 2, 3] {
        let rows = run(
            "SELECT id, price, place FROM (
                 SELECT a.id, b.price, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC) AS place
                 FROM auction a JOIN bid b ON a.id = b.auction
                 WHERE b.`dateTime` BETWEEN a.`dateTime` AND a.expires)
             WHERE place <= 3",
            workers,
        );
        let mut found: Vec<_> =
            rows.iter().map(|row| (int(row, "id"), int(row, "place"), int(row, "price"))).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{workers} workers");
    }
}

#[test]
fn windows_of_two_streams_meet() {
    let window = |row: &Value| time_ms(&row["dateTime"]).div_euclid(10_000);
    let people = run("SELECT id, `dateTime` FROM person", 1);
    let sellers: std::collections::BTreeSet<(i64, i64)> = run("SELECT seller, `dateTime` FROM auction", 1)
        .iter()
        .map(|row| (int(row, "seller"), window(row)))
        .collect();
    let mut expected: Vec<(i64, i64)> =
        people.iter().map(|row| (int(row, "id"), window(row))).filter(|row| sellers.contains(row)).collect();
    expected.sort_unstable();
    assert!(!expected.is_empty());
    for workers in [1, 2, 3] {
        let rows = run(
            "SELECT p.id, p.window_start FROM
                 (SELECT id, window_start, window_end FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(`dateTime`),
                      INTERVAL '10' SECOND)) GROUP BY id, window_start, window_end) p
             JOIN (SELECT seller, window_start, window_end FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`),
                      INTERVAL '10' SECOND)) GROUP BY seller, window_start, window_end) a
             ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end",
            workers,
        );
        let start = |row: &Value| time_ms(&row["window_start"]).div_euclid(10_000);
        let mut found: Vec<(i64, i64)> = rows.iter().map(|row| (int(row, "id"), start(row))).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{workers} workers");
    }
}

/// nexmark-flink's four pattern queries, without their sinks.
const PATTERNS: [&str; 4] = [
    "SELECT auction, bidder, start_tstamp, bottom_tstamp, end_tstamp FROM bid MATCH_RECOGNIZE (
        PARTITION BY auction, bidder ORDER BY `dateTime`
        MEASURES START_ROW.`dateTime` AS start_tstamp, LAST(PRICE_DOWN.`dateTime`) AS bottom_tstamp,
            LAST(PRICE_UP.`dateTime`) AS end_tstamp
        ONE ROW PER MATCH AFTER MATCH SKIP TO LAST PRICE_UP
        PATTERN (START_ROW PRICE_DOWN+ PRICE_UP)
        DEFINE PRICE_DOWN AS (LAST(PRICE_DOWN.price, 1) IS NULL AND PRICE_DOWN.price < START_ROW.price) OR
                PRICE_DOWN.price < LAST(PRICE_DOWN.price, 1),
            PRICE_UP AS PRICE_UP.price > LAST(PRICE_DOWN.price, 1))",
    "SELECT auction, bidder, start_tstamp, end_tstamp, avg_price FROM bid MATCH_RECOGNIZE (
        PARTITION BY auction, bidder ORDER BY `dateTime`
        MEASURES FIRST(A.`dateTime`) AS start_tstamp, LAST(A.`dateTime`) AS end_tstamp, AVG(A.price) AS avg_price
        ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS AVG(A.price) < 10000)",
    "SELECT auction, bidder, start_tstamp, end_tstamp, avg_price FROM bid MATCH_RECOGNIZE (
        PARTITION BY auction, bidder ORDER BY `dateTime`
        MEASURES FIRST(A.`dateTime`) AS start_tstamp, LAST(A.`dateTime`) AS end_tstamp, AVG(A.price) AS avg_price
        ONE ROW PER MATCH AFTER MATCH SKIP TO NEXT ROW PATTERN (A+ B) DEFINE A AS AVG(A.price) < 10000)",
    "SELECT auction, bidder, drop_time, drop_diff FROM bid MATCH_RECOGNIZE (
        PARTITION BY auction, bidder ORDER BY `dateTime`
        MEASURES C.`dateTime` AS drop_time, A.price - C.price AS drop_diff
        ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) WITHIN INTERVAL '5' SECOND
        DEFINE B AS B.price > A.price - 50, C AS C.price < A.price - 50)",
];

/// Falls of a price worked out by hand, and each pattern the same for one worker and for two.
#[test]
fn patterns_find_the_runs_of_bids() {
    let falls = run(
        &format!(
            "SELECT auction, bidder, drop_time, drop_diff FROM ({}) AS m",
            PATTERNS[3]
                .replace("(A B* C)", "(A C)")
                .replace("B AS B.price > A.price - 50, ", "")
                .replace("ORDER BY `dateTime`", "ORDER BY `dateTime`, price")
        ),
        2,
    );
    let mut bids: BTreeMap<(i64, i64), Vec<(i64, i64)>> = BTreeMap::new();
    for bid in run("SELECT auction, bidder, price, `dateTime` FROM bid", 1) {
        let int = |name: &str| bid[name].as_i64().unwrap();
        let own = bids.entry((int("auction"), int("bidder"))).or_default();
        own.push((time_ms(&bid["dateTime"]), int("price")));
    }
    let mut expected = 0;
    for own in bids.values_mut() {
        own.sort_unstable();
        let mut at = 0;
        while at + 1 < own.len() {
            let is_fall = own[at + 1].1 < own[at].1 - 50 && own[at + 1].0 - own[at].0 < 5_000;
            expected += usize::from(is_fall);
            at += if is_fall { 2 } else { 1 };
        }
    }
    assert!(expected > 0);
    assert_eq!(falls.len(), expected);
    for pattern in PATTERNS {
        let one = run(pattern, 1);
        assert!(one == run(pattern, 2), "{pattern}");
    }
}
