//! The connector against brokers in this process: rumqttd as it is, and a scripted one for what no real broker does on
//! request. `tests/mosquitto.rs` of this crate runs against Mosquitto.

mod metadata;
mod outbox;
#[cfg(feature = "avro")]
mod registry;
mod rig;
mod scripted;
mod secure;
mod sink;
mod source;

use crate as connectors;

use std::collections::HashMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// rumqttd, one port a version.
pub(super) struct TestBroker {
    pub v4: u16,
    pub v5: u16,
}

impl TestBroker {
    /// Starts a broker; it runs until the process ends, for rumqttd cannot be stopped.
    pub fn start() -> Self {
        Self::start_with(HashMap::new())
    }

    /// Starts a broker that lets only these users in; everybody, if there are none.
    pub fn start_with(users: HashMap<String, String>) -> Self {
        let (v4, v5) = (rig::free_port(), rig::free_port());
        let server = |port: u16| {
            let settings = ServerSettings {
                name: format!("broker-{port}"),
                listen: ([127, 0, 0, 1], port).into(),
                tls: None,
                next_connection_delay_ms: 1,
                connections: ConnectionSettings {
                    connection_timeout_ms: 60_000,
                    max_payload_size: 32 << 20,
                    max_inflight_count: 100,
                    auth: (!users.is_empty()).then(|| users.clone()),
                    external_auth: None,
                    dynamic_filters: true,
                },
            };
            Some(HashMap::from([(port.to_string(), settings)]))
        };
        let config = Config {
            router: RouterConfig {
                max_connections: 100,
                max_outgoing_packet_count: 200,
                max_segment_size: 16 << 20,
                max_segment_count: 10,
                ..RouterConfig::default()
            },
            v4: server(v4),
            v5: server(v5),
            ..Config::default()
        };
        std::thread::spawn(move || {
            // It only ends with the process, or at once with an error that the wait below finds.
            let _ = Broker::new(config).start();
        });
        for port in [v4, v5] {
            rig::wait_until("rumqttd", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
        Self { v4, v5 }
    }
}

/// A way to a broker that can be cut and mended: what a restart or a bad line looks like from here.
pub(super) struct Line {
    pub port: u16,
    open: Arc<Mutex<Open>>,
}

struct Open {
    is_cut: bool,
    streams: Vec<TcpStream>,
}

impl Line {
    pub fn to(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Open { is_cut: false, streams: Vec::new() }));
        let kept = Arc::clone(&open);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let mut open = kept.lock();
                if open.is_cut {
                    continue;
                }
                for (mut from, mut to) in
                    [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())]
                        .map(|(from, to)| (from.unwrap(), to.unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                open.streams.extend([near, far]);
            }
        });
        Self { port, open }
    }

    /// Ends all connections, and lets none in.
    pub fn cut(&self) {
        let mut open = self.open.lock();
        open.is_cut = true;
        for stream in open.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.open.lock().is_cut = false;
    }
}
