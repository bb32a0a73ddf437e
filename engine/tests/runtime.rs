//! Jobs as a user of the engine sees them: lifecycle, backpressure, failure, checkpoints and restore.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use millstream_engine::element::Epoch;
use millstream_engine::job::JobState;
use millstream_engine::state::{MemoryStateStore, StateReader, StateStore, StateWriter};
use millstream_engine::*;
use parking_lot::Mutex;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// Counts up to `end`, `step` rows a batch; `None` counts for ever, slowly.
#[derive(Clone)]
struct Numbers {
    end: Option<i64>,
    step: i64,
    pause: bool,
}

struct NumbersInstance {
    numbers: Numbers,
    next: i64,
    stride: i64,
    offset: i64,
}

impl SourceProvider for Numbers {
    fn is_bounded(&self) -> bool {
        self.end.is_some()
    }
    fn create(&self, _: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        let (offset, stride) = (instance as i64, parallelism as i64);
        Ok(Box::new(NumbersInstance { numbers: self.clone(), next: 0, stride, offset }))
    }
}

impl Source for NumbersInstance {
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let end = self.numbers.end.unwrap_or(i64::MAX);
        if self.next >= end {
            return Ok(SourcePoll::Finished);
        }
        let last = (self.next + self.numbers.step).min(end);
        let column =
            Int64Array::from_iter_values((self.next..last).filter(|n| n % self.stride == self.offset));
        self.next = last;
        out.emit(Batch::new(RecordBatch::try_new(schema(), vec![Arc::new(column)])?))?;
        Ok(if self.numbers.pause { SourcePoll::Sleep(Duration::from_millis(1)) } else { SourcePoll::Ready })
    }
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        state.put_blob(self.next.to_le_bytes().to_vec());
        Ok(())
    }
    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for blob in state.blobs() {
            self.next = i64::from_le_bytes(blob.try_into().unwrap());
        }
        Ok(())
    }
}

#[derive(Default, Clone)]
struct Seen {
    rows: Arc<Mutex<Vec<i64>>>,
    /// How many rows had come when the barrier of an epoch passed.
    at_barrier: Arc<Mutex<Vec<(Epoch, usize)>>>,
    closed: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
}

impl SinkProvider for Seen {
    fn create(&self, _: usize, _: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Seen {
    fn write(&mut self, batch: Batch) -> Result<()> {
        self.rows.lock().extend(batch.rows.column(0).as_primitive::<Int64Type>().values());
        Ok(())
    }
    fn is_ready(&self) -> bool {
        !self.full.load(Ordering::SeqCst)
    }
    fn on_barrier(&mut self, epoch: Epoch, _: &mut StateWriter) -> Result<Ready> {
        self.at_barrier.lock().push((epoch, self.rows.lock().len()));
        Ok(Ready::Yes)
    }
    fn finish(&mut self) -> Result<Ready> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(Ready::Yes)
    }
}

/// Sums by key `n % 10`, emits each row back, and fails or panics at a given number.
#[derive(Default)]
struct Check {
    fail_at: Option<i64>,
    panic_at: Option<i64>,
    seen: u64,
    restored: Arc<AtomicU64>,
}

impl Operator for Check {
    fn process(&mut self, _: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        for n in batch.rows.column(0).as_primitive::<Int64Type>().values() {
            assert!(Some(*n) != self.panic_at, "number {n}");
            if Some(*n) == self.fail_at {
                return Err(Error::data(format!("number {n}")));
            }
        }
        self.seen += batch.num_rows() as u64;
        out.emit(batch)
    }
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        state.put_blob(self.seen.to_le_bytes().to_vec());
        Ok(())
    }
    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let seen: u64 = state.blobs().map(|blob| u64::from_le_bytes(blob.try_into().unwrap())).sum();
        self.restored.store(seen, Ordering::SeqCst);
        Ok(())
    }
}

fn graph(
    numbers: Numbers,
    keyed: bool,
    seen: &Seen,
    check: impl Fn() -> Check + Send + Sync + 'static,
) -> Graph {
    let mut graph = Graph::new();
    let source = graph.source("numbers", "", Arc::new(numbers), schema());
    let input = if keyed { Input::keyed(source, vec![0]) } else { Input::forward(source) };
    let operator = graph.operator("check", "check", "", vec![input], Arc::new(move || Ok(Box::new(check()))));
    graph.sink("seen", "", Arc::new(seen.clone()), Input::gather(operator));
    graph
}

fn config(workers: usize) -> JobConfig {
    JobConfig { name: "test".into(), workers, ..JobConfig::default() }
}

fn sorted(seen: &Seen) -> Vec<i64> {
    let mut rows = seen.rows.lock().clone();
    rows.sort_unstable();
    rows
}

#[test]
fn every_row_arrives_once_for_any_worker_count() {
    for workers in [1, 2, 4, 7] {
        for step in [1, 7, 4096] {
            let seen = Seen::default();
            let numbers = Numbers { end: Some(5_000), step, pause: false };
            let job = Job::start(&graph(numbers, true, &seen, Check::default), config(workers)).unwrap();
            job.wait().unwrap();
            assert_eq!(job.state(), JobState::Finished);
            assert_eq!(
                sorted(&seen),
                (0..5_000).collect::<Vec<_>>(),
                "{workers} workers, {step} rows a batch"
            );
            assert!(seen.closed.load(Ordering::SeqCst));
            let rows_in: u64 =
                job.metrics().iter().filter(|m| m.operator == "check").map(|m| m.rows_in.get()).sum();
            assert_eq!(rows_in, 5_000);
        }
    }
}

#[test]
fn one_worker_has_one_stage_and_more_have_exchanges() {
    let numbers = Numbers { end: Some(1), step: 1, pause: false };
    let graph = graph(numbers, true, &Seen::default(), Check::default);
    let one = explain(&graph, 1);
    assert!(one.contains("Stage 0") && !one.contains("Stage 1"), "{one}");
    let two = explain(&graph, 2);
    assert!(two.contains("hash of columns [0]") && two.contains("all to one"), "{two}");
}

#[test]
fn a_full_sink_pushes_back_to_the_source() {
    let seen = Seen::default();
    seen.full.store(true, Ordering::SeqCst);
    let numbers = Numbers { end: None, step: 1_000, pause: false };
    let config = JobConfig { queue_bytes_max: 50_000, ..config(2) };
    let job = Job::start(&graph(numbers, true, &seen, Check::default), config).unwrap();
    let taken = || job.metrics().iter().find(|m| m.operator == "numbers").map_or(0, |m| m.rows_out.get());
    std::thread::sleep(Duration::from_millis(200));
    let before = taken();
    std::thread::sleep(Duration::from_millis(200));
    // Two queues of 50,000 bytes to each of two instances, 8 bytes a row, and a batch over the limit for each.
    assert!(before == taken() && before < 100_000, "{before} rows were taken in");
    seen.full.store(false, Ordering::SeqCst);
    job.wake();
    job.drain();
    job.wait().unwrap();
    assert_eq!(seen.rows.lock().len() as u64, taken());
}

#[test]
fn a_failure_stays_in_its_job() {
    let healthy = Seen::default();
    let numbers = Numbers { end: None, step: 10, pause: true };
    let other = Job::start(&graph(numbers.clone(), true, &healthy, Check::default), config(2)).unwrap();
    let failing = || Check { fail_at: Some(500), ..Check::default() };
    let job = Job::start(&graph(numbers.clone(), true, &Seen::default(), failing), config(2)).unwrap();
    let error = job.wait().unwrap_err();
    assert_eq!((job.state(), error.to_string().as_str()), (JobState::Failed, "check: number 500"));
    let panicking = || Check { panic_at: Some(500), ..Check::default() };
    let job = Job::start(&graph(numbers, true, &Seen::default(), panicking), config(2)).unwrap();
    let error = job.wait().unwrap_err();
    assert!(error.to_string().contains("check") && error.to_string().contains("number 500"), "{error}");
    assert_eq!(other.state(), JobState::Running);
    other.drain();
    other.wait().unwrap();
    assert_eq!(other.state(), JobState::Finished);
}

#[test]
fn drain_delivers_and_stop_does_not_wait() {
    let seen = Seen::default();
    let numbers = Numbers { end: None, step: 10, pause: true };
    let job = Job::start(&graph(numbers.clone(), false, &seen, Check::default), config(2)).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    job.drain();
    job.wait().unwrap();
    let rows = sorted(&seen);
    assert_eq!(rows, (0..rows.len() as i64).collect::<Vec<_>>());
    assert!(seen.closed.load(Ordering::SeqCst) && !rows.is_empty());
    let seen = Seen::default();
    let job = Job::start(&graph(numbers, false, &seen, Check::default), config(2)).unwrap();
    job.stop();
    job.wait().unwrap();
    assert_eq!(job.state(), JobState::Stopped);
    assert!(!seen.closed.load(Ordering::SeqCst));
}

#[test]
fn a_checkpoint_restores_to_another_number_of_workers() {
    for (before, after) in [(1, 1), (2, 3), (4, 1)] {
        let store = Arc::new(MemoryStateStore::default());
        let first = Seen::default();
        let numbers = Numbers { end: None, step: 100, pause: true };
        let with_store = |workers, restore| JobConfig { store: store.clone(), restore, ..config(workers) };
        let job =
            Job::start(&graph(numbers, true, &first, Check::default), with_store(before, None)).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(job.checkpoint().unwrap(), Some(1));
        assert_eq!(job.checkpoint().unwrap(), Some(2));
        job.stop();
        job.wait().unwrap();
        // What came before the barrier, and what the restored job gives, is everything once.
        let cut = first.at_barrier.lock().iter().find(|(epoch, _)| *epoch == 2).unwrap().1;
        first.rows.lock().truncate(cut);
        let restored = Arc::new(AtomicU64::new(0));
        let restored_of = Arc::clone(&restored);
        let check = move || Check { restored: Arc::clone(&restored_of), ..Check::default() };
        let end = i64::try_from(cut).unwrap() + 5_000;
        let numbers = Numbers { end: Some(end), step: 1_000, pause: false };
        let job =
            Job::start(&graph(numbers, true, &first, check), with_store(after, store.latest())).unwrap();
        job.wait().unwrap();
        let rows = sorted(&first);
        let gaps: Vec<_> = rows.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        assert_eq!((rows.len(), gaps), (cut + 5_000, vec![]), "{before} to {after} workers, cut at {cut}");
        assert_eq!(restored.load(Ordering::SeqCst), cut as u64);
        assert_eq!(job.checkpoint().unwrap(), None);
    }
}

#[test]
fn a_wrong_setting_is_an_error_of_the_start() {
    let numbers = Numbers { end: Some(1), step: 1, pause: false };
    let graph = graph(numbers, false, &Seen::default(), Check::default);
    let error = Job::start(&graph, config(0)).err().unwrap();
    assert!(error.to_string().contains("choose 1 to 128"), "{error}");
    assert!(Job::start(&Graph::new(), config(1)).is_err());
}
