//! One file that is being written: hidden under `.part-0-3.json.inprogress` until it is whole.
//!
//! Invariants: what has its final name is complete and on the disk (fsync of the file, rename, fsync of the folder), so
//! readers never see half a file. The hidden file is locked as long as it is written, by which a later run knows a
//! living writer from a dead one's leftover.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use millstream_engine::{Batch, Encoder, Error, Result};

/// Bytes of lines that are gathered before they are written, even under load.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a parquet row group while it is gathered in memory.
#[cfg(feature = "parquet")]
const ROW_GROUP_BYTES_MAX: usize = 16 << 20;

/// How the bytes of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Compression {
    #[default]
    None,
    #[cfg(feature = "compression")]
    Gzip,
    #[cfg(feature = "compression")]
    Zstd,
}

impl Compression {
    /// The values of 'sink.compression'.
    pub const CHOICES: &[(&str, Self)] = &[
        ("none", Self::None),
        #[cfg(feature = "compression")]
        ("gzip", Self::Gzip),
        #[cfg(feature = "compression")]
        ("zstd", Self::Zstd),
    ];

    /// What stands at the end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            #[cfg(feature = "compression")]
            Self::Gzip => ".gz",
            #[cfg(feature = "compression")]
            Self::Zstd => ".zst",
        }
    }
}

/// What a file holds.
pub(super) enum Content<'a> {
    Lines(Compression),
    #[cfg(feature = "parquet")]
    Parquet(Compression, &'a arrow_schema::SchemaRef),
    #[cfg(not(feature = "parquet"))]
    #[allow(dead_code)]
    Never(std::marker::PhantomData<&'a ()>),
}

enum Body {
    Plain(File),
    #[cfg(feature = "compression")]
    Gzip(flate2::write::GzEncoder<File>),
    #[cfg(feature = "compression")]
    Zstd(zstd::stream::write::Encoder<'static, File>),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::arrow::ArrowWriter<File>>),
}

/// A file that is being written.
pub(super) struct Part {
    folder: PathBuf,
    /// The name it gets when it is whole.
    name: String,
    body: Body,
    buffer: Vec<u8>,
    /// Bytes written so far, about; what a compressor holds back is not in them.
    pub bytes: u64,
    /// When it was begun, and last written to, by the job's monotonic clock.
    pub opened_ns: u64,
    pub used_ns: u64,
}

impl Part {
    /// Begins a file in `folder`, which is made if it is not there. Its name is `part-INSTANCE-NUMBER.EXTENSION` with the first
    /// number from `next_number` that is free.
    pub fn begin(
        folder: &Path,
        instance: usize,
        next_number: &mut u64,
        extension: &str,
        content: &Content<'_>,
        now_ns: u64,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let (name, file) = loop {
            let name = format!("part-{instance}-{next_number}.{extension}");
            *next_number += 1;
            if folder.join(&name).exists() {
                continue;
            }
            let hidden = folder.join(hidden_name(&name));
            match OpenOptions::new().write(true).create_new(true).open(&hidden) {
                Ok(file) => break (name, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&hidden, &error)),
            }
        };
        let hidden = folder.join(hidden_name(&name));
        file.lock().map_err(|error| failed(&hidden, &error))?;
        let body = match content {
            Content::Lines(Compression::None) => Body::Plain(file),
            #[cfg(feature = "compression")]
            Content::Lines(Compression::Gzip) => {
                Body::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default()))
            }
            #[cfg(feature = "compression")]
            Content::Lines(Compression::Zstd) => Body::Zstd(
                zstd::stream::write::Encoder::new(file, 0).map_err(|error| failed(&hidden, &error))?,
            ),
            #[cfg(feature = "parquet")]
            Content::Parquet(compression, schema) => Body::Parquet(Box::new(
                super::parquet::writer(file, schema, *compression)
                    .map_err(|error| unwritable(&hidden, &error))?,
            )),
            #[cfg(not(feature = "parquet"))]
            Content::Never(_) => return Err(Error::internal("a file of no kind")),
        };
        let folder = folder.to_owned();
        Ok(Self { folder, name, body, buffer: Vec::new(), bytes: 0, opened_ns: now_ns, used_ns: now_ns })
    }

    fn hidden(&self) -> PathBuf {
        self.folder.join(hidden_name(&self.name))
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &Batch, encoder: Option<&mut (dyn Encoder + 'static)>) -> Result<()> {
        #[cfg(feature = "parquet")]
        if let Body::Parquet(writer) = &mut self.body {
            let written = writer.write(&batch.rows).and_then(|()| {
                if writer.in_progress_size() >= ROW_GROUP_BYTES_MAX { writer.flush() } else { Ok(()) }
            });
            self.bytes = (writer.bytes_written() + writer.in_progress_size()) as u64;
            return written.map_err(|error| unwritable(&self.hidden(), &error));
        }
        let Some(encoder) = encoder else { return Err(Error::internal("lines without an encoder")) };
        encoder.encode(batch)?;
        encoder.encoded().lines(&mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Hands gathered lines to the file.
    pub fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = match &mut self.body {
            Body::Plain(file) => file.write_all(&self.buffer).map(|()| file.metadata()),
            #[cfg(feature = "compression")]
            Body::Gzip(file) => file.write_all(&self.buffer).map(|()| file.get_ref().metadata()),
            #[cfg(feature = "compression")]
            Body::Zstd(file) => file.write_all(&self.buffer).map(|()| file.get_ref().metadata()),
            #[cfg(feature = "parquet")]
            Body::Parquet(_) => return Ok(()),
        };
        self.buffer.clear();
        match written {
            Ok(Ok(about)) => {
                self.bytes = about.len();
                Ok(())
            }
            Ok(Err(error)) | Err(error) => Err(failed(&self.hidden(), &error)),
        }
    }

    /// Ends the file and brings it to the disk, still hidden. Answers the path it is to get.
    pub fn close(mut self) -> Result<PathBuf> {
        self.flush()?;
        let hidden = self.hidden();
        let file: Result<File> = match self.body {
            Body::Plain(file) => Ok(file),
            #[cfg(feature = "compression")]
            Body::Gzip(file) => file.finish().map_err(|error| failed(&hidden, &error)),
            #[cfg(feature = "compression")]
            Body::Zstd(file) => file.finish().map_err(|error| failed(&hidden, &error)),
            #[cfg(feature = "parquet")]
            Body::Parquet(file) => file.into_inner().map_err(|error| unwritable(&hidden, &error)),
        };
        file?.sync_all().map_err(|error| failed(&hidden, &error))?;
        Ok(self.folder.join(self.name))
    }
}

/// The name of a file while it is written.
pub(super) fn hidden_name(name: &str) -> String {
    format!(".{name}.inprogress")
}

/// Gives a closed file its final name.
pub(super) fn publish(path: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::internal("a file without a folder"));
    };
    let hidden = folder.join(hidden_name(&name.to_string_lossy()));
    std::fs::rename(hidden, path).map_err(|error| failed(path, &error))?;
    // The new name is on the disk when the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(path, &error))
}

/// What the operating system refused.
pub(super) fn failed(path: &Path, error: &io::Error) -> Error {
    unwritable(path, error)
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::unavailable(format!("file {} cannot be written: {error}", path.display()))
        .remedy("check that the folder may be written to and has room")
}
