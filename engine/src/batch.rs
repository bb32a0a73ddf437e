//! A batch: the unit that flows. Arrow columns, plus what the engine must know of each row.
//!
//! Invariants: `changes` and `clocks`, where present, have one entry a row; `event_time`, where present, names a
//! `Timestamp(Millisecond)` column of `rows`; `time_min_ms` is never above any event time in the batch.
//! A source makes a batch, operators reshape it through the methods here (so that the side columns follow the
//! rows), a sink writes it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use arrow_select::concat::{concat, concat_batches};
use arrow_select::filter::{FilterBuilder, filter};
use arrow_select::take::take;

use crate::error::{Error, Result};

/// What a row does to the table it belongs to. Flink's RowKind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChangeKind {
    /// `+I`: the row appears.
    Insert = 0,
    /// `-U`: the old form of a row that is about to be replaced.
    UpdateBefore = 1,
    /// `+U`: the new form.
    UpdateAfter = 2,
    /// `-D`: the row goes.
    Delete = 3,
}

impl ChangeKind {
    /// Flink's short name: `+I`, `-U`, `+U` or `-D`.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }

    /// True for `-U` and `-D`, which take a row back that was given before.
    pub fn takes_back(self) -> bool {
        matches!(self, Self::UpdateBefore | Self::Delete)
    }
}

/// Rows on their way through the graph.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns.
    pub rows: RecordBatch,
    /// Index of the event-time column (`Timestamp(Millisecond)`, null-free), if the stream has one.
    pub event_time: Option<usize>,
    /// One change kind a row; absent on insert-only edges, where every row is an insert.
    pub changes: Option<Arc<[ChangeKind]>>,
    /// The watermark of each row's own clock just before the row, where that differs from its channel's: one of
    /// several partitions of a source, or a keyed (per-device) watermark. Lateness is judged against it.
    pub clocks: Option<Int64Array>,
    /// A lower bound of the event times inside, `i64::MIN` when unknown.
    pub time_min_ms: i64,
    /// Which partition of its source the rows come from; 0 after the watermark assigner.
    pub partition: u32,
    /// When the oldest row entered the process, by the job's monotonic clock in ns; 0 when not stamped.
    pub ingested_ns: u64,
}

impl Batch {
    /// Insert-only rows without event time.
    pub fn new(rows: RecordBatch) -> Self {
        Self {
            rows,
            event_time: None,
            changes: None,
            clocks: None,
            time_min_ms: i64::MIN,
            partition: 0,
            ingested_ns: 0,
        }
    }

    /// Insert-only rows whose event time is column `event_time`.
    ///
    /// # Errors
    /// If that column is missing or not `Timestamp(Millisecond)`.
    pub fn with_event_time(rows: RecordBatch, event_time: usize) -> Result<Self> {
        let kind = rows.schema_ref().fields().get(event_time).map(|field| field.data_type().clone());
        match kind {
            Some(DataType::Timestamp(TimeUnit::Millisecond, _)) => {
                Ok(Self { event_time: Some(event_time), ..Self::new(rows) })
            }
            other => Err(Error::internal(format!(
                "event-time column {event_time} must be Timestamp(Millisecond), found {other:?}"
            ))),
        }
    }

    /// How many rows.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// True for a batch without rows.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// The schema of the columns.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Bytes of memory behind the columns, an estimate used for queue limits and metrics. Slices count their
    /// share, so that a cut batch is not counted whole in each piece.
    pub fn num_bytes(&self) -> usize {
        self.rows.columns().iter().map(column_bytes).sum::<usize>()
            + self.num_rows() * (usize::from(self.changes.is_some()) + 8 * usize::from(self.clocks.is_some()))
    }

    /// The event times in milliseconds since 1970, one a row.
    pub fn event_times_ms(&self) -> Option<&[i64]> {
        let column = self.rows.columns().get(self.event_time?)?;
        let times = column.as_primitive_opt::<TimestampMillisecondType>()?;
        Some(times.values())
    }

    /// The same rows with other columns (a projection). `event_time` names the time column among the new ones.
    #[must_use]
    pub fn with_columns(self, rows: RecordBatch, event_time: Option<usize>) -> Self {
        debug_assert_eq!(rows.num_rows(), self.num_rows());
        Self { rows, event_time, ..self }
    }

    /// The same rows without their columns, only with what the engine knows of each row.
    #[must_use]
    pub fn with_columns_none(&self) -> Self {
        let empty = std::sync::Arc::new(arrow_schema::Schema::empty());
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(self.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&empty), Vec::new(), &options)
            .unwrap_or_else(|_| RecordBatch::new_empty(empty));
        Self { rows, event_time: None, changes: self.changes.clone(), clocks: self.clocks.clone(), ..*self }
    }

    /// The rows where `mask` is true (null counts as false).
    ///
    /// # Errors
    /// If `mask` has another length.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let mut builder = FilterBuilder::new(mask);
        if self.rows.num_columns() > 1 {
            builder = builder.optimize();
        }
        let predicate = builder.build();
        let rows = predicate.filter_record_batch(&self.rows)?;
        let changes = self.changes.as_ref().map(|kinds| {
            kinds
                .iter()
                .zip(mask.iter())
                .filter(|(_, keep)| keep.unwrap_or(false))
                .map(|(kind, _)| *kind)
                .collect()
        });
        let clocks = match &self.clocks {
            Some(clocks) => Some(filter(clocks, mask)?.as_primitive().clone()),
            None => None,
        };
        Ok(Self { rows, changes, clocks, ..self.clone_head() })
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    /// If an index is out of range.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let columns = self
            .rows
            .columns()
            .iter()
            .map(|column| take(column, indices, None))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = record_batch(self.rows.schema(), columns, indices.len())?;
        let changes = self
            .changes
            .as_ref()
            .map(|kinds| indices.values().iter().map(|index| kinds[*index as usize]).collect());
        let clocks = match &self.clocks {
            Some(clocks) => Some(take(clocks, indices, None)?.as_primitive().clone()),
            None => None,
        };
        Ok(Self { rows, changes, clocks, ..self.clone_head() })
    }

    /// Rows `offset .. offset + len`, sharing memory.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, len),
            changes: self.changes.as_ref().map(|kinds| kinds[offset..offset + len].into()),
            clocks: self.clocks.as_ref().map(|clocks| clocks.slice(offset, len)),
            ..self.clone_head()
        }
    }

    /// One batch out of several of the same stream, in order. The oldest stamp and lowest time bound win.
    ///
    /// # Errors
    /// If schemas differ.
    pub fn concat(batches: &[Batch]) -> Result<Self> {
        let Some(first) = batches.first() else {
            return Err(Error::internal("nothing to concatenate"));
        };
        if batches.len() == 1 {
            return Ok(first.clone());
        }
        let schema = first.rows.schema();
        let rows = concat_batches(&schema, batches.iter().map(|batch| &batch.rows))?;
        let changes = batches.iter().any(|batch| batch.changes.is_some()).then(|| {
            let mut kinds = Vec::with_capacity(rows.num_rows());
            for batch in batches {
                match &batch.changes {
                    Some(own) => kinds.extend_from_slice(own),
                    None => kinds.resize(kinds.len() + batch.num_rows(), ChangeKind::Insert),
                }
            }
            kinds.into()
        });
        let clocks = if batches.iter().all(|batch| batch.clocks.is_some()) {
            let parts: Vec<&dyn Array> = batches
                .iter()
                .filter_map(|batch| batch.clocks.as_ref().map(|clocks| clocks as &dyn Array))
                .collect();
            Some(concat(&parts)?.as_primitive().clone())
        } else {
            None
        };
        Ok(Self {
            rows,
            changes,
            clocks,
            time_min_ms: batches.iter().map(|batch| batch.time_min_ms).min().unwrap_or(i64::MIN),
            ingested_ns: batches
                .iter()
                .map(|batch| batch.ingested_ns)
                .filter(|ns| *ns > 0)
                .min()
                .unwrap_or(0),
            ..first.clone_head()
        })
    }

    /// Everything that is one for the batch; side columns are left out and must be set by the caller.
    fn clone_head(&self) -> Self {
        Self {
            rows: self.rows.clone(),
            event_time: self.event_time,
            changes: None,
            clocks: None,
            time_min_ms: self.time_min_ms,
            partition: self.partition,
            ingested_ns: self.ingested_ns,
        }
    }
}

/// A record batch that may have no columns (`SELECT` of constants, `COUNT(*)`), with its row count kept.
///
/// # Errors
/// If columns and schema do not fit.
pub fn record_batch(schema: SchemaRef, columns: Vec<ArrayRef>, num_rows: usize) -> Result<RecordBatch> {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(num_rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| Error::internal(format!("columns do not fit their schema: {error}")))
}

/// Bytes of one column's share of its buffers.
fn column_bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8 => {
            let strings = column.as_string::<i32>();
            let offsets = strings.value_offsets();
            let span = offsets.last().copied().unwrap_or(0) - offsets.first().copied().unwrap_or(0);
            span as usize + 4 * column.len()
        }
        DataType::Utf8View | DataType::BinaryView => column.get_buffer_memory_size(),
        DataType::Struct(_) => column.as_struct().columns().iter().map(column_bytes).sum(),
        kind => match kind.primitive_width() {
            Some(width) => width * column.len(),
            None if *kind == DataType::Boolean => column.len().div_ceil(8),
            None => {
                column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{StringArray, TimestampMillisecondArray};
    use arrow_schema::{Field, Schema};

    fn batch(times: &[i64]) -> Batch {
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ]));
        let names: StringArray = times.iter().map(|time| Some(format!("n{time}"))).collect();
        let rows = RecordBatch::try_new(
            schema,
            vec![Arc::new(names), Arc::new(TimestampMillisecondArray::from(times.to_vec()))],
        )
        .unwrap();
        Batch::with_event_time(rows, 1).unwrap()
    }

    #[test]
    fn side_columns_follow_the_rows() {
        let mut whole = batch(&[1, 2, 3, 4]);
        whole.changes = Some(
            [ChangeKind::Insert, ChangeKind::Delete, ChangeKind::UpdateBefore, ChangeKind::Insert].into(),
        );
        whole.clocks = Some(Int64Array::from(vec![10, 20, 30, 40]));
        let odd = whole.filter(&BooleanArray::from(vec![true, false, true, false])).unwrap();
        assert_eq!(odd.event_times_ms(), Some(&[1_i64, 3][..]));
        assert_eq!(odd.changes.as_deref(), Some(&[ChangeKind::Insert, ChangeKind::UpdateBefore][..]));
        assert_eq!(odd.clocks.as_ref().unwrap().values(), &[10, 30]);
        let taken = whole.take(&UInt32Array::from(vec![3, 1])).unwrap();
        assert_eq!(taken.event_times_ms(), Some(&[4_i64, 2][..]));
        assert_eq!(taken.clocks.as_ref().unwrap().values(), &[40, 20]);
        let joined = Batch::concat(&[odd, taken]).unwrap();
        assert_eq!(joined.event_times_ms(), Some(&[1_i64, 3, 4, 2][..]));
        assert_eq!(joined.clocks.as_ref().unwrap().values(), &[10, 30, 40, 20]);
        let piece = joined.slice(1, 2);
        assert_eq!(piece.event_times_ms(), Some(&[3_i64, 4][..]));
        assert_eq!(piece.clocks.as_ref().unwrap().values(), &[30, 40]);
    }

    #[test]
    fn pieces_share_the_bytes_of_the_whole() {
        let whole = batch(&[1, 2, 3, 4]);
        assert_eq!(whole.slice(0, 2).num_bytes() + whole.slice(2, 2).num_bytes(), whole.num_bytes());
    }

    #[test]
    fn event_time_must_be_a_millisecond_timestamp() {
        assert!(Batch::with_event_time(batch(&[1]).rows, 0).is_err());
        assert!(Batch::with_event_time(batch(&[1]).rows, 9).is_err());
    }
}
