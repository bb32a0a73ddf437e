//! What the benches share: flags, rounds, medians, and a seeded generator.
//!
//! Each bench is a plain program: it prints one line a case with the median of its rounds, and panics when an answer
//! is wrong, so that a fast path that breaks cannot win.

#![allow(dead_code)]

use std::str::FromStr;
use std::time::Instant;

/// The command's allocator, so that benches measure what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The value behind `--name` on the command line, or `default`.
pub fn flag<T: FromStr>(name: &str, default: T) -> T {
    let wanted = format!("--{name}");
    let mut words = std::env::args().skip_while(|word| *word != wanted).skip(1);
    match words.next() {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_| panic!("{wanted} does not take '{text}'")),
    }
}

/// True when the case `name` is wanted: all are, unless `--case` names a part of some.
pub fn wanted(name: &str) -> bool {
    name.contains(&flag("case", String::new()))
}

/// Seconds that `body` takes. Benches measure real time, so here the machine's clock is asked directly.
#[allow(clippy::disallowed_methods)]
pub fn seconds(body: impl FnOnce()) -> f64 {
    let start = Instant::now();
    body();
    start.elapsed().as_secs_f64()
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What rounds took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Median of the elapsed seconds.
    pub seconds: f64,
    /// Median of the processor seconds of all threads of the process; 0 where the system does not tell. On a machine
    /// that others use too it is the steadier figure.
    pub cpu_seconds: f64,
}

/// Runs `body` once to warm up and `--rounds` times (5) for the medians.
pub fn rounds(mut body: impl FnMut()) -> Took {
    let rounds = flag("rounds", 5_usize).max(1);
    if rounds > 1 {
        body();
    }
    let (mut elapsed, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = cpu_seconds("self");
        elapsed.push(seconds(&mut body));
        cpu.push(cpu_seconds("self") - before);
    }
    Took { seconds: median(elapsed), cpu_seconds: median(cpu) }
}

/// User and system time of process `pid` so far.
pub fn cpu_seconds(pid: &str) -> f64 {
    ticks(pid, 11)
}

/// User and system time of the processes that this one started and waited for.
pub fn children_cpu_seconds() -> f64 {
    ticks("self", 13)
}

/// Two times of a process, in seconds; `first` counts from the field behind its name.
fn ticks(pid: &str, first: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Ticks are hundredths of a second on every Linux that people run.
    after_name.skip(first).take(2).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>() as f64 / 100.0
}

/// Prints a case's rate, and the processor time a row.
pub fn report(case: &str, workers: usize, rows: usize, took: Took) {
    let millions = rows as f64 / took.seconds / 1e6;
    let cpu_ns = took.cpu_seconds * 1e9 / rows as f64;
    println!("{case:<28} workers {workers}   {millions:>7.2} M rows/s   {cpu_ns:>7.1} ns of processor a row");
}

/// A generator with a seed (SplitMix64), so that every run reads the same rows.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }
}
