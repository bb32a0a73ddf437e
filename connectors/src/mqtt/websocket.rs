//! MQTT's bytes in the binary messages of a websocket (subprotocol `mqtt`), as a stream like any other.
//!
//! Invariants: where messages begin and end means nothing, as MQTT says. A message is bounded; a text message is an
//! error; pings are answered inside. A read or write that is dropped loses nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use millstream_engine::{Error, Result};

use super::broker::Broker;
use super::refusal;

/// Bytes that go into one message, and that wait for the socket at most.
const WRITE_BYTES: usize = 64 << 10;

/// A websocket that is read and written as bytes.
pub(super) struct Frames<S> {
    inner: WebSocketStream<S>,
    /// What is left of the message that was read last.
    left: Bytes,
}

impl<S> Frames<S> {
    /// The bytes of a websocket that stands.
    pub fn over(inner: WebSocketStream<S>) -> Self {
        Self { inner, left: Bytes::new() }
    }
}

/// Shakes hands over `stream`.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    broker: &Broker,
    stream: S,
    message_bytes_max: usize,
) -> Result<Frames<S>> {
    let url = format!("ws://{}{}", broker.authority(), broker.path);
    let mut request = url.into_client_request().map_err(|error| {
        Error::config(format!("no websocket can be asked for: {error}")).remedy("check 'url'")
    })?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(4 * WRITE_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let opened = client_async_with_config(request, stream, Some(config)).await;
    let (inner, _) = opened.map_err(|error| refused(broker, error))?;
    Ok(Frames::over(inner))
}

/// Why there is no websocket.
fn refused(broker: &Broker, error: WsError) -> Error {
    match error {
        WsError::Io(error) => refusal::handshake(&error),
        WsError::Http(response) => {
            let status = response.status();
            let text = format!("the server refuses the websocket: {status}");
            match status {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => {
                    Error::config(text).remedy(format!(
                        "check the path in 'url', it is '{}' now; many brokers listen at '/mqtt'",
                        broker.path
                    ))
                }
                status if status.is_client_error() || status.is_redirection() => Error::config(text)
                    .remedy("check 'url', and whom the server in front of the broker lets in"),
                _ => Error::unavailable(text),
            }
        }
        WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            Error::config("the server speaks websockets, but no MQTT over them")
                .remedy("check host, port and path in 'url'")
        }
        error => Error::unavailable(format!("what listens there does not answer as a websocket: {error}"))
            .remedy("check scheme and port in 'url': 'mqtt://' is MQTT without websockets"),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.left = bytes,
                Some(Ok(Message::Text(_))) => {
                    let what = "a text message came over the websocket, MQTT uses binary ones";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                Some(Ok(_)) => {}
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => match into_io(error) {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
        let taken = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left[..taken]);
        self.left.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_ready(context)).map_err(or_closed)?;
        let taken = bytes.len().min(WRITE_BYTES);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..taken]));
        Pin::new(&mut self.inner).start_send(message).map_err(or_closed)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context).map_err(or_closed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context).map_err(or_closed)
    }
}

fn or_closed(error: WsError) -> io::Error {
    into_io(error).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// None: the other side has closed.
fn into_io(error: WsError) -> Option<io::Error> {
    match error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Io(error) => Some(error),
        error => Some(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}
