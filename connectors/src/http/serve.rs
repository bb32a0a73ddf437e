//! One connection: HTTP/1.1 with keep-alive on TCP or TLS, each request handed to ingest.rs.
//!
//! Invariants: whoever does not get through with the head of a request in time, idle connections included, is
//! disconnected; a head takes no more than [`HEAD_BYTES_MAX`]. Text that is no HTTP is answered 400 by hyper. When a table
//! stops, connections at rest are closed, the others after the answer that they are owed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::ingest::answer;
use super::route::{InProgress, Routes};

/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The last request of a connection, which is under way until its answer is written: that is seen from the next
/// request, or from the end of the connection.
pub(super) type Last = Mutex<Option<InProgress>>;

/// Serves one connection to its end.
pub(super) async fn connection(
    stream: TcpStream,
    remote: SocketAddr,
    routes: Arc<Routes>,
    header_timeout: Duration,
) {
    // Answers are small; without this they may wait for the other side's acknowledgement of what was before.
    let _ = stream.set_nodelay(true);
    match routes.tls.clone() {
        None => serve(stream, remote, routes, header_timeout).await,
        Some(tls) => match timeout(header_timeout, TlsAcceptor::from(tls.config).accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, remote, routes, header_timeout).await,
            Ok(Err(error)) => tracing::debug!(%remote, "no TLS: {error}"),
            Err(_) => tracing::debug!(%remote, "no TLS in time"),
        },
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    remote: SocketAddr,
    routes: Arc<Routes>,
    header_timeout: Duration,
) {
    let mut stopping = routes.stopping.subscribe();
    let last = Arc::<Last>::default();
    let service = service_fn(|request| {
        let (routes, last) = (Arc::clone(&routes), Arc::clone(&last));
        async move { Ok::<_, Infallible>(answer(request, remote, &routes, &last).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, "a connection ends: {error}");
    }
}
