//! The MQTT connector against Mosquitto, each test with a broker of its own on a free port.
//!
//! rows.rs has what any broker must do to pass, secure.rs TLS and websockets, fleet.rs what many readers, several
//! brokers and overload ask for, words.rs finds what the log says.
//!
//! These need Debian's `mosquitto` package and are ignored without being asked for:
//! `cargo test -p millstream-connectors --test mosquitto -- --ignored`. The binary is found in the usual places, or where
//! MILLSTREAM_MOSQUITTO says; asked for and not found, they fail.
#![cfg(feature = "mqtt")]
#![allow(clippy::unwrap_used)]

use millstream_connectors as connectors;

mod certificates;
mod fleet;
#[path = "../../src/mqtt/tests/rig.rs"]
mod rig;
mod rows;
mod secure;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tempfile::TempDir;

use rig::{Reader, Writer, free_port, wait_until};

/// A running Mosquitto.
struct Mosquitto {
    port: u16,
    folder: TempDir,
    process: Option<Child>,
}

impl Mosquitto {
    /// Starts one; `more` is added to its configuration, where `DIR` stands for its folder.
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let directory = folder.path().display().to_string();
        let config = format!(
            "listener {port} 127.0.0.1\nuser root\nmax_queued_messages 0\nset_tcp_nodelay true\n\
             persistence true\npersistence_location {directory}/\nlog_dest file {directory}/log\n{}\n{}\n",
            if more.contains("allow_anonymous") { "" } else { "allow_anonymous true" },
            more.replace("DIR", &directory)
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { port, folder, process: None };
        broker.start_again();
        broker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start_again(&mut self) {
        let process = Command::new(binary("mosquitto"))
            .arg("-c")
            .arg(self.path("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let port = self.port;
        wait_until("Mosquitto", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Stops it; with `-TERM` it keeps its sessions on disk first, with `-KILL` it cannot.
    fn stop(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        let sent = Command::new("kill").arg(signal).arg(process.id().to_string()).status().unwrap();
        assert!(sent.success());
        process.wait().unwrap();
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    fn options(&self, topic: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("url", self.url()),
            ("topic", topic.to_owned()),
            ("reconnect.backoff.initial", "20 ms".to_owned()),
            ("reconnect.backoff.max", "200 ms".to_owned()),
        ];
        options.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        options
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop("-KILL");
    }
}

/// One of Mosquitto's programs.
fn binary(name: &str) -> PathBuf {
    let given = std::env::var_os("MILLSTREAM_MOSQUITTO").map(PathBuf::from);
    let beside = given.as_ref().and_then(|path| path.parent()).map(|folder| folder.join(name));
    let usual = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/opt/homebrew/sbin"]
        .map(|folder| Path::new(folder).join(name));
    (given.filter(|_| name == "mosquitto").into_iter().chain(beside).chain(usual))
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!("{name} is not installed: apt-get install mosquitto, or set MILLSTREAM_MOSQUITTO")
        })
}

fn numbered(n: usize) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

/// Takes rows until each of `expected` has come.
fn wait_for_all(reader: &mut Reader, expected: usize) -> usize {
    let (mut seen, mut rows) = (BTreeSet::new(), 0);
    wait_until("every message", || {
        reader.take();
        for row in reader.rows(0) {
            rows += 1;
            seen.insert(row);
        }
        seen.len() == expected
    });
    rows
}

const ROW: &[&str] = &["device STRING", "n BIGINT"];

fn write(writer: &Writer, devices: &[&str], first: i64) {
    let devices: ArrayRef = Arc::new(StringArray::from(devices.to_vec()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((first..).take(devices.len())));
    let batch = RecordBatch::try_new(Arc::clone(&writer.schema), vec![devices, numbers]).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
}
