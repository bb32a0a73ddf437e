//! States that are bytes of their aggregate's own: a version (u8), and what the aggregate writes behind it.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use millstream_engine::{Error, Result};

/// The states of `groups`, each as `write` adds it to the bytes it is given.
pub(super) fn write(groups: &[u32], version: u8, mut write: impl FnMut(usize, &mut Vec<u8>)) -> ArrayRef {
    let mut column = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for group in groups {
        bytes.clear();
        bytes.push(version);
        write(*group as usize, &mut bytes);
        column.append_value(&bytes);
    }
    Arc::new(column.finish())
}

/// Has `merge` take what [`write`] wrote for each of `groups`; none where it cannot read it.
///
/// # Errors
/// If one cannot be read, which says that it is the state of `what`.
pub(super) fn merge(
    groups: &[u32],
    column: &ArrayRef,
    version: u8,
    what: &str,
    mut merge: impl FnMut(usize, &[u8]) -> Option<()>,
) -> Result<()> {
    let parts = column.as_binary::<i32>();
    for (row, group) in groups.iter().enumerate() {
        let merged = match parts.value(row).split_first() {
            Some((written, bytes)) if *written == version => merge(*group as usize, bytes),
            _ => None,
        };
        merged.ok_or_else(|| Error::state(format!("the state of {what} cannot be read")))?;
    }
    Ok(())
}
