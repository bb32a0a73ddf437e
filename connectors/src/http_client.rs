//! What all that dials out over HTTP shares: the connector with our TLS.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;

/// HTTP/1.1 over `tcp`, with `tls` for `https`, as the table configures it (tls.rs).
pub(crate) fn connector<R>(
    mut tcp: HttpConnector<R>,
    tls: &ClientConfig,
) -> HttpsConnector<HttpConnector<R>> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}
