//! TLS, with and without certificates of the senders.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::*;
use crate::tls::client_config;

/// An authority, and what it signed: (authority, certificate, key) in PEM.
fn signed() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

/// Posts over TLS; the status line, or what went wrong.
fn post(address: SocketAddr, options: &[(&str, &str)]) -> std::io::Result<String> {
    let values = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let config = client_config(&Options::new("client", values)).unwrap();
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap())
        .map_err(std::io::Error::other)?;
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, tcp);
    stream.write_all(
        b"POST /t HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"n\":1}",
    )?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

#[test]
fn requests_come_over_tls_from_known_senders() {
    let (authority, certificate, key) = signed();
    let cert = [("tls.cert", certificate.as_str()), ("tls.key", key.as_str())];
    let mut table = Table::start(&cert);
    let trusting = ("tls.ca", authority.as_str());
    assert!(post(table.address, &[trusting]).unwrap().contains("200 OK"));
    let error = post(table.address, &[]).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    // Who speaks plainly, or of another table with other certificates, is turned away.
    let mut plain = table.sender();
    plain.begin("/t", &[], b"{\"n\":2}");
    assert_ne!(plain.line().unwrap_or_default().get(..5), Some("HTTP/"));
    let other = Table::start_with(&declared("o", &[], &[]), table.address, 1 << 20).err().unwrap();
    assert!(other.to_string().contains("other TLS options"), "{other}");
    assert_eq!(table.numbers(1), [1]);

    let mut strict = Table::start(&[cert[0], cert[1], ("tls.client-ca", &authority)]);
    assert!(!post(strict.address, &[trusting]).is_ok_and(|line| line.contains("200")));
    let (_, stranger, strangers_key) = signed();
    let strange = [trusting, ("tls.cert", &stranger), ("tls.key", &strangers_key)];
    assert!(!post(strict.address, &strange).is_ok_and(|line| line.contains("200")));
    assert!(post(strict.address, &[trusting, cert[0], cert[1]]).unwrap().contains("200 OK"));
    assert_eq!(strict.numbers(1), [1]);
    assert_eq!(strict.metrics().rows_in.get(), 1);
}
