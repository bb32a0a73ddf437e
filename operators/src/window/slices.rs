//! Slices by their end, and how windows are put together from them when they fire.
//!
//! A tumbling window is its slice. A cumulating window adds each slice to what the windows before it had. A hopping
//! window is kept running where every aggregate can be undone exactly (add the new slice, take the old one out);
//! otherwise slices are combined in blocks as long as a window: within a block from its start on (prefix), and from
//! each slice to its end (suffix), so that every window is one suffix and one prefix. Either way each slice is added a
//! fixed number of times, however many windows it is in. Blocks are anchored to absolute time, so that the answer does
//! not depend on when or where the work is done.

use std::collections::BTreeMap;
use std::ops::Bound;

use arrow_schema::SchemaRef;
use millstream_engine::state::StateWriter;
use millstream_engine::{Firing, Result};

use super::{WindowAggregateSpec, WindowAssigner};
use crate::window::groups::{Groups, Prepared, write_frozen};

/// Emptied tables kept for reuse.
const SPARE_MAX: usize = 16;
/// A running table is rebuilt when it numbers this many times as many keys as the slices in it.
const STALE_FACTOR: usize = 4;

pub(super) struct Slices {
    spec: WindowAggregateSpec,
    windows: WindowAssigner,
    by_end: BTreeMap<i64, Groups>,
    combine: Combine,
    spare: Vec<Groups>,
    /// Slices whose windows have fired, and that are still to be written to a snapshot.
    leaving: Vec<Groups>,
    numbers: Vec<u32>,
}

// There is one in an operator instance, and its place is looked at for every slice: a box would only be a detour.
#[allow(clippy::large_enum_variant)]
enum Combine {
    /// The window is the slice.
    None,
    /// One table that slices with ends in `(from_ms, to_ms]` are in.
    Running { table: Groups, from_ms: i64, to_ms: i64, undo: bool },
    /// Suffixes of the block that ended last, prefix of the current, and the window itself.
    Blocks {
        suffixes: BTreeMap<i64, Groups>,
        block_end_ms: i64,
        prefix: Groups,
        prefix_to_ms: i64,
        window: Groups,
    },
}

impl Slices {
    /// Slices of `spec`, put together to `windows`.
    pub fn new(spec: &WindowAggregateSpec, windows: WindowAssigner) -> Result<Self> {
        let table = || Groups::new(spec);
        let combine = match windows {
            WindowAssigner::Tumble { .. } | WindowAssigner::Session { .. } => Combine::None,
            WindowAssigner::Cumulate { .. } => {
                Combine::Running { table: table()?, from_ms: i64::MIN, to_ms: i64::MIN, undo: false }
            }
            WindowAssigner::Hop { .. } if spec.is_running_undone()? => {
                Combine::Running { table: table()?, from_ms: i64::MIN, to_ms: i64::MIN, undo: true }
            }
            WindowAssigner::Hop { .. } => Combine::Blocks {
                suffixes: BTreeMap::new(),
                block_end_ms: i64::MIN,
                prefix: table()?,
                prefix_to_ms: i64::MIN,
                window: table()?,
            },
        };
        Ok(Self {
            spec: spec.clone(),
            windows,
            by_end: BTreeMap::new(),
            combine,
            spare: Vec::new(),
            leaving: Vec::new(),
            numbers: Vec::new(),
        })
    }

    /// Adds rows `start .. start + len` of `input` to the slice that ends at `end_ms`.
    pub fn update(&mut self, end_ms: i64, input: &Prepared, start: usize, len: usize) -> Result<()> {
        let slice = match self.by_end.entry(end_ms) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(self.spare.pop().map_or_else(|| Groups::new(&self.spec), Ok)?)
            }
        };
        slice.update(input, start, len, &mut self.numbers)?;
        // A late row that still counts for windows to come: what was combined already must hold it too.
        match &mut self.combine {
            Combine::Running { table, from_ms, to_ms, .. } if end_ms > *from_ms && end_ms <= *to_ms => {
                table.update(input, start, len, &mut self.numbers)?;
            }
            Combine::Blocks { block_end_ms, prefix_to_ms, .. } if end_ms <= *prefix_to_ms => {
                *block_end_ms = i64::MIN;
                *prefix_to_ms = i64::MIN;
            }
            _ => {}
        }
        Ok(())
    }

    /// End of the first window after `fired_ms` that holds rows.
    pub fn next_window_end_ms(&self, fired_ms: i64) -> Option<i64> {
        let (first_ms, _) = self.by_end.first_key_value()?;
        let slide = self.windows.slide_ms();
        let next_ms = (*first_ms).max(fired_ms.saturating_add(slide));
        if next_ms <= self.windows.last_window_end_ms(*first_ms) || next_ms == *first_ms {
            return Some(next_ms);
        }
        // The oldest slice is used up; look at the next that is not.
        self.by_end
            .keys()
            .find(|end| self.windows.last_window_end_ms(**end) >= next_ms)
            .map(|end| (*end).max(next_ms))
    }

    /// End of the last slice that holds rows.
    pub fn last_end_ms(&self) -> Option<i64> {
        self.by_end.last_key_value().map(|(end_ms, _)| *end_ms)
    }

    /// Windows may fire again that have fired: what was put together of slices is put together anew.
    pub fn reopen(&mut self) {
        match &mut self.combine {
            Combine::None => {}
            Combine::Running { from_ms, to_ms, .. } => (*from_ms, *to_ms) = (i64::MIN, i64::MIN),
            Combine::Blocks { block_end_ms, prefix_to_ms, .. } => {
                (*block_end_ms, *prefix_to_ms) = (i64::MIN, i64::MIN);
            }
        }
    }

    /// Puts the window that ends at `end_ms` together. Its groups are then there to read until [`Slices::fired`].
    pub fn fire(&mut self, end_ms: i64) -> Result<()> {
        let start_ms = self.windows.window_start_ms(end_ms);
        let (by_end, numbers) = (&self.by_end, &mut self.numbers);
        match &mut self.combine {
            Combine::None => {}
            Combine::Running { table, from_ms, to_ms, undo } => {
                let apart = if *undo { start_ms >= *to_ms } else { start_ms != *from_ms };
                let live: usize = by_end.values().map(|groups| groups.keys.len()).sum();
                if apart || *from_ms > start_ms || table.keys.len() > STALE_FACTOR * live + 1_024 {
                    table.clear();
                    *from_ms = start_ms;
                    *to_ms = start_ms;
                }
                for (_, slice) in ending_in(by_end, *to_ms, end_ms) {
                    table.merge(slice, numbers);
                }
                *to_ms = end_ms;
                for (_, slice) in ending_in(by_end, *from_ms, start_ms) {
                    table.retract(slice, numbers);
                }
                *from_ms = start_ms;
            }
            Combine::Blocks { suffixes, block_end_ms, prefix, prefix_to_ms, window } => {
                let size = end_ms - start_ms;
                // The block boundary inside the window: suffix up to it, prefix after it.
                let boundary_ms = end_ms - end_ms.rem_euclid(size);
                if *block_end_ms != boundary_ms {
                    *block_end_ms = boundary_ms;
                    *prefix_to_ms = boundary_ms;
                    prefix.clear();
                    suffixes.clear();
                    let mut last: Option<&Groups> = None;
                    for (slice_end, slice) in ending_in(by_end, boundary_ms - size, boundary_ms).rev() {
                        let mut suffix = Groups::new(&self.spec)?;
                        suffix.merge(slice, numbers);
                        if let Some(last) = last {
                            suffix.merge(last, numbers);
                        }
                        suffixes.insert(*slice_end, suffix);
                        last = suffixes.get(slice_end);
                    }
                }
                for (_, slice) in ending_in(by_end, *prefix_to_ms, end_ms) {
                    prefix.merge(slice, numbers);
                }
                *prefix_to_ms = end_ms;
                window.clear();
                if let Some((_, suffix)) = suffixes.range(start_ms + 1..).next() {
                    window.merge(suffix, numbers);
                }
                window.merge(prefix, numbers);
            }
        }
        Ok(())
    }

    /// The groups of the window that fired.
    pub fn window(&self, end_ms: i64) -> Option<&Groups> {
        match &self.combine {
            Combine::None => self.by_end.get(&end_ms),
            Combine::Running { table, .. } => Some(table),
            Combine::Blocks { window, .. } => Some(window),
        }
    }

    /// The window that ends at `end_ms` is emitted: drops the slices whose last window it was.
    pub fn fired(&mut self, end_ms: i64) {
        while let Some((&oldest_ms, _)) = self.by_end.first_key_value() {
            if self.windows.last_window_end_ms(oldest_ms) > end_ms {
                break;
            }
            let Some(slice) = self.by_end.remove(&oldest_ms) else { break };
            if let Combine::Running { table, from_ms, to_ms, undo: true } = &mut self.combine
                && oldest_ms > *from_ms
                && oldest_ms <= *to_ms
            {
                table.retract(&slice, &mut self.numbers);
                *from_ms = oldest_ms;
            }
            if slice.is_frozen() {
                self.leaving.push(slice);
            } else {
                self.give_back(slice);
            }
        }
    }

    /// Takes out a slice whole.
    pub fn take(&mut self, end_ms: i64) -> Option<Groups> {
        self.by_end.remove(&end_ms)
    }

    /// Gives an emptied table back for reuse.
    pub fn give_back(&mut self, mut groups: Groups) {
        if self.spare.len() < SPARE_MAX {
            groups.clear();
            self.spare.push(groups);
        }
    }

    /// Begins a snapshot of all slices, as rows of `schema`.
    pub fn freeze(&mut self, schema: &SchemaRef) {
        self.by_end.iter_mut().for_each(|(end_ms, groups)| groups.freeze(*end_ms, schema));
    }

    /// Writes a piece of that snapshot.
    pub fn write_frozen(&mut self, state: &mut StateWriter) -> Result<Firing> {
        let firing = write_frozen(self.leaving.iter_mut().chain(self.by_end.values_mut()), state)?;
        while let Some(slice) = self.leaving.pop_if(|slice| !slice.is_frozen()) {
            self.give_back(slice);
        }
        Ok(firing)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &Groups)> {
        self.by_end.iter().map(|(end, groups)| (*end, groups))
    }

    /// How many groups all slices hold.
    pub fn num_groups(&self) -> usize {
        self.by_end.values().map(|groups| groups.keys.len()).sum()
    }
}

/// Slices whose end lies in `(from_ms, to_ms]`.
fn ending_in(
    by_end: &BTreeMap<i64, Groups>,
    from_ms: i64,
    to_ms: i64,
) -> impl DoubleEndedIterator<Item = (&i64, &Groups)> {
    by_end.range((Bound::Excluded(from_ms), Bound::Included(to_ms.max(from_ms))))
}
