//! A PostgreSQL server of a test's own, on a free port; and how a test waits.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millstream_engine::{Clock, SystemClock};
use tempfile::TempDir;

/// How long a test waits for what should be there at once.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !is_so() {
        assert!(u128::from(clock.monotonic_ns()) < PATIENCE.as_nanos(), "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on, different at each call, below those that the system gives to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + (number % 18_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The folder of PostgreSQL's programs.
fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("MILLSTREAM_POSTGRES") {
        return PathBuf::from(given);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|folder| folder.join("initdb").exists());
    found.sort();
    found.pop().expect("PostgreSQL is not installed: apt-get install postgresql, or set MILLSTREAM_POSTGRES")
}

/// A running server with user `postgres`, password `hunter2`.
pub struct Server {
    pub port: u16,
    pub folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let server = Self { port: free_port(), folder: tempfile::tempdir().unwrap() };
        if is_root() {
            assert!(
                Command::new("chown").arg("postgres").arg(server.folder.path()).status().unwrap().success()
            );
        }
        let password = server.folder.path().join("password");
        std::fs::write(&password, "hunter2\n").unwrap();
        let (data, password) = (server.data(), password.display().to_string());
        server.run(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
                "--pwfile",
                &password,
                "--no-sync",
                "-E",
                "UTF8",
            ],
        );
        server.start_again();
        server
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let path = programs().join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let command = command.args(arguments).current_dir("/").stdin(Stdio::null());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    }

    pub fn start_again(&self) {
        let more = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off",
            self.port,
            self.folder.path().display()
        );
        self.run(
            "pg_ctl",
            &["-w", "-D", &self.data(), "-o", &more, "-l", &format!("{}.log", self.data()), "start"],
        );
    }

    pub fn stop(&self) {
        self.run("pg_ctl", &["-w", "-D", &self.data(), "-m", "immediate", "stop"]);
    }

    /// What `psql` answers, columns apart by `|`.
    pub fn ask(&self, sql: &str) -> String {
        let output = Command::new(programs().join("psql"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-p"])
            .args([&self.port.to_string(), "-c", sql])
            .env("PGPASSWORD", "hunter2")
            .env("PGTZ", "UTC")
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub fn count(&self, table: &str) -> usize {
        self.ask(&format!("SELECT count(*) FROM {table}")).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let path = programs().join("pg_ctl");
        let mut command = if is_root() { Command::new("runuser") } else { Command::new(&path) };
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(&path);
        }
        let command = command.args(["-D", &self.data(), "-m", "immediate", "stop"]).current_dir("/");
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(Path::new("/proc/self")).unwrap()) == 0
}
