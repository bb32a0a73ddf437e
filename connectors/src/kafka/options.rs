//! The options of Kafka tables, named as Flink names them.

use millstream_engine::dead_letter::ON_ERROR_OPTION;
use millstream_engine::options::OptionSpec;
use millstream_engine::outbox::OUTBOX_OPTIONS;

/// What a Kafka table takes beside the payload's options.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("topic", "text", "", "The topic; several, separated by ';', can be read."),
    OptionSpec::new(
        "topic-pattern",
        "text",
        "",
        "Instead of 'topic': a regular expression for the whole names of the topics that are read.",
    ),
    OptionSpec::new(
        "properties.*",
        "text",
        "",
        "A property of Kafka's clients; 'properties.bootstrap.servers' is needed.",
    ),
    OptionSpec::new(
        "properties.sasl.jaas.config",
        "text",
        "",
        "User and password in the form of Java's clients.",
    )
    .secret(),
    OptionSpec::new("properties.sasl.password", "text", "", "The password for SASL.").secret(),
    OptionSpec::new("properties.ssl.key.password", "text", "", "The password of the private key.").secret(),
    OptionSpec::new("properties.ssl.key.pem", "text", "", "The private key.").secret(),
    OptionSpec::new("value.format", "text", "", "The same as 'format'."),
    OptionSpec::new("key.format", "text", "json", "How keys are written."),
    OptionSpec::new("key.fields", "text", "", "Columns of the key, separated by ';'."),
    OptionSpec::new(
        "key.fields-prefix",
        "text",
        "",
        "What the names of the key's columns begin with in the table, and not in the key; needs 'EXCEPT_KEY'.",
    ),
    OptionSpec::new(
        "value.fields-include",
        "ALL | EXCEPT_KEY",
        "ALL",
        "Whether the payload holds the key's columns.",
    ),
    OptionSpec::new(
        "scan.startup.mode",
        "earliest-offset | latest-offset | group-offsets | timestamp | specific-offsets",
        "group-offsets",
        "Where to start when there is no checkpoint; a group without offsets starts at the earliest.",
    ),
    OptionSpec::new(
        "scan.startup.timestamp-millis",
        "integer",
        "",
        "For 'timestamp': milliseconds since 1970.",
    ),
    OptionSpec::new(
        "scan.startup.specific-offsets",
        "text",
        "",
        "'partition:0,offset:42;partition:1,offset:300'.",
    ),
    OptionSpec::new(
        "scan.bounded.mode",
        "unbounded | latest-offset | group-offsets | timestamp | specific-offsets",
        "unbounded",
        "Where to stop.",
    ),
    OptionSpec::new(
        "scan.bounded.timestamp-millis",
        "integer",
        "",
        "For 'timestamp': milliseconds since 1970.",
    ),
    OptionSpec::new("scan.bounded.specific-offsets", "text", "", "As for 'scan.startup.specific-offsets'."),
    OptionSpec::new(
        "scan.topic-partition-discovery.interval",
        "duration",
        "5 min",
        "How often to look for new partitions; 0 never.",
    ),
    OptionSpec::new(
        "fetch.max-buffered-bytes",
        "size",
        "16 mb",
        "Bytes librdkafka fetches ahead, of all instances together.",
    ),
    OptionSpec::new("inlet.max-bytes", "size", "4 mb", "Bytes an instance has read and not decoded."),
    OptionSpec::new(
        "outlet.max-bytes",
        "size",
        "4 mb",
        "Bytes that are on their way to Kafka, each instance's; 64 mb for 'exactly-once', where reaching it starts a checkpoint.",
    ),
    OptionSpec::new(
        "sink.partitioner",
        "default | fixed | round-robin",
        "default",
        "By key or, without one, in turn; 'fixed': all rows of an instance to one partition.",
    ),
    OptionSpec::new(
        "sink.delivery-guarantee",
        "exactly-once | at-least-once | none",
        "at-least-once",
        "Whether a checkpoint waits until rows are with Kafka, or in the outbox; 'exactly-once' writes each checkpoint's rows in one transaction and needs --state.",
    ),
    OptionSpec::new(
        "sink.transactional-id-prefix",
        "text",
        "",
        "For 'exactly-once': what the transactional ids begin with; one of its own for each pipeline and sink.",
    ),
    ON_ERROR_OPTION,
];

/// Those of them that an `upsert-kafka` table takes too.
pub(super) fn of_upsert() -> Vec<OptionSpec> {
    let is_taken = |spec: &&OptionSpec| {
        let key = spec.key;
        let is_of_sources =
            key.starts_with("scan.") || key == "fetch.max-buffered-bytes" || key == "inlet.max-bytes";
        !is_of_sources && !matches!(key, "topic-pattern" | "key.fields" | "sink.partitioner")
    };
    OPTIONS.iter().filter(is_taken).chain(OUTBOX_OPTIONS).cloned().collect()
}
