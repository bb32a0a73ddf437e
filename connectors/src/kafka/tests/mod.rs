//! The connector against librdkafka's brokers in this process.

mod messages;
mod outbox;
mod partitions;
#[cfg(feature = "avro")]
mod registry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use millstream_engine::options::Options;
use millstream_engine::registry::{Connector, Table};
use millstream_engine::{Encoder, Graph, Input, Job, JobConfig};

use super::Kafka;
use crate::format::JsonEncoder;
use crate::memory::{MemorySink, MemorySource};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", partitions, 1).unwrap();
    cluster
}

fn table(brokers: &str, columns: Vec<Field>, more: &[(&str, &str)]) -> Table {
    let mut values: BTreeMap<String, String> =
        more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    values.insert("connector".to_owned(), "kafka".to_owned());
    if !values.contains_key("topic-pattern") {
        values.insert("topic".to_owned(), "t".to_owned());
    }
    values.insert("properties.bootstrap.servers".to_owned(), brokers.to_owned());
    let is_metadata =
        |field: &Field| ["partition", "offset", "topic", "headers"].contains(&field.name().as_str());
    let metadata = columns
        .iter()
        .enumerate()
        .filter(|(_, field)| is_metadata(field))
        .map(|(number, field)| (number, field.name().clone()))
        .collect();
    Table {
        name: "t".to_owned(),
        schema: Arc::new(Schema::new(columns)),
        metadata,
        primary_key: Vec::new(),
        options: Options::new("table t", values),
        formats: crate::registry().formats().clone(),
    }
}

fn columns() -> Vec<Field> {
    vec![Field::new("k", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]
}

/// Writes rows numbered from `from`, ten keys, and waits until the job has ended.
fn write(brokers: &str, from: i64, count: i64) {
    write_with(brokers, from, count, &[("key.fields", "k")]);
}

fn write_with(brokers: &str, from: i64, count: i64, more: &[(&str, &str)]) {
    let table = table(brokers, columns(), more);
    let provider = Kafka.sink(&table).unwrap();
    let (source, pusher) = MemorySource::channel(Arc::clone(&table.schema), 64 << 20);
    let mut graph = Graph::new();
    let source = graph.source("in", "", Arc::new(source), Arc::clone(&table.schema));
    graph.sink("t", "", provider, Input::gather(source));
    let job = Job::start(&graph, JobConfig { workers: 1, ..JobConfig::default() }).unwrap();
    let numbers = from..from + count;
    let keys = StringArray::from_iter_values(numbers.clone().map(|n| format!("k{}", n % 10)));
    let rows = vec![Arc::new(keys) as _, Arc::new(Int64Array::from_iter_values(numbers)) as _];
    pusher.push(RecordBatch::try_new(Arc::clone(&table.schema), rows).unwrap()).unwrap();
    drop(pusher);
    assert!(job.wait_for(Duration::from_secs(60)), "the sink does not finish");
    assert!(job.error().is_none(), "{:?}", job.error());
}

/// Reads to the topic's end, and answers the rows in order of text.
fn read(brokers: &str, columns: Vec<Field>, more: &[(&str, &str)], workers: usize) -> Vec<String> {
    let table = table(brokers, columns, &[more, &[("scan.bounded.mode", "latest-offset")]].concat());
    let provider = Kafka.source(&table).unwrap();
    let (sink, puller) = MemorySink::channel(64 << 20);
    let mut graph = Graph::new();
    let source = graph.source("t", "", provider, Arc::clone(&table.schema));
    graph.sink("out", "", Arc::new(sink), Input::gather(source));
    let job = Job::start(&graph, JobConfig { workers, ..JobConfig::default() }).unwrap();
    assert!(job.wait_for(Duration::from_secs(60)), "the source does not end");
    assert!(job.error().is_none(), "{:?}", job.error());
    let mut rows = Vec::new();
    while let Some(batch) = puller.try_recv() {
        let mut encoder = JsonEncoder::new(false);
        encoder.encode(&batch).unwrap();
        rows.extend(encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap()));
    }
    rows.sort();
    rows
}

#[test]
fn what_is_written_is_read_once_by_any_number_of_instances() {
    let cluster = cluster(4);
    let brokers = cluster.bootstrap_servers();
    write(&brokers, 0, 1_000);
    let mut expected: Vec<String> = (0..1_000).map(|n| format!(r#"{{"k":"k{}","n":{n}}}"#, n % 10)).collect();
    expected.sort();
    for workers in [1, 3] {
        let earliest = [("scan.startup.mode", "earliest-offset")];
        assert_eq!(read(&brokers, columns(), &earliest, workers), expected, "{workers} workers");
    }
}

#[test]
fn offsets_start_where_they_are_told_and_are_columns() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    write(&brokers, 0, 5);
    let mut columns = columns();
    columns.push(Field::new("partition", DataType::Int32, true));
    columns.push(Field::new("offset", DataType::Int64, true));
    let more = [
        ("scan.startup.mode", "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:3"),
    ];
    let expected =
        [r#"{"k":"k3","n":3,"partition":0,"offset":3}"#, r#"{"k":"k4","n":4,"partition":0,"offset":4}"#];
    assert_eq!(read(&brokers, columns, &more, 1), expected);
}

#[test]
fn what_cannot_be_kept_is_refused_with_a_remedy() {
    let sink = |more: &[(&str, &str)]| Kafka.sink(&table("b:1", columns(), more)).err().unwrap().to_string();
    let error = sink(&[("sink.delivery-guarantee", "exactly-once")]);
    assert!(error.contains("sink.transactional-id-prefix"), "{error}");
    let exact = [("sink.delivery-guarantee", "exactly-once"), ("sink.transactional-id-prefix", "p")];
    let sink_of = Kafka.sink(&table("b:1", columns(), &exact)).unwrap();
    let error = sink_of.create(0, 1).unwrap().open(&messages::context(0, 1)).unwrap_err().to_string();
    assert!(error.contains("--state"), "{error}");
    assert!(sink(&[("key.fields", "nothing")]).contains("key.fields"));
    assert!(sink(&[("properties.acks", "1")]).contains("acks"));
    let error = Kafka.source(&table("b:1", columns(), &[])).err().unwrap().to_string();
    assert!(error.contains("properties.group.id"), "{error}");
}
