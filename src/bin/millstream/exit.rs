//! How the command ends: messages on standard error, and the exit code.

use std::process::ExitCode;

use millstream::StartError;
use millstream::engine::{Error, ErrorKind};
use millstream::sql::SqlError;

/// Why a command failed.
pub enum Failure {
    /// While running.
    Runtime(Error),
    /// Stopped by a second signal before everything was delivered.
    Interrupted,
    /// The command line asks for what cannot be.
    Usage(String),
    /// Wrong SQL, in a file of this name.
    Sql(SqlError, String),
    /// Wrong configuration.
    Config(Error),
}

impl Failure {
    /// From the start of a pipeline made of the text called `source`.
    pub fn start(error: StartError, source: &str) -> Self {
        match error {
            StartError::Sql(error) => Self::Sql(error, source.to_owned()),
            StartError::Engine(error) if error.kind() == ErrorKind::Config => Self::Config(error),
            StartError::Engine(error) => Self::Runtime(error),
        }
    }
}

/// Prints what went wrong, and gives the exit code for it.
pub fn code(done: Result<(), Failure>) -> ExitCode {
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Runtime(error)) => (1, format!("error: {error}")),
        Err(Failure::Interrupted) => (1, "stopped before everything was delivered".to_owned()),
        Err(Failure::Usage(message)) => (2, format!("error: {message}")),
        Err(Failure::Sql(error, source)) => (3, error.render(&source)),
        Err(Failure::Config(error)) => (3, format!("error: {error}")),
    };
    eprintln!("{}", message.trim_end());
    ExitCode::from(code)
}
