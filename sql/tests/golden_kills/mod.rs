//! The same rows, though a job is stopped at random checkpoints and gone on with by another number of workers: every case
//! that has rows. Rows that came behind a checkpoint are forgotten, as a sink that commits with checkpoints forgets them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_connectors::format::JsonEncoder;
use millstream_engine::element::Epoch;
use millstream_engine::state::{MemoryStateStore, StateReader, StateStore, StateWriter};
use millstream_engine::{
    Batch, Encoder, InstanceContext, Job, JobConfig, JobState, Ready, Result, Sink, SinkProvider,
};
use millstream_sql::{CompileOptions, compile};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{cases_with_rows, folded, folder, side_by_side};

/// Stops of a case at most; a job that ends first has no more.
const STOPS_MAX: usize = 4;

/// A result, and an instance of its sink.
type Place = (usize, usize);

/// The rows that are there for good.
#[derive(Default, Clone)]
struct Committed(Arc<Mutex<BTreeMap<Place, Vec<String>>>>);

#[derive(Clone)]
struct Results {
    result: usize,
    committed: Committed,
}

impl SinkProvider for Results {
    fn accepts_updates(&self) -> bool {
        true
    }
    fn create(&self, instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        let place = (self.result, instance);
        Ok(Box::new(Committing {
            committed: self.committed.clone(),
            place,
            open: Vec::new(),
            safe: Vec::new(),
        }))
    }
}

struct Committing {
    committed: Committed,
    place: Place,
    /// Rows since the last barrier.
    open: Vec<String>,
    /// Rows before it.
    safe: Vec<String>,
}

impl Sink for Committing {
    fn open(&mut self, _context: &InstanceContext) -> Result<()> {
        self.committed.0.lock().remove(&self.place);
        Ok(())
    }
    fn write(&mut self, batch: Batch) -> Result<()> {
        let mut encoder = JsonEncoder::new(batch.changes.is_some());
        encoder.encode(&batch)?;
        let rows = encoder.encoded().rows().map(|row| String::from_utf8(row.to_vec()).unwrap());
        self.open.extend(rows);
        Ok(())
    }
    fn on_barrier(&mut self, _epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.safe.append(&mut self.open);
        state.put_blob(serde_json::to_vec(&self.safe).unwrap());
        Ok(Ready::Yes)
    }
    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let rows = |blob| serde_json::from_slice::<Vec<String>>(blob).unwrap();
        self.safe = state.blobs().flat_map(rows).collect();
        Ok(())
    }
    /// A job that is stopped behind its end has these rows in its last epoch.
    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        let ready = self.on_barrier(epoch, state)?;
        self.committed.0.lock().insert(self.place, self.safe.clone());
        Ok(ready)
    }
}

/// The rows of a text that is stopped and gone on with, and how often it was.
fn run(text: &str, random: &mut SmallRng) -> (Vec<String>, usize) {
    let committed = Committed::default();
    let store = Arc::new(MemoryStateStore::default());
    let start = |workers: usize, restore: Option<Epoch>| {
        let (data, committed) = (folder().join("data").display().to_string(), committed.clone());
        let results = Mutex::new(0);
        let options = CompileOptions {
            workers,
            variables: Arc::new(move |name| (name == "DATA").then(|| data.clone())),
            results: Some(Arc::new(move |_| {
                let mut next = results.lock();
                *next += 1;
                Arc::new(Results { result: *next, committed: committed.clone() }) as Arc<dyn SinkProvider>
            })),
            ..CompileOptions::default()
        };
        let program = compile(text, &millstream_connectors::registry(), &options).unwrap();
        let store = Arc::clone(&store) as _;
        let config = JobConfig { workers, batch_rows_max: 1, store, restore, ..JobConfig::default() };
        Job::start(&program.graph, config).unwrap()
    };
    let mut job = start(random.random_range(1..4), None);
    let mut stops = 0;
    while stops < STOPS_MAX {
        (0..random.random_range(0..30)).for_each(|_| std::thread::yield_now());
        // None or an error: it has ended, and its rows are all there.
        let Ok(Some(_)) = job.checkpoint() else { break };
        job.stop();
        job.wait().unwrap();
        if job.state() == JobState::Finished {
            break;
        }
        stops += 1;
        job = start(random.random_range(1..4), store.latest());
    }
    job.wait().unwrap();
    let rows: Vec<String> = committed.0.lock().values().flatten().cloned().collect();
    let mut rows = if rows.iter().any(|row| row.starts_with("{\"op\":")) { folded(&rows) } else { rows };
    rows.sort();
    (rows, stops)
}

#[test]
fn answers_do_not_depend_on_stops_and_restores() {
    let stopped = Mutex::new(0);
    let difference = |case: &PathBuf| -> Vec<String> {
        let expected = std::fs::read_to_string(case.with_extension("out")).unwrap();
        let text = std::fs::read_to_string(case).unwrap();
        let name = case.file_stem().unwrap().to_string_lossy();
        // A case has its own kills, the same each time as far as threads let them.
        let seed = name.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut found, mut stops) = run(&text, &mut random);
        // Most cases are over in a millisecond, and some before any checkpoint.
        for _ in 0..4 {
            if stops == 0 {
                (found, stops) = run(&text, &mut random);
            }
        }
        *stopped.lock() += usize::from(stops > 0);
        let found = found.join("\n") + "\n";
        let differs = found != expected;
        differs
            .then(|| format!("{name}, stopped {stops} times:\n--- expected\n{expected}--- found\n{found}"))
            .into_iter()
            .collect()
    };
    let cases = cases_with_rows();
    let wrong = side_by_side(&cases, &difference);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let stopped = *stopped.lock();
    assert!(
        std::env::var_os("GOLDEN_ONLY").is_some() || stopped > cases.len() / 5,
        "only {stopped} cases were stopped"
    );
    println!("{stopped} of {} cases were stopped", cases.len());
}
