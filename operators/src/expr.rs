//! What operators evaluate: an expression turns a batch's columns into one column of the same length.
//!
//! sql/ implements [`Expression`] over DataFusion's physical expressions; programs that wire operators themselves may
//! implement their own. [`Column`] is the one that needs no evaluation.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use millstream_engine::{Error, Result};

/// A column computed from others.
pub trait Expression: Send + Sync + Debug {
    /// One value a row of `rows`.
    ///
    /// # Errors
    /// If a row's values cannot be computed (a cast that fails, say).
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef>;

    /// True when evaluating costs nothing: a column, or a field of one. Such columns are taken before a filter, so
    /// that only what is needed of them is copied.
    fn is_access(&self) -> bool {
        false
    }

    /// Indices of the columns it reads; `None` for all.
    fn columns_used(&self) -> Option<Vec<usize>> {
        None
    }
}

/// Shared handle to an expression.
pub type ExpressionRef = Arc<dyn Expression>;

/// A column as it is.
#[derive(Debug, Clone, Copy)]
pub struct Column(pub usize);

impl Expression for Column {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let column = rows.columns().get(self.0);
        column.cloned().ok_or_else(|| Error::internal(format!("there is no column {}", self.0)))
    }

    fn is_access(&self) -> bool {
        true
    }

    fn columns_used(&self) -> Option<Vec<usize>> {
        Some(vec![self.0])
    }
}
