//! The options of an MQTT table, declared once; settings.rs reads them.

use millstream_engine::dead_letter::ON_ERROR_OPTION;
use millstream_engine::journal::JOURNAL_OPTION;
use millstream_engine::options::OptionSpec;

/// All options of the connector itself, in the order a reader wants them; the format's come on top.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        "text",
        "",
        "The broker, such as 'mqtt://host:1883', 'mqtts://host:8883' (TLS), 'ws://host/mqtt' or 'wss://host/mqtt' \
         (websockets); several, separated by ',', are fallen back on in that order.",
    ),
    OptionSpec::new(
        "topic",
        "text",
        "",
        "Read: a filter with + and #, where '{name}' for a level fills that column. Write: a topic, where '{name}' \
         stands for that column's value. Several filters are separated by ';'.",
    ),
    OptionSpec::new(
        "qos",
        "0 | 1 | 2",
        "1",
        "0: a message may be lost with the connection. 1: it arrives at least once. 2: read only; the broker keeps apart what it sent before.",
    ),
    OptionSpec::new("version", "5 | 3.1.1", "5", "The protocol's version."),
    OptionSpec::new(
        "client-id",
        "text",
        "",
        "Name of the session at the broker, one a running table; derived from pipeline, table and host when not given.",
    ),
    OptionSpec::new("username", "text", "", "User name for the broker."),
    OptionSpec::new("password", "text", "", "Password for the broker.").secret(),
    OptionSpec::new("keep-alive", "duration", "30 s", "How often a quiet connection is tested; '0 s' never."),
    OptionSpec::new("connect.timeout", "duration", "10 s", "How long connecting may take."),
    OptionSpec::new(
        "reconnect.backoff.initial",
        "duration",
        "200 ms",
        "Wait before connecting again, doubled after.",
    ),
    OptionSpec::new("reconnect.backoff.max", "duration", "30 s", "The longest wait before connecting again."),
    OptionSpec::new(
        "clean-start",
        "boolean",
        "false",
        "Read: whether to begin without what the broker kept for this client id.",
    ),
    OptionSpec::new(
        "session-expiry",
        "duration",
        "1 h",
        "Read: how long the broker keeps messages while we are away (MQTT 5; with 3.1.1 the broker decides).",
    ),
    OptionSpec::new(
        "receive-maximum",
        "integer",
        "1024",
        "Read: QoS 1 and 2 messages the broker may send before we acknowledge (MQTT 5).",
    ),
    OptionSpec::new(
        "shared-group",
        "text",
        "",
        "Read: readers with the same group share the messages; the same as a topic '$share/GROUP/...'.",
    ),
    OptionSpec::new(
        "retain-handling",
        "send-if-new | send-always | never",
        "send-if-new",
        "Read: whether messages that the broker keeps come with a new session, at each start, or never (MQTT 5).",
    ),
    OptionSpec::new(
        "maximum-packet-size",
        "size",
        "",
        "Read: the broker must send no larger packets, and discards them (MQTT 5); not given, they are counted as bad.",
    ),
    OptionSpec::new(
        "inlet.max-bytes",
        "size",
        "4 mb",
        "Read: bytes that wait for the query before the broker must.",
    ),
    JOURNAL_OPTION,
    OptionSpec::new(
        "retain",
        "boolean",
        "false",
        "Write: whether the broker keeps the topic's last message.",
    ),
    OptionSpec::new(
        "max-in-flight",
        "integer",
        "256",
        "Write: QoS 1 messages sent before one is acknowledged.",
    ),
    OptionSpec::new(
        "outlet.max-bytes",
        "size",
        "4 mb",
        "Write: bytes that wait for delivery before the query is held back.",
    ),
    OptionSpec::new(
        "will.topic",
        "text",
        "",
        "Write: what the broker publishes under this topic when the connection breaks, or the job fails.",
    ),
    OptionSpec::new("will.payload", "text", "", "Write: the payload of that message."),
    OptionSpec::new("will.qos", "0 | 1", "1", "Write: its quality of service."),
    OptionSpec::new("will.retain", "boolean", "false", "Write: whether the broker keeps it."),
    ON_ERROR_OPTION,
];
