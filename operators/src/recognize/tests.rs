//! The operator over random rows: the same matches for any batches, and for any number of instances it is restored to.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, BooleanArray, Int64Array, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millstream_engine::harness::{Emitted, OperatorHarness};
use millstream_engine::keys::{KeyGroup, KeyHasher, key_group, key_group_range};
use proptest::prelude::*;

use super::*;
use crate::aggregate::{AggregateCall, AggregateKind};
use crate::expr::Expression;

/// Key, value, time.
type Row = (i64, i64, i64);

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

/// The first column is less than the second, or than a number; where one is NULL, it is.
#[derive(Debug)]
struct Less(Option<i64>);

impl Expression for Less {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let column = |at: usize| rows.column(at).as_primitive::<Int64Type>();
        let than = |row: usize| match self.0 {
            Some(limit) => Some(limit),
            None => column(1).is_valid(row).then(|| column(1).value(row)),
        };
        let less = (0..rows.num_rows()).map(|row| {
            let value = column(0).is_valid(row).then(|| column(0).value(row));
            Some(value.zip(than(row)).is_none_or(|(value, than)| value < than))
        });
        Ok(Arc::new(less.collect::<BooleanArray>()))
    }
}

fn value(variable: usize, from_last: bool, offset: usize, column: usize) -> Read {
    Read::Row { variable: Some(variable), from_last, offset, column }
}

fn sum(variable: usize) -> Read {
    let call = AggregateCall {
        kind: AggregateKind::Sum,
        argument: Some(1),
        filter: None,
        distinct: false,
        name: "sum".into(),
    };
    Read::Aggregate { variable: Some(variable), call }
}

fn definition(reads: Vec<Read>, condition: Less) -> Option<Definition> {
    let is_plain = matches!(reads.as_slice(), [Read::Row { .. }]);
    Some(Definition { reads, condition: Arc::new(condition), is_plain })
}

/// Falls, of which the sum stays small, and then a small value: A B+ C.
fn spec(within_ms: Option<i64>, after: AfterMatch) -> RecognizeSpec {
    let variable = |name: &str, least, most| Variable {
        name: name.into(),
        quantifier: Quantifier { least, most, greedy: true },
    };
    let variables = vec![variable("A", 1, Some(1)), variable("B", 1, None), variable("C", 1, Some(1))];
    RecognizeSpec {
        input: input(),
        partition: vec![0],
        time: TimeMode::Event,
        event_time: 2,
        order: vec![SortKey { column: 1, descending: true, nulls_first: false }],
        pattern: Pattern::new(variables, after, within_ms).unwrap(),
        definitions: vec![
            None,
            definition(vec![value(1, true, 0, 1), value(1, true, 1, 1)], Less(None)),
            definition(vec![sum(1)], Less(Some(40))),
        ],
        measures: [value(0, true, 0, 1), value(1, false, 0, 1), sum(1), value(2, true, 0, 2)]
            .map(|read| Measure { name: "measure".into(), read })
            .into(),
        ttl_ms: None,
    }
}

fn batch(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    Batch::with_event_time(RecordBatch::try_new(input(), columns).unwrap(), 2).unwrap()
}

fn group_of(key: i64) -> KeyGroup {
    let mut hashes = Vec::new();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![key]));
    KeyHasher::new(&[DataType::Int64]).unwrap().hash(&[column], 1, &mut hashes).unwrap();
    key_group(hashes[0])
}

fn told(emitted: Vec<Emitted>) -> Vec<[i64; 5]> {
    let mut rows = Vec::new();
    for item in emitted {
        let Emitted::Rows(batch) = item else { continue };
        for row in 0..batch.num_rows() {
            let int = |at: usize| batch.rows.column(at).as_primitive::<Int64Type>().value(row);
            let time = batch.rows.column(4).as_primitive::<TimestampMillisecondType>().value(row);
            rows.push([int(0), int(1), int(2), int(3), time]);
        }
    }
    rows.sort_unstable();
    rows
}

/// Matches of the rows of a key, found by trying every run of them: A B+ C past the last row, one start after the other.
fn oracle(rows: &[Row], within_ms: Option<i64>) -> Vec<[i64; 5]> {
    let mut all = Vec::new();
    let mut keys: Vec<i64> = rows.iter().map(|row| row.0).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let mut own: Vec<Row> = rows.iter().copied().filter(|row| row.0 == key).collect();
        own.sort_by_key(|row| (row.2, -row.1));
        let mut start = 0;
        while start < own.len() {
            // B falls, C adds up: greedy B takes rows as long as they fall.
            let mut end = start + 1;
            while end < own.len() && (end == start + 1 || own[end].1 < own[end - 1].1) {
                end += 1;
            }
            let sum: i64 = own[start + 1..end.max(start + 1)].iter().map(|row| row.1).sum();
            let in_time = |end: usize| within_ms.is_none_or(|within| own[end].2 - own[start].2 < within);
            if end < own.len() && end > start + 1 && sum < 40 && in_time(end) {
                all.push([key, own[start].1, own[start + 1].1, sum, own[end].2]);
                start = end + 1;
            } else {
                start += 1;
            }
        }
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn matches_are_those_of_every_run(
        rows in prop::collection::vec((0_i64..3, 0_i64..30, 0_i64..60), 0..80),
        pieces in 1_usize..20,
        split in 0_usize..80,
        within in prop::option::of(2_i64..30),
        restored in 1_usize..4,
    ) {
        let spec = spec(within, AfterMatch::PastLastRow);
        let make = || Box::new(MatchRecognize::new(&spec).unwrap());
        let mut sorted = rows.clone();
        sorted.sort_by_key(|row| row.2);
        let mut harness = OperatorHarness::new(make()).unwrap();
        let mut found = Vec::new();
        let (before, after) = sorted.split_at(split.min(sorted.len()));
        for piece in before.chunks(pieces) {
            found.extend(harness.batch(batch(piece)).unwrap());
            // Rows of this time may still come.
            found.extend(harness.watermark(piece.last().unwrap().2 - 1).unwrap());
        }
        let snapshot = harness.snapshot().unwrap().1;
        for instance in 0..restored {
            let groups = key_group_range(instance, restored);
            let state = OperatorHarness::gather(std::slice::from_ref(&snapshot), groups.clone());
            let mut next = OperatorHarness::instance_of(make(), instance, restored, &state).unwrap();
            let own: Vec<Row> = after.iter().copied().filter(|row| groups.contains(&group_of(row.0))).collect();
            found.extend(next.batch(batch(&own)).unwrap());
            found.extend(next.watermark(i64::MAX).unwrap());
        }
        prop_assert_eq!(told(found), oracle(&rows, within));
    }
}

/// Without an open attempt a partition is nothing: an endless key space leaves nothing behind.
#[test]
fn what_is_given_up_is_forgotten() {
    let spec = spec(Some(10), AfterMatch::ToNextRow);
    let mut harness = OperatorHarness::new(Box::new(MatchRecognize::new(&spec).unwrap())).unwrap();
    for step in 0..50 {
        let rows: Vec<Row> = (0..500).map(|row| (step * 500 + row, row % 7, step * 100)).collect();
        harness.batch(batch(&rows)).unwrap();
        harness.watermark(step * 100 + 50).unwrap();
    }
    assert!(harness.snapshot().unwrap().1.groups.is_empty());
}
