//! MQTT QoS 1 to files, while the wall clock of the pipeline is set forward and back, by minutes and by hours.
//!
//! Windows by event time have the right answer. What is kept for a while is kept for that while: each number comes twice,
//! seconds apart, and is passed on once, though the clock jumps by more than the time to live in between. Windows by the
//! wall clock count each message once, whatever it shows. And everything goes on: rows, checkpoints, windows.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::mosquitto::Mosquitto;
use crate::support::{Publisher, parts};

use super::Asked;
use super::around::{Around, FakeClock};
use super::blows::{Blow, Blows};
use super::feed::Feed;
use super::ledger::{self, Difference};
use super::publish::Publishing;
use super::victim::Victim;

/// A number comes again behind so many others.
const AGAIN: u64 = 1_500;
/// Behind the last, so that its time closes all windows before it.
const CLOSING: u64 = 100_000;

#[test]
#[ignore = "needs Mosquitto and libfaketime; scripts/kill runs it"]
fn a_clock_that_is_set_forward_and_back_changes_no_answer_and_stops_nothing() {
    let asked = Asked::read();
    let Some(mut clock) = FakeClock::load() else { return };
    let Some(blows) = Blows::new(asked.seed, &[Blow::Clock, Blow::Clock, Blow::Clock, Blow::Instant]) else {
        return;
    };
    let (kills, messages) = (asked.kills.div_ceil(3), asked.records / 100);
    let mosquitto = Mosquitto::start();
    let files = tempfile::tempdir().unwrap();
    let folder = |name: &str| files.path().join(name);
    let query = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         SET 'table.exec.state.ttl' = '2 h';
         CREATE TABLE readings (device STRING, n BIGINT, ts TIMESTAMP(3), pt AS PROCTIME(),
           WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{0}', 'topic' = 'readings', 'qos' = '1', 'client-id' = 'kill',
               'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'scan.watermark.idle-timeout' = '60 s');
         CREATE TABLE doubled (n BIGINT, pt AS PROCTIME())
         WITH ('connector' = 'mqtt', 'url' = 'mqtt://{0}', 'topic' = 'doubled', 'qos' = '1', 'client-id' = 'kill-2',
               'format' = 'json');
         CREATE TABLE sums (device STRING, starts TIMESTAMP(3), c BIGINT, total BIGINT)
         WITH ('connector' = 'filesystem', 'path' = '{1}/', 'format' = 'json',
               'json.timestamp-format.standard' = 'ISO-8601');
         CREATE TABLE counts (starts TIMESTAMP_LTZ(3), c BIGINT)
         WITH ('connector' = 'filesystem', 'path' = '{2}/', 'format' = 'json');
         CREATE TABLE firsts (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{3}/', 'format' = 'json');
         INSERT INTO sums SELECT device, window_start, COUNT(*), SUM(n)
         FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND))
         GROUP BY device, window_start, window_end;
         INSERT INTO counts SELECT window_start, COUNT(*)
         FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(pt), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
         INSERT INTO firsts SELECT n
         FROM (SELECT n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY pt) AS place FROM doubled) WHERE place = 1;",
        mosquitto.address,
        folder("sums").display(),
        folder("counts").display(),
        folder("firsts").display(),
    );
    let mut victim = Victim::new().with_environment(clock.environment());
    victim.start(&query, 2, None);
    victim.wait("the subscriptions", Victim::is_ready);
    victim.kill("with the subscriptions there");
    let publishing = Publishing::to(mosquitto.address, |n| {
        let again = n.checked_sub(AGAIN).map(|before| ("doubled", before));
        [("readings", n), ("doubled", n)].into_iter().chain(again).collect()
    });
    let feed = Feed::start(messages, kills, publishing);
    let around = Around { clock: Some(&mut clock), source: Some("readings"), ..Around::default() };
    let tally = blows.deal(kills, &mut victim, &query, around, |number| feed.allow(number));
    assert_eq!(feed.finish(), BTreeSet::new(), "Mosquitto was there all the time");
    let closing = ledger::record(messages + CLOSING).to_string();
    Publisher::connect(mosquitto.address).unwrap().publish("readings", closing.as_bytes()).unwrap();
    let expected = ledger::sums(messages);
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let counted = || parts(&folder("counts")).iter().map(|row| number(row, "c")).sum::<u64>();
    victim.start(&query, 3, None);
    victim.comes_to("all rows", |_| {
        counted() > messages
            && parts(&folder("sums")).len() >= expected.len()
            && parts(&folder("firsts")).len() as u64 >= messages
    });
    victim.ends(true);
    let rows: Vec<String> = parts(&folder("sums")).iter().map(Value::to_string).collect();
    // Files are read in no order.
    let found = Difference { disordered: 0, ..ledger::compare(&expected, rows.iter().map(String::as_str)) };
    let firsts = parts(&folder("firsts"));
    let distinct: BTreeSet<u64> = firsts.iter().map(|row| number(row, "n")).collect();
    println!(
        "seed {}: {messages} messages, {} windows; {found:?}; {} by the wall clock count {} messages; {} of {} numbers passed \
         on, {} of them twice",
        asked.seed,
        rows.len(),
        parts(&folder("counts")).len(),
        counted(),
        distinct.len(),
        messages,
        firsts.len() - distinct.len(),
    );
    assert_eq!(found, Difference::default(), "seed {}: {}", asked.seed, victim.log());
    assert_eq!(counted(), messages + 1, "seed {}: {}", asked.seed, victim.log());
    assert_eq!((distinct, firsts.len() as u64), ((0..messages).collect(), messages), "{}", victim.log());
    tally.print();
}
