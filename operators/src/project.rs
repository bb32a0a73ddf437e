//! `SELECT` and `WHERE` in one pass: a filter, then the output columns.
//!
//! Invariant: row order and the side columns (change kinds, clocks) are kept. Only what the output needs is copied
//! through the filter: columns that are plain accesses are taken first and filtered as they are; the inputs of
//! computed columns are filtered once, then computed for the surviving rows only, so that an expression the filter
//! guards (`WHERE x <> 0` before `1 / x`) never sees the rows it is guarded from.

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, new_empty_array};
use arrow_schema::SchemaRef;
use arrow_select::filter::{FilterBuilder, FilterPredicate};
use millstream_engine::batch::record_batch;
use millstream_engine::{Batch, Error, Operator, Output, Result};

use crate::expr::ExpressionRef;

/// Filters and projects. See the module's page.
#[derive(Debug)]
pub struct Project {
    filter: Option<ExpressionRef>,
    columns: Vec<ExpressionRef>,
    schema: SchemaRef,
    event_time: Option<usize>,
    /// Input columns that computed output columns read; `None` for all.
    computed_from: Option<Vec<usize>>,
}

impl Project {
    /// Keeps rows where `filter` is true, and makes `columns` of them. `event_time` names the time column among them.
    pub fn new(
        filter: Option<ExpressionRef>,
        columns: Vec<ExpressionRef>,
        schema: SchemaRef,
        event_time: Option<usize>,
    ) -> Self {
        let mut used = Some(Vec::new());
        for column in columns.iter().filter(|column| !column.is_access()) {
            match (&mut used, column.columns_used()) {
                (Some(all), Some(mut more)) => all.append(&mut more),
                (used, _) => *used = None,
            }
        }
        Self { filter, columns, schema, event_time, computed_from: used }
    }

    fn all_rows(&self, batch: Batch) -> Result<Batch> {
        let columns =
            self.columns.iter().map(|column| column.evaluate(&batch.rows)).collect::<Result<Vec<_>>>()?;
        let rows = record_batch(self.schema.clone(), columns, batch.num_rows())?;
        Ok(batch.with_columns(rows, self.event_time))
    }

    fn some_rows(&self, batch: &Batch, mask: &BooleanArray) -> Result<Batch> {
        let predicate = FilterBuilder::new(mask).optimize().build();
        let inputs = self.inputs_of_computed(&batch.rows, &predicate)?;
        let columns = self
            .columns
            .iter()
            .map(|column| {
                if column.is_access() {
                    Ok(predicate.filter(&column.evaluate(&batch.rows)?)?)
                } else {
                    column.evaluate(&inputs)
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = record_batch(self.schema.clone(), columns, predicate.count())?;
        // The side columns follow the rows; an empty projection of the batch carries them through the filter.
        let side = batch.with_columns_none().filter(mask)?;
        Ok(side.with_columns(rows, self.event_time))
    }

    /// The filtered input columns; those that no computed column reads are left empty of values.
    fn inputs_of_computed(&self, rows: &RecordBatch, predicate: &FilterPredicate) -> Result<RecordBatch> {
        let Some(used) = &self.computed_from else { return Ok(predicate.filter_record_batch(rows)?) };
        let columns = rows
            .columns()
            .iter()
            .enumerate()
            .map(|(index, column)| {
                if used.contains(&index) {
                    Ok(predicate.filter(column)?)
                } else {
                    Ok(null_like(column, predicate.count()))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let fields: Vec<_> = rows
            .schema_ref()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        record_batch(std::sync::Arc::new(arrow_schema::Schema::new(fields)), columns, predicate.count())
    }
}

/// A column of nulls that stands in for one nobody reads.
fn null_like(column: &ArrayRef, len: usize) -> ArrayRef {
    if len == 0 {
        new_empty_array(column.data_type())
    } else {
        arrow_array::new_null_array(column.data_type(), len)
    }
}

impl Operator for Project {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let Some(filter) = &self.filter else { return out.emit(self.all_rows(batch)?) };
        let mask = filter.evaluate(&batch.rows)?;
        let mask = mask
            .as_boolean_opt()
            .ok_or_else(|| Error::internal(format!("a filter answers {}, not BOOLEAN", mask.data_type())))?;
        match mask.true_count() {
            0 => Ok(()),
            count if count == batch.num_rows() => out.emit(self.all_rows(batch)?),
            _ => out.emit(self.some_rows(&batch, mask)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use arrow_array::types::Int64Type;
    use arrow_schema::{DataType, Field, Schema};
    use millstream_engine::harness::{OperatorHarness, rows};

    use crate::expr::{Column, Expression};

    #[derive(Debug)]
    struct Above(usize, i64);
    impl Expression for Above {
        fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
            let values = rows.column(self.0).as_primitive::<Int64Type>();
            Ok(Arc::new(
                values.iter().map(|value| value.map(|value| value > self.1)).collect::<BooleanArray>(),
            ))
        }
    }

    #[derive(Debug)]
    struct HundredBy(usize);
    impl Expression for HundredBy {
        fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
            let values = rows.column(self.0).as_primitive::<Int64Type>();
            Ok(Arc::new(values.unary::<_, Int64Type>(|value| 100 / value)))
        }
        fn columns_used(&self) -> Option<Vec<usize>> {
            Some(vec![self.0])
        }
    }

    fn batch(values: Vec<Option<i64>>) -> Batch {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int64, true),
        ]));
        let a: ArrayRef = Arc::new(Int64Array::from(values));
        Batch::new(RecordBatch::try_new(schema, vec![Arc::clone(&a), a]).unwrap())
    }

    fn project(filter: Option<ExpressionRef>) -> OperatorHarness {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("hundred", DataType::Int64, true),
        ]));
        let columns: Vec<ExpressionRef> = vec![Arc::new(Column(0)), Arc::new(HundredBy(1))];
        OperatorHarness::new(Box::new(Project::new(filter, columns, schema, None))).unwrap()
    }

    #[test]
    fn a_filter_guards_what_comes_after_it() {
        let mut harness = project(Some(Arc::new(Above(0, 0))));
        let mut input = batch(vec![Some(0), Some(5), None, Some(20)]);
        input.clocks = Some(Int64Array::from(vec![1, 2, 3, 4]));
        let out = harness.batch(input).unwrap();
        let got = rows(&out);
        assert_eq!(got[0].column(0).as_primitive::<Int64Type>().values(), &[5, 20]);
        assert_eq!(got[0].column(1).as_primitive::<Int64Type>().values(), &[20, 5]);
        let millstream_engine::harness::Emitted::Rows(batch) = &out[0] else { panic!() };
        assert_eq!(batch.clocks.as_ref().unwrap().values(), &[2, 4]);
    }

    #[test]
    fn all_and_none_are_not_copied() {
        let mut harness = project(Some(Arc::new(Above(0, 0))));
        assert!(harness.batch(batch(vec![Some(0), None])).unwrap().is_empty());
        let input = batch(vec![Some(1), Some(2)]);
        let column = Arc::clone(input.rows.column(0));
        let out = rows(&harness.batch(input).unwrap());
        assert!(Arc::ptr_eq(out[0].column(0), &column));
    }
}
