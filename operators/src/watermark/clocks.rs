//! The running watermark of each clock: one a partition, or one a key.
//!
//! Invariant: a clock only goes forward, but for keys whose former instances disagree. The assigner (watermark.rs) numbers
//! the rows of a batch here, and moves and reads the clocks; a checkpoint holds all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use arrow_schema::DataType;
use millstream_engine::element::WATERMARK_MIN_MS;
use millstream_engine::keys::KeyHasher;
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Batch, Result};

use crate::keyed::state_rows;
use crate::keys::KeyTable;

/// See the module's page.
#[derive(Default)]
pub(super) struct Clocks {
    /// Numbers the keys; without keys, clocks are numbered by `partitions`.
    table: Option<(KeyTable, KeyHasher)>,
    partitions: BTreeMap<u32, u32>,
    /// Restored clocks of partitions that may be another instance's now: they count from when the source names them.
    former_ms: BTreeMap<u32, i64>,
    pub watermark_ms: Vec<i64>,
    /// When the clock last had a row, by the job's time.
    pub seen_ms: Vec<i64>,
    hashes: Vec<u64>,
    /// The number of each row's clock, of the batch numbered last.
    pub groups: Vec<u32>,
}

impl Clocks {
    /// True when a partition has a restored clock that does not count yet.
    pub fn has_former(&self, partition: u32) -> bool {
        self.former_ms.contains_key(&partition)
    }

    /// The number of a partition's clock.
    pub fn of_partition(&mut self, partition: u32, now_ms: i64) -> u32 {
        let next = self.partitions.len() as u32;
        let group = *self.partitions.entry(partition).or_insert(next);
        if self.watermark_ms.len() < self.partitions.len() {
            self.watermark_ms.push(self.former_ms.remove(&partition).unwrap_or(WATERMARK_MIN_MS));
        }
        self.seen_ms.resize(self.partitions.len(), now_ms);
        group
    }

    /// Numbers the clock of each row of `batch` into `groups`. True when there is one clock in all.
    ///
    /// # Errors
    /// If a column's type cannot be a key.
    pub fn number(&mut self, batch: &Batch, keys: &[usize], now_ms: i64) -> Result<bool> {
        let rows = batch.num_rows();
        if keys.is_empty() {
            let group = self.of_partition(batch.partition, now_ms);
            self.groups.clear();
            self.groups.resize(rows, group);
        } else {
            let columns: Vec<ArrayRef> = keys.iter().map(|key| Arc::clone(batch.rows.column(*key))).collect();
            self.number_keys(&columns, rows)?;
        }
        let clocks = self.table.as_ref().map_or(self.partitions.len(), |(table, _)| table.len());
        self.watermark_ms.resize(clocks, WATERMARK_MIN_MS);
        self.seen_ms.resize(clocks, now_ms);
        if keys.is_empty() {
            self.seen_ms[self.groups[0] as usize] = now_ms;
        } else {
            for group in &self.groups {
                self.seen_ms[*group as usize] = now_ms;
            }
        }
        Ok(keys.is_empty() && clocks == 1)
    }

    fn number_keys(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let (table, hasher) = match &mut self.table {
            Some(table) => table,
            None => {
                let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
                self.table.insert((KeyTable::new(&types)?, KeyHasher::new(&types)?))
            }
        };
        hasher.hash(columns, rows, &mut self.hashes)?;
        let prepared = table.prepare(columns, rows)?;
        table.intern(&prepared, &self.hashes, 0, rows, &mut self.groups);
        Ok(())
    }

    /// One blob: the clocks as rows of (partition or key columns, watermark).
    ///
    /// # Errors
    /// If they cannot be encoded.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let mut columns: Vec<ArrayRef> = match &self.table {
            Some((table, _)) => table.columns(&(0..table.len() as u32).collect::<Vec<_>>())?,
            None => {
                let mut partitions = vec![0_i64; self.partitions.len()];
                for (partition, group) in &self.partitions {
                    partitions[*group as usize] = i64::from(*partition);
                }
                partitions.extend(self.former_ms.keys().map(|partition| i64::from(*partition)));
                vec![Arc::new(Int64Array::from(partitions))]
            }
        };
        let marks = self.watermark_ms.iter().chain(self.former_ms.values()).copied();
        columns.push(Arc::new(Int64Array::from_iter_values(marks)));
        state.put_blob(encode_rows(&state_rows(columns)?)?);
        Ok(())
    }

    /// Of several former instances' clocks of one key, the one that is furthest back counts: no row that was not
    /// late then is late now. A partition has had one reader; what others wrote of it is older, so the furthest counts.
    /// Partitions' clocks count at once where there are no other instances whose they could be.
    ///
    /// # Errors
    /// If the state is not what [`Clocks::snapshot`] wrote.
    pub fn restore(&mut self, state: &StateReader, is_keyed: bool, is_single: bool) -> Result<()> {
        for blob in state.blobs() {
            let rows = decode_rows(blob)?;
            if rows.num_rows() == 0 {
                continue;
            }
            let (names, marks) = rows.columns().split_at(rows.num_columns() - 1);
            let marks = marks[0].as_primitive::<Int64Type>().values();
            if is_keyed {
                self.restore_keys(names, marks)?;
                continue;
            }
            for (partition, mark) in names[0].as_primitive::<Int64Type>().values().iter().zip(marks) {
                let partition = u32::try_from(*partition).unwrap_or(0);
                let former_ms = self.former_ms.entry(partition).or_insert(*mark);
                *former_ms = (*former_ms).max(*mark);
            }
        }
        if is_single {
            for partition in self.former_ms.keys().copied().collect::<Vec<_>>() {
                self.of_partition(partition, i64::MIN);
            }
        }
        Ok(())
    }

    fn restore_keys(&mut self, names: &[ArrayRef], marks: &[i64]) -> Result<()> {
        let known = self.watermark_ms.len();
        self.number_keys(names, marks.len())?;
        for (group, mark) in self.groups.iter().zip(marks) {
            let group = *group as usize;
            if group >= known {
                self.watermark_ms.resize(group + 1, *mark);
                self.seen_ms.resize(group + 1, i64::MIN);
                self.watermark_ms[group] = *mark;
            } else {
                self.watermark_ms[group] = self.watermark_ms[group].min(*mark);
            }
        }
        Ok(())
    }
}
