//! Which keys of a table a snapshot that is under way has still to write, while rows go on coming.
//!
//! At a barrier a table is frozen: the keys it has then are to be written as they are then. They are written in chunks,
//! in the order of their numbers, between rows; a key that a row is about to change is claimed and written before that.
//! Invariants: each is written once; a key that is neither written nor claimed is as it was at the barrier; while a table
//! is frozen its keys keep their numbers.

use bytes::Bytes;
use millstream_engine::state::StateWriter;
use millstream_engine::{Firing, Result};

/// Rows that a piece of a snapshot holds, about: a millisecond's work.
pub(crate) const CHUNK_ROWS: usize = if cfg!(test) { 3 } else { 16_384 };
/// A chunk ends where the number of its next key is a multiple of this: so chunks of keys that nothing has changed are the
/// same bytes from one checkpoint to the next, which then refers to them, wherever others have changed.
const CHUNK_KEYS: u32 = if cfg!(test) { 8 } else { 4_096 };

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// How many keys there were.
    keys: u32,
    /// All below are written.
    next: u32,
    /// A bit a key: written out of order.
    claimed: Vec<u64>,
}

impl Frozen {
    /// A table of `keys` keys, none of them written.
    pub fn new(keys: usize) -> Self {
        Self { keys: keys as u32, next: 0, claimed: vec![0; keys.div_ceil(64)] }
    }

    /// Of `numbers`, those that are still to be written, each once: they count as written from now on.
    pub fn claim(&mut self, numbers: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut own = Vec::new();
        for number in numbers {
            let (word, bit) = (number as usize / 64, 1_u64 << (number % 64));
            if number >= self.next && number < self.keys && self.claimed[word] & bit == 0 {
                self.claimed[word] |= bit;
                own.push(number);
            }
        }
        own
    }

    /// The next keys to be written, of which each has `rows` rows.
    pub fn next_chunk(&mut self, rows: impl Fn(u32) -> usize) -> Vec<u32> {
        let (mut chunk, mut chunk_rows) = (Vec::with_capacity(CHUNK_ROWS), 0);
        while chunk_rows < CHUNK_ROWS && chunk.len() < CHUNK_ROWS && self.next < self.keys {
            let number = self.next;
            if self.claimed[number as usize / 64] & (1 << (number % 64)) == 0 {
                chunk.push(number);
                chunk_rows += rows(number);
            }
            self.next += 1;
            if self.next.is_multiple_of(CHUNK_KEYS) && !chunk.is_empty() {
                break;
            }
        }
        chunk
    }

    /// True when every key is written.
    pub fn is_done(&self) -> bool {
        self.next >= self.keys
    }
}

/// A snapshot in pieces of an operator that keeps its state by key in one table. Its owner says how keys are encoded: as
/// they are now, those that are not there as nothing.
#[derive(Debug, Default)]
pub(crate) struct KeyedSnapshot {
    frozen: Option<Frozen>,
    /// Encoded keys that were about to change.
    claimed: Vec<Bytes>,
}

impl KeyedSnapshot {
    /// Begins one of a table of `keys` keys.
    pub fn begin(&mut self, keys: usize) {
        self.frozen = Some(Frozen::new(keys));
    }

    /// True while some keys are still to be written: they must not be renumbered.
    pub fn is_open(&self) -> bool {
        self.frozen.is_some()
    }

    /// Encodes those of `keys` that are still to be written, for they are about to change.
    pub fn claim(
        &mut self,
        keys: impl IntoIterator<Item = u32>,
        encode: impl FnOnce(&[u32]) -> Result<Vec<Bytes>>,
    ) -> Result<()> {
        let Some(frozen) = &mut self.frozen else { return Ok(()) };
        let claimed = frozen.claim(keys);
        if !claimed.is_empty() {
            self.claimed.extend(encode(&claimed)?);
        }
        Ok(())
    }

    /// Writes the next piece, of keys that each have `rows` rows.
    pub fn write(
        &mut self,
        state: &mut StateWriter,
        rows: impl Fn(u32) -> usize,
        encode: impl FnOnce(&[u32]) -> Result<Vec<Bytes>>,
    ) -> Result<Firing> {
        self.claimed.drain(..).for_each(|bytes| state.put_keyed(bytes));
        let Some(frozen) = &mut self.frozen else { return Ok(Firing::Done) };
        let chunk = frozen.next_chunk(rows);
        encode(&chunk)?.into_iter().for_each(|bytes| state.put_keyed(bytes));
        if !frozen.is_done() {
            return Ok(Firing::More);
        }
        self.frozen = None;
        Ok(Firing::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_written_once_in_whatever_order() {
        let mut frozen = Frozen::new(70);
        assert_eq!(frozen.claim([69, 5, 69, 70, 4_000]), [69, 5]);
        let mut all = vec![69, 5];
        while !frozen.is_done() {
            all.extend(frozen.next_chunk(|_| 1));
            all.extend(frozen.claim([1, 66, 0]));
        }
        all.sort_unstable();
        assert_eq!(all, (0..70).collect::<Vec<_>>());
        assert!(frozen.claim(0..100).is_empty());
    }

    #[test]
    fn chunks_of_keys_that_nothing_has_changed_stay_the_same() {
        let chunks = |claimed: &[u32]| {
            let mut frozen = Frozen::new(40);
            frozen.claim(claimed.iter().copied());
            let mut chunks = Vec::new();
            while !frozen.is_done() {
                chunks.push(frozen.next_chunk(|_| 1));
            }
            chunks
        };
        let (all, some) = (chunks(&[]), chunks(&[9, 30]));
        let changed: Vec<_> = some.iter().filter(|chunk| !all.contains(chunk)).collect();
        assert!(changed.iter().all(|chunk| chunk.iter().all(|n| [1, 3].contains(&(n / 8)))), "{changed:?}");
    }
}

/// For operators' tests: a snapshot that is written in pieces between rows holds what one does that is written at once.
#[cfg(test)]
pub(crate) mod testing {
    use arrow_array::RecordBatch;
    use arrow_row::{RowConverter, SortField};
    use millstream_engine::harness::OperatorHarness;
    use millstream_engine::state::InstanceSnapshot;
    use millstream_engine::{Batch, Firing, Operator};

    /// What an operator is given.
    #[derive(Debug, Clone)]
    pub enum Event {
        /// Rows for an input.
        Rows(usize, Batch),
        /// A watermark.
        Watermark(i64),
        /// Time passes.
        Advance(i64),
    }

    fn give(harness: &mut OperatorHarness, event: &Event) {
        match event.clone() {
            Event::Rows(port, batch) => harness.batch_on(port, batch),
            Event::Watermark(time_ms) => harness.watermark(time_ms),
            Event::Advance(ms) => harness.advance(ms),
        }
        .unwrap();
    }

    /// Every row of keyed state as bytes that compare, in order.
    fn rows(state: &InstanceSnapshot, decode: fn(&[u8]) -> RecordBatch) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for (_, bytes) in &state.groups {
            let batch = decode(bytes);
            let fields = batch.columns().iter().map(|column| SortField::new(column.data_type().clone()));
            let converter = RowConverter::new(fields.collect()).unwrap();
            let encoded = converter.convert_columns(batch.columns()).unwrap();
            // What kind of rows they are shows in their columns.
            let width = batch.num_columns() as u8;
            all.extend(encoded.iter().map(|row| [&[width], row.data()].concat()));
        }
        all.sort();
        all
    }

    /// Gives two operators the events `before`, then begins a snapshot of one that goes on between the events `after`.
    /// `decode` reads a part of keyed state.
    pub fn assert_as_at_the_barrier(
        make: &dyn Fn() -> Box<dyn Operator>,
        before: &[Event],
        after: &[Event],
        decode: fn(&[u8]) -> RecordBatch,
    ) {
        let [mut at_once, mut in_pieces] = [(); 2].map(|()| OperatorHarness::new(make()).unwrap());
        for event in before {
            give(&mut at_once, event);
            give(&mut in_pieces, event);
        }
        let expected = at_once.snapshot().unwrap().1;
        let (mut state, mut written) = in_pieces.begin_snapshot().unwrap();
        let mut after = after.iter();
        while written == Firing::More {
            // More than a piece's keys change between two pieces.
            after.by_ref().take(2).for_each(|event| give(&mut in_pieces, event));
            let (piece, firing) = in_pieces.resume_snapshot().unwrap();
            state.groups.extend(piece.groups);
            state.blobs.extend(piece.blobs);
            written = firing;
        }
        assert_eq!(rows(&state, decode), rows(&expected, decode));
        assert_eq!(state.blobs, expected.blobs);
        // The next snapshot is as if the last had not been.
        after.for_each(|event| give(&mut in_pieces, event));
        let again = in_pieces.snapshot().unwrap().1;
        assert_eq!(rows(&again, decode), rows(&in_pieces.snapshot().unwrap().1, decode));
    }
}
