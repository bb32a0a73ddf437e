//! The one decode path of all sources: payloads are gathered, decoded together by the format's decoder, and come out
//! as rows that know the number of their payload.
//!
//! Invariants: one bad payload costs only itself (a batch that fails as a whole is halved until the bad ones are
//! found); every payload becomes rows, no row by its format's rules, or one reported error; only columns that the
//! query names are decoded. Columns whose times are numbers ('time-format') are decoded as numbers and turned into
//! timestamps here, for every format alike.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::format::Payloads;
use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Codec, Decoded, Decoder, Error, Result};

use super::epoch::{self, Epoch};

/// Options of every table whose rows come as payloads in some format; the format adds its own.
pub const PAYLOAD_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("format", "text", "json", "How payloads are written."),
    OptionSpec::new("payload.max-bytes", "size", "1 mb", "A larger payload (for files: line) is a bad row."),
    OptionSpec::new(
        "time-format",
        "text | epoch-seconds | epoch-millis | epoch-micros | epoch-nanos",
        "text",
        "How TIMESTAMP columns are written in payloads: as the format writes them, or as a number since 1970.",
    ),
    OptionSpec::new(
        "time-format.*",
        "text",
        "",
        "The same for one column: 'time-format.ts' = 'epoch-seconds'.",
    ),
];

/// What the options of [`PAYLOAD_OPTIONS`] say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadOptions {
    /// Bytes of the largest payload that is looked at.
    pub bytes_max: usize,
    /// How the times of all columns that are not in `columns` come.
    times: Option<Epoch>,
    columns: Vec<(String, Option<Epoch>)>,
}

impl PayloadOptions {
    /// Reads them.
    ///
    /// # Errors
    /// If a value is wrong.
    pub fn from_options(options: &Options) -> Result<Self> {
        let columns = options
            .with_prefix("time-format.")
            .map(|(column, _)| {
                let key = format!("time-format.{column}");
                Ok((column.to_owned(), options.choice(&key, epoch::CHOICES)?.flatten()))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            bytes_max: options.size_bytes("payload.max-bytes")?.unwrap_or(1 << 20),
            times: options.choice("time-format", epoch::CHOICES)?.flatten(),
            columns,
        })
    }

    fn epoch_of(&self, column: &str) -> Option<Epoch> {
        self.columns.iter().find(|(name, _)| name == column).map_or(self.times, |(_, epoch)| *epoch)
    }
}

/// What a bad row does: `'on-error'`, or `skip` where the format is told to ignore parse errors, as in Flink.
///
/// # Errors
/// If a value is wrong.
pub fn on_error(options: &Options) -> Result<OnError> {
    let ignores: Vec<String> =
        options.keys().filter(|key| key.ends_with(".ignore-parse-errors")).map(str::to_owned).collect();
    for key in ignores {
        if options.bool(&key)? == Some(true) {
            return Ok(OnError::Skip);
        }
    }
    OnError::from_options(options)
}

/// Told of a bad payload: its number among those gathered, its bytes, and why.
pub type Reject<'a> = dyn FnMut(u32, &[u8], Error) -> Result<()> + 'a;

/// Gathers payloads and decodes them. One per source instance.
pub struct PayloadDecoder {
    /// As the caller wants it.
    schema: SchemaRef,
    /// Columns that come as numbers of this epoch.
    epochs: Vec<(usize, Epoch)>,
    /// What the format decodes: `schema`, with numbers for the columns of `epochs`.
    raw_schema: SchemaRef,
    decoder: Box<dyn Decoder>,
    bytes_max: usize,
    bytes: Vec<u8>,
    /// End of each gathered payload in `bytes`.
    ends: Vec<usize>,
}

impl PayloadDecoder {
    /// A decoder for the columns of `schema`.
    ///
    /// # Errors
    /// If the format has no such column type.
    pub fn new(schema: SchemaRef, codec: &dyn Codec, options: &PayloadOptions) -> Result<Self> {
        let mut epochs = Vec::new();
        let mut fields = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().enumerate() {
            match options
                .epoch_of(field.name())
                .and_then(|epoch| epoch.raw_field(field).map(|raw| (epoch, raw)))
            {
                Some((epoch, raw)) => {
                    epochs.push((index, epoch));
                    fields.push(Arc::new(raw));
                }
                None => fields.push(Arc::clone(field)),
            }
        }
        let raw_schema = if epochs.is_empty() { Arc::clone(&schema) } else { Arc::new(Schema::new(fields)) };
        let decoder = codec.decoder(Arc::clone(&raw_schema))?;
        let bytes_max = options.bytes_max;
        Ok(Self { schema, epochs, raw_schema, decoder, bytes_max, bytes: Vec::new(), ends: Vec::new() })
    }

    /// How many payloads are gathered.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when nothing is gathered.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes gathered.
    pub fn num_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Gathers a payload. False when it was rejected for its size: it then has no number.
    ///
    /// # Errors
    /// When the payload is too large and bad rows are to fail.
    pub fn push(&mut self, payload: &[u8], errors: &RowErrors) -> Result<bool> {
        if payload.len() > self.bytes_max {
            errors.reject(payload, over_limit(payload.len(), self.bytes_max))?;
            return Ok(false);
        }
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
        Ok(true)
    }

    /// Decodes what is gathered. Nothing is left in [`Decoded::rejected`].
    ///
    /// # Errors
    /// When a payload is bad and bad rows are to fail.
    pub fn flush(&mut self, errors: &RowErrors) -> Result<Decoded> {
        self.flush_with(&mut |_, payload, error| errors.reject(payload, error))
    }

    /// The same, where `reject` is told of each bad payload: its number, its bytes, and why.
    ///
    /// # Errors
    /// What `reject` answers.
    pub fn flush_with(&mut self, reject: &mut Reject<'_>) -> Result<Decoded> {
        let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        let decoded = self.decode(&bytes, &ends, reject);
        (self.bytes, self.ends) = (bytes, ends);
        self.bytes.clear();
        self.ends.clear();
        decoded
    }

    fn decode(&mut self, bytes: &[u8], ends: &[usize], reject: &mut Reject<'_>) -> Result<Decoded> {
        if ends.is_empty() {
            return Ok(Decoded::one_each(RecordBatch::new_empty(Arc::clone(&self.schema))));
        }
        if let Ok(mut whole) = self.attempt(Payloads::new(bytes, ends)) {
            for (number, error) in whole.rejected.drain(..) {
                reject(number, payload(bytes, ends, number as usize), error)?;
            }
            return Ok(whole);
        }
        let mut parts = Parts::default();
        self.halve(bytes, ends, 0..ends.len(), reject, &mut parts)?;
        let rows = concat_batches(&self.schema, &parts.rows)?;
        Ok(Decoded { rows, payload_of: Some(parts.payload_of), rejected: Vec::new() })
    }

    /// Decodes the payloads of `range`, of which one at least is bad, half by half.
    fn halve(
        &mut self,
        bytes: &[u8],
        ends: &[usize],
        range: Range<usize>,
        reject: &mut Reject<'_>,
        parts: &mut Parts,
    ) -> Result<()> {
        let middle = range.start + range.len() / 2;
        let halves = [range.start..middle, middle..range.end];
        for half in halves.into_iter().filter(|half| !half.is_empty()) {
            let start = if half.start == 0 { 0 } else { ends[half.start - 1] };
            let own_ends: Vec<usize> = ends[half.clone()].iter().map(|end| end - start).collect();
            match self.attempt(Payloads::new(&bytes[start..], &own_ends)) {
                Ok(decoded) => {
                    for (number, error) in &decoded.rejected {
                        let at = half.start + *number as usize;
                        reject(at as u32, payload(bytes, ends, at), error.clone())?;
                    }
                    parts.add(decoded, half.start as u32);
                }
                Err(error) if half.len() == 1 => {
                    reject(half.start as u32, payload(bytes, ends, half.start), error)?;
                }
                Err(_) => self.halve(bytes, ends, half, reject, parts)?,
            }
        }
        Ok(())
    }

    fn attempt(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let decoded = self.decoder.decode(payloads)?;
        debug_assert_eq!(decoded.rows.schema_ref().fields().len(), self.raw_schema.fields().len());
        if self.epochs.is_empty() {
            return Ok(decoded);
        }
        let rows = epoch::to_timestamps(&decoded.rows, &self.schema, &self.epochs)?;
        Ok(Decoded { rows, ..decoded })
    }
}

/// The error of a payload that is not looked at.
pub fn over_limit(bytes: usize, bytes_max: usize) -> Error {
    Error::data(format!("a payload of {bytes} bytes is over the limit of {bytes_max}"))
        .remedy("raise 'payload.max-bytes' if such payloads are meant")
}

fn payload<'a>(bytes: &'a [u8], ends: &[usize], number: usize) -> &'a [u8] {
    &bytes[if number == 0 { 0 } else { ends[number - 1] }..ends[number]]
}

/// What the halves came to.
#[derive(Default)]
struct Parts {
    rows: Vec<RecordBatch>,
    payload_of: Vec<u32>,
}

impl Parts {
    fn add(&mut self, decoded: Decoded, first: u32) {
        match decoded.payload_of {
            Some(numbers) => self.payload_of.extend(numbers.iter().map(|number| first + number)),
            None => self.payload_of.extend((first..).take(decoded.rows.num_rows())),
        }
        self.rows.push(decoded.rows);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Decoding in the tests of all formats.

    use super::*;
    use millstream_engine::ManualClock;
    use millstream_engine::dead_letter::DeadLetters;
    use millstream_engine::metrics::OperatorMetrics;

    /// Decodes payloads with the format and options that `pairs` say; rows, their payloads' numbers, and the errors.
    pub(crate) fn decode<const N: usize>(
        schema: SchemaRef,
        pairs: [(&str, &str); N],
        payloads: &[&[u8]],
    ) -> (RecordBatch, Vec<u32>, Vec<String>) {
        let options = Options::from_pairs("table t", pairs);
        let codec = crate::registry().formats().codec(&options, "format", Some("json"), &schema).unwrap();
        let given = PayloadOptions::from_options(&options).unwrap();
        let mut decoder = PayloadDecoder::new(schema, codec.as_ref(), &given).unwrap();
        let (letters, metrics) = (Arc::<DeadLetters>::default(), OperatorMetrics::new("t", "source", 0));
        let on_error = on_error(&options).unwrap();
        let errors = RowErrors::new(on_error, letters.clone(), metrics.clone(), ManualClock::at(0));
        let mut taken = Vec::new();
        for (number, payload) in (0_u32..).zip(payloads) {
            if decoder.push(payload, &errors).unwrap() {
                taken.push(number);
            }
        }
        let decoded = decoder.flush(&errors).unwrap();
        let rows = decoded.rows.num_rows();
        let numbers = decoded.payload_of.unwrap_or_else(|| (0..rows as u32).collect());
        assert_eq!(numbers.len(), rows);
        let numbers = numbers.into_iter().map(|number| taken[number as usize]).collect();
        let errors: Vec<_> = letters.last().into_iter().map(|letter| letter.error).collect();
        assert_eq!(errors.len() as u64, metrics.rows_dead_letter.get());
        (decoded.rows, numbers, errors)
    }
}
