//! The name of a session: stable over restarts, so that the broker hands over what it kept, yet never used by two at
//! once, because a broker throws the former client out when another comes with its name.
//!
//! When the table does not name it, it is made of pipeline, table, host, and what the table reads or writes. Who runs
//! a pipeline twice on one machine gets a number behind the second one's, held by a lock on a file in the temporary
//! folder; the system takes such a lock back when a process ends in whatever way.

use std::fs::{File, OpenOptions, TryLockError};

use millstream_engine::keys::hash_bytes;

/// Instances of one pipeline on one machine that are told apart.
const INSTANCES_MAX: usize = 64;
/// Characters of the pipeline's and the table's name in it.
const NAME_CHARS_MAX: usize = 24;

/// A client id, held as long as this lives.
#[derive(Debug)]
pub(super) struct ClientId {
    pub text: String,
    _lock: Option<File>,
}

impl ClientId {
    /// The id that the table gives, as it is.
    pub fn given(text: &str) -> Self {
        Self { text: text.to_owned(), _lock: None }
    }

    /// An id for whoever does `what` (reads or writes which topic of which broker) as `table` of `job`.
    pub fn derived(job: &str, table: &str, what: &str) -> Self {
        let whole = [job, table, what, &host()].join("\n");
        let base =
            format!("millstream-{}-{}-{:08x}", plain(job), plain(table), hash_bytes(whole.as_bytes()) as u32);
        for number in 0..INSTANCES_MAX {
            let text = if number == 0 { base.clone() } else { format!("{base}-{number}") };
            let path = std::env::temp_dir().join(format!("{text}.lock"));
            let Ok(file) = OpenOptions::new().create(true).truncate(false).write(true).open(path) else {
                // Without a folder to write to there is no telling apart; it is one process most of the time.
                return Self { text, _lock: None };
            };
            match file.try_lock() {
                Ok(()) => return Self { text, _lock: Some(file) },
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => return Self { text, _lock: None },
            }
        }
        Self { text: base, _lock: None }
    }
}

/// Letters and digits of a name, which every broker takes in a client id.
fn plain(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
        .take(NAME_CHARS_MAX)
        .collect()
}

/// What tells this machine from others: its own id where the system has one, and its name.
fn host() -> String {
    ["/etc/machine-id", "/proc/sys/kernel/hostname"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .chain(std::env::var("COMPUTERNAME").ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_never_shared() {
        let job = format!("job/{}", std::process::id());
        let first = ClientId::derived(&job, "plant sensors", "read a/+");
        let second = ClientId::derived(&job, "plant sensors", "read a/+");
        let other = ClientId::derived(&job, "plant sensors", "read b/+");
        assert!(
            first.text.starts_with("millstream-job_") && first.text.contains("-plant_sensors-"),
            "{first:?}"
        );
        assert_eq!(second.text, format!("{}-1", first.text));
        assert!(!other.text.starts_with(&first.text));
        let before = first.text.clone();
        drop(first);
        assert_eq!(ClientId::derived(&job, "plant sensors", "read a/+").text, before);
    }
}
