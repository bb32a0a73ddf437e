//! Stable ids: what a receiver recognises a repeated delivery by.
//!
//! A row's id is a hash of the table's name, the row's JSON, how often this very JSON has occurred before, and the
//! generation it was counted in. So equal rows get different ids, a retry keeps its id, and a replay after a restore
//! gives the same rows the same ids, in whatever order they come, because counts travel in the checkpoint. A start
//! without a checkpoint begins another generation, seeded from the clock: a receiver that remembers ids from before
//! must never take a new row for an old one, which would lose it; a repeated row is the lesser evil.
//!
//! Counts are bounded: after [`GENERATION_ROWS`] different rows the next generation begins. Rows replayed across such
//! a border in another order may get another id than at first, never one that another row had.

use std::collections::BTreeMap;

use ring::digest;

use millstream_engine::keys::hash_bytes;
use millstream_engine::{Error, Result};

/// Different rows counted before a new generation begins: 128 kB of state.
const GENERATION_ROWS: usize = 8_192;
/// First byte of the state, to be raised when its form changes.
const FORMAT: u8 = 1;

/// 128 bits that name a row or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id([u8; 16]);

impl Id {
    /// The id of a request of several rows: their ids, hashed.
    pub fn of_rows(rows: impl IntoIterator<Item = Id>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        rows.into_iter().for_each(|row| context.update(&row.0));
        Self::cut(&context.finish())
    }

    /// As the outbox has it.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// From what [`Id::bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn cut(hash: &digest::Digest) -> Self {
        let mut id = [0; 16];
        id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "msg_{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Gives rows their ids.
#[derive(Debug)]
pub(super) struct Ids {
    table: String,
    /// Sets this run, and those restored from it, apart from all others.
    run: u64,
    generation: u64,
    /// How often each row, by hash, has occurred in this generation. A collision raises a count, which is harmless.
    counts: BTreeMap<u64, u64>,
}

impl Ids {
    /// Ids of rows of `table` in a run of its own.
    pub fn new(table: &str, run: u64) -> Self {
        Self { table: table.to_owned(), run, generation: 0, counts: BTreeMap::new() }
    }

    /// The id of the next row, whose JSON is `row`.
    pub fn next(&mut self, row: &[u8]) -> Id {
        let hash = hash_bytes(row);
        if self.counts.len() >= GENERATION_ROWS && !self.counts.contains_key(&hash) {
            self.counts.clear();
            self.generation += 1;
        }
        let count = self.counts.entry(hash).or_insert(0);
        let occurrence = *count;
        *count += 1;
        let mut context = digest::Context::new(&digest::SHA256);
        for number in [self.run, self.generation, occurrence, self.table.len() as u64] {
            context.update(&number.to_le_bytes());
        }
        context.update(self.table.as_bytes());
        context.update(row);
        Id::cut(&context.finish())
    }

    /// What a checkpoint keeps.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut state = Vec::with_capacity(17 + 16 * self.counts.len());
        state.push(FORMAT);
        state.extend_from_slice(&self.run.to_le_bytes());
        state.extend_from_slice(&self.generation.to_le_bytes());
        for (hash, count) in &self.counts {
            state.extend_from_slice(&hash.to_le_bytes());
            state.extend_from_slice(&count.to_le_bytes());
        }
        state
    }

    /// Takes over what [`Ids::snapshot`] wrote.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let wrong = || Error::state("the webhook's state cannot be read");
        let (&[FORMAT], state) = state.split_first_chunk::<1>().ok_or_else(wrong)? else {
            return Err(wrong().remedy("it was written by another version: start without it, or go back"));
        };
        let (run, state) = state.split_first_chunk::<8>().ok_or_else(wrong)?;
        let (generation, mut state) = state.split_first_chunk::<8>().ok_or_else(wrong)?;
        let mut counts = BTreeMap::new();
        while let Some((hash, rest)) = state.split_first_chunk::<8>() {
            let (count, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
            counts.insert(u64::from_le_bytes(*hash), u64::from_le_bytes(*count));
            state = rest;
        }
        if !state.is_empty() {
            return Err(wrong());
        }
        self.run = u64::from_le_bytes(*run);
        self.generation = u64::from_le_bytes(*generation);
        self.counts = counts;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_replay_gives_the_same_ids_in_any_order() {
        let mut first = Ids::new("t", 7);
        first.next(b"before");
        let state = first.snapshot();
        let rows: [&[u8]; 4] = [b"a", b"b", b"a", b"before"];
        let sent: BTreeSet<_> = rows.iter().map(|row| first.next(row)).collect();
        assert_eq!(sent.len(), 4);
        let mut again = Ids::new("t", 99);
        again.restore(&state).unwrap();
        let replayed: BTreeSet<_> = rows.iter().rev().map(|row| again.next(row)).collect();
        assert_eq!(sent, replayed);
    }

    #[test]
    fn equal_rows_never_share_an_id() {
        let mut seen = BTreeSet::new();
        let mut ids = Ids::new("t", 1);
        for number in 0..3 * GENERATION_ROWS {
            assert!(seen.insert(ids.next(b"same")));
            assert!(seen.insert(ids.next(format!("{number}").as_bytes())));
            assert!(ids.counts.len() <= GENERATION_ROWS);
        }
        assert_ne!(Ids::new("t", 1).next(b"x"), Ids::new("t", 2).next(b"x"));
        assert_ne!(Ids::new("t", 1).next(b"x"), Ids::new("u", 1).next(b"x"));
    }

    #[test]
    fn damaged_state_is_refused() {
        let mut ids = Ids::new("t", 1);
        ids.next(b"x");
        let state = ids.snapshot();
        for cut in [0, 1, 9, 20, state.len() - 1] {
            assert!(Ids::new("t", 1).restore(&state[..cut]).is_err(), "{cut}");
        }
        assert!(Ids::new("t", 1).restore(&[2; 17]).is_err());
    }
}
