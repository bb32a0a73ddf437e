//! Writing with state on disk, while the brokers are away.

use std::path::Path;
use std::sync::atomic::Ordering;

use millstream_engine::ErrorKind;
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::state::{DiskStateStore, StateStore};

use super::messages::{messages, wait_until};
use super::*;
use crate::kafka::UpsertKafka;
use crate::memory::Pusher;

/// A job that writes to the topic, with its state in a folder and a checkpoint every 20 ms.
struct Writer {
    job: Job,
    pusher: Option<Pusher>,
}

impl Writer {
    fn start(brokers: &str, folder: &Path, workers: usize, more: &[(&str, &str)]) -> Self {
        let table = table(brokers, columns(), &[&[("key.fields", "k")], more].concat());
        let (source, pusher) = MemorySource::channel(Arc::clone(&table.schema), 64 << 20);
        let mut graph = Graph::new();
        let source = graph.source("in", "", Arc::new(source), Arc::clone(&table.schema));
        let provider = Kafka.sink(&table).unwrap();
        graph.sink("t", "", provider, Input::keyed(source, vec![0]));
        let store = DiskStateStore::open(folder, graph.shape(), false).unwrap();
        let config = JobConfig {
            workers,
            restore: store.latest(),
            store: Arc::new(store),
            checkpoint_interval: Some(Duration::from_millis(20)),
            ..JobConfig::default()
        };
        Self { job: Job::start(&graph, config).unwrap(), pusher: Some(pusher) }
    }

    fn push(&self, numbers: std::ops::Range<i64>) {
        let keys = StringArray::from_iter_values(numbers.clone().map(|n| format!("k{}", n % 10)));
        let rows = vec![Arc::new(keys) as _, Arc::new(Int64Array::from_iter_values(numbers)) as _];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(columns())), rows).unwrap();
        self.pusher.as_ref().unwrap().push(batch).unwrap();
    }

    /// One that has an outbox has one instance.
    fn metrics(&self) -> &OperatorMetrics {
        let mut of_sink = self.job.metrics().iter().filter(|metrics| metrics.operator == "t");
        let metrics = of_sink.next().unwrap();
        assert!(of_sink.next().is_none());
        metrics
    }

    fn waiting(&self) -> u64 {
        self.metrics().outbox_depth.load(Ordering::Relaxed)
    }

    /// Waits for two checkpoints more: the second has begun behind all that was pushed.
    fn wait_checkpoints(&self) {
        let before = self.job.last_checkpoint();
        wait_until(|| self.job.last_checkpoint() >= before + 2);
    }

    fn finish(mut self) {
        drop(self.pusher.take());
        assert!(self.job.wait_for(Duration::from_secs(60)), "the job does not end");
        assert!(self.job.error().is_none(), "{:?}", self.job.error());
    }
}

/// The numbers of each partition, in its order.
fn numbers(brokers: &str, partitions: i32, count: usize) -> Vec<Vec<i64>> {
    let offsets = |partition| {
        let consumer: rdkafka::consumer::BaseConsumer =
            rdkafka::config::ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        let (_, high) =
            rdkafka::consumer::Consumer::fetch_watermarks(&consumer, "t", partition, Duration::from_secs(30))
                .unwrap();
        high as usize
    };
    let counts: Vec<usize> = (0..partitions).map(offsets).collect();
    assert_eq!(counts.iter().sum::<usize>(), count);
    let value = |text: Option<String>| -> i64 {
        serde_json::from_str::<serde_json::Value>(&text.unwrap()).unwrap()["n"].as_i64().unwrap()
    };
    let of_partition = |(partition, count): (i32, usize)| {
        messages(brokers, partition, count).into_iter().map(|(_, payload)| value(payload)).collect()
    };
    (0..).zip(counts).map(of_partition).collect()
}

#[test]
fn a_barrier_passes_while_the_brokers_are_away_and_all_comes_in_order_when_they_are_back() {
    let (cluster, folder) = (cluster(3), tempfile::tempdir().unwrap());
    let brokers = cluster.bootstrap_servers();
    cluster.broker_down(1).unwrap();
    // Some hundred bytes are on their way at a time, and the rest waits on the disk.
    let writer = Writer::start(&brokers, folder.path(), 2, &[("outlet.max-bytes", "2000")]);
    for first in (0..500).step_by(5) {
        writer.push(first..first + 5);
    }
    // Batches are put together on their way, so how many records they make is the machine's.
    writer.wait_checkpoints();
    assert!(writer.waiting() > 1);
    assert!(writer.metrics().outbox_bytes.load(Ordering::Relaxed) > 10_000);
    cluster.broker_up(1).unwrap();
    wait_until(|| writer.waiting() == 0);
    writer.push(500..505);
    writer.finish();
    let partitions = numbers(&brokers, 3, 505);
    for partition in &partitions {
        assert!(partition.is_sorted(), "{partition:?}");
    }
    let mut all = partitions.concat();
    all.sort_unstable();
    assert_eq!(all, (0..505).collect::<Vec<_>>());
}

#[test]
fn what_waits_too_long_is_with_the_dead_letters_and_what_the_brokers_refuse_too() {
    let (cluster, folder) = (cluster(1), tempfile::tempdir().unwrap());
    let brokers = cluster.bootstrap_servers();
    cluster.broker_down(1).unwrap();
    let writer = Writer::start(&brokers, folder.path(), 1, &[("outbox.ttl", "300 ms")]);
    writer.push(0..20);
    wait_until(|| writer.metrics().rows_dead_letter.get() == 20);
    let letters = writer.job.dead_letters().last();
    assert!(letters.iter().all(|letter| letter.error.contains("longer than 'outbox.ttl'")), "{letters:?}");
    assert!(letters.iter().all(|letter| letter.payload.starts_with(b"{\"k\":")), "{letters:?}");
    wait_until(|| writer.waiting() == 0);
    writer.finish();
    let writer = Writer::start(&brokers, folder.path(), 1, &[("properties.message.max.bytes", "1000")]);
    cluster.broker_up(1).unwrap();
    let keys = StringArray::from(vec!["short".to_owned(), "x".repeat(2_000), "last".to_owned()]);
    let rows = vec![Arc::new(keys) as _, Arc::new(Int64Array::from(vec![1, 2, 3])) as _];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(columns())), rows).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
    wait_until(|| writer.metrics().rows_dead_letter.get() == 1 && writer.waiting() == 0);
    writer.finish();
    assert_eq!(numbers(&brokers, 1, 2), [[1, 3]]);
}

/// Without an outbox a checkpoint waits for the brokers; and one that something waits in is not left behind in silence.
#[test]
fn a_table_without_an_outbox_does_not_leave_what_waits_behind() {
    let (cluster, folder) = (cluster(1), tempfile::tempdir().unwrap());
    let brokers = cluster.bootstrap_servers();
    cluster.broker_down(1).unwrap();
    let writer = Writer::start(&brokers, folder.path(), 1, &[]);
    writer.push(0..20);
    writer.wait_checkpoints();
    assert!(writer.waiting() > 0);
    drop(writer);
    let none: &[(&str, &str)] = &[("outbox.max-bytes", "0")];
    let start = |options: &[(&str, &str)]| {
        let table = table(&brokers, columns(), &[&[("key.fields", "k")], options].concat());
        let (source, _pusher) = MemorySource::channel(Arc::clone(&table.schema), 64 << 20);
        let mut graph = Graph::new();
        let source = graph.source("in", "", Arc::new(source), Arc::clone(&table.schema));
        graph.sink("t", "", Kafka.sink(&table).unwrap(), Input::keyed(source, vec![0]));
        let store = Arc::new(DiskStateStore::open(folder.path(), graph.shape(), false).unwrap());
        let restore = store.latest();
        Job::start(&graph, JobConfig { workers: 1, store, restore, ..JobConfig::default() })
    };
    let error = start(none).err().expect("it starts").to_string();
    assert!(error.contains("in the outbox of 't'") && error.contains("outbox purge"), "{error}");
}

#[test]
fn an_outbox_needs_at_least_once_and_keeps_the_order_of_what_is_written_by_key() {
    let exact = [
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.transactional-id-prefix", "p"),
        ("outbox.ttl", "1 h"),
    ];
    for options in [&exact[..], &[("sink.delivery-guarantee", "none"), ("outbox.ttl", "1 h")]] {
        let error = Kafka.sink(&table("b:1", columns(), options)).err().expect("it passes");
        assert!(error.to_string().contains("'outbox.ttl' needs 'sink.delivery-guarantee'"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let live = [("key.format", "json"), ("value.format", "json"), ("outbox.order", "live-first")];
    let mut table = table("b:1", columns(), &live);
    table.primary_key = vec![0];
    let error = UpsertKafka.sink(&table).err().expect("it passes").to_string();
    assert!(error.contains("'outbox.order'"), "{error}");
}
