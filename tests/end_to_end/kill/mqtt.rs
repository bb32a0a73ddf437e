//! MQTT QoS 1 to Kafka, killed the same way: messages that Mosquitto has, and rows that a read_committed consumer sees.
//!
//! The publisher waits for each acknowledgement, and publishes anew what had none; these alone may come twice. What
//! Mosquitto sends again after a kill, or after a restart of its own, is known by us and must not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use crate::mosquitto::Mosquitto;
use crate::relay::Relay;
use crate::support::free_address;

use super::around::{Around, Wire};
use super::blows::{Blows, FURTHER};
use super::feed::Feed;
use super::publish::Publishing;
use super::victim::Victim;
use super::{Asked, KAFKA_BLOWS, PATIENCE, kafka_behind_a_line};

fn query(kafka: SocketAddr, mosquitto: SocketAddr) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE readings (device STRING, n BIGINT)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{mosquitto}', 'topic' = 'readings', 'qos' = '1', 'client-id' = 'kill',
               'keep-alive' = '2 s', 'reconnect.backoff.max' = '1 s', 'format' = 'json');
         CREATE TABLE kept (device STRING, n BIGINT)
         WITH ('connector' = 'kafka', 'topic' = 'kept', 'properties.bootstrap.servers' = '{kafka}', {PATIENCE}, 'format' = 'json',
               'key.format' = 'raw', 'key.fields' = 'device', 'sink.delivery-guarantee' = 'exactly-once',
               'sink.transactional-id-prefix' = 'kill');
         INSERT INTO kept SELECT device, n FROM readings;"
    )
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
    let Some(blows) = Blows::new(asked.seed, KAFKA_BLOWS) else { return };
    // Each is acknowledged before the next, so fewer take as long.
    let messages = asked.records / 20;
    let (mut kafka, to_kafka, kafkas) = kafka_behind_a_line();
    let (mut mosquitto, to_mosquitto) = (Mosquitto::start(), free_address());
    let mosquittos = Relay::start(to_mosquitto, mosquitto.address);
    kafka.topic(&["--create", "--topic", "kept", "--partitions", "3"]);
    let query = query(to_kafka, to_mosquitto);
    let mut victim = Victim::new();
    // Nobody keeps messages that come before there is a subscription.
    victim.start(&query, 2, None);
    victim.wait("the subscription", Victim::is_ready);
    victim.kill("with the subscription there");
    let publishing = Publishing::to(mosquitto.address, |n| vec![("readings", n)]);
    let feed = Feed::start(messages, asked.kills + FURTHER, publishing);
    let around = Around {
        brokers: vec![&mut kafka, &mut mosquitto],
        wires: vec![
            Wire { relay: &kafkas, source: None },
            Wire { relay: &mosquittos, source: Some("readings") },
        ],
        ..Around::default()
    };
    let tally = blows.deal(asked.kills, &mut victim, &query, around, |number| feed.allow(number));
    let again = feed.finish();
    victim.start(&query, 3, None);
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
