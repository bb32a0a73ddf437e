//! The `avro-confluent` format: each payload is a zero byte, the number of its writer's schema in a registry (four bytes,
//! big-endian) and an Avro value.
//!
//! Invariants: workers never wait for the registry: [`Codec::prepare`] has fetched the schemas of payloads and
//! [`Codec::prepare_encoder`] has registered the columns' before they are needed; what was not fetched is a bad payload.
//! A decoder keeps a reader for each of [`READERS_MAX`] schemas, and makes them anew when there are more.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use millstream_engine::format::{Encoded, Payloads, Prepare};
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Batch, Codec, Decoded, Decoder, Encoder, Error, Format, Result};

use super::decode::Reader;
use super::encode::AvroEncoder;
use super::schema_registry::SchemaRegistry;
use super::{given_schema, schema};

/// `'format' = 'avro-confluent'`.
#[derive(Debug)]
pub struct AvroConfluent;

/// Schemas that a decoder has readers for.
const READERS_MAX: usize = 64;
/// Bytes in front of each value.
const PREFIX_BYTES: usize = 5;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("avro-confluent.url", "text", "", "The schema registry, as in 'http://registry:8081'."),
    OptionSpec::new(
        "avro-confluent.subject",
        "text",
        "",
        "Where a sink registers its schema; for a table with a 'topic' it is '<topic>-value' without this.",
    ),
    OptionSpec::new(
        "avro-confluent.schema",
        "text",
        "",
        "The schema a sink writes: JSON text or the path of a file; without it, it follows from the columns.",
    ),
    OptionSpec::new(
        "avro-confluent.basic-auth.credentials-source",
        "USER_INFO",
        "USER_INFO",
        "Where the registry's credentials come from.",
    ),
    OptionSpec::new(
        "avro-confluent.basic-auth.user-info",
        "text",
        "",
        "User and password for the registry, as 'user:password'.",
    )
    .secret(),
];

impl Format for AvroConfluent {
    fn name(&self) -> &'static str {
        "avro-confluent"
    }

    fn help(&self) -> &'static str {
        "Avro with a schema registry: each payload names its schema by number."
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }

    fn codec(&self, options: &Options, _columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        options.choice("avro-confluent.basic-auth.credentials-source", &[("user_info", ())])?;
        let user_info = options.get("avro-confluent.basic-auth.user-info");
        let registry =
            SchemaRegistry::new(options.require("avro-confluent.url")?, user_info).map_err(|error| {
                error.at(options.owner()).remedy("'avro-confluent.url' is the registry's address")
            })?;
        let subject = match (options.get("avro-confluent.subject"), options.get("topic")) {
            (Some(subject), _) => Some(subject.to_owned()),
            (None, Some(topic)) => Some(format!("{topic}-value")),
            (None, None) => None,
        };
        let given = given_schema(options, "avro-confluent.schema")?;
        Ok(Arc::new(ConfluentCodec { registry: Arc::new(registry), subject, given }))
    }
}

struct ConfluentCodec {
    registry: Arc<SchemaRegistry>,
    subject: Option<String>,
    given: Option<String>,
}

impl ConfluentCodec {
    fn subject(&self) -> Result<&str> {
        self.subject.as_deref().ok_or_else(|| {
            Error::config("option 'avro-confluent.subject' is missing")
                .remedy("a sink registers its schema under it: add 'avro-confluent.subject' = '...'")
        })
    }

    fn json(&self, columns: &SchemaRef) -> Result<String> {
        match &self.given {
            Some(json) => Ok(json.clone()),
            None => schema::derived(columns.fields()),
        }
    }
}

impl Codec for ConfluentCodec {
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>> {
        let registry = Arc::clone(&self.registry);
        Ok(Box::new(ConfluentDecoder { schema, registry, readers: HashMap::new() }))
    }

    fn encoder(&self, schema: SchemaRef) -> Result<Box<dyn Encoder>> {
        self.subject()?;
        let json = self.json(&schema)?;
        let encoder = AvroEncoder::new(&schema, &json)?;
        Ok(Box::new(ConfluentEncoder { registry: Arc::clone(&self.registry), json, encoder }))
    }

    fn content_type(&self) -> &'static str {
        "application/vnd.confluent.avro"
    }

    fn prepare(&self, payload: &[u8]) -> Option<Prepare> {
        let id = schema_id(payload).ok()?;
        if self.registry.is_settled(id) {
            return None;
        }
        let registry = Arc::clone(&self.registry);
        Some(Box::pin(async move { registry.fetch(id).await }))
    }

    fn prepare_encoder(&self, schema: &SchemaRef) -> Option<Prepare> {
        let registry = Arc::clone(&self.registry);
        let wanted = self.subject().map(str::to_owned).and_then(|subject| Ok((subject, self.json(schema)?)));
        if wanted.as_ref().is_ok_and(|(_, json)| registry.id_of(json).is_some()) {
            return None;
        }
        Some(Box::pin(async move {
            let (subject, json) = wanted?;
            registry.register(&subject, &json).await
        }))
    }
}

/// The number of the schema that a payload names.
fn schema_id(payload: &[u8]) -> Result<u32> {
    match payload {
        [0, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        [0, ..] | [] => Err(Error::data("the payload ends before its schema's number")),
        [first, ..] => Err(Error::data(format!(
            "the payload begins with byte {first}, not with 0 and its schema's number"
        ))
        .remedy("payloads without a registry are 'format' = 'avro'")),
    }
}

struct ConfluentDecoder {
    schema: SchemaRef,
    registry: Arc<SchemaRegistry>,
    readers: HashMap<u32, Reader>,
}

impl ConfluentDecoder {
    fn reader(&mut self, id: u32) -> Result<&mut Reader> {
        if !self.readers.contains_key(&id) {
            let json = self.registry.schema(id).ok_or_else(|| {
                Error::data(format!("the schema {id} that the payload names was not found in the registry"))
            })?;
            let reader = Reader::new(&json, Arc::clone(&self.schema))
                .map_err(|error| Error::data(format!("schema {id}: {}", error.message())))?;
            if self.readers.len() >= READERS_MAX {
                self.readers.clear();
            }
            self.readers.insert(id, reader);
        }
        self.readers.get_mut(&id).ok_or_else(|| Error::internal("a reader was just made"))
    }
}

impl Decoder for ConfluentDecoder {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let (mut parts, mut payload_of, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = (0_u32..).zip(payloads.iter()).peekable();
        let mut run: Vec<&[u8]> = Vec::new();
        while let Some((number, payload)) = rest.next() {
            let id = match schema_id(payload).and_then(|id| self.reader(id).map(|_| id)) {
                Ok(id) => id,
                Err(error) => {
                    rejected.push((number, error));
                    continue;
                }
            };
            // Payloads of one schema are read together.
            run.clear();
            run.push(&payload[PREFIX_BYTES..]);
            payload_of.push(number);
            while let Some((number, next)) =
                rest.next_if(|(_, next)| schema_id(next).is_ok_and(|next| next == id))
            {
                run.push(&next[PREFIX_BYTES..]);
                payload_of.push(number);
            }
            parts.push(self.reader(id)?.read(run.iter().copied())?);
        }
        let rows: RecordBatch = concat_batches(&self.schema, &parts)?;
        Ok(Decoded { rows, payload_of: Some(payload_of), rejected })
    }
}

struct ConfluentEncoder {
    registry: Arc<SchemaRegistry>,
    json: String,
    encoder: AvroEncoder,
}

impl Encoder for ConfluentEncoder {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        if !self.encoder.has_prefix() {
            let id = self.registry.id_of(&self.json).ok_or_else(|| {
                Error::unavailable("the schema registry has not given the schema's number yet")
            })?;
            let mut prefix = vec![0];
            prefix.extend_from_slice(&id.to_be_bytes());
            self.encoder.set_prefix(prefix);
        }
        self.encoder.encode(batch)
    }

    fn encoded(&self) -> &Encoded {
        self.encoder.encoded()
    }
}

#[cfg(test)]
#[path = "confluent_tests.rs"]
mod tests;
