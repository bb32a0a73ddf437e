//! The state of OVER, written and read.
//!
//! Per key group pieces, each with a byte for what follows: 0, rows with their times, and whether they wait; 1, keys with the last
//! time that was answered, when written, and the aggregates' states; 2, rows that came behind their clocks, with their times and
//! those clocks.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Error, Result};

use super::partition::Waiting;
use super::{Over, Partition};
use crate::aggregate::merge_states;
use crate::keyed::state_rows;

const ROWS: u8 = 0;
const KEYS: u8 = 1;
const BEHIND: u8 = 2;

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

impl Over {
    pub(super) fn write_state(&self, state: &mut StateWriter) -> Result<()> {
        for (group, keys) in self.keys.by_key_group(self.live_keys().map(|key| (key, key))) {
            let of = |key: &u32| &self.partitions[*key as usize];
            let came_behind = |row: &Waiting| row.clock_ms > i64::MIN;
            let rows_of = |partition: &Partition| {
                let frame = partition.frame.iter().map(|(time_ms, slot)| (*slot, *time_ms, 0));
                let waiting = partition.waiting.iter().filter(|row| !came_behind(row));
                frame.chain(waiting.map(|row| (row.slot, row.time_ms, 1))).collect::<Vec<_>>()
            };
            let behind_of = |partition: &Partition| {
                let waiting = partition.waiting.iter().filter(|row| came_behind(row));
                let all = waiting.chain(&partition.behind).map(|row| (row.slot, row.time_ms, row.clock_ms));
                all.collect::<Vec<_>>()
            };
            let pieces = [
                (ROWS, keys.iter().map(of).flat_map(rows_of).collect::<Vec<_>>()),
                (BEHIND, keys.iter().map(of).flat_map(behind_of).collect()),
            ];
            for (what, rows) in pieces {
                if rows.is_empty() {
                    continue;
                }
                let mut columns = self.rows.columns(rows.iter().map(|(slot, ..)| *slot))?;
                columns.push(ints(rows.iter().map(|(_, time_ms, _)| *time_ms)));
                columns.push(ints(rows.iter().map(|(.., beside)| *beside)));
                state.put_group(group, [&[what][..], &encode_rows(&state_rows(columns)?)?].concat());
            }
            let keys: Vec<u32> = keys.into_iter().filter(|key| of(key).answered_ms.is_some()).collect();
            let mut columns = self.keys.table.columns(&keys)?;
            columns.push(ints(keys.iter().filter_map(|key| of(key).answered_ms)));
            columns.push(ints(keys.iter().map(|key| of(key).written_ms)));
            for accumulator in &self.accumulators {
                columns.extend(accumulator.state(&keys)?);
            }
            state.put_group(group, [&[KEYS][..], &encode_rows(&state_rows(columns)?)?].concat());
        }
        Ok(())
    }

    pub(super) fn read_state(&mut self, state: &StateReader) -> Result<()> {
        let int = |column: &ArrayRef| column.as_primitive::<Int64Type>().clone();
        for (_, bytes) in state.groups() {
            let (what, bytes) =
                bytes.split_first().ok_or_else(|| Error::state("the state of OVER is empty"))?;
            let rows = decode_rows(bytes)?;
            if *what != KEYS {
                let (columns, beside) = rows.columns().split_at(self.spec.input.fields().len());
                let columns = RecordBatch::try_new(Arc::clone(&self.spec.input), columns.to_vec())?;
                let (times, beside) = (int(&beside[0]), int(&beside[1]));
                let keys = self.number(&columns)?;
                let encoded = self.rows.encode(columns.columns())?;
                for (row, key) in keys.iter().enumerate() {
                    let (bytes, time_ms) = (encoded.row(row), times.value(row));
                    match (*what, beside.value(row)) {
                        (BEHIND, clock_ms) => self.wait(*key, time_ms, clock_ms, bytes),
                        (_, 1) => self.wait(*key, time_ms, i64::MIN, bytes),
                        _ => {
                            let slot = self.rows.insert(bytes);
                            self.partitions[*key as usize].frame.push_back((time_ms, slot));
                        }
                    }
                }
                continue;
            }
            let (keys, rest) = rows.columns().split_at(self.keys.width());
            self.keys.number_columns(keys, rows.num_rows())?;
            self.grow();
            let (answered, written) = (int(&rest[0]), int(&rest[1]));
            for (row, key) in self.keys.numbers.iter().enumerate() {
                let partition = &mut self.partitions[*key as usize];
                partition.answered_ms = Some(answered.value(row));
                partition.written_ms = written.value(row);
            }
            merge_states(&mut self.accumulators, &self.keys.numbers, &rest[2..])?;
        }
        Ok(())
    }
}
