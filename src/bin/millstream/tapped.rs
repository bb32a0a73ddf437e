//! A sink of the command's around the sink of a query's rows, which does something with them on their way (live.rs,
//! limited.rs). All else goes to the inner sink as it is.

use millstream::engine::element::Epoch;
use millstream::engine::state::{StateReader, StateWriter};
use millstream::engine::{Batch, InstanceContext, Ready, Result, Sink};

/// See the module's page. `write` is given the inner sink, which is to get the rows.
pub struct Tapped<W> {
    pub inner: Box<dyn Sink>,
    pub write: W,
}

impl<W: FnMut(&mut dyn Sink, Batch) -> Result<()> + Send> Sink for Tapped<W> {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.inner.open(context)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        (self.write)(self.inner.as_mut(), batch)
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
