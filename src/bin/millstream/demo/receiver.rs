//! The demo's receiver of alerts: a plain HTTP server that answers 204 and keeps books on the board.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use millstream::engine::{Error, Result};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::board::{Alert, Board};

/// A larger request is refused.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Starts the receiver on a free port.
pub fn start(io: &Handle, board: Arc<Board>) -> Result<SocketAddr> {
    let refuse =
        |error: std::io::Error| Error::unavailable(format!("the demo's receiver cannot listen: {error}"));
    let listener = io.block_on(TcpListener::bind(("127.0.0.1", 0))).map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    io.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let board = Arc::clone(&board);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let board = Arc::clone(&board);
                    async move { Ok::<_, Infallible>(answer(request, &board).await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>, board: &Board) -> Response<Empty<Bytes>> {
    let id =
        request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let alert = body.ok().and_then(|body| serde_json::from_slice::<Alert>(&body.to_bytes()).ok());
    let status = match alert {
        Some(alert) => {
            board.deliver(&id, alert);
            StatusCode::NO_CONTENT
        }
        None => StatusCode::BAD_REQUEST,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}
