//! Joins against two nested loops over the rows that are left.

use arrow_array::Int64Array;
use arrow_array::TimestampMillisecondArray;
use arrow_schema::{DataType, Field, TimeUnit};
use millstream_engine::Operator;
use millstream_engine::harness::OperatorHarness;
use proptest::prelude::*;

use super::*;
use crate::expr::Expression;
use crate::folded::Folded;

const KINDS: [JoinKind; 6] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

fn schema(side: usize) -> SchemaRef {
    let name = |column: &str| format!("{}{column}", ["l", "r"][side]);
    Arc::new(Schema::new(vec![
        Field::new(name("key"), DataType::Int64, true),
        Field::new(name("value"), DataType::Int64, true),
        Field::new(name("time"), DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

/// The left value is at most the right one.
#[derive(Debug)]
struct AtMost;
impl Expression for AtMost {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let left = rows.column(1).as_primitive::<arrow_array::types::Int64Type>();
        let right = rows.column(4).as_primitive::<arrow_array::types::Int64Type>();
        let found = left.iter().zip(right).map(|(left, right)| Some(left? <= right?));
        Ok(Arc::new(found.collect::<arrow_array::BooleanArray>()))
    }
}

fn spec(kind: JoinKind, filtered: bool, updates: bool) -> JoinSpec {
    let filter: Option<ExpressionRef> = if filtered { Some(Arc::new(AtMost)) } else { None };
    JoinSpec {
        inputs: [schema(0), schema(1)],
        keys: [vec![0], vec![0]],
        filter,
        kind,
        nulls_equal: false,
        updates: [updates; 2],
        ttl_ms: None,
    }
}

/// Side, key, value, time, and whether it is taken back.
type Row = (usize, Option<i64>, i64, i64, bool);

fn batch(side: usize, rows: &[Row], updates: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<TimestampMillisecondArray>()),
    ];
    let mut batch = Batch::new(RecordBatch::try_new(schema(side), columns).unwrap());
    let kind = |back: bool| if back { ChangeKind::Delete } else { ChangeKind::Insert };
    batch.changes = updates.then(|| rows.iter().map(|row| kind(row.4)).collect());
    batch
}

fn oracle(rows: &[Row], kind: JoinKind, matches: &dyn Fn(&Row, &Row) -> bool) -> Folded {
    let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
    for row in rows {
        let side = &mut sides[row.0];
        if row.4 {
            let same = |other: &Row| (other.1, other.2, other.3) == (row.1, row.2, row.3);
            side.remove(side.iter().position(same).unwrap());
        } else {
            side.push(*row);
        }
    }
    let [left, right] = sides;
    let is_match = |left: &Row, right: &Row| left.1.is_some() && left.1 == right.1 && matches(left, right);
    let mut folded = Folded::default();
    // The row's text comes from a batch of it alone, so that it is spelled as the operator's rows are.
    let mut push = |left: Option<&Row>, right: Option<&Row>| {
        let nulls = |side: usize| {
            RecordBatch::try_new(
                schema(side),
                schema(side).fields().iter().map(|f| arrow_array::new_null_array(f.data_type(), 1)).collect(),
            )
            .unwrap()
        };
        let one = |side: usize, row: Option<&Row>| match row {
            Some(row) => batch(side, &[*row], false).rows,
            None => nulls(side),
        };
        let mut text = crate::row_text::row_text(&one(0, left), 0);
        if !kind.is_left_only() {
            text += &format!(", {}", crate::row_text::row_text(&one(1, right), 0));
        }
        *folded.0.entry(text).or_default() += 1;
    };
    for l in &left {
        let found: Vec<&Row> = right.iter().filter(|r| is_match(l, r)).collect();
        match kind {
            JoinKind::Semi if !found.is_empty() => push(Some(l), None),
            JoinKind::Semi => {}
            JoinKind::Anti if found.is_empty() => push(Some(l), None),
            JoinKind::Anti => {}
            _ if found.is_empty() && kind.pads(0) => push(Some(l), None),
            _ => found.iter().for_each(|r| push(Some(l), Some(r))),
        }
    }
    if kind.pads(1) {
        right.iter().filter(|r| !left.iter().any(|l| is_match(l, r))).for_each(|r| push(None, Some(r)));
    }
    folded
}

fn streams(updates: bool) -> impl Strategy<Value = Vec<Row>> {
    let row =
        (0_usize..2, prop::option::weighted(0.9, 0_i64..4), 0_i64..3, 0_i64..20, prop::bool::weighted(0.35));
    prop::collection::vec(row, 0..80).prop_map(move |rows| {
        let (mut there, mut all): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
        for (at, (side, key, value, step, back)) in rows.into_iter().enumerate() {
            if back && updates && !there.is_empty() {
                let mut row = there.remove(at * 5 % there.len());
                row.4 = true;
                all.push(row);
            } else {
                // Times go forward with some disorder, and no row is later than 20.
                let row = (side, key, value, at as i64 * 3 + step, false);
                there.push(row);
                all.push(row);
            }
        }
        all
    })
}

/// Feeds rows in batches of one side each, with a restore in the middle.
fn run(
    make: &dyn Fn() -> Box<dyn Operator>,
    rows: &[Row],
    batch_rows: usize,
    restart_at: usize,
    timed: bool,
    updates: bool,
) -> Folded {
    let mut harness = OperatorHarness::new(make()).unwrap();
    let mut folded = Folded::default();
    let (mut done, mut restarted) = (0, false);
    for chunk in rows.chunks(batch_rows) {
        if !restarted && done >= restart_at {
            restarted = true;
            let state = OperatorHarness::gather_all(&[harness.snapshot().unwrap().1]);
            harness = OperatorHarness::instance_of(make(), 0, 1, &state).unwrap();
        }
        for side in [0, 1] {
            let part: Vec<Row> = chunk.iter().filter(|row| row.0 == side).copied().collect();
            if !part.is_empty() {
                folded.apply(&harness.batch_on(side, batch(side, &part, updates)).unwrap());
            }
        }
        done += chunk.len();
        if timed {
            folded.apply(&harness.watermark(done as i64 * 3 - 1).unwrap());
        }
    }
    folded.apply(&harness.watermark(i64::MAX).unwrap());
    folded
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_regular_join_is_two_nested_loops(
        (updates, rows) in any::<bool>().prop_flat_map(|updates| (Just(updates), streams(updates))),
        kind in prop::sample::select(KINDS.to_vec()),
        filtered in any::<bool>(),
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        restart_at in 0_usize..80,
    ) {
        let spec = spec(kind, filtered, updates);
        let make = || Box::new(RegularJoin::new(&spec).unwrap()) as Box<dyn Operator>;
        let folded = run(&make, &rows, batch_rows, restart_at, false, updates);
        prop_assert_eq!(folded, oracle(&rows, kind, &|l, r| !filtered || l.2 <= r.2));
    }

    #[test]
    fn an_interval_join_is_two_nested_loops(
        rows in streams(false),
        kind in prop::sample::select(KINDS.to_vec()),
        filtered in any::<bool>(),
        least_ms in -15_i64..10,
        more_ms in 0_i64..15,
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        restart_at in 0_usize..80,
    ) {
        let most_ms = least_ms + more_ms;
        let spec = spec(kind, filtered, false);
        let bounds = TimeBounds::Interval { least_ms, most_ms };
        let make = || Box::new(TimedJoin::new(&spec, bounds, [2, 2], None).unwrap()) as Box<dyn Operator>;
        let folded = run(&make, &rows, batch_rows, restart_at, true, false);
        let fits = |l: &Row, r: &Row| (!filtered || l.2 <= r.2) && (least_ms..=most_ms).contains(&(l.3 - r.3));
        prop_assert_eq!(folded, oracle(&rows, kind, &fits));
    }
}

#[test]
fn rows_leave_when_their_time_to_live_is_over() {
    let spec = JoinSpec { ttl_ms: Some(100), ..spec(JoinKind::Inner, false, false) };
    let mut harness = OperatorHarness::new(Box::new(RegularJoin::new(&spec).unwrap())).unwrap();
    harness.batch_on(0, batch(0, &[(0, Some(1), 1, 0, false)], false)).unwrap();
    harness.advance(60).unwrap();
    harness.batch_on(0, batch(0, &[(0, Some(1), 2, 0, false)], false)).unwrap();
    harness.advance(60).unwrap();
    let out = millstream_engine::harness::rows(
        &harness.batch_on(1, batch(1, &[(1, Some(1), 3, 0, false)], false)).unwrap(),
    );
    assert_eq!(out[0].column(1).as_primitive::<arrow_array::types::Int64Type>().values(), &[2]);
    harness.advance(200).unwrap();
    assert!(harness.snapshot().unwrap().1.groups.is_empty());
}

/// The last version that is as much older than the row as wanted, found by looking at all of them.
fn versions_oracle(rows: &[Row], kind: JoinKind, as_of: AsOf) -> Vec<(i64, Option<i64>)> {
    let (left, right): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.0 == 0);
    let mut all: Vec<(i64, Option<i64>)> = left
        .iter()
        .map(|l| {
            let held = right.iter().filter(|r| r.1.is_some() && r.1 == l.1 && r.3 <= l.3 - as_of.least_ms);
            // Of equal times the last to come.
            let last = held.max_by_key(|r| r.3);
            let last = last.filter(|r| as_of.most_ms.is_none_or(|most| l.3 - r.3 <= most));
            let last = last.map(|r| r.3 * 100 + r.2);
            (l.3 * 100 + l.2, last)
        })
        .filter(|(_, version)| kind == JoinKind::Left || version.is_some())
        .collect();
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_row_meets_the_version_of_its_time(
        rows in streams(false),
        left in any::<bool>(),
        as_of in prop::option::of((0_i64..6, prop::option::of(0_i64..30))),
        batch_rows in prop::sample::select(vec![1_usize, 7, 4_096]),
        restart_at in 0_usize..80,
    ) {
        let as_of = as_of.map(|(least_ms, more)| AsOf { least_ms, most_ms: more.map(|more| least_ms + more) });
        let kind = if left { JoinKind::Left } else { JoinKind::Inner };
        let spec = spec(kind, false, false);
        let make = || Box::new(TemporalJoin::new(&spec, [2, 2], None, as_of).unwrap());
        let mut harness = OperatorHarness::new(make()).unwrap();
        let mut found = Vec::new();
        let mut collect = |emitted: &[millstream_engine::harness::Emitted]| {
            use arrow_array::types::{Int64Type, TimestampMillisecondType};
            for rows in millstream_engine::harness::rows(emitted) {
                let int = |column: usize| rows.column(column).as_primitive::<Int64Type>();
                let time = |column: usize| rows.column(column).as_primitive::<TimestampMillisecondType>();
                for row in 0..rows.num_rows() {
                    let version = time(5).is_valid(row).then(|| time(5).value(row) * 100 + int(4).value(row));
                    found.push((time(2).value(row) * 100 + int(1).value(row), version));
                }
            }
        };
        let (mut done, mut restarted) = (0, false);
        for chunk in rows.chunks(batch_rows) {
            if !restarted && done >= restart_at {
                restarted = true;
                let state = OperatorHarness::gather_all(&[harness.snapshot().unwrap().1]);
                harness = OperatorHarness::instance_of(make(), 0, 1, &state).unwrap();
            }
            for side in [0, 1] {
                let part: Vec<Row> = chunk.iter().filter(|row| row.0 == side).copied().collect();
                if !part.is_empty() {
                    collect(&harness.batch_on(side, batch(side, &part, false)).unwrap());
                }
            }
            done += chunk.len();
            collect(&harness.watermark(done as i64 * 3 - 1).unwrap());
        }
        collect(&harness.watermark(i64::MAX).unwrap());
        found.sort_unstable();
        prop_assert_eq!(found, versions_oracle(&rows, kind, as_of.unwrap_or_default()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Rows, rows forgotten and rows that nothing can match any more between the pieces of a snapshot are not in it.
    #[test]
    fn a_snapshot_in_pieces_is_as_at_the_barrier(
        before in prop::collection::vec((0..2_usize, prop::option::of(0..12_i64), 0..5_i64, 0..40_i64), 1..60),
        after in prop::collection::vec((0..2_usize, prop::option::of(0..12_i64), 0..5_i64, 20..80_i64), 0..60),
        bounds in prop::sample::select(vec![None, Some(TimeBounds::Interval { least_ms: -5, most_ms: 9 })]),
        kind in prop::sample::select(KINDS.to_vec()),
        ttl_ms in prop::option::of(Just(30)),
    ) {
        use crate::frozen::testing::{Event, assert_as_at_the_barrier};
        let spec = JoinSpec { ttl_ms, ..spec(kind, true, false) };
        let make = || -> Box<dyn Operator> {
            match bounds {
                None => Box::new(RegularJoin::new(&spec).unwrap()),
                Some(bounds) => Box::new(TimedJoin::new(&spec, bounds, [2, 2], None).unwrap()),
            }
        };
        let events = |rows: &[(usize, Option<i64>, i64, i64)]| -> Vec<Event> {
            let of_row = |(side, key, value, time): &(usize, Option<i64>, i64, i64)| {
                let rows = batch(*side, &[(*side, *key, *value, *time, false)], false);
                let then = if value % 2 == 0 { Event::Watermark(time - 12) } else { Event::Advance(3) };
                [Event::Rows(*side, rows), then]
            };
            rows.iter().flat_map(of_row).collect()
        };
        let decode = |bytes: &[u8]| millstream_engine::state::decode_rows(&bytes[1..]).unwrap();
        assert_as_at_the_barrier(&make, &events(&before), &events(&after), decode);
    }
}

#[test]
fn an_asof_join_keeps_what_can_be_met_and_counts_late_rows() {
    let as_of = Some(AsOf { least_ms: 0, most_ms: Some(10) });
    let spec = spec(JoinKind::Left, false, false);
    let make = || Box::new(TemporalJoin::new(&spec, [2, 2], Some(2), as_of).unwrap());
    let mut harness = OperatorHarness::new(make()).unwrap();
    let row = |side: usize, key: i64, value: i64, time: i64| {
        batch(side, &[(side, Some(key), value, time, false)], false)
    };
    let values = |emitted: &[millstream_engine::harness::Emitted]| {
        use arrow_array::types::Int64Type;
        let rows = millstream_engine::harness::rows(emitted);
        let found = |rows: &RecordBatch| {
            let values = rows.column(4).as_primitive::<Int64Type>();
            values.iter().map(|value| value.unwrap_or(-1)).collect::<Vec<_>>()
        };
        rows.iter().flat_map(found).collect::<Vec<_>>()
    };
    for key in 0..50 {
        harness.batch_on(1, row(1, key, key, 100)).unwrap();
    }
    harness.watermark(105).unwrap();
    // At the watermark a row is not late, and waits until all of its time have come; below it is.
    harness.batch_on(0, row(0, 7, 0, 105)).unwrap();
    harness.batch_on(1, row(1, 7, 70, 105)).unwrap();
    harness.batch_on(0, row(0, 7, 0, 104)).unwrap();
    harness.batch_on(1, row(1, 7, 71, 104)).unwrap();
    assert_eq!(harness.metrics().rows_late.get(), 2);
    assert_eq!(values(&harness.watermark(110).unwrap()), [70]);
    // A row of 100 is met until 110, and of 105 until 115.
    harness.batch_on(0, row(0, 3, 0, 110)).unwrap();
    harness.batch_on(0, row(0, 3, 0, 111)).unwrap();
    assert_eq!(values(&harness.watermark(115).unwrap()), [3, -1]);
    harness.batch_on(0, row(0, 7, 0, 115)).unwrap();
    assert_eq!(values(&harness.watermark(117).unwrap()), [70]);
    assert!(harness.snapshot().unwrap().1.is_empty());
}
