//! Reads JSON lines, file after file in order of name.
//!
//! Invariants: every line is a row or a reported error, the last one without a line end too; the position (files done,
//! and the offset in the current one) is kept in checkpoints. When following, a line counts once its end is there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{
    Batch, Codec, Error, InstanceContext, Output, Result, Source, SourcePoll, SourceProvider,
};

use crate::format::{PayloadDecoder, PayloadOptions};

/// Bytes read at a time.
const BLOCK_BYTES: usize = 1 << 18;

pub(super) struct Files {
    pub path: String,
    pub owner: String,
    /// Look for more this often; none reads once.
    pub follow_ms: Option<i64>,
    pub codec: Arc<dyn Codec>,
    pub payload: PayloadOptions,
    pub on_error: OnError,
}

impl Files {
    /// The files that the path names now, by name.
    fn list(&self) -> Result<Vec<PathBuf>> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::config(format!("'path' = '{}' cannot be read: {error}", self.path))
                .at(&self.owner)
                .remedy("name a file, a folder or a pattern such as '/data/*.json'")
        };
        let is_pattern = self.path.contains(['*', '?', '[']);
        let mut files = Vec::new();
        if is_pattern {
            for entry in glob::glob(&self.path).map_err(|error| unreadable(&error))? {
                files.push(entry.map_err(|error| unreadable(&error))?);
            }
            files.retain(|file| file.is_file());
        } else {
            let path = PathBuf::from(&self.path);
            let about = std::fs::metadata(&path).map_err(|error| unreadable(&error))?;
            if about.is_dir() {
                for entry in std::fs::read_dir(&path).map_err(|error| unreadable(&error))? {
                    files.push(entry.map_err(|error| unreadable(&error))?.path());
                }
                let hidden = |file: &PathBuf| {
                    file.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']))
                };
                files.retain(|file| file.is_file() && !hidden(file));
            } else {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() && self.follow_ms.is_none() {
            return Err(unreadable(&"no file matches"));
        }
        Ok(files)
    }
}

impl SourceProvider for Files {
    fn is_bounded(&self) -> bool {
        self.follow_ms.is_none()
    }
    fn create(&self, schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        self.list()?;
        Ok(Box::new(Reader {
            files: Self {
                path: self.path.clone(),
                owner: self.owner.clone(),
                follow_ms: self.follow_ms,
                codec: Arc::clone(&self.codec),
                payload: self.payload.clone(),
                on_error: self.on_error,
            },
            decoder: PayloadDecoder::new(schema, self.codec.as_ref(), &self.payload)?,
            offsets: BTreeMap::new(),
            queue: Vec::new(),
            current: None,
            rest: Vec::new(),
            skipping: 0,
            block: vec![0; BLOCK_BYTES],
            rows_max: 4_096,
            errors: None,
            listed: false,
        }))
    }
    fn describe(&self) -> String {
        self.path.clone()
    }
}

struct Reader {
    files: Files,
    decoder: PayloadDecoder,
    /// How far each file was read.
    offsets: BTreeMap<PathBuf, u64>,
    /// Files to read in this round, last first.
    queue: Vec<PathBuf>,
    current: Option<(PathBuf, File)>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    /// Bytes already thrown away of a line that is over the limit.
    skipping: usize,
    block: Vec<u8>,
    rows_max: usize,
    errors: Option<RowErrors>,
    listed: bool,
}

impl Reader {
    /// Opens the next file of this round that has something new.
    fn open_next(&mut self) -> Result<bool> {
        while let Some(path) = self.queue.pop() {
            let offset = self.offsets.get(&path).copied().unwrap_or(0);
            let shown = path.display();
            let failed = |error| Error::unavailable(format!("file {shown} cannot be read: {error}"));
            let mut file = File::open(&path).map_err(failed)?;
            let length = file.metadata().map_err(failed)?.len();
            // A file that became shorter was written anew.
            let offset = if length < offset { 0 } else { offset };
            if length > offset || !self.offsets.contains_key(&path) {
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                self.offsets.insert(path.clone(), offset);
                self.current = Some((path, file));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a block and gathers its whole lines. False at the end of the file.
    fn read_block(&mut self, errors: &RowErrors) -> Result<bool> {
        let Some((path, file)) = &mut self.current else { return Ok(false) };
        let read = file.read(&mut self.block).map_err(|error| {
            Error::unavailable(format!("file {} cannot be read: {error}", path.display()))
        })?;
        if read == 0 {
            if self.files.follow_ms.is_none() || self.skipping > 0 {
                self.end_of_line(errors)?;
            } else if let Some(offset) = self.offsets.get_mut(path) {
                // The line will be whole when the file is looked at again.
                *offset -= self.rest.len() as u64;
                self.rest.clear();
            }
            self.current = None;
            return Ok(false);
        }
        if let Some(offset) = self.offsets.get_mut(path) {
            *offset += read as u64;
        }
        let block = std::mem::take(&mut self.block);
        let mut start = 0;
        while let Some(end) = memchr::memchr(b'\n', &block[start..read]) {
            let line = &block[start..start + end];
            if self.rest.is_empty() && self.skipping == 0 {
                if !line.trim_ascii().is_empty() {
                    self.decoder.push(line, errors)?;
                }
            } else {
                self.keep(line);
                self.end_of_line(errors)?;
            }
            start += end + 1;
        }
        self.keep(&block[start..read]);
        self.block = block;
        Ok(true)
    }

    /// Keeps the piece of a line, up to one byte over the limit.
    fn keep(&mut self, piece: &[u8]) {
        let room = (self.files.payload.bytes_max + 1).saturating_sub(self.rest.len());
        let kept = piece.len().min(room);
        self.rest.extend_from_slice(&piece[..kept]);
        self.skipping += piece.len() - kept;
    }

    fn end_of_line(&mut self, errors: &RowErrors) -> Result<()> {
        let line = std::mem::take(&mut self.rest);
        self.skipping = 0;
        if !line.trim_ascii().is_empty() {
            self.decoder.push(&line, errors)?;
        }
        self.rest = line;
        self.rest.clear();
        Ok(())
    }
}

impl Source for Reader {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.errors = Some(context.row_errors(self.files.on_error));
        self.rows_max = context.batch_rows_max;
        Ok(())
    }

    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let Some(errors) = self.errors.clone() else {
            return Err(Error::internal("polled before it was opened"));
        };
        if self.current.is_none() && self.queue.is_empty() && !self.listed {
            self.queue = self.files.list()?;
            self.queue.reverse();
            self.listed = true;
        }
        let mut more = true;
        while self.decoder.len() < self.rows_max && more {
            more = if self.current.is_some() {
                self.read_block(&errors)? || !self.queue.is_empty()
            } else {
                self.open_next()?
            };
        }
        let before: u64 = self.offsets.values().sum();
        if !self.decoder.is_empty() {
            let rows = self.decoder.flush(&errors)?.rows;
            out.metrics().bytes_in.add(before.saturating_sub(out.metrics().bytes_in.get()));
            out.metrics().rows_in.add(rows.num_rows() as u64);
            let mut from = 0;
            // A block of short lines holds more rows than a batch should.
            while from < rows.num_rows() {
                let len = self.rows_max.min(rows.num_rows() - from);
                out.emit(Batch::new(rows.slice(from, len)))?;
                from += len;
            }
        }
        if more || self.current.is_some() {
            return Ok(SourcePoll::Ready);
        }
        match self.files.follow_ms {
            None => Ok(SourcePoll::Finished),
            Some(interval_ms) => {
                self.listed = false;
                Ok(SourcePoll::Sleep(Duration::from_millis(interval_ms.unsigned_abs())))
            }
        }
    }

    /// One blob a file: its offset (8 bytes, little endian), then its path. A line that is read in part is read again.
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        let open = self.current.as_ref().map(|(path, _)| path.clone());
        for (path, offset) in &self.offsets {
            let partial = if open.as_ref() == Some(path) { self.rest.len() + self.skipping } else { 0 };
            let mut blob = (offset - partial as u64).to_le_bytes().to_vec();
            blob.extend_from_slice(path.to_string_lossy().as_bytes());
            state.put_blob(blob);
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        for blob in state.blobs() {
            let Some((offset, path)) = blob.split_first_chunk::<8>() else {
                return Err(Error::state("a file position is cut short"));
            };
            let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
            self.offsets.insert(path, u64::from_le_bytes(*offset));
        }
        Ok(())
    }
}
