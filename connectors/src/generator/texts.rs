//! Text columns built without a string a row: bytes and offsets are written as Arrow keeps them.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use millstream_engine::{Error, Result};

use super::{Draws, below};

/// A text column under construction.
pub(crate) struct Texts {
    offsets: Vec<i32>,
    bytes: String,
}

impl Texts {
    /// Room for `rows` rows of `bytes` bytes in all; more is fine.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, bytes: String::with_capacity(bytes) }
    }

    /// Adds to the text of the row under way.
    #[inline]
    pub fn add(&mut self, text: &str) {
        self.bytes.push_str(text);
    }

    /// Ends the row under way.
    #[inline]
    pub fn end(&mut self) {
        // The callers' limits on sizes keep a batch far below 2 GiB; `finish` refuses what is not.
        self.offsets.push(self.bytes.len() as i32);
    }

    /// Adds `rows` empty rows.
    pub fn skip(&mut self, rows: usize) {
        let end = self.bytes.len() as i32;
        self.offsets.resize(self.offsets.len() + rows, end);
    }

    /// The column.
    ///
    /// # Errors
    /// If it is larger than Arrow's limit of 2 GiB.
    pub fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if i32::try_from(self.bytes.len()).is_err() {
            return Err(Error::internal("a generated text column is larger than 2 GiB"));
        }
        let rows = self.offsets.len() - 1;
        if nulls.as_ref().is_some_and(|nulls| nulls.len() != rows) {
            return Err(Error::internal("a generated text column has another length than its nulls"));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let bytes = Buffer::from_vec(self.bytes.into_bytes());
        // SAFETY: the bytes are those of a `String`; the offsets are its lengths after whole `&str`s were added, so
        // they rise, lie on character boundaries, and end within it (they did not wrap, being below 2 GiB). Checking
        // that again for every row took a sixth of the instructions of making all columns of nexmark.
        let column = unsafe { StringArray::new_unchecked(offsets, bytes, nulls) };
        Ok(Arc::new(column))
    }
}

/// Bytes of random text that are made once; small enough to stay in a core's cache.
const TABLE_BYTES: usize = 1 << 16;
/// The longest piece taken from the table at once.
const PIECE_BYTES_MAX: usize = 1 << 12;

/// Random letters, of which texts are slices.
pub(crate) struct RandomText {
    letters: String,
}

impl RandomText {
    /// Letters from `alphabet`, which is ASCII, each as likely as it occurs there.
    pub fn new(draws: Draws, alphabet: &[u8]) -> Self {
        let letter = |n| {
            let letter = alphabet.get(draws.below(n, alphabet.len() as u64) as usize);
            letter.copied().map_or('a', char::from)
        };
        Self { letters: (0..TABLE_BYTES as u64).map(letter).collect() }
    }

    /// A slice of `len` letters, at most [`PIECE_BYTES_MAX`], chosen by `draw`.
    #[inline]
    pub fn slice(&self, draw: u64, len: usize) -> &str {
        let from = below(draw, (TABLE_BYTES - PIECE_BYTES_MAX) as u64) as usize;
        &self.letters[from..from + len.min(PIECE_BYTES_MAX)]
    }

    /// Adds `len` letters chosen by `draw` to the row under way.
    #[inline]
    pub fn fill(&self, texts: &mut Texts, draw: u64, len: usize) {
        let mut rest = len;
        let mut from = draw;
        loop {
            let piece = self.slice(from, rest);
            texts.add(piece);
            rest -= piece.len();
            if rest == 0 {
                return;
            }
            from = from.rotate_left(17) ^ rest as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;

    #[test]
    fn texts_of_any_length() {
        let text = RandomText::new(Draws::new(1, 1), b"abc");
        let mut texts = Texts::with_capacity(4, 0);
        text.fill(&mut texts, 12_345, 10_000);
        texts.end();
        texts.skip(2);
        texts.add("x");
        texts.end();
        let column = texts.finish(Some(NullBuffer::from(vec![true, false, false, true]))).unwrap();
        let column = column.as_string::<i32>();
        assert_eq!((column.value_length(0), column.is_null(1), column.value(3)), (10_000, true, "x"));
        assert!(column.value(0).bytes().all(|byte| b"abc".contains(&byte)));
    }
}
