//! Files as a table that rows are looked up in: all rows are read into memory before the first is wanted, and again at an
//! interval if the table says so. A bad line is a bad row, as where a stream is read, once for every reading.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millstream_engine::dead_letter::RowErrors;
use millstream_engine::lookup::{Lookup, LookupCache, LookupProvider, LookupSettings, Rows};
use millstream_engine::options::OptionSpec;
use millstream_engine::{Error, InstanceContext, Result, Table};

use super::lines::{Block, Lines, unpacked};
use super::listing::list;
use super::source::Files;
use crate::format::PayloadDecoder;

/// What this file reads.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "lookup.full-cache.periodic-reload.interval",
        "duration",
        "",
        "For lookups: how often the files are read again; once when not given.",
    ),
    OptionSpec::new(
        "lookup.full-cache.max-bytes",
        "size",
        "256 mb",
        "For lookups: bytes of the files, whose rows are all kept in memory, at most.",
    ),
];

/// Lines that are decoded together.
const LINES_MAX: usize = 4_096;

/// See the module's page.
pub(super) struct FileLookup {
    files: Files,
    reload_ms: Option<i64>,
    bytes_max: u64,
}

impl FileLookup {
    /// Reads `table`'s options; `files` is what they say of reading.
    pub fn read(table: &Table, files: Files) -> Result<Self> {
        let options = &table.options;
        if let Some((column, key)) = files.metadata.first() {
            return Err(Error::config(format!(
                "column '{column}' is the metadata '{key}', which lookups do not have"
            ))
            .at(options.owner())
            .remedy("leave it out of this table"));
        }
        list(&files.path, &files.owner, false)?;
        Ok(Self {
            files,
            reload_ms: options.duration_ms("lookup.full-cache.periodic-reload.interval")?,
            bytes_max: options.size_bytes("lookup.full-cache.max-bytes")?.unwrap_or(256 << 20) as u64,
        })
    }
}

impl LookupProvider for FileLookup {
    fn settings(&self) -> LookupSettings {
        LookupSettings {
            cache: LookupCache::Full { reload_ms: self.reload_ms },
            requests_max: 1,
            keys_max: usize::MAX,
            retries_max: 3,
            timeout: Duration::from_secs(600),
        }
    }

    fn create(
        &self,
        schema: SchemaRef,
        _keys: &[usize],
        context: &InstanceContext,
    ) -> Result<Arc<dyn Lookup>> {
        let errors = context.row_errors(self.files.on_error);
        let (files, bytes_max) = (self.files.clone(), self.bytes_max);
        Ok(Arc::new(Reading { files, bytes_max, schema, errors }))
    }

    fn describe(&self) -> String {
        self.files.path.clone()
    }
}

#[derive(Clone)]
struct Reading {
    files: Files,
    bytes_max: u64,
    schema: SchemaRef,
    errors: RowErrors,
}

impl Lookup for Reading {
    fn find(&self, _keys: Option<RecordBatch>) -> Rows {
        let reading = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || reading.all()).await;
            read.unwrap_or_else(|error| Err(Error::internal(format!("reading files ended early: {error}"))))
        })
    }
}

impl Reading {
    /// All rows of all files.
    fn all(&self) -> Result<Vec<RecordBatch>> {
        let found = list(&self.files.path, &self.files.owner, false)?;
        let bytes: u64 = found.iter().map(|file| file.about.len()).sum();
        if bytes > self.bytes_max {
            let limit = self.bytes_max;
            return Err(Error::config(format!(
                "a lookup keeps all rows, and the files have {bytes} bytes of at most {limit}"
            ))
            .at(&self.files.owner)
            .remedy("raise 'lookup.full-cache.max-bytes', or look up in a database"));
        }
        let mut rows = Vec::new();
        for file in &found {
            match &self.files.codec {
                Some(codec) => {
                    let decoder =
                        PayloadDecoder::new(Arc::clone(&self.schema), codec.as_ref(), &self.files.payload)?;
                    self.lines(&file.path, decoder, &mut rows)?;
                }
                None => self.parquet(&file.path, &mut rows)?,
            }
        }
        Ok(rows)
    }

    fn lines(&self, path: &Path, mut decoder: PayloadDecoder, rows: &mut Vec<RecordBatch>) -> Result<()> {
        let unreadable = |error: std::io::Error| unreadable(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        let reader = unpacked(path, file).map_err(unreadable)?;
        let mut lines = Lines::new(reader, 0, 0, self.files.payload.bytes_max);
        let mut number = 0_u64;
        loop {
            let mut take = |line: &[u8]| -> Result<(), Trouble> {
                number += 1;
                let is_header = self.files.has_header && number == 1;
                if !is_header && !line.trim_ascii().is_empty() {
                    decoder.push(line, &self.errors).map_err(Trouble::Row)?;
                }
                Ok(())
            };
            let block = lines.read_block(&mut take);
            let is_end = match block {
                Ok(Block::More) => false,
                Ok(Block::End) => {
                    lines.end_line(&mut take).map_err(|trouble| trouble.told(path))?;
                    true
                }
                Err(trouble) => return Err(trouble.told(path)),
            };
            if is_end || decoder.len() >= LINES_MAX {
                rows.push(decoder.flush(&self.errors)?.rows);
            }
            if is_end {
                return Ok(());
            }
        }
    }

    #[cfg(feature = "parquet")]
    fn parquet(&self, path: &Path, rows: &mut Vec<RecordBatch>) -> Result<()> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let mut reader = super::parquet_read::Rows::open(file, path, &self.schema, LINES_MAX, 0)?;
        while let Some(batch) = reader.next()? {
            rows.push(batch);
        }
        Ok(())
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet(&self, _path: &Path, _rows: &mut Vec<RecordBatch>) -> Result<()> {
        Err(Error::internal("parquet without its feature"))
    }
}

/// What went wrong within a file.
enum Trouble {
    Reading(std::io::Error),
    Row(Error),
}

impl Trouble {
    fn told(self, path: &Path) -> Error {
        match self {
            Self::Reading(error) => unreadable(path, &error),
            Self::Row(error) => error,
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Reading(error)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!("file {} cannot be read: {error}", path.display()))
}
