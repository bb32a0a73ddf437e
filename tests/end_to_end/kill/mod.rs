//! The kill harness: a pipeline as a process (victim.rs), killed again and again while its input is written (feed.rs), in
//! ways that a seed chooses (blows.rs), on brokers, lines, a disk and a clock that fail (around.rs), and started with another
//! number of workers each time. What comes out is compared with an account that knows nothing of the pipeline (ledger.rs).
//! Ignored without being asked for: scripts/kill asks, once with 20 kills in CI and with 200 for `--long`.
//!
//! Here from Kafka to Kafka, and in mqtt.rs from Mosquitto to Kafka, as a read_committed consumer sees it: kills at instants
//! and places, brokers, lines. disk.rs: a state folder on a disk that is full or slow. clock.rs: a wall clock that is set.
//! webhook.rs: a receiver that fails. These three deal out a third of the blows, from Mosquitto alone.
//!
//! MILLSTREAM_KILLS, MILLSTREAM_KILL_SEED, MILLSTREAM_KILL_RECORDS and MILLSTREAM_KILL_BLOWS (all, instant, place, broker,
//! network, full-disk, slow-disk, clock) say how many kills, which, among how many records, and of which kinds. The topics are empty when the first pipeline starts.
//! A run of 20 fails too if a named place was not come to, or if no run found an epoch written, or none unwritten, that the
//! one before had left: then it would have shown nothing.

mod around;
mod blows;
mod clock;
mod disk;
mod feed;
mod ledger;
mod mqtt;
mod publish;
mod tally;
mod victim;
mod webhook;

use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::process::{Child, ChildStdin};

use crate::kafka::{Kafka, Listener};
use crate::relay::Relay;
use crate::support::free_address;

use around::{Around, Wire};
use blows::{Blow, Blows, FURTHER};
use feed::{Feed, Writer};
use ledger::Difference;
use tally::Tally;
use victim::Victim;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is asked for.
struct Asked {
    kills: u64,
    seed: u64,
    records: u64,
}

impl Asked {
    fn read() -> Self {
        Self {
            kills: number("MILLSTREAM_KILLS", 20),
            seed: number("MILLSTREAM_KILL_SEED", 1),
            records: number("MILLSTREAM_KILL_RECORDS", 2_000_000),
        }
    }

    /// A run that was long enough came to every place and to both outcomes of a transaction that a kill left.
    fn check(&self, tally: &Tally, victim: &Victim) {
        let (before, now) = (victim.said(" was written by a former run"), victim.said(" is written now"));
        tally.print();
        println!(
            "{before} times a former run's epoch was found written, {now} times it was written by the next"
        );
        if self.kills >= 20 && std::env::var_os("MILLSTREAM_KILL_BLOWS").is_none() {
            assert_eq!(tally.places_missed(), Vec::<&str>::new(), "places that were not come to");
            assert!(before > 0 && now > 0, "a side of a transaction's end was not come to");
        }
    }
}

/// What happens to pipelines that write to Kafka.
const KAFKA_BLOWS: &[Blow] = &[Blow::Instant, Blow::Place, Blow::Broker, Blow::Place, Blow::Network];

/// How long a Kafka that does not answer is waited for: less than by default, so that a run is short.
const PATIENCE: &str =
    "'properties.socket.timeout.ms' = '5000', 'properties.reconnect.backoff.max.ms' = '1000'";

/// A Kafka, and a line to it that the pipeline uses.
fn kafka_behind_a_line() -> (Kafka, SocketAddr, Relay) {
    let (inside, outside) = (free_address(), free_address());
    let uplink = Listener { name: "UPLINK", protocol: "PLAINTEXT", address: inside, advertised: outside };
    let kafka = Kafka::start_with([uplink].into_iter(), "", &[]);
    (kafka, outside, Relay::start(outside, inside))
}

/// Windows of one topic to another; one that ends where the topic ends now, if `is_bounded`.
fn query(kafka: SocketAddr, is_bounded: bool) -> String {
    let mode = if is_bounded { "latest-offset" } else { "unbounded" };
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE readings (device STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('connector' = 'kafka', 'topic' = 'readings', 'properties.bootstrap.servers' = '{kafka}', {PATIENCE}, 'format' = 'json',
               'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '{mode}',
               'json.timestamp-format.standard' = 'ISO-8601');
         CREATE TABLE sums (device STRING, starts TIMESTAMP(3), c BIGINT, total BIGINT)
         WITH ('connector' = 'kafka', 'topic' = 'sums', 'properties.bootstrap.servers' = '{kafka}', {PATIENCE}, 'format' = 'json',
               'json.timestamp-format.standard' = 'ISO-8601', 'key.format' = 'raw', 'key.fields' = 'device',
               'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'kill');
         INSERT INTO sums SELECT device, window_start, COUNT(*), SUM(n)
         FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND))
         GROUP BY device, window_start, window_end;"
    )
}

/// Kafka's producer.
struct Lines {
    producer: Child,
    input: ChildStdin,
}

impl Writer for Lines {
    type Account = ();

    fn write(&mut self, numbers: Range<u64>) {
        let line = |n| format!("{}\t{}\n", ledger::device(n), ledger::record(n));
        self.input.write_all(numbers.map(line).collect::<String>().as_bytes()).unwrap();
    }

    fn close(mut self) {
        drop(self.input);
        assert!(self.producer.wait().unwrap().success());
    }
}

#[test]
#[ignore = "needs Kafka; scripts/kill runs it"]
fn kafka_to_kafka_killed_at_any_instant_loses_nothing_and_repeats_nothing() {
    let asked = Asked::read();
    let Some(blows) = Blows::new(asked.seed, KAFKA_BLOWS) else { return };
    let (mut kafka, address, line) = kafka_behind_a_line();
    kafka.topic(&["--create", "--topic", "readings", "--partitions", "4"]);
    kafka.topic(&["--create", "--topic", "sums", "--partitions", "3"]);
    let (unbounded, bounded) = (query(address, false), query(address, true));
    let mut producer = kafka.producer("readings");
    let input = producer.stdin.take().unwrap();
    // Some is left for the kills at places that were not come to.
    let feed = Feed::start(asked.records, asked.kills + FURTHER, Lines { producer, input });
    let mut victim = Victim::new();
    let around = Around {
        brokers: vec![&mut kafka],
        wires: vec![Wire { relay: &line, source: Some("readings") }],
        ..Around::default()
    };
    let tally = blows.deal(asked.kills, &mut victim, &unbounded, around, |number| feed.allow(number));
    feed.finish();
    assert_eq!(kafka.count("readings"), asked.records, "what the producer wrote, by the brokers' account");
    victim.start(&bounded, 3, None);
    victim.ends(false);
    let expected = ledger::sums(asked.records);
    let rows = kafka.read_committed("sums");
    let found = ledger::compare(&expected, rows.iter().map(|(_, row)| row.as_str()));
    println!("seed {}: {} records, {} windows; {found:?}", asked.seed, asked.records, rows.len());
    assert_eq!(found, Difference::default(), "seed {}: {}", asked.seed, victim.log());
    asked.check(&tally, &victim);
    // It has come to its end, and another run has nothing to do.
    victim.start(&bounded, 2, None);
    victim.ends(false);
    assert_eq!(kafka.read_committed("sums").len(), rows.len(), "seed {}: {}", asked.seed, victim.log());
}
