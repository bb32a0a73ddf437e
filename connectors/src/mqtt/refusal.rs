//! Why a connection did not come about, or broke: what the system and TLS say, put into words with a remedy.
//!
//! What somebody has to mend (a certificate, a name, a port) is a `Config` error, which is tried again slowly; what can
//! go by itself is `Unavailable`.

use std::io;

use rustls::{AlertDescription as Alert, CertificateError, Error as TlsError};

use millstream_engine::Error;

/// A connection that is no more.
pub(super) fn lost(error: &io::Error) -> Error {
    match tls(error) {
        Some(error) => error,
        None => lost_for(error),
    }
}

/// A connection that is no more, for a reason that is not the system's.
pub(super) fn lost_for(why: &impl std::fmt::Display) -> Error {
    Error::unavailable(format!("connection lost: {why}"))
}

/// A handshake, of TLS or a websocket, that failed.
pub(super) fn handshake(error: &io::Error) -> Error {
    match tls(error) {
        Some(error) => error,
        None => Error::unavailable(format!("the connection broke during the handshake: {error}")).remedy(
            "check scheme and port in 'url': brokers have a port for each of TCP, TLS and websockets",
        ),
    }
}

/// What TLS has against it, if it is TLS.
fn tls(error: &io::Error) -> Option<Error> {
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    Some(match error {
        TlsError::InvalidCertificate(why) => certificate(why),
        TlsError::AlertReceived(alert) => refused_by_broker(*alert),
        TlsError::InvalidMessage(_) => Error::config("what listens there does not speak TLS").remedy(
            "check the port in 'url': 'mqtts://' is port 8883 at most brokers, 'mqtt://' is not encrypted",
        ),
        error => Error::unavailable(format!("TLS failed: {error}")),
    })
}

/// What is wrong with the broker's certificate.
fn certificate(why: &CertificateError) -> Error {
    let wrong = |what: &str, remedy: &str| {
        Error::config(format!("the broker's certificate is not accepted: {what}")).remedy(remedy)
    };
    match why {
        CertificateError::UnknownIssuer => wrong(
            "it is signed by an authority that is not known here",
            "name the certificate of the broker's authority in 'tls.ca'",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => wrong(
            &format!("it is for {}, not for '{}'", presented.join(", "), expected.to_str()),
            "use a name in 'url' that the certificate has, or give the broker another one",
        ),
        CertificateError::NotValidForName => wrong(
            "it is for another name",
            "use a name in 'url' that the certificate has, or give the broker another one",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            wrong("it has expired", "renew it at the broker, and check the clock of this machine")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            wrong("it is not valid yet", "check the clock of this machine")
        }
        CertificateError::BadSignature => wrong(
            "its signature is not that of the authority it names",
            "check that 'tls.ca' is the broker's authority of today, not a former one of the same name",
        ),
        other => wrong(&other.to_string(), "give the broker another certificate, or check 'tls.ca'"),
    }
}

/// What the broker has against us.
fn refused_by_broker(alert: Alert) -> Error {
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            Error::config("the broker asks for a client certificate")
                .remedy("name certificate and key in 'tls.cert' and 'tls.key'")
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied
        | Alert::DecryptError => Error::config(format!("the broker refuses our certificate: {alert:?}"))
            .remedy("check that 'tls.cert' is valid today and signed by an authority that the broker trusts"),
        Alert::HandshakeFailure => Error::config("the broker ends the TLS handshake").remedy(
            "it may ask for a client certificate ('tls.cert', 'tls.key'), or speak no TLS 1.2 or 1.3",
        ),
        Alert::ProtocolVersion => Error::config("the broker speaks neither TLS 1.2 nor 1.3")
            .remedy("update the broker, or let it offer TLS 1.2"),
        Alert::UnrecognisedName => Error::config("the broker does not know the host name in 'url'")
            .remedy("use the name that its certificate has"),
        alert => Error::unavailable(format!("the broker ends the TLS connection: {alert:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_engine::ErrorKind;

    #[test]
    fn each_reason_has_words_and_a_remedy() {
        for (error, kind, part, remedy) in [
            (
                TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
                ErrorKind::Config,
                "authority that is not known",
                "'tls.ca'",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::Expired),
                ErrorKind::Config,
                "has expired",
                "clock",
            ),
            (
                TlsError::AlertReceived(Alert::CertificateRequired),
                ErrorKind::Config,
                "client certificate",
                "'tls.cert'",
            ),
            (TlsError::AlertReceived(Alert::UnknownCA), ErrorKind::Config, "our certificate", "'tls.cert'"),
            (TlsError::AlertReceived(Alert::InternalError), ErrorKind::Unavailable, "InternalError", ""),
        ] {
            let error = lost(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(part), "{error}");
            assert!(error.remedy_text().unwrap_or_default().contains(remedy), "{error}");
        }
        let plain = lost(&io::ErrorKind::ConnectionReset.into());
        assert_eq!(plain.kind(), ErrorKind::Unavailable);
    }
}
