//! One query in a process of its own, which measures itself and says so in one line of JSON: so that processor time and
//! peak memory are those of the query, and a query that fails leaves the others alone.

use std::path::Path;
use std::sync::Arc;

use millstream::Pipeline;
use millstream::engine::{ClockRef, Error, JobState, SystemClock};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use super::queries::{CountChar, TABLES, text};
use crate::cli::Nexmark;
use crate::exit::Failure;
use crate::runner;
use crate::status::Totals;

/// What a run of a query took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Events read.
    pub events: u64,
    /// From compiling to the end.
    pub seconds: f64,
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// The most memory that the process had.
    pub rss_peak_bytes: u64,
    /// Rows that came to the sink; of a query that updates, its changes.
    pub rows_out: u64,
    /// Rows that came too late for their window, a part of a query's answer.
    pub rows_late: u64,
}

/// Rows of q13's side input, as many as its keys.
const SIDE_INPUT_ROWS: u32 = 10_000;

/// Runs query `name` and prints what it took.
pub fn run(name: &str, options: &Nexmark) -> Result<(), Failure> {
    let folder = Scratch::new()?;
    let side_input = folder.0.join("side_input.txt");
    let rows: String = (0..SIDE_INPUT_ROWS).map(|key| format!("{key},{key}\n")).collect();
    std::fs::write(&side_input, rows).map_err(|error| folder.failed(&error))?;
    let output = format!("{}/", folder.0.join("output").display());
    let variables = [("SIDE_INPUT", side_input.display().to_string()), ("OUTPUT", output)];
    let text = format!("{}{}", TABLES.replace("${SOURCE}", &source(options)), text(name).unwrap_or_default());
    let mut builder = Pipeline::builder()
        .workers(runner::workers(&options.plan))
        .scalar_function(Arc::new(CountChar))
        .variables(move |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        })
        .sql(text);
    for (key, value) in &options.plan.settings {
        builder = builder.setting(key, value);
    }
    let clock: ClockRef = SystemClock::shared();
    let (started_ns, before) = (clock.monotonic_ns(), cpu_seconds(&usage()?));
    let pipeline = builder.start().map_err(|error| Failure::start(error, name))?;
    pipeline.wait().map_err(Failure::Runtime)?;
    let elapsed_ns = clock.monotonic_ns().saturating_sub(started_ns);
    if pipeline.state() != JobState::Finished {
        return Err(Failure::Interrupted);
    }
    let (after, totals) = (usage()?, Totals::of(pipeline.metrics()));
    let measured = Measured {
        events: totals.rows_in,
        seconds: elapsed_ns as f64 / 1e9,
        cpu_seconds: cpu_seconds(&after) - before,
        rss_peak_bytes: rss_peak_bytes(&after),
        rows_out: totals.rows_out,
        rows_late: totals.late,
    };
    let line = serde_json::to_string(&measured)
        .map_err(|error| Failure::Runtime(Error::internal(error.to_string())))?;
    println!("{line}");
    Ok(())
}

/// The options of the table of events.
fn source(options: &Nexmark) -> String {
    match &options.input {
        Some(file) => {
            format!(
                "'connector' = 'filesystem', 'format' = 'json', 'path' = '{}'",
                file.display().to_string().replace('\'', "''")
            )
        }
        None => format!(
            "'connector' = 'nexmark', 'events.num' = '{}', 'first-event.rate' = '{rate}', 'next-event.rate' = '{rate}'",
            options.events,
            rate = options.rate,
        ),
    }
}

fn usage() -> Result<Usage, Failure> {
    getrusage(UsageWho::RUSAGE_SELF).map_err(|error| {
        Failure::Runtime(Error::unavailable(format!("the system does not tell what was used: {error}")))
    })
}

fn cpu_seconds(usage: &Usage) -> f64 {
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}

fn rss_peak_bytes(usage: &Usage) -> u64 {
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1 << 10 };
    u64::try_from(usage.max_rss()).unwrap_or(0) * unit
}

/// A folder for what queries read and write beside events; gone when dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("millstream-nexmark-{}", std::process::id()));
        let scratch = Self(folder);
        std::fs::create_dir_all(Path::new(&scratch.0)).map_err(|error| scratch.failed(&error))?;
        Ok(scratch)
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        let error = Error::unavailable(format!("folder {} cannot be written: {error}", self.0.display()));
        Failure::Runtime(error.remedy("set TMPDIR to a folder that can"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
