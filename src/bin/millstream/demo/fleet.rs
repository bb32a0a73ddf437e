//! The demo's fleet: devices that share a few MQTT connections, as they do behind a gateway, each message QoS 1.
//!
//! A connection is two tasks: one publishes what is due, one runs the client's event loop and counts what the broker
//! has acknowledged. Only acknowledged messages count as published.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use millstream::engine::ClockRef;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::Packet;
use rumqttc_v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::runtime::Handle;

use super::device::Device;
use crate::cli::Demo;

/// Connections the fleet shares.
const CONNECTIONS: u32 = 4;
/// How often a connection looks which devices are due.
const TICK: Duration = Duration::from_millis(5);
/// Messages of a connection that may wait for the broker's acknowledgement.
const IN_FLIGHT_MAX: u16 = 500;
/// The fleet is the same in every run.
const SEED: u64 = 2_026;

/// The running fleet.
pub struct Fleet {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    publishing: AtomicUsize,
}

impl Fleet {
    /// Starts `demo.devices` devices that publish to the broker at `address`.
    pub fn start(io: &Handle, address: SocketAddr, demo: &Demo, clock: ClockRef) -> Self {
        let shared = Arc::<Shared>::default();
        let interval_ms = (1_000.0 / demo.rate).max(1.0) as i64;
        for connection in 0..CONNECTIONS.min(demo.devices) {
            let mut random = SmallRng::seed_from_u64(SEED + u64::from(connection));
            let start_ms = clock.now_ms();
            let devices: Vec<Device> = (connection..demo.devices)
                .step_by(CONNECTIONS as usize)
                .map(|number| Device::new(number, start_ms, interval_ms, &mut random))
                .collect();
            let mut options =
                MqttOptions::new(format!("fleet-{connection}"), (address.ip().to_string(), address.port()));
            options.set_keep_alive(30);
            options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
            let (client, events) = AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT_MAX)).build();
            shared.publishing.fetch_add(1, Ordering::AcqRel);
            io.spawn(acknowledgements(events, Arc::clone(&shared)));
            io.spawn(publish(client, devices, interval_ms, random, Arc::clone(&clock), Arc::clone(&shared)));
        }
        Self { shared }
    }

    /// Makes the devices fall silent.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
    }

    /// True when no device sends any more and the broker has acknowledged everything.
    pub fn is_done(&self) -> bool {
        self.shared.publishing.load(Ordering::Acquire) == 0
            && self.published() >= self.shared.sent.load(Ordering::Acquire)
    }

    /// Messages that the broker has taken.
    pub fn published(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Acquire)
    }
}

async fn publish(
    client: AsyncClient,
    mut devices: Vec<Device>,
    interval_ms: i64,
    mut random: SmallRng,
    clock: ClockRef,
    shared: Arc<Shared>,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut payload = String::new();
    'running: while !shared.stopped.load(Ordering::Acquire) {
        ticks.tick().await;
        let now_ms = clock.now_ms();
        for device in devices.iter_mut().filter(|device| device.next_ms <= now_ms) {
            let sent_us = clock.monotonic_ns() / 1_000;
            if !device.message(now_ms, interval_ms, sent_us, &mut random, &mut payload) {
                continue;
            }
            let options = rumqttc_v5::PublishOptions::new(QoS::AtLeastOnce);
            if client.publish(device.topic.clone(), payload.clone(), options).await.is_err() {
                break 'running;
            }
            shared.sent.fetch_add(1, Ordering::AcqRel);
        }
    }
    shared.publishing.fetch_sub(1, Ordering::AcqRel);
    // The client must live until the event loop has sent what it holds.
    while shared.acknowledged.load(Ordering::Acquire) < shared.sent.load(Ordering::Acquire) {
        ticks.tick().await;
    }
    let _ = client.disconnect().await;
}

async fn acknowledgements(mut events: EventLoop, shared: Arc<Shared>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) => {
                shared.acknowledged.fetch_add(1, Ordering::AcqRel);
            }
            Ok(Event::Outgoing(rumqttc_v5::Outgoing::Disconnect)) => return,
            Ok(_) => {}
            Err(error) => {
                if shared.stopped.load(Ordering::Acquire) {
                    return;
                }
                tracing::debug!("the fleet's connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
