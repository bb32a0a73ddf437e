//! What a broker answers: reason codes put into words, and sorted into "goes by itself" (`Unavailable`) and "somebody
//! has to do something" (`Config`, with a remedy).

use rumqttc_v4::mqttbytes::v4;
use rumqttc_v5::mqttbytes::v5;

use millstream_engine::{Error, Result};

use super::packets::{Incoming, Welcome};

/// The kind of a packet that has no business here, without its content.
pub(super) fn kind_of(packet: &impl std::fmt::Debug) -> String {
    let text = format!("{packet:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// A reason code in words: `NotAuthorized` as "not authorized", with what the broker itself says.
pub(super) fn reason(code: &impl std::fmt::Debug, said: Option<String>) -> String {
    let mut words = String::new();
    for letter in kind_of(code).chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    match said {
        Some(said) => format!("{words}: {said}"),
        None => words,
    }
}

const CREDENTIALS: &str = "check 'username' and 'password'";
const RIGHTS: &str = "check 'username', 'password' and 'client-id', and what the broker lets them do";
const CLIENT_ID: &str = "give the table another 'client-id'";
const VERSION_311: &str = "set 'version' = '3.1.1'";

fn refused(why: &str, remedy: &str) -> Error {
    Error::config(format!("the broker refuses the connection: {why}")).remedy(remedy)
}

pub(super) fn welcome_v311(ack: &v4::ConnAck) -> Result<Incoming> {
    use v4::ConnectReturnCode as Code;
    match ack.code {
        Code::Success => Ok(Incoming::Welcome(Welcome {
            session_present: ack.session_present,
            receive_maximum: u16::MAX,
            packet_bytes_max: None,
            retain_available: true,
            qos_max: 2,
            keep_alive_s: None,
        })),
        Code::RefusedProtocolVersion => Err(refused("it does not speak MQTT 3.1.1", "set 'version' = '5'")),
        Code::BadClientId => Err(refused("bad client id", CLIENT_ID)),
        Code::ServiceUnavailable => {
            Err(Error::unavailable("the broker refuses the connection: service unavailable"))
        }
        Code::BadUserNamePassword => Err(refused("bad user name or password", CREDENTIALS)),
        Code::NotAuthorized => Err(refused("not authorized", RIGHTS)),
    }
}

pub(super) fn welcome_v5(ack: v5::ConnAck) -> Result<Incoming> {
    use v5::ConnectReturnCode as Code;
    let properties = ack.properties;
    if ack.code == Code::Success {
        let properties = properties.as_ref();
        return Ok(Incoming::Welcome(Welcome {
            session_present: ack.session_present,
            receive_maximum: properties.and_then(|all| all.receive_max).unwrap_or(u16::MAX).max(1),
            packet_bytes_max: properties
                .and_then(|all| all.max_packet_size)
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            retain_available: properties.and_then(|all| all.retain_available) != Some(0),
            qos_max: properties.and_then(|all| all.max_qos).unwrap_or(2),
            keep_alive_s: properties.and_then(|all| all.server_keep_alive),
        }));
    }
    let why = reason(&ack.code, properties.and_then(|properties| properties.reason_string));
    Err(match ack.code {
        Code::BadUserNamePassword => refused(&why, CREDENTIALS),
        Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => refused(&why, RIGHTS),
        Code::BadClientId | Code::ClientIdentifierNotValid => refused(&why, CLIENT_ID),
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => refused(&why, VERSION_311),
        Code::UseAnotherServer | Code::ServerMoved => refused(&why, "name the other broker in 'url'"),
        _ => Error::unavailable(format!("the broker refuses the connection: {why}")),
    })
}

/// A CONNACK of 3.1.1 in answer to our MQTT 5: the broker speaks only the former.
pub(super) fn is_v311_refusal(bytes: &[u8]) -> bool {
    matches!(bytes, [0x20, 0x02, 0x00, code, ..] if *code != 0)
}

/// The error for a broker that does not answer our MQTT 5.
pub(super) fn speaks_only_v311() -> Error {
    refused("it does not speak MQTT 5", VERSION_311)
}

pub(super) fn goodbye(end: v5::Disconnect) -> Error {
    use v5::DisconnectReasonCode as Code;
    let why = reason(&end.reason_code, end.properties.and_then(|properties| properties.reason_string));
    let closed = format!("the broker closed the connection: {why}");
    match end.reason_code {
        Code::SessionTakenOver => Error::config(closed).remedy(
            "another client has connected with the same 'client-id': give each running table its own",
        ),
        Code::NotAuthorized => Error::config(closed).remedy(RIGHTS),
        Code::UseAnotherServer | Code::ServerMoved => {
            Error::config(closed).remedy("name the other broker in 'url'")
        }
        _ => Error::unavailable(closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packets::Version;
    use bytes::BytesMut;
    use millstream_engine::ErrorKind;

    fn read(version: Version, bytes: &[u8]) -> Result<Incoming> {
        version.read(&mut BytesMut::from(bytes))
    }

    #[test]
    fn refusals_are_words_with_a_remedy() {
        for (version, bytes, kind, part) in [
            (Version::V5, &[0x20, 3, 0, 0x86, 0][..], ErrorKind::Config, "bad user name password"),
            (Version::V5, &[0x20, 3, 0, 0x87, 0], ErrorKind::Config, "not authorized"),
            (Version::V5, &[0x20, 3, 0, 0x88, 0], ErrorKind::Unavailable, "server unavailable"),
            (Version::V5, &[0x20, 3, 0, 0x84, 0], ErrorKind::Config, "'version' = '3.1.1'"),
            (Version::V311, &[0x20, 2, 0, 4], ErrorKind::Config, "'username' and 'password'"),
            (Version::V311, &[0x20, 2, 0, 2], ErrorKind::Config, "client-id"),
            (Version::V311, &[0x20, 2, 0, 3], ErrorKind::Unavailable, "service unavailable"),
        ] {
            let error = read(version, bytes).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let Incoming::Disconnect(error) = read(Version::V5, &[0xE0, 2, 0x8E, 0]).unwrap() else { panic!() };
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("session taken over") && error.to_string().contains("'client-id'")
        );
        let Incoming::PubAck { refusal, .. } = read(Version::V5, &[0x40, 3, 0, 1, 0x87]).unwrap() else {
            panic!()
        };
        assert_eq!(refusal.unwrap(), "not authorized");
        let granted = |version, bytes| match read(version, bytes).unwrap() {
            Incoming::SubAck(granted) => granted,
            other => panic!("no SUBACK: {other:?}"),
        };
        assert_eq!(
            granted(Version::V5, &[0x90, 5, 0, 1, 0, 1, 0x87]),
            [Ok(1), Err("not authorized".to_owned())]
        );
        assert!(matches!(&granted(Version::V311, &[0x90, 4, 0, 1, 0x80, 1])[..], [Err(_), Ok(1)]));
    }
}
