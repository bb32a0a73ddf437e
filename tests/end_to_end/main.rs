//! Millstream as its users see it: the command, the library, whole pipelines. One binary, one module a subject.
//!
//! Nothing here needs anything installed, except what runs against a real Mosquitto, Kafka, PostgreSQL or S3 server, whose tests are
//! ignored until scripts/test asks for them.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod command;
mod dead_letters;
mod docs;
mod durable;
mod examples;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod journal_http;
mod journal_mosquitto;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_secure;
#[cfg(feature = "kafka")]
mod kill;
mod layering;
mod mosquitto;
mod nexmark;
#[cfg(feature = "object-store")]
mod object_store;
mod outbox;
#[cfg(feature = "kafka")]
mod outbox_kafka;
mod outbox_mqtt;
#[cfg(feature = "postgres")]
mod postgres;
mod promises;
mod receiver;
mod relay;
mod side_outputs;
mod sinks;
mod state_format;
mod support;
