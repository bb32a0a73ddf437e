//! What can go wrong, sorted by what somebody can do about it.
//!
//! Invariant: every error says what happened, where, and (where there is one) the remedy. A `Data` error
//! belongs to a row and goes to the dead letters; all others end the job they happen in, never the process.

use std::fmt;

/// Shorthand for results of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure, each with one reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user's SQL, options or wiring are wrong: change them and start again.
    Config,
    /// Something outside is away for now: retried with backoff, this is what remains after the last retry.
    Unavailable,
    /// One row or payload cannot be used: it goes to the dead letters unless the table says otherwise.
    Data,
    /// State cannot be read or written: restore from another checkpoint.
    State,
    /// The other end of a queue is gone because the job is ending.
    Closed,
    /// A defect of ours.
    Internal,
}

/// An error with its kind, the place it happened in, and what to do.
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    place: Option<String>,
    remedy: Option<String>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { kind, message: message.into(), place: None, remedy: None }) }
    }

    /// A wrong setting.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// An outage of something outside.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// An unusable row or payload.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Unreadable or unwritable state.
    pub fn state(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::State, message)
    }

    /// The job is ending.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Closed, message)
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Names where it happened (a table, an operator, a file). The innermost place is kept.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.inner.place.get_or_insert_with(|| place.into());
        self
    }

    /// Says what to do about it. The innermost remedy is kept.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.inner.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What happened, without place and remedy.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Where it happened, if known.
    pub fn place(&self) -> Option<&str> {
        self.inner.place.as_deref()
    }

    /// What to do about it, if known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.inner.remedy.as_deref()
    }
}

/// The text of an error and of what caused it, each said once: the outermost of a client's errors often says nothing.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.inner.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.inner.message)?;
        if let Some(remedy) = &self.inner.remedy {
            write!(f, " ({remedy})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.inner.kind)
    }
}

impl std::error::Error for Error {}

impl From<arrow_schema::ArrowError> for Error {
    /// Arrow refuses values, not programs: an error from a kernel is about the data it was given.
    fn from(error: arrow_schema::ArrowError) -> Self {
        Error::data(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_place_and_remedy() {
        let error = Error::config("unknown option 'qoss'").at("table sensors").remedy("did you mean 'qos'?");
        assert_eq!(error.to_string(), "table sensors: unknown option 'qoss' (did you mean 'qos'?)");
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn the_innermost_place_wins() {
        assert_eq!(Error::data("x").at("column t").at("table a").place(), Some("column t"));
    }
}
