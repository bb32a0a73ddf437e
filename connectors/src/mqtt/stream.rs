//! The bytes to and from a broker, whatever carries them: TCP, TLS, websockets, or websockets over TLS.
//!
//! One enum, so that the connection is compiled once and no read or write goes through a pointer to a function.
//! [`Stream::dial`] makes one; what goes wrong on the way is put into words there and in refusal.rs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use millstream_engine::{Error, Result};

use super::broker::{Broker, Scheme};
use super::refusal;
use super::websocket::{self, Frames};

/// A connection to a broker, before MQTT.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<Frames<TcpStream>>),
    Wss(Box<Frames<TlsStream<TcpStream>>>),
    /// Nothing is there while a resting stream is away, or when its rest was broken off.
    Away,
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

impl Stream {
    /// Connects to `broker`, encrypted by `tls` where its address says so. A websocket message holds at most
    /// `message_bytes_max`.
    ///
    /// # Errors
    /// `Unavailable` where trying again can help, `Config` where somebody has to mend something.
    pub async fn dial(
        broker: &Broker,
        tls: Option<&Arc<ClientConfig>>,
        message_bytes_max: usize,
    ) -> Result<Self> {
        let tcp = TcpStream::connect((broker.host.as_str(), broker.port)).await.map_err(|error| {
            Error::unavailable(format!("not reachable: {error}"))
                .remedy("check 'url', and that the broker runs")
        })?;
        // Acknowledgements are small and must not wait for each other.
        tcp.set_nodelay(true).map_err(|error| refusal::lost(&error))?;
        Ok(match broker.scheme {
            Scheme::Mqtt => Self::Tcp(tcp),
            Scheme::Mqtts => Self::Tls(Box::new(encrypt(broker, tls, tcp).await?)),
            Scheme::Ws => Self::Ws(Box::new(websocket::open(broker, tcp, message_bytes_max).await?)),
            Scheme::Wss => {
                let tls = encrypt(broker, tls, tcp).await?;
                Self::Wss(Box::new(websocket::open(broker, tls, message_bytes_max).await?))
            }
        })
    }
}

async fn encrypt(
    broker: &Broker,
    tls: Option<&Arc<ClientConfig>>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let config = tls.ok_or_else(|| Error::internal("an encrypted address without a TLS configuration"))?;
    let name = ServerName::try_from(broker.host.clone()).map_err(|_| {
        Error::config(format!("'{}' is no name that a certificate can have", broker.host))
            .remedy("use the broker's host name or IP address in 'url'")
    })?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, tcp).await.map_err(|error| refusal::handshake(&error))
}

impl Stream {
    /// Leaves what arrives in the socket for `time`. A plain stream is taken out of the I/O driver meanwhile, which
    /// otherwise wakes up for every packet that comes, wanted or not.
    ///
    /// # Errors
    /// If the system cannot give the stream back.
    pub async fn rest(&mut self, time: Duration) -> io::Result<()> {
        match std::mem::replace(self, Self::Away) {
            Self::Tcp(tcp) => {
                let tcp = tcp.into_std()?;
                sleep(time).await;
                *self = Self::Tcp(TcpStream::from_std(tcp)?);
            }
            other => {
                *self = other;
                sleep(time).await;
            }
        }
        Ok(())
    }
}

/// Calls a method of the stream that is inside.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($inner) => $call,
            Stream::Tls($inner) => $call,
            Stream::Ws($inner) => $call,
            Stream::Wss($inner) => $call,
            Stream::Away => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            #[cfg(test)]
            Stream::Memory($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_shutdown(context))
    }
}
