//! A receiver that fails three attempts in ten, in every way there is, and a few hundred alerts.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const ALERTS: i64 = 300;

/// The statuses of a receiver that will never take a row, by the row.
fn refusal(n: i64) -> Option<u16> {
    (n % 13 == 0).then(|| [400, 401, 403, 404, 410, 422][(n / 13) as usize % 6])
}

/// What the receiver does with an attempt: one of seven ways to fail, three times in ten.
fn moody(seed: u64) -> impl Fn(&Seen) -> Reply + Send + Sync {
    let random = Mutex::new(SmallRng::seed_from_u64(seed));
    move |seen| {
        let (mood, way) = {
            let mut random = random.lock();
            (random.random_range(0..10), random.random_range(0..20))
        };
        if mood >= 3 {
            return Reply::Status(refusal(seen.n()).unwrap_or(200));
        }
        let after = |seconds: &str| vec![("retry-after", seconds.to_owned())];
        match way {
            0..4 => Reply::Status([500, 502, 503, 504][way]),
            4..7 => Reply::With(429, after("0"), "slower".into()),
            7 => Reply::With(429, after("1"), String::new()),
            8..10 => Reply::With(503, after("0"), "x".repeat(100_000)),
            10..14 => Reply::Reset,
            14..17 => Reply::Hang,
            17 => Reply::Status(408),
            // Both have a status, and a body that never ends.
            18 => Reply::Trickle(500),
            _ => Reply::Trickle(429),
        }
    }
}

async fn run(seed: u64, key: Option<&str>) {
    let receiver = Receiver::start(moody(seed)).await;
    let mut options = vec![("retry.max-attempts", "1000"), ("timeout", "150 ms"), ("max-in-flight", "16")];
    options.extend(key.map(|key| ("key", key)));
    let mut rig = Rig::new(&receiver.url, &options);
    let mut random = SmallRng::seed_from_u64(!seed);
    for n in 0..ALERTS {
        let device = format!("d{}", random.random_range(0..20));
        while !rig.sink.is_ready() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.send(&[(&device, n)]);
    }
    rig.finish().await.unwrap();

    let (mut ids, mut taken) = (BTreeMap::<i64, BTreeSet<String>>::new(), BTreeMap::<i64, usize>::new());
    let seen = receiver.seen();
    for seen in &seen {
        assert_eq!(seen.header("idempotency-key"), seen.id());
        ids.entry(seen.n()).or_default().insert(seen.id().to_owned());
        *taken.entry(seen.n()).or_default() += usize::from(seen.status == 200);
    }
    // Every alert came, always under the same id, which no other has.
    assert_eq!(ids.len() as i64, ALERTS, "seed {seed}");
    assert!(ids.values().all(|ids| ids.len() == 1), "seed {seed}: {ids:?}");
    assert_eq!(ids.values().flatten().collect::<BTreeSet<_>>().len() as i64, ALERTS);
    let refused: Vec<i64> = (0..ALERTS).filter(|n| refusal(*n).is_some()).collect();
    for (n, count) in &taken {
        assert_eq!(*count > 0, refusal(*n).is_none(), "seed {seed}: alert {n} was taken {count} times");
    }
    // The dead letters are the refused, each once, with the status that it was refused with.
    let mut dead: Vec<(i64, String)> = rig
        .letters()
        .into_iter()
        .map(|(row, error)| {
            (serde_json::from_str::<serde_json::Value>(&row).unwrap()["n"].as_i64().unwrap(), error)
        })
        .collect();
    dead.sort_unstable();
    assert_eq!(dead.iter().map(|(n, _)| *n).collect::<Vec<_>>(), refused, "seed {seed}");
    for (n, error) in &dead {
        assert!(error.contains(&refusal(*n).unwrap().to_string()), "seed {seed}: {error}");
    }
    let metrics = rig.metrics();
    assert_eq!(metrics.rows_out.get() as i64, ALERTS - refused.len() as i64);
    assert_eq!(metrics.rows_dead_letter.get() as usize, refused.len());
    // An attempt whose time is over before it is there is not seen.
    assert!(metrics.retries.get() as i64 >= seen.len() as i64 - ALERTS);
    assert!(metrics.retries.get() > 60, "{} retries", metrics.retries.get());
}

#[tokio::test]
async fn every_alert_arrives_under_one_id_and_only_the_refused_are_dead() {
    run(1, None).await;
}

#[tokio::test]
async fn and_so_they_do_in_order_of_a_key() {
    run(2, Some("device")).await;
}
