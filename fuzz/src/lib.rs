//! What the fuzz targets share. scripts/fuzz builds them with coverage of our own crates and runs each for a while; what
//! they look for is a panic, an overflow, a stack or memory without bound. A finding becomes a test beside the code.

use std::sync::Arc;

use millstream::arrow::schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use millstream::connectors::format::{PayloadDecoder, PayloadOptions};
use millstream::engine::dead_letter::OnError;
use millstream::engine::metrics::OperatorMetrics;
use millstream::engine::options::Options;
use millstream::engine::{ManualClock, dead_letter};
use millstream::sql::{CompileOptions, compile};

/// Columns of every kind that formats fill.
fn schema() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Int64, true),
        Field::new("c", DataType::Float64, true),
        Field::new("d", DataType::Boolean, true),
        Field::new("e", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("f", DataType::Struct(inner), true),
        Field::new("g", DataType::List(item), true),
        Field::new("h", DataType::Binary, true),
        Field::new("i", DataType::Decimal128(10, 2), true),
    ]))
}

/// Decodes `data` in a format: as one payload, and cut at each zero byte into several. Every payload must become rows or
/// an error.
pub fn decode(pairs: &[(&str, &str)], data: &[u8]) {
    let values = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = Options::new("table fuzz", values);
    let registry = millstream::connectors::registry();
    let Ok(codec) = registry.formats().codec(&options, "format", None, &schema()) else {
        panic!("the target's own options are wrong");
    };
    let Ok(payload) = PayloadOptions::from_options(&options) else { panic!("wrong payload options") };
    let Ok(mut decoder) = PayloadDecoder::new(schema(), codec.as_ref(), &payload) else {
        panic!("the format does not take the columns")
    };
    let metrics = OperatorMetrics::new("fuzz", "source", 0);
    let errors = dead_letter::RowErrors::new(OnError::Skip, Arc::default(), metrics, ManualClock::at(0));
    for payloads in [vec![data], data.split(|byte| *byte == 0).collect()] {
        for payload in payloads {
            let _ = decoder.push(payload, &errors);
        }
        let Ok(decoded) = decoder.flush(&errors) else { panic!("a bad payload ended the decoding") };
        assert!(decoded.payload_of.is_none_or(|numbers| numbers.len() == decoded.rows.num_rows()));
    }
}

/// Compiles `data` as SQL.
pub fn sql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Compiling reads no environment and starts nothing.
    let options = CompileOptions { variables: Arc::new(|_| None), ..CompileOptions::default() };
    let _ = compile(text, &millstream::connectors::registry(), &options);
}
