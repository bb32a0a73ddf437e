//! TLS, websockets and fail-over without anything installed: a gate in this process takes them off, with rumqttd behind.

use std::sync::Arc;

use millstream_engine::metrics::Link;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

use super::TestBroker;
use super::rig::{Device, Reader, free_port};
use crate::mqtt::websocket::Frames;

/// Ports in front of a broker, and the certificate of the authority that they go by.
struct Gate {
    tls: u16,
    ws: u16,
    wss: u16,
    authority: String,
}

impl Gate {
    fn before(broker: u16) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            );
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let open = |is_encrypted: bool, is_websocket: bool| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let acceptor = is_encrypted.then(|| acceptor.clone());
            std::thread::spawn(move || forward(listener, broker, acceptor, is_websocket));
            port
        };
        Self {
            tls: open(true, false),
            ws: open(false, true),
            wss: open(true, true),
            authority: authority.pem(),
        }
    }
}

fn forward(listener: std::net::TcpListener, broker: u16, tls: Option<TlsAcceptor>, is_websocket: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((near, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let far = TcpStream::connect(("127.0.0.1", broker)).await.unwrap();
                match tls {
                    None => carry(near, far, is_websocket).await,
                    Some(tls) => {
                        // Not so when the client does not know our authority.
                        if let Ok(near) = tls.accept(near).await {
                            carry(near, far, is_websocket).await;
                        }
                    }
                }
            });
        }
    });
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(mut near: S, mut far: TcpStream, is_websocket: bool) {
    if !is_websocket {
        let _ = copy_bidirectional(&mut near, &mut far).await;
        return;
    }
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, mut response: Response| {
        if request.uri().path() != "/mqtt" {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        assert_eq!(request.headers()["Sec-WebSocket-Protocol"], "mqtt");
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
        Ok(response)
    };
    if let Ok(socket) = accept_hdr_async(near, check).await {
        let _ = copy_bidirectional(&mut Frames::over(socket), &mut far).await;
    }
}

fn options(url: String, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut options = vec![("url", url), ("topic", "p/{device}".to_owned())];
    options.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    options
}

const ROW: &[&str] = &["device STRING", "n BIGINT"];

#[test]
fn rows_come_over_tls_and_websockets() {
    let broker = TestBroker::start();
    let gate = Gate::before(broker.v5);
    let ca = ("tls.ca", gate.authority.as_str());
    for (url, more) in [
        (format!("mqtts://localhost:{}", gate.tls), &[ca][..]),
        (format!("ws://localhost:{}", gate.ws), &[]),
        (format!("wss://localhost:{}/mqtt", gate.wss), &[ca]),
    ] {
        let mut reader = Reader::start(ROW, &options(url, more));
        let mut device = Device::connect(broker.v4, "publisher");
        for n in 0..300 {
            device.publish("p/a", format!("{{\"n\":{n}}}").as_bytes());
        }
        device.publish("p/b", format!("{{\"n\":7,\"filler\":\"{}\"}}", "x".repeat(900_000)).as_bytes());
        let rows = reader.rows(301);
        assert_eq!(rows[299..], [r#"{"device":"a","n":299}"#, r#"{"device":"b","n":7}"#]);
        reader.drain();
    }
}

#[test]
fn what_cannot_be_trusted_or_found_shows_the_link_down() {
    let broker = TestBroker::start();
    let gate = Gate::before(broker.v5);
    let ca = ("tls.ca", gate.authority.as_str());
    for (url, more) in [
        (format!("mqtts://localhost:{}", gate.tls), &[][..]),
        (format!("mqtts://127.0.0.1:{}", gate.tls), &[ca]),
        (format!("mqtts://localhost:{}", broker.v5), &[ca]),
        (format!("ws://localhost:{}/nowhere", gate.ws), &[]),
    ] {
        let reader = Reader::start_with(ROW, &options(url.clone(), more), 1 << 20, &url).unwrap();
        // The same broker, as it should be asked.
        Reader::start(ROW, &options(format!("ws://localhost:{}", gate.ws), &[]));
        assert_eq!(reader.metrics().link(), Link::Down, "{url}");
        assert!(reader.job.error().is_none());
    }
}

#[test]
fn a_broker_that_is_not_there_is_passed_over() {
    let broker = TestBroker::start();
    let url = format!("mqtt://127.0.0.1:{},mqtt://127.0.0.1:{}", free_port(), broker.v5);
    // So long a wait that only the next broker can be the reason to be up.
    let mut reader = Reader::start(ROW, &options(url, &[("reconnect.backoff.initial", "1 h")]));
    Device::connect(broker.v4, "publisher").publish("p/a", br#"{"n":1}"#);
    assert_eq!(reader.rows(1), [r#"{"device":"a","n":1}"#]);
}
