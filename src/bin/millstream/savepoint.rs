//! `millstream savepoint`: a state folder's newest checkpoint, copied to where it stays.

use millstream::engine::ErrorKind;
use millstream::engine::state::savepoint;

use crate::cli::Savepoint;
use crate::exit::Failure;

/// Copies it.
pub fn take(arguments: &Savepoint) -> Result<(), Failure> {
    let epoch = savepoint::take(&arguments.state, &arguments.to).map_err(|error| match error.kind() {
        ErrorKind::Config => Failure::Config(error),
        _ => Failure::Runtime(error),
    })?;
    eprintln!(
        "checkpoint {epoch} is safe in {}: begin from it with run --from and an empty --state folder",
        arguments.to.display()
    );
    Ok(())
}
