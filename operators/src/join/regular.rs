//! A join of everything with everything: both sides are kept, and a row of either meets all rows of the other.
//!
//! Invariants: a result row holds exactly while the rows it is made of do; a row of an outer side is padded with NULLs
//! exactly while nothing matches it, which each row counts. With a time to live a row is forgotten that long after it was
//! written, without taking results back, as in Flink.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use bytes::Bytes;
use millstream_engine::state::{StateReader, StateWriter, decode_rows, encode_rows};
use millstream_engine::{Batch, ChangeKind, Error, Firing, Operator, Output, Result};
use std::sync::Arc;

use super::side::Side;
use super::{Changes, JoinKind, JoinSpec, Matcher, PAIRS_MAX, Pairs};
use crate::frozen::{CHUNK_ROWS, KeyedSnapshot};
use crate::keyed::{Keyed, next_forgetting_ms, own, state_rows};
use crate::row_format::EncodedRows;

/// See the module's page.
pub struct RegularJoin {
    matcher: Matcher,
    keys: Keyed,
    sides: [Side; 2],
    snapshot: KeyedSnapshot,
}

/// A batch on its way in: the numbers of its rows' keys, the rows' bytes, which can match anything, and when.
struct Incoming<'a> {
    batch: &'a Batch,
    keys: Vec<u32>,
    encoded: EncodedRows,
    matchable: Vec<bool>,
    now_ms: i64,
}

impl RegularJoin {
    /// A join of `spec`.
    ///
    /// # Errors
    /// If a column cannot be kept, or a key cannot be compared.
    pub fn new(spec: &JoinSpec) -> Result<Self> {
        let side = |side: usize| Side::new(&spec.inputs[side], spec.updates[side]);
        Ok(Self {
            matcher: Matcher::new(spec),
            keys: Keyed::new(&spec.inputs[0], &spec.keys[0])?,
            sides: [side(0)?, side(1)?],
            snapshot: KeyedSnapshot::default(),
        })
    }

    /// True when the result takes rows back.
    pub fn updates(spec: &JoinSpec) -> bool {
        let pads = spec.kind.pads(0) || spec.kind.pads(1);
        // A row of the left that is in the result for its match does not go while rows only come.
        pads || spec.updates.contains(&true)
    }

    fn number(&mut self, side: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> =
            self.matcher.spec.keys[side].iter().map(|key| Arc::clone(rows.column(*key))).collect();
        self.keys.number_columns(&columns, rows.num_rows())?;
        self.sides.iter_mut().for_each(|side| side.grow(self.keys.table.len()));
        Ok(self.keys.numbers.clone())
    }

    /// Joins rows of `side` whose pairs are found, and keeps them.
    fn join(
        &mut self,
        side: usize,
        rows: &Incoming<'_>,
        range: std::ops::Range<usize>,
        pairs: &Pairs,
    ) -> Changes {
        let kind = self.matcher.spec.kind;
        let (mut changes, mut pair, mut found) = (Changes::default(), 0, Vec::new());
        for row in range {
            let change = rows.batch.changes.as_ref().map_or(ChangeKind::Insert, |kinds| kinds[row]);
            let (back, own) = (change.takes_back(), Some(row as u32));
            let first = pair;
            while pairs.rows.get(pair) == own.as_ref() {
                pair += 1;
            }
            found.clear();
            found.extend((first..pair).filter(|pair| pairs.is_match(*pair)));
            let pad = if back { ChangeKind::Delete } else { ChangeKind::Insert };
            match (kind, side) {
                (JoinKind::Semi, 0) if !found.is_empty() => changes.push(change, own, None),
                (JoinKind::Anti, 0) if found.is_empty() => changes.push(change, own, None),
                (JoinKind::Semi | JoinKind::Anti, 0) => {}
                (JoinKind::Inner, _) => {
                    found.iter().for_each(|pair| changes.push(change, own, Some(*pair as u32)));
                }
                _ => {
                    if found.is_empty() && kind.pads(side) {
                        changes.push(pad, own, None);
                    }
                    for pair in &found {
                        self.matched(side, back, pairs.slots[*pair], (own, *pair as u32), &mut changes);
                    }
                }
            }
            if !rows.matchable[row] {
                continue;
            }
            let (kept, key, bytes) = (&mut self.sides[side], rows.keys[row], rows.encoded.row(row));
            if !back {
                kept.add(key, bytes, found.len() as u32, rows.now_ms);
            } else if let Some(slot) = kept.find(key, bytes) {
                kept.remove(slot);
            }
        }
        changes
    }

    /// A row of `side` comes (or goes, with `back`) that matches row `slot` of the other.
    fn matched(
        &mut self,
        side: usize,
        back: bool,
        slot: u32,
        (own, pair): (Option<u32>, u32),
        changes: &mut Changes,
    ) {
        use ChangeKind::{Delete, Insert};
        let kind = self.matcher.spec.kind;
        let matches = self.sides[1 - side].matches_mut(slot);
        let before = *matches;
        *matches = if back { before.saturating_sub(1) } else { before + 1 };
        // The other row matches for the first time, or nothing any more.
        let turns = if back { before == 1 } else { before == 0 };
        let (gone, come) = if back { (Delete, Insert) } else { (Insert, Delete) };
        if kind.is_left_only() {
            if turns {
                let change = if kind == JoinKind::Semi { gone } else { come };
                changes.push(change, None, Some(pair));
            }
            return;
        }
        let pads = turns && kind.pads(1 - side);
        if pads && !back {
            changes.push(Delete, None, Some(pair));
        }
        changes.push(gone, own, Some(pair));
        if pads && back {
            changes.push(Insert, None, Some(pair));
        }
    }

    fn compact(&mut self) -> Result<()> {
        let rows = self.sides[0].len() + self.sides[1].len();
        if self.snapshot.is_open() || !self.keys.is_stale(rows) {
            return Ok(());
        }
        let live: Vec<u32> = (0..self.keys.table.len() as u32)
            .filter(|key| self.sides.iter().any(|side| !side.is_empty(*key)))
            .collect();
        self.keys.table = self.keys.table.subset(&live)?;
        self.sides.iter_mut().for_each(|side| side.renumber(&live));
        Ok(())
    }
}

impl Operator for RegularJoin {
    fn process(&mut self, port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let side = port.min(1);
        let now_ms = out.now_ms();
        let ttl_ms = self.matcher.spec.ttl_ms;
        let rows = Incoming {
            batch: &batch,
            keys: self.number(side, &batch.rows)?,
            encoded: self.sides[side].encode(batch.rows.columns())?,
            matchable: self.matcher.spec.matchable(side, &batch.rows),
            now_ms,
        };
        self.snapshot.claim(rows.keys.iter().copied(), |keys| state_of(&self.sides, keys))?;
        let updates = Self::updates(&self.matcher.spec);
        let mut start = 0;
        while start < batch.num_rows() {
            let (mut own, mut slots, mut end) = (Vec::new(), Vec::new(), start);
            let other = &self.sides[1 - side];
            while end < batch.num_rows() && slots.len() < PAIRS_MAX {
                if rows.matchable[end] {
                    let lives = |slot: &u32| {
                        ttl_ms.is_none_or(|ttl| now_ms.saturating_sub(other.time_ms(*slot)) < ttl)
                    };
                    slots.extend(other.list(rows.keys[end]).filter(lives));
                    own.resize(slots.len(), end as u32);
                }
                end += 1;
            }
            let pairs = self.matcher.pairs(side, &batch.rows, other, own, slots)?;
            let changes = self.join(side, &rows, start..end, &pairs);
            if !changes.kinds.is_empty() {
                let mut result = self.matcher.batch(side, &batch.rows, &pairs.others, &changes)?;
                result.changes = updates.then(|| changes.kinds.into());
                out.emit(result)?;
            }
            start = end;
        }
        if let Some(ttl) = ttl_ms {
            out.set_timer(now_ms.saturating_add(ttl));
        }
        self.compact()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output<'_>) -> Result<Firing> {
        let Some(ttl) = self.matcher.spec.ttl_ms else { return Ok(Firing::Done) };
        let mut oldest_ms = i64::MAX;
        for number in 0..2 {
            let old = |slot: &u32, side: &Side| now_ms.saturating_sub(side.time_ms(*slot)) >= ttl;
            let side = &self.sides[number];
            let gone: Vec<(u32, u32)> = side.all().filter(|(_, slot)| old(slot, side)).collect();
            self.snapshot.claim(gone.iter().map(|(key, _)| *key), |keys| state_of(&self.sides, keys))?;
            let side = &mut self.sides[number];
            gone.into_iter().for_each(|(_, slot)| side.remove(slot));
            oldest_ms =
                side.all().map(|(_, slot)| side.time_ms(slot)).min().unwrap_or(i64::MAX).min(oldest_ms);
        }
        if oldest_ms < i64::MAX {
            out.set_timer(next_forgetting_ms(oldest_ms, now_ms, ttl));
        }
        self.compact()?;
        Ok(Firing::Done)
    }

    fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        self.snapshot.begin(self.keys.table.len());
        self.resume_snapshot(state)
    }

    fn resume_snapshot(&mut self, state: &mut StateWriter) -> Result<Firing> {
        write(&mut self.snapshot, &self.sides, state)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let parts = restored(&self.matcher.spec, state).collect::<Result<Vec<_>>>()?;
        for Part { side, rows, matches, times } in parts {
            let keys = self.number(side, &rows)?;
            let encoded = self.sides[side].encode(rows.columns())?;
            for (row, key) in keys.iter().enumerate() {
                let matches = matches.value(row) as u32;
                self.sides[side].add(*key, encoded.row(row), matches, times.value(row));
            }
        }
        Ok(())
    }

    fn starts_with_timer(&self) -> bool {
        self.matcher.spec.ttl_ms.is_some()
    }
}

/// The rows of `keys`, of each side that has some: a byte for the side, and rows with their matches and times.
pub(super) fn state_of(sides: &[Side; 2], keys: &[u32]) -> Result<Vec<Bytes>> {
    let mut parts = Vec::new();
    for (number, side) in (0_u8..).zip(sides) {
        let slots: Vec<u32> = keys.iter().flat_map(|key| side.list(*key)).collect();
        if slots.is_empty() {
            continue;
        }
        let mut columns = side.columns(&slots)?;
        let matches = slots.iter().map(|slot| i64::from(side.matches(*slot)));
        columns.push(Arc::new(Int64Array::from_iter_values(matches)));
        let times = slots.iter().map(|slot| side.time_ms(*slot));
        columns.push(Arc::new(Int64Array::from_iter_values(times)));
        let rows = encode_rows(&state_rows(columns)?)?;
        parts.push([&[number][..], &rows].concat().into());
    }
    Ok(parts)
}

/// Writes the next piece of a snapshot of both sides.
pub(super) fn write(
    snapshot: &mut KeyedSnapshot,
    sides: &[Side; 2],
    state: &mut StateWriter,
) -> Result<Firing> {
    // Counting a key's rows would go through its list.
    let rows = |key: u32| sides.iter().map(|side| side.list(key).take(CHUNK_ROWS).count()).sum();
    snapshot.write(state, rows, |keys| state_of(sides, keys))
}

/// Rows of one side that were in a snapshot.
pub(super) struct Part {
    pub side: usize,
    pub rows: RecordBatch,
    pub matches: Int64Array,
    pub times: Int64Array,
}

/// What [`state_of`] wrote.
pub(super) fn restored<'a>(
    spec: &'a JoinSpec,
    state: &'a StateReader,
) -> impl Iterator<Item = Result<Part>> + 'a {
    state.groups().map(|(of, bytes)| {
        let (side, bytes) = bytes.split_first().ok_or_else(|| Error::state("a join's state is empty"))?;
        let side = usize::from(*side).min(1);
        let rows = own(state, of, decode_rows(bytes)?, &spec.keys[side])?;
        let (columns, beside) = rows
            .columns()
            .split_at_checked(spec.inputs[side].fields().len())
            .filter(|(_, beside)| beside.len() == 2)
            .ok_or_else(|| Error::state("a join's state is of other columns"))?;
        Ok(Part {
            side,
            rows: RecordBatch::try_new(Arc::clone(&spec.inputs[side]), columns.to_vec())?,
            matches: beside[0].as_primitive::<Int64Type>().clone(),
            times: beside[1].as_primitive::<Int64Type>().clone(),
        })
    })
}
