//! The rows that a sink which delivers exactly once gathered in one epoch, as bytes of a checkpoint.
//!
//! Invariants: rows are in statements of 'sink.buffer-flush.max-rows' at most, in order; what is read is checked through, for
//! it comes from a disk. `version u8 | lineage u64 | epoch u64 | statements u32 | statements`, see `Rows::write_to`.

use millstream_engine::element::Epoch;
use millstream_engine::{Error, Result};

use super::rows::Rows;

const VERSION: u8 = 1;

/// One epoch's rows.
#[derive(Debug, Default)]
pub(super) struct EpochRows {
    pub epoch: Epoch,
    pub statements: Vec<Rows>,
}

impl EpochRows {
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    pub fn num_bytes(&self) -> usize {
        self.statements.iter().map(Rows::num_bytes).sum()
    }

    /// As bytes, with the lineage that writes them.
    pub fn to_bytes(&self, lineage: u64) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(lineage.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend((self.statements.len() as u32).to_le_bytes());
        self.statements.iter().for_each(|rows| rows.write_to(&mut bytes));
        bytes
    }

    /// Reads them: the lineage and the rows, which must have `columns` columns.
    ///
    /// # Errors
    /// If they are of another version or table, or damaged.
    pub fn read(mut bytes: &[u8], columns: usize) -> Result<(u64, Self)> {
        let rest = &mut bytes;
        let [version] = take::<1>(rest)?;
        if version != VERSION {
            return Err(Error::state(format!("a PostgreSQL sink's state of version {version}"))
                .remedy("start the version that wrote it, or a newer one"));
        }
        let (lineage, epoch) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
        let count = u32::from_le_bytes(take(rest)?);
        let mut statements = Vec::new();
        for _ in 0..count {
            statements.push(Rows::read_from(rest, columns)?);
        }
        if rest.is_empty() { Ok((lineage, Self { epoch, statements })) } else { Err(damaged()) }
    }
}

/// The next `N` bytes.
///
/// # Errors
/// If there are not as many.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let taken = rest.split_off(..N).ok_or_else(damaged)?;
    taken.try_into().map_err(|_| damaged())
}

/// What is read is not what was written.
pub(super) fn damaged() -> Error {
    Error::state("a PostgreSQL sink's state is damaged, or of a table with other columns")
        .remedy("restore an earlier checkpoint, or the query that wrote it")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use millstream_engine::{Batch, ChangeKind};

    use super::*;

    #[test]
    fn rows_survive_a_checkpoint_and_damage_is_seen() {
        let columns: [(&str, ArrayRef); 2] = [
            ("a", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("b", Arc::new(StringArray::from(vec![Some("ä"), Some("")]))),
        ];
        let batch =
            Batch::new(RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap());
        let changes = Some([ChangeKind::Insert, ChangeKind::Delete].into());
        let mut rows = Rows::opened(2, 0);
        rows.append(&Batch { changes, ..batch }).unwrap();
        let bytes = EpochRows { epoch: 5, statements: vec![rows] }.to_bytes(9);
        let (lineage, read) = EpochRows::read(&bytes, 2).unwrap();
        assert_eq!((lineage, read.epoch, read.to_bytes(9)), (9, 5, bytes.clone()));
        let rows = &read.statements[0];
        assert_eq!(
            (rows.columns[0].get(0), rows.columns[0].get(1), rows.columns[1].get(0)),
            (Some("1"), None, Some("ä"))
        );
        assert_eq!(rows.settled(&[1]), (vec![0], vec![1]));
        assert!(EpochRows::read(&bytes, 3).is_err());
        for end in 0..bytes.len() {
            assert!(EpochRows::read(&bytes[..end], 2).is_err(), "{end}");
        }
        for at in 17..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x80;
            // Damage that is not seen here, the checkpoint's sum sees: it must only not be a panic.
            if let Ok((_, read)) = EpochRows::read(&other, 2) {
                for rows in &read.statements {
                    let values =
                        rows.columns.iter().flat_map(|column| (0..rows.len()).map(|row| column.get(row)));
                    assert!(values.count() <= 4);
                }
            }
        }
    }
}
