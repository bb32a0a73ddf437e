//! What the benches share: flags, rounds, medians, and a seeded generator.
//!
//! Each bench is a plain program: it prints one line a case with the median of its rounds, and panics when an answer
//! is wrong, so that a fast path that breaks cannot win.

#![allow(dead_code)]

use std::str::FromStr;
use std::time::Instant;

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

/// Runs `body` once to warm up and `--rounds` times (5) for the median seconds.
pub fn median_seconds(mut body: impl FnMut()) -> f64 {
    let rounds = flag("rounds", 5_usize).max(1);
    if rounds > 1 {
        body();
    }
    median((0..rounds).map(|_| seconds(&mut body)).collect())
}

/// Prints a case's rate.
pub fn report(case: &str, workers: usize, rows: usize, seconds: f64) {
    let (millions, ns) = (rows as f64 / seconds / 1e6, seconds * 1e9 / rows as f64);
    println!("{case:<28} workers {workers}   {millions:>7.2} M rows/s   {ns:>7.1} ns/row");
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
