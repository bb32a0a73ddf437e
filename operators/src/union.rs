//! `UNION ALL`: the rows of all inputs, as they come. The gate in front merges watermarks and aligns barriers.
//!
//! Where one of the inputs updates, rows of the others get their change kind here, so that behind it every row has one.

use millstream_engine::{Batch, ChangeKind, Operator, Output, Result};

/// Passes the rows of every input on.
#[derive(Debug, Default)]
pub struct Union {
    updates: bool,
}

impl Union {
    /// A union; with `updates` every batch that leaves has change kinds.
    pub fn new(updates: bool) -> Self {
        Self { updates }
    }
}

impl Operator for Union {
    fn process(&mut self, _port: usize, mut batch: Batch, out: &mut Output<'_>) -> Result<()> {
        if self.updates && batch.changes.is_none() {
            batch.changes = Some(vec![ChangeKind::Insert; batch.num_rows()].into());
        }
        out.emit(batch)
    }
}
