//! Which state of a checkpoint fits the graph that is to go on from it.
//!
//! State goes to the operator of the same identity (shape.rs), whatever that is called now. What is left is of operators
//! that the graph does not have any more: it is dropped only where that was allowed, since rows that it was made of will
//! not come again. A checkpoint comes from file.rs, and what fits goes to operators by disk.rs.

use std::collections::{BTreeMap, BTreeSet};

use super::OperatorShape;
use super::file::Checkpoint;
use crate::error::{Error, Result};
use crate::journal::OtherJournal;

/// What can be kept, and what cannot.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// What operators are called now whose state goes on.
    kept: BTreeSet<String>,
    /// Of each other operator with state, why it does not fit.
    dropped: BTreeMap<String, String>,
}

impl Fit {
    /// Takes out of `checkpoint` the state of operators that are not in `shape`, and calls the others as they are there.
    pub fn of(checkpoint: &mut Checkpoint, shape: &[OperatorShape]) -> Self {
        let mut fit = Self::default();
        let former = std::mem::take(&mut checkpoint.shape);
        let identities: BTreeSet<&str> = former.iter().map(|operator| operator.identity.as_str()).collect();
        checkpoint.snapshots.retain_mut(|(operator, _, snapshot)| {
            if snapshot.is_empty() {
                return false;
            }
            let Some(before) = former.iter().find(|known| known.id == *operator) else { return false };
            let is_same = |now: &&OperatorShape| {
                now.identity == before.identity || now.first_identity() == before.identity
            };
            if let Some(now) = shape.iter().find(is_same) {
                operator.clone_from(&now.id);
                fit.kept.insert(now.id.clone());
                return true;
            }
            // One of the same name that has come instead is what it was changed to.
            let instead =
                shape.iter().find(|now| now.id == before.id && !identities.contains(now.identity.as_str()));
            let why = match instead {
                Some(now) if now.does != before.does => {
                    format!("'{}' was \"{}\" and is \"{}\"", before.id, before.does, now.does)
                }
                Some(now) => {
                    format!("'{}' was \"{}\" and is \"{}\"", before.id, before.identity, now.identity)
                }
                None => format!("'{}' (\"{}\") is not in it any more", before.id, before.does),
            };
            fit.dropped.insert(operator.clone(), why);
            false
        });
        fit
    }

    /// Says what is dropped, as an error unless it is allowed.
    pub fn check(&self, journals: &[OtherJournal], allow_dropped_state: bool) -> Result<()> {
        let journals = journals.iter().map(OtherJournal::to_string);
        let dropped = self.dropped.values().cloned().chain(journals).collect::<Vec<_>>().join("; ");
        if dropped.is_empty() {
            return Ok(());
        }
        let kept: Vec<String> = self.kept.iter().map(|operator| format!("'{operator}'")).collect();
        let kept = if kept.is_empty() { "none of its state".to_owned() } else { kept.join(", ") };
        if allow_dropped_state {
            tracing::warn!("state is dropped, as was allowed: {dropped}; kept is {kept}");
            return Ok(());
        }
        Err(Error::state(format!("this state belongs to another query: {dropped}. {kept} fits")).remedy(
            "run the query it belongs to, give an empty --state folder, or go on without what does not fit with \
             --allow-dropped-state",
        ))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::state::InstanceSnapshot;

    fn operator(identity: &str, id: &str, does: &str) -> OperatorShape {
        OperatorShape { identity: identity.into(), id: id.into(), does: does.into() }
    }

    #[test]
    fn state_goes_by_identity_whatever_operators_are_called_now() {
        let former = [
            operator("t: source", "t", "source"),
            operator("window by d of (t)", "window", "window by d"),
            operator("window by e of (t)", "window#2", "window by e"),
            operator("window by f of (t)", "window#3", "window by f"),
        ];
        let piece = |id: &str| {
            let blobs = vec![Bytes::copy_from_slice(id.as_bytes())];
            (id.to_owned(), 0, InstanceSnapshot { blobs, ..InstanceSnapshot::default() })
        };
        let mut checkpoint = Checkpoint {
            epoch: 1,
            shape: former.to_vec(),
            snapshots: former.iter().map(|operator| piece(&operator.id)).collect(),
        };
        // The first window is gone, the second takes its name, and the third reads other rows.
        let now = [
            operator("t: source", "t", "source"),
            operator("window by e of (t)", "window", "window by e"),
            operator("window by f of (project where g of (t))", "window#3", "window by f"),
        ];
        let fit = Fit::of(&mut checkpoint, &now);
        let kept: Vec<_> =
            checkpoint.snapshots.iter().map(|(id, _, state)| (id.as_str(), &state.blobs[0][..])).collect();
        assert_eq!(kept, [("t", &b"t"[..]), ("window", b"window#2")]);
        let error = fit.check(&[], false).unwrap_err().to_string();
        for part in [
            "'window' (\"window by d\") is not in it any more",
            "'window#3' was \"window by f of (t)\" and is \"window by f of (project where g of (t))\"",
            "'t', 'window' fits",
            "--allow-dropped-state",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        fit.check(&[], true).unwrap();
    }
}
