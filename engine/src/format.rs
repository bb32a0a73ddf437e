//! The interface of formats: payload bytes to columns and back.
//!
//! A [`Format`] reads a table's options once, into a [`Codec`]; the codec makes a [`Decoder`] or [`Encoder`] for each
//! instance. A source gathers payloads and has them decoded together; what goes wrong with one of them costs only
//! that one: a decoder either names the bad ones in [`Decoded::rejected`], or fails as a whole, and the caller then
//! decodes payload by payload (`PayloadDecoder` in the connectors does both). Input bytes never panic.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::options::{OptionSpec, Options};
use crate::suggest::did_you_mean;

/// A way to write rows as bytes, found by its name in `'format' = '…'`.
pub trait Format: Send + Sync {
    /// The value of `'format'`.
    fn name(&self) -> &'static str;

    /// One sentence.
    fn help(&self) -> &'static str;

    /// Its options, each with the format's name in front (`csv.field-delimiter`).
    fn options(&self) -> Vec<OptionSpec>;

    /// Reads its options. `columns` are all that a payload holds, in the table's order, of which a query may want some:
    /// formats whose columns go by position, or whose schema follows from the table, need them all.
    ///
    /// # Errors
    /// If an option is wrong.
    fn codec(&self, options: &Options, columns: &SchemaRef) -> Result<Arc<dyn Codec>>;
}

/// A format with its options read.
pub trait Codec: Send + Sync {
    /// Makes a decoder that produces exactly the columns of `schema`; a column that a payload lacks is NULL, what
    /// `schema` does not have is skipped.
    ///
    /// # Errors
    /// If the format has no such column type.
    fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>>;

    /// Makes an encoder for the columns of `schema`.
    ///
    /// # Errors
    /// If the format has no such column type, or can only be read.
    fn encoder(&self, schema: SchemaRef) -> Result<Box<dyn Encoder>>;

    /// True when a payload is one line of text, so that files hold one a line.
    fn is_lines(&self) -> bool {
        false
    }

    /// The media type of a payload, for transports that name it.
    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }

    /// Fetches what `payload` cannot be decoded without, such as a schema from a registry. Sources over a network
    /// call it on their I/O side before they hand the payload to the worker, which must not wait. `None`: nothing.
    fn prepare(&self, _payload: &[u8]) -> Option<Prepare> {
        None
    }

    /// Fetches what encoding needs (registers a schema) before the first row; called on the I/O side. `None`: nothing.
    fn prepare_encoder(&self, _schema: &SchemaRef) -> Option<Prepare> {
        None
    }
}

/// What [`Codec::prepare`] waits for. Its error is `Unavailable` when trying again makes sense, `Data` when the
/// payload is bad (the source passes it on, and the decoder rejects it).
pub type Prepare = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Payloads that follow each other in one buffer.
#[derive(Debug, Clone, Copy)]
pub struct Payloads<'a> {
    bytes: &'a [u8],
    /// End of each in `bytes`, not descending.
    ends: &'a [usize],
}

impl<'a> Payloads<'a> {
    /// `ends[i]` is where payload `i` ends; the first starts at 0.
    pub fn new(bytes: &'a [u8], ends: &'a [usize]) -> Self {
        debug_assert!(ends.last().is_none_or(|end| *end <= bytes.len()));
        Self { bytes, ends }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, one after the other.
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[..self.ends.last().copied().unwrap_or(0)]
    }

    /// One by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let Self { bytes, ends } = *self;
        (0..ends.len()).map(move |at| &bytes[if at == 0 { 0 } else { ends[at - 1] }..ends[at]])
    }
}

/// Rows and where they came from.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in payload order.
    pub rows: RecordBatch,
    /// For each row the number of its payload; `None` when row `i` is payload `i`.
    pub payload_of: Option<Vec<u32>>,
    /// Payloads that gave no row, by number, and why.
    pub rejected: Vec<(u32, Error)>,
}

impl Decoded {
    /// One row a payload.
    pub fn one_each(rows: RecordBatch) -> Self {
        Self { rows, payload_of: None, rejected: Vec::new() }
    }
}

/// Makes rows of payloads. One per source instance; called on a worker, so it never waits.
pub trait Decoder: Send {
    /// Decodes `payloads`.
    ///
    /// # Errors
    /// `Data` when one of several is bad and it is not known which without trying each; the caller then does that.
    /// For a single payload: why it is bad. A decoder that failed is used again.
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded>;
}

/// Makes payloads of rows. One per sink instance.
pub trait Encoder: Send {
    /// Encodes a batch's rows, replacing what was there.
    ///
    /// # Errors
    /// If a value has no form in this format.
    fn encode(&mut self, batch: &Batch) -> Result<()>;

    /// What was encoded.
    fn encoded(&self) -> &Encoded;
}

/// Encoded rows, one after the other in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Encoded {
    /// All rows.
    pub bytes: Vec<u8>,
    /// End of each row in `bytes`.
    pub ends: Vec<usize>,
}

impl Encoded {
    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The row that was written to the end of `bytes` is complete.
    pub fn end_row(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        Payloads::new(&self.bytes, &self.ends).iter()
    }

    /// All rows, one a line.
    pub fn lines(&self, out: &mut Vec<u8>) {
        for row in self.rows() {
            out.extend_from_slice(row);
            out.push(b'\n');
        }
    }
}

/// Formats by name. A value that its owner fills, never a global; cheap to clone.
#[derive(Clone, Default)]
pub struct Formats {
    formats: Arc<BTreeMap<&'static str, Arc<dyn Format>>>,
}

impl Formats {
    /// Adds a format, replacing one of the same name.
    pub fn add(&mut self, format: Arc<dyn Format>) {
        Arc::make_mut(&mut self.formats).insert(format.name(), format);
    }

    /// All formats, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Format>> {
        self.formats.values()
    }

    /// The format called `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Format>> {
        self.formats.get(name)
    }

    /// The codec of the format that option `key` of `options` names, `default` if it names none, for payloads that
    /// hold `columns`. What `key` has in
    /// front of `format` (`value.` in `value.format`) stands in front of the format's options too; options without
    /// it are also read.
    ///
    /// # Errors
    /// If there is no such format, or one of its options is wrong.
    pub fn codec(
        &self,
        options: &Options,
        key: &str,
        default: Option<&str>,
        columns: &SchemaRef,
    ) -> Result<Arc<dyn Codec>> {
        let name = match (options.get(key), default) {
            (Some(name), _) => name,
            (None, Some(default)) => default,
            (None, None) => options.require(key)?,
        };
        let Some(format) = self.get(name) else {
            let known: Vec<&str> = self.formats.keys().copied().collect();
            let nearest = did_you_mean(name, known.iter().copied())
                .map_or(String::new(), |near| format!("did you mean '{near}'? "));
            return Err(Error::config(format!("there is no format '{name}'"))
                .at(options.owner())
                .remedy(format!("{nearest}this build has: {}", known.join(", "))));
        };
        let prefix = key.strip_suffix("format").unwrap_or_default();
        let own = if prefix.is_empty() { options.clone() } else { options.under(prefix) };
        format.codec(&own, columns)
    }

    /// The options of the formats that `options` name, with what stands in front of them there. `own` are the
    /// connector's: it takes a format where it has an option for its name.
    pub(crate) fn options_of(
        &self,
        options: &Options,
        own: &[OptionSpec],
    ) -> Vec<(&'static str, Vec<OptionSpec>)> {
        ["", "key.", "value."]
            .into_iter()
            .filter_map(|prefix| {
                let key = format!("{prefix}format");
                let spec = own.iter().find(|spec| spec.key == key)?;
                Some((prefix, self.get(options.get(&key).unwrap_or(spec.default))?.options()))
            })
            .collect()
    }
}

impl std::fmt::Debug for Formats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.formats.keys()).finish()
    }
}
