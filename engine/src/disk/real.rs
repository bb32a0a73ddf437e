//! The machine's own file system.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile};
use crate::failpoint;

/// A folder of the file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> Result<Self> {
        make(path)?;
        Ok(Self { path: path.to_owned() })
    }
}

/// Makes a folder and those above it; their names are safe afterwards.
fn make(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new(""));
    make(above)?;
    fs::create_dir_all(path)?;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    File::open(above)?.sync_all()
}

impl Disk for RealDisk {
    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?.collect::<Result<Vec<_>>>()?;
        let files = entries.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        Ok(files.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>> {
        let mut file = File::open(self.path.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        // Written at its end even after it was cut, which goes with appending and not with truncating.
        File::create(&path)?;
        Ok(Box::new(RealFile(File::options().append(true).open(path)?)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn truncate(&self, name: &str, bytes: u64) -> Result<()> {
        let file = File::options().write(true).open(self.path.join(name))?;
        file.set_len(bytes)?;
        failpoint::sync();
        file.sync_all()
    }

    fn sync(&self) -> Result<()> {
        failpoint::sync();
        File::open(&self.path)?.sync_all()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes)
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        failpoint::sync();
        // Its length too, which is all of the meta data that reading needs.
        self.0.sync_data()
    }
}
