//! A row as often as one of its columns says: the last step of INTERSECT ALL and EXCEPT ALL.
//!
//! In front of it a `Group` counts equal rows, and an update from there is the row taken back with its new form right behind,
//! which differs in nothing but the count: so only the difference leaves, as rows that come or go. A count below one, or none, is
//! no row. What leaves is cut into batches of [`ROWS_MAX`], however often a row is repeated. Keeps no state.
//! Flink: ReplicateRowsFunction, which gives all rows anew.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use millstream_engine::batch::record_batch;
use millstream_engine::{Batch, ChangeKind, Error, Operator, Output, Result};

/// Rows of a batch that leaves.
const ROWS_MAX: usize = 16_384;

/// See the module's page.
#[derive(Debug)]
pub struct Repeat {
    count: usize,
    kept: Vec<usize>,
    output: SchemaRef,
}

/// Rows that are to leave, by number, and how.
#[derive(Default)]
struct Picked {
    rows: Vec<u32>,
    kinds: Vec<ChangeKind>,
}

impl Repeat {
    /// The columns `kept` of each row, which are those of `output`, as often as column `count` says.
    pub fn new(count: usize, kept: Vec<usize>, output: SchemaRef) -> Self {
        Self { count, kept, output }
    }

    fn emit(&self, batch: &Batch, picked: &mut Picked, out: &mut Output<'_>) -> Result<()> {
        if picked.rows.is_empty() {
            return Ok(());
        }
        let Picked { rows, kinds } = std::mem::take(picked);
        let rows = UInt32Array::from(rows);
        let kept = self.kept.iter().map(|column| Ok(take(batch.rows.column(*column), &rows, None)?));
        let columns = kept.collect::<Result<Vec<ArrayRef>>>()?;
        let mut found = Batch::new(record_batch(Arc::clone(&self.output), columns, rows.len())?);
        found.changes = batch.changes.is_some().then(|| kinds.into());
        out.emit(found)
    }
}

impl Operator for Repeat {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let counts = batch.rows.column(self.count).as_primitive_opt::<Int64Type>();
        let counts = counts.ok_or_else(|| Error::internal("the count of rows is no BIGINT"))?;
        let times = |row: usize| if counts.is_valid(row) { counts.value(row).max(0) } else { 0 };
        let kind = |row: usize| batch.changes.as_ref().map_or(ChangeKind::Insert, |kinds| kinds[row]);
        let mut picked = Picked::default();
        let mut row = 0;
        while row < batch.num_rows() {
            let next = row + 1;
            let is_update = kind(row) == ChangeKind::UpdateBefore
                && next < batch.num_rows()
                && kind(next) == ChangeKind::UpdateAfter;
            let (more, place) = match is_update {
                true => (times(next) - times(row), next),
                false if kind(row).takes_back() => (-times(row), row),
                false => (times(row), row),
            };
            let kind = if more < 0 { ChangeKind::Delete } else { ChangeKind::Insert };
            let mut left = more.unsigned_abs();
            while left > 0 {
                let now = left.min((ROWS_MAX - picked.rows.len()) as u64);
                picked.rows.extend(std::iter::repeat_n(place as u32, now as usize));
                picked.kinds.extend(std::iter::repeat_n(kind, now as usize));
                left -= now;
                if picked.rows.len() == ROWS_MAX {
                    self.emit(&batch, &mut picked, out)?;
                }
            }
            row = place + 1;
        }
        self.emit(&batch, &mut picked, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};
    use millstream_engine::harness::{Emitted, OperatorHarness};

    fn repeated(ids: Vec<i64>, counts: Vec<Option<i64>>, kinds: &[ChangeKind]) -> Vec<Batch> {
        let schema = |names: &[&str]| {
            let field = |name: &&str| Field::new(*name, DataType::Int64, true);
            Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
        };
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(ids)), Arc::new(Int64Array::from(counts))];
        let rows = record_batch(schema(&["id", "n"]), columns, kinds.len()).unwrap();
        let mut batch = Batch::new(rows);
        batch.changes = Some(kinds.into());
        let operator = Repeat::new(1, vec![0], schema(&["id"]));
        let emitted = OperatorHarness::new(Box::new(operator)).unwrap().batch(batch).unwrap();
        let rows = |found: Emitted| match found {
            Emitted::Rows(batch) => Some(batch),
            _ => None,
        };
        emitted.into_iter().filter_map(rows).collect()
    }

    #[test]
    fn updates_leave_as_what_they_come_to() {
        use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let found = repeated(
            vec![1, 2, 2, 3, 3, 4, 4, 5, 6],
            vec![Some(2), Some(1), Some(3), Some(2), Some(-1), Some(2), Some(2), None, Some(1)],
            &[
                Insert,
                UpdateBefore,
                UpdateAfter,
                UpdateBefore,
                UpdateAfter,
                UpdateBefore,
                UpdateAfter,
                Insert,
                Delete,
            ],
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rows.column(0).as_primitive::<Int64Type>().values(), &[1, 1, 2, 2, 3, 3, 6]);
        let kinds = [Insert, Insert, Insert, Insert, Delete, Delete, Delete];
        assert_eq!(found[0].changes.as_deref(), Some(&kinds[..]));
    }

    #[test]
    fn many_rows_leave_in_several_batches() {
        let found = repeated(vec![1, 2], vec![Some(40_000), Some(1)], &[ChangeKind::Insert; 2]);
        let sizes: Vec<usize> = found.iter().map(Batch::num_rows).collect();
        assert_eq!(sizes, [ROWS_MAX, ROWS_MAX, 40_001 - 2 * ROWS_MAX]);
    }
}
