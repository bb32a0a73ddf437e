//! Writes lines into one file, in place and visible at once. Where the job's state is on disk, a checkpoint holds how long
//! the file was, and a later run cuts it to that before it goes on, so every line is there once; not with 'sink.append',
//! where others may write too. A path that is a folder (or ends with `/`), or options
//! that only make sense for one, get files that are rolled (rolling.rs).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use millstream_engine::element::Epoch;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{
    Batch, Codec, Encoder, Error, InstanceContext, Ready, Result, Sink, SinkProvider, Table,
};

use super::commit::CommitPolicy;
use super::part::Compression;
use super::partition::Partitioning;
use super::rolling::{Rolling, RollingSink};
use super::{is_parquet, lines_codec};

/// Bytes gathered before they are written even under load.
const BUFFER_BYTES_MAX: usize = 1 << 18;

/// What the table's options say.
pub(super) enum FileSink {
    /// One file.
    Plain { path: PathBuf, append: bool, codec: Arc<dyn Codec>, schema: SchemaRef },
    /// A folder; `codec` is there for lines.
    Folder { rolling: Arc<Rolling>, codec: Option<Arc<dyn Codec>> },
}

impl FileSink {
    /// Reads `table`'s options.
    pub fn read(table: &Table) -> Result<Self> {
        let options = &table.options;
        let path = PathBuf::from(options.require("path")?);
        let codec = if is_parquet(table)? { None } else { Some(lines_codec(table)?) };
        let is_of_folder = |key: &str| {
            key.starts_with("sink.rolling-policy.") || key == "sink.partition-by" || key == "sink.compression"
        };
        let is_folder =
            path.is_dir() || path.to_string_lossy().ends_with('/') || options.keys().any(is_of_folder);
        match codec {
            Some(codec) if !is_folder => {
                let append = options.bool("sink.append")?.unwrap_or(false);
                Ok(Self::Plain { path, append, codec, schema: Arc::clone(&table.schema) })
            }
            codec => {
                Ok(Self::Folder { rolling: Arc::new(Rolling::read(table, path, codec.is_none())?), codec })
            }
        }
    }
}

impl Rolling {
    fn read(table: &Table, folder: PathBuf, parquet: bool) -> Result<Self> {
        let options = &table.options;
        let duration = |key: &str, default_ms: i64| {
            let ms = options.duration_ms(key)?.unwrap_or(default_ms);
            Ok::<_, Error>(Duration::from_millis(ms.max(1).unsigned_abs()))
        };
        if folder.is_file() {
            return Err(Error::config(format!("'path' = '{}' is a file, not a folder", folder.display()))
                .at(options.owner())
                .remedy("rolled, partitioned, compressed and parquet files are written into a folder"));
        }
        let compression = options.choice("sink.compression", Compression::CHOICES)?.unwrap_or_default();
        let extension = match (parquet, options.get("format").unwrap_or("json")) {
            (true, _) => "parquet".to_owned(),
            (false, format) => format!("{format}{}", compression.extension()),
        };
        let (partitioning, commit) = (Partitioning::read(table)?, CommitPolicy::read(table)?);
        if commit.is_some() && partitioning.depth() == 0 {
            return Err(Error::config("there are no partitions to mark")
                .at(options.owner())
                .remedy("name the columns that partitions are by: PARTITIONED BY (day)"));
        }
        Ok(Self {
            folder,
            partitioning,
            commit,
            compression,
            parquet,
            extension,
            bytes_max: options.size_bytes("sink.rolling-policy.file-size")?.unwrap_or(128 << 20) as u64,
            age_max: duration("sink.rolling-policy.rollover-interval", 1_800_000)?,
            check_interval: duration("sink.rolling-policy.check-interval", 60_000)?,
            open_files_max: options.parse("sink.open-files.max", "a number of files")?.unwrap_or(100).max(1),
        })
    }
}

impl SinkProvider for FileSink {
    fn wants_watermarks(&self) -> bool {
        match self {
            Self::Plain { .. } => false,
            Self::Folder { rolling, .. } => {
                rolling.commit.as_ref().is_some_and(CommitPolicy::goes_by_watermark)
            }
        }
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        match self {
            Self::Plain { path, append, codec, schema } => Ok(Box::new(Writer {
                path: path.clone(),
                append: *append,
                is_durable: false,
                begin: Begin::Anew,
                file: None,
                encoder: codec.encoder(Arc::clone(schema))?,
                buffer: Vec::new(),
            })),
            Self::Folder { rolling, codec } => {
                let schema = &rolling.partitioning.schema;
                let encoder = codec.as_ref().map(|codec| codec.encoder(Arc::clone(schema))).transpose()?;
                Ok(Box::new(RollingSink::new(Arc::clone(rolling), encoder)))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Plain { path, .. } => path.display().to_string(),
            Self::Folder { rolling, .. } => rolling.folder.display().to_string(),
        }
    }
}

/// What a file has in it when the first line is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Nothing.
    Anew,
    /// What it had at the restored checkpoint, in bytes.
    At(u64),
    /// What is there.
    Behind,
    Begun,
}

struct Writer {
    path: PathBuf,
    append: bool,
    /// The job's state is on disk.
    is_durable: bool,
    begin: Begin,
    file: Option<File>,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
}

impl Writer {
    fn failed(&self, error: &std::io::Error) -> Error {
        Error::unavailable(format!("file {} cannot be written: {error}", self.path.display()))
            .remedy("check that the folder may be written to and has room")
    }

    /// Cuts the file to where lines go on; once, when it is known whether there was a restore.
    fn begin(&mut self) -> Result<()> {
        let begin = std::mem::replace(&mut self.begin, Begin::Begun);
        let Some(file) = self.file.as_ref().filter(|_| !self.append) else { return Ok(()) };
        let cut = |bytes| file.set_len(bytes).map_err(|error| self.failed(&error));
        match begin {
            Begin::Anew => cut(0),
            Begin::At(bytes) => {
                let found = file.metadata().map_err(|error| self.failed(&error))?.len();
                if found < bytes {
                    tracing::warn!(
                        "{} has {found} bytes and had {bytes} at the checkpoint: lines were taken out of it; going on behind",
                        self.path.display()
                    );
                    return Ok(());
                }
                cut(bytes)
            }
            Begin::Behind | Begin::Begun => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.begin()?;
        if let Some(mut file) = self.file.as_ref().filter(|_| !self.buffer.is_empty()) {
            file.write_all(&self.buffer).map_err(|error| self.failed(&error))?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Sink for Writer {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.is_durable = context.is_durable();
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| self.failed(&error))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .map_err(|error| self.failed(&error))?;
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.encoder.encode(&batch)?;
        self.encoder.encoded().lines(&mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.flush()
    }

    fn on_barrier(&mut self, _epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.flush()?;
        if let Some(file) = self.file.as_ref().filter(|_| self.is_durable) {
            // The checkpoint must not count lines that a power cut takes away.
            file.sync_data().map_err(|error| self.failed(&error))?;
            let bytes = file.metadata().map_err(|error| self.failed(&error))?.len();
            state.put_blob(bytes.to_le_bytes().to_vec());
        }
        Ok(Ready::Yes)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let bytes = state.blobs().next().and_then(|blob| blob.try_into().ok()).map(u64::from_le_bytes);
        self.begin = bytes.map_or(Begin::Behind, Begin::At);
        Ok(())
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.on_barrier(epoch, state)
    }
}
