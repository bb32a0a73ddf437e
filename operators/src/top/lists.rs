//! The rows of each partition in order, as many as are needed: the state behind Top-N and deduplication.
//!
//! Invariants: a partition's list is sorted by the order's encoding, rows of equal order as they came (or newest
//! first, where the last of equals is wanted); a row that has left its list keeps its number until `release`, so that
//! what was said of it can still be taken back.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use bytes::Bytes;
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Batch, Firing, Result};
use smallvec::SmallVec;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::TopSpec;
use crate::frozen::KeyedSnapshot;
use crate::keyed::{Keyed, own, state_rows};
use crate::row_store::RowStore;

pub(super) type List = SmallVec<[u32; 2]>;

pub(super) struct Lists {
    spec: TopSpec,
    keys: Keyed,
    rows: RowStore,
    order: Option<RowConverter>,
    lists: Vec<List>,
    /// By partition: when it was last written, by the job's time.
    written_ms: Vec<i64>,
    /// Rows that have left their list.
    left: Vec<u32>,
    live: usize,
    snapshot: KeyedSnapshot,
}

impl Lists {
    pub fn new(spec: &TopSpec) -> Result<Self> {
        let order: Vec<SortField> = spec.order.iter().map(|key| key.field(&spec.input)).collect();
        Ok(Self {
            spec: spec.clone(),
            keys: Keyed::new(&spec.input, &spec.partition)?,
            rows: RowStore::new(spec.input.fields().iter().map(|field| field.data_type().clone()))?,
            order: if order.is_empty() { None } else { Some(RowConverter::new(order)?) },
            lists: Vec::new(),
            written_ms: Vec::new(),
            left: Vec::new(),
            live: 0,
            snapshot: KeyedSnapshot::default(),
        })
    }

    /// Numbers the partitions of a batch's rows, and answers each row's.
    pub fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        self.keys.number(rows)?;
        self.lists.resize_with(self.keys.table.len(), List::new);
        self.written_ms.resize(self.keys.table.len(), 0);
        let keys = self.keys.numbers.clone();
        self.claim(&keys)?;
        Ok(keys)
    }

    /// The rows of partition `key` that are in the result, by number.
    pub fn shown(&self, key: u32) -> &[u32] {
        let list = &self.lists[key as usize];
        let until = list.len().min(self.spec.to);
        &list[(self.spec.from - 1).min(until)..until]
    }

    /// All rows of partition `key`, by number.
    pub fn whole(&self, key: u32) -> &[u32] {
        &self.lists[key as usize]
    }

    /// Adds and takes out the rows of a batch, whose partitions are `keys`.
    pub fn apply(&mut self, batch: &Batch, keys: &[u32], now_ms: i64) -> Result<()> {
        let rows = self.rows.encode(batch.rows.columns())?;
        let order = self.encode_order(&batch.rows)?;
        for (row, key) in keys.iter().enumerate() {
            self.written_ms[*key as usize] = now_ms;
            let order = order.as_ref().map_or(&[][..], |order| order.row(row).data());
            if batch.changes.as_ref().is_some_and(|kinds| kinds[row].takes_back()) {
                self.take_out(*key, order, rows.row(row));
            } else {
                self.add(*key, order, rows.row(row));
            }
        }
        Ok(())
    }

    fn encode_order(&self, rows: &RecordBatch) -> Result<Option<Rows>> {
        let Some(converter) = &self.order else { return Ok(None) };
        let columns: Vec<ArrayRef> =
            self.spec.order.iter().map(|key| Arc::clone(rows.column(key.column))).collect();
        Ok(Some(converter.convert_columns(&columns)?))
    }

    fn add(&mut self, key: u32, order: &[u8], row: &[u8]) {
        let (list, rows, newest_first) = (&mut self.lists[key as usize], &self.rows, self.spec.newest_first);
        let at = list.partition_point(|other| {
            let other = rows.prefix(*other);
            if newest_first { other < order } else { other <= order }
        });
        if !self.spec.updates && at >= self.spec.to {
            return;
        }
        if list.is_empty() {
            self.live += 1;
        }
        let slot = self.rows.insert_with(order, row);
        let list = &mut self.lists[key as usize];
        list.insert(at, slot);
        // Rows that stay never leave room for one behind the last.
        if !self.spec.updates && list.len() > self.spec.to {
            self.left.extend(list.pop());
        }
    }

    fn take_out(&mut self, key: u32, order: &[u8], row: &[u8]) {
        let (list, rows) = (&mut self.lists[key as usize], &self.rows);
        let from = list.partition_point(|other| rows.prefix(*other) < order);
        let equals = list[from..].iter().take_while(|other| rows.prefix(**other) == order);
        let Some(at) = equals.clone().position(|other| rows.get(*other) == row) else { return };
        self.left.push(list.remove(from + at));
        if list.is_empty() {
            self.live -= 1;
        }
    }

    /// True when rows `one` and `other` are equal.
    pub fn same(&self, one: u32, other: u32) -> bool {
        one == other || self.rows.get(one) == self.rows.get(other)
    }

    /// The columns of rows by number.
    pub fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.rows.columns(slots.iter().copied())
    }

    /// Forgets the rows that have left their lists, and the partitions that are empty when they are many.
    pub fn release(&mut self) -> Result<()> {
        for slot in self.left.drain(..) {
            self.rows.remove(slot);
        }
        if self.snapshot.is_open() || !self.keys.is_stale(self.live) {
            return Ok(());
        }
        let live: Vec<u32> =
            (0_u32..).zip(&self.lists).filter(|(_, list)| !list.is_empty()).map(|(key, _)| key).collect();
        self.keys.table = self.keys.table.subset(&live)?;
        self.lists = live.iter().map(|key| std::mem::take(&mut self.lists[*key as usize])).collect();
        self.written_ms = live.iter().map(|key| self.written_ms[*key as usize]).collect();
        Ok(())
    }

    /// Forgets partition `key` if it was not written for `ttl_ms`.
    pub fn expire_key(&mut self, key: u32, now_ms: i64, ttl_ms: i64) {
        let list = &mut self.lists[key as usize];
        if !list.is_empty() && now_ms.saturating_sub(self.written_ms[key as usize]) >= ttl_ms {
            self.left.extend(list.drain(..));
            self.live -= 1;
        }
    }

    /// Forgets every partition that was not written for `ttl_ms`, and answers when the oldest of the others was.
    pub fn expire(&mut self, now_ms: i64, ttl_ms: i64) -> Result<Option<i64>> {
        let all = (0_u32..).zip(&self.lists).zip(&self.written_ms);
        let old =
            all.filter(|((_, list), written)| !list.is_empty() && now_ms.saturating_sub(**written) >= ttl_ms);
        let old: Vec<u32> = old.map(|((key, _), _)| key).collect();
        self.claim(&old)?;
        old.into_iter().for_each(|key| self.expire_key(key, now_ms, ttl_ms));
        self.release()?;
        let live = self.lists.iter().zip(&self.written_ms).filter(|(list, _)| !list.is_empty());
        Ok(live.map(|(_, written)| *written).min())
    }

    /// How many partitions were numbered.
    pub fn partitions(&self) -> u32 {
        self.lists.len() as u32
    }

    /// Writes those of `keys` that a snapshot has still to write, for they are about to change.
    fn claim(&mut self, keys: &[u32]) -> Result<()> {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        let done = snapshot.claim(keys.iter().copied(), |keys| self.state_of(keys));
        self.snapshot = snapshot;
        done
    }

    /// The rows of `keys` in the order of their lists, and when their partition was written.
    fn state_of(&self, keys: &[u32]) -> Result<Vec<Bytes>> {
        let slots: Vec<u32> = keys.iter().flat_map(|key| self.lists[*key as usize].iter().copied()).collect();
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = self.columns(&slots)?;
        let written = keys.iter().flat_map(|key| {
            std::iter::repeat_n(self.written_ms[*key as usize], self.lists[*key as usize].len())
        });
        columns.push(Arc::new(Int64Array::from_iter_values(written)));
        Ok(vec![encode_rows(&state_rows(columns)?)?])
    }

    /// Begins a snapshot.
    pub fn freeze(&mut self) {
        self.snapshot.begin(self.keys.table.len());
    }

    /// Writes a piece of the snapshot that was begun.
    pub fn write_frozen(&mut self, state: &mut StateWriter) -> Result<Firing> {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        let rows = |key: u32| self.lists[key as usize].len();
        let written = snapshot.write(state, rows, |keys| self.state_of(keys));
        self.snapshot = snapshot;
        written
    }

    /// Takes over rows that [`Lists::write_frozen`] wrote.
    pub fn restore(&mut self, state: &StateReader) -> Result<()> {
        for (of, bytes) in state.groups() {
            let rows = own(state, of, decode_rows(bytes)?, &self.spec.partition)?;
            let (columns, written) = rows.columns().split_at(self.spec.input.fields().len());
            let columns = RecordBatch::try_new(Arc::clone(&self.spec.input), columns.to_vec())?;
            let written = written[0].as_primitive::<Int64Type>();
            let keys = self.number(&columns)?;
            let encoded = self.rows.encode(columns.columns())?;
            let order = self.encode_order(&columns)?;
            for (row, key) in keys.iter().enumerate() {
                let order = order.as_ref().map_or(&[][..], |order| order.row(row).data());
                let slot = self.rows.insert_with(order, encoded.row(row));
                let list = &mut self.lists[*key as usize];
                if list.is_empty() {
                    self.live += 1;
                }
                // Rows come in the order of their list.
                list.push(slot);
                self.written_ms[*key as usize] = written.value(row);
            }
        }
        Ok(())
    }
}
