//! `millstream init [FILE]`: a file to start from, which runs as it is, with what to change beside it as comments.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use crate::cli::Init;
use crate::exit::Failure;

const STARTER: &str = include_str!("starter.sql");

/// Writes the file; one that is there is kept.
pub fn run(init: &Init) -> Result<(), Failure> {
    let shown = init.file.display();
    let open = OpenOptions::new().write(true).create_new(true).open(&init.file);
    open.and_then(|mut file| file.write_all(STARTER.as_bytes())).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::Usage(format!(
            "{shown} is there already\nhelp: name another file: millstream init other.sql"
        )),
        _ => Failure::Usage(format!("{shown} cannot be written: {error}")),
    })?;
    println!("{shown} is written. See it run: millstream run {shown}");
    Ok(())
}
