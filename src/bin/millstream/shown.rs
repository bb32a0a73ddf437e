//! How what is kept on disk for later is shown: rows, times, lines of JSON; and the question before it is taken away.
//!
//! Shared by `millstream outbox` and `millstream dead-letters`.

use std::io::{BufRead, IsTerminal, Write};

use chrono::{DateTime, SecondsFormat};
use millstream::engine::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::exit::Failure;

/// A row as JSON: as it is where it is that, in one line, anything else as a text.
pub fn row(bytes: &[u8]) -> String {
    let is_line = !bytes.contains(&b'\n') && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let text = String::from_utf8_lossy(bytes);
    if is_line { text.into_owned() } else { serde_json::Value::from(text).to_string() }
}

/// A time in milliseconds since 1970.
pub fn time(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// One line of JSON.
pub fn json(of: &impl Serialize) -> Result<String> {
    serde_json::to_string(of).map_err(|error| Error::internal(error.to_string()))
}

/// One line of JSON with a field more behind those of `of`, whose value is JSON.
pub fn json_with(of: &impl Serialize, name: &str, value: &str) -> Result<String> {
    let object = json(of)?;
    let head = object.strip_suffix('}').unwrap_or(&object);
    let comma = if head.ends_with('{') { "" } else { "," };
    Ok(format!("{head}{comma}\"{name}\":{value}}}"))
}

/// Why the output cannot be written; `Closed` when its reader has seen enough.
pub fn unwritten(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::closed("the reader of the output is gone"),
        _ => Error::unavailable(format!("the output cannot be written: {error}")),
    }
}

/// Ends what was shown on standard output.
pub fn done(shown: Result<()>, out: &mut impl Write) -> Result<(), Failure> {
    match shown.and_then(|()| out.flush().map_err(|error| unwritten(&error))) {
        Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
        shown => shown.map_err(failed),
    }
}

/// As a command's end.
pub fn failed(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::Config => Failure::Config(error),
        _ => Failure::Runtime(error),
    }
}

/// Asks on the terminal. `help` says what to do where there is none.
pub fn is_confirmed(question: &str, help: &str) -> Result<bool, Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::Usage(format!("nobody can be asked here\nhelp: {help}")));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = input.lock().read_line(&mut answer);
    read.map_err(|error| Failure::Usage(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
