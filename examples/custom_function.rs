//! Functions of one's own in SQL: a scalar one, the dew point of air, and an aggregate, the median of a window.
//!
//!     cargo run --example custom_function
//!
//! A scalar function works on whole columns. An aggregate says what it remembers of one group; the engine keeps that
//! for every key and window, and carries it through exchanges and checkpoints.

use std::sync::Arc;

use millstream::Pipeline;
use millstream::arrow::array::{Array, ArrayRef, Float64Array};
use millstream::arrow::schema::DataType;
use millstream::engine::{Error, Result};
use millstream::operators::{Accumulator, AggregateFunction, GroupState, PerGroup};
use millstream::sql::ScalarFunction;

struct DewPoint;

impl ScalarFunction for DewPoint {
    fn name(&self) -> &str {
        "DEW_POINT"
    }
    fn about(&self) -> &str {
        "The temperature in °C at which air of a temperature and relative humidity gives off water (Magnus)."
    }
    /// Whatever numbers come: they are cast to DOUBLE before they are seen.
    fn arguments(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [t, humidity] if t.is_numeric() && humidity.is_numeric() => Ok(vec![DataType::Float64; 2]),
            _ => Err(Error::config("DEW_POINT takes a temperature and a relative humidity, two numbers")),
        }
    }
    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }
    fn evaluate(&self, arguments: &[ArrayRef], _rows: usize) -> Result<ArrayRef> {
        let (celsius, humidity) = (doubles(&arguments[0])?, doubles(&arguments[1])?);
        let dew_point = |(t, humidity): (Option<f64>, Option<f64>)| {
            let (t, humidity) = (t?, humidity?);
            let x = (humidity / 100.0).ln() + 17.625 * t / (243.04 + t);
            (humidity > 0.0).then(|| 243.04 * x / (17.625 - x))
        };
        Ok(Arc::new(celsius.iter().zip(humidity).map(dew_point).collect::<Float64Array>()))
    }
}

fn doubles(column: &ArrayRef) -> Result<&Float64Array> {
    column.as_any().downcast_ref().ok_or_else(|| Error::internal("a DOUBLE was asked for"))
}

struct Median;

impl AggregateFunction for Median {
    fn name(&self) -> &str {
        "MEDIAN"
    }
    fn return_type(&self, argument: &DataType) -> Result<DataType> {
        match argument.is_numeric() {
            true => Ok(DataType::Float64),
            false => Err(Error::config("MEDIAN takes a number")),
        }
    }
    fn accumulator(&self, _argument: &DataType) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(PerGroup::new(Values::default(), Some(DataType::Float64))))
    }
}

/// All values of one group and window; a window is bounded, and so is this.
#[derive(Clone, Default)]
struct Values(Vec<f64>);

impl GroupState for Values {
    fn update(&mut self, column: &ArrayRef, row: usize) {
        self.0.extend(doubles(column).map(|column| column.value(row)));
    }
    fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
    fn save(&self, bytes: &mut Vec<u8>) {
        self.0.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    }
    fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let (values, []) = bytes.as_chunks::<8>() else {
            return Err(Error::state("the state of MEDIAN is cut short"));
        };
        self.0 = values.iter().map(|value| f64::from_le_bytes(*value)).collect();
        Ok(())
    }
    fn results<'a>(states: impl ExactSizeIterator<Item = &'a Self>) -> Result<ArrayRef> {
        let median = |state: &Self| {
            let mut values = state.0.clone();
            let (_, middle, _) = match values.len() {
                0 => return None,
                length => values.select_nth_unstable_by((length - 1) / 2, f64::total_cmp),
            };
            Some(*middle)
        };
        Ok(Arc::new(states.map(median).collect::<Float64Array>()))
    }
}

/// Runs a query that calls both.
pub fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut builder = Pipeline::builder()
        .workers(1)
        .scalar_function(Arc::new(DewPoint))
        .aggregate_function(Arc::new(Median))
        .sql(
            "CREATE TABLE air (seconds INT, celsius DOUBLE, humidity INT, ts AS TO_TIMESTAMP_LTZ(seconds, 0),
                 WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'number-of-rows' = '60', 'seed' = '7',
                 'fields.seconds.kind' = 'sequence', 'fields.seconds.start' = '0', 'fields.seconds.end' = '59',
                 'fields.celsius.min' = '20', 'fields.celsius.max' = '24',
                 'fields.humidity.min' = '40', 'fields.humidity.max' = '60');
             SELECT window_end, MEDIAN(DEW_POINT(celsius, humidity)) AS dew_point
             FROM TABLE(TUMBLE(TABLE air, DESCRIPTOR(ts), INTERVAL '20' SECOND))
             GROUP BY window_start, window_end;",
        );
    let results = builder.result();
    let pipeline = builder.start()?;
    let mut windows = 0;
    while let Some(batch) = results.recv() {
        let dew_points = doubles(batch.rows.column(1))?;
        for dew_point in dew_points.iter().flatten() {
            println!("dew point {dew_point:.1} °C");
            assert!((5.0..17.0).contains(&dew_point));
            windows += 1;
        }
    }
    pipeline.wait()?;
    assert_eq!(windows, 3);
    Ok(())
}
