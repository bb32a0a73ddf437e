//! `CROSS JOIN UNNEST(list)`: a row for each item of a row's list or map, with the row's own columns beside it.
//!
//! Invariants: items keep their order, and rows theirs; change kinds, clocks and event time follow the row, so that one that
//! is taken back takes its items with it. A list that is NULL or empty gives no row, or with `outer` one whose item is NULL.
//! What leaves is cut into batches of about [`ROWS_MAX`], however long lists are. Flink: UnnestRowsFunction.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array, StructArray, UInt32Array, make_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, FieldRef, SchemaRef};
use arrow_select::take::take;
use millstream_engine::batch::record_batch;
use millstream_engine::{Batch, Error, Operator, Output, Result, type_name};

/// Rows of a batch that leaves, but for a single list that is longer.
const ROWS_MAX: usize = 16_384;

/// What is taken out of which column.
#[derive(Debug, Clone)]
pub struct UnnestSpec {
    /// The column with the lists or maps.
    pub list: usize,
    /// The input's columns that leave too, in their order.
    pub kept: Vec<usize>,
    /// The kept columns, those of an item, and its place from 1 with `ordinality`.
    pub output: SchemaRef,
    /// A row without items leaves once.
    pub outer: bool,
    /// Whether an item's place is a column.
    pub ordinality: bool,
    /// The event-time column among those that leave.
    pub event_time: Option<usize>,
}

/// The columns that an item of a list or map of this type has: a ROW's fields, a map's key and value, or itself.
///
/// # Errors
/// If it is neither.
pub fn item_fields(kind: &DataType) -> Result<Vec<FieldRef>> {
    match kind {
        DataType::List(item) => match item.data_type() {
            DataType::Struct(fields) => Ok(fields.iter().cloned().collect()),
            _ => Ok(vec![Arc::clone(item)]),
        },
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => Ok(fields.iter().cloned().collect()),
            _ => Err(Error::internal("a map has entries")),
        },
        other => Err(Error::config(format!("UNNEST takes an ARRAY or a MAP, not {}", type_name(other)))),
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct Unnest {
    spec: UnnestSpec,
}

impl Unnest {
    /// Takes lists apart as `spec` says.
    pub fn new(spec: UnnestSpec) -> Self {
        Self { spec }
    }

    /// Emits the rows of `batch` at `rows` with the items at `items`; none is NULL.
    fn emit(
        &self,
        batch: &Batch,
        items: &[ArrayRef],
        picked: &mut Picked,
        out: &mut Output<'_>,
    ) -> Result<()> {
        if picked.rows.is_empty() {
            return Ok(());
        }
        let Picked { rows, places, ordinals } = std::mem::take(picked);
        let (rows, places) = (UInt32Array::from(rows), UInt32Array::from(places));
        let count = rows.len();
        let mut columns = Vec::with_capacity(self.spec.output.fields().len());
        for column in &self.spec.kept {
            columns.push(take(batch.rows.column(*column), &rows, None)?);
        }
        for item in items {
            columns.push(take(item, &places, None)?);
        }
        if self.spec.ordinality {
            columns.push(Arc::new(Int32Array::from(ordinals)));
        }
        let side = batch.with_columns_none().take(&rows)?;
        let rows = record_batch(Arc::clone(&self.spec.output), columns, count)?;
        out.emit(side.with_columns(rows, self.spec.event_time))
    }
}

/// Rows that are to leave: the input's row, the item's place among all items, and in its list.
#[derive(Default)]
struct Picked {
    rows: Vec<u32>,
    places: Vec<Option<u32>>,
    ordinals: Vec<Option<i32>>,
}

impl Operator for Unnest {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let column = batch.rows.column(self.spec.list);
        let (offsets, items) = match column.data_type() {
            DataType::List(item) => {
                let list = column.as_list::<i32>();
                let items = match item.data_type() {
                    DataType::Struct(_) => fields_of(list.values().as_struct()),
                    _ => vec![Arc::clone(list.values())],
                };
                (list.value_offsets(), items)
            }
            DataType::Map(..) => {
                let map = column.as_map();
                (map.value_offsets(), fields_of(map.entries()))
            }
            other => return Err(Error::internal(format!("{other} is neither a list nor a map"))),
        };
        let mut picked = Picked::default();
        for row in 0..batch.num_rows() {
            let (start, end) = (offsets[row], offsets[row + 1]);
            let number = row as u32;
            if column.is_null(row) || start == end {
                if self.spec.outer {
                    picked.rows.push(number);
                    picked.places.push(None);
                    picked.ordinals.push(None);
                }
            } else {
                picked.rows.extend(std::iter::repeat_n(number, (end - start) as usize));
                picked.places.extend((start..end).map(|place| Some(place as u32)));
                picked.ordinals.extend((1..=end - start).map(Some));
            }
            if picked.rows.len() >= ROWS_MAX {
                self.emit(&batch, &items, &mut picked, out)?;
            }
        }
        self.emit(&batch, &items, &mut picked, out)
    }
}

/// The fields of ROWs; those of a ROW that is NULL are NULL.
fn fields_of(row: &StructArray) -> Vec<ArrayRef> {
    let with_nulls = |field: &ArrayRef| match row.nulls() {
        None => Arc::clone(field),
        Some(nulls) => {
            let nulls = NullBuffer::union(field.nulls(), Some(nulls));
            let data = field.to_data().into_builder().nulls(nulls);
            // The same buffers with fewer valid entries: nothing that was right becomes wrong.
            data.build().map_or_else(|_| Arc::clone(field), make_array)
        }
    };
    row.columns().iter().map(with_nulls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::types::{Int32Type, Int64Type};
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{Field, Schema};
    use millstream_engine::ChangeKind;
    use millstream_engine::harness::{Emitted, OperatorHarness, rows};

    fn batch() -> Batch {
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_null();
        lists.append_value([]);
        lists.append_value([Some(3)]);
        let lists: ArrayRef = Arc::new(lists.finish());
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("list", lists.data_type().clone(), true),
        ]);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30, 40]));
        Batch::new(RecordBatch::try_new(Arc::new(schema), vec![ids, lists]).unwrap())
    }

    fn unnest(outer: bool) -> OperatorHarness {
        let output = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("item", DataType::Int64, true),
            Field::new("place", DataType::Int32, true),
        ]);
        let spec = UnnestSpec {
            list: 1,
            kept: vec![0],
            output: Arc::new(output),
            outer,
            ordinality: true,
            event_time: None,
        };
        OperatorHarness::new(Box::new(Unnest::new(spec))).unwrap()
    }

    #[test]
    fn a_row_an_item_in_order_and_the_side_columns_follow() {
        let mut input = batch();
        input.changes =
            Some([ChangeKind::Insert, ChangeKind::Insert, ChangeKind::Insert, ChangeKind::Delete].into());
        let emitted = unnest(false).batch(input).unwrap();
        let Emitted::Rows(found) = &emitted[0] else { panic!() };
        assert_eq!(found.rows.column(0).as_primitive::<Int64Type>().values(), &[10, 10, 40]);
        let items: Vec<_> = found.rows.column(1).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(items, [Some(1), None, Some(3)]);
        assert_eq!(found.rows.column(2).as_primitive::<Int32Type>().values(), &[1, 2, 1]);
        let changes = found.changes.as_deref().unwrap();
        assert_eq!(changes, [ChangeKind::Insert, ChangeKind::Insert, ChangeKind::Delete]);
    }

    #[test]
    fn outer_keeps_rows_without_items() {
        let found = rows(&unnest(true).batch(batch()).unwrap());
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().values(), &[10, 10, 20, 30, 40]);
        assert_eq!((found[0].column(1).null_count(), found[0].column(2).null_count()), (3, 2));
    }

    #[test]
    fn long_lists_leave_in_several_batches() {
        let mut lists = ListBuilder::new(Int64Builder::new());
        (0..5).for_each(|_| lists.append_value((0..10_000).map(Some)));
        let lists: ArrayRef = Arc::new(lists.finish());
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("list", lists.data_type().clone(), true),
        ]);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
        let input = Batch::new(RecordBatch::try_new(Arc::new(schema), vec![ids, lists]).unwrap());
        let found = rows(&unnest(false).batch(input).unwrap());
        assert_eq!(found.len(), 3);
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 50_000);
    }
}
