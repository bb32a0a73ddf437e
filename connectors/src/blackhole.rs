//! `blackhole`: takes every row and keeps none. For measuring, and for queries whose side effects are all that counts.

use std::sync::Arc;

use millstream_engine::options::OptionSpec;
use millstream_engine::{Batch, Connector, Result, Sink, SinkProvider, Table};

/// The connector.
pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }
    fn help(&self) -> &'static str {
        "Takes every row and keeps none."
    }
    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }
    fn sink(&self, _table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(Hole))
    }
}

struct Hole;

impl SinkProvider for Hole {
    fn parallelism(&self, workers: usize) -> usize {
        workers
    }
    fn accepts_updates(&self) -> bool {
        true
    }
    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Hole))
    }
}

impl Sink for Hole {
    fn write(&mut self, _batch: Batch) -> Result<()> {
        Ok(())
    }
}
