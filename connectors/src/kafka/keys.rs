//! Messages' keys become rows of the key's columns, and it is known which row is whose.
//!
//! Invariants: each message with a payload has one key's row, none, or a bad key, which is reported once, with the
//! message's payload. Of a key that decodes to several rows the first counts. Called by rows.rs.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::{Codec, Error, Result};

use crate::format::{PayloadDecoder, PayloadOptions};

use super::chunk::Chunk;

/// What became of a message's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Absent,
    Row(u32),
    Bad,
}

/// Decodes keys. One per source instance.
pub(super) struct KeyDecoder {
    decoder: PayloadDecoder,
    /// The rows of the last chunk.
    rows: RecordBatch,
    /// What became of each message's key.
    places: Vec<Place>,
    /// The messages whose keys were gathered.
    gathered: Vec<usize>,
    /// A column that is NOT NULL, if there is one.
    needed: Option<String>,
}

impl KeyDecoder {
    /// Decodes the columns of `schema`, which are named as the keys' format names them.
    ///
    /// # Errors
    /// If the format has no such column type.
    pub fn new(codec: &dyn Codec, schema: SchemaRef, options: &PayloadOptions) -> Result<Self> {
        let needed = schema.fields().iter().find(|field| !field.is_nullable());
        Ok(Self {
            needed: needed.map(|field| field.name().clone()),
            rows: RecordBatch::new_empty(SchemaRef::clone(&schema)),
            decoder: PayloadDecoder::new(schema, codec, options)?,
            places: Vec::new(),
            gathered: Vec::new(),
        })
    }

    /// Decodes the keys of a chunk.
    ///
    /// # Errors
    /// When one is bad and bad rows are to fail.
    pub fn decode(&mut self, chunk: &Chunk, errors: &RowErrors) -> Result<()> {
        let Self { decoder, places, gathered, .. } = self;
        places.clear();
        places.resize(chunk.messages.len(), Place::Absent);
        gathered.clear();
        for (number, message) in chunk.messages.iter().enumerate() {
            match chunk.key(number) {
                // These are no rows, whatever their key is.
                _ if message.is_tombstone || message.has_bad_headers => {}
                Some(key) if decoder.push(key, errors)? => gathered.push(number),
                Some(_) => places[number] = Place::Bad,
                None => {}
            }
        }
        let decoded = decoder.flush_with(&mut |of, _, error| {
            let number = gathered[of as usize];
            places[number] = Place::Bad;
            let error = Error::data(format!("the message's key: {}", error.message()));
            errors.reject(chunk.payload(number), error)
        })?;
        for row in 0..decoded.rows.num_rows() {
            let of = decoded.payload_of.as_ref().map_or(row, |numbers| numbers[row] as usize);
            let place = &mut places[gathered[of]];
            if *place == Place::Absent {
                *place = Place::Row(row as u32);
            }
        }
        if let Some(column) = &self.needed {
            for (number, message) in chunk.messages.iter().enumerate() {
                let is_row = !message.is_tombstone && !message.has_bad_headers;
                if is_row && places[number] == Place::Absent {
                    places[number] = Place::Bad;
                    let what =
                        format!("the message has no key, and column '{column}' of the key is NOT NULL");
                    errors.reject(chunk.payload(number), Error::data(what))?;
                }
            }
        }
        self.rows = decoded.rows;
        Ok(())
    }

    /// The rows of the last chunk's keys.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The row of message `number`'s key; `None` when it has none.
    pub fn row_of(&self, number: usize) -> Option<u32> {
        match self.places[number] {
            Place::Row(row) => Some(row),
            Place::Absent | Place::Bad => None,
        }
    }

    /// True when the key of message `number` was reported as bad.
    pub fn is_bad(&self, number: usize) -> bool {
        self.places[number] == Place::Bad
    }
}
