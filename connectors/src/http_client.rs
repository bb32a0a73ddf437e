//! What all that dials out over HTTP shares: the connector with our TLS, and errors that say what caused them.

use std::fmt::Write;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use millstream_engine::{Error, Result};

/// HTTP/1.1 over `tcp`, with rustls on ring and Mozilla's roots for `https`, configured here and not for the process.
///
/// # Errors
/// If TLS cannot be set up.
pub(crate) fn connector<R>(mut tcp: HttpConnector<R>) -> Result<HttpsConnector<HttpConnector<R>>> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let provider = rustls::crypto::ring::default_provider();
    Ok(HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(provider)
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
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
