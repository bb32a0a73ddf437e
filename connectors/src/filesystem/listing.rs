//! Which files a table's path names, and how a file is known again after it was renamed.
//!
//! Invariant: hidden files (and so those that a sink is writing) and, in folders, names with `_` in front are not data.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use millstream_engine::{Error, Result};

/// What stays of a file when it is renamed: device and inode. Where the system has none, its path stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub u64, pub u64);

impl FileId {
    #[cfg(unix)]
    pub fn of(about: &Metadata, _path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(about.dev(), about.ino())
    }

    #[cfg(not(unix))]
    pub fn of(_about: &Metadata, path: &Path) -> Self {
        Self(0, millstream_engine::keys::hash_bytes(path.to_string_lossy().as_bytes()))
    }
}

/// A file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub id: FileId,
    pub path: PathBuf,
    pub about: Metadata,
}

/// The files that `path` names now, by name. `is_following` allows that there are none yet.
///
/// # Errors
/// `Config` if it cannot be listed, or names nothing.
pub(super) fn list(path: &str, owner: &str, is_following: bool) -> Result<Vec<Found>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::config(format!("'path' = '{path}' cannot be read: {error}"))
            .at(owner)
            .remedy("name a file, a folder or a pattern such as '/data/**/*.json'")
    };
    let mut paths = Vec::new();
    let single = Path::new(path);
    if path.contains(['*', '?', '[']) {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        for entry in glob::glob_with(path, options).map_err(|error| unreadable(&error))? {
            match entry {
                Ok(path) => paths.push(path),
                Err(error) if is_following && error.error().kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
    } else if single.is_dir() {
        for entry in std::fs::read_dir(single).map_err(|error| unreadable(&error))? {
            paths.push(entry.map_err(|error| unreadable(&error))?.path());
        }
        let is_data = |file: &PathBuf| {
            file.file_name().is_some_and(|name| !name.to_string_lossy().starts_with(['.', '_']))
        };
        paths.retain(is_data);
    } else {
        paths.push(single.to_owned());
    }
    paths.sort();
    let mut found = Vec::with_capacity(paths.len());
    for file in paths {
        match std::fs::metadata(&file) {
            Ok(about) if about.is_file() => {
                found.push(Found { id: FileId::of(&about, &file), path: file, about })
            }
            Ok(_) => {}
            // Between two names, or not there yet.
            Err(error) if is_following && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    if found.is_empty() && !is_following {
        return Err(unreadable(&"no file matches"));
    }
    Ok(found)
}

/// The file of `id` beside `path`, where a rotation may have put it.
pub(super) fn beside(path: &Path, id: FileId) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|about| FileId::of(&about, path) == id);
    std::fs::read_dir(path.parent()?).ok()?.flatten().map(|entry| entry.path()).find(is_it)
}
