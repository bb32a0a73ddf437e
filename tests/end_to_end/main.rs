//! Millstream as its users see it: the command, the library, whole pipelines. One binary, one module a subject.
//!
//! Nothing here needs anything installed, except `mosquitto`, which runs where MILLSTREAM_MOSQUITTO names a broker.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod command;
mod durable;
mod examples;
#[cfg(feature = "http")]
mod http;
mod layering;
mod mosquitto;
mod promises;
mod side_outputs;
mod support;
