//! Keys, headers, patterns of topics, and what an upserting sink writes, message by message.

use millstream_engine::context::IoRuntime;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::state::StateWriter;
use millstream_engine::{Batch, ChangeKind, Clock, InstanceContext, Ready, SystemClock};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::kafka::UpsertKafka;
use crate::metadata::map_type;
use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};

pub(super) const EARLIEST: (&str, &str) = ("scan.startup.mode", "earliest-offset");

/// A message as it is sent: topic, key, payload, headers.
pub(super) type Sent<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a [(&'a str, Option<&'a str>)]);

pub(super) fn send(brokers: &str, messages: &[Sent<'_>]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    for (topic, key, payload, headers) in messages {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0);
        record.key = *key;
        record.payload = *payload;
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Keys and payloads of one partition, as text.
pub(super) fn messages(brokers: &str, partition: i32, count: usize) -> Vec<(Option<String>, Option<String>)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "reader");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", partition, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let mut read = Vec::new();
    while read.len() < count {
        let message = consumer.poll(Duration::from_secs(30)).expect("there are as many").unwrap();
        assert_eq!(message.headers().map_or(0, Headers::count), 0);
        read.push((text(message.key()), text(message.payload())));
    }
    read
}

pub(super) fn context(instance: usize, parallelism: usize) -> InstanceContext {
    let clock: millstream_engine::ClockRef = SystemClock::shared();
    InstanceContext {
        job: "test".into(),
        instance,
        parallelism,
        key_groups: 0..1,
        batch_rows_max: 1_024,
        clock,
        waker: Arc::default(),
        metrics: OperatorMetrics::new("t", "sink", instance),
        dead_letters: Arc::default(),
        dead_letter_route: None,
        io: IoRuntime::default(),
        journal_folder: None,
    }
}

pub(super) fn wait_until(mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    let from = clock.monotonic_ns();
    while !is_so() {
        assert!(clock.monotonic_ns() - from < 60_000_000_000, "waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes rows of `k` and `n`, with what they do to the table, by one of several instances.
fn write_rows(
    provider: &dyn millstream_engine::SinkProvider,
    rows: &[(&str, i64, ChangeKind)],
    instance: usize,
) {
    let mut sink = provider.create(instance, 3).unwrap();
    sink.open(&context(instance, 3)).unwrap();
    wait_until(|| sink.is_ready());
    let keys = StringArray::from_iter_values(rows.iter().map(|row| row.0));
    let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(columns())), vec![Arc::new(keys), Arc::new(numbers)]);
    let changes = rows.iter().map(|row| row.2).collect();
    sink.write(Batch { changes: Some(changes), ..Batch::new(batch.unwrap()) }).unwrap();
    wait_until(|| sink.on_end(1, &mut StateWriter::default()).unwrap() == Ready::Yes);
}

#[test]
fn columns_come_from_the_key_and_headers_are_a_map() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    send(
        &brokers,
        &[
            (
                "t",
                Some(r#"{"k":"a"}"#),
                Some(r#"{"k":"not this","n":1}"#),
                &[("h", Some("1")), ("h", Some("")), ("i", None)],
            ),
            ("t", None, Some(r#"{"n":2}"#), &[]),
            ("t", Some("no JSON"), Some(r#"{"n":3}"#), &[]),
            ("t", Some(r#"{"k":"gone"}"#), None, &[]),
            ("t", Some(r#"{"k":"b"}"#), Some("no JSON"), &[]),
            ("t", Some(r#"{"k":"c"}"#), Some(r#"{"n":6}"#), &[]),
        ],
    );
    let columns = vec![
        Field::new("key_k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("headers", map_type(DataType::Binary), true),
    ];
    let mut more = vec![
        EARLIEST,
        ("key.format", "json"),
        ("key.fields", "key_k"),
        ("key.fields-prefix", "key_"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    let expected = [
        r#"{"key_k":"a","n":1,"headers":{"h":"","i":null}}"#,
        r#"{"key_k":"c","n":6,"headers":{}}"#,
        r#"{"key_k":null,"n":2,"headers":{}}"#,
    ];
    assert_eq!(read(&brokers, columns.clone(), &more, 1), expected);
    // With all columns in the payload, that decides.
    more.truncate(2);
    more.push(("key.fields", "k"));
    let expected = [r#"{"k":"not this"}"#, r#"{"k":null}"#, r#"{"k":null}"#, r#"{"k":null}"#];
    assert_eq!(read(&brokers, vec![Field::new("k", DataType::Utf8, true)], &more, 1), expected);
}

#[test]
fn a_key_that_must_be_there_costs_the_messages_that_have_none() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    send(&brokers, &[("t", None, Some(r#"{"n":1}"#), &[]), ("t", Some("x"), Some(r#"{"n":2}"#), &[])]);
    let columns = vec![Field::new("k", DataType::Utf8, false), Field::new("n", DataType::Int64, true)];
    let more = [EARLIEST, ("key.format", "raw"), ("key.fields", "k"), ("value.fields-include", "EXCEPT_KEY")];
    assert_eq!(read(&brokers, columns, &more, 1), [r#"{"k":"x","n":2}"#]);
}

#[test]
fn a_pattern_reads_all_topics_of_that_name() {
    let cluster = cluster(1);
    cluster.create_topic("plant-1", 1, 1).unwrap();
    cluster.create_topic("plant-22", 2, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    send(
        &brokers,
        &[
            ("t", None, Some(r#"{"n":1}"#), &[]),
            ("plant-1", None, Some(r#"{"n":2}"#), &[]),
            ("plant-22", None, Some(r#"{"n":3}"#), &[]),
        ],
    );
    let columns = vec![Field::new("n", DataType::Int64, true), Field::new("topic", DataType::Utf8, true)];
    let expected = [r#"{"n":2,"topic":"plant-1"}"#, r#"{"n":3,"topic":"plant-22"}"#];
    for workers in [1, 2] {
        let more = [EARLIEST, ("topic-pattern", "plant-[0-9]+")];
        assert_eq!(read(&brokers, columns.clone(), &more, workers), expected);
    }
}

#[test]
fn an_upserting_sink_writes_tombstones_for_what_goes() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    let more = [("key.format", "raw"), ("value.format", "json")];
    let mut table = table(&brokers, columns(), &more);
    assert!(UpsertKafka.sink(&table).err().unwrap().to_string().contains("PRIMARY KEY"));
    table.primary_key = vec![0];
    let provider = UpsertKafka.sink(&table).unwrap();
    assert!(provider.accepts_updates());
    assert_eq!(provider.order_keys(), [0]);
    let rows = [
        ("a", 1, Insert),
        ("b", 2, Insert),
        ("a", 1, UpdateBefore),
        ("a", 3, UpdateAfter),
        ("b", 2, Delete),
        ("a", 3, UpdateBefore),
        ("c", 3, UpdateAfter),
        ("c", 3, UpdateBefore),
    ];
    write_rows(provider.as_ref(), &rows, 0);
    let message =
        |key: &str, n: Option<i64>| (Some(key.to_owned()), n.map(|n| format!(r#"{{"k":"{key}","n":{n}}}"#)));
    let expected = [
        message("a", Some(1)),
        message("b", Some(2)),
        message("a", Some(3)),
        message("b", None),
        message("a", None),
        message("c", Some(3)),
        message("c", None),
    ];
    assert_eq!(messages(&brokers, 0, expected.len()), expected);
    let error = UpsertKafka.source(&table).err().unwrap().to_string();
    assert!(error.contains("upsert-kafka") && error.contains("not read"), "{error}");
}

#[test]
fn a_fixed_partitioner_keeps_an_instance_to_one_partition() {
    let cluster = cluster(2);
    let brokers = cluster.bootstrap_servers();
    let provider = Kafka.sink(&table(&brokers, columns(), &[("sink.partitioner", "fixed")])).unwrap();
    for instance in 0..3 {
        let n = instance as i64;
        write_rows(provider.as_ref(), &[("x", n, Insert), ("y", n, Insert)], instance);
    }
    let numbers = |partition, count| -> Vec<String> {
        let all = messages(&brokers, partition, count).into_iter();
        all.map(|(key, payload)| {
            assert_eq!(key, None);
            payload.unwrap()
        })
        .collect()
    };
    assert_eq!(numbers(1, 2), [r#"{"k":"x","n":1}"#, r#"{"k":"y","n":1}"#]);
    assert_eq!(
        numbers(0, 4),
        [r#"{"k":"x","n":0}"#, r#"{"k":"y","n":0}"#, r#"{"k":"x","n":2}"#, r#"{"k":"y","n":2}"#]
    );
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let wrong = |more: &[(&str, &str)]| {
        let more = [&[EARLIEST], more].concat();
        let source = Kafka.source(&table("b:1", columns(), &more)).err().map(|error| error.to_string());
        let sink = Kafka.sink(&table("b:1", columns(), &more)).err().map(|error| error.to_string());
        source.or(sink).unwrap()
    };
    assert!(wrong(&[("key.format", "json")]).contains("key.fields"));
    let prefix = [("key.fields", "k"), ("key.fields-prefix", "key_")];
    assert!(wrong(&prefix).contains("EXCEPT_KEY"));
    let except = [prefix[0], prefix[1], ("value.fields-include", "EXCEPT_KEY")];
    assert!(wrong(&except).contains("'k' does not begin with 'key_'"));
    assert!(wrong(&[("key.fields", "k"), ("sink.partitioner", "round-robin")]).contains("round-robin"));
    assert!(wrong(&[("topic-pattern", "a(")]).contains("regular expression"));
}
