//! JSON of about 110 bytes out of a Kafka topic: read, decoded and filtered by `millstream sql`, beside librdkafka's
//! consumer that looks at nothing.
//!
//! `./scripts/bench-kafka` starts a node and runs this; `MILLSTREAM_KAFKA_BROKER` is its HOST:PORT. `--messages`
//! (2,000,000) go to the four partitions of a topic of their own, `--rounds` (3) times both read all of it. Rates are by
//! the clock, start and connecting included; processor seconds are of the whole reading process, librdkafka's threads
//! included. One message in a hundred passes the filter, and each must come.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use support::{children_cpu_seconds, cpu_seconds, flag};

const TOPIC: &str = "bench-read";
const PARTITIONS: i32 = 4;

fn main() {
    let Ok(broker) = std::env::var("MILLSTREAM_KAFKA_BROKER") else {
        println!("kafka       left out: ./scripts/bench-kafka starts a node and runs it");
        return;
    };
    let count = flag("messages", 2_000_000_usize);
    fill(&broker, count);
    for _ in 0..flag("rounds", 3_usize) {
        raw(&broker, count);
        read(&broker, count);
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// Writes what is missing of `count` messages.
fn fill(broker: &str, count: usize) {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "200000")
        .create()
        .expect("a producer");
    for n in 0..count {
        let temperature = if n % 100 == 99 { 99.5 } else { (n % 100) as f64 * 0.9 };
        let payload = format!(
            r#"{{"device":"dev-{:04}","temperature":{temperature:.1},"humidity":{:.1},"n":{n},"t":{}}}"#,
            n % 500,
            (n % 613) as f64 / 7.0,
            1_767_225_600_000_000_000 + n as u64 * 1_000,
        );
        let partition = (n % PARTITIONS as usize) as i32;
        let mut record = BaseRecord::<(), String>::to(TOPIC).partition(partition).payload(&payload);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all are written");
}

fn say(who: &str, count: usize, seconds: f64, cpu: f64) {
    println!(
        "{who:<12}{:>5.2} M messages/s, {:.2} processor seconds a million",
        count as f64 / seconds / 1e6,
        cpu * 1e6 / count as f64
    );
}

/// librdkafka's own limit.
fn raw(broker: &str, count: usize) {
    let (begin, before) = (now(), cpu_seconds("self"));
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("partitions");
    let (mut come, mut bytes) = (0, 0);
    while come < count {
        let message = consumer.poll(Duration::from_secs(10)).expect("a message in time").expect("no error");
        bytes += message.payload().map_or(0, <[u8]>::len);
        come += 1;
    }
    assert!(bytes > count * 80);
    say("librdkafka", count, begin.elapsed().as_secs_f64(), cpu_seconds("self") - before);
}

/// The engine, as a process.
fn read(broker: &str, count: usize) {
    let sql = format!(
        "CREATE TABLE telemetry (device STRING, temperature DOUBLE, humidity DOUBLE, n BIGINT, t BIGINT) WITH (
           'connector' = 'kafka', 'topic' = '{TOPIC}', 'properties.bootstrap.servers' = '{broker}', 'format' = 'json',
           'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
         SELECT device, temperature, n FROM telemetry WHERE temperature > 98"
    );
    let (begin, before) = (now(), children_cpu_seconds());
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["sql", "--format", "json", &sql])
        .stderr(Stdio::inherit())
        .output()
        .expect("the binary runs");
    let took = begin.elapsed().as_secs_f64();
    assert!(output.status.success());
    let rows = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(rows, count / 100, "each row that passes comes");
    say("millstream", count, took, children_cpu_seconds() - before);
}
