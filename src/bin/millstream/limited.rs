//! `SELECT … LIMIT n` alone: when its rows are there, the command is done, though its sources would go on for ever.
//!
//! Around the sink of the query's rows. The end is told as a closed output, which ends a pipeline well (runner.rs); a text
//! that writes tables as well, or has several queries, goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream::engine::{Batch, Error, Result, Sink, SinkProvider};
use millstream::sql::ResultSinks;

use crate::tapped::Tapped;

/// Makes `results` end the pipeline behind the last row of a limited query, once `is_alone` says that it is all there is.
pub fn results(results: ResultSinks, is_alone: Arc<AtomicBool>) -> ResultSinks {
    Arc::new(move |query| {
        let inner = results(query);
        match query.rows_max {
            None => inner,
            Some(rows_max) => Arc::new(Limited { inner, rows_max, is_alone: Arc::clone(&is_alone) }),
        }
    })
}

struct Limited {
    inner: Arc<dyn SinkProvider>,
    rows_max: usize,
    is_alone: Arc<AtomicBool>,
}

impl SinkProvider for Limited {
    fn accepts_updates(&self) -> bool {
        self.inner.accepts_updates()
    }

    fn create(&self, instance: usize, parallelism: usize) -> Result<Box<dyn Sink>> {
        let inner = self.inner.create(instance, parallelism)?;
        // Rows that are still to come; none where the pipeline goes on behind the last.
        let mut left = self.is_alone.load(Ordering::Acquire).then_some(self.rows_max);
        let write = move |inner: &mut dyn Sink, batch: Batch| {
            let rows = batch.num_rows();
            inner.write(batch)?;
            let Some(left) = &mut left else { return Ok(()) };
            *left = left.saturating_sub(rows);
            if *left > 0 {
                return Ok(());
            }
            inner.on_quiet()?;
            Err(Error::closed("all rows of the query are there"))
        };
        Ok(Box::new(Tapped { inner, write }))
    }
}
