//! Each aggregate against values worked out by hand, directly and through state and merge.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int8Type, Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int32Array, StringArray,
};
use arrow_schema::DataType;

use super::*;

fn run(kind: AggregateKind, distinct: bool, column: ArrayRef, filter: Option<BooleanArray>) -> ArrayRef {
    let call = AggregateCall { kind, argument: Some(0), filter: None, distinct, name: "x".into() };
    let mut whole = call.accumulator(column.data_type()).unwrap();
    let stored = whole
        .input_type()
        .map_or_else(|| Arc::clone(&column), |kind| crate::kept_type::as_type(&column, &kind).unwrap());
    // Rows alternate between groups 0 and 1; group 2 stays empty.
    let groups: Vec<u32> = (0..column.len() as u32).map(|row| row % 2).collect();
    whole.resize(3);
    whole.update(&groups, Some(&stored), filter.as_ref()).unwrap();
    let direct = whole.evaluate(&[0, 1, 2]).unwrap();
    // The same in two parts through state columns, and through another accumulator.
    let half = column.len() / 2;
    let mut merged = whole.fresh();
    let mut copied = whole.fresh();
    merged.resize(3);
    copied.resize(3);
    for (from, len) in [(0, half), (half, column.len() - half)] {
        let mut part = whole.fresh();
        part.resize(3);
        let filter = filter.as_ref().map(|filter| filter.slice(from, len));
        part.update(&groups[from..from + len], Some(&stored.slice(from, len)), filter.as_ref()).unwrap();
        merged.merge_state(&[0, 1, 2], &part.state(&[0, 1, 2]).unwrap()).unwrap();
        copied.merge_from(part.as_ref(), &[0, 1, 2]);
        if part.is_invertible() {
            copied.merge_from(part.as_ref(), &[0, 1, 2]);
            copied.retract_from(part.as_ref(), &[0, 1, 2]);
        }
    }
    assert_eq!(merged.evaluate(&[0, 1, 2]).unwrap().as_ref(), direct.as_ref());
    assert_eq!(copied.evaluate(&[0, 1, 2]).unwrap().as_ref(), direct.as_ref());
    direct
}

fn doubles(kind: AggregateKind, values: Vec<Option<f64>>) -> Vec<Option<f64>> {
    run(kind, false, Arc::new(Float64Array::from(values)), None)
        .as_primitive::<Float64Type>()
        .iter()
        .collect()
}

#[test]
fn integers_keep_their_type_wrap_and_truncate() {
    let column = || -> ArrayRef {
        Arc::new(Int32Array::from(vec![Some(i32::MAX), Some(-7), Some(1), Some(2), None, None]))
    };
    let ints = |array: ArrayRef| array.as_primitive::<Int32Type>().iter().collect::<Vec<_>>();
    assert_eq!(ints(run(AggregateKind::Sum, false, column(), None)), vec![Some(i32::MIN), Some(-5), None]);
    assert_eq!(ints(run(AggregateKind::Avg, false, column(), None)), vec![Some(1 << 30), Some(-2), None]);
    assert_eq!(ints(run(AggregateKind::Min, false, column(), None)), vec![Some(1), Some(-7), None]);
    assert_eq!(ints(run(AggregateKind::LastValue, false, column(), None)), vec![Some(1), Some(2), None]);
    assert_eq!(
        ints(run(AggregateKind::FirstValue, false, column(), None)),
        vec![Some(i32::MAX), Some(-7), None]
    );
    let counts = run(AggregateKind::Count, false, column(), None);
    assert_eq!(counts.as_primitive::<Int64Type>().values(), &[2, 2, 0]);
}

#[test]
fn variances_are_null_where_they_are_not_defined() {
    let values = vec![Some(2.0), Some(5.0), Some(4.0), None, Some(6.0), None];
    assert_eq!(doubles(AggregateKind::VarPop, values.clone()), vec![Some(8.0 / 3.0), Some(0.0), None]);
    assert_eq!(doubles(AggregateKind::VarSamp, values.clone()), vec![Some(4.0), None, None]);
    assert_eq!(doubles(AggregateKind::StddevSamp, values.clone()), vec![Some(2.0), None, None]);
    assert_eq!(doubles(AggregateKind::Avg, values), vec![Some(4.0), Some(5.0), None]);
}

#[test]
fn variances_of_whole_numbers_truncate_and_wrap_in_their_type() {
    let column: ArrayRef = Arc::new(Int8Array::from(vec![Some(4), Some(1), Some(4), Some(2), Some(4), None]));
    let tiny = |kind| {
        let array = run(kind, false, Arc::clone(&column), None);
        array.as_primitive::<Int8Type>().iter().collect::<Vec<_>>()
    };
    // Of three times 4: 12² is 144, which is -112 in eight bits, and 48 + 112 / 3 is 85. Of 1 and 2: 5 - 9 / 2 is 1.
    assert_eq!(tiny(AggregateKind::VarPop), [Some(28), Some(0), None]);
    assert_eq!(tiny(AggregateKind::VarSamp), [Some(42), Some(1), None]);
    assert_eq!(tiny(AggregateKind::StddevSamp), [Some(6), Some(1), None]);
}

#[test]
fn distinct_and_filter() {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a", "c", "d", "b"]));
    let counts = run(AggregateKind::Count, true, Arc::clone(&names), None);
    assert_eq!(counts.as_primitive::<Int64Type>().values(), &[2, 2, 0]);
    let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), Some(true)]);
    let counts = run(AggregateKind::Count, true, Arc::clone(&names), Some(filter));
    assert_eq!(counts.as_primitive::<Int64Type>().values(), &[1, 2, 0]);
    let max = run(AggregateKind::Max, true, names, None);
    assert_eq!(max.as_string::<i32>().iter().collect::<Vec<_>>(), vec![Some("d"), Some("c"), None]);
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![3, 1, 3, 1, 4, 2]));
    let sums = run(AggregateKind::Sum, true, ints, None);
    assert_eq!(sums.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), vec![Some(7), Some(3), None]);
}

#[test]
fn decimals_round_half_up_and_overflow_to_null() {
    let big = 10_i128.pow(38) - 1;
    let column = Decimal128Array::from(vec![1, big, 2, 5]).with_precision_and_scale(38, 2).unwrap();
    let decimals = |kind| {
        let array = run(kind, false, Arc::new(column.clone()), None);
        (array.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), array.data_type().clone())
    };
    assert_eq!(decimals(AggregateKind::Sum), (vec![Some(3), None, None], DataType::Decimal128(38, 2)));
    let small = Decimal128Array::from(vec![1, 1, 2, 1, 2, 2]).with_precision_and_scale(5, 2).unwrap();
    let mean = run(AggregateKind::Avg, false, Arc::new(small), None);
    // 0.05 / 3 and 0.04 / 3 at six digits.
    assert_eq!(mean.as_primitive::<Decimal128Type>().values()[..2], [16_667, 13_333]);
}

#[test]
fn percentiles_and_approximate_counts_merge_and_keep_null_groups_apart() {
    let at = |fraction: f64| Fractions::new(&[fraction], false).unwrap();
    let values = vec![Some(1.0), Some(8.0), None, Some(2.0), Some(5.0), Some(6.0), Some(3.0), None];
    let exact = doubles(AggregateKind::Percentile(at(0.25)), values.clone());
    assert_eq!(exact, vec![Some(2.0), Some(4.0), None]);
    let once = run(
        AggregateKind::Percentile(at(0.5)),
        true,
        Arc::new(Int32Array::from(vec![1, 1, 1, 1, 9, 1])),
        None,
    );
    assert_eq!(once.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(5.0), Some(1.0), None]);
    let near = doubles(AggregateKind::ApproxPercentile(at(0.5)), values);
    assert!((near[0].unwrap() - 3.0).abs() <= 0.03 && (near[1].unwrap() - 6.0).abs() <= 0.06, "{near:?}");
    assert_eq!(near[2], None);
    let list = AggregateKind::Percentile(Fractions::new(&[1.0, 0.0], true).unwrap());
    let lists = run(list, false, Arc::new(Float64Array::from(vec![2.0, 1.0, 4.0])), None);
    let first = lists.as_list::<i32>().value(0);
    assert_eq!(first.as_primitive::<Float64Type>().values(), &[4.0, 2.0]);
    assert!(lists.is_null(2));
    let column: ArrayRef =
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), None, Some("c")]));
    let counts = run(AggregateKind::ApproxCountDistinct, false, Arc::clone(&column), None);
    assert_eq!(counts.as_primitive::<Int64Type>().values(), &[2, 1, 0]);
    let filter = BooleanArray::from(vec![true, false, true, true, false]);
    let counts = run(AggregateKind::ApproxCountDistinct, true, column, Some(filter));
    assert_eq!(counts.as_primitive::<Int64Type>().values(), &[1, 0, 0]);
}
