//! Millstream's sources, sinks and formats: one folder or file, and where it is heavy one Cargo feature, each.
//!
//! A connector implements [`millstream_engine::Connector`] and is found by name through a [`Registry`]. To add one, copy
//! `blackhole.rs` (the smallest sink) or `datagen/` (a source with options), and add a line to [`register_all`].

pub mod blackhole;
#[cfg(feature = "text")]
pub mod datagen;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "webhook"))]
mod delivery;
#[cfg(feature = "text")]
pub mod filesystem;
#[cfg(feature = "text")]
pub mod format;
#[cfg(feature = "text")]
mod generator;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "webhook")]
mod http_client;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
#[cfg(any(feature = "http", feature = "kafka", feature = "mqtt"))]
mod metadata;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "text")]
pub mod nexmark;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "text")]
pub mod print;
#[cfg(feature = "webhook")]
pub mod rest_lookup;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(any(feature = "postgres", feature = "webhook"))]
mod way;
#[cfg(feature = "webhook")]
pub mod webhook;

use std::sync::Arc;

use millstream_engine::Registry;

/// A registry with every connector and format of this build.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    register_all(&mut registry);
    registry
}

/// Adds every connector and format of this build.
pub fn register_all(registry: &mut Registry) {
    #[cfg(feature = "text")]
    format::register_all(registry);
    registry.add(Arc::new(blackhole::Blackhole));
    #[cfg(feature = "text")]
    registry.add(Arc::new(datagen::Datagen));
    #[cfg(feature = "text")]
    registry.add(Arc::new(filesystem::Filesystem));
    #[cfg(feature = "http")]
    registry.add(Arc::new(http::Http));
    #[cfg(feature = "kafka")]
    {
        registry.add(Arc::new(kafka::Kafka));
        registry.add(Arc::new(kafka::UpsertKafka));
    }
    #[cfg(feature = "mqtt")]
    registry.add(Arc::new(mqtt::Mqtt));
    #[cfg(feature = "text")]
    registry.add(Arc::new(nexmark::Nexmark));
    #[cfg(feature = "postgres")]
    {
        registry.add(Arc::new(postgres::Postgres::NATIVE));
        registry.add(Arc::new(postgres::Postgres::JDBC));
    }
    #[cfg(feature = "text")]
    registry.add(Arc::new(print::Print::default()));
    #[cfg(feature = "webhook")]
    {
        registry.add(Arc::new(rest_lookup::RestLookup));
        registry.add(Arc::new(webhook::Webhook));
    }
}
