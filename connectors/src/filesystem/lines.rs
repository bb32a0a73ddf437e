//! The lines of one file: block by block out of the file or a decompressor, one line after the other.
//!
//! Invariants: at most 'payload.max-bytes' and a byte of a line are kept, the rest of a longer one is only counted;
//! [`Lines::position`] is always after a whole line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes read at a time.
const BLOCK_BYTES: usize = 1 << 18;

/// Whether a file of this name is compressed.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|kind| ["gz", "zst", "sz"].iter().any(|packed| kind == *packed))
}

/// A file's bytes, decompressed as its name says.
pub(super) fn unpacked(path: &Path, file: File) -> io::Result<Box<dyn Read + Send>> {
    match path.extension().and_then(|kind| kind.to_str()) {
        #[cfg(feature = "compression")]
        Some("gz") => Ok(Box::new(flate2::read::MultiGzDecoder::new(file))),
        #[cfg(feature = "compression")]
        Some("zst") => Ok(Box::new(zstd::stream::read::Decoder::new(file)?)),
        #[cfg(feature = "compression")]
        Some("sz") => Ok(Box::new(snap::read::FrameDecoder::new(file))),
        #[cfg(not(feature = "compression"))]
        Some("gz" | "zst" | "sz") => Err(io::Error::other("this build has no feature 'compression'")),
        _ => Ok(Box::new(file)),
    }
}

/// What a block held.
pub(super) enum Block {
    /// Something: look for more.
    More,
    /// The end of the file as it is now.
    End,
}

/// Reads a file's lines.
pub(super) struct Lines {
    reader: Box<dyn Read + Send>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    /// Bytes already thrown away of a line that is over the limit.
    skipping: u64,
    /// Bytes read, and those that are still to be passed over.
    offset: u64,
    to_pass: u64,
    line_bytes_max: usize,
    block: Vec<u8>,
}

impl Lines {
    /// Reads from `reader`, which stands at `offset`, after passing over `to_pass` bytes.
    pub fn new(reader: Box<dyn Read + Send>, offset: u64, to_pass: u64, line_bytes_max: usize) -> Self {
        let block = vec![0; BLOCK_BYTES];
        Self { reader, rest: Vec::new(), skipping: 0, offset, to_pass, line_bytes_max, block }
    }

    /// Bytes of whole lines so far.
    pub fn position(&self) -> u64 {
        self.offset - self.rest.len() as u64 - self.skipping
    }

    /// Bytes read so far, the beginning of a line included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads a block and hands its whole lines over.
    pub fn read_block<E: From<io::Error>>(
        &mut self,
        mut line: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Block, E> {
        let read = self.reader.read(&mut self.block)?;
        if read == 0 {
            return Ok(Block::End);
        }
        let passed = usize::try_from(self.to_pass).unwrap_or(usize::MAX).min(read);
        self.to_pass -= passed as u64;
        self.offset += read as u64;
        let block = std::mem::take(&mut self.block);
        let mut start = passed;
        while let Some(end) = memchr::memchr(b'\n', &block[start..read]) {
            if self.rest.is_empty() && self.skipping == 0 {
                line(&block[start..start + end])?;
            } else {
                self.keep(&block[start..start + end]);
                self.end_line(&mut line)?;
            }
            start += end + 1;
        }
        self.keep(&block[start..read]);
        self.block = block;
        Ok(Block::More)
    }

    /// True where the file ends within a line that is over the limit: its end is not waited for.
    pub fn is_skipping(&self) -> bool {
        self.skipping > 0
    }

    /// Hands over the last line, which has no end.
    pub fn end_line<E>(&mut self, line: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if !self.rest.is_empty() {
            line(&self.rest)?;
        }
        self.rest.clear();
        self.skipping = 0;
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = (self.line_bytes_max + 1).saturating_sub(self.rest.len());
        let kept = piece.len().min(room);
        self.rest.extend_from_slice(&piece[..kept]);
        self.skipping += (piece.len() - kept) as u64;
    }
}
