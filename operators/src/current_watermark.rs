//! `CURRENT_WATERMARK(ts)`: a column with the watermark that each row comes under.
//!
//! Invariant: it is that of the row's own clock just before the row, as the assigner stamped it, so that it does not
//! depend on where batches end; NULL where there has been none yet. Rows come from the assigner, with nothing between
//! but what keeps rows as they are, and go to the projection or filter that reads the column.

use std::sync::Arc;

use arrow_array::TimestampMillisecondArray;
use arrow_schema::SchemaRef;
use millstream_engine::batch::record_batch;
use millstream_engine::element::WATERMARK_MIN_MS;
use millstream_engine::{Batch, Operator, Output, Result};

/// See the module's page.
#[derive(Debug)]
pub struct CurrentWatermark {
    output: SchemaRef,
    event_time: Option<usize>,
}

impl CurrentWatermark {
    /// Adds the last column of `output`, a `Timestamp(Millisecond)`. `event_time` names the time column.
    pub fn new(output: SchemaRef, event_time: Option<usize>) -> Self {
        Self { output, event_time }
    }
}

impl Operator for CurrentWatermark {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let stream_ms = out.input_clock_ms();
        let shown = |time_ms: i64| (time_ms > WATERMARK_MIN_MS).then_some(time_ms);
        let watermarks: TimestampMillisecondArray = match &batch.clocks {
            Some(clocks) => clocks.values().iter().map(|clock| shown((*clock).max(stream_ms))).collect(),
            None => (0..batch.num_rows()).map(|_| shown(stream_ms)).collect(),
        };
        let kind = self.output.fields().last().map(|field| field.data_type().clone());
        let watermarks = match kind {
            Some(kind) => watermarks.with_data_type(kind),
            None => watermarks,
        };
        let mut columns = batch.rows.columns().to_vec();
        columns.push(Arc::new(watermarks));
        let rows = record_batch(Arc::clone(&self.output), columns, batch.num_rows())?;
        out.emit(batch.with_columns(rows, self.event_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow_array::cast::AsArray;
    use arrow_array::types::TimestampMillisecondType;
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema, TimeUnit};
    use millstream_engine::harness::{OperatorHarness, rows};

    #[test]
    fn each_row_has_its_own_clock_or_the_streams() {
        let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true);
        let input = Arc::new(Schema::new(vec![time("ts")]));
        let output = Arc::new(Schema::new(vec![time("ts"), time("w")]));
        let mut harness = OperatorHarness::new(Box::new(CurrentWatermark::new(output, Some(0)))).unwrap();
        let times = Arc::new(TimestampMillisecondArray::from(vec![10, 20, 15]));
        let mut batch = Batch::with_event_time(RecordBatch::try_new(input, vec![times]).unwrap(), 0).unwrap();
        let found = |batch: &Batch, harness: &mut OperatorHarness| {
            let emitted = rows(&harness.batch(batch.clone()).unwrap());
            let column = emitted[0].column(1).as_primitive::<TimestampMillisecondType>().clone();
            column.iter().collect::<Vec<_>>()
        };
        assert_eq!(found(&batch, &mut harness), [None, None, None]);
        batch.clocks = Some(Int64Array::from(vec![i64::MIN, 5, 5]));
        assert_eq!(found(&batch, &mut harness), [None, Some(5), Some(5)]);
        harness.watermark(12).unwrap();
        batch.clocks = None;
        assert_eq!(found(&batch, &mut harness), [Some(12), Some(12), Some(12)]);
    }
}
