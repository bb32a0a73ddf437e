//! Writes JSON lines into one file; a path that is a folder (or ends with `/`) gets a file per instance in it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::element::Epoch;
use millstream_engine::state::StateWriter;
use millstream_engine::{Batch, Codec, Encoder, Error, InstanceContext, Ready, Result, Sink, SinkProvider};

/// Bytes gathered before they are written even under load.
const BUFFER_BYTES_MAX: usize = 1 << 18;

#[derive(Clone)]
pub(super) struct FileSink {
    pub path: PathBuf,
    pub append: bool,
    pub codec: Arc<dyn Codec>,
    pub schema: SchemaRef,
}

impl SinkProvider for FileSink {
    fn create(&self, instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        let folder = self.path.is_dir() || self.path.to_string_lossy().ends_with('/');
        let path = if folder { self.path.join(format!("part-{instance}.json")) } else { self.path.clone() };
        Ok(Box::new(Writer {
            path,
            append: self.append,
            file: None,
            encoder: self.codec.encoder(Arc::clone(&self.schema))?,
            buffer: Vec::new(),
        }))
    }
    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

struct Writer {
    path: PathBuf,
    append: bool,
    file: Option<File>,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
}

impl Writer {
    fn failed(&self, error: &std::io::Error) -> Error {
        Error::unavailable(format!("file {} cannot be written: {error}", self.path.display()))
            .remedy("check that the folder may be written to and has room")
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(mut file) = self.file.as_ref().filter(|_| !self.buffer.is_empty()) {
            file.write_all(&self.buffer).map_err(|error| self.failed(&error))?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Sink for Writer {
    fn open(&mut self, _context: &InstanceContext) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| self.failed(&error))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .append(self.append)
            .truncate(!self.append)
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

    fn on_barrier(&mut self, _epoch: Epoch, _state: &mut StateWriter) -> Result<Ready> {
        self.flush().map(|()| Ready::Yes)
    }

    fn finish(&mut self) -> Result<Ready> {
        self.flush().map(|()| Ready::Yes)
    }
}
