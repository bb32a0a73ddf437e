//! What all that dials out over HTTP shares: the connector with our TLS, and errors that say what caused them.

use std::fmt::Write;

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

/// An error with what caused it: the outermost text of HTTP errors alone says nothing.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {inner_text}");
        }
        cause = inner.source();
    }
    text
}
