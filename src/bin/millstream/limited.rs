//! `SELECT … LIMIT n` alone: when its rows are there, the command is done, though its sources would go on for ever.
//!
//! Around the sink of the query's rows. The end is told as a closed output, which ends a pipeline well (runner.rs); a text
//! that writes tables as well, or has several queries, goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream::engine::element::Epoch;
use millstream::engine::state::{StateReader, StateWriter};
use millstream::engine::{Batch, Error, InstanceContext, Ready, Result, Sink, SinkProvider};
use millstream::sql::ResultSinks;

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
        let left = self.is_alone.load(Ordering::Acquire).then_some(self.rows_max);
        Ok(Box::new(Counted { inner, left }))
    }
}

struct Counted {
    inner: Box<dyn Sink>,
    /// Rows that are still to come; none where the pipeline goes on behind the last.
    left: Option<usize>,
}

impl Sink for Counted {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.inner.open(context)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let rows = batch.num_rows();
        self.inner.write(batch)?;
        let Some(left) = &mut self.left else { return Ok(()) };
        *left = left.saturating_sub(rows);
        if *left > 0 {
            return Ok(());
        }
        self.inner.on_quiet()?;
        Err(Error::closed("all rows of the query are there"))
    }

    fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    fn on_watermark(&mut self, time_ms: i64) -> Result<()> {
        self.inner.on_watermark(time_ms)
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.inner.on_quiet()
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.inner.on_barrier(epoch, state)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        self.inner.on_checkpoint_complete(epoch)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.inner.restore(state)
    }

    fn finish(&mut self) -> Result<Ready> {
        self.inner.finish()
    }
}
