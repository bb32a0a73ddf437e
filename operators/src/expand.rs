//! Rows once for each grouping set: GROUPING SETS, ROLLUP and CUBE in front of an aggregation.
//!
//! A batch leaves once a set, with copies of the keys behind its columns, NULL where the set does not group by them, and a
//! number that tells the sets apart (a key that is NULL in the row is not one that is left out). The columns themselves stay,
//! for arguments of aggregates. Order, change kinds and clocks stay too. Flink: Expand.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use millstream_engine::batch::record_batch;
use millstream_engine::{Batch, Operator, Output, Result};

/// Grouping sets over rows.
#[derive(Debug, Clone)]
pub struct ExpandSpec {
    /// The rows coming in.
    pub input: SchemaRef,
    /// The columns that a set may group by.
    pub keys: Vec<usize>,
    /// Of each set, which of the keys it groups by.
    pub sets: Vec<Vec<bool>>,
}

impl ExpandSpec {
    /// Columns of the result: the input's, the keys, the set's number.
    pub fn output_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.input.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(self.keys.iter().map(|key| self.input.field(*key).clone().with_nullable(true)));
        fields.push(Field::new("grouping_set", DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }
}

/// The number of the `index`-th set: a bit for each key that it does not group by, and above them the set's place, so that
/// a set that is written twice counts twice.
pub fn set_number(index: usize, set: &[bool]) -> i64 {
    let left_out = (0..).zip(set).filter(|(_, groups)| !**groups);
    left_out.fold((index as i64) << 32, |bits, (key, _): (u32, _)| bits | 1 << key)
}

/// See the module's page.
#[derive(Debug)]
pub struct Expand {
    spec: ExpandSpec,
    output: SchemaRef,
}

impl Expand {
    /// Rows for the sets of `spec`.
    pub fn new(spec: &ExpandSpec) -> Self {
        Self { output: spec.output_schema(), spec: spec.clone() }
    }
}

impl Operator for Expand {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let rows = batch.num_rows();
        for (index, set) in self.spec.sets.iter().enumerate() {
            let mut columns = batch.rows.columns().to_vec();
            for (key, groups) in self.spec.keys.iter().zip(set) {
                let column = batch.rows.column(*key);
                let own = || Arc::clone(column);
                columns.push(if *groups { own() } else { new_null_array(column.data_type(), rows) });
            }
            columns.push(Arc::new(Int64Array::from(vec![set_number(index, set); rows])) as ArrayRef);
            let rows = record_batch(Arc::clone(&self.output), columns, rows)?;
            let event_time = batch.event_time;
            out.emit(batch.clone().with_columns(rows, event_time))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use millstream_engine::harness::{OperatorHarness, rows};

    #[test]
    fn a_row_leaves_once_a_set_with_its_keys() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
        let spec = ExpandSpec {
            input: Arc::clone(&schema),
            keys: vec![0, 0],
            sets: vec![vec![true, true], vec![false, true], vec![false, true]],
        };
        let mut harness = OperatorHarness::new(Box::new(Expand::new(&spec))).unwrap();
        let batch = Batch::new(record_batch(schema, vec![Arc::clone(&column)], 2).unwrap());
        let found = rows(&harness.batch(batch).unwrap());
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|rows| rows.column(0) == &column && rows.column(2) == &column));
        assert_eq!(found[0].column(1), &column);
        assert_eq!(found[1].column(1).null_count(), 2);
        let numbers: Vec<i64> = (0..3).map(|set| set_number(set, &spec.sets[set])).collect();
        assert_eq!(numbers, [0, 1 << 32 | 1, 2 << 32 | 1]);
    }
}
