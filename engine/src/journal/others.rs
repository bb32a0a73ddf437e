//! Journals and outboxes in a state folder, of sources and sinks that are not in the graph any more.
//!
//! They hold messages that their senders were told to forget, and requests that were not delivered, so they are found and named when the folder is opened
//! (state/disk.rs), and taken away only where that was allowed, behind a checkpoint that counts nothing of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::spelled;
use crate::error::{Error, Result};

/// What logs are called in a state folder, and what they hold.
const LOGS: [(&str, &str); 2] =
    [("journal", "acknowledged messages"), ("outbox", "rows that were not delivered")];

/// The logs of one such source or sink.
#[derive(Debug)]
pub(crate) struct OtherJournal {
    /// Which of [`LOGS`].
    log: (&'static str, &'static str),
    table: String,
    bytes: u64,
    folders: Vec<PathBuf>,
}

/// Those inside the state folder `state` that are of none of the operators `of_graph`.
pub(crate) fn of_others(state: &Path, of_graph: &[&str]) -> Result<Vec<OtherJournal>> {
    let unreadable = |error: io::Error| {
        Error::state(format!("the state folder {} cannot be read: {error}", state.display()))
            .remedy("check the folder's rights and the disk's health")
    };
    let own: Vec<String> = of_graph.iter().map(|operator| spelled(operator)).collect();
    let mut others = BTreeMap::<(&str, String), OtherJournal>::new();
    for LogFolder { log, table, path, .. } in folders(state).map_err(unreadable)? {
        if own.contains(&table) {
            continue;
        }
        let bytes = bytes_in(&path).map_err(unreadable)?;
        let new = || OtherJournal { log, table: name_of(&table), bytes: 0, folders: Vec::new() };
        let other = others.entry((log.0, table.clone())).or_insert_with(new);
        other.bytes += bytes;
        other.folders.push(path);
    }
    Ok(others.into_values().collect())
}

/// The folder of an instance's log.
struct LogFolder {
    /// Which of [`LOGS`].
    log: (&'static str, &'static str),
    /// As it is [`spelled`].
    table: String,
    instance: usize,
    path: PathBuf,
}

fn folders(state: &Path) -> io::Result<Vec<LogFolder>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(state)? {
        let path = entry?.path();
        let of_log = |name: &str| {
            let log = LOGS.into_iter().find(|(log, _)| name.starts_with(&format!("{log}-")))?;
            let (table, instance) = name.split_once('-')?.1.rsplit_once('-')?;
            Some((log, table.to_owned(), instance.parse().ok()?))
        };
        if let Some((log, table, instance)) = path.file_name().and_then(|name| of_log(name.to_str()?)) {
            folders.push(LogFolder { log, table, instance, path });
        }
    }
    Ok(folders)
}

/// The outboxes inside the state folder `state`: of which table, which instance, and where; in this order.
pub(crate) fn outboxes(state: &Path) -> io::Result<Vec<(String, usize, PathBuf)>> {
    let all = folders(state)?.into_iter().filter(|folder| folder.log.0 == "outbox");
    let mut all: Vec<_> = all.map(|folder| (name_of(&folder.table), folder.instance, folder.path)).collect();
    all.sort();
    Ok(all)
}

fn bytes_in(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |bytes, file| Ok(bytes + file?.metadata()?.len()))
}

/// The name that was [`spelled`] so.
fn name_of(spelled: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), spelled.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl OtherJournal {
    /// Takes them away.
    pub fn remove(&self) -> Result<()> {
        self.folders.iter().try_for_each(|folder| match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::state(format!("cannot remove {}: {error}", folder.display()))
                    .remedy("check the folder's rights and the disk's health"))
            }
            _ => Ok(()),
        })
    }
}

impl fmt::Display for OtherJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} of '{}', which is not in it any more, holds {} bytes of {}",
            self.log.0, self.table, self.bytes, self.log.1
        )
    }
}
