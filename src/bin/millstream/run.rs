//! `millstream run FILE` and `millstream sql TEXT`.

use std::io::Read;
use std::path::Path;

use crate::cli::{Run, RunOptions, Sql};
use crate::exit::Failure;
use crate::runner;

/// Runs a file.
pub fn file(run: &Run) -> Result<(), Failure> {
    let (text, name) = read(&run.file)?;
    start(&text, &name, &run.options)
}

/// Runs statements of the command line.
pub fn text(sql: &Sql) -> Result<(), Failure> {
    start(&sql.text, "SQL", &sql.options)
}

/// The text of a file, and what to call it in messages.
pub fn read(file: &Path) -> Result<(String, String), Failure> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.map_err(|error| Failure::Usage(format!("{name} cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Failure::Usage(format!("{name} is no UTF-8 text: line {line} has other bytes"))
    })?;
    Ok((text, name))
}

fn start(text: &str, name: &str, options: &RunOptions) -> Result<(), Failure> {
    runner::run(text, name, options)
}
