//! Listening sockets, one an address in the process, shared by all tables there.
//!
//! Invariants: the socket is open exactly as long as one of its tables is; a path belongs to one table. Each table
//! accepts on a duplicate of the socket in its own pipeline's I/O runtime, so that no table depends on the runtime of
//! another. While as many connections are served as the table allows, no more are accepted: they wait in the system's
//! queue, which is bounded too.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_engine::{Error, Result};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::route::{Route, Routes};
use super::serve::connection;
use super::settings::Tls;

/// The sockets of the process by the address that tables name: what the system keeps by port, kept here by table.
static LISTENERS: Mutex<BTreeMap<SocketAddr, Weak<Listener>>> = Mutex::new(BTreeMap::new());

/// Wait after the system refuses to accept, for want of file descriptors most likely.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

struct Listener {
    socket: std::net::TcpListener,
    routes: Arc<Routes>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // What is still connected has nobody to talk to.
        self.routes.stopping.send_replace(());
    }
}

/// A table's place at its address, given up when dropped.
pub(super) struct Place {
    pub route: Arc<Route>,
    listener: Arc<Listener>,
    accepting: AbortHandle,
}

impl Place {
    /// Listens for `route`.
    ///
    /// # Errors
    /// If the address cannot be listened on, its path is taken, or another table there speaks other TLS.
    pub fn open(route: Route, io: &Handle) -> Result<Self> {
        let (settings, route) = (Arc::clone(&route.settings), Arc::new(route));
        let address = settings.listen;
        let wrong = |what: String| Error::config(what).at(format!("table {}", settings.table));
        let mut listeners = LISTENERS.lock();
        listeners.retain(|_, listener| listener.strong_count() > 0);
        let listener = match listeners.get(&address).and_then(Weak::upgrade) {
            Some(listener) => listener,
            None => {
                let socket = listen(address).map_err(|error| {
                    wrong(format!("option 'listen': {address} cannot be listened on: {error}"))
                        .remedy("is another program there, or an address that this machine does not have?")
                })?;
                let routes = Arc::new(Routes::new(settings.tls.clone()));
                let listener = Arc::new(Listener { socket, routes });
                listeners.insert(address, Arc::downgrade(&listener));
                listener
            }
        };
        if !Tls::is_same(listener.routes.tls.as_ref(), settings.tls.as_ref()) {
            return Err(wrong(format!("another table listens on {address} with other TLS options"))
                .remedy("give both the same, or another port"));
        }
        let mut all = listener.routes.all.write();
        if let Some(other) = all.iter().find(|other| other.settings.path == settings.path) {
            return Err(wrong(format!(
                "option 'path': {} belongs to table {} already",
                settings.shown(),
                other.settings.table
            ))
            .remedy("give each table its own 'path', or port"));
        }
        let accepting = listener.socket.try_clone().and_then(|socket| {
            let _runtime = io.enter();
            TcpListener::from_std(socket)
        });
        let socket = accepting.map_err(|error| wrong(format!("option 'listen': {address}: {error}")))?;
        let task = accept(Arc::clone(&listener), socket, Arc::clone(&route));
        let accepting = io.spawn(task).abort_handle();
        all.push(Arc::clone(&route));
        drop(all);
        Ok(Self { route, listener, accepting })
    }

    /// Takes nothing new; connections at rest are closed, those with a request are once it is answered.
    pub fn stop(&self) {
        self.route.stop();
        self.listener.routes.stopping.send_replace(());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.routes.all.write().retain(|other| !Arc::ptr_eq(other, &self.route));
        self.accepting.abort();
    }
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts connections for good. `listener` goes after `socket`, so that while the port is taken it can be shared.
async fn accept(listener: Arc<Listener>, socket: TcpListener, route: Arc<Route>) {
    let room = Arc::new(Semaphore::new(route.settings.connections_max));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, remote)) => {
                let (routes, limit) = (Arc::clone(&listener.routes), route.settings.header_timeout);
                tokio::spawn(async move {
                    connection(stream, remote, routes, limit).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(table = %route.settings.table, "a connection is not accepted: {error}");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
