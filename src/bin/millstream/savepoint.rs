//! `millstream savepoint`: a state folder's newest checkpoint, copied to where it stays.

use millstream::engine::state::savepoint;
use millstream::engine::{Error, ErrorKind};

use crate::cli::Savepoint;
use crate::exit::Failure;

/// Copies it.
pub fn take(arguments: &Savepoint) -> Result<(), Failure> {
    let epoch = copy(arguments).map_err(|error| match error.kind() {
        ErrorKind::Config => Failure::Config(error),
        _ => Failure::Runtime(error),
    })?;
    eprintln!(
        "checkpoint {epoch} is safe in {}: begin from it with run --from and an empty --state folder",
        arguments.to.display()
    );
    Ok(())
}

fn copy(Savepoint { state, to }: &Savepoint) -> Result<u64, Error> {
    match to.to_str().filter(|to| to.contains("://")) {
        #[cfg(feature = "object-store")]
        Some(url) => {
            millstream::remote::save_savepoint(state, url, &millstream::engine::SystemClock::shared())
        }
        #[cfg(not(feature = "object-store"))]
        Some(url) => Err(Error::config(format!("this build has no object stores, so not {url}"))
            .remedy("build it with the feature object-store")),
        None => savepoint::take(state, to),
    }
}
