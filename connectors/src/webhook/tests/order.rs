//! Order and completeness while the receiver fails at random.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What the receiver does with the rows of a request: refuses some for good, fails three attempts in ten.
fn moody(seed: u64) -> impl Fn(&Seen) -> Reply + Send + Sync {
    let random = Mutex::new(SmallRng::seed_from_u64(seed));
    move |seen| {
        let body = seen.json();
        let refused = |row: &serde_json::Value| row["n"].as_i64().unwrap() % 17 == 0;
        let any_refused = body.as_array().map_or_else(|| refused(&body), |rows| rows.iter().any(refused));
        match random.lock().random_range(0..100) {
            0..10 => Reply::Reset,
            10..18 => Reply::Status(500),
            18..24 => Reply::With(429, vec![("retry-after", "0".into())], String::new()),
            24..30 => Reply::Status(503),
            // A batch is taken apart until the bad row is alone.
            _ if any_refused && body.as_array().is_some_and(|rows| rows.len() > 1) => Reply::Status(413),
            _ if any_refused => Reply::Status(422),
            _ => Reply::Status(200),
        }
    }
}

async fn run(seed: u64, batch_rows: &str) {
    let receiver = Receiver::start(moody(seed)).await;
    let options = [
        ("key", "device"),
        ("retry.max-attempts", "1000"),
        ("batch.max-rows", batch_rows),
        ("max-in-flight", "4"),
        ("outlet.max-bytes", "16 kb"),
        ("retry.backoff.initial", "2 ms"),
        ("retry.backoff.max", "8 ms"),
    ];
    let mut rig = Rig::new(&receiver.url, &options);
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut written: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut n = 0;
    while n < 400 {
        let batch: Vec<(String, i64)> = (0..random.random_range(1..20))
            .map(|_| {
                n += 1;
                (format!("d{}", random.random_range(0..7)), n)
            })
            .collect();
        for (device, n) in &batch {
            written.entry(device.clone()).or_default().push(*n);
        }
        let batch: Vec<_> = batch.iter().map(|(device, n)| (device.as_str(), *n)).collect();
        while !rig.sink.is_ready() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.sink.write(rows(&batch)).unwrap();
        if random.random_bool(0.3) {
            rig.sink.on_quiet().unwrap();
        }
    }
    rig.finish().await.unwrap();

    // First successful delivery of each row, in order of arrival; the ids each single row came with.
    let mut taken: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut ids: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for seen in receiver.seen() {
        let body = seen.json();
        let rows = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        for row in rows {
            let n = row["n"].as_i64().unwrap();
            if body.is_object() {
                ids.entry(n).or_default().insert(seen.id().to_owned());
            }
            if seen.status == 200 && known.insert(n) {
                taken.entry(row["device"].as_str().unwrap().to_owned()).or_default().push(n);
            }
        }
    }
    let is_refused = |n: &i64| n % 17 == 0;
    for (device, numbers) in &written {
        let expected: Vec<i64> = numbers.iter().filter(|n| !is_refused(n)).copied().collect();
        assert_eq!(taken.get(device), Some(&expected), "{device}, seed {seed}");
    }
    assert!(ids.values().all(|ids| ids.len() == 1));
    let mut dead: Vec<i64> = rig
        .letters()
        .iter()
        .map(|(row, _)| serde_json::from_str::<serde_json::Value>(row).unwrap()["n"].as_i64().unwrap())
        .collect();
    dead.sort_unstable();
    let mut refused: Vec<i64> = written.values().flatten().filter(|n| is_refused(n)).copied().collect();
    refused.sort_unstable();
    assert_eq!(dead, refused, "seed {seed}");
    assert!(rig.metrics().retries.get() > 50);
    assert_eq!(rig.metrics().rows_out.get() as usize, known.len());
}

#[tokio::test]
async fn keys_keep_their_order_while_three_in_ten_attempts_fail() {
    for seed in 0..6 {
        run(seed, "1").await;
    }
}

#[tokio::test]
async fn keys_keep_their_order_in_batches_too() {
    for seed in 10..16 {
        run(seed, "8").await;
    }
}

#[tokio::test]
async fn a_key_that_fails_does_not_hold_up_the_others() {
    let receiver =
        Receiver::start(|seen| Reply::Status(if seen.json()["device"] == "bad" { 500 } else { 200 })).await;
    let mut rig =
        Rig::new(&receiver.url, &[("key", "device"), ("max-in-flight", "2"), ("retry.deadline", "1 s")]);
    rig.send(&[("bad", 0), ("bad", 1), ("a", 2), ("b", 3), ("a", 4), ("bad", 5), ("c", 6)]);
    for _ in 0..200 {
        if receiver.accepted().len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(receiver.accepted().len(), 4);
    assert!(receiver.seen().iter().all(|seen| seen.status == 200 || seen.n() == 0));
}
