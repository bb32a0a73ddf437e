//! The outboxes of a state folder that no pipeline runs with, for people: what waits in them, and taking it away.
//!
//! Invariants: the folder is locked as long as [`OutboxesAtRest`] is there, so nothing here changes under a run; nothing is
//! written but by [`OutboxAtRest::purge`]. What waits is what the next run would send (ledger.rs): of the records that the
//! newest checkpoint knows, those that are not done. Those behind it are not, since their rows come again. A sink that had
//! an outbox and has none any more looks here, too ([`leave`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::FIRST_RUN;
use super::ledger::Ledger;
use super::record::Record;
use crate::context::InstanceContext;
use crate::disk::folder::Folder;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::journal::{self, Reader};
use crate::state::{self, StateReader};

/// See the module's page.
pub struct OutboxesAtRest {
    outboxes: Vec<OutboxAtRest>,
    /// Holds the lock.
    _folder: Folder,
}

/// That of one sink instance.
pub struct OutboxAtRest {
    /// The sink's table.
    pub table: String,
    /// The number of its instance.
    pub instance: usize,
    /// Records behind the newest checkpoint: the next run makes them anew.
    pub made_anew: u64,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Ranges of what is not done.
    todo: Vec<(u64, u64)>,
}

/// A record that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub number: u64,
    /// When it was put in; none where this program cannot read it.
    pub put_ms: Option<i64>,
    /// The connector that wrote it.
    pub connector: String,
    /// What the connector calls it.
    pub title: String,
    /// As the connector wrote it.
    pub body: Bytes,
}

/// What an earlier run's sink had of an outbox is taken away, where `state` is restored for one that has none.
///
/// # Errors
/// If something waits in it, which nobody would send any more, or the folder cannot be used.
pub fn leave(context: &InstanceContext, state: &StateReader) -> Result<()> {
    let Some(path) = context.journal_folder.as_ref().filter(|path| path.is_dir()) else { return Ok(()) };
    let unusable = |error: io::Error| {
        Error::state(format!("the outbox's folder {} cannot be used: {error}", path.display()))
            .remedy("check the folder's rights and the disk's health")
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(path).map_err(unusable)?);
    let blob = state.blobs().find(|blob| Ledger::is_snapshot(blob));
    let table = context.metrics.operator.clone();
    let outbox = OutboxAtRest::of(table, context.instance, path.clone(), disk, blob)?;
    let mut count = 0;
    outbox.each_waiting(|_| {
        count += 1;
        Ok(())
    })?;
    if count > 0 {
        return Err(Error::state(format!(
            "{count} records wait in the outbox of '{}', and as the table is now it has none to send them from",
            outbox.table
        ))
        .remedy(
            "run it with the options that it had until they are sent; or take them away, undelivered, with millstream \
             outbox purge",
        ));
    }
    outbox.purge()
}

impl OutboxesAtRest {
    /// Those in the state folder `state`.
    ///
    /// # Errors
    /// If a pipeline runs with it, it is no state folder, or cannot be read.
    pub fn open(state: &Path) -> Result<Self> {
        let unreadable = |error: io::Error| {
            Error::state(format!("the state folder {} cannot be read: {error}", state.display()))
                .remedy("check the folder's rights and the disk's health")
        };
        // A lock file must not make a state folder of any other.
        if !state.join("lock").is_file() {
            return Err(Error::config(format!("{} is no state folder", state.display()))
                .remedy("give the --state folder of a pipeline that has run"));
        }
        let Some(folder) = Folder::open_if_free(state)? else {
            return Err(Error::state(format!("a pipeline runs with the state folder {}", state.display()))
                .remedy(
                    "stop it first; while it runs it sends what waits by itself, and millstream_outbox_depth at \
                     /metrics says how much that is",
                ));
        };
        let checkpoint = state::newest(&folder)?;
        let snapshots = checkpoint.iter().flat_map(|checkpoint| &checkpoint.snapshots);
        let blobs: Vec<(&str, &Bytes)> = snapshots
            .flat_map(|(operator, _, snapshot)| {
                snapshot.blobs.iter().map(move |blob| (operator.as_str(), blob))
            })
            .filter(|(_, blob)| Ledger::is_snapshot(blob))
            .collect();
        let outboxes = journal::outboxes(state).map_err(unreadable)?;
        let outboxes = outboxes.into_iter().map(|(table, instance, path)| {
            let blob = blobs.iter().find(|(operator, _)| *operator == table).map(|(_, blob)| blob.as_ref());
            let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&path).map_err(unreadable)?);
            OutboxAtRest::of(table, instance, path, disk, blob)
        });
        Ok(Self { outboxes: outboxes.collect::<Result<_>>()?, _folder: folder })
    }

    /// All of them, by table and instance.
    pub fn all(&self) -> &[OutboxAtRest] {
        &self.outboxes
    }
}

impl OutboxAtRest {
    /// What the next run would find (Outbox::begin, Outbox::restore), with what the newest checkpoint has of it.
    fn of(
        table: String,
        instance: usize,
        path: PathBuf,
        disk: Arc<dyn Disk>,
        checkpoint: Option<&[u8]>,
    ) -> Result<Self> {
        let mut own = Self { table, instance, made_anew: 0, path, disk, todo: Vec::new() };
        let mut last = 0;
        own.each(0, u64::MAX, &mut |number, _| {
            last = number;
            Ok(())
        })?;
        let mut ledger = Ledger::default();
        let counted = match checkpoint {
            Some(blob) => {
                ledger.restore(blob, last)?;
                Ledger::read_snapshot(blob)?.0
            }
            None => {
                let was_killed = own.path.join(FIRST_RUN).exists();
                ledger.begin(last, !was_killed);
                if was_killed { 0 } else { last }
            }
        };
        own.todo = ledger.todo();
        let mut made_anew = 0;
        own.each(counted + 1, u64::MAX, &mut |_, _| {
            made_anew += 1;
            Ok(())
        })?;
        own.made_anew = made_anew;
        Ok(own)
    }

    /// The records that are there from `first` to `last`.
    fn each(&self, first: u64, last: u64, visit: &mut impl FnMut(u64, Bytes) -> Result<()>) -> Result<()> {
        let mut reader = Reader::new(Arc::clone(&self.disk), first);
        while let Some((number, bytes)) = reader.next(last)? {
            visit(number, bytes)?;
        }
        Ok(())
    }

    /// What waits, oldest first.
    ///
    /// # Errors
    /// If it cannot be read, or those of `visit`.
    pub fn each_waiting(&self, mut visit: impl FnMut(Waiting) -> Result<()>) -> Result<()> {
        for (first, last) in &self.todo {
            self.each(*first, *last, &mut |number, bytes| {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                visit(match Record::read(bytes.clone()) {
                    Some(record) => Waiting {
                        number,
                        put_ms: Some(record.time_ms),
                        connector: text(&record.connector),
                        title: text(&record.title),
                        body: record.body,
                    },
                    None => Waiting {
                        number,
                        put_ms: None,
                        connector: String::new(),
                        title: String::new(),
                        body: bytes,
                    },
                })
            })?;
        }
        Ok(())
    }

    /// Takes away all that is in it. The next run sends none of it, and counts on from where it was.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn purge(&self) -> Result<()> {
        journal::remove_all(self.disk.as_ref())?;
        // One of a table that is gone is not spoken of any more. What else is in it stays.
        let _ = std::fs::remove_dir(&self.path);
        Ok(())
    }
}
