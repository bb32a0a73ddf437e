//! `PERCENTILE(x, p)`, exact as Flink's, and `APPROX_PERCENTILE(x, p)`: values by rank.
//!
//! Both keep a [`Distribution`] a group: every value with how often it was seen ([`Exact`], whose memory grows with the
//! different values), or a histogram of bounded size (sketch.rs). Neither depends on the order in which values come, so
//! that batches, workers and restores give one answer. State is bytes with a version in front. `PERCENTILE(x, p, n)` is over
//! ROWs of a value and how often it counts; one that is NULL or counts no times is left out.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::{DataType, Field};
use millstream_engine::{Error, Result};

use super::{Accumulator, for_each_row, for_each_value, same, versioned};
use crate::kept_type::as_type;

/// The version of a distribution's bytes.
pub(super) const VERSION: u8 = 1;

/// The ranks that are asked for, between 0 and 1: of one value, or of a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fractions {
    bits: Vec<u64>,
    is_list: bool,
}

impl Fractions {
    /// One value, or a list.
    ///
    /// # Errors
    /// If one does not lie between 0 and 1.
    pub fn new(fractions: &[f64], is_list: bool) -> Result<Self> {
        if fractions.iter().any(|fraction| !(0.0..=1.0).contains(fraction)) {
            return Err(Error::config("the fraction of a percentile lies between 0 and 1")
                .remedy("write PERCENTILE(x, 0.95)"));
        }
        Ok(Self { bits: fractions.iter().map(|fraction| fraction.to_bits()).collect(), is_list })
    }

    /// The type of the answer.
    pub(super) fn output_type(&self) -> DataType {
        if self.is_list {
            DataType::List(Arc::new(Field::new("item", DataType::Float64, true)))
        } else {
            DataType::Float64
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.bits.iter().map(|bits| f64::from_bits(*bits))
    }
}

impl std::fmt::Display for Fractions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<String> = self.values().map(|value| value.to_string()).collect();
        if self.is_list { write!(f, "[{}]", shown.join(", ")) } else { f.write_str(&shown.concat()) }
    }
}

/// The values of a group.
pub(super) trait Distribution: Default + Send + 'static {
    /// Whether values can be taken out again.
    const TAKES_BACK: bool;
    /// Whether it is so small that adding up parts in front of an exchange pays.
    const IS_SMALL: bool;

    /// Adds `times` occurrences of a value; -1 takes one out.
    fn add(&mut self, value: f64, times: i64);
    /// Adds the values of another.
    fn merge(&mut self, other: &Self);
    /// How many values there are.
    fn count(&self) -> i64;
    /// The value at `fraction` of the way; there is at least one.
    fn percentile(&self, fraction: f64) -> f64;
    /// Appends it as bytes, without the version.
    fn write(&self, bytes: &mut Vec<u8>);
    /// What [`Distribution::write`] wrote.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// Every value with how often it was seen, in order.
#[derive(Debug, Default)]
pub(super) struct Exact {
    times: BTreeMap<u64, i64>,
}

/// Bits that compare as the values do, NaN last, as Java's Double.compare has it.
fn ordered(value: f64) -> u64 {
    let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn unordered(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

impl Distribution for Exact {
    const TAKES_BACK: bool = true;
    const IS_SMALL: bool = false;

    fn add(&mut self, value: f64, times: i64) {
        let key = ordered(value);
        let known = self.times.entry(key).or_default();
        *known += times;
        if *known == 0 {
            self.times.remove(&key);
        }
    }

    fn merge(&mut self, other: &Self) {
        other.times.iter().for_each(|(value, times)| self.add(unordered(*value), *times));
    }

    fn count(&self) -> i64 {
        self.times.values().sum()
    }

    /// Between two values in proportion. Flink: PercentileAggFunction, to the last digit.
    fn percentile(&self, fraction: f64) -> f64 {
        let position = fraction * (self.count() - 1) as f64 + 1.0;
        let (lower, higher) = (position.floor(), position.ceil());
        let mut values = self.times.iter().map(|(value, times)| (unordered(*value), *times));
        let (mut value, mut seen) = values.next().unwrap_or_default();
        while (seen as f64) < lower {
            let Some((next, times)) = values.next() else { break };
            value = next;
            seen += times;
        }
        if seen as f64 >= higher {
            return value;
        }
        let next = values.next().map_or(value, |(next, _)| next);
        (higher - position) * value + (position - lower) * next
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for (value, times) in &self.times {
            bytes.extend_from_slice(&value.to_le_bytes());
            bytes.extend_from_slice(&times.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (pairs, []) = bytes.as_chunks::<16>() else { return None };
        let number =
            |pair: &[u8; 16], at: usize| u64::from_le_bytes(std::array::from_fn(|byte| pair[at + byte]));
        Some(Self { times: pairs.iter().map(|pair| (number(pair, 0), number(pair, 8) as i64)).collect() })
    }
}

/// See the module's page.
pub(super) struct Percentile<D> {
    fractions: Fractions,
    /// Whether rows say how often their value counts.
    has_frequency: bool,
    groups: Vec<D>,
}

impl<D: Distribution> Percentile<D> {
    pub fn new(fractions: &Fractions, argument: &DataType) -> Self {
        let has_frequency = matches!(argument, DataType::Struct(_));
        Self { fractions: fractions.clone(), has_frequency, groups: Vec::new() }
    }

    fn each(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
        times: i64,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("a percentile without an argument")) };
        if self.has_frequency {
            let pair = column.as_struct_opt().filter(|pair| pair.num_columns() == 2);
            let pair = pair.ok_or_else(|| Error::internal("a percentile without frequencies"))?;
            let values = as_type(pair.column(0), &DataType::Float64)?;
            let counts = as_type(pair.column(1), &DataType::Int64)?;
            let (values, counts) = (values.as_primitive::<Float64Type>(), counts.as_primitive::<Int64Type>());
            for_each_row(groups.len(), Some(values), filter, |row| {
                if counts.is_valid(row) && counts.value(row) > 0 {
                    self.groups[groups[row] as usize].add(values.value(row), times * counts.value(row));
                }
            });
            return Ok(());
        }
        let values = column.as_primitive::<Float64Type>().values();
        for_each_value(groups, values, column, filter, |group, value| self.groups[group].add(value, times));
        Ok(())
    }
}

impl<D: Distribution> Accumulator for Percentile<D> {
    fn input_type(&self) -> Option<DataType> {
        (!self.has_frequency).then_some(DataType::Float64)
    }
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, D::default);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.each(groups, column, filter, 1)
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.each(groups, column, filter, -1)
    }
    fn takes_back(&self) -> bool {
        D::TAKES_BACK
    }
    fn reset(&mut self, group: usize) {
        self.groups[group] = D::default();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, from) in groups.iter().zip(&other.groups) {
            self.groups[*group as usize].merge(from);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![versioned::write(groups, VERSION, |group, bytes| self.groups[group].write(bytes))])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let kept = &mut self.groups;
        versioned::merge(groups, &columns[0], VERSION, "a percentile", |group, bytes| {
            D::read(bytes).map(|part| kept[group].merge(&part))
        })
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let of = |group: &u32| Some(&self.groups[*group as usize]).filter(|values| values.count() > 0);
        if !self.fractions.is_list {
            let fraction = self.fractions.values().next().unwrap_or_default();
            let mut column = Float64Builder::with_capacity(groups.len());
            for values in groups.iter().map(of) {
                column.append_option(values.map(|values| values.percentile(fraction)));
            }
            return Ok(Arc::new(column.finish()));
        }
        let mut lists = ListBuilder::new(Float64Builder::new());
        for values in groups.iter().map(of) {
            if let Some(values) = values {
                self.fractions.values().for_each(|f| lists.values().append_value(values.percentile(f)));
            }
            lists.append(values.is_some());
        }
        Ok(Arc::new(lists.finish()))
    }
    fn clear(&mut self) {
        self.groups.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        let (fractions, has_frequency) = (self.fractions.clone(), self.has_frequency);
        Box::new(Self { fractions, has_frequency, groups: Vec::new() })
    }
    fn is_order_insensitive(&self) -> bool {
        D::IS_SMALL
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_between_and_their_bytes() {
        let mut exact = Exact::default();
        for value in [-1.5, 7.0, f64::NAN, 0.0, -0.0, 7.0] {
            exact.add(value, 1);
        }
        assert_eq!((exact.percentile(0.0), exact.percentile(0.5), exact.percentile(0.8)), (-1.5, 3.5, 7.0));
        assert!(exact.percentile(1.0).is_nan());
        exact.add(f64::NAN, -1);
        exact.add(7.0, -1);
        assert_eq!((exact.count(), exact.percentile(1.0)), (4, 7.0));
        let mut bytes = Vec::new();
        exact.write(&mut bytes);
        assert_eq!(Exact::read(&bytes).map(|read| read.times), Some(exact.times));
        assert!(Exact::read(&bytes[1..]).is_none());
        assert!(Fractions::new(&[1.01], false).is_err() && Fractions::new(&[f64::NAN], true).is_err());
    }
}
