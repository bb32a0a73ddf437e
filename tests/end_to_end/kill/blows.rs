//! How the pipeline is killed: one blow after the other, by a seed.
//!
//! A blow comes at a random instant; at a named place of the commit protocol (engine/src/failpoint.rs), where the process
//! dies by itself; with a broker that is killed or restarted; with a line to a broker that breaks, by resets and refusals, as
//! a hole that bytes do not come out of, or with connections that are forgotten; with a disk that is full or slow; with a
//! wall clock that is set. Invariants: after each the pipeline starts with another number of workers, which may be more than
//! there are partitions; what was mended under a pipeline lets the same process go on before it is killed, rows and
//! checkpoints; places that were not come to are tried again until all have been, so that a run of twenty blows reaches each.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::around::{Around, Broker, FakeClock, SmallDisk, Wire};
use super::tally::{PLACES, Tally};
use super::victim::Victim;

const WORKERS_MAX: usize = 6;
/// How long a sync takes at most on a slow disk, in ms, but for its stalls.
const SLOW_MS: &str = "100";
/// How far the clock may go from the machine's, to stay so.
const CLOCK_OFF_MAX_S: i64 = 20 * 60;
/// How long to wait for the process to come to a place.
const PLACE: Duration = Duration::from_secs(20);
/// Further blows for places that were not come to.
pub const FURTHER: u64 = 4;

/// Which blows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    Instant,
    Place,
    Broker,
    Network,
    FullDisk,
    SlowDisk,
    Clock,
}

impl Blow {
    const ALL: [(&'static str, Self); 7] = [
        ("instant", Self::Instant),
        ("place", Self::Place),
        ("broker", Self::Broker),
        ("network", Self::Network),
        ("full-disk", Self::FullDisk),
        ("slow-disk", Self::SlowDisk),
        ("clock", Self::Clock),
    ];
}

/// Blows by a seed.
pub struct Blows {
    seed: u64,
    /// In this order, again and again.
    turns: Vec<Blow>,
    random: SmallRng,
    tried: BTreeMap<&'static str, u64>,
    tally: Tally,
}

impl Blows {
    /// Those of `turns` that MILLSTREAM_KILL_BLOWS names. None, which is printed, if it names none of them.
    pub fn new(seed: u64, turns: &[Blow]) -> Option<Self> {
        let asked = std::env::var("MILLSTREAM_KILL_BLOWS").unwrap_or_else(|_| "all".to_owned());
        let names = Blow::ALL.map(|(name, _)| name).join(", ");
        let only = Blow::ALL.iter().find(|(name, _)| *name == asked).map(|(_, blow)| *blow);
        assert!(only.is_some() || asked == "all", "MILLSTREAM_KILL_BLOWS is '{asked}': say all, {names}");
        let turns: Vec<Blow> =
            turns.iter().copied().filter(|turn| only.is_none_or(|only| only == *turn)).collect();
        if turns.is_empty() {
            println!("SKIPPED: no blow of this kind is dealt out here: {asked}");
            return None;
        }
        let random = SmallRng::seed_from_u64(seed);
        Some(Self { seed, turns, random, tried: BTreeMap::new(), tally: Tally::default() })
    }

    /// Deals out `blows` blows, and what further ones it takes until each place was come to. `allow` is told each
    /// one's number when its pipeline has been started.
    pub fn deal(
        mut self,
        blows: u64,
        victim: &mut Victim,
        query: &str,
        mut around: Around<'_>,
        allow: impl Fn(u64),
    ) -> Tally {
        let has_places = self.turns.contains(&Blow::Place);
        for number in 0..blows + FURTHER {
            let all_places = !has_places || blows < 20 || self.tally.places_missed().is_empty();
            if number >= blows && all_places {
                break;
            }
            let blow = match number {
                _ if number < blows => self.turns[number as usize % self.turns.len()],
                _ => Blow::Place,
            };
            let what = format!("blow {number} of seed {}, {blow:?}", self.seed);
            println!("{what}");
            let allow = || allow(number);
            match blow {
                Blow::Instant => {
                    self.start(victim, query, None);
                    allow();
                    self.pause(200..3_500);
                    victim.kill(&what);
                    self.tally.at_instants += 1;
                }
                Blow::Place => self.at_a_place(victim, query, allow, &what),
                Blow::Broker => {
                    let broker = self.random.random_range(0..around.brokers.len());
                    self.with_a_broker(victim, query, around.brokers[broker], allow, &what);
                }
                Blow::Network => {
                    let wire = &around.wires[self.random.random_range(0..around.wires.len())];
                    self.with_a_line(victim, query, wire, allow, &what);
                }
                Blow::FullDisk => self.with_a_full_disk(victim, query, around.disk.unwrap(), allow, &what),
                Blow::SlowDisk => {
                    self.start(victim, query, Some(("MILLSTREAM_SLOW_DISK", SLOW_MS)));
                    allow();
                    self.goes_on(victim, around.source, || {}, &what);
                    self.pause(0..2_000);
                    victim.kill(&what);
                    self.tally.next_manner(["slow disk"]);
                }
                Blow::Clock => {
                    let clock = around.clock.as_deref_mut().unwrap();
                    self.with_a_clock(victim, query, (clock, around.source), allow, &what);
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
        self.start(victim, query, Some(("MILLSTREAM_FAILPOINT", &armed)));
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

    /// The line breaks under the pipeline, which goes on when it is mended; or starts while it is broken.
    fn with_a_line(
        &mut self,
        victim: &mut Victim,
        query: &str,
        wire: &Wire<'_>,
        allow: impl Fn(),
        what: &str,
    ) {
        self.start(victim, query, None);
        allow();
        self.pause(500..3_000);
        let manner = self.tally.next_manner(["cut", "hole", "forgotten"]);
        match manner {
            "cut" => wire.relay.cut(),
            _ => wire.relay.hole(),
        }
        self.pause(500..4_000);
        if self.random.random_range(0..3) == 0 {
            victim.kill(what);
            self.start(victim, query, None);
            self.pause(500..1_500);
        }
        let mend = || match manner {
            "forgotten" => wire.relay.forget(),
            _ => wire.relay.mend(),
        };
        self.goes_on(victim, wire.source, mend, &format!("{what}, {manner}"));
        self.pause(0..1_000);
        victim.kill(what);
    }

    /// Full under the pipeline, which goes on when there is room; or when it starts, which it may refuse.
    fn with_a_full_disk(
        &mut self,
        victim: &mut Victim,
        query: &str,
        disk: &SmallDisk,
        allow: impl Fn(),
        what: &str,
    ) {
        self.start(victim, query, None);
        allow();
        self.pause(500..2_000);
        let manner = self.tally.next_manner(["disk full", "disk full at the start"]);
        disk.fill();
        self.pause(1_000..3_000);
        if manner == "disk full at the start" {
            victim.kill(what);
            self.start(victim, query, None);
            self.pause(500..1_500);
        }
        if victim.has_refused("No space left on device", what) {
            disk.free();
            self.start(victim, query, None);
            self.goes_on(victim, None, || {}, what);
        } else {
            self.goes_on(victim, None, || disk.free(), what);
        }
        self.pause(0..1_000);
        victim.kill(what);
    }

    /// Set by more than any time to live and back again; or by minutes, to stay so.
    fn with_a_clock(
        &mut self,
        victim: &mut Victim,
        query: &str,
        (clock, source): (&mut FakeClock, Option<&str>),
        allow: impl Fn(),
        what: &str,
    ) {
        self.start(victim, query, None);
        allow();
        self.pause(300..1_500);
        let before_s = clock.offset_s();
        let minutes =
            |blows: &mut Self, range| blows.random.random_range::<i64, std::ops::Range<i64>>(range) * 60;
        let manner = match self.tally.next_manner(["clock forward and back", "clock back", "clock forward"]) {
            "clock back" if before_s < -CLOCK_OFF_MAX_S => "clock forward",
            "clock forward" if before_s > CLOCK_OFF_MAX_S => "clock back",
            manner => manner,
        };
        let to_s = match manner {
            "clock back" => before_s - minutes(self, 1..6),
            "clock forward" => before_s + minutes(self, 1..6),
            _ => before_s + minutes(self, 150..240),
        };
        let what = format!("{what}, {manner} from {before_s} s to {to_s} s");
        self.goes_on(victim, source, || clock.set(to_s), &what);
        if manner == "clock forward and back" {
            // The library looks at its file once a second.
            self.pause(1_100..1_500);
            self.goes_on(victim, source, || clock.set(before_s), &what);
        }
        self.pause(1_100..2_000);
        victim.kill(&what);
    }

    /// When `change` was made the pipeline completes checkpoints, and rows of `source` come.
    fn goes_on(&self, victim: &mut Victim, source: Option<&str>, change: impl FnOnce(), what: &str) {
        let rows = |victim: &Victim| source.map_or(0, |table| victim.rows_in(table));
        let (checkpoint, rows_before) = (victim.checkpoint(), rows(victim));
        change();
        victim.wait(&format!("{what}: to go on"), |victim| {
            // The first may have been on its way.
            victim.checkpoint() > checkpoint + 1 && (source.is_none() || rows(victim) > rows_before)
        });
    }

    fn start(&mut self, victim: &mut Victim, query: &str, more: Option<(&str, &str)>) {
        let workers = self.random.random_range(1..=WORKERS_MAX);
        *self.tally.workers.entry(workers).or_default() += 1;
        victim.start(query, workers, more);
    }

    fn pause(&mut self, ms: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(ms)));
    }
}
