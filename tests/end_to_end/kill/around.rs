//! What a pipeline stands on and what fails under it: brokers, lines to them, the disk, the clock.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kafka::Kafka;
use crate::mosquitto::Mosquitto;
use crate::relay::Relay;

/// See the module's page. What a harness does not break is not there.
#[derive(Default)]
pub struct Around<'a> {
    pub brokers: Vec<&'a mut dyn Broker>,
    pub wires: Vec<Wire<'a>>,
    pub disk: Option<&'a SmallDisk>,
    pub clock: Option<&'a mut FakeClock>,
    /// The table whose rows come as long as there is input.
    pub source: Option<&'a str>,
}

/// A broker that can be away for a while.
pub trait Broker {
    fn down(&mut self);
    fn up(&mut self);
}

impl Broker for Kafka {
    fn down(&mut self) {
        self.kill();
    }

    fn up(&mut self) {
        Kafka::up(self);
    }
}

impl Broker for Mosquitto {
    fn down(&mut self) {
        Mosquitto::down(self);
    }

    fn up(&mut self) {
        Mosquitto::up(self);
    }
}

/// A line from the pipeline to a broker.
pub struct Wire<'a> {
    pub relay: &'a Relay,
    /// The table whose rows come over it, if one's do.
    pub source: Option<&'a str>,
}

/// A file system of its own, in memory, so small that it can be filled.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None, and the reason is printed, where this user may not mount one.
    pub fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", &size, "millstream-kill"]).arg(folder.path()).output() {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                println!("SKIPPED, no disk is filled: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("SKIPPED, no disk is filled: there is no program 'mount': {error}");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for piece in [256 << 10, 4 << 10, 64] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever still has a file open there has it until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A wall clock of the pipeline's own, which can be set while it runs: Debian's libfaketime, loaded in front of the system's
/// library. The monotonic clock stays the machine's.
pub struct FakeClock {
    library: PathBuf,
    folder: tempfile::TempDir,
    offset_s: i64,
}

impl FakeClock {
    /// None, and the reason is printed, where the library is missing.
    pub fn load() -> Option<Self> {
        let named = std::env::var_os("MILLSTREAM_FAKETIME").map(PathBuf::from);
        let library = named.or_else(|| {
            let folders = std::fs::read_dir("/usr/lib").ok()?.filter_map(|folder| Some(folder.ok()?.path()));
            folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
        });
        let Some(library) = library else {
            println!(
                "SKIPPED, no clock is set: Debian's package libfaketime is not installed, or MILLSTREAM_FAKETIME names it"
            );
            return None;
        };
        let mut clock = Self { library, folder: tempfile::tempdir().unwrap(), offset_s: 0 };
        clock.set(0);
        Some(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// What a process is to be started with.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            // How long it does not look at the file again, in seconds.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    pub fn offset_s(&self) -> i64 {
        self.offset_s
    }

    /// Sets it to so many seconds after the machine's.
    pub fn set(&mut self, offset_s: i64) {
        self.offset_s = offset_s;
        // Renamed, for it may be read at any time.
        let new = self.folder.path().join("new");
        std::fs::write(&new, format!("{offset_s:+}s\n")).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }
}
