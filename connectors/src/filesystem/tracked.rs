//! How far each file was read.
//!
//! Invariants: a position belongs to a file, not to a name: it is kept by device and inode, with a print of the file's
//! first bytes, so that a rename is followed, and a file that was emptied or written anew is begun again. Positions are
//! those of whole lines. They are the source's state, one blob a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use millstream_engine::keys::hash_bytes;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Error, Result};

use super::listing::FileId;

/// How many first bytes of a file are compared.
const PRINT_BYTES: u64 = 256;
/// The first byte of a blob.
const VERSION: u8 = 1;

/// A file that was begun.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    pub path: PathBuf,
    /// Bytes read, of what is in the file after decompression; for parquet, rows.
    pub offset: u64,
    /// Lines before `offset`.
    pub lines: u64,
    /// For compressed and parquet files: the file's length when it was read to its end.
    pub done_length: Option<u64>,
    /// How long a broken compressed file was when it was tried.
    pub broken_length: Option<u64>,
    /// Bytes of the print, and its hash.
    print: (u64, u64),
    /// Held open, so that it can be read to its end after it was renamed or deleted.
    pub file: Option<File>,
    /// Looks in a row at which no name led to it, or since when it does not grow.
    pub looks_gone: u32,
}

impl Tracked {
    /// Begins the file again if its first bytes are others than they were, or it is shorter than what was read.
    pub fn check_rewritten(
        &mut self,
        mut file: &File,
        length: u64,
        is_plain: bool,
    ) -> Result<(), std::io::Error> {
        let is_shorter = is_plain && length < self.offset;
        if is_shorter || print_of(&mut file, self.print.0)? != self.print {
            if self.offset > 0 {
                tracing::info!(
                    "{} was emptied or written anew: read from its beginning",
                    self.path.display()
                );
            }
            (self.offset, self.lines, self.done_length, self.print) = (0, 0, None, (0, 0));
        }
        Ok(())
    }

    /// Takes the print of the first bytes, as many as were certainly read.
    pub fn take_print(&mut self, mut file: &File, length_read: u64) -> Result<(), std::io::Error> {
        if self.print.0 < PRINT_BYTES.min(length_read) {
            self.print = print_of(&mut file, PRINT_BYTES.min(length_read))?;
        }
        Ok(())
    }
}

fn print_of(file: &mut &File, bytes: u64) -> Result<(u64, u64), std::io::Error> {
    if bytes == 0 {
        return Ok((0, 0));
    }
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(bytes).read_to_end(&mut first)?;
    Ok((first.len() as u64, hash_bytes(&first)))
}

/// Writes the positions; `partial` is what of a file's offset is not a whole line yet.
pub(super) fn write(files: &BTreeMap<FileId, Tracked>, state: &mut StateWriter) {
    for (id, file) in files {
        let mut blob = vec![VERSION];
        let done = file.done_length.map_or(0, |length| length + 1);
        for number in [id.0, id.1, file.offset, file.lines, done, file.print.0, file.print.1] {
            blob.extend_from_slice(&number.to_le_bytes());
        }
        blob.extend_from_slice(file.path.to_string_lossy().as_bytes());
        state.put_blob(blob);
    }
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// `State` if a blob is none of those.
pub(super) fn read(state: &StateReader) -> Result<BTreeMap<FileId, Tracked>> {
    let mut files = BTreeMap::new();
    for blob in state.blobs() {
        let cut = || Error::state("a file position is cut short, or was written by another version");
        let Some((&VERSION, mut rest)) = blob.split_first() else { return Err(cut()) };
        let mut numbers = [0; 7];
        for number in &mut numbers {
            let (bytes, after) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
            *number = u64::from_le_bytes(*bytes);
            rest = after;
        }
        let [device, inode, offset, lines, done, print_bytes, print] = numbers;
        let path = Path::new(&*String::from_utf8_lossy(rest)).to_owned();
        let done_length = done.checked_sub(1);
        let print = (print_bytes, print);
        let file = Tracked { path, offset, lines, done_length, print, ..Tracked::default() };
        files.insert(FileId(device, inode), file);
    }
    Ok(files)
}
