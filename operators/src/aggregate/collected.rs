//! `LISTAGG`, `ARRAY_AGG`: the values of a group one after the other, in the order they came.
//!
//! A group is one buffer of values, each with its length in front: text as it is, others row-encoded. A value that is taken
//! back is the oldest equal one, as in Flink (ListAggWithRetract, ArrayAgg). LISTAGG leaves NULL out, ARRAY_AGG keeps it. A
//! group's memory grows with its values, and goes with them.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, ListArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use super::{Accumulator, AggregateKind, for_each_row, lists, same};

/// Bytes of a length.
const HEAD: usize = size_of::<u32>();

/// See the module's page.
pub(super) struct Collected {
    kind: AggregateKind,
    argument: DataType,
    out: DataType,
    /// Of ARRAY_AGG.
    converter: Option<RowConverter>,
    groups: Vec<Vec<u8>>,
}

impl Collected {
    pub fn new(kind: &AggregateKind, argument: &DataType, out: &DataType) -> Result<Self> {
        let converter = match kind {
            AggregateKind::ListAgg(_) => None,
            _ => Some(RowConverter::new(vec![SortField::new(argument.clone())])?),
        };
        let (kind, argument, out) = (kind.clone(), argument.clone(), out.clone());
        Ok(Self { kind, argument, out, converter, groups: Vec::new() })
    }

    /// Gives `each` the values that count, encoded, with their groups.
    fn encoded(
        &self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<()> {
        let column = column.ok_or_else(|| Error::internal("an aggregate without an argument"))?;
        match &self.converter {
            None => {
                let texts = column.as_string::<i32>();
                for_each_row(groups.len(), Some(column), filter, |row| {
                    each(groups[row] as usize, texts.value(row).as_bytes());
                });
            }
            Some(converter) => {
                let rows = converter.convert_columns(std::slice::from_ref(column))?;
                for_each_row(groups.len(), None, filter, |row| {
                    each(groups[row] as usize, rows.row(row).data());
                });
            }
        }
        Ok(())
    }
}

fn push(group: &mut Vec<u8>, value: &[u8]) {
    group.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    group.extend_from_slice(value);
}

/// Where the values of a group are.
fn spans(group: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = group.get(at..)?.first_chunk::<HEAD>()?;
        let start = at + HEAD;
        at = start + u32::from_le_bytes(*head) as usize;
        Some(start..at)
    })
}

fn values(group: &[u8]) -> impl Iterator<Item = &[u8]> {
    spans(group).map(|span| &group[span])
}

impl Accumulator for Collected {
    fn input_type(&self) -> Option<DataType> {
        self.converter.is_none().then_some(DataType::Utf8)
    }
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Vec::new);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let mut kept = std::mem::take(&mut self.groups);
        let done = self.encoded(groups, column, filter, |group, value| push(&mut kept[group], value));
        self.groups = kept;
        done
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let mut kept = std::mem::take(&mut self.groups);
        let done = self.encoded(groups, column, filter, |group, value| {
            let oldest = spans(&kept[group]).find(|span| &kept[group][span.clone()] == value);
            if let Some(span) = oldest {
                kept[group].drain(span.start - HEAD..span.end);
            }
        });
        self.groups = kept;
        done
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.groups[group] = Vec::new();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, values) in groups.iter().zip(&other.groups) {
            self.groups[*group as usize].extend_from_slice(values);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![lists::write(groups, |group| values(&self.groups[group]))])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let kept = &mut self.groups;
        lists::read(groups, &columns[0], |group, value| push(&mut kept[group], value))
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let of = |group: &u32| &self.groups[*group as usize];
        let Some(converter) = &self.converter else {
            let separator = match &self.kind {
                AggregateKind::ListAgg(separator) => separator.as_ref(),
                _ => ",",
            };
            let mut column = StringBuilder::new();
            let mut text = Vec::new();
            for group in groups.iter().map(of) {
                text.clear();
                for (at, value) in values(group).enumerate() {
                    if at > 0 {
                        text.extend_from_slice(separator.as_bytes());
                    }
                    text.extend_from_slice(value);
                }
                // What came in was text.
                column.append_option(
                    (!group.is_empty()).then(|| std::str::from_utf8(&text).unwrap_or_default()),
                );
            }
            return crate::kept_type::as_type(&(Arc::new(column.finish()) as ArrayRef), &self.out);
        };
        let DataType::List(item) = &self.out else {
            return Err(Error::internal("ARRAY_AGG gives an ARRAY"));
        };
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(|group| values(of(group)).count()));
        let parser = converter.parser();
        let rows = groups.iter().flat_map(|group| values(of(group))).map(|value| parser.parse(value));
        let items = converter.convert_rows(rows)?.swap_remove(0);
        let nulls: NullBuffer = groups.iter().map(|group| !of(group).is_empty()).collect();
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, Some(nulls))?))
    }
    fn clear(&mut self) {
        self.groups.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        match Self::new(&self.kind, &self.argument, &self.out) {
            Ok(fresh) => Box::new(fresh),
            // The type was accepted when this one was made.
            Err(_) => Box::new(super::count::Count::default()),
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int64Type;
    use arrow_array::{Array, Int64Array, StringArray};

    fn collected(kind: &AggregateKind, argument: &DataType) -> Collected {
        Collected::new(kind, argument, &kind.output_type(argument).unwrap()).unwrap()
    }

    #[test]
    fn values_come_in_order_and_the_oldest_goes() {
        let mut texts = collected(&AggregateKind::ListAgg("; ".into()), &DataType::Utf8);
        texts.resize(2);
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]));
        texts.update(&[0, 0, 0, 0], Some(&column), None).unwrap();
        let shown = |texts: &Collected| {
            let found = texts.evaluate(&[0, 1]).unwrap();
            found.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&texts), [Some("b; a; b".into()), None]);
        texts.retract(&[0], Some(&column.slice(3, 1)), None).unwrap();
        assert_eq!(shown(&texts), [Some("a; b".into()), None]);
        let mut copy = texts.fresh();
        copy.resize(2);
        copy.merge_state(&[1], &texts.state(&[0]).unwrap()).unwrap();
        copy.merge_from(&texts, &[1, 0]);
        assert_eq!(copy.evaluate(&[1]).unwrap().as_string::<i32>().value(0), "a; b; a; b");
    }

    #[test]
    fn arrays_keep_nulls() {
        let mut numbers = collected(&AggregateKind::ArrayAgg, &DataType::Int64);
        numbers.resize(2);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), None, Some(1)]));
        numbers.update(&[0, 0, 0], Some(&column), None).unwrap();
        let found = numbers.evaluate(&[1, 0]).unwrap();
        let lists = found.as_list::<i32>();
        assert!(lists.is_null(0));
        let own: Vec<_> = lists.value(1).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(own, [Some(2), None, Some(1)]);
    }
}
