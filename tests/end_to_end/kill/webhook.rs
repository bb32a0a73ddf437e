//! MQTT QoS 1 through a filter to a webhook whose receiver fails three attempts in ten, in each of the ways that
//! receivers fail: errors, 429 with `Retry-After`, resets, silence, answers that do not end. Killed meanwhile, with
//! Mosquitto restarted and the clock set.
//!
//! Each alert arrives at least once, with one id over retries and restarts; what the receiver refuses is with the dead
//! letters, each once, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::mosquitto::Mosquitto;
use crate::receiver::{Answer, Receiver};
use crate::support::parts;

use super::Asked;
use super::around::{Around, FakeClock};
use super::blows::{Blow, Blows};
use super::feed::Feed;
use super::publish::Publishing;
use super::victim::Victim;

/// Every so many messages there is an alert, and of the alerts the receiver refuses a few for good.
const ALERT: u64 = 7;

fn is_refused(n: u64) -> bool {
    n / ALERT % 50 == 7
}

fn number(body: &str) -> u64 {
    serde_json::from_str::<Value>(body).unwrap()["n"].as_u64().unwrap()
}

fn answer(body: &str) -> Answer {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(1);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let mixed =
        attempt.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
    if mixed % 10 < 3 {
        // 429 more seldom than the others: it asks the whole sink to wait.
        return [
            Answer::Status("503 Service Unavailable"),
            Answer::Status("500 Internal Server Error"),
            Answer::Reset,
            Answer::Silence,
            Answer::Slow("503 Service Unavailable"),
            Answer::Status("429 Too Many Requests\r\nRetry-After: 1"),
        ][(mixed / 10 % 26 / 5) as usize];
    }
    Answer::Status(if is_refused(number(body)) { "422 Unprocessable Content" } else { "204 No Content" })
}

#[test]
#[ignore = "needs Mosquitto; scripts/kill runs it"]
fn a_receiver_that_fails_has_every_alert_with_one_id_and_the_dead_letters_are_exact() {
    let asked = Asked::read();
    let mut clock = FakeClock::load();
    let turns = [Blow::Instant, Blow::Broker, Blow::Clock];
    let turns = &turns[..if clock.is_some() { 3 } else { 2 }];
    let Some(blows) = Blows::new(asked.seed, turns) else { return };
    let (kills, messages) = (asked.kills.div_ceil(3), asked.records / 200);
    let (mut mosquitto, receiver) = (Mosquitto::start(), Receiver::answering(answer));
    let files = tempfile::tempdir().unwrap();
    let dead = files.path().join("dead");
    let query = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE readings (device STRING, n BIGINT)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{}', 'topic' = 'readings', 'qos' = '1', 'client-id' = 'kill',
               'reconnect.backoff.max' = '1 s', 'format' = 'json');
         CREATE TABLE dead (payload STRING, error STRING)
         WITH ('connector' = 'filesystem', 'path' = '{}/', 'format' = 'json');
         CREATE TABLE alerts (device STRING, n BIGINT) WITH ('connector' = 'webhook', 'url' = '{}',
               'private-addresses' = 'allow', 'key' = 'device', 'timeout' = '500 ms', 'max-in-flight' = '32',
               'retry.backoff.initial' = '5 ms', 'retry.backoff.max' = '50 ms', 'retry.max-attempts' = '60',
               'outbox.ttl' = '2 h', 'dead-letter' = 'dead');
         INSERT INTO alerts SELECT device, n FROM readings WHERE MOD(n, {ALERT}) = 0;",
        mosquitto.address,
        dead.display(),
        receiver.url
    );
    let environment = clock.as_ref().map_or_else(Vec::new, FakeClock::environment);
    let mut victim = Victim::new().with_environment(environment);
    victim.start(&query, 2, None);
    victim.wait("the subscription", Victim::is_ready);
    victim.kill("with the subscription there");
    let publishing = Publishing::to(mosquitto.address, |n| vec![("readings", n)]);
    let feed = Feed::start(messages, kills, publishing);
    let around = Around {
        brokers: vec![&mut mosquitto],
        clock: clock.as_mut(),
        source: Some("readings"),
        ..Around::default()
    };
    let tally = blows.deal(kills, &mut victim, &query, around, |number| feed.allow(number));
    // What was published twice is two messages, and as many alerts of one number.
    let again = feed.finish();
    let wanted: BTreeSet<u64> = (0..messages).step_by(ALERT as usize).filter(|n| !is_refused(*n)).collect();
    let refused: Vec<u64> = (0..messages).step_by(ALERT as usize).filter(|n| is_refused(*n)).collect();
    let taken = || -> BTreeSet<u64> {
        let requests = receiver.requests();
        let taken = requests.iter().filter(|request| request.answer.is_taken());
        taken.map(|request| number(&request.body)).collect()
    };
    let letters = || -> Vec<u64> {
        let letters = parts(&dead);
        let mut letters: Vec<u64> =
            letters.iter().map(|letter| number(letter["payload"].as_str().unwrap())).collect();
        letters.sort_unstable();
        letters
    };
    victim.start(&query, 3, None);
    victim.comes_to("all alerts", |_| taken().len() >= wanted.len() && letters().len() >= refused.len());
    victim.ends(true);
    let mut answers = BTreeMap::<String, usize>::new();
    for request in receiver.requests() {
        *answers.entry(format!("{:?}", request.answer)).or_default() += 1;
    }
    let several = receiver.without_an_id_of_their_own();
    let several: Vec<&u64> = several.iter().filter(|n| !again.contains(n)).collect();
    println!(
        "seed {}: {messages} messages, {} published again, {} of {} alerts, {} without an id of their own, {} of {} dead letters, \
         {} requests, answered {answers:?}",
        asked.seed,
        again.len(),
        taken().len(),
        wanted.len(),
        several.len(),
        letters().len(),
        refused.len(),
        receiver.count()
    );
    assert_eq!(taken(), wanted, "seed {}: {}", asked.seed, victim.log());
    assert_eq!(several, Vec::<&u64>::new(), "seed {}: {}", asked.seed, victim.log());
    let mut letters = letters();
    // One that was published twice may be refused twice.
    letters.dedup_by(|one, other| one == other && again.contains(one));
    assert_eq!(letters, refused, "seed {}: {}", asked.seed, victim.log());
    tally.print();
}
