//! Rows kept in state: their bytes (row_format.rs) in blocks, by number.
//!
//! A row is copied once, on insertion, without an allocation of its own; its number stays valid until it is removed,
//! and is then given to another. Blocks never grow or move, for copying a state of gigabytes into a larger buffer costs as
//! much as all else; one whose rows are all gone is given back, and when most bytes are of removed rows the others are
//! moved together. Rows come from an operator's input and leave as columns again. Equal rows are equal bytes.

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use millstream_engine::Result;

use crate::row_format::{EncodedRows, RowFormat};

/// State below this is not worth moving together.
const COMPACT_BYTES_MIN: usize = 1 << 16;
/// Bytes of a block, but for a row that is larger; the first block grows up to it.
const BLOCK_BYTES: usize = 1 << 20;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct RowStore {
    format: RowFormat,
    blocks: Vec<Block>,
    /// Blocks without bytes, to be used again.
    empty_blocks: Vec<u32>,
    /// The block that rows are added to.
    current: u32,
    spans: Vec<Span>,
    free: Vec<u32>,
    /// Bytes in all blocks, and those of removed rows among them.
    bytes: usize,
    bytes_dead: usize,
}

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    bytes_dead: usize,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    block: u32,
    start: u32,
    /// Bytes in front of the row that go with it.
    prefix: u32,
    /// Of prefix and row.
    len: u32,
}

impl Span {
    fn of(self, blocks: &[Block]) -> &[u8] {
        &blocks[self.block as usize].bytes[self.start as usize..(self.start + self.len) as usize]
    }
}

impl RowStore {
    /// A store for rows of columns of these types, at least one.
    ///
    /// # Errors
    /// If a type cannot be kept.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        Ok(Self {
            format: RowFormat::new(types)?,
            blocks: vec![Block::default()],
            empty_blocks: Vec::new(),
            current: 0,
            spans: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            bytes_dead: 0,
        })
    }

    /// Encodes the rows of a batch, so that they can be inserted or compared.
    ///
    /// # Errors
    /// If the columns are of other types.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.format.encode(columns)
    }

    /// Keeps an encoded row, and answers its number.
    pub fn insert(&mut self, row: &[u8]) -> u32 {
        self.insert_with(&[], row)
    }

    /// Keeps an encoded row with bytes of the caller's own.
    pub fn insert_with(&mut self, prefix: &[u8], row: &[u8]) -> u32 {
        let len = prefix.len() + row.len();
        let block = self.block_for(len);
        // A row is a part of a column of at most 2 GiB, and a block is hardly larger than its last row.
        let span = Span { block, start: self.start_of(block), prefix: prefix.len() as u32, len: len as u32 };
        let bytes = &mut self.blocks[block as usize].bytes;
        bytes.extend_from_slice(prefix);
        bytes.extend_from_slice(row);
        self.bytes += len;
        match self.free.pop() {
            Some(slot) => {
                self.spans[slot as usize] = span;
                slot
            }
            None => {
                self.spans.push(span);
                (self.spans.len() - 1) as u32
            }
        }
    }

    /// The encoded row `slot`.
    pub fn get(&self, slot: u32) -> &[u8] {
        let span = self.spans[slot as usize];
        &span.of(&self.blocks)[span.prefix as usize..]
    }

    /// The caller's bytes of row `slot`.
    pub fn prefix(&self, slot: u32) -> &[u8] {
        let span = self.spans[slot as usize];
        &span.of(&self.blocks)[..span.prefix as usize]
    }

    /// Forgets row `slot`.
    pub fn remove(&mut self, slot: u32) {
        let span = &mut self.spans[slot as usize];
        let (block, len) = (span.block, span.len as usize);
        (span.len, span.prefix) = (0, 0);
        self.free.push(slot);
        self.bytes_dead += len;
        let of = &mut self.blocks[block as usize];
        of.bytes_dead += len;
        if of.bytes_dead == of.bytes.len() {
            self.bytes -= of.bytes_dead;
            self.bytes_dead -= of.bytes_dead;
            of.bytes_dead = 0;
            if block == self.current {
                of.bytes.clear();
            } else if !of.bytes.is_empty() {
                of.bytes = Vec::new();
                self.empty_blocks.push(block);
            }
        } else if self.bytes_dead > COMPACT_BYTES_MIN && self.bytes_dead * 2 > self.bytes {
            self.compact();
        }
    }

    /// How many rows are kept.
    pub fn len(&self) -> usize {
        self.spans.len() - self.free.len()
    }

    /// The columns of rows `slots`, in that order.
    ///
    /// # Errors
    /// If the stored rows cannot be decoded, which would be a defect.
    pub fn columns(&self, slots: impl Iterator<Item = u32>) -> Result<Vec<ArrayRef>> {
        self.format.decode(slots.map(|slot| self.get(slot)))
    }

    /// The block that takes `len` more bytes.
    fn block_for(&mut self, len: usize) -> u32 {
        let used = self.blocks[self.current as usize].bytes.len();
        if used > 0 && used + len > BLOCK_BYTES {
            self.current = self.empty_blocks.pop().unwrap_or_else(|| {
                self.blocks.push(Block::default());
                (self.blocks.len() - 1) as u32
            });
            self.blocks[self.current as usize].bytes.reserve_exact(len.max(BLOCK_BYTES));
        }
        self.current
    }

    fn start_of(&self, block: u32) -> u32 {
        self.blocks[block as usize].bytes.len() as u32
    }

    /// Moves the rows that are left together.
    fn compact(&mut self) {
        let old = std::mem::replace(&mut self.blocks, vec![Block::default()]);
        self.empty_blocks.clear();
        (self.current, self.bytes, self.bytes_dead) = (0, self.bytes - self.bytes_dead, 0);
        for index in 0..self.spans.len() {
            let span = self.spans[index];
            if span.len == 0 {
                // Nothing may point to a block that is gone.
                self.spans[index] = Span { block: 0, start: 0, prefix: 0, len: 0 };
                continue;
            }
            let block = self.block_for(span.len as usize);
            self.spans[index] = Span { block, start: self.start_of(block), ..span };
            self.blocks[block as usize].bytes.extend_from_slice(span.of(&old));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{Array, Int64Array, StringArray};

    #[test]
    fn rows_come_back_and_their_memory_is_used_again() {
        let mut store = RowStore::new([DataType::Int64, DataType::Utf8]).unwrap();
        let columns = |n: i64| -> Vec<ArrayRef> {
            vec![
                Arc::new(Int64Array::from(vec![Some(n), None])),
                Arc::new(StringArray::from(vec![Some(format!("row {n} {}", "x".repeat(100))), None])),
            ]
        };
        let mut slots = Vec::new();
        for n in 0..2_000 {
            let rows = store.encode(&columns(n)).unwrap();
            slots.push(store.insert(rows.row(0)));
            if n % 10 != 0 {
                store.remove(slots.pop().unwrap());
            }
        }
        assert_eq!(store.len(), 200);
        assert!(store.bytes < 5 * COMPACT_BYTES_MIN, "{} bytes", store.bytes);
        let found = store.columns(slots.iter().copied()).unwrap();
        let expected: Int64Array = (0..200).map(|n| Some(n * 10)).collect();
        assert_eq!(found[0].as_ref(), &expected as &dyn Array);
    }
    /// Random insertions and removals against a plain map, over many blocks, with rows larger than one.
    #[test]
    fn every_row_is_found_again_until_it_is_removed() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::SmallRng::seed_from_u64(7);
        let mut store = RowStore::new([DataType::Int64]).unwrap();
        let mut kept: std::collections::BTreeMap<u32, (Vec<u8>, Vec<u8>)> = Default::default();
        let mut blocks_most = 0;
        for round in 0..60_000_u32 {
            blocks_most = blocks_most.max(store.blocks.len());
            let grows = round < 30_000;
            if kept.is_empty() || random.random_bool(if grows { 0.7 } else { 0.3 }) {
                let len = if random.random_ratio(1, 10_000) {
                    BLOCK_BYTES + 5
                } else {
                    random.random_range(0..700)
                };
                let (prefix, row) =
                    (round.to_le_bytes()[..random.random_range(0..4)].to_vec(), vec![round as u8; len]);
                let slot = store.insert_with(&prefix, &row);
                assert!(kept.insert(slot, (prefix, row)).is_none());
            } else {
                let at = random.random_range(0..store.spans.len() as u32);
                let slot =
                    kept.range(at..).next().or_else(|| kept.iter().next()).map(|(slot, _)| *slot).unwrap();
                kept.remove(&slot);
                store.remove(slot);
            }
        }
        assert!(blocks_most > 3 && store.blocks.len() < blocks_most);
        assert_eq!(store.len(), kept.len());
        assert!(
            kept.iter().all(|(slot, (prefix, row))| store.prefix(*slot) == prefix && store.get(*slot) == row)
        );
        let live: usize = kept.values().map(|(prefix, row)| prefix.len() + row.len()).sum();
        assert_eq!(store.bytes - store.bytes_dead, live);
        kept.keys().for_each(|slot| store.remove(*slot));
        assert_eq!((store.bytes, store.bytes_dead), (0, 0));
    }
}
