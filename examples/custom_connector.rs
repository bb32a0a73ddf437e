//! A connector of one's own, to copy: `'connector' = 'ramp'` counts up at a rate, as a sensor behind a driver would
//! deliver; `'connector' = 'shout'` is the smallest sink.
//!
//!     cargo run --example custom_connector
//!
//! A connector reads a table's options once, into a provider; the provider makes the instances that run on workers.

use std::sync::Arc;
use std::time::Duration;

use millstream::Pipeline;
use millstream::arrow::array::{ArrayRef, Int64Array};
use millstream::arrow::schema::{DataType, SchemaRef};
use millstream::engine::batch::record_batch;
use millstream::engine::options::OptionSpec;
use millstream::engine::{
    Batch, Connector, Error, Output, Result, Sink, SinkProvider, Source, SourcePoll, SourceProvider, Table,
};

/// The source.
pub struct Ramp;

impl Connector for Ramp {
    fn name(&self) -> &'static str {
        "ramp"
    }
    fn help(&self) -> &'static str {
        "Counts from 1 to 'until'."
    }
    /// What is declared here is checked, and listed when a user mistypes it.
    fn options(&self) -> Vec<OptionSpec> {
        vec![OptionSpec::new("until", "integer", "100", "The last number.")]
    }
    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        if table.schema.fields().iter().any(|field| field.data_type() != &DataType::Int64) {
            return Err(Error::config("'ramp' has BIGINT columns only").at(table.options.owner()));
        }
        Ok(Arc::new(RampTable { until: table.options.parse("until", "a whole number")?.unwrap_or(100) }))
    }
}

struct RampTable {
    until: i64,
}

impl SourceProvider for RampTable {
    fn is_bounded(&self) -> bool {
        true
    }
    /// `schema` has the columns that the query reads, which may be fewer than the table's, and none for `SELECT 1`.
    fn create(&self, schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        Ok(Box::new(RampInstance { schema, next: 1, until: self.until }))
    }
}

struct RampInstance {
    schema: SchemaRef,
    next: i64,
    until: i64,
}

impl Source for RampInstance {
    /// Emits what is there and never waits: between readings the worker does other things.
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        if self.next > self.until {
            return Ok(SourcePoll::Finished);
        }
        let reading = Arc::new(Int64Array::from(vec![self.next])) as ArrayRef;
        let columns = vec![reading; self.schema.fields().len()];
        out.emit(Batch::new(record_batch(Arc::clone(&self.schema), columns, 1)?))?;
        self.next += 1;
        Ok(SourcePoll::Sleep(Duration::from_millis(1)))
    }
}

#[derive(Clone)]
struct Shout;

impl Connector for Shout {
    fn name(&self) -> &'static str {
        "shout"
    }
    fn help(&self) -> &'static str {
        "Says each batch aloud."
    }
    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }
    fn sink(&self, _table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Ok(Arc::new(Self))
    }
}

impl SinkProvider for Shout {
    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Self))
    }
}

impl Sink for Shout {
    fn write(&mut self, batch: Batch) -> Result<()> {
        println!("{:?}", batch.rows.column(0));
        Ok(())
    }
}

/// Runs a query between the two.
pub fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .connector(Arc::new(Ramp))
        .connector(Arc::new(Shout))
        .sql(
            "CREATE TABLE sensor (n BIGINT) WITH ('connector' = 'ramp', 'until' = '50');
             CREATE TABLE speaker (n BIGINT) WITH ('connector' = 'shout');
             INSERT INTO speaker SELECT n FROM sensor WHERE MOD(n, 10) = 0;",
        )
        .start()?;
    pipeline.wait()?;
    let said: u64 = pipeline
        .metrics()
        .iter()
        .filter(|part| part.operator == "speaker")
        .map(|part| part.rows_in.get())
        .sum();
    assert_eq!(said, 5);
    Ok(())
}
