//! `'properties.*'` of a Kafka table: names as Kafka's Java clients have them become those of librdkafka.
//!
//! Invariants: a property is either handed on, translated, or refused with the reason and the remedy; none is ignored.
//! A value that may be a secret is never part of an error.

use millstream_engine::options::Options;
use millstream_engine::{Error, Result};

/// Handed on under the same name.
const SAME: &[&str] = &[
    "bootstrap.servers",
    "group.id",
    "client.id",
    "client.rack",
    "security.protocol",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "fetch.min.bytes",
    "fetch.max.bytes",
    "max.partition.fetch.bytes",
    "isolation.level",
    "linger.ms",
    "batch.size",
    "compression.type",
    "acks",
    "retries",
    "retry.backoff.ms",
    "delivery.timeout.ms",
    "max.in.flight.requests.per.connection",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "request.timeout.ms",
    "transaction.timeout.ms",
    "metadata.max.age.ms",
    "connections.max.idle.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "queued.max.messages.kbytes",
    "message.max.bytes",
    "broker.address.family",
    "allow.auto.create.topics",
];

/// Only a producer knows these.
const PRODUCER: &[&str] = &[
    "linger.ms",
    "batch.size",
    "compression.type",
    "acks",
    "retries",
    "retry.backoff.ms",
    "delivery.timeout.ms",
    "request.timeout.ms",
    "transaction.timeout.ms",
];
/// Only a consumer knows these.
const CONSUMER: &[&str] = &[
    "fetch.min.bytes",
    "fetch.max.bytes",
    "max.partition.fetch.bytes",
    "fetch.wait.max.ms",
    "isolation.level",
    "queued.max.messages.kbytes",
    "group.id",
    "allow.auto.create.topics",
];

/// Names that have no place here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("enable.auto.commit", "positions are kept with checkpoints: leave it out"),
    ("auto.offset.reset", "use 'scan.startup.mode'"),
    ("enable.idempotence", "the sink is always idempotent: leave it out"),
    ("transactional.id", "use 'sink.delivery-guarantee' = 'exactly-once' and 'sink.transactional-id-prefix'"),
    ("ssl.truststore.location", "use 'properties.ssl.ca.location' with a PEM file"),
    ("ssl.truststore.password", "a PEM file of certificates has none: use 'properties.ssl.ca.location'"),
    ("ssl.truststore.type", "use 'properties.ssl.ca.location' with a PEM file"),
    (
        "ssl.keystore.location",
        "use 'properties.ssl.certificate.location' and 'properties.ssl.key.location' with PEM files",
    ),
    ("ssl.keystore.password", "use 'properties.ssl.key.password'"),
    ("key.serializer", "use 'key.format'"),
    ("value.serializer", "use 'format'"),
    ("key.deserializer", "use 'key.format'"),
    ("value.deserializer", "use 'format'"),
    ("partition.assignment.strategy", "partitions are assigned by this engine: leave it out"),
];

/// librdkafka's settings, in the table's words.
#[derive(Clone)]
pub(super) struct Properties {
    pairs: Vec<(String, String)>,
    /// The brokers, for messages.
    pub brokers: String,
    /// The consumer group, if one is given.
    pub group: Option<String>,
}

impl Properties {
    /// Reads them.
    ///
    /// # Errors
    /// If one is not known, refused, or `bootstrap.servers` is missing.
    pub fn read(options: &Options) -> Result<Self> {
        let brokers = options.require("properties.bootstrap.servers")?.to_owned();
        let mut pairs = Vec::new();
        for (name, value) in options.with_prefix("properties.") {
            let wrong = |what: &str| {
                Error::config(format!("property 'properties.{name}' cannot be used"))
                    .at(options.owner())
                    .remedy(what)
            };
            if let Some((_, remedy)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                return Err(wrong(remedy));
            }
            match name {
                "sasl.mechanism" | "sasl.mechanisms" => match value {
                    "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {
                        pairs.push(("sasl.mechanism".to_owned(), value.to_owned()));
                    }
                    _ => return Err(wrong("PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are supported")),
                },
                "sasl.jaas.config" => {
                    let missing =
                        || wrong("expected a login module with username=\"...\" and password=\"...\"");
                    pairs.push(("sasl.username".to_owned(), quoted(value, "username").ok_or_else(missing)?));
                    pairs.push(("sasl.password".to_owned(), quoted(value, "password").ok_or_else(missing)?));
                }
                "fetch.max.wait.ms" => pairs.push(("fetch.wait.max.ms".to_owned(), value.to_owned())),
                "max.request.size" => pairs.push(("message.max.bytes".to_owned(), value.to_owned())),
                "ssl.endpoint.identification.algorithm" if value.is_empty() => {
                    pairs.push((name.to_owned(), "none".to_owned()));
                }
                _ if SAME.contains(&name) => pairs.push((name.to_owned(), value.to_owned())),
                _ => return Err(wrong(&format!("known: {}", SAME.join(", ")))),
            }
        }
        let group = options.get("properties.group.id").map(str::to_owned);
        Ok(Self { pairs, brokers, group })
    }

    /// Those a consumer knows.
    pub fn consumer(&self) -> impl Iterator<Item = (&str, &str)> {
        self.without(PRODUCER)
    }

    /// Those a producer knows.
    pub fn producer(&self) -> impl Iterator<Item = (&str, &str)> {
        self.without(CONSUMER)
    }

    fn without(&self, others: &'static [&'static str]) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !others.contains(name))
    }
}

/// The value of `name="value"` in a login module's text.
fn quoted(text: &str, name: &str) -> Option<String> {
    let rest = &text[text.find(&format!("{name}="))? + name.len() + 1..];
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest[1..].split_once(quote).map(|(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Properties> {
        let mut options = Options::from_pairs("table t", [("properties.bootstrap.servers", "b:9092")]);
        options.set(format!("properties.{name}"), value);
        Properties::read(&options)
    }

    #[test]
    fn a_login_module_becomes_user_and_password() {
        let text = r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="hunter2";"#;
        let read = read("sasl.jaas.config", text).unwrap();
        assert!(read.consumer().any(|pair| pair == ("sasl.username", "u")));
        assert!(read.producer().any(|pair| pair == ("sasl.password", "hunter2")));
    }

    #[test]
    fn refusals_name_the_remedy_and_no_secret() {
        let error = read("auto.offset.reset", "latest").err().unwrap().to_string();
        assert!(error.contains("scan.startup.mode"), "{error}");
        let error = read("ssl.truststore.location", "x").err().unwrap().to_string();
        assert!(error.contains("ssl.ca.location"), "{error}");
        let error = read("sasl.jaas.config", "hunter2").err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(read("no.such", "x").is_err());
    }
}
