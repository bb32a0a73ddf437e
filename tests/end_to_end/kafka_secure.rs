//! Kafka behind TLS and passwords: a real node with an authority of the test's own, client certificates, SCRAM and
//! PLAIN; and what is said of a wrong one of each. Ignored and run like kafka.rs, whose node it uses.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::kafka::{Kafka, Listener};
use crate::support::{command, free_address, run, wait_until};

#[path = "../../connectors/tests/mosquitto/certificates.rs"]
mod certificates;

use certificates::{authority, certificate};

/// In which certificates end.
const YEAR: i32 = 4_000;

/// A node with three secured listeners.
struct Secure {
    kafka: Kafka,
    /// For certificates of clients.
    certificates: SocketAddr,
    /// For passwords over TLS, by SCRAM-SHA-256 or PLAIN.
    passwords: SocketAddr,
    folder: tempfile::TempDir,
}

impl Secure {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plant = authority(folder.path(), "plant");
        let other = authority(folder.path(), "other");
        for (name, signed_by) in [("node", &plant), ("gateway", &plant), ("stranger", &other)] {
            certificate(folder.path(), name, "127.0.0.1", signed_by, YEAR);
        }
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let node = format!("{}{}", text("node.key"), text("node.pem"));
        std::fs::write(folder.path().join("node.both"), node).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let more = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             listener.name.certificates.ssl.client.auth=required\n\
             listener.name.passwords.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n\
             listener.name.passwords.plain.sasl.jaas.config={plain} required user_gateway=\"hunter2\";\n\
             listener.name.passwords.scram-sha-256.sasl.jaas.config={scram} required;\n",
            at("node.both"),
            at("plant.pem"),
        );
        let (certificates, passwords) = (free_address(), free_address());
        let listeners = [("CERTIFICATES", "SSL", certificates), ("PASSWORDS", "SASL_SSL", passwords)]
            .into_iter()
            .map(|(name, protocol, address)| Listener { name, protocol, address, advertised: address });
        let user = ["--add-scram", "SCRAM-SHA-256=[name=gateway,password=hunter3]"];
        let kafka = Kafka::start_with(listeners, &more, &user);
        kafka.topic(&["--create", "--topic", "from", "--partitions", "2"]);
        kafka.topic(&["--create", "--topic", "to", "--partitions", "2"]);
        Self { kafka, certificates, passwords, folder }
    }

    fn pem(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Options of a client that shows a certificate.
    fn by_certificate(&self, name: &str) -> String {
        format!(
            "'properties.bootstrap.servers' = '{}', 'properties.security.protocol' = 'SSL',
             'properties.ssl.ca.location' = '{}', 'properties.ssl.certificate.location' = '{}',
             'properties.ssl.key.location' = '{}'",
            self.certificates,
            self.pem("plant.pem"),
            self.pem(&format!("{name}.pem")),
            self.pem(&format!("{name}.key")),
        )
    }

    /// Options of a client that knows a password.
    fn by_password(&self, mechanism: &str, password: &str) -> String {
        let module = match mechanism {
            "PLAIN" => "org.apache.kafka.common.security.plain.PlainLoginModule",
            _ => "org.apache.kafka.common.security.scram.ScramLoginModule",
        };
        format!(
            "'properties.bootstrap.servers' = '{}', 'properties.security.protocol' = 'SASL_SSL',
             'properties.ssl.ca.location' = '{}', 'properties.sasl.mechanism' = '{mechanism}',
             'properties.sasl.jaas.config' = '{module} required username=\"gateway\" password=\"{password}\";'",
            self.passwords,
            self.pem("plant.pem"),
        )
    }

    /// Copies what is in `from` to `to`.
    fn copy(&self, source: &str, sink: &str) -> String {
        format!(
            "CREATE TABLE source_table (n BIGINT)
             WITH ('connector' = 'kafka', 'topic' = 'from', {source}, 'format' = 'json',
                   'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
             CREATE TABLE sink_table (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'to', {sink}, 'format' = 'json');
             INSERT INTO sink_table SELECT n FROM source_table;"
        )
    }
}

#[test]
#[ignore = "needs Kafka; scripts/test runs it"]
fn certificates_and_passwords_let_the_right_ones_in() {
    let node = Secure::start();
    node.kafka.write("from", (0..200_u64).map(|n| format!("k\t{}\n", json!({ "n": n }))));
    for (source, sink) in [
        (node.by_certificate("gateway"), node.by_password("SCRAM-SHA-256", "hunter3")),
        (node.by_password("PLAIN", "hunter2"), node.by_certificate("gateway")),
    ] {
        let ran = run(&["sql", &node.copy(&source, &sink)]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(node.kafka.read_values("to").len(), 400);

    // Whoever is not let in says so, and why, and goes on trying.
    let good = node.by_certificate("gateway");
    let cases = [
        (node.by_password("SCRAM-SHA-256", "hunter4"), "authentication failed: look at 'properties.sasl.*'"),
        (node.by_password("PLAIN", "hunter4"), "authentication failed: look at 'properties.sasl.*'"),
        (node.by_certificate("stranger"), "bad certificate"),
        (good.replace("plant.pem", "other.pem"), "TLS failed: look at 'properties.ssl.*'"),
    ];
    for (wrong, why) in cases {
        for (source, sink, table) in [(&wrong, &good, "source_table"), (&good, &wrong, "sink_table")] {
            let mut child = command(&["sql", &node.copy(source, sink)]).spawn().unwrap();
            let told = Arc::<Mutex<String>>::default();
            let (to, mut from) = (Arc::clone(&told), BufReader::new(child.stderr.take().unwrap()));
            let listening = std::thread::spawn(move || {
                let mut line = String::new();
                while from.read_line(&mut line).unwrap() > 0 {
                    to.lock().unwrap().push_str(&std::mem::take(&mut line));
                }
            });
            wait_until("the reason to be told", || told.lock().unwrap().contains(why));
            child.kill().unwrap();
            child.wait().unwrap();
            listening.join().unwrap();
            let told = told.lock().unwrap();
            assert!(told.contains(table) && !told.contains("hunter4"), "{told}");
            assert!(told.lines().count() <= 2, "once a minute, not once an attempt: {told}");
        }
    }
}
