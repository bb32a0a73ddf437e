//! The changes of a grouped stream fold to what a plain computation over the rows that are left gives.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::{Array, RecordBatch, UInt32Array};
use millstream_engine::harness::{Emitted, OperatorHarness};
use millstream_engine::keys::{hash_u64, key_group, key_group_range, owner};
use proptest::prelude::*;

use super::*;
use crate::aggregate::AggregateKind;
use crate::folded::Folded;
use crate::frozen::testing::{Event, assert_as_at_the_barrier};

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

fn call(kind: AggregateKind, distinct: bool) -> AggregateCall {
    let name = format!("{kind:?}{distinct}");
    AggregateCall { kind, argument: Some(1), filter: None, distinct, name }
}

fn spec(updates: bool) -> GroupSpec {
    use AggregateKind as K;
    let mut aggregates = vec![
        AggregateCall { kind: K::Count, argument: None, filter: None, distinct: false, name: "n".into() },
        call(K::Sum, false),
        call(K::Min, false),
        call(K::Max, false),
        call(K::Count, true),
        call(K::Sum, true),
    ];
    if updates {
        aggregates.push(call(K::LastValue, false));
    }
    GroupSpec {
        input: input(),
        keys: vec![0],
        aggregates,
        updates,
        before: true,
        ttl_ms: None,
        mini_batch: None,
    }
}

/// A row, and whether it is taken back.
type Row = (i64, Option<i64>, bool);

fn batch(rows: &[Row], updates: bool) -> Batch {
    let keys: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    let values: Int64Array = rows.iter().map(|row| row.1).collect();
    let mut batch =
        Batch::new(RecordBatch::try_new(input(), vec![Arc::new(keys), Arc::new(values)]).unwrap());
    let kind = |back: bool| if back { ChangeKind::Delete } else { ChangeKind::Insert };
    batch.changes = updates.then(|| rows.iter().map(|row| kind(row.2)).collect());
    batch
}

/// What is left, by key, in order of arrival; then as text.
fn oracle(rows: &[Row], updates: bool) -> Folded {
    let mut left: BTreeMap<i64, Vec<Option<i64>>> = BTreeMap::new();
    for (key, value, back) in rows {
        let values = left.entry(*key).or_default();
        if *back {
            let at = values.iter().position(|other| other == value).unwrap();
            values.remove(at);
        } else {
            values.push(*value);
        }
    }
    let mut folded = Folded::default();
    let text = |value: Option<i64>| value.map_or("NULL".to_owned(), |value| value.to_string());
    for (key, values) in left.into_iter().filter(|(_, values)| !values.is_empty()) {
        let known: Vec<i64> = values.iter().flatten().copied().collect();
        let distinct: std::collections::BTreeSet<i64> = known.iter().copied().collect();
        let sum = |values: &mut dyn Iterator<Item = i64>| values.reduce(i64::wrapping_add);
        let mut row = format!(
            "key={key}, n={}, Sumfalse={}, Minfalse={}, Maxfalse={}, Counttrue={}, Sumtrue={}",
            values.len(),
            text(sum(&mut known.iter().copied())),
            text(known.iter().min().copied()),
            text(known.iter().max().copied()),
            distinct.len(),
            text(sum(&mut distinct.iter().copied())),
        );
        if updates {
            row += &format!(", LastValuefalse={}", text(known.last().copied()));
        }
        folded.0.insert(row, 1);
    }
    folded
}

/// Rows of which some are taken back again later.
fn streams(updates: bool) -> impl Strategy<Value = Vec<Row>> {
    let row = (0_i64..5, prop::option::weighted(0.8, 0_i64..4), prop::bool::weighted(0.4));
    prop::collection::vec(row, 0..150).prop_map(move |rows| {
        let mut there: Vec<(i64, Option<i64>)> = Vec::new();
        let mut all = Vec::new();
        for (key, value, back) in rows {
            if back && updates && !there.is_empty() {
                let (key, value) = there.remove((key as usize * 7) % there.len());
                all.push((key, value, true));
            } else {
                there.push((key, value));
                all.push((key, value, false));
            }
        }
        all
    })
}

fn instance(spec: &GroupSpec, instance: usize, of: usize, state: &StateReader) -> OperatorHarness {
    OperatorHarness::instance_of(Box::new(Group::new(spec).unwrap()), instance, of, state).unwrap()
}

fn mine(batch: &Batch, instance: usize, of: usize) -> Batch {
    let keys = batch.rows.column(0).as_primitive::<Int64Type>();
    let rows = (0..batch.num_rows() as u32)
        .filter(|row| owner(key_group(hash_u64(keys.value(*row as usize) as u64)), of) == instance);
    batch.take(&UInt32Array::from_iter_values(rows)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn changes_fold_to_the_oracle(
        (updates, rows) in any::<bool>().prop_flat_map(|updates| (Just(updates), streams(updates))),
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        before in prop::sample::select(vec![1_usize, 2, 3]),
        after in prop::sample::select(vec![1_usize, 2]),
        restart_at in 0_usize..150,
        held in prop::option::of(1_usize..60),
    ) {
        let mini_batch = held.map(|rows_max| MiniBatch { latency_ms: 10, rows_max });
        let spec = GroupSpec { mini_batch, ..spec(updates) };
        let mut instances: Vec<_> =
            (0..before).map(|at| instance(&spec, at, before, &StateReader::default())).collect();
        let mut folded = Folded::default();
        let (mut done, mut restarted) = (0, false);
        for chunk in rows.chunks(batch_rows) {
            if !restarted && done >= restart_at {
                restarted = true;
                let mut snapshots = Vec::new();
                for one in &mut instances {
                    let (emitted, state) = one.snapshot().unwrap();
                    folded.apply(&emitted);
                    snapshots.push(state);
                }
                let groups = |at: usize| -> Range<u16> { key_group_range(at, after) };
                instances = (0..after)
                    .map(|at| instance(&spec, at, after, &OperatorHarness::gather(&snapshots, groups(at))))
                    .collect();
            }
            done += chunk.len();
            let whole = batch(chunk, updates);
            let of = instances.len();
            for (at, one) in instances.iter_mut().enumerate() {
                let part = mine(&whole, at, of);
                if !part.is_empty() {
                    folded.apply(&one.batch(part).unwrap());
                }
                if done % 3 == 0 {
                    folded.apply(&one.advance(4).unwrap());
                }
            }
        }
        for one in &mut instances {
            folded.apply(&one.end().unwrap());
        }
        prop_assert_eq!(folded, oracle(&rows, updates));
    }
}

#[test]
fn a_key_without_writes_is_forgotten_and_begins_anew() {
    let spec = GroupSpec { ttl_ms: Some(1_000), ..spec(false) };
    let mut harness = OperatorHarness::new(Box::new(Group::new(&spec).unwrap())).unwrap();
    harness.batch(batch(&[(1, Some(5), false), (2, Some(7), false)], false)).unwrap();
    harness.advance(600).unwrap();
    harness.batch(batch(&[(1, Some(6), false)], false)).unwrap();
    harness.advance(500).unwrap();
    // Key 1 was written 500 ms ago and goes on; key 2 is new again.
    let out = harness.batch(batch(&[(1, Some(1), false), (2, Some(1), false)], false)).unwrap();
    let millstream_engine::harness::Emitted::Rows(rows) = &out[0] else { panic!("{out:?}") };
    assert_eq!(
        rows.changes.as_deref(),
        Some(&[ChangeKind::UpdateBefore, ChangeKind::UpdateAfter, ChangeKind::Insert][..])
    );
    let counts = rows.rows.column(1).as_primitive::<Int64Type>();
    assert_eq!(counts.values(), &[2, 3, 1]);
    // Nothing is kept of keys that nobody writes.
    harness.advance(2_000).unwrap();
    let (_, state) = harness.snapshot().unwrap();
    assert!(state.groups.is_empty());
}

/// The wall clock may be set to another time: what is kept for a while is kept for that while.
#[test]
fn a_clock_that_is_set_forgets_nothing_and_keeps_nothing_for_longer() {
    let spec = GroupSpec { ttl_ms: Some(1_000), ..spec(false) };
    let mut harness = OperatorHarness::new(Box::new(Group::new(&spec).unwrap())).unwrap();
    harness.batch(batch(&[(1, Some(5), false)], false)).unwrap();
    harness.step_wall(300_000).unwrap();
    let out = harness.batch(batch(&[(1, Some(1), false)], false)).unwrap();
    let millstream_engine::harness::Emitted::Rows(rows) = &out[0] else { panic!("{out:?}") };
    assert_eq!(rows.rows.column(1).as_primitive::<Int64Type>().values(), &[1, 2]);
    harness.step_wall(-600_000).unwrap();
    harness.advance(1_100).unwrap();
    let (_, state) = harness.snapshot().unwrap();
    assert!(state.groups.is_empty());
}

#[test]
fn an_endless_space_of_keys_does_not_grow_under_a_time_to_live() {
    let spec = GroupSpec { ttl_ms: Some(10), ..spec(false) };
    let mut harness = OperatorHarness::new(Box::new(Group::new(&spec).unwrap())).unwrap();
    let mut largest = 0;
    for n in 0..60_i64 {
        let rows: Vec<Row> = (0..1_000).map(|key| (n * 1_000 + key, Some(key), false)).collect();
        harness.batch(batch(&rows, false)).unwrap();
        harness.advance(5).unwrap();
        let (_, state) = harness.snapshot().unwrap();
        largest = largest.max(state.groups.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
    }
    let (_, state) = harness.snapshot().unwrap();
    let last: usize = state.groups.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(largest < 3_000_000 && last <= largest, "{largest} bytes at most, {last} last");
}

#[test]
fn a_sink_that_goes_by_the_key_is_not_told_what_was() {
    let spec = GroupSpec { before: false, ..spec(false) };
    let mut harness = OperatorHarness::new(Box::new(Group::new(&spec).unwrap())).unwrap();
    harness.batch(batch(&[(1, Some(5), false)], false)).unwrap();
    let out = harness.batch(batch(&[(1, Some(6), false)], false)).unwrap();
    let millstream_engine::harness::Emitted::Rows(rows) = &out[0] else { panic!("{out:?}") };
    assert_eq!(rows.changes.as_deref(), Some(&[ChangeKind::UpdateAfter][..]));
}

#[test]
fn distinct_rows_come_once() {
    let spec = GroupSpec { aggregates: vec![], keys: vec![0, 1], ..spec(false) };
    let mut harness = OperatorHarness::new(Box::new(Group::new(&spec).unwrap())).unwrap();
    let first = harness.batch(batch(&[(1, None, false), (1, None, false), (2, None, false)], false)).unwrap();
    let again = harness.batch(batch(&[(1, None, false)], false)).unwrap();
    let millstream_engine::harness::Emitted::Rows(rows) = &first[0] else { panic!("{first:?}") };
    assert!(rows.changes.is_none() && rows.num_rows() == 2 && rows.rows.column(1).null_count() == 2);
    assert!(again.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Rows, rows taken back and keys forgotten between the pieces of a snapshot are not in it.
    #[test]
    fn a_snapshot_in_pieces_is_as_at_the_barrier(
        before in prop::collection::vec((0..40_i64, prop::option::of(-9..9_i64)), 1..80),
        after in prop::collection::vec((0..60_i64, prop::option::of(-9..9_i64), any::<bool>()), 0..60),
        ttl_ms in prop::option::of(Just(30)),
    ) {
        let spec = GroupSpec { ttl_ms, ..spec(true) };
        let make = || Box::new(Group::new(&spec).unwrap()) as Box<dyn Operator>;
        let rows: Vec<Row> = before.iter().map(|(key, value)| (*key, *value, false)).collect();
        let events = |rows: &[Row]| -> Vec<Event> {
            let each = rows.chunks(4).flat_map(|rows| [Event::Rows(0, batch(rows, true)), Event::Advance(7)]);
            each.collect()
        };
        let earlier = events(&rows);
        // Only what is there is taken back.
        let mut there = rows.clone();
        let later: Vec<Row> = after
            .into_iter()
            .filter_map(|(key, value, back)| {
                if !back {
                    return Some((key, value, false));
                }
                let at = there.iter().position(|row| row.0 == key)?;
                let row = there.swap_remove(at);
                Some((row.0, row.1, true))
            })
            .collect();
        let decode = |bytes: &[u8]| millstream_engine::state::decode_rows(bytes).unwrap();
        assert_as_at_the_barrier(&make, &earlier, &events(&later), decode);
    }
}

/// Changes wait for the time or the number of a mini-batch, and many of a key are one then.
#[test]
fn a_mini_batch_says_what_many_changes_came_to() {
    let mini_batch = Some(MiniBatch { latency_ms: 100, rows_max: 6 });
    let spec = GroupSpec { mini_batch, ttl_ms: Some(1_000), ..spec(true) };
    let mut harness = OperatorHarness::new(Box::new(Group::new(&spec).unwrap())).unwrap();
    let kinds = |emitted: &[Emitted]| {
        let of = |item: &Emitted| match item {
            Emitted::Rows(batch) => batch.changes.iter().flat_map(|kinds| kinds.iter().copied()).collect(),
            _ => Vec::new(),
        };
        emitted.iter().flat_map(of).map(ChangeKind::short_name).collect::<Vec<_>>().join(" ")
    };
    let row = |key: i64, value: i64, back: bool| batch(&[(key, Some(value), back)], true);
    assert!(harness.batch(row(1, 5, false)).unwrap().is_empty());
    harness.advance(60).unwrap();
    assert!(harness.batch(row(1, 7, false)).unwrap().is_empty());
    assert!(harness.batch(row(2, 1, false)).unwrap().is_empty());
    assert!(harness.batch(row(2, 1, true)).unwrap().is_empty());
    // The first has waited for a hundred; the key that came and went was never there.
    assert_eq!(kinds(&harness.advance(40).unwrap()), "+I");
    assert!(harness.advance(500).unwrap().is_empty());
    for value in 0..5 {
        assert!(harness.batch(row(1, value, false)).unwrap().is_empty());
    }
    assert_eq!(kinds(&harness.batch(row(3, 0, false)).unwrap()), "-U +U +I");
    // Nothing is held back behind a barrier.
    harness.batch(row(1, 9, false)).unwrap();
    assert_eq!(kinds(&harness.snapshot().unwrap().0), "-U +U");
    harness.batch(row(1, 9, true)).unwrap();
    assert_eq!(kinds(&harness.end().unwrap()), "-U +U");
    harness.advance(2_000).unwrap();
    assert!(harness.snapshot().unwrap().1.is_empty());
}
