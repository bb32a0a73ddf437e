//! For tests: what a stream of changes comes to, as a table of rows in text.

use std::collections::BTreeMap;

use millstream_engine::harness::Emitted;
use millstream_engine::{Batch, ChangeKind};

use crate::row_text::row_text;

/// Rows and how often each holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Folded(pub BTreeMap<String, i64>);

impl Folded {
    /// Applies what came out of an operator. A row that is taken back must be there.
    pub fn apply(&mut self, emitted: &[Emitted]) {
        for item in emitted {
            if let Emitted::Rows(batch) = item {
                self.batch(batch);
            }
        }
    }

    /// Applies a batch.
    pub fn batch(&mut self, batch: &Batch) {
        for row in 0..batch.num_rows() {
            let kind = batch.changes.as_ref().map_or(ChangeKind::Insert, |kinds| kinds[row]);
            let text = row_text(&batch.rows, row);
            let times = self.0.entry(text.clone()).or_default();
            *times += if kind.takes_back() { -1 } else { 1 };
            assert!(*times >= 0, "{} of a row that is not there: {text}", kind.short_name());
            if *times == 0 {
                self.0.remove(&text);
            }
        }
    }
}
