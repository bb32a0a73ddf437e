//! What a source says of its partitions, by which event time waits for each of them and for no worker without one.

use std::sync::Mutex;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use millstream_engine::{Batch, Operator, Output, Result, Sink, SinkProvider};

use super::messages::{EARLIEST, send, wait_until};
use super::*;

/// What came to a worker's operator or to the sink, in order.
type Told = Arc<Mutex<Vec<String>>>;

/// Makes a watermark of `n`.
struct Marks(Told);

impl Operator for Marks {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let latest = batch.rows.column(0).as_primitive::<Int64Type>().values().iter().copied().max();
        self.0.lock().unwrap().push("rows".into());
        out.watermark(latest.unwrap_or_default())
    }

    fn expect_partitions(&mut self, partitions: &[u32], _out: &mut Output<'_>) -> Result<()> {
        self.0.lock().unwrap().push(format!("{partitions:?}"));
        Ok(())
    }

    fn forwards_watermarks(&self) -> bool {
        false
    }
}

/// Takes down the watermarks of all workers together.
struct Keeps(Told);

impl SinkProvider for Keeps {
    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Keeps(Arc::clone(&self.0))))
    }
}

impl Sink for Keeps {
    fn write(&mut self, _batch: Batch) -> Result<()> {
        Ok(())
    }

    fn on_watermark(&mut self, time_ms: i64) -> Result<()> {
        self.0.lock().unwrap().push(format!("w{time_ms}"));
        Ok(())
    }
}

/// What is told of a topic, whose first partition alone has two messages, until the second's watermark is there.
fn told(partitions: i32, workers: usize) -> Vec<String> {
    let cluster = cluster(partitions);
    let brokers = cluster.bootstrap_servers();
    send(&brokers, &[("t", None, Some(r#"{"n":1}"#), &[]), ("t", None, Some(r#"{"n":7}"#), &[])]);
    let table = table(&brokers, vec![Field::new("n", DataType::Int64, true)], &[EARLIEST]);
    let told = Told::default();
    let mut graph = Graph::new();
    let source = graph.source("t", "", Kafka.source(&table).unwrap(), Arc::clone(&table.schema));
    let of_marks = Arc::clone(&told);
    let factory =
        Arc::new(move || -> Result<Box<dyn Operator>> { Ok(Box::new(Marks(Arc::clone(&of_marks)))) });
    let marks = graph.operator("marks", "marks", "", vec![Input::forward(source)], factory);
    graph.sink("out", "", Arc::new(Keeps(Arc::clone(&told))), Input::gather(marks));
    let job = Job::start(&graph, JobConfig { workers, ..JobConfig::default() }).unwrap();
    wait_until(|| told.lock().unwrap().iter().any(|line| line == "w7"));
    drop(job);
    let told = told.lock().unwrap();
    told.clone()
}

#[test]
fn partitions_are_told_in_one_go_before_any_row_whether_they_have_one_or_not() {
    let told = told(3, 1);
    assert_eq!(told[..2], ["[0, 1, 2]", "rows"], "{told:?}");
}

#[test]
fn workers_without_a_partition_hold_nothing_back() {
    let told = told(1, 3);
    assert_eq!(told.iter().filter(|line| line.starts_with('[')).count(), 1, "{told:?}");
}
