//! Rows written in the text, as a source that gives them once.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Output, Result, Source, SourcePoll, SourceProvider};

/// The rows of a VALUES or of a SELECT without FROM.
pub(super) struct Values(pub RecordBatch);

impl SourceProvider for Values {
    fn is_bounded(&self) -> bool {
        true
    }

    fn create(&self, _schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        Ok(Box::new(Once { rows: Some(self.0.clone()) }))
    }

    fn describe(&self) -> String {
        format!("{} rows of the text", self.0.num_rows())
    }
}

struct Once {
    rows: Option<RecordBatch>,
}

impl Source for Once {
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        if let Some(rows) = self.rows.take() {
            out.emit(Batch::new(rows))?;
        }
        Ok(SourcePoll::Finished)
    }

    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        state.put_blob(vec![u8::from(self.rows.is_none())]);
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        if state.blobs().any(|done| done == [1]) {
            self.rows = None;
        }
        Ok(())
    }
}

/// Shared handle to the provider.
pub(super) fn provider(rows: RecordBatch) -> Arc<dyn SourceProvider> {
    Arc::new(Values(rows))
}
