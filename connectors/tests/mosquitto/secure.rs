//! TLS with an authority of one's own, client certificates, and websockets.

use super::certificates::{authority, certificate};
use super::rig::{Device, Reader, Writer, free_port};
use super::{Mosquitto, ROW, words, write};
use millstream_engine::metrics::Link;

const YEAR: i32 = 4_000;

/// A broker with a TLS listener; `more` is added to it.
struct Secure {
    broker: Mosquitto,
    port: u16,
    folder: tempfile::TempDir,
}

impl Secure {
    fn start(certificate: &str, folder: tempfile::TempDir, more: &str) -> Self {
        let port = free_port();
        let pems = folder.path().display();
        let broker = Mosquitto::start(&format!(
            "listener {port} 127.0.0.1\ncafile {pems}/plant.pem\ncertfile {pems}/{certificate}.pem\n\
             keyfile {pems}/{certificate}.key\n{more}"
        ));
        Self { broker, port, folder }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.port)
    }

    fn options(&self, url: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut options = self.broker.options("t/{device}", &[]);
        options[0].1 = url.to_owned();
        for (key, value) in more {
            let is_file = ["tls.ca", "tls.cert", "tls.key"].contains(key);
            let value = if is_file { self.pem(value) } else { (*value).to_owned() };
            options.push((*key, value));
        }
        options
    }

    fn pem(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Rows come and go over `url`.
    fn check(&self, url: &str, more: &[(&'static str, &str)]) {
        let options = self.options(url, more);
        let mut reader = Reader::start(ROW, &options);
        let mut writer = Writer::start(ROW, &options).unwrap();
        // (Mosquitto looks after its websockets ten times a second, and writes 4 kB each time.)
        let (count, large) = if url.starts_with("ws") { (60, 90_000) } else { (2_000, 900_000) };
        write(&writer, &vec!["d"; count], 0);
        writer.finish();
        assert_eq!(reader.rows(count).len(), count);
        // A message that does not fit into one read, one TLS record or one frame.
        let large = format!("{{\"n\":7,\"filler\":\"{}\"}}", "x".repeat(large));
        Device::connect(self.broker.port, "device").publish("t/e", large.as_bytes());
        assert_eq!(reader.rows(1), [r#"{"device":"e","n":7}"#]);
        reader.drain();
    }

    /// The link stays down, and the log says why.
    fn refuses(&self, url: &str, more: &[(&'static str, &str)], parts: &[&str]) {
        words::listen();
        let reader = Reader::start_with(
            &["n BIGINT"],
            &self.options_for_any(url, more),
            1 << 20,
            &format!("{parts:?}"),
        )
        .unwrap();
        words::wait_for(url, parts);
        assert_eq!(reader.metrics().link(), Link::Down);
        assert!(reader.job.error().is_none());
    }

    fn options_for_any(&self, url: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut options = self.options(url, more);
        options[1].1 = "t/+".to_owned();
        options
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
#[ignore = "needs Mosquitto"]
fn tls_goes_by_ones_own_authority() {
    let folder = folder();
    let plant = authority(folder.path(), "plant");
    authority(folder.path(), "other");
    certificate(folder.path(), "server", "localhost", &plant, YEAR);
    let secure = Secure::start("server", folder, "");
    let url = secure.url("mqtts");
    for version in ["5", "3.1.1"] {
        secure.check(&url, &[("tls.ca", "plant.pem"), ("version", version)]);
    }
    secure.refuses(&url, &[("tls.ca", "other.pem")], &["authority that is not known here", "'tls.ca'"]);
    let by_address = url.replace("localhost", "127.0.0.1");
    let wrong_name = ["not for '127.0.0.1'", "localhost", "'url'"];
    secure.refuses(&by_address, &[("tls.ca", "plant.pem")], &wrong_name);
    let plain = format!("mqtts://localhost:{}", secure.broker.port);
    secure.refuses(&plain, &[("tls.ca", "plant.pem")], &["port"]);
    secure.refuses(&secure.url("mqtt"), &[], &["'mqtts://'"]);
}

#[test]
#[ignore = "needs Mosquitto"]
fn an_expired_certificate_says_so() {
    let folder = folder();
    let plant = authority(folder.path(), "plant");
    certificate(folder.path(), "server", "localhost", &plant, 2_020);
    let secure = Secure::start("server", folder, "");
    secure.refuses(&secure.url("mqtts"), &[("tls.ca", "plant.pem")], &["has expired", "clock"]);
}

#[test]
#[ignore = "needs Mosquitto"]
fn client_certificates_are_shown_and_asked_for() {
    let folder = folder();
    let (plant, other) = (authority(folder.path(), "plant"), authority(folder.path(), "other"));
    certificate(folder.path(), "server", "localhost", &plant, YEAR);
    certificate(folder.path(), "gateway", "gateway-7", &plant, YEAR);
    certificate(folder.path(), "stranger", "gateway-7", &other, YEAR);
    for versions in ["tls_version tlsv1.3", "tls_version tlsv1.2"] {
        let copied = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            std::fs::copy(file.path(), copied.path().join(file.file_name())).unwrap();
        }
        let secure = Secure::start("server", copied, &format!("require_certificate true\n{versions}"));
        let url = secure.url("mqtts");
        let ca = ("tls.ca", "plant.pem");
        secure.check(&url, &[ca, ("tls.cert", "gateway.pem"), ("tls.key", "gateway.key")]);
        secure.refuses(&url, &[ca], &["client certificate", "'tls.cert'"]);
        let stranger = [ca, ("tls.cert", "stranger.pem"), ("tls.key", "stranger.key")];
        secure.refuses(&url, &stranger, &["refuses our certificate", "'tls.cert'"]);
    }
}

#[test]
#[ignore = "needs Mosquitto"]
fn websockets_carry_it_plain_and_encrypted() {
    let folder = folder();
    let plant = authority(folder.path(), "plant");
    certificate(folder.path(), "server", "localhost", &plant, YEAR);
    let plain = free_port();
    let secure = Secure::start(
        "server",
        folder,
        &format!("protocol websockets\nlistener {plain} 127.0.0.1\nprotocol websockets"),
    );
    for version in ["5", "3.1.1"] {
        secure.check(&format!("ws://localhost:{plain}/any/path"), &[("version", version)]);
        secure.check(&secure.url("wss"), &[("version", version), ("tls.ca", "plant.pem")]);
    }
    let url = format!("ws://localhost:{}", secure.broker.port);
    secure.refuses(&url, &[], &["'url'"]);
    secure.refuses(&secure.url("wss"), &[], &["authority that is not known here", "'tls.ca'"]);
}
