//! A function that gives rows: a LoRaWAN frame in Cayenne's Low Power Payload becomes one row for each reading in it.
//!
//!     cargo run --example table_function
//!
//! It is a scalar function whose result is an ARRAY. SQL makes rows of that with `LATERAL TABLE(f(x)) AS t (a, b, …)`, a row
//! for each item and a column for each field of an item that is a ROW, with the columns of the row that was given beside it.

use std::sync::Arc;

use millstream::Pipeline;
use millstream::arrow::array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int32Array, ListArray, StringArray, StructArray,
};
use millstream::arrow::buffer::{NullBuffer, OffsetBuffer};
use millstream::arrow::schema::{DataType, Field, Fields};
use millstream::engine::{Error, Result};
use millstream::sql::ScalarFunction;

/// `CAYENNE_LPP(payload)`: `ARRAY<ROW<channel INT, kind STRING, v DOUBLE>>`; NULL for a frame that is cut off or has a kind
/// of reading that is not known, since where the next begins is not known then either.
struct CayenneLpp;

impl CayenneLpp {
    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("channel", DataType::Int32, true),
            Field::new("kind", DataType::Utf8, true),
            Field::new("v", DataType::Float64, true),
        ])
    }

    fn item() -> Arc<Field> {
        Arc::new(Field::new_list_field(DataType::Struct(Self::fields()), true))
    }
}

/// Channel, kind and value of each reading.
fn readings(mut frame: &[u8]) -> Option<Vec<(u8, &'static str, f64)>> {
    let mut readings = Vec::new();
    while let [channel, kind, rest @ ..] = frame {
        let (kind, v, behind) = match (kind, rest) {
            (0x67, [high, low, behind @ ..]) => {
                ("temperature", f64::from(i16::from_be_bytes([*high, *low])) / 10.0, behind)
            }
            (0x68, [half_percent, behind @ ..]) => ("humidity", f64::from(*half_percent) / 2.0, behind),
            (0x73, [high, low, behind @ ..]) => {
                ("pressure", f64::from(u16::from_be_bytes([*high, *low])) / 10.0, behind)
            }
            _ => return None,
        };
        readings.push((*channel, kind, v));
        frame = behind;
    }
    frame.is_empty().then_some(readings)
}

impl ScalarFunction for CayenneLpp {
    fn name(&self) -> &str {
        "CAYENNE_LPP"
    }
    fn about(&self) -> &str {
        "The readings of a frame in Cayenne's Low Power Payload: temperature, humidity, pressure."
    }
    fn arguments(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [DataType::Binary] => Ok(vec![DataType::Binary]),
            _ => Err(Error::config("CAYENNE_LPP takes a frame of BYTES")),
        }
    }
    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Self::item()))
    }
    fn evaluate(&self, arguments: &[ArrayRef], _rows: usize) -> Result<ArrayRef> {
        let frames: &BinaryArray =
            (arguments[0].as_any().downcast_ref()).ok_or_else(|| Error::internal("BYTES were asked for"))?;
        let frames: Vec<_> = frames.iter().map(|frame| readings(frame?)).collect();
        let all = || frames.iter().flatten().flatten();
        let channels = all().map(|(channel, ..)| i32::from(*channel)).collect::<Int32Array>();
        let kinds = all().map(|(_, kind, _)| Some(*kind)).collect::<StringArray>();
        let values = all().map(|(.., v)| *v).collect::<Float64Array>();
        let items = StructArray::new(
            Self::fields(),
            vec![Arc::new(channels), Arc::new(kinds), Arc::new(values)],
            None,
        );
        let lengths = frames.iter().map(|readings| readings.as_ref().map_or(0, Vec::len));
        Ok(Arc::new(ListArray::new(
            Self::item(),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(items),
            Some(NullBuffer::from_iter(frames.iter().map(Option::is_some))),
        )))
    }
}

/// Runs a query over frames of two devices; one of a third is cut off.
pub fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut builder = Pipeline::builder().workers(1).scalar_function(Arc::new(CayenneLpp)).sql(
        "SELECT device, channel, kind, v
         FROM (VALUES ('silo-1', UNHEX('0167011002688C')), ('silo-2', UNHEX('0167FFF5')), ('silo-3', UNHEX('0167')))
             AS frames (device, payload),
             LATERAL TABLE(CAYENNE_LPP(payload)) AS reading (channel, kind, v);",
    );
    let results = builder.result();
    let pipeline = builder.start()?;
    let mut values = Vec::new();
    while let Some(batch) = results.recv() {
        let column: &Float64Array = batch.rows.column(3).as_any().downcast_ref().ok_or("a DOUBLE")?;
        values.extend(column.iter().flatten());
    }
    pipeline.wait()?;
    println!("readings: {values:?}");
    assert_eq!(values, [27.2, 70.0, -1.1]);
    Ok(())
}
