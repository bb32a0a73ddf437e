//! An operator of one's own in a graph wired by hand: it passes a device's reading on only when it differs from the
//! last one by more than a dead band, as field buses do it.
//!
//!     cargo run --example custom_operator
//!
//! An operator is a state machine that the engine calls; it never waits. With its input keyed, one instance sees all
//! rows of a device, in order, whatever the number of workers; its state is written by key group, so that it can be
//! restored into another number of instances.

use std::collections::HashMap;
use std::sync::Arc;

use millstream::Pipeline;
use millstream::arrow::array::{Array, BooleanArray, Float64Array, RecordBatch, StringArray};
use millstream::arrow::schema::{DataType, Field, Schema, SchemaRef};
use millstream::connectors::memory::{MemorySink, MemorySource};
use millstream::engine::keys::{KeyGroup, hash_bytes, key_group};
use millstream::engine::state::{StateReader, StateWriter};
use millstream::engine::{Batch, Error, Graph, Input, Operator, Output, Result};

struct DeadBand {
    width: f64,
    last: HashMap<String, f64>,
}

impl Operator for DeadBand {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut Output<'_>) -> Result<()> {
        let devices = batch.rows.column(0).as_any().downcast_ref::<StringArray>();
        let values = batch.rows.column(1).as_any().downcast_ref::<Float64Array>();
        let (Some(devices), Some(values)) = (devices, values) else {
            return Err(Error::config("the dead band reads a STRING and a DOUBLE"));
        };
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (device, value) = (devices.value(row), values.value(row));
            // Looked up with the borrowed name; only a new device is copied.
            let is_news = match self.last.get_mut(device) {
                Some(last) if (value - *last).abs() <= self.width => false,
                Some(last) => {
                    *last = value;
                    true
                }
                None => self.last.insert(device.to_owned(), value).is_none(),
            };
            keep.push(is_news);
        }
        out.emit(batch.filter(&BooleanArray::from(keep))?)
    }

    /// One entry a key group: devices with their last values.
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        let mut groups: HashMap<KeyGroup, Vec<u8>> = HashMap::new();
        for (device, value) in &self.last {
            let group = groups.entry(group_of(device)).or_default();
            group.extend_from_slice(&(device.len() as u32).to_le_bytes());
            group.extend_from_slice(device.as_bytes());
            group.extend_from_slice(&value.to_le_bytes());
        }
        groups.into_iter().for_each(|(group, bytes)| state.put_group(group, bytes));
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for (_, mut bytes) in state.groups() {
            while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                let cut = || Error::state("the dead band's state is cut short");
                let (device, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
                let (value, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
                self.last.insert(String::from_utf8_lossy(device).into_owned(), f64::from_le_bytes(*value));
                bytes = rest;
            }
        }
        Ok(())
    }
}

/// The key group that a keyed exchange on the device's column sends it to.
fn group_of(device: &str) -> KeyGroup {
    key_group(hash_bytes(device.as_bytes()))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device", DataType::Utf8, false),
        Field::new("value", DataType::Float64, false),
    ]))
}

/// Ten devices, of which each moves a little with each reading and much with every tenth.
fn readings() -> Result<Vec<RecordBatch>> {
    let batch = |tick: i32| {
        let devices: Vec<String> = (0..10).map(|device| format!("d{device}")).collect();
        let value = |device: i32| f64::from(tick / 10 * 5) + f64::from((tick + device) % 3) * 0.1;
        let values: Vec<f64> = (0..10).map(value).collect();
        let columns: Vec<Arc<dyn Array>> =
            vec![Arc::new(StringArray::from(devices)), Arc::new(Float64Array::from(values))];
        Ok(RecordBatch::try_new(schema(), columns)?)
    };
    (0..100).map(batch).collect()
}

/// Wires source, operator and sink, and counts what comes out.
pub fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut graph = Graph::new();
    let source =
        graph.source("readings", "", Arc::new(MemorySource::bounded(schema(), readings()?, 1)), schema());
    let band = Arc::new(|| Ok(Box::new(DeadBand { width: 0.5, last: HashMap::new() }) as Box<dyn Operator>));
    let news = graph.operator("dead band", "dead band", "0.5", vec![Input::keyed(source, vec![0])], band);
    let (sink, received) = MemorySink::channel(1 << 20);
    graph.sink("news", "", Arc::new(sink), Input::gather(news));

    let pipeline = Pipeline::builder().workers(2).graph(graph).start()?;
    let mut rows = 0;
    while let Some(batch) = received.recv() {
        rows += batch.num_rows();
    }
    pipeline.wait()?;
    println!("{rows} of 1000 readings were news");
    assert_eq!(rows, 100);
    Ok(())
}
