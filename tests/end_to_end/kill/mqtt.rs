//! MQTT QoS 1 to Kafka, killed the same way: messages that Mosquitto has, and rows that a read_committed consumer sees.
//!
//! The publisher waits for each acknowledgement, and publishes anew what had none; these alone may come twice. What
//! Mosquitto sends again after a kill, or after a restart of its own, is known by us and must not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use crate::kafka::Kafka;
use crate::mosquitto::Mosquitto;
use crate::support::{Publisher, free_address, get, wait_until};

use super::blows::{Blows, FURTHER};
use super::feed::{Feed, Writer};
use super::victim::Victim;
use super::{Asked, ledger};

fn query(kafka: &Kafka, mosquitto: &Mosquitto) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE readings (device STRING, n BIGINT)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{}', 'topic' = 'readings', 'qos' = '1', 'client-id' = 'kill',
               'format' = 'json');
         CREATE TABLE kept (device STRING, n BIGINT)
         WITH ('connector' = 'kafka', 'topic' = 'kept', 'properties.bootstrap.servers' = '{}', 'format' = 'json',
               'key.format' = 'raw', 'key.fields' = 'device', 'sink.delivery-guarantee' = 'exactly-once',
               'sink.transactional-id-prefix' = 'kill');
         INSERT INTO kept SELECT device, n FROM readings;",
        mosquitto.address, kafka.address
    )
}

/// Publishes until each message is acknowledged.
struct Publishing {
    address: SocketAddr,
    publisher: Option<Publisher>,
    /// Messages that were published more than once.
    again: BTreeSet<u64>,
}

impl Writer for Publishing {
    type Account = BTreeSet<u64>;

    fn write(&mut self, numbers: Range<u64>) {
        for n in numbers {
            let payload = ledger::record(n).to_string();
            loop {
                if self.publisher.is_none() {
                    self.publisher = Publisher::connect(self.address).ok();
                }
                match self.publisher.as_mut().map(|to| to.publish("readings", payload.as_bytes())) {
                    Some(Ok(())) => break,
                    Some(Err(_)) => {
                        self.again.insert(n);
                        self.publisher = None;
                    }
                    None => {}
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn close(self) -> BTreeSet<u64> {
        self.again
    }
}

/// Numbers that follow each other, as first and last.
fn spans(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for n in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => spans.push((n, n)),
        }
    }
    spans
}

#[test]
#[ignore = "needs Kafka and Mosquitto; scripts/kill runs it"]
fn mqtt_to_kafka_killed_at_any_instant_loses_no_acknowledged_message_and_repeats_none() {
    let asked = Asked::read();
    // Each is acknowledged before the next, so fewer take as long.
    let messages = asked.records / 20;
    let (mut kafka, mut mosquitto) = (Kafka::start(), Mosquitto::start());
    kafka.topic(&["--create", "--topic", "kept", "--partitions", "3"]);
    let query = query(&kafka, &mosquitto);
    let mut victim = Victim::new();
    // Nobody keeps messages that come before there is a subscription.
    let http = free_address().to_string();
    victim.start(&query, 2, None, &["--http", &http]);
    wait_until("the subscription", || {
        get(&http, "/readyz").is_some_and(|(status, _)| status.contains("200"))
    });
    victim.kill("with the subscription there");
    let publishing = Publishing { address: mosquitto.address, publisher: None, again: BTreeSet::new() };
    let feed = Feed::start(messages, asked.kills + FURTHER, publishing);
    let blows = Blows::new(asked.seed);
    let tally = blows.deal(asked.kills, &mut victim, &query, &mut [&mut kafka, &mut mosquitto], |number| {
        feed.allow(number);
    });
    let again = feed.finish();
    victim.start(&query, 3, None, &[]);
    let mut seen = BTreeMap::<u64, usize>::new();
    let read = |seen: &mut BTreeMap<u64, usize>| {
        seen.clear();
        for (_, text) in kafka.read_committed("kept") {
            let row: Value = serde_json::from_str(&text).unwrap();
            *seen.entry(row["n"].as_u64().unwrap()).or_default() += 1;
        }
    };
    // Each look takes some seconds; it is given some to come up with what is still on its way.
    for _ in 0..10 {
        read(&mut seen);
        if seen.len() as u64 >= messages {
            break;
        }
    }
    victim.ends(true);
    read(&mut seen);
    let lost: Vec<u64> = (0..messages).filter(|n| !seen.contains_key(n)).collect();
    let twice: BTreeSet<u64> = seen.iter().filter(|(_, times)| **times > 1).map(|(n, _)| *n).collect();
    let ours: Vec<&u64> = twice.difference(&again).collect();
    println!(
        "seed {}: {messages} messages, {} published again, {} lost, {} twice, {} of them by our doing",
        asked.seed,
        again.len(),
        lost.len(),
        twice.len(),
        ours.len()
    );
    if !lost.is_empty() || !ours.is_empty() {
        let spans = (spans(lost.iter().copied()), spans(ours.iter().map(|n| **n)));
        panic!(
            "seed {}, lost and twice {spans:?}: Kafka's {} is kept, {}",
            asked.seed,
            kafka.keep(),
            victim.log()
        );
    }
    asked.check(&tally, &victim);
}
