//! The way of due rows through a pattern: a chunk of partitions is taken off the list, their rows go to the automata round by
//! round, matches leave, and rows that nobody needs any more are forgotten.

use std::collections::VecDeque;

use arrow_array::ArrayRef;
use millstream_engine::{Batch, Firing, Output, Result};

use super::MatchRecognize;
use super::conditions::{Lane, Trial};
use super::reads::Read;
use crate::window::TimeMode;

/// Rows done at a time, about.
const CHUNK_ROWS: usize = 4_096;

impl MatchRecognize {
    /// A chunk of the partitions that are due.
    fn lanes(&mut self) -> Vec<Lane> {
        let mut lanes = Vec::new();
        let mut rows = 0;
        while rows < CHUNK_ROWS {
            let Some((due_ms, key)) = self.due.first().copied().filter(|(due, _)| *due <= self.time_ms)
            else {
                break;
            };
            self.due.remove(&(due_ms, key));
            let partition = &mut self.partitions[key as usize];
            partition.due_ms = None;
            let due = partition.waiting.partition_point(|(time, _)| *time <= self.time_ms);
            let until = due.min(CHUNK_ROWS - rows);
            let first = partition.base + partition.rows.len() as u64;
            lanes.push(Lane {
                key,
                rows: partition.waiting.drain(..until).collect(),
                done: 0,
                is_all: until == due,
                first,
                place: rows,
                older: Vec::new(),
            });
            // A partition without rows is work too.
            rows += until.max(1);
        }
        let mut place = 0;
        for lane in &mut lanes {
            lane.place = place;
            place += lane.rows.len();
        }
        lanes
    }

    /// The rows of a chunk as columns: those that are due, then the older ones that may be read.
    fn columns(&self, lanes: &mut [Lane]) -> Result<Vec<ArrayRef>> {
        let mut slots: Vec<u32> =
            lanes.iter().flat_map(|lane| lane.rows.iter().map(|(_, slot)| *slot)).collect();
        let mut wanted = Vec::new();
        for lane in lanes.iter_mut().filter(|lane| !lane.rows.is_empty()) {
            let partition = &self.partitions[lane.key as usize];
            wanted.clear();
            for attempt in partition.attempts.open.as_slice() {
                self.conditions.older(attempt, &self.matcher.counts, &mut wanted);
            }
            wanted.sort_unstable();
            wanted.dedup();
            for number in &wanted {
                lane.older.push((*number, slots.len() as u32));
                slots.push(partition.rows[(number - partition.base) as usize]);
            }
        }
        if slots.is_empty() { Ok(Vec::new()) } else { self.rows.columns(slots.into_iter()) }
    }

    /// Matches up to the watermark, of a chunk of the partitions that are due.
    pub(super) fn answer(&mut self, out: &mut Output<'_>) -> Result<Firing> {
        let mut lanes = self.lanes();
        if lanes.is_empty() {
            return Ok(Firing::Done);
        }
        let columns = self.columns(&mut lanes)?;
        let due: usize = lanes.iter().map(|lane| lane.rows.len()).sum();
        if due > 0 {
            self.conditions.prepare(&columns, due)?;
        }
        let mut active: Vec<usize> = (0..lanes.len()).filter(|lane| !lanes[*lane].rows.is_empty()).collect();
        while !active.is_empty() {
            self.round(&mut lanes, &active, &columns)?;
            active.retain(|lane| lanes[*lane].done < lanes[*lane].rows.len());
        }
        for lane in lanes.iter().filter(|lane| lane.is_all) {
            let attempts = &mut self.partitions[lane.key as usize].attempts;
            self.matcher.advance(attempts, self.time_ms, &mut self.found)?;
            self.found_keys.resize(self.found.len(), lane.key);
        }
        self.matcher.forget_taken();
        self.tell(out)?;
        lanes.iter().for_each(|lane| self.clean(lane.key));
        self.compact()?;
        let more = self.due.first().is_some_and(|(due_ms, _)| *due_ms <= self.time_ms);
        Ok(if more { Firing::More } else { Firing::Done })
    }

    /// The next row of each active lane.
    fn round(&mut self, lanes: &mut [Lane], active: &[usize], columns: &[ArrayRef]) -> Result<()> {
        let mut answers: Vec<u64> = Vec::new();
        let mut starts = Vec::with_capacity(active.len());
        for index in active {
            let lane = &lanes[*index];
            let (time_ms, slot) = lane.rows[lane.done];
            let partition = &mut self.partitions[lane.key as usize];
            self.matcher.advance(&mut partition.attempts, time_ms, &mut self.found)?;
            self.found_keys.resize(self.found.len(), lane.key);
            let number = partition.base + partition.rows.len() as u64;
            partition.rows.push_back(slot);
            starts.push(answers.len());
            for attempt in partition.attempts.open.as_slice() {
                let needs = self.matcher.automaton.needs(attempt.state);
                let place = (lane.place + lane.done) as u32;
                let trial = Trial { answer: answers.len(), lane: *index, attempt: *attempt, number, place };
                answers.push(self.conditions.try_row(needs, trial));
            }
        }
        self.conditions.answer(lanes, &self.matcher.counts, columns, &mut answers)?;
        let mut taken = Vec::new();
        for (index, start) in active.iter().zip(starts) {
            let lane = &mut lanes[*index];
            let partition = &mut self.partitions[lane.key as usize];
            let row = (partition.base + partition.rows.len() as u64 - 1, lane.rows[lane.done].0);
            self.matcher.step(&mut partition.attempts, row, &answers[start..], &mut self.found)?;
            self.found_keys.resize(self.found.len(), lane.key);
            taken.resize(self.matcher.taken.len(), (lane.place + lane.done) as u32);
            lane.done += 1;
        }
        let slots = self.matcher.counts.len();
        self.conditions.aggregates.carry_on(&self.matcher.taken, slots, columns, &taken)?;
        self.matcher.forget_taken();
        Ok(())
    }

    /// Emits the matches of a chunk.
    fn tell(&mut self, out: &mut Output<'_>) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        let keys = self.keys.table.columns(&self.found_keys)?;
        let (partitions, found_keys) = (&self.partitions, &self.found_keys);
        let slot_of = |at: usize, number: u64| {
            let partition = &partitions[found_keys[at] as usize];
            partition.rows[(number - partition.base) as usize]
        };
        let rows = self.measures.rows(keys, &self.found, &self.matcher.counts, &self.rows, slot_of)?;
        self.found.iter().for_each(|found| self.matcher.counts.release(found.slot));
        self.found.clear();
        self.found_keys.clear();
        let is_time = |read: &Read| matches!(read, Read::Time(_));
        let time = self.measures.reads.iter().position(is_time).map(|at| self.spec.partition.len() + at);
        let mut batch = Batch::new(rows);
        batch.event_time = time.filter(|_| self.spec.time == TimeMode::Event);
        out.emit(batch)
    }

    /// Forgets the rows of a partition that no attempt has, and the partition when it has nothing left.
    pub(super) fn clean(&mut self, key: u32) {
        let partition = &mut self.partitions[key as usize];
        let end = partition.base + partition.rows.len() as u64;
        let first = partition.attempts.first_row().unwrap_or(end);
        for slot in partition.rows.drain(..(first - partition.base) as usize) {
            self.rows.remove(slot);
        }
        partition.base = first;
        if partition.attempts.are_idle() && partition.waiting.is_empty() && partition.is_live {
            partition.is_live = false;
            (partition.rows, partition.waiting) = (VecDeque::new(), VecDeque::new());
            self.live -= 1;
        }
        self.set_due(key);
    }
}
