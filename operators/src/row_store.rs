//! Rows kept in state: row-encoded bytes in one growing buffer, by number.
//!
//! A row is copied once, on insertion, without an allocation of its own; its number stays valid until it is removed,
//! and is then given to another. Bytes of removed rows are reclaimed when they are most of the buffer. Rows come from
//! an operator's input and leave as columns again. Equal rows are equal bytes.

use arrow_array::ArrayRef;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::DataType;
use millstream_engine::Result;

/// Buffers below this are not worth compacting.
const COMPACT_BYTES_MIN: usize = 1 << 16;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct RowStore {
    converter: RowConverter,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    free: Vec<u32>,
    bytes_dead: usize,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    /// Bytes in front of the row that go with it.
    prefix: usize,
    /// Of prefix and row.
    len: usize,
}

impl RowStore {
    /// A store for rows of columns of these types, at least one.
    ///
    /// # Errors
    /// If a type cannot be kept.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        let converter = RowConverter::new(types.into_iter().map(SortField::new).collect())?;
        Ok(Self { converter, bytes: Vec::new(), spans: Vec::new(), free: Vec::new(), bytes_dead: 0 })
    }

    /// Encodes the rows of a batch, so that they can be inserted or compared.
    ///
    /// # Errors
    /// If the columns are of other types.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(columns)?)
    }

    /// Keeps an encoded row, and answers its number.
    pub fn insert(&mut self, row: &[u8]) -> u32 {
        self.insert_with(&[], row)
    }

    /// Keeps an encoded row with bytes of the caller's own.
    pub fn insert_with(&mut self, prefix: &[u8], row: &[u8]) -> u32 {
        let (start, len) = (self.bytes.len(), prefix.len() + row.len());
        let span = Span { start, prefix: prefix.len(), len };
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(row);
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
        &self.bytes[span.start + span.prefix..span.start + span.len]
    }

    /// The caller's bytes of row `slot`.
    pub fn prefix(&self, slot: u32) -> &[u8] {
        let span = self.spans[slot as usize];
        &self.bytes[span.start..span.start + span.prefix]
    }

    /// Forgets row `slot`.
    pub fn remove(&mut self, slot: u32) {
        let span = &mut self.spans[slot as usize];
        self.bytes_dead += span.len;
        (span.len, span.prefix) = (0, 0);
        self.free.push(slot);
        if self.bytes_dead > COMPACT_BYTES_MIN && self.bytes_dead * 2 > self.bytes.len() {
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
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(slots.map(|slot| parser.parse(self.get(slot))))?)
    }

    fn compact(&mut self) {
        let mut kept = Vec::with_capacity(self.bytes.len() - self.bytes_dead);
        for span in &mut self.spans {
            let start = kept.len();
            kept.extend_from_slice(&self.bytes[span.start..span.start + span.len]);
            span.start = start;
        }
        self.bytes = kept;
        self.bytes_dead = 0;
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
            slots.push(store.insert(rows.row(0).as_ref()));
            if n % 10 != 0 {
                store.remove(slots.pop().unwrap());
            }
        }
        assert_eq!(store.len(), 200);
        assert!(store.bytes.len() < 5 * COMPACT_BYTES_MIN, "{} bytes", store.bytes.len());
        let found = store.columns(slots.iter().copied()).unwrap();
        let expected: Int64Array = (0..200).map(|n| Some(n * 10)).collect();
        assert_eq!(found[0].as_ref(), &expected as &dyn Array);
    }
}
