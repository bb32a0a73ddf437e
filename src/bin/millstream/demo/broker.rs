//! The demo's MQTT broker: rumqttd on a free port of this machine, in a thread that ends with the process.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use millstream::engine::{Error, Result};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Messages the broker keeps for a subscriber that is behind: segments of this size and number.
const SEGMENT_BYTES: usize = 4 << 20;
const SEGMENTS: usize = 4;
/// How often to look whether it listens, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS_MAX: usize = 500;

/// Starts a broker for MQTT 5 clients and waits until it listens.
pub fn start() -> Result<SocketAddr> {
    let address = free_address()?;
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 64 << 10,
        max_inflight_count: 1_000,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo".into(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 0,
        connections,
    };
    let config = Config {
        id: 0,
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 1_000,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    };
    let mut broker = Broker::new(config);
    std::thread::Builder::new()
        .name("broker".into())
        .spawn(move || {
            if let Err(error) = broker.start() {
                tracing::error!("the demo's broker has ended: {error}");
            }
        })
        .map_err(|error| Error::unavailable(format!("the demo's broker does not start: {error}")))?;
    for _ in 0..LOOKS_MAX {
        if TcpStream::connect(address).is_ok() {
            return Ok(address);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(Error::unavailable(format!("the demo's broker does not listen on {address}")))
}

/// An address that nobody listens on now.
fn free_address() -> Result<SocketAddr> {
    let probe = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    probe.map_err(|error| Error::unavailable(format!("there is no free port for the demo's broker: {error}")))
}
