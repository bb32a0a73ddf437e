//! Which bytes of state the files of earlier checkpoints hold, so that a checkpoint refers to them instead of holding them
//! again.
//!
//! Invariants: a checkpoint refers only to files of epochs before it, which stay as long as a kept one refers to them
//! (disk.rs); what it refers to has the bytes that it would have held, told by 128 bits of a hash that nobody outside can
//! aim at, and a CRC-32 is checked when they are read. A file of which less than half is still wanted is not referred to
//! any more, nor are the smallest when there are more than [`FILES_MAX`]: so all files together are at most twice as large
//! as the state that is wanted, and few.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::element::Epoch;

/// Less than this is not worth a reference.
const BYTES_MIN: usize = if cfg!(test) { 24 } else { 4 << 10 };
/// Files of earlier checkpoints that one refers to.
const FILES_MAX: usize = if cfg!(test) { 4 } else { 32 };

/// Where bytes of state are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The checkpoint whose file it is.
    pub epoch: Epoch,
    pub offset: u64,
    pub length: u64,
    /// CRC-32 of the bytes.
    pub sum: u32,
}

impl Place {
    /// Whether `bytes` are those that were put there.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.length && crc32fast::hash(bytes) == self.sum
    }
}

/// What one checkpoint is made of.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// By hash.
    places: HashMap<u128, Place>,
    /// Of each epoch's file, its own included, how many bytes this checkpoint wants.
    wanted: BTreeMap<Epoch, u64>,
}

impl Stored {
    /// The epochs whose files it needs.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.wanted.keys().copied()
    }

    fn add(&mut self, hash: u128, place: Place) {
        self.places.insert(hash, place);
        *self.wanted.entry(place.epoch).or_default() += place.length;
    }
}

/// Decides, for a checkpoint that is being written, what it refers to.
#[derive(Debug)]
pub(super) struct Storing {
    base: Arc<Stored>,
    /// Files of the base that are not referred to any more.
    left: BTreeSet<Epoch>,
    own: Stored,
    seed: u64,
}

impl Storing {
    /// For a checkpoint behind the one that is made of `base`, whose files have these `sizes`.
    pub fn behind(base: &Arc<Stored>, sizes: &BTreeMap<Epoch, Option<u64>>, seed: u64) -> Self {
        let is_sparse = |epoch: &Epoch, wanted: u64| {
            sizes.get(epoch).copied().flatten().is_none_or(|size| wanted < size / 2)
        };
        let (sparse, mut dense): (Vec<_>, Vec<_>) = base
            .wanted
            .iter()
            .map(|(epoch, wanted)| (*wanted, *epoch))
            .partition(|(wanted, epoch)| is_sparse(epoch, *wanted));
        let mut left: BTreeSet<Epoch> = sparse.into_iter().map(|(_, epoch)| epoch).collect();
        if dense.len() > FILES_MAX {
            dense.sort_unstable();
            left.extend(dense[..dense.len() - FILES_MAX / 2].iter().map(|(_, epoch)| epoch));
        }
        Self { base: Arc::clone(base), left, own: Stored::default(), seed }
    }

    /// For one that refers to nothing.
    pub fn whole() -> Self {
        Self::behind(&Arc::default(), &BTreeMap::new(), 0)
    }

    /// Where `bytes` are already, which are then part of this checkpoint. If they are nowhere, `here` is where they will be.
    pub fn place(&mut self, bytes: &[u8], here: impl FnOnce() -> Place) -> Option<Place> {
        if bytes.len() < BYTES_MIN {
            return None;
        }
        let hash = xxh3_128_with_seed(bytes, self.seed);
        let found = self
            .base
            .places
            .get(&hash)
            .filter(|place| place.length == bytes.len() as u64 && !self.left.contains(&place.epoch));
        self.own.add(hash, found.copied().unwrap_or_else(here));
        found.copied()
    }

    /// The epochs whose files it refers to, or may yet.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.base.epochs()
    }

    /// What the checkpoint is made of.
    pub fn finish(self) -> Stored {
        self.own
    }
}

/// What makes the hash another one in each run.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: u64) -> Vec<u8> {
        n.to_le_bytes().repeat(10)
    }

    /// Writes a checkpoint of these pieces, and answers which of them it holds itself.
    fn write(
        base: &mut Arc<Stored>,
        sizes: &mut BTreeMap<Epoch, Option<u64>>,
        epoch: Epoch,
        pieces: impl Iterator<Item = u64>,
    ) -> Vec<u64> {
        let mut storing = Storing::behind(base, sizes, 7);
        let (mut held, mut offset) = (Vec::new(), 0);
        for piece in pieces {
            let here = || Place { epoch, offset, length: 80, sum: 0 };
            if storing.place(&bytes(piece), here).is_none() {
                held.push(piece);
                offset += 80;
            }
        }
        sizes.insert(epoch, Some(offset));
        *base = Arc::new(storing.finish());
        held
    }

    #[test]
    fn what_is_there_is_referred_to_and_the_rest_held() {
        let (mut base, mut sizes) = Default::default();
        assert_eq!(write(&mut base, &mut sizes, 1, 0..6), (0..6).collect::<Vec<_>>());
        assert_eq!(write(&mut base, &mut sizes, 2, 0..8), [6, 7]);
        assert_eq!(base.epochs().collect::<Vec<_>>(), [1, 2]);
        // Of the first file one piece of six is wanted: it is held again next time, and the file is free.
        assert_eq!(write(&mut base, &mut sizes, 3, 5..8), Vec::<u64>::new());
        assert_eq!(write(&mut base, &mut sizes, 4, 5..8), [5]);
        assert_eq!(base.epochs().collect::<Vec<_>>(), [2, 4]);
        assert!(Storing::behind(&base, &sizes, 7).place(&bytes(5)[..20], || unreachable!()).is_none());
    }

    #[test]
    fn files_stay_few_and_together_twice_what_is_wanted() {
        let (mut base, mut sizes) = Default::default();
        let mut written = 0;
        for epoch in 1..200 {
            // One more in each, and one of those in front changes.
            let changed = |n| if n == epoch % 7 { 1_000 + epoch } else { n };
            written += write(&mut base, &mut sizes, epoch, (0..epoch).map(changed)).len();
            let epochs: Vec<Epoch> = base.epochs().collect();
            assert!(epochs.len() <= FILES_MAX + 1, "{epochs:?}");
            let size: u64 = epochs.iter().filter_map(|epoch| sizes[epoch]).sum();
            let wanted = base.wanted.values().sum::<u64>();
            // What the last one left may be wanted once more.
            assert!(size <= 2 * wanted + 2 * 80 * epoch, "{size} of {wanted}");
        }
        assert!(written < 200 * 199 / 8, "{written} pieces of {} were written", 200 * 199 / 2);
    }
}
