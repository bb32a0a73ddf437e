//! What held for each key, and from when on: the right side of a join with a table as it was, or with the last row before.
//!
//! Invariants: a key's versions are in order of time, those of one time as they came, the last of which counts; what no
//! row of the left can meet any more is dropped when the watermark has passed: all before the last one that it can, and
//! the last too where a row may be too old.

use std::collections::{BTreeMap, BTreeSet};

use crate::row_store::RowStore;

/// What holds for a key from a time on: the row's number, or that there is none any more.
pub(super) type Version = (i64, Option<u32>);

/// How much older than a row of the left the row is that it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsOf {
    /// At least so many ms: 0 for at or before, 1 for before. Not negative.
    pub least_ms: i64,
    /// At most so many, if that is limited.
    pub most_ms: Option<i64>,
}

impl AsOf {
    /// The times at which a row may lie for one of the left at `time_ms`: from, and up to.
    fn reach_ms(self, time_ms: i64) -> (i64, i64) {
        let from_ms = self.most_ms.map_or(i64::MIN, |most| time_ms.saturating_sub(most));
        (from_ms, time_ms.saturating_sub(self.least_ms))
    }
}

/// See the module's page. Rows are by number in a store that the caller keeps.
#[derive(Debug)]
pub(super) struct Versions {
    as_of: AsOf,
    of_key: Vec<Vec<Version>>,
    /// By key: when a version was last written, by the job's time.
    written_ms: Vec<i64>,
    /// Keys with a version that time makes useless, by the watermark from which it does.
    stale: BTreeSet<(i64, u32)>,
}

impl Versions {
    pub fn new(as_of: AsOf) -> Self {
        Self { as_of, of_key: Vec::new(), written_ms: Vec::new(), stale: BTreeSet::new() }
    }

    /// Makes room for `keys` keys.
    pub fn resize(&mut self, keys: usize) {
        self.of_key.resize_with(keys, Vec::new);
        self.written_ms.resize(keys, 0);
    }

    pub fn keys(&self) -> u32 {
        self.of_key.len() as u32
    }

    pub fn is_empty(&self, key: u32) -> bool {
        self.of_key[key as usize].is_empty()
    }

    pub fn written_ms(&self, key: u32) -> i64 {
        self.written_ms[key as usize]
    }

    pub fn set_written_ms(&mut self, key: u32, now_ms: i64) {
        self.written_ms[key as usize] = now_ms;
    }

    pub fn add(&mut self, key: u32, time_ms: i64, slot: Option<u32>) {
        let versions = &mut self.of_key[key as usize];
        let at = versions.partition_point(|(time, _)| *time <= time_ms);
        versions.insert(at, (time_ms, slot));
        self.note_stale(key);
    }

    /// Notes when the first version of `key` becomes useless: when the next one is within reach, or it is itself too old.
    fn note_stale(&mut self, key: u32) {
        let versions = &self.of_key[key as usize];
        let passed_ms = versions.get(1).map(|(next, _)| next.saturating_add(self.as_of.least_ms));
        let first_ms = versions.first().map(|(first, _)| *first);
        let old_ms = first_ms.zip(self.as_of.most_ms);
        let old_ms = old_ms.map(|(first, most)| first.saturating_add(most).saturating_add(1));
        // Nothing comes behind the last watermark of all.
        let stale_ms = passed_ms.into_iter().chain(old_ms).min().filter(|ms| *ms < i64::MAX);
        if let Some(stale_ms) = stale_ms {
            self.stale.insert((stale_ms, key));
        }
    }

    /// The row of `key` that one of the left at `time_ms` meets.
    pub fn find(&self, key: u32, time_ms: i64) -> Option<u32> {
        let (from_ms, to_ms) = self.as_of.reach_ms(time_ms);
        let versions = &self.of_key[key as usize];
        let until = versions.partition_point(|(time, _)| *time <= to_ms);
        let (time, slot) = versions.get(until.checked_sub(1)?)?;
        slot.filter(|_| *time >= from_ms)
    }

    /// Drops what no row of the left from `time_ms` on can meet.
    pub fn drop_stale(&mut self, time_ms: i64, rows: &mut RowStore) {
        let (from_ms, to_ms) = self.as_of.reach_ms(time_ms);
        while let Some(&(stale_ms, key)) = self.stale.first() {
            if stale_ms > time_ms {
                break;
            }
            self.stale.pop_first();
            let versions = &mut self.of_key[key as usize];
            let passed = versions.partition_point(|(time, _)| *time <= to_ms).saturating_sub(1);
            let old = versions.partition_point(|(time, _)| *time < from_ms);
            versions.drain(..passed.max(old)).filter_map(|(_, slot)| slot).for_each(|slot| rows.remove(slot));
            // A key that was deleted is as one that never was.
            if let [(deleted_ms, None)] = versions.as_slice()
                && *deleted_ms <= to_ms
            {
                versions.clear();
            }
            self.note_stale(key);
        }
    }

    /// Forgets the keys that were not written for `ttl_ms`, and answers when the oldest that is left was.
    pub fn forget(&mut self, now_ms: i64, ttl_ms: i64, rows: &mut RowStore) -> Option<i64> {
        let mut oldest_ms = None;
        for (versions, written_ms) in self.of_key.iter_mut().zip(&self.written_ms) {
            if versions.is_empty() {
                continue;
            }
            if now_ms.saturating_sub(*written_ms) >= ttl_ms {
                versions.drain(..).filter_map(|(_, slot)| slot).for_each(|slot| rows.remove(slot));
            } else {
                oldest_ms = Some(oldest_ms.map_or(*written_ms, |oldest: i64| oldest.min(*written_ms)));
            }
        }
        oldest_ms
    }

    /// Keeps the keys `live` under their places in it, which `new` has by former number.
    pub fn renumber(&mut self, live: &[u32], new: &BTreeMap<u32, u32>) {
        self.of_key = live.iter().map(|key| std::mem::take(&mut self.of_key[*key as usize])).collect();
        self.written_ms = live.iter().map(|key| self.written_ms[*key as usize]).collect();
        let renumbered = |(time, key): &(i64, u32)| Some((*time, *new.get(key)?));
        self.stale = self.stale.iter().filter_map(renumbered).collect();
    }

    /// All versions: key, time, row.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64, Option<u32>)> + '_ {
        (0_u32..)
            .zip(&self.of_key)
            .flat_map(|(key, versions)| versions.iter().map(move |(time, slot)| (key, *time, *slot)))
    }
}
