//! How the pipeline is killed: one blow after the other, by a seed.
//!
//! Of ten blows four come at a random instant, four at a named place of the commit protocol (engine/src/failpoint.rs), where
//! the process dies by itself, and two with a broker that is killed or restarted. Invariants: after each the pipeline
//! starts with another number of workers, which may be more than there are partitions; places that were not come to are
//! tried again until all have been, so that a run of twenty blows reaches each.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::kafka::Kafka;
use crate::mosquitto::Mosquitto;

use super::victim::Victim;

/// Where the process dies by itself.
const PLACES: &[&str] = &[
    "kafka-handed-over",
    "checkpoint-before-complete",
    "checkpoint-complete",
    "kafka-messages-sent",
    "kafka-before-commit",
    "kafka-after-commit",
];
const WORKERS_MAX: usize = 6;
/// How long to wait for the process to come to a place.
const PLACE: Duration = Duration::from_secs(20);
/// Further blows for places that were not come to.
pub const FURTHER: u64 = 4;

/// Which blows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Instant,
    Place,
    Broker,
}

/// A broker that can be away for a while.
pub trait Broker {
    fn down(&mut self);
    fn up(&mut self);
}

impl Broker for Kafka {
    fn down(&mut self) {
        self.kill();
    }

    fn up(&mut self) {
        Kafka::up(self);
    }
}

impl Broker for Mosquitto {
    fn down(&mut self) {
        Mosquitto::down(self);
    }

    fn up(&mut self) {
        Mosquitto::up(self);
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    pub at_instants: u64,
    pub at_places: BTreeMap<&'static str, u64>,
    pub with_brokers: u64,
    pub workers: BTreeMap<usize, u64>,
}

impl Tally {
    pub fn kills(&self) -> u64 {
        self.workers.values().sum()
    }

    /// The places that the process did not die at.
    pub fn places_missed(&self) -> Vec<&'static str> {
        PLACES.iter().copied().filter(|place| !self.at_places.contains_key(place)).collect()
    }
}

/// Blows by a seed.
pub struct Blows {
    seed: u64,
    /// 'all', or only those that one of 'instant', 'place' and 'broker' names.
    only: Option<Blow>,
    random: SmallRng,
    tried: BTreeMap<&'static str, u64>,
    tally: Tally,
}

impl Blows {
    /// Those that MILLSTREAM_KILL_BLOWS names.
    pub fn new(seed: u64) -> Self {
        let only = match std::env::var("MILLSTREAM_KILL_BLOWS").as_deref() {
            Err(_) | Ok("all") => None,
            Ok("instant") => Some(Blow::Instant),
            Ok("place") => Some(Blow::Place),
            Ok("broker") => Some(Blow::Broker),
            Ok(other) => panic!("MILLSTREAM_KILL_BLOWS is '{other}': say all, instant, place or broker"),
        };
        let random = SmallRng::seed_from_u64(seed);
        Self { seed, only, random, tried: BTreeMap::new(), tally: Tally::default() }
    }

    /// Deals out `blows` blows, and what further ones it takes until each place was come to. `allow` is told each
    /// one's number when its pipeline has been started.
    pub fn deal(
        mut self,
        blows: u64,
        victim: &mut Victim,
        query: &str,
        brokers: &mut [&mut dyn Broker],
        allow: impl Fn(u64),
    ) -> Tally {
        use Blow::{Broker, Instant, Place};
        for number in 0..blows + FURTHER {
            let turn = [Instant, Place, Broker, Place, Instant][number as usize % 5];
            let blow = match self.only {
                _ if number >= blows && (blows < 20 || self.tally.places_missed().is_empty()) => break,
                Some(only) => only,
                None if number >= blows => Place,
                None => turn,
            };
            let what = format!("blow {number} of seed {}, {blow:?}", self.seed);
            println!("{what}");
            match blow {
                Instant => {
                    self.start(victim, query, None);
                    allow(number);
                    self.pause(200..3_500);
                    victim.kill(&what);
                    self.tally.at_instants += 1;
                }
                Place => self.at_a_place(victim, query, || allow(number), &what),
                Broker => {
                    let broker = self.random.random_range(0..brokers.len());
                    self.with_a_broker(victim, query, brokers[broker], || allow(number), &what);
                }
            }
        }
        self.tally
    }

    fn at_a_place(&mut self, victim: &mut Victim, query: &str, allow: impl Fn(), what: &str) {
        // Those that were not come to first, and of these the one that was tried least.
        let key = |blows: &mut Self, place: &'static str| {
            let count = |of: &BTreeMap<&str, u64>| of.get(place).copied().unwrap_or(0);
            (count(&blows.tally.at_places), count(&blows.tried), blows.random.random::<u32>())
        };
        let place = *PLACES.iter().min_by_key(|place| key(self, place)).unwrap();
        *self.tried.entry(place).or_default() += 1;
        let armed = format!("{place}:{}", self.random.random_range(1..=3));
        self.start(victim, query, Some(&armed));
        allow();
        let is_there = victim.dies_within(PLACE);
        victim.kill(what);
        if is_there {
            *self.tally.at_places.entry(place).or_default() += 1;
        }
    }

    /// The broker goes with the pipeline, or under one that goes on, or stays away while that starts anew.
    fn with_a_broker(
        &mut self,
        victim: &mut Victim,
        query: &str,
        broker: &mut dyn Broker,
        allow: impl Fn(),
        what: &str,
    ) {
        self.tally.with_brokers += 1;
        self.start(victim, query, None);
        allow();
        self.pause(500..3_000);
        broker.down();
        self.pause(200..1_500);
        match self.random.random_range(0..3) {
            0 => {
                victim.kill(what);
                broker.up();
            }
            1 => {
                broker.up();
                self.pause(200..3_500);
                victim.kill(what);
            }
            _ => {
                victim.kill(what);
                self.start(victim, query, None);
                self.pause(500..1_500);
                broker.up();
                self.pause(200..3_500);
                victim.kill(what);
            }
        }
    }

    fn start(&mut self, victim: &mut Victim, query: &str, armed: Option<&str>) {
        let workers = self.random.random_range(1..=WORKERS_MAX);
        *self.tally.workers.entry(workers).or_default() += 1;
        victim.start(query, workers, armed, &[]);
    }

    fn pause(&mut self, ms: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(ms)));
    }
}
