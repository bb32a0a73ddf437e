//! The stream as a whole: the same for any number of workers, in its proportions, at its times, and after a restore.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use millstream_engine::state::MemoryStateStore;
use millstream_engine::{JobConfig, ManualClock, Table};

use super::{Nexmark, columns};
use crate::generator::testing::{error, lines, rows, start, table};

fn nexmark(options: &[(&str, &str)]) -> Table {
    table(columns().to_vec(), &[&[("connector", "nexmark")], options].concat())
}

fn all(options: &[(&str, &str)]) -> RecordBatch {
    let table = nexmark(options);
    rows(&Nexmark, &table, &table.schema, 1, 4096)
}

fn row<'a>(rows: &'a RecordBatch, name: &str) -> &'a StructArray {
    rows.column_by_name(name).unwrap().as_struct()
}

/// The numbers of a field, of rows that have it.
fn numbers(rows: &RecordBatch, kind: &str, field: &str) -> Vec<i64> {
    row(rows, kind).column_by_name(field).unwrap().as_primitive::<Int64Type>().iter().flatten().collect()
}

fn times(rows: &RecordBatch, kind: &str, field: &str) -> Vec<i64> {
    let column = row(rows, kind).column_by_name(field).unwrap().as_primitive::<TimestampMillisecondType>();
    column.iter().flatten().collect()
}

fn texts(rows: &RecordBatch, kind: &str, field: &str) -> Vec<String> {
    row(rows, kind)
        .column_by_name(field)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect()
}

#[test]
fn workers_and_batch_sizes_change_nothing() {
    let table = nexmark(&[("events.num", "9999"), ("seed", "7"), ("out-of-order", "10 %")]);
    let expected = lines(&rows(&Nexmark, &table, &table.schema, 1, 4096));
    assert_eq!(expected.len(), 9_999);
    for (workers, batch) in [(1, 7), (2, 4096), (3, 1_000), (4, 1)] {
        assert!(
            lines(&rows(&Nexmark, &table, &table.schema, workers, batch)) == expected,
            "{workers} workers, {batch} rows"
        );
    }
    assert!(lines(&all(&[("events.num", "9999"), ("seed", "8")])) != expected);
}

#[test]
fn a_field_is_the_same_whichever_others_are_made() {
    let table = nexmark(&[("events.num", "3000")]);
    let whole = rows(&Nexmark, &table, &table.schema, 1, 4096);
    let undone = nexmark(&[("events.num", "3000"), ("projection.push-down", "false")]);
    for column in columns() {
        let DataType::Struct(fields) = column.data_type() else { continue };
        for field in fields {
            let only = Field::new(column.name(), DataType::Struct(vec![field.as_ref().clone()].into()), true);
            let schema: SchemaRef = Arc::new(Schema::new(vec![only]));
            let expected = millstream_engine::prune(&whole, &schema).unwrap();
            assert_eq!(
                rows(&Nexmark, &table, &schema, 1, 4096),
                expected,
                "{}.{}",
                column.name(),
                field.name()
            );
            assert_eq!(
                rows(&Nexmark, &undone, &schema, 1, 4096),
                expected,
                "{}.{}",
                column.name(),
                field.name()
            );
        }
    }
}

#[test]
fn events_have_their_proportions_and_refer_to_each_other() {
    let rows = all(&[("events.num", "50000")]);
    let types = rows.column(0).as_primitive::<Int32Type>();
    let count = |kind: i32| types.values().iter().filter(|found| **found == kind).count();
    assert_eq!([count(0), count(1), count(2)], [1_000, 3_000, 46_000]);
    for (kind, name) in [(0, "person"), (1, "auction"), (2, "bid")] {
        let row = row(&rows, name);
        assert!((0..rows.num_rows()).all(|at| row.is_valid(at) == (types.value(at) == kind)), "{name}");
    }
    assert_eq!(numbers(&rows, "person", "id"), (1_000..2_000).collect::<Vec<_>>());
    assert_eq!(numbers(&rows, "auction", "id"), (1_000..4_000).collect::<Vec<_>>());
    let (bids, bidders) = (numbers(&rows, "bid", "auction"), numbers(&rows, "bid", "bidder"));
    assert!(bids.iter().all(|id| (1_000..4_010).contains(id)));
    assert!(bidders.iter().chain(&numbers(&rows, "auction", "seller")).all(|id| (1_000..2_010).contains(id)));
    let share = |hot: usize| hot as f64 / bids.len() as f64;
    let hot_auctions = share(bids.iter().filter(|id| **id % 100 == 0).count());
    let hot_bidders = share(bidders.iter().filter(|id| **id % 100 == 1).count());
    assert!(
        (0.48..0.54).contains(&hot_auctions) && (0.73..0.79).contains(&hot_bidders),
        "{hot_auctions} {hot_bidders}"
    );
    let prices = numbers(&rows, "bid", "price");
    assert!(prices.iter().all(|price| (100..=100_000_000).contains(price)));
    let below_1000 = share(prices.iter().filter(|price| **price < 100_000).count());
    assert!((0.48..0.52).contains(&below_1000), "half of the prices are below 10^3: {below_1000}");
}

#[test]
fn texts_have_their_shapes_and_sizes() {
    let rows = all(&[("events.num", "50000")]);
    let channels = texts(&rows, "bid", "channel");
    let hot = channels
        .iter()
        .filter(|name| ["Google", "Facebook", "Baidu", "Apple"].contains(&name.as_str()))
        .count();
    assert!((0.48..0.52).contains(&(hot as f64 / channels.len() as f64)), "{hot}");
    let urls = texts(&rows, "bid", "url");
    assert!(
        urls.iter()
            .all(|url| url.starts_with("https://www.nexmark.com/") && url.contains("/item.htm?query=1"))
    );
    let with_id = urls.iter().filter(|url| url.contains("&channel_id=")).count();
    assert!((0.4..0.5).contains(&(with_id as f64 / urls.len() as f64)), "{with_id}");
    let mean = |texts: Vec<String>| texts.iter().map(String::len).sum::<usize>() as f64 / texts.len() as f64;
    assert!((66.0..69.0).contains(&mean(texts(&rows, "bid", "extra"))));
    let person = ["name", "emailAddress", "creditCard", "city", "state", "extra"]
        .map(|field| mean(texts(&rows, "person", field)));
    assert!((190.0..202.0).contains(&(8.0 + person.iter().sum::<f64>())), "{person:?}");
    let auction = ["itemName", "description", "extra"].map(|field| mean(texts(&rows, "auction", field)));
    assert!((480.0..505.0).contains(&(48.0 + auction.iter().sum::<f64>())), "{auction:?}");
    assert!(
        texts(&rows, "person", "creditCard")
            .iter()
            .all(|card| card.len() == 19 && card.split(' ').count() == 4)
    );
}

#[test]
fn times_follow_the_rate() {
    let rows =
        all(&[("events.num", "5000"), ("first-event.rate", "1000"), ("base-time", "2026-01-01T00:00:00")]);
    let times_of = |kind| times(&rows, kind, "dateTime");
    let base = 1_767_225_600_000;
    assert_eq!(times_of("person"), (0..100).map(|n| base + 50 * n).collect::<Vec<_>>());
    assert_eq!(times_of("bid").last(), Some(&(base + 4_999)));
    let auctions = times_of("auction");
    // 100 auctions are made in 1.666 s, so an auction is open for that long on average.
    let open: Vec<i64> =
        times(&rows, "auction", "expires").iter().zip(&auctions).map(|(end, start)| end - start).collect();
    let mean = open.iter().sum::<i64>() / open.len() as i64;
    assert!(open.iter().all(|open| (1..=3_334).contains(open)) && (1_500..1_850).contains(&mean), "{mean}");

    let late = all(&[
        ("events.num", "5000"),
        ("first-event.rate", "1000"),
        ("out-of-order", "0.2"),
        ("out-of-order.max", "1 s"),
    ]);
    let in_order = all(&[("events.num", "5000"), ("first-event.rate", "1000")]);
    let delays: Vec<i64> = times(&in_order, "bid", "dateTime")
        .iter()
        .zip(times(&late, "bid", "dateTime"))
        .map(|(due, time)| due - time)
        .collect();
    let delayed = delays.iter().filter(|delay| **delay > 0).count() as f64 / delays.len() as f64;
    assert!(
        delays.iter().all(|delay| (0..=1_000).contains(delay)) && (0.18..0.22).contains(&delayed),
        "{delayed}"
    );
}

/// Paced by a clock that stands still: exactly what is due comes. A checkpoint in the middle, and the rest comes in
/// another job with other workers.
#[test]
fn paced_events_come_when_due_and_once_over_a_restore() {
    let options = [
        ("events.num", "5000"),
        ("first-event.rate", "1000"),
        ("max-emit-speed", "false"),
        ("base-time", "0"),
    ];
    let table = nexmark(&options);
    let expected = lines(&all(&[("events.num", "5000"), ("first-event.rate", "1000"), ("base-time", "0")]));
    for (before, after) in [(1, 1), (2, 1), (1, 3), (3, 2)] {
        let store = Arc::new(MemoryStateStore::default());
        let clock = ManualClock::at(1_000_000);
        let config = |workers| JobConfig {
            workers,
            batch_rows_max: 64,
            store: store.clone(),
            clock: clock.clone(),
            ..JobConfig::default()
        };
        let (job, kept) = start(&Nexmark, &table, &table.schema, config(before)).unwrap();
        kept.wait_for(1);
        clock.advance(2_000);
        kept.wait_for(2_001);
        let epoch = job.checkpoint().unwrap();
        assert_eq!(kept.at_barrier(), 2_001, "{before} workers");
        job.stop();
        job.wait().unwrap();
        let first = kept.rows(&table.schema).slice(0, 2_001);

        clock.advance(1_000);
        let (job, kept) =
            start(&Nexmark, &table, &table.schema, JobConfig { restore: epoch, ..config(after) }).unwrap();
        // The clock went on while nothing ran: what was due meanwhile comes at once.
        kept.wait_for(1_000);
        clock.advance(10_000);
        job.wait().unwrap();
        let mut found = lines(&first);
        found.extend(lines(&kept.rows(&table.schema)));
        found.sort();
        assert!(found == expected, "{before} workers, then {after}: {} rows", found.len());
    }
}

#[test]
fn the_rate_may_move_and_the_source_may_stay() {
    let rows = all(&[
        ("stop-at", "150"),
        ("first-event.rate", "100"),
        ("next-event.rate", "10"),
        ("rate.period", "2 s"),
        ("base-time", "0"),
    ]);
    assert_eq!(rows.num_rows(), 150);
    // 100 in the first second, 10 in the next, and again.
    assert_eq!(times(&rows, "bid", "dateTime").last(), Some(&2_390));
    let table = nexmark(&[("events.num", "10"), ("keep-alive", "true")]);
    let (job, kept) =
        start(&Nexmark, &table, &table.schema, JobConfig { workers: 1, ..JobConfig::default() }).unwrap();
    kept.wait_for(10);
    assert!(!job.wait_for(Duration::from_millis(50)));
    job.drain();
    job.wait().unwrap();
}

#[test]
fn some_proportions_may_be_zero() {
    let rows = all(&[
        ("events.num", "1000"),
        ("person.proportion", "0"),
        ("auction.proportion", "0"),
        ("bid.proportion", "1"),
    ]);
    assert!(numbers(&rows, "bid", "auction").iter().all(|id| (1_000..1_010).contains(id)));
    let rows = all(&[
        ("events.num", "1000"),
        ("person.proportion", "3"),
        ("auction.proportion", "1"),
        ("bid.proportion", "0"),
    ]);
    assert_eq!(numbers(&rows, "auction", "id"), (1_000..1_250).collect::<Vec<_>>());
}

#[test]
fn wrong_options_and_columns_are_explained() {
    let message = |options: &[(&str, &str)]| error(Arc::new(Nexmark), &nexmark(options));
    assert_eq!(message(&[]), "no error");
    assert!(message(&[("event.num", "5")]).contains("did you mean 'events.num'?"));
    assert!(
        message(&[("events.num", "many")])
            .contains("option 'events.num': expected an integer of at least 0, found 'many'")
    );
    assert!(message(&[("bid.hot-ratio.auctions", "0")]).contains("at least 1"));
    assert!(message(&[("bid.avg-size", "1 mb")]).contains("at most 16 kb"));
    assert!(message(&[("out-of-order", "2")]).contains("a share such as '0.05' or '5 %'"));
    assert!(message(&[("rate.shape", "saw")]).contains("one of 'square', 'sine'"));
    let none = message(&[("person.proportion", "0"), ("auction.proportion", "0"), ("bid.proportion", "0")]);
    assert!(none.contains("all three proportions are 0"), "{none}");

    let of = |fields| error(Arc::new(Nexmark), &table(fields, &[("connector", "nexmark")]));
    let field = |name: &str, kind| Field::new(name, kind, true);
    assert!(of(vec![field("bidd", DataType::Int64)]).contains("no column 'bidd' (did you mean 'bid'?"));
    assert!(of(vec![field("event_type", DataType::Utf8)]).contains("is INT, not STRING"));
    let mut bid = columns()[3].clone();
    bid.set_nullable(false);
    assert!(of(vec![bid]).contains("leave out its NOT NULL"));
    let wrong = of(vec![field("bid", DataType::Struct(vec![field("prize", DataType::Int64)].into()))]);
    assert!(wrong.contains("no field of bid called 'prize' (did you mean 'price'?"), "{wrong}");
}
