//! Whole pipelines against a real Apache Kafka: one KRaft node a test, in a folder of its own. Ignored without being
//! asked for; scripts/test gets Kafka, asks, and says in MILLSTREAM_KAFKA in which folder its jars are. What goes in and
//! what came out is written and read by Kafka's own tools, so that our client never proves itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{command, ended, file, free_address, get, run, signal, wait_until};

/// A node of the test's own, broker and controller in one.
pub struct Kafka {
    folder: tempfile::TempDir,
    pub address: SocketAddr,
    process: Option<Child>,
}

/// What a node listens on beside its first address.
pub struct Listener<'a> {
    pub name: &'a str,
    pub protocol: &'a str,
    pub address: SocketAddr,
    /// Where clients are told that it is.
    pub advertised: SocketAddr,
}

/// `java` with Kafka's jars.
fn java(class: &str) -> Command {
    let jars = std::env::var("MILLSTREAM_KAFKA").expect("MILLSTREAM_KAFKA names the folder of Kafka's jars");
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-cp"]).arg(PathBuf::from(jars).join("*")).arg(class);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Kafka {
    pub fn start() -> Self {
        Self::start_with([].into_iter(), "", &[])
    }

    /// One that also has these to listen on, more in its configuration, and what more its storage is formatted with.
    pub fn start_with<'a>(
        listeners: impl Iterator<Item = Listener<'a>>,
        more: &str,
        formatted_with: &[&str],
    ) -> Self {
        let (mut names, mut told, mut protocols) = (String::new(), String::new(), String::new());
        for Listener { name, protocol, address, advertised } in listeners {
            names += &format!(",{name}://{address}");
            told += &format!(",{name}://{advertised}");
            protocols += &format!(",{name}:{protocol}");
        }
        let (folder, address, controller) = (tempfile::tempdir().unwrap(), free_address(), free_address());
        let config = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}{names}\n\
             advertised.listeners=PLAINTEXT://{address}{told}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}\n\
             log.dirs={}\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n{more}",
            folder.path().join("data").display()
        );
        let config = file(folder.path(), "server.properties", config);
        let format = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", &config];
        assert!(
            java("kafka.tools.StorageTool").args(format).args(formatted_with).status().unwrap().success()
        );
        let mut kafka = Self { folder, address, process: None };
        kafka.up();
        kafka
    }

    pub fn up(&mut self) {
        let config = self.folder.path().join("server.properties");
        self.process = Some(java("kafka.Kafka").arg(config).spawn().unwrap());
        wait_until("Kafka to listen", || TcpStream::connect(self.address).is_ok());
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Its folder, which is kept for who looks into a failure; DumpLogSegments shows its transactions.
    pub fn keep(&mut self) -> String {
        self.folder.disable_cleanup(true);
        self.folder.path().display().to_string()
    }

    fn tool(&self, class: &str, arguments: &[&str]) -> Command {
        let mut command = java(&format!("org.apache.kafka.tools.{class}"));
        command.args(["--bootstrap-server", &self.address.to_string()]).args(arguments);
        command
    }

    pub fn topic(&self, arguments: &[&str]) {
        // The node may listen before it knows its own log again.
        wait_until("the topic's command", || {
            self.tool("TopicCommand", arguments).status().unwrap().success()
        });
    }

    /// Kafka's producer, which takes a line `key<tab>value` each.
    pub fn producer(&self, topic: &str) -> Child {
        let arguments = ["--topic", topic, "--message-send-max-retries", "1000000"];
        let keys = ["--property", "parse.key=true"];
        self.tool("ConsoleProducer", &arguments).args(keys).stdin(Stdio::piped()).spawn().unwrap()
    }

    pub fn write(&self, topic: &str, lines: impl Iterator<Item = String>) {
        let mut producer = self.producer(topic);
        producer.stdin.take().unwrap().write_all(lines.collect::<String>().as_bytes()).unwrap();
        assert!(producer.wait().unwrap().success());
    }

    /// The topic's messages, each as its key and its value.
    pub fn read(&self, topic: &str) -> Vec<(String, String)> {
        self.read_at(topic, "read_uncommitted")
    }

    /// Those of committed transactions.
    pub fn read_committed(&self, topic: &str) -> Vec<(String, String)> {
        self.read_at(topic, "read_committed")
    }

    fn read_at(&self, topic: &str, isolation: &str) -> Vec<(String, String)> {
        // On a busy machine Kafka's consumer may give up before it has the first message.
        for timeout_ms in [5_000, 10_000, 20_000] {
            let messages = self.read_within(topic, isolation, timeout_ms);
            // A transaction takes places of its own, which are no messages.
            let is_some = isolation == "read_committed" && !messages.is_empty();
            if is_some || messages.len() as u64 >= self.count(topic) {
                return messages;
            }
        }
        self.read_within(topic, isolation, 20_000)
    }

    fn read_within(&self, topic: &str, isolation: &str, timeout_ms: u64) -> Vec<(String, String)> {
        let timeout_ms = timeout_ms.to_string();
        let arguments = [
            "--topic",
            topic,
            "--from-beginning",
            "--timeout-ms",
            &timeout_ms,
            "--isolation-level",
            isolation,
        ];
        let shown = ["print.partition=true", "print.offset=true", "print.key=true"];
        let mut command = self.tool("consumer.ConsoleConsumer", &arguments);
        shown.iter().for_each(|what| {
            command.args(["--property", what]);
        });
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Each place once: Kafka's consumer reads on from its last commit when its group is balanced anew.
        let mut places = BTreeMap::new();
        for line in text.lines() {
            let parts: Vec<&str> = line.splitn(4, '\t').collect();
            let [partition, offset, key, value] = parts[..] else {
                panic!("Kafka's consumer printed {line}")
            };
            let offset: u64 = offset.strip_prefix("Offset:").unwrap().parse().unwrap();
            if places.insert((partition, offset), (key.to_owned(), value.to_owned())).is_some() {
                println!("Kafka's consumer read {partition}, {offset} of {topic} again");
            }
        }
        places.into_values().collect()
    }

    /// How many messages the topic has, where no transaction wrote any.
    pub fn count(&self, topic: &str) -> u64 {
        let mut command = self.tool("GetOffsetShell", &["--topic", topic]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        // A line a partition: `topic:partition:offset`.
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.rsplit(':').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// The topic's values, where a message may have no key.
    pub fn read_values(&self, topic: &str) -> Vec<String> {
        self.read(topic).into_iter().map(|(_, value)| value).collect()
    }

    pub fn numbers(&self, topic: &str) -> BTreeSet<u64> {
        let value = |text: String| serde_json::from_str::<Value>(&text).unwrap()["n"].as_u64().unwrap();
        self.read(topic).into_iter().map(|(_, text)| value(text)).collect()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
#[ignore = "needs Kafka; scripts/test runs it"]
fn means_of_a_topic_with_four_partitions_go_to_another_topic() {
    let kafka = Kafka::start();
    kafka.topic(&["--create", "--topic", "readings", "--partitions", "4"]);
    kafka.topic(&["--create", "--topic", "means", "--partitions", "2"]);
    let readings = (0..40).flat_map(|second| (0..6).map(move |device| (second, device)));
    let line = |(second, device): (i64, i64)| {
        let at = format!("2026-01-01T00:00:{second:02}");
        format!(
            "d{device}\t{}\n",
            json!({"device": format!("d{device}"), "ts": at, "t": second * 10 + device})
        )
    };
    kafka.write("readings", readings.map(line));
    let sql = format!(
        "CREATE TABLE readings (device STRING, ts TIMESTAMP(3), t DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('connector' = 'kafka', 'topic' = 'readings', 'properties.bootstrap.servers' = '{0}', 'format' = 'json',
               'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
         CREATE TABLE means (device STRING, ends TIMESTAMP(3), mean DOUBLE, c BIGINT)
         WITH ('connector' = 'kafka', 'topic' = 'means', 'properties.bootstrap.servers' = '{0}', 'format' = 'json',
               'key.format' = 'raw', 'key.fields' = 'device');
         INSERT INTO means SELECT device, window_end, AVG(t), COUNT(*)
         FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, device;",
        kafka.address
    );
    let ran = run(&["sql", &sql]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut got: Vec<(String, String, f64, i64)> = kafka
        .read("means")
        .into_iter()
        .map(|(key, value)| {
            let row: Value = serde_json::from_str(&value).unwrap();
            assert_eq!(row["device"], json!(key));
            let ends = row["ends"].as_str().unwrap().into();
            (key, ends, row["mean"].as_f64().unwrap(), row["c"].as_i64().unwrap())
        })
        .collect();
    got.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut expected = Vec::new();
    for device in 0..6_i64 {
        for window in 0..4_i64 {
            let mean = (0..10).map(|n| ((window * 10 + n) * 10 + device) as f64).sum::<f64>() / 10.0;
            let ends = format!("2026-01-01T00:00:{:02}", window * 10 + 10);
            expected.push((format!("d{device}"), ends, mean, 10));
        }
    }
    assert_eq!(got, expected);
}

#[test]
#[ignore = "needs Kafka; scripts/test runs it"]
fn card_fraud_tells_of_a_card_that_pays_in_three_countries() {
    let kafka = Kafka::start();
    kafka.topic(&["--create", "--topic", "payments", "--partitions", "3"]);
    kafka.topic(&["--create", "--topic", "suspects", "--partitions", "1"]);
    let payment = |second: u32, card: &str, country: &str| {
        let at = format!("2026-01-01T08:{:02}:{:02}", second / 60, second % 60);
        format!("{card}\t{}\n", json!({"ts": at, "card": card, "country": country, "amount": 19.9}))
    };
    // One is an honest card, one is in three countries within two minutes, one pays ten times.
    let mut lines: Vec<String> =
        (0..3).map(|n| payment(20 * n, "honest", ["FR", "DE"][n as usize % 2])).collect();
    lines.extend(
        ["FR", "DE", "IT"].iter().zip([10, 60, 100]).map(|(country, at)| payment(at, "traveller", country)),
    );
    lines.extend((0..10).map(|n| payment(15 + n, "often", "FR")));
    // Of each card one much later, so that every partition's clock goes on.
    lines.extend(["honest", "traveller", "often"].map(|card| payment(1_800, card, "FR")));
    kafka.write("payments", lines.into_iter());
    let path = format!("{}/examples/card_fraud.sql", env!("CARGO_MANIFEST_DIR"));
    let child = command(&["run", &path]).env("KAFKA", kafka.address.to_string()).spawn().unwrap();
    let mut told = Vec::new();
    // Four windows hold both minutes of the traveller, five the one minute of the card that pays often.
    wait_until("the suspects", || {
        told = kafka.read("suspects");
        told.len() >= 9
    });
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let of = |card: &str| -> Vec<Value> {
        let own = told.iter().filter(|(key, _)| key == card);
        own.map(|(_, row)| serde_json::from_str(row).unwrap()).collect()
    };
    let (travels, often) = (of("traveller"), of("often"));
    assert!(
        travels.iter().all(|row| row["payments"] == json!(3) && row["countries"] == json!(3)),
        "{told:?}"
    );
    assert!(often.iter().all(|row| row["payments"] == json!(10) && row["amount"].as_f64() == Some(199.0)));
    assert_eq!((travels.len(), often.len(), of("honest").len()), (4, 5, 0), "{told:?}");
}

#[test]
#[ignore = "needs Kafka; scripts/test runs it"]
fn a_node_that_is_killed_and_partitions_that_are_added_cost_no_message() {
    let mut kafka = Kafka::start();
    kafka.topic(&["--create", "--topic", "from", "--partitions", "2"]);
    kafka.topic(&["--create", "--topic", "to", "--partitions", "2"]);
    let http = free_address().to_string();
    let sql = format!(
        "CREATE TABLE source_table (k STRING, n BIGINT, `partition` INT METADATA VIRTUAL)
         WITH ('connector' = 'kafka', 'topic' = 'from', 'properties.bootstrap.servers' = '{0}', 'format' = 'json',
               'scan.startup.mode' = 'earliest-offset', 'scan.topic-partition-discovery.interval' = '1 s');
         CREATE TABLE sink_table (k STRING, n BIGINT, part INT)
         WITH ('connector' = 'kafka', 'topic' = 'to', 'properties.bootstrap.servers' = '{0}', 'format' = 'json',
               'key.format' = 'raw', 'key.fields' = 'k');
         INSERT INTO sink_table SELECT k, n, `partition` FROM source_table;",
        kafka.address
    );
    let child = command(&["sql", &sql, "--http", &http]).env("RUST_LOG", "info").spawn().unwrap();
    let status = |wanted: &str| get(&http, "/readyz").is_some_and(|(status, _)| status.contains(wanted));
    wait_until("source and sink to connect", || status("200"));
    let rows_in = || {
        let (_, metrics) = get(&http, "/metrics").unwrap();
        let own = metrics.lines().filter(|line| {
            line.starts_with("millstream_rows_in_total{") && line.contains("operator=\"source_table\"")
        });
        own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    };
    let line = |n: u64| format!("k{}\t{}\n", n % 50, json!({"k": format!("k{}", n % 50), "n": n}));
    let mut producer = kafka.producer("from");
    let mut lines = producer.stdin.take().unwrap();
    lines.write_all((0..500).map(line).collect::<String>().as_bytes()).unwrap();
    wait_until("the first 500 messages", || rows_in() >= 500);
    kafka.kill();
    // The producer keeps these until the node is back.
    lines.write_all((500..1_000).map(line).collect::<String>().as_bytes()).unwrap();
    wait_until("the outage to be noticed", || status("503"));
    kafka.up();
    kafka.topic(&["--alter", "--topic", "from", "--partitions", "4"]);
    drop(lines);
    assert!(producer.wait().unwrap().success());
    kafka.write("from", (1_000..2_000).map(line));
    let written = kafka.numbers("from");
    assert_eq!(written, (0..2_000).collect());
    wait_until("all messages to be read", || rows_in() >= 2_000);
    wait_until("source and sink to be back", || status("200"));
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(kafka.numbers("to"), written);
    let partitions: BTreeSet<i64> = kafka
        .read("to")
        .iter()
        .map(|(_, text)| serde_json::from_str::<Value>(text).unwrap()["part"].as_i64().unwrap())
        .collect();
    assert_eq!(partitions, (0..4).collect());
    // One outage, shorter than a minute: one line when it began and one when it ended, for each of the two tables.
    let lines = |text: &str| ran.err.lines().filter(|line| line.contains(text)).count();
    let told = (lines("trying again until it answers"), lines("can be used again"));
    // One pair each for source and sink; a node that comes up may be lost once more before it stays.
    assert!(told.0 == told.1 && (2..=4).contains(&told.0), "{told:?}: {}", ran.err);
}

#[test]
#[ignore = "needs Kafka; scripts/test runs it"]
fn keys_and_topics_of_a_pattern_are_columns_and_the_latest_row_of_a_key_counts() {
    let kafka = Kafka::start();
    for topic in ["plant-1", "plant-2", "latest"] {
        kafka.topic(&["--create", "--topic", topic, "--partitions", "2"]);
    }
    let line = |n: u64| format!("d{}\t{}\n", n % 5, json!({ "n": n }));
    kafka.write("plant-1", (0..50).map(line));
    kafka.write("plant-2", (50..100).map(line));
    let sql = format!(
        "CREATE TABLE readings (device STRING, n BIGINT, plant STRING METADATA FROM 'topic' VIRTUAL,
           headers MAP<STRING, BYTES> METADATA VIRTUAL)
         WITH ('connector' = 'kafka', 'topic-pattern' = 'plant-[0-9]+', 'properties.bootstrap.servers' = '{0}',
               'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json',
               'key.format' = 'raw', 'key.fields' = 'device', 'value.fields-include' = 'EXCEPT_KEY');
         CREATE TABLE latest (id STRING, n BIGINT, headers MAP<STRING, BYTES>, PRIMARY KEY (id) NOT ENFORCED)
         WITH ('connector' = 'upsert-kafka', 'topic' = 'latest', 'properties.bootstrap.servers' = '{0}',
               'key.format' = 'raw', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
         INSERT INTO latest SELECT plant || '/' || device, n, headers FROM readings;",
        kafka.address
    );
    let ran = run(&["sql", &sql]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let messages = kafka.read("latest");
    assert_eq!(messages.len(), 100);
    // As whoever reads the topic does: the last message of a key counts.
    let latest: std::collections::BTreeMap<String, String> = messages.into_iter().collect();
    let row = |n: u64| format!(r#"{{"n":{n},"headers":{{}}}}"#);
    let expected = (1..3_u64)
        .flat_map(|plant| (0..5_u64).map(move |device| (plant, device)))
        .map(|(plant, device)| (format!("plant-{plant}/d{device}"), row(plant * 50 - 5 + device)));
    assert_eq!(latest, expected.collect());
}

#[test]
#[ignore = "needs Kafka; scripts/test runs it"]
fn a_row_that_goes_leaves_a_tombstone() {
    let kafka = Kafka::start();
    for topic in ["readings", "rare"] {
        kafka.topic(&["--create", "--topic", topic, "--partitions", "2"]);
    }
    let sql = format!(
        "SET 'table.exec.state.ttl' = '1 d';
         CREATE TABLE readings (device STRING)
         WITH ('connector' = 'kafka', 'topic' = 'readings', 'properties.bootstrap.servers' = '{0}',
               'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
         CREATE TABLE rare (device STRING, n BIGINT, PRIMARY KEY (device) NOT ENFORCED)
         WITH ('connector' = 'upsert-kafka', 'topic' = 'rare', 'properties.bootstrap.servers' = '{0}',
               'key.format' = 'raw', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
         INSERT INTO rare SELECT device, COUNT(*) FROM readings GROUP BY device HAVING COUNT(*) < 3;",
        kafka.address
    );
    let line = |device: &str| format!("{device}\t{}\n", json!({ "device": device }));
    let newest = || -> BTreeMap<String, String> { kafka.read("rare").into_iter().collect() };
    kafka.write("readings", ["a", "a", "b"].map(line).into_iter());
    let child = command(&["sql", &sql]).spawn().unwrap();
    let holds =
        |wanted: [(&str, &str); 2]| newest() == wanted.map(|(key, value)| (key.into(), value.into())).into();
    wait_until("both to be rare", || holds([("a", r#"{"n":2}"#), ("b", r#"{"n":1}"#)]));
    kafka.write("readings", ["a", "a"].map(line).into_iter());
    wait_until("the tombstone", || holds([("a", "null"), ("b", r#"{"n":1}"#)]));
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
