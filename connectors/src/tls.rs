//! TLS of every connector: rustls on ring, configured per table and never for the process.
//!
//! Without options the server is checked against Mozilla's roots; `'tls.ca'` replaces them with an authority of one's
//! own, as plants have it. `'tls.cert'` and `'tls.key'` identify us to the server. There is no option to skip the
//! check: whoever has a server with a certificate of its own making can name that certificate as its authority.

use std::sync::Arc;

use millstream_engine::options::{OptionSpec, Options};
use millstream_engine::{Error, Result};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Options for connectors that speak TLS.
pub const TLS_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "tls.ca",
        "text",
        "",
        "PEM file (or text) with the certificate of the authority that the server's is signed by; Mozilla's roots when not given.",
    ),
    OptionSpec::new(
        "tls.cert",
        "text",
        "",
        "PEM file (or text) with our certificate, for servers that ask for one.",
    ),
    OptionSpec::new("tls.key", "text", "", "PEM file (or text) with the private key of 'tls.cert'.").secret(),
];

/// Options for connectors that are dialled.
pub const SERVER_TLS_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "tls.cert",
        "text",
        "",
        "PEM file (or text) with our certificate: TLS is spoken with it.",
    ),
    OptionSpec::new("tls.key", "text", "", "PEM file (or text) with the private key of 'tls.cert'.").secret(),
    OptionSpec::new(
        "tls.client-ca",
        "text",
        "",
        "PEM file (or text) with the authority that clients' certificates are signed by; others are not let in.",
    ),
];

/// What [`SERVER_TLS_OPTIONS`] say, ready to be dialled with.
///
/// # Errors
/// If a file cannot be read, is not PEM, or key and certificate do not go together.
pub fn server_config(options: &Options) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?;
    let builder = match options.get("tls.client-ca") {
        None => builder.with_no_client_auth(),
        Some(_) => {
            let mut roots = RootCertStore::empty();
            add_roots(&mut roots, options, "tls.client-ca")?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let verifier = verifier.map_err(|error| {
                wrong(options, "tls.client-ca", &format!("holds no usable authority: {error}"))
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(options, "tls.cert")?;
    let config = builder
        .with_single_cert(chain, key(options)?)
        .map_err(|error| wrong(options, "tls.key", &format!("is not the key of 'tls.cert': {error}")))?;
    Ok(Arc::new(config))
}

/// What [`TLS_OPTIONS`] say, ready to connect with.
///
/// # Errors
/// If a file cannot be read, is not PEM, or key and certificate do not go together.
pub fn client_config(options: &Options) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match options.get("tls.ca") {
        Some(_) => add_roots(&mut roots, options, "tls.ca")?,
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots);
    let config = match (options.get("tls.cert"), options.get("tls.key")) {
        (None, None) => builder.with_no_client_auth(),
        (Some(_), Some(_)) => {
            let chain = certificates(options, "tls.cert")?;
            builder.with_client_auth_cert(chain, key(options)?).map_err(|error| {
                wrong(options, "tls.key", &format!("is not the key of 'tls.cert': {error}"))
            })?
        }
        (given, _) => {
            let missing = if given.is_some() { "tls.key" } else { "tls.cert" };
            return Err(Error::config(format!("option '{missing}' is missing"))
                .at(options.owner())
                .remedy("a client certificate needs both 'tls.cert' and 'tls.key'"));
        }
    };
    Ok(Arc::new(config))
}

/// Refuses TLS options of a table whose address is not one of TLS.
///
/// # Errors
/// If there is one.
pub fn refuse_options(options: &Options, scheme: &str) -> Result<()> {
    match TLS_OPTIONS.iter().find(|spec| options.get(spec.key).is_some()) {
        None => Ok(()),
        Some(spec) => {
            Err(Error::config(format!("option '{}' is given, but '{scheme}' is not encrypted", spec.key))
                .at(options.owner())
                .remedy("use the address of the server's TLS port, or leave the option out"))
        }
    }
}

fn add_roots(roots: &mut RootCertStore, options: &Options, key: &str) -> Result<()> {
    for certificate in certificates(options, key)? {
        roots.add(certificate).map_err(|error| {
            wrong(options, key, &format!("holds a certificate that is no authority: {error}"))
        })?;
    }
    Ok(())
}

fn certificates(options: &Options, key: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = text(options, key)?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| wrong(options, key, &format!("is not PEM: {error}")))?;
    if all.is_empty() { Err(wrong(options, key, "holds no certificate in PEM form")) } else { Ok(all) }
}

fn key(options: &Options) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&text(options, "tls.key")?)
        // The error names positions and kinds, never the key.
        .map_err(|error| wrong(options, "tls.key", &format!("holds no private key in PEM form: {error}")))
}

/// The PEM text that an option holds or names.
fn text(options: &Options, key: &str) -> Result<Vec<u8>> {
    let value = options.require(key)?;
    if value.trim_start().starts_with("-----BEGIN") {
        return Ok(value.as_bytes().to_vec());
    }
    std::fs::read(value)
        .map_err(|error| wrong(options, key, &format!("names {value}, which cannot be read: {error}")))
}

fn wrong(options: &Options, key: &str, what: &str) -> Error {
    Error::config(format!("option '{key}' {what}")).at(options.owner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<const N: usize>(pairs: [(&str, &str); N]) -> String {
        client_config(&Options::from_pairs("table t", pairs)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named_and_keys_are_not_shown() {
        client_config(&Options::default()).unwrap();
        assert!(error([("tls.ca", "/no/such.pem")]).contains("/no/such.pem"));
        let ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(error([("tls.ca", ca)]).contains("no authority"));
        assert!(error([("tls.cert", ca)]).contains("'tls.key' is missing"));
        let secret = "-----BEGIN PRIVATE KEY-----\n!!!hunter2\n-----END PRIVATE KEY-----";
        let shown = error([("tls.cert", ca), ("tls.key", secret)]);
        assert!(shown.contains("tls.key") && !shown.contains("hunter2"), "{shown}");
        assert!(refuse_options(&Options::from_pairs("t", [("tls.ca", "x")]), "mqtt").is_err());
    }
}
