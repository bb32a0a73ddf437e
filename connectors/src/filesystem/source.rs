//! Reads files one after the other, in order of name, and goes on with what is added when following.
//!
//! Invariants: every line is a row or a reported error, the last one without a line end too; positions are kept in
//! checkpoints (tracked.rs). When following, a line counts once its end is there. A file that was renamed away is read
//! to its end before the new one of its name is begun, and looked at [`LOOKS_GONE_MAX`] times more, for its writer may
//! not have noticed yet; so is a deleted one. A broken compressed or parquet file is tried again when it has changed, and
//! otherwise is one bad row that names it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{
    Batch, Codec, Error, InstanceContext, Output, Result, Source, SourcePoll, SourceProvider,
};

use crate::format::{PayloadDecoder, PayloadOptions};

use super::columns::{About, Columns};
use super::lines::{Block, Lines, is_packed, unpacked};
use super::listing::{FileId, Found, beside, list};
use super::tracked::{self, Tracked};

/// Looks at a file that no name leads to any more, since it last grew, before it is let go.
const LOOKS_GONE_MAX: u32 = 10;
/// Files held open while following.
const HELD_MAX: usize = 256;

/// What the table's options say.
#[derive(Clone)]
pub(super) struct Files {
    pub path: String,
    pub owner: String,
    /// Look for more this often; none reads once.
    pub follow_ms: Option<i64>,
    /// How lines are decoded; none for parquet.
    pub codec: Option<Arc<dyn Codec>>,
    pub payload: PayloadOptions,
    pub on_error: OnError,
    /// The first line of each file names its columns, and is passed over.
    pub has_header: bool,
    /// Metadata columns: (name, key).
    pub metadata: Vec<(String, String)>,
}

impl SourceProvider for Files {
    fn is_bounded(&self) -> bool {
        self.follow_ms.is_none()
    }

    fn create(&self, schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        list(&self.path, &self.owner, self.follow_ms.is_some())?;
        let columns = Columns::new(schema, &self.metadata);
        let content = Arc::clone(&columns.content);
        let decoder =
            self.codec.as_ref().map(|codec| PayloadDecoder::new(content, codec.as_ref(), &self.payload));
        Ok(Box::new(Reader {
            files: self.clone(),
            decoder: decoder.transpose()?,
            columns,
            tracked: BTreeMap::new(),
            queue: Vec::new(),
            current: None,
            about: About::default(),
            numbers: Vec::new(),
            rows_max: 4_096,
            errors: None,
            is_listed: false,
        }))
    }

    fn describe(&self) -> String {
        self.path.clone()
    }
}

struct Reader {
    files: Files,
    decoder: Option<PayloadDecoder>,
    columns: Columns,
    tracked: BTreeMap<FileId, Tracked>,
    /// Files to read in this round, last first; none found for those that are gone.
    queue: Vec<(FileId, Option<Found>)>,
    current: Option<Current>,
    /// The file that gathered lines are of.
    about: About,
    /// Their numbers, where they are asked for.
    numbers: Vec<i64>,
    rows_max: usize,
    errors: Option<RowErrors>,
    is_listed: bool,
}

/// The file that is being read.
struct Current {
    id: FileId,
    /// Its length when it was opened.
    length: u64,
    /// Its end is the end: nothing more will come.
    is_last_time: bool,
    content: Content,
}

enum Content {
    Lines(Lines),
    #[cfg(feature = "parquet")]
    Parquet(super::parquet_read::Rows),
}

/// What went wrong within a file.
enum Trouble {
    Reading(io::Error),
    Ending(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::unavailable(format!("file {} cannot be read: {error}", path.display()))
}

impl Reader {
    /// Looks which files there are, and puts those to read in order: first what is gone, then what was begun, then new ones.
    fn look(&mut self) -> Result<()> {
        let is_following = self.files.follow_ms.is_some();
        let found = list(&self.files.path, &self.files.owner, is_following)?;
        let ids: std::collections::BTreeSet<FileId> = found.iter().map(|file| file.id).collect();
        let mut round = Vec::new();
        for (id, file) in &mut self.tracked {
            if ids.contains(id) {
                file.looks_gone = 0;
                continue;
            }
            file.looks_gone += 1;
            if file.file.is_none() && file.done_length.is_none() && file.looks_gone == 1 {
                // After a restart: a rotation may have put it beside where it was.
                file.file = beside(&file.path, *id).and_then(|path| File::open(path).ok());
            }
            if file.file.is_some() {
                round.push((*id, None));
            }
        }
        if is_following {
            self.tracked.retain(|_, file| file.looks_gone == 0 || file.file.is_some());
        }
        let (mut begun, new): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|file| self.tracked.contains_key(&file.id));
        // By the names they had: a file that a rotation moved comes before the one that took its name.
        begun.sort_by(|a, b| self.tracked[&a.id].path.cmp(&self.tracked[&b.id].path));
        for file in begun.into_iter().chain(new) {
            self.tracked.entry(file.id).or_default().path.clone_from(&file.path);
            round.push((file.id, Some(file)));
        }
        round.reverse();
        self.queue = round;
        Ok(())
    }

    /// Opens the next file of this round that has something new.
    fn open_next(&mut self, errors: &RowErrors) -> Result<bool> {
        while let Some((id, found)) = self.queue.pop() {
            let held = self.tracked.values().filter(|file| file.file.is_some()).count();
            let Some(tracked) = self.tracked.get_mut(&id) else { continue };
            let path = tracked.path.clone();
            let failed = |error: io::Error| unreadable(&path, &error);
            let file = match &tracked.file {
                Some(file) => file.try_clone().map_err(failed)?,
                None => match File::open(&path) {
                    Ok(file) => file,
                    // Renamed since we looked: found again in the next round.
                    Err(error)
                        if self.files.follow_ms.is_some() && error.kind() == io::ErrorKind::NotFound =>
                    {
                        continue;
                    }
                    Err(error) => return Err(failed(error)),
                },
            };
            let about = file.metadata().map_err(failed)?;
            if FileId::of(&about, &path) != id {
                continue;
            }
            let is_plain = self.decoder.is_some() && !is_packed(&path);
            tracked.check_rewritten(&file, about.len(), is_plain).map_err(failed)?;
            let is_last_time = found.is_none() && tracked.looks_gone >= LOOKS_GONE_MAX;
            let has_new = if is_plain {
                about.len() > tracked.offset
            } else {
                tracked.done_length != Some(about.len())
            };
            if !has_new {
                if is_last_time {
                    self.tracked.remove(&id);
                }
                continue;
            }
            if self.files.follow_ms.is_some() && is_plain && tracked.file.is_none() && held < HELD_MAX {
                tracked.file = Some(file.try_clone().map_err(failed)?);
            }
            let offset = tracked.offset;
            if let Some(found) = &found {
                self.about = About::new(found);
            }
            let length = about.len();
            let content = match self.content(&path, file, offset, is_plain) {
                Ok(content) => content,
                Err(error) if error.kind() == millstream_engine::ErrorKind::Data => {
                    self.broken(id, length, &error, errors)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.current = Some(Current { id, length, is_last_time, content });
            return Ok(true);
        }
        Ok(false)
    }

    fn content(&self, path: &Path, mut file: File, offset: u64, is_plain: bool) -> Result<Content> {
        if self.decoder.is_none() {
            file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(path, &error))?;
            #[cfg(feature = "parquet")]
            return super::parquet_read::Rows::open(file, path, &self.columns.content, self.rows_max, offset)
                .map(Content::Parquet);
            #[cfg(not(feature = "parquet"))]
            return Err(Error::internal("parquet without its feature"));
        }
        let start = if is_plain { offset } else { 0 };
        file.seek(SeekFrom::Start(start)).map_err(|error| unreadable(path, &error))?;
        let reader = unpacked(path, file).map_err(|error| unreadable(path, &error))?;
        Ok(Content::Lines(Lines::new(reader, start, offset - start, self.files.payload.bytes_max)))
    }

    /// A file that ends too early or is not what its name says. It may still be on its way; if it does not change, it
    /// is a bad row.
    fn broken(&mut self, id: FileId, length: u64, error: &Error, errors: &RowErrors) -> Result<()> {
        let Some(tracked) = self.tracked.get_mut(&id) else { return Ok(()) };
        if self.files.follow_ms.is_some() && tracked.broken_length != Some(length) {
            tracked.broken_length = Some(length);
            return Ok(());
        }
        tracked.done_length = Some(length);
        errors.reject(tracked.path.to_string_lossy().as_bytes(), error.clone())
    }

    /// Reads some of the current file. Answers rows where they do not come as lines.
    fn read_some(&mut self, errors: &RowErrors, out: &Output<'_>) -> Result<Option<RecordBatch>> {
        let Some(mut current) = self.current.take() else { return Ok(None) };
        let Some(tracked) = self.tracked.get_mut(&current.id) else { return Ok(None) };
        let path = tracked.path.clone();
        match &mut current.content {
            #[cfg(feature = "parquet")]
            Content::Parquet(rows) => {
                let next = match rows.next() {
                    Ok(next) => next,
                    Err(error) => {
                        return self.broken(current.id, current.length, &error, errors).map(|()| None);
                    }
                };
                let Some(rows) = next else {
                    tracked.done_length = Some(current.length);
                    out.metrics().bytes_in.add(current.length);
                    return Ok(None);
                };
                let before = i64::try_from(tracked.offset).unwrap_or(i64::MAX);
                tracked.offset += rows.num_rows() as u64;
                self.current = Some(current);
                self.columns.complete(rows, &self.about, |row| before + row as i64 + 1).map(Some)
            }
            Content::Lines(lines) => {
                let Some(decoder) = &mut self.decoder else { return Ok(None) };
                let (has_header, wants_numbers) = (self.files.has_header, self.columns.has_metadata());
                let (numbers, counted) = (&mut self.numbers, &mut tracked.lines);
                let mut take = |line: &[u8]| -> Result<(), Trouble> {
                    *counted += 1;
                    let is_header = has_header && *counted == 1;
                    if !is_header
                        && !line.trim_ascii().is_empty()
                        && decoder.push(line, errors).map_err(Trouble::Ending)?
                        && wants_numbers
                    {
                        numbers.push(i64::try_from(*counted).unwrap_or(i64::MAX));
                    }
                    Ok(())
                };
                let before = lines.offset();
                let read = lines.read_block(&mut take);
                out.metrics().bytes_in.add(lines.offset() - before);
                let is_whole = self.files.follow_ms.is_none() || current.is_last_time || is_packed(&path);
                match read {
                    Ok(Block::More) => {
                        tracked.offset = lines.position();
                        self.current = Some(current);
                        return Ok(None);
                    }
                    Ok(Block::End) => {
                        if is_whole || lines.is_skipping() {
                            match lines.end_line(&mut take) {
                                Err(Trouble::Ending(error)) => return Err(error),
                                Err(Trouble::Reading(error)) => return Err(unreadable(&path, &error)),
                                Ok(()) => {}
                            }
                        }
                        tracked.offset = lines.position();
                    }
                    Err(Trouble::Ending(error)) => return Err(error),
                    Err(Trouble::Reading(error)) if is_packed(&path) => {
                        tracked.offset = lines.position();
                        let what = format!(
                            "file {} cannot be decompressed after {} bytes: {error}",
                            path.display(),
                            lines.offset()
                        );
                        return self
                            .broken(current.id, current.length, &Error::data(what), errors)
                            .map(|()| None);
                    }
                    Err(Trouble::Reading(error)) => return Err(unreadable(&path, &error)),
                }
                let is_packed = is_packed(&path);
                if is_packed {
                    tracked.done_length = Some(current.length);
                }
                if tracked.looks_gone > 0 {
                    // It grew: its writer is still there.
                    tracked.looks_gone = 1;
                }
                let read_length = if is_packed { current.length } else { tracked.offset };
                let file = match &tracked.file {
                    Some(file) => file.try_clone(),
                    None => File::open(&path),
                };
                // A file that is gone by now is not compared with anything either.
                if let Ok(file) = file {
                    tracked.take_print(&file, read_length).map_err(|error| unreadable(&path, &error))?;
                }
                if current.is_last_time {
                    self.tracked.remove(&current.id);
                }
                Ok(None)
            }
        }
    }

    /// Decodes and emits the gathered lines.
    fn emit_lines(&mut self, errors: &RowErrors, out: &mut Output<'_>) -> Result<()> {
        let Some(decoder) = self.decoder.as_mut().filter(|decoder| !decoder.is_empty()) else {
            return Ok(());
        };
        let decoded = decoder.flush(errors)?;
        let (numbers, payload_of) = (&self.numbers, &decoded.payload_of);
        let line = |row: usize| {
            let payload = payload_of.as_ref().map_or(row, |payloads| payloads[row] as usize);
            numbers.get(payload).copied().unwrap_or(0)
        };
        let rows = self.columns.complete(decoded.rows, &self.about, line)?;
        self.numbers.clear();
        self.emit(&rows, out)
    }

    fn emit(&self, rows: &RecordBatch, out: &mut Output<'_>) -> Result<()> {
        out.metrics().rows_in.add(rows.num_rows() as u64);
        let mut from = 0;
        // A block of short lines holds more rows than a batch should.
        while from < rows.num_rows() {
            let len = self.rows_max.min(rows.num_rows() - from);
            out.emit(Batch::new(rows.slice(from, len)))?;
            from += len;
        }
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
        if self.current.is_none() && self.queue.is_empty() && !self.is_listed {
            self.look()?;
            self.is_listed = true;
        }
        let mut more = true;
        while more && self.decoder.as_ref().is_none_or(|decoder| decoder.len() < self.rows_max) {
            if self.current.is_some() {
                if let Some(rows) = self.read_some(&errors, out)? {
                    self.emit(&rows, out)?;
                    return Ok(SourcePoll::Ready);
                }
            } else if self.columns.has_metadata()
                && self.decoder.as_ref().is_some_and(|decoder| !decoder.is_empty())
            {
                // Rows of one file only, for they share what is known of it.
                break;
            } else {
                more = self.open_next(&errors)?;
            }
        }
        self.emit_lines(&errors, out)?;
        if more {
            return Ok(SourcePoll::Ready);
        }
        match self.files.follow_ms {
            None => Ok(SourcePoll::Finished),
            Some(interval_ms) => {
                self.is_listed = false;
                Ok(SourcePoll::Sleep(Duration::from_millis(interval_ms.unsigned_abs())))
            }
        }
    }

    /// A line that is read in part is read again.
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        tracked::write(&self.tracked, state);
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.tracked = tracked::read(state)?;
        Ok(())
    }
}
