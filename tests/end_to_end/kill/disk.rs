//! MQTT QoS 1 to files and a webhook, with the state on a disk that is filled and freed again, or slow.
//!
//! The disk holds the journal, the outbox and the checkpoints; what arrives lies elsewhere. Full, it may hold everything
//! back, and no more: when there is room the same process goes on, and each message is in the files once and with the
//! receiver at least once, with one id. A start on a full disk may be refused, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::mosquitto::Mosquitto;
use crate::receiver::Receiver;
use crate::support::parts;

use super::Asked;
use super::around::{Around, SmallDisk};
use super::blows::{Blow, Blows};
use super::feed::Feed;
use super::publish::Publishing;
use super::victim::Victim;

/// Room for the journal, the outbox and two checkpoints of this query, and little more.
const DISK_BYTES: u64 = 24 << 20;

#[test]
#[ignore = "needs Mosquitto; scripts/kill runs it"]
fn a_full_or_slow_disk_loses_nothing_and_repeats_nothing() {
    let asked = Asked::read();
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    let Some(blows) = Blows::new(asked.seed, &[Blow::FullDisk, Blow::SlowDisk, Blow::FullDisk]) else {
        return;
    };
    let (kills, messages) = (asked.kills.div_ceil(3), asked.records / 100);
    let (mosquitto, receiver) = (Mosquitto::start(), Receiver::start());
    let files = tempfile::tempdir().unwrap();
    let kept = files.path().join("kept");
    let query = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE readings (device STRING, n BIGINT)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{}', 'topic' = 'readings', 'qos' = '1', 'client-id' = 'kill',
               'format' = 'json');
         CREATE TABLE kept (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}/', 'format' = 'json');
         CREATE TABLE alerts (device STRING, n BIGINT) WITH ('connector' = 'webhook', 'url' = '{}',
               'private-addresses' = 'allow', 'key' = 'device');
         INSERT INTO kept SELECT n FROM readings;
         INSERT INTO alerts SELECT device, n FROM readings WHERE MOD(n, 10) = 0;",
        mosquitto.address,
        kept.display(),
        receiver.url
    );
    let mut victim = Victim::new().with_state(disk.path().join("state"));
    victim.start(&query, 2, None);
    victim.wait("the subscription", Victim::is_ready);
    victim.kill("with the subscription there");
    let publishing = Publishing::to(mosquitto.address, |n| vec![("readings", n)]);
    let feed = Feed::start(messages, kills, publishing);
    let around = Around { disk: Some(&disk), source: Some("readings"), ..Around::default() };
    let tally = blows.deal(kills, &mut victim, &query, around, |number| feed.allow(number));
    let again = feed.finish();
    assert_eq!(again, BTreeSet::new(), "Mosquitto was there all the time");
    let numbers = || parts(&kept).iter().map(|row| row["n"].as_u64().unwrap()).collect::<Vec<_>>();
    let alerts =
        || -> BTreeSet<u64> { receiver.bodies().iter().map(|row| row["n"].as_u64().unwrap()).collect() };
    let alerts_wanted: BTreeSet<u64> = (0..messages).step_by(10).collect();
    victim.start(&query, 3, None);
    victim.comes_to("all messages", |_| {
        numbers().len() as u64 >= messages && alerts().len() >= alerts_wanted.len()
    });
    victim.ends(true);
    let mut times = BTreeMap::<u64, usize>::new();
    for n in numbers() {
        *times.entry(n).or_default() += 1;
    }
    let lost = (0..messages).filter(|n| !times.contains_key(n)).count();
    let twice = times.values().filter(|times| **times > 1).count();
    let waits = victim.said(" for room on the disk");
    println!(
        "seed {}: {messages} messages, {lost} lost, {twice} twice; {} of {} alerts, {} requests; {waits} times \
         something waited for room",
        asked.seed,
        alerts().len(),
        alerts_wanted.len(),
        receiver.count()
    );
    assert_eq!((lost, twice), (0, 0), "seed {}: {}", asked.seed, victim.log());
    assert_eq!(alerts(), alerts_wanted, "seed {}: {}", asked.seed, victim.log());
    assert_eq!(receiver.without_an_id_of_their_own(), Vec::<u64>::new());
    tally.print();
    let was_filled =
        ["disk full", "disk full at the start"].iter().any(|manner| tally.manners.contains_key(manner));
    assert!(waits > 0 || !was_filled, "a disk was filled and nothing noticed: {}", victim.log());
}
