//! `MIN`, `MAX`, `FIRST_VALUE`, `LAST_VALUE`: one value of those seen is kept per group.
//!
//! Integers, times and booleans are kept as 64-bit integers, floating point as DOUBLE, decimals as 128 bits, strings
//! and bytes as they are. Nulls are ignored. Over insert-only rows one value a group is all the state there is.

use std::any::Any;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use crate::kept_type::as_type;

use super::{Accumulator, AggregateKind, for_each_row, same};

/// How a type is kept.
trait Kept: Send + 'static {
    type Value: Clone + Send;
    /// The row's value as it is compared; owned only when kept.
    type Seen<'a>;
    /// The column in its own type, found once a batch.
    type Column;
    fn column(column: &ArrayRef) -> &Self::Column;
    fn read(column: &Self::Column, row: usize) -> Self::Seen<'_>;
    fn compare(seen: &Self::Seen<'_>, kept: &Self::Value) -> Ordering;
    fn keep(seen: Self::Seen<'_>) -> Self::Value;
    fn array(values: impl Iterator<Item = Option<Self::Value>>, stored: &DataType) -> ArrayRef;
}

macro_rules! kept_primitive {
    ($name:ident, $arrow:ty, $value:ty, $compare:expr) => {
        struct $name;
        impl Kept for $name {
            type Value = $value;
            type Seen<'a> = $value;
            type Column = PrimitiveArray<$arrow>;
            fn column(column: &ArrayRef) -> &Self::Column {
                column.as_primitive()
            }
            fn read(column: &Self::Column, row: usize) -> $value {
                column.value(row)
            }
            fn compare(seen: &$value, kept: &$value) -> Ordering {
                $compare(seen, kept)
            }
            fn keep(seen: $value) -> $value {
                seen
            }
            fn array(values: impl Iterator<Item = Option<$value>>, stored: &DataType) -> ArrayRef {
                Arc::new(values.collect::<PrimitiveArray<$arrow>>().with_data_type(stored.clone()))
            }
        }
    };
}
kept_primitive!(Ints, Int64Type, i64, Ord::cmp);
kept_primitive!(Floats, Float64Type, f64, f64::total_cmp);
kept_primitive!(Decimals, Decimal128Type, i128, Ord::cmp);

struct Texts;
impl Kept for Texts {
    type Value = Box<str>;
    type Seen<'a> = &'a str;
    type Column = StringArray;
    fn column(column: &ArrayRef) -> &StringArray {
        column.as_string()
    }
    fn read(column: &StringArray, row: usize) -> &str {
        column.value(row)
    }
    fn compare(seen: &&str, kept: &Box<str>) -> Ordering {
        (*seen).cmp(kept)
    }
    fn keep(seen: &str) -> Box<str> {
        seen.into()
    }
    fn array(values: impl Iterator<Item = Option<Box<str>>>, _: &DataType) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
}

struct Blobs;
impl Kept for Blobs {
    type Value = Box<[u8]>;
    type Seen<'a> = &'a [u8];
    type Column = BinaryArray;
    fn column(column: &ArrayRef) -> &BinaryArray {
        column.as_binary()
    }
    fn read(column: &BinaryArray, row: usize) -> &[u8] {
        column.value(row)
    }
    fn compare(seen: &&[u8], kept: &Box<[u8]>) -> Ordering {
        (*seen).cmp(kept)
    }
    fn keep(seen: &[u8]) -> Box<[u8]> {
        seen.into()
    }
    fn array(values: impl Iterator<Item = Option<Box<[u8]>>>, _: &DataType) -> ArrayRef {
        Arc::new(values.collect::<BinaryArray>())
    }
}

/// The accumulator of `kind` with result type `out`.
pub(super) fn pick(kind: &AggregateKind, out: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(match out {
        DataType::Decimal128(_, _) => Box::new(Pick::<Decimals>::new(kind.clone(), out.clone(), out)),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            Box::new(Pick::<Texts>::new(kind.clone(), DataType::Utf8, out))
        }
        DataType::Binary | DataType::BinaryView => {
            Box::new(Pick::<Blobs>::new(kind.clone(), DataType::Binary, out))
        }
        kind_of if kind_of.is_floating() => {
            Box::new(Pick::<Floats>::new(kind.clone(), DataType::Float64, out))
        }
        kind_of if kind_of.is_integer() || kind_of.is_temporal() || *kind_of == DataType::Boolean => {
            Box::new(Pick::<Ints>::new(kind.clone(), DataType::Int64, out))
        }
        other => return Err(Error::config(format!("{} does not take {other}", kind.name()))),
    })
}

struct Pick<K: Kept> {
    kind: AggregateKind,
    stored: DataType,
    out: DataType,
    values: Vec<Option<K::Value>>,
    form: PhantomData<K>,
}

impl<K: Kept> Pick<K> {
    fn new(kind: AggregateKind, stored: DataType, out: &DataType) -> Self {
        Self { kind, stored, out: out.clone(), values: Vec::new(), form: PhantomData }
    }
}

/// Whether a value takes the place of the kept one.
#[inline]
fn replaces(kind: &AggregateKind, order: Ordering) -> bool {
    match kind {
        AggregateKind::Min => order == Ordering::Less,
        AggregateKind::Max => order == Ordering::Greater,
        AggregateKind::LastValue => true,
        _ => false,
    }
}

impl<K: Kept> Accumulator for Pick<K> {
    fn input_type(&self) -> Option<DataType> {
        Some(self.stored.clone())
    }
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups, None);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("an aggregate without an argument")) };
        let (kind, values) = (&self.kind, &mut self.values);
        let typed = K::column(column);
        for_each_row(groups.len(), Some(column), filter, |row| {
            let seen = K::read(typed, row);
            let slot = &mut values[groups[row] as usize];
            if slot.as_ref().is_none_or(|kept| replaces(kind, K::compare(&seen, kept))) {
                *slot = Some(K::keep(seen));
            }
        });
        Ok(())
    }
    fn reset(&mut self, group: usize) {
        self.values[group] = None;
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        // Through columns, so that there is one comparison: merging is per group, not per row.
        let all: Vec<u32> = (0..other.values.len() as u32).collect();
        if let Ok(columns) = other.state(&all) {
            // The same type on both sides, so this cannot fail.
            let _ = self.merge_state(groups, &columns);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![self.stored.clone()]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let values = groups.iter().map(|group| self.values[*group as usize].clone());
        Ok(vec![K::array(values, &self.stored)])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.update(groups, columns.first(), None)
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let column = self.state(groups)?.swap_remove(0);
        as_type(&column, &self.out)
    }
    fn clear(&mut self) {
        self.values.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.kind.clone(), self.stored.clone(), &self.out))
    }
    fn is_order_insensitive(&self) -> bool {
        matches!(self.kind, AggregateKind::Min | AggregateKind::Max)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
