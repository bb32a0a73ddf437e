//! The `avro` format: bare Avro values, one a payload, of a schema that is given or derived from the table (schema.rs).
//! decode.rs reads and encode.rs writes through arrow-avro, whose types conform.rs turns into the table's.
//! confluent.rs is `avro-confluent`, whose payloads name their schema by its number in a registry (schema_registry.rs).

mod confluent;
mod conform;
mod decode;
mod encode;
mod schema;
mod schema_registry;

pub use confluent::AvroConfluent;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Codec, Decoder, Encoder, Error, Format, Result};

use decode::{AvroDecoder, Reader};
use encode::AvroEncoder;

/// `'format' = 'avro'`.
#[derive(Debug)]
pub struct Avro;

const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "avro.schema",
    "text",
    "",
    "The schema of the payloads: JSON text or the path of a file of it; without it, it follows from the columns.",
)];

impl Format for Avro {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn help(&self) -> &'static str {
        "Avro: a record a payload, without its schema."
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn codec(&self, options: &Options, columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        let given = given_schema(options, "avro.schema")?;
        // Tables of which Avro has no form are refused when they are used, with the column's name.
        let derived = schema::derived(columns.fields());
        Ok(Arc::new(AvroCodec { given, derived }))
    }
}

/// The schema that option `key` gives, as text or by the path of its file.
fn given_schema(options: &Options, key: &str) -> Result<Option<String>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    let json = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        std::fs::read_to_string(text).map_err(|error| {
            Error::config(format!("the Avro schema '{text}' cannot be read: {error}"))
                .at(options.owner())
                .remedy(format!("'{key}' is JSON text that begins with {{, or the path of a file"))
        })?
    };
    serde_json::from_str::<serde_json::Value>(&json)
        .map_err(|error| Error::config(format!("option '{key}' is no JSON: {error}")).at(options.owner()))?;
    Ok(Some(json))
}

struct AvroCodec {
    given: Option<String>,
    derived: Result<String>,
}

impl AvroCodec {
    fn json(&self) -> Result<&str> {
        match &self.given {
            Some(json) => Ok(json),
            None => self.derived.as_deref().map_err(Clone::clone),
        }
    }
}

impl Codec for AvroCodec {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        let reader = Reader::new(self.json()?, schema).map_err(|error| {
            Error::config(error.message()).remedy("'avro.schema' is the schema of a record")
        })?;
        Ok(Box::new(AvroDecoder(reader)))
    }

    fn encoder(&self, schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        let json = match &self.given {
            Some(json) => json.clone(),
            None => schema::derived(schema.fields())?,
        };
        Ok(Box::new(AvroEncoder::new(&schema, &json)?))
    }

    fn content_type(&self) -> &'static str {
        "avro/binary"
    }
}

#[cfg(test)]
mod tests;
