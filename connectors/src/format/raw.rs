//! The `raw` format, as Flink's: a payload is one value. STRING and BYTES take it as it is, numbers their bytes in
//! 'raw.endianness', BOOLEAN one byte that is not 0 for true.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use millstream_engine::batch::record_batch;
use millstream_engine::format::{Encoded, Payloads};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Batch, Codec, Decoded, Decoder, Encoder, Error, Format, Result};

use super::columns::RowBuilder;
use super::convert::Scalar;

/// `'format' = 'raw'`.
#[derive(Debug)]
pub struct Raw;

impl Format for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn help(&self) -> &'static str {
        "A payload as it is, in the one column there is."
    }

    fn options(&self) -> Vec<OptionSpec> {
        vec![
            OptionSpec::new("raw.charset", "UTF-8", "UTF-8", "What STRINGs are written in."),
            OptionSpec::new(
                "raw.endianness",
                "big-endian | little-endian",
                "big-endian",
                "Order of a number's bytes.",
            ),
        ]
    }

    fn codec(&self, options: &Options, columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        options.choice("raw.charset", &[("utf-8", ())])?;
        let orders = [("big-endian", false), ("little-endian", true)];
        let little = options.choice("raw.endianness", &orders)?.unwrap_or(false);
        let wrong = |what: String| {
            Err(Error::config(what)
                .at(options.owner())
                .remedy("'raw' fills one column: STRING, BYTES, BOOLEAN or a number; take others from METADATA or the topic"))
        };
        match columns.fields().as_ref() {
            [one] if width(one.data_type()).is_some() => {
                let is_text = *one.data_type() == DataType::Utf8;
                Ok(Arc::new(RawCodec { little, is_text }))
            }
            [one] => wrong(format!("'raw' does not fill the column '{}' of this type", one.name())),
            all => wrong(format!("'raw' fills one column, the payload has {}", all.len())),
        }
    }
}

/// Bytes of a value; 0 for any number of them.
fn width(kind: &DataType) -> Option<usize> {
    match kind {
        DataType::Utf8 | DataType::Binary => Some(0),
        DataType::Boolean | DataType::Int8 => Some(1),
        DataType::Int16 => Some(2),
        DataType::Int32 | DataType::Float32 => Some(4),
        DataType::Int64 | DataType::Float64 => Some(8),
        _ => None,
    }
}

struct RawCodec {
    little: bool,
    is_text: bool,
}

impl Codec for RawCodec {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        let rows = RowBuilder::new(schema.fields())?;
        Ok(Box::new(RawDecoder { little: self.little, schema, rows }))
    }

    fn encoder(&self, _schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(RawEncoder { little: self.little, out: Encoded::default() }))
    }

    /// Text stands in files line by line; other values may hold the byte that ends a line.
    fn is_lines(&self) -> bool {
        self.is_text
    }
}

struct RawDecoder {
    little: bool,
    /// One column, or none when the query does not want it.
    schema: SchemaRef,
    rows: RowBuilder,
}

impl RawDecoder {
    fn value<'a>(&self, kind: &DataType, payload: &'a [u8]) -> Result<Scalar<'a>> {
        let width = width(kind).unwrap_or(0);
        if width > 0 && payload.len() != width {
            return Err(Error::data(format!("{} bytes, where {width} are expected", payload.len())));
        }
        let mut bytes = [0; 8];
        if width > 0 {
            bytes[..width].copy_from_slice(payload);
            // From here on the first byte is the lowest.
            if !self.little {
                bytes[..width].reverse();
            }
        }
        let number = u64::from_le_bytes(bytes);
        Ok(match kind {
            DataType::Utf8 => match std::str::from_utf8(payload) {
                Ok(text) => Scalar::Text(text),
                Err(_) => return Err(Error::data("the payload is not valid UTF-8")),
            },
            DataType::Binary => Scalar::Bytes(payload),
            DataType::Boolean => Scalar::Bool(number != 0),
            DataType::Int8 => Scalar::Int(i64::from(number as i8)),
            DataType::Int16 => Scalar::Int(i64::from(number as i16)),
            DataType::Int32 => Scalar::Int(i64::from(number as i32)),
            DataType::Float32 => Scalar::Float(f64::from(f32::from_bits(number as u32))),
            DataType::Float64 => Scalar::Float(f64::from_bits(number)),
            _ => Scalar::Int(number as i64),
        })
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let Some(field) = self.schema.fields().first().cloned() else {
            let rows: RecordBatch = record_batch(Arc::clone(&self.schema), Vec::new(), payloads.len())?;
            return Ok(Decoded::one_each(rows));
        };
        let (mut payload_of, mut rejected) = (Vec::with_capacity(payloads.len()), Vec::new());
        for (number, payload) in (0_u32..).zip(payloads.iter()) {
            let appended =
                self.value(field.data_type(), payload).and_then(|value| self.rows.column(0).scalar(value));
            match appended {
                Ok(()) => {
                    self.rows.end();
                    payload_of.push(number);
                }
                Err(error) => rejected.push((number, error)),
            }
        }
        let is_one_each = rejected.is_empty();
        let rows = self.rows.finish(&self.schema)?;
        Ok(Decoded { rows, payload_of: (!is_one_each).then_some(payload_of), rejected })
    }
}

struct RawEncoder {
    little: bool,
    out: Encoded,
}

impl Encoder for RawEncoder {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.out.clear();
        let column = batch.rows.column(0);
        let out = &mut self.out;
        macro_rules! number {
            ($kind:ty) => {{
                let values = column.as_primitive::<$kind>();
                for row in 0..values.len() {
                    if values.is_valid(row) {
                        let value = values.value(row);
                        let bytes = if self.little { value.to_le_bytes() } else { value.to_be_bytes() };
                        out.bytes.extend_from_slice(&bytes);
                    }
                    out.end_row();
                }
            }};
        }
        match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().iter().for_each(|text| {
                out.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
                out.end_row();
            }),
            DataType::Binary => column.as_binary::<i32>().iter().for_each(|bytes| {
                out.bytes.extend_from_slice(bytes.unwrap_or_default());
                out.end_row();
            }),
            DataType::Boolean => column.as_boolean().iter().for_each(|value| {
                out.bytes.extend(value.map(u8::from));
                out.end_row();
            }),
            DataType::Int8 => number!(Int8Type),
            DataType::Int16 => number!(Int16Type),
            DataType::Int32 => number!(Int32Type),
            DataType::Int64 => number!(Int64Type),
            DataType::Float32 => number!(Float32Type),
            DataType::Float64 => number!(Float64Type),
            other => return Err(Error::internal(format!("'raw' does not write {other}"))),
        }
        Ok(())
    }

    fn encoded(&self) -> &Encoded {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{Field, Schema};

    use crate::format::payload::testing::decode;

    fn one(kind: DataType) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("v", kind, true)]))
    }

    #[test]
    fn a_payload_is_a_value_and_comes_back() {
        let cases: [(DataType, &str, &[u8]); 6] = [
            (DataType::Utf8, "big-endian", "é\n".as_bytes()),
            (DataType::Binary, "big-endian", b"\xff\x00"),
            (DataType::Int32, "big-endian", &[0, 0, 1, 2]),
            (DataType::Int16, "little-endian", &[0xfe, 0xff]),
            (DataType::Float64, "little-endian", &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f]),
            (DataType::Boolean, "big-endian", &[1]),
        ];
        for (kind, order, payload) in cases {
            let options = [("format", "raw"), ("raw.endianness", order)];
            let (rows, numbers, errors) = decode(one(kind.clone()), options, &[payload, payload]);
            assert_eq!((numbers, errors), (vec![0, 1], vec![]), "{kind}");
            let codec = Raw.codec(&Options::from_pairs("t", options), &rows.schema()).unwrap();
            let mut encoder = codec.encoder(rows.schema()).unwrap();
            encoder.encode(&Batch::new(rows)).unwrap();
            assert_eq!(encoder.encoded().rows().collect::<Vec<_>>(), [payload, payload], "{kind}");
        }
        let (rows, ..) = decode(
            one(DataType::Int16),
            [("format", "raw"), ("raw.endianness", "little-endian")],
            &[&[0xfe, 0xff]],
        );
        assert_eq!(rows.column(0).as_primitive::<Int16Type>().value(0), -2);
    }

    #[test]
    fn wrong_lengths_and_columns_are_named() {
        let (_, numbers, errors) = decode(one(DataType::Int32), [("format", "raw")], &[&[1], &[0, 0, 0, 1]]);
        assert!(numbers == [1] && errors[0].contains("1 bytes, where 4 are expected"), "{errors:?}");
        let two = Schema::new(["a", "b"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec());
        assert!(
            Raw.codec(&Options::default(), &Arc::new(two))
                .err()
                .unwrap()
                .to_string()
                .contains("the payload has 2")
        );
    }
}
