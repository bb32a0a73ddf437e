//! The changes of a Top-N fold to what sorting the rows that are left gives; a restore in the middle does not show.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use millstream_engine::harness::OperatorHarness;
use proptest::prelude::*;

use super::*;
use crate::folded::Folded;
use crate::frozen::testing::{Event, assert_as_at_the_barrier};

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("score", DataType::Int64, true),
        Field::new("id", DataType::Int64, true),
    ]))
}

/// Key, score, id, and whether it is taken back.
type Row = (i64, Option<i64>, i64, bool);

fn batch(rows: &[Row], updates: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
    ];
    let mut batch = Batch::new(RecordBatch::try_new(input(), columns).unwrap());
    let kind = |back: bool| if back { ChangeKind::UpdateBefore } else { ChangeKind::UpdateAfter };
    batch.changes = updates.then(|| rows.iter().map(|row| kind(row.3)).collect());
    batch
}

fn oracle(rows: &[Row], spec: &TopSpec) -> Folded {
    let mut left: BTreeMap<i64, Vec<(Option<i64>, i64)>> = BTreeMap::new();
    for (key, score, id, back) in rows {
        let list = left.entry(*key).or_default();
        if *back {
            list.remove(list.iter().position(|row| *row == (*score, *id)).unwrap());
        } else if spec.newest_first {
            list.insert(0, (*score, *id));
        } else {
            list.push((*score, *id));
        }
    }
    let mut folded = Folded::default();
    for (key, mut list) in left {
        let descending = spec.order[0].descending;
        // Nulls are the lowest.
        list.sort_by(|a, b| if descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
        let shown = list.iter().enumerate().skip(spec.from - 1).take(spec.to + 1 - spec.from);
        for (at, (score, id)) in shown {
            let score = score.map_or("NULL".to_owned(), |score| score.to_string());
            let mut text = format!("key={key}, score={score}, id={id}");
            if spec.number.is_some() {
                text += &format!(", place={}", at + 1);
            }
            *folded.0.entry(text).or_default() += 1;
        }
    }
    folded
}

fn streams(updates: bool) -> impl Strategy<Value = Vec<Row>> {
    let row = (0_i64..4, prop::option::weighted(0.9, 0_i64..6), prop::bool::weighted(0.35));
    prop::collection::vec(row, 0..120).prop_map(move |rows| {
        let (mut there, mut all): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
        for (id, (key, score, back)) in (0..).zip(rows) {
            if back && updates && !there.is_empty() {
                let mut row = there.remove((id * 5) as usize % there.len());
                row.3 = true;
                all.push(row);
            } else {
                there.push((key, score, id, false));
                all.push((key, score, id, false));
            }
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn changes_fold_to_the_sorted_rows(
        (updates, rows) in any::<bool>().prop_flat_map(|updates| (Just(updates), streams(updates))),
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        (from, more) in (1_usize..3, 0_usize..4),
        number in any::<bool>(),
        descending in any::<bool>(),
        newest_first in any::<bool>(),
        restart_at in 0_usize..120,
        held in prop::option::of(1_usize..40),
    ) {
        let spec = TopSpec {
            input: input(),
            partition: vec![0],
            order: vec![SortKey { column: 1, descending, nulls_first: !descending }],
            newest_first,
            from,
            to: from + more,
            number: number.then(|| "place".to_owned()),
            updates,
            is_insert_only: false,
            before: true,
            ttl_ms: None,
            mini_batch: held.map(|rows_max| MiniBatch { latency_ms: 10, rows_max }),
        };
        let mut harness = OperatorHarness::new(Box::new(TopN::new(&spec).unwrap())).unwrap();
        let mut folded = Folded::default();
        let (mut done, mut restarted) = (0, false);
        for chunk in rows.chunks(batch_rows) {
            if !restarted && done >= restart_at {
                restarted = true;
                let (emitted, state) = harness.snapshot().unwrap();
                folded.apply(&emitted);
                let state = OperatorHarness::gather_all(&[state]);
                let operator = Box::new(TopN::new(&spec).unwrap());
                harness = OperatorHarness::instance_of(operator, 0, 1, &state).unwrap();
            }
            done += chunk.len();
            folded.apply(&harness.batch(batch(chunk, updates)).unwrap());
            if done % 3 == 0 {
                folded.apply(&harness.advance(4).unwrap());
            }
        }
        folded.apply(&harness.end().unwrap());
        prop_assert_eq!(folded, oracle(&rows, &spec));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Rows, rows taken back and partitions forgotten between the pieces of a snapshot are not in it.
    #[test]
    fn a_snapshot_in_pieces_is_as_at_the_barrier(
        rows in streams(true),
        at in 0_usize..120,
        ttl_ms in prop::option::of(Just(30)),
    ) {
        let spec = TopSpec {
            input: input(),
            partition: vec![0],
            order: vec![SortKey { column: 1, descending: true, nulls_first: false }],
            newest_first: false,
            from: 1,
            to: 2,
            number: None,
            updates: true,
            is_insert_only: false,
            before: true,
            ttl_ms,
            mini_batch: None,
        };
        let make = || Box::new(TopN::new(&spec).unwrap()) as Box<dyn Operator>;
        let events: Vec<Event> = rows
            .iter()
            .flat_map(|row| [Event::Rows(0, batch(&[*row], true)), Event::Advance(3)])
            .collect();
        let (before, after) = events.split_at(events.len().min(2 * at));
        let decode = |bytes: &[u8]| millstream_engine::state::decode_rows(bytes).unwrap();
        assert_as_at_the_barrier(&make, before, after, decode);
    }
}

/// The first row to come is the first for good, and no row is updated.
#[test]
fn the_first_to_arrive_needs_no_changes() {
    let spec = TopSpec {
        input: input(),
        partition: vec![0],
        order: vec![],
        newest_first: false,
        from: 1,
        to: 1,
        number: None,
        updates: false,
        is_insert_only: true,
        before: true,
        ttl_ms: Some(1_000),
        mini_batch: Some(MiniBatch { latency_ms: 10, rows_max: 100 }),
    };
    let mut harness = OperatorHarness::new(Box::new(TopN::new(&spec).unwrap())).unwrap();
    let first = harness.batch(batch(&[(1, Some(1), 1, false), (1, Some(0), 2, false)], false)).unwrap();
    let millstream_engine::harness::Emitted::Rows(rows) = &first[0] else { panic!("{first:?}") };
    assert!(rows.changes.is_none() && rows.num_rows() == 1);
    assert!(harness.batch(batch(&[(1, Some(1), 3, false)], false)).unwrap().is_empty());
    harness.advance(1_000).unwrap();
    assert_eq!(harness.batch(batch(&[(1, Some(1), 4, false)], false)).unwrap().len(), 1);
}
