//! `UNION ALL`: the rows of all inputs, as they come. The gate in front merges watermarks and aligns barriers.

use millstream_engine::{Batch, Operator, Output, Result};

/// Passes the rows of every input on.
#[derive(Debug, Default)]
pub struct Union;

impl Operator for Union {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        out.emit(batch)
    }
}
