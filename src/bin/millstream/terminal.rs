//! Lines on a terminal that also shows the status line (status.rs): rows, logs and messages take its place, and it is
//! drawn again below them.
//!
//! Invariant: what is written begins with the status line wiped away, in one write with it, so that the status cannot come
//! between. Where no terminal shows a status line nothing is added.

use std::io::{IsTerminal, LineWriter, Result, Write};

/// Wipes the line the cursor is in.
pub const WIPE: &str = "\r\x1b[2K";

/// Lines to `to`, each put where the status line is.
pub fn lines<W: Write + IsTerminal>(to: W) -> LineWriter<Lines<W>> {
    let is_shared = to.is_terminal() && std::io::stderr().is_terminal();
    LineWriter::new(Lines { to, is_shared })
}

/// Gets whole lines from the writer around it.
pub struct Lines<W> {
    to: W,
    is_shared: bool,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, lines: &[u8]) -> Result<usize> {
        if self.is_shared {
            self.to.write_all(&[WIPE.as_bytes(), lines].concat())?;
        } else {
            self.to.write_all(lines)?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.to.flush()
    }
}

/// As much of `line` as fits into one line of the terminal: what wraps would not be wiped.
pub fn fitting(line: &str) -> &str {
    let width =
        terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
    line.char_indices().nth(width.saturating_sub(1)).map_or(line, |(end, _)| &line[..end])
}

/// Says something on standard error.
pub fn say(message: &str) {
    // Nobody can be told where standard error is gone.
    let _ = writeln!(lines(std::io::stderr()), "{message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_is_wiped_once_a_write() {
        let mut shared = LineWriter::new(Lines { to: Vec::new(), is_shared: true });
        shared.write_all(b"a\nb\nc").unwrap();
        shared.write_all(b"d\n").unwrap();
        assert_eq!(shared.into_inner().map_err(drop).unwrap().to, b"\r\x1b[2Ka\nb\n\r\x1b[2Kcd\n");
    }
}
