//! A pattern's state in checkpoints, by key group: rows, and attempts over them.
//!
//! Rows of a partition are numbered anew from 0 on the way back; aggregates are not written, they are computed again from
//! the rows. Attempts keep the order they had, because it decides between equals (queue.rs).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Error, Result};

use super::MatchRecognize;
use super::matcher::{Attempt, NOT_BEGUN, Taken};
use crate::keyed::state_rows;

/// What a piece of state holds, its first byte: rows with their times, when their partition was written, and whether they
/// wait.
const ROWS: u8 = 0;
/// Keys with an attempt each: whether it is complete, its state, first row from the partition's first kept one (-1 before
/// it begins), that row's time, and how many rows each variable has.
const ATTEMPTS: u8 = 1;

impl MatchRecognize {
    pub(super) fn write(&self, state: &mut StateWriter) -> Result<()> {
        let live = (0_u32..).zip(&self.partitions).filter(|(_, partition)| partition.is_live);
        for (group, keys) in self.keys.by_key_group(live.map(|(key, _)| (key, key))) {
            let partitions = || keys.iter().map(|key| (*key, &self.partitions[*key as usize]));
            let rows: Vec<(u32, [i64; 3])> = partitions()
                .flat_map(|(_, partition)| {
                    let kept = partition.rows.iter().map(|slot| (*slot, [0, partition.written_ms, 0]));
                    let waiting = partition.waiting.iter();
                    kept.chain(waiting.map(|(time, slot)| (*slot, [*time, partition.written_ms, 1])))
                })
                .collect();
            let mut columns = self.rows.columns(rows.iter().map(|(slot, _)| *slot))?;
            columns.extend((0..3).map(|at| ints(rows.iter().map(|(_, beside)| beside[at]))));
            state.put_group(group, [&[ROWS][..], &encode_rows(&state_rows(columns)?)?].concat());

            let attempts: Vec<(u32, bool, Attempt)> = partitions()
                .filter(|(_, partition)| !partition.attempts.are_idle())
                .flat_map(|(key, partition)| {
                    let open = partition.attempts.open.as_slice().iter().map(move |one| (key, false, *one));
                    let complete = partition.attempts.complete.as_slice().iter();
                    open.chain(complete.map(move |one| (key, true, *one)))
                })
                .collect();
            if attempts.is_empty() {
                continue;
            }
            let keys: Vec<u32> = attempts.iter().map(|(key, ..)| *key).collect();
            let mut columns = self.keys.table.columns(&keys)?;
            let first = |(key, _, attempt): &(u32, bool, Attempt)| match attempt.first {
                NOT_BEGUN => -1,
                first => (first - self.partitions[*key as usize].base) as i64,
            };
            columns.push(ints(attempts.iter().map(|(_, complete, _)| i64::from(*complete))));
            columns.push(ints(attempts.iter().map(|(_, _, attempt)| i64::from(attempt.state))));
            columns.push(ints(attempts.iter().map(first)));
            columns.push(ints(attempts.iter().map(|(_, _, attempt)| attempt.first_ms)));
            for variable in 0..self.spec.definitions.len() {
                columns.push(ints(attempts.iter().map(|(_, _, attempt)| match attempt.first {
                    NOT_BEGUN => 0,
                    _ => i64::from(self.matcher.counts.of(attempt.slot)[variable]),
                })));
            }
            state.put_group(group, [&[ATTEMPTS][..], &encode_rows(&state_rows(columns)?)?].concat());
        }
        Ok(())
    }

    pub(super) fn read(&mut self, state: &StateReader) -> Result<()> {
        for (_, bytes) in state.groups() {
            let (what, bytes) =
                bytes.split_first().ok_or_else(|| Error::state("the state of a pattern is empty"))?;
            let rows = decode_rows(bytes)?;
            match *what {
                ROWS => self.read_rows(&rows)?,
                ATTEMPTS => self.read_attempts(&rows)?,
                other => return Err(Error::state(format!("the state of a pattern has a piece {other}"))),
            }
        }
        for key in 0..self.partitions.len() as u32 {
            self.compute_aggregates(key)?;
            self.set_due(key);
        }
        Ok(())
    }

    fn read_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        let (columns, beside) = rows.columns().split_at(self.spec.input.fields().len());
        let columns = RecordBatch::try_new(Arc::clone(&self.spec.input), columns.to_vec())?;
        let int = |at: usize| beside[at].as_primitive::<Int64Type>().clone();
        let (times, written, waits) = (int(0), int(1), int(2));
        let keys = self.number(&columns)?;
        self.wait(&keys, |row| (waits.value(row) == 1).then(|| times.value(row)), columns.columns())?;
        let encoded = self.rows.encode(columns.columns())?;
        for (row, key) in keys.iter().enumerate() {
            let partition = &mut self.partitions[*key as usize];
            partition.written_ms = written.value(row);
            if waits.value(row) == 0 {
                partition.rows.push_back(self.rows.insert(encoded.row(row)));
                if !std::mem::replace(&mut partition.is_live, true) {
                    self.live += 1;
                }
            }
        }
        Ok(())
    }

    fn read_attempts(&mut self, rows: &RecordBatch) -> Result<()> {
        let (keys, rest) = rows.columns().split_at(self.keys.width());
        self.keys.number_columns(keys, rows.num_rows())?;
        self.grow();
        let numbers: Vec<Int64Array> =
            rest.iter().map(|column| column.as_primitive::<Int64Type>().clone()).collect();
        let mut last = None;
        for row in 0..rows.num_rows() {
            let value = |column: usize| numbers[column].value(row);
            if !self.matcher.automaton.has(value(1)) {
                return Err(Error::state("the state of a pattern is that of another pattern"));
            }
            let partition = &mut self.partitions[self.keys.numbers[row] as usize];
            let has_begun = value(2) >= 0;
            let counts = (0..self.spec.definitions.len()).map(|variable| value(4 + variable) as u32);
            let attempt = Attempt {
                state: value(1) as u16,
                first: if has_begun { value(2) as u64 } else { NOT_BEGUN },
                first_ms: value(3),
                slot: if has_begun { self.matcher.counts.insert(counts) } else { 0 },
            };
            // Those of a key follow each other; what is there before the first is the attempt of a new partition.
            if last.replace(self.keys.numbers[row]) != Some(self.keys.numbers[row]) {
                partition.attempts.open.clear();
            }
            let attempts = &mut partition.attempts;
            if value(0) == 1 { &mut attempts.complete } else { &mut attempts.open }.restore(attempt);
        }
        Ok(())
    }

    /// The aggregates of a partition's open attempts, over the rows they have.
    fn compute_aggregates(&mut self, key: u32) -> Result<()> {
        let partition = &self.partitions[key as usize];
        if self.conditions.aggregates.is_empty() || partition.attempts.are_idle() {
            return Ok(());
        }
        let columns = self.rows.columns(partition.rows.iter().copied())?;
        let (mut taken, mut rows) = (Vec::new(), Vec::new());
        for attempt in partition.attempts.open.as_slice().iter().filter(|one| one.first != NOT_BEGUN) {
            let counts = self.matcher.counts.of(attempt.slot).iter().enumerate();
            let variables = counts.flat_map(|(at, count)| std::iter::repeat_n(at, *count as usize));
            for (variable, row) in variables.zip(attempt.first - partition.base..) {
                taken.push(Taken { from: None, to: attempt.slot, variable });
                rows.push(row as u32);
            }
        }
        self.conditions.aggregates.carry_on(&taken, self.matcher.counts.len(), &columns, &rows)
    }
}

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}
