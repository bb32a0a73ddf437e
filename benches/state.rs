//! State that is large: how soon a restart has its first new row, how long a checkpoint holds rows back, what it costs.
//!
//! `cargo bench --bench state -- --mb 1000 --case window --seconds 10 --rounds 3`
//!
//! Devices are counted, averaged and so on, in a window of a day (`window`) or for ever (`group`), as many as make a
//! checkpoint of `--mb`. Once all are known the pipeline is suspended and started again: `first row` is the time from there
//! until a row comes out. Then random devices report as fast as they are taken, for `--seconds` with a checkpoint a second
//! and without, in turn; `stall` is the longest time in which an instance of an operator took in nothing.
//! Memory is the process's. Other work on the machine shows in stalls: run it alone.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream::Pipeline;
use millstream::engine::{Batch, Clock, Output, Result, Source, SourcePoll, SourceProvider, SystemClock};
use millstream::sql::{ProvidedTable, TableWatermark};
use support::{Random, flag, median, seconds, wanted};

/// Name, bytes of a device in a checkpoint, and the query.
const CASES: [(&str, u64, &str); 2] = [
    (
        "window",
        64,
        "SELECT device, COUNT(*) AS n, AVG(v) AS mean, MIN(v) AS low, MAX(v) AS high, window_end
         FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' DAY))
         GROUP BY device, window_start, window_end",
    ),
    (
        "group",
        72,
        "SELECT device, COUNT(*) AS n, AVG(v) AS mean, MIN(v) AS low, MAX(v) AS high FROM readings GROUP BY device",
    ),
];
const BATCH_ROWS: u64 = 4_096;
/// 2026-01-01.
const DAY_MS: i64 = 1_767_225_600_000;

fn main() {
    let megabytes: u64 = flag("mb", 100);
    for (name, device_bytes, query) in CASES.iter().filter(|(name, ..)| wanted(name)) {
        let devices = megabytes * 1_000_000 / device_bytes;
        measure(name, query, devices);
    }
}

fn measure(name: &str, query: &str, devices: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    let start = |work: &Arc<Work>, interval: &str| {
        let schema = schema();
        let mut builder = Pipeline::builder()
            .workers(flag("workers", 2))
            .state(&state)
            .setting("execution.checkpointing.interval", interval)
            .setting("table.exec.state.ttl", "0")
            .table(ProvidedTable {
                name: "readings".into(),
                schema: Arc::clone(&schema),
                watermark: Some(TableWatermark { column: "ts".into(), delay_ms: 0 }),
                source: Some(Arc::new(Handle(Arc::clone(work))) as _),
                sink: None,
            })
            .sql(query);
        let rows = builder.result();
        let own = Arc::clone(work);
        let pipeline = builder.start().expect("the pipeline starts");
        // Ends with the pipeline.
        std::thread::spawn(move || {
            while let Some(batch) = rows.recv() {
                own.rows_out.fetch_add(batch.num_rows(), Relaxed);
            }
        });
        pipeline
    };

    let work = Work::new(devices, Phase::Load);
    let pipeline = start(&work, "1 h");
    wait_until(|| work.rows_in.load(Relaxed) == devices);
    let suspend = seconds(|| {
        pipeline.suspend();
        pipeline.wait().expect("it is suspended");
    });
    drop(pipeline);
    let bytes = std::fs::read_dir(&state).expect("the state's folder").flatten();
    let bytes: u64 = bytes.map(|file| file.metadata().expect("a file").len()).max().unwrap_or(0);
    println!(
        "{name}: {devices} devices, a checkpoint of {:.0} MB; suspended in {suspend:.2} s",
        bytes as f64 / 1e6
    );

    let rounds = flag("rounds", 3_usize).max(1);
    let first_row = (0..rounds).map(|_| {
        let work = Work::new(devices, Phase::Probe);
        let mut running = None;
        let time = seconds(|| {
            running = Some(start(&work, "1 h"));
            wait_until(|| work.rows_out.load(Relaxed) > 0);
        });
        drop(running);
        time
    });
    println!("{name}: restart to first row {:.2} s (median of {rounds})", median(first_row.collect()));

    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(run(&|work| start(work, "1 h"), devices));
        with.push(run(&|work| start(work, "1 s"), devices));
    }
    let of = |runs: &[Ran], value: fn(&Ran) -> f64| median(runs.iter().map(value).collect());
    let rate = |runs: &[Ran]| of(runs, |ran| ran.rows_a_second / 1e6);
    println!(
        "{name}: {:.2} M rows/s without, {:.2} with a checkpoint a second: {:.0} %; {:.1} checkpoints in {} s",
        rate(&without),
        rate(&with),
        100.0 * rate(&with) / rate(&without),
        of(&with, |ran| ran.checkpoints as f64),
        flag("seconds", 10_u64),
    );
    println!(
        "{name}: longest stall {:.0} ms without, {:.0} ms with; memory at most {:.0} MB without, {:.0} MB with",
        of(&without, |ran| ran.stall_ms),
        of(&with, |ran| ran.stall_ms),
        of(&without, |ran| ran.memory_mb),
        of(&with, |ran| ran.memory_mb),
    );
}

struct Ran {
    rows_a_second: f64,
    checkpoints: u64,
    stall_ms: f64,
    memory_mb: f64,
}

fn run(start: &dyn Fn(&Arc<Work>) -> Pipeline, devices: u64) -> Ran {
    let work = Work::new(devices, Phase::Report);
    let pipeline = start(&work);
    let before = pipeline.last_checkpoint();
    // Tables have grown, and what restoring took is given back.
    std::thread::sleep(Duration::from_millis(500));
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let rows = work.rows_in.load(Relaxed);
    let mut stall_ms = 0.0;
    let length = seconds(|| stall_ms = longest_stall_ms(&pipeline, Duration::from_secs(flag("seconds", 10))));
    let rows = work.rows_in.load(Relaxed) - rows;
    let ran = Ran {
        rows_a_second: rows as f64 / length,
        checkpoints: pipeline.last_checkpoint() - before,
        stall_ms,
        memory_mb: memory_peak_mb(),
    };
    pipeline.stop();
    pipeline.wait().expect("it ran well");
    ran
}

/// Looks a thousand times a second for how long each instance has taken in nothing.
fn longest_stall_ms(pipeline: &Pipeline, length: Duration) -> f64 {
    let clock = SystemClock::default();
    let end_ns = clock.monotonic_ns() + length.as_nanos() as u64;
    // Behind a window that does not close there is nothing to take in.
    let mut seen: Vec<_> = (pipeline.metrics().iter().filter(|metrics| metrics.rows_in.get() > 0))
        .map(|metrics| (metrics, metrics.rows_in.get(), clock.monotonic_ns()))
        .collect();
    assert!(!seen.is_empty(), "rows have come");
    let mut longest_ns = 0;
    loop {
        std::thread::sleep(Duration::from_millis(1));
        let now_ns = clock.monotonic_ns();
        for (metrics, rows, since_ns) in &mut seen {
            longest_ns = longest_ns.max(now_ns - *since_ns);
            let before = std::mem::replace(rows, metrics.rows_in.get());
            if *rows != before {
                *since_ns = now_ns;
            }
        }
        if now_ns >= end_ns {
            return longest_ns as f64 / 1e6;
        }
    }
}

fn memory_peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}

fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Int64, false),
        Field::new("v", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Every device reports once.
    Load,
    /// One batch of the day after, which closes the window.
    Probe,
    /// Random devices, without an end.
    Report,
}

/// What devices do, and what was seen of it.
struct Work {
    devices: u64,
    phase: Phase,
    rows_in: AtomicU64,
    rows_out: AtomicUsize,
}

impl Work {
    fn new(devices: u64, phase: Phase) -> Arc<Self> {
        Arc::new(Self { devices, phase, rows_in: AtomicU64::new(0), rows_out: AtomicUsize::new(0) })
    }
}

impl SourceProvider for Handle {
    fn is_bounded(&self) -> bool {
        false
    }

    fn parallelism(&self, workers: usize) -> usize {
        workers
    }

    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        let (next, stride) = (instance as u64, parallelism as u64);
        let random = Random(next + 7);
        Ok(Box::new(Devices { work: Arc::clone(&self.0), schema, next, stride, random }))
    }
}

/// What the engine makes sources of.
struct Handle(Arc<Work>);

/// An instance: every `stride`th device.
struct Devices {
    work: Arc<Work>,
    schema: SchemaRef,
    next: u64,
    stride: u64,
    random: Random,
}

impl Devices {
    fn rows(&mut self, day: i64) -> Result<Batch> {
        let devices: Vec<i64> = match self.work.phase {
            Phase::Report => (0..BATCH_ROWS).map(|_| self.random.below(self.work.devices) as i64).collect(),
            _ => {
                let until = self.work.devices.min(self.next + BATCH_ROWS * self.stride);
                let all =
                    (self.next..until).step_by(self.stride as usize).map(|device| device as i64).collect();
                self.next += BATCH_ROWS * self.stride;
                all
            }
        };
        let columns = self.schema.fields().iter().map(|field| match field.name().as_str() {
            "device" => Arc::new(Int64Array::from(devices.clone())) as ArrayRef,
            "v" => {
                Arc::new(Float64Array::from_iter_values(devices.iter().map(|device| *device as f64 * 0.25)))
            }
            _ => {
                Arc::new(TimestampMillisecondArray::from_value(DAY_MS + day * 86_400_000 + 1, devices.len()))
            }
        });
        Ok(Batch::new(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())?))
    }
}

impl Source for Devices {
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        if self.work.phase != Phase::Report && self.next >= self.work.devices {
            return Ok(SourcePoll::Waiting);
        }
        let day = i64::from(self.work.phase == Phase::Probe);
        let batch = self.rows(day)?;
        if self.work.phase == Phase::Probe {
            self.next = self.work.devices;
        }
        self.work.rows_in.fetch_add(batch.num_rows() as u64, Relaxed);
        out.emit(batch)?;
        Ok(SourcePoll::Ready)
    }
}
