//! What a run of the harness did: how often which blow, and with how many workers.

use std::collections::BTreeMap;

/// Where the process dies by itself.
pub const PLACES: &[&str] = &[
    "kafka-handed-over",
    "checkpoint-before-complete",
    "checkpoint-complete",
    "kafka-messages-sent",
    "kafka-before-commit",
    "kafka-after-commit",
];

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    pub at_instants: u64,
    pub at_places: BTreeMap<&'static str, u64>,
    pub with_brokers: u64,
    /// By the manner in which a line broke, the disk was full or the clock was set.
    pub manners: BTreeMap<&'static str, u64>,
    pub workers: BTreeMap<usize, u64>,
}

impl Tally {
    fn kills(&self) -> u64 {
        self.workers.values().sum()
    }

    /// One after the other, so that a short run has all.
    pub fn next_manner<const N: usize>(&mut self, manners: [&'static str; N]) -> &'static str {
        let count = |manner: &&'static str| self.manners.get(manner).copied().unwrap_or(0);
        let manner = manners.into_iter().min_by_key(count).unwrap();
        *self.manners.entry(manner).or_default() += 1;
        manner
    }

    pub fn print(&self) {
        println!(
            "{} starts that were killed: {} at an instant, {} with a broker, {:?}, at places {:?}; as many with 1, 2, ... \
             workers: {:?}",
            self.kills(),
            self.at_instants,
            self.with_brokers,
            self.manners,
            self.at_places,
            self.workers.values(),
        );
    }

    /// The places that the process did not die at.
    pub fn places_missed(&self) -> Vec<&'static str> {
        PLACES.iter().copied().filter(|place| !self.at_places.contains_key(place)).collect()
    }
}
