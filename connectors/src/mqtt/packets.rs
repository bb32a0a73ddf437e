//! The packets we speak, the same for both versions of the protocol.
//!
//! rumqttc's two codecs read and write the bytes; here is the one place that knows that there are two. What they read
//! becomes an [`Incoming`], with every reason code put into words (answers.rs).

use bytes::{BufMut, Bytes, BytesMut};
use rumqttc_v4::mqttbytes::{QoS as QoS4, v4};
use rumqttc_v5::mqttbytes::{QoS as QoS5, v5};

use millstream_engine::{Error, Result};

use super::answers::{goodbye, kind_of, reason, welcome_v5, welcome_v311};
use super::properties::Properties;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V5,
    V311,
}

/// What CONNECT says.
pub(super) struct Hello<'a> {
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    pub password: Option<&'a str>,
    pub keep_alive_s: u16,
    pub clean_start: bool,
    pub session_expiry_s: u32,
    pub receive_maximum: u16,
    /// Larger packets are not to be sent to us.
    pub packet_bytes_max: Option<u32>,
    pub will: Option<&'a Will>,
}

/// What the broker publishes for us when the connection breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Will {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    pub retain: bool,
}

/// When a subscription brings the messages that the broker has kept from before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetainHandling {
    /// With each subscription: at each start.
    Always,
    /// With a subscription that is new to the session; 3.1.1 has no word for it and brings them always.
    IfNew,
    Never,
}

/// A packet from the broker.
#[derive(Debug)]
pub(super) enum Incoming {
    Welcome(Welcome),
    Publish(Message),
    /// Our publish was taken, or refused for a reason.
    PubAck {
        packet_id: u16,
        refusal: Option<String>,
    },
    /// The broker has our PUBREC, and sends the QoS 2 message no more.
    PubRel {
        packet_id: u16,
    },
    /// For each filter the QoS granted, or why not.
    SubAck(Vec<Result<u8, String>>),
    /// The broker is about to close, for a reason.
    Disconnect(Error),
    /// PINGRESP.
    Pong,
}

/// What a successful CONNACK says.
#[derive(Debug, Clone)]
pub(super) struct Welcome {
    pub session_present: bool,
    /// QoS 1 publishes that we may have in flight.
    pub receive_maximum: u16,
    /// Bytes of the largest packet it takes.
    pub packet_bytes_max: Option<usize>,
    pub retain_available: bool,
    pub qos_max: u8,
    /// The keep-alive that the broker wants instead of ours.
    pub keep_alive_s: Option<u16>,
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub topic: Bytes,
    pub payload: Bytes,
    /// Bytes of the payload as it was sent; more than `payload` holds when it was too large to be taken in.
    pub payload_bytes: usize,
    /// 0 for QoS 0.
    pub packet_id: u16,
    pub qos: u8,
    pub retained: bool,
    pub duplicate: bool,
    /// Only where there are any.
    pub properties: Option<Box<Properties>>,
}

/// What tells the broker that a message is taken: PUBACK at QoS 1, PUBREC at QoS 2, success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledgement(u32);

impl Acknowledgement {
    pub fn write(self, out: &mut BytesMut) {
        out.put_u32(self.0);
    }
}

impl Message {
    /// Of a message that has a packet id.
    pub fn acknowledgement(&self) -> Acknowledgement {
        let kind = if self.qos == 2 { 0x5002_0000 } else { 0x4002_0000 };
        Acknowledgement(kind | u32::from(self.packet_id))
    }

    /// Bytes that it takes while it waits.
    pub fn num_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.num_bytes());
        size_of::<Self>() + self.topic.len() + self.payload.len() + properties
    }
}

/// One message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publication {
    pub topic: Bytes,
    pub payload: Bytes,
    pub retain: bool,
    pub properties: Option<Box<Properties>>,
}

/// Bytes that a message costs beside topic, payload and properties.
const MESSAGE_BYTES: usize = size_of::<Publication>() + 32;

impl Publication {
    /// What it counts for while it waits.
    pub fn num_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.num_bytes());
        MESSAGE_BYTES + self.topic.len() + self.payload.len() + properties
    }

    /// Bytes of the packet that [`Version::write_publish`] writes, at most.
    pub fn packet_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.num_bytes());
        // Fixed header, length of the topic, packet id, length of the properties.
        5 + 2 + self.topic.len() + 2 + 4 + properties + self.payload.len()
    }
}

impl Version {
    /// Takes one whole packet off the front of `bytes`.
    pub fn read(self, bytes: &mut BytesMut) -> Result<Incoming> {
        match self {
            Self::V311 => match v4::Packet::read(bytes, usize::MAX).map_err(malformed)? {
                v4::Packet::Publish(publish) => Ok(Incoming::Publish(Message {
                    payload_bytes: publish.payload.len(),
                    topic: publish.topic,
                    payload: publish.payload,
                    packet_id: publish.pkid,
                    qos: publish.qos as u8,
                    retained: publish.retain,
                    duplicate: publish.dup,
                    properties: None,
                })),
                v4::Packet::PubAck(ack) => Ok(Incoming::PubAck { packet_id: ack.pkid, refusal: None }),
                v4::Packet::PubRel(release) => Ok(Incoming::PubRel { packet_id: release.pkid }),
                v4::Packet::SubAck(ack) => {
                    let granted = ack.return_codes.iter().map(|code| match code {
                        v4::SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                        v4::SubscribeReasonCode::Failure => {
                            Err("not allowed, or not a filter it accepts".to_owned())
                        }
                    });
                    Ok(Incoming::SubAck(granted.collect()))
                }
                v4::Packet::ConnAck(ack) => welcome_v311(&ack),
                v4::Packet::PingResp => Ok(Incoming::Pong),
                other => Err(malformed(format!("an unexpected packet: {}", kind_of(&other)))),
            },
            Self::V5 => match v5::Packet::read(bytes, None).map_err(malformed)? {
                v5::Packet::Publish(publish) => Ok(Incoming::Publish(Message {
                    payload_bytes: publish.payload.len(),
                    topic: publish.topic,
                    payload: publish.payload,
                    packet_id: publish.pkid,
                    qos: publish.qos as u8,
                    retained: publish.retain,
                    duplicate: publish.dup,
                    properties: publish.properties.and_then(Properties::received),
                })),
                v5::Packet::PubAck(ack) => {
                    let refused = ack.reason as u8 >= 0x80;
                    let said = ack.properties.and_then(|properties| properties.reason_string);
                    let refusal = refused.then(|| reason(&ack.reason, said));
                    Ok(Incoming::PubAck { packet_id: ack.pkid, refusal })
                }
                v5::Packet::PubRel(release) => Ok(Incoming::PubRel { packet_id: release.pkid }),
                v5::Packet::SubAck(ack) => {
                    let said = ack.properties.and_then(|properties| properties.reason_string);
                    let granted = ack.return_codes.iter().map(|code| match code {
                        v5::SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                        code => Err(reason(code, said.clone())),
                    });
                    Ok(Incoming::SubAck(granted.collect()))
                }
                v5::Packet::ConnAck(ack) => welcome_v5(ack),
                v5::Packet::Disconnect(end) => Ok(Incoming::Disconnect(goodbye(end))),
                v5::Packet::PingResp => Ok(Incoming::Pong),
                other => Err(malformed(format!("an unexpected packet: {}", kind_of(&other)))),
            },
        }
    }

    pub fn write_connect(self, out: &mut BytesMut, hello: &Hello<'_>) -> Result<()> {
        let (username, password) = (hello.username.map(str::to_owned), hello.password);
        let password = password.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        match self {
            Self::V311 => {
                let mut connect = v4::Connect::new(hello.client_id);
                connect.keep_alive = hello.keep_alive_s;
                connect.clean_session = hello.clean_start;
                connect.last_will = hello.will.map(|will| v4::LastWill {
                    topic: will.topic.clone(),
                    message: will.payload.clone(),
                    qos: qos_v311(will.qos),
                    retain: will.retain,
                });
                connect.auth = match (username, password) {
                    (Some(username), Some(password)) => {
                        v4::ConnectAuth::UsernamePassword { username, password }
                    }
                    (Some(username), None) => v4::ConnectAuth::Username { username },
                    _ => v4::ConnectAuth::None,
                };
                v4::Packet::Connect(connect).write(out, usize::MAX).map_err(unwritable)?;
            }
            Self::V5 => {
                let properties = v5::ConnectProperties {
                    session_expiry_interval: Some(hello.session_expiry_s),
                    receive_maximum: Some(hello.receive_maximum),
                    max_packet_size: hello.packet_bytes_max,
                    ..v5::ConnectProperties::new()
                };
                let connect = v5::Connect {
                    keep_alive: hello.keep_alive_s,
                    client_id: hello.client_id.to_owned(),
                    clean_start: hello.clean_start,
                    properties: Some(properties),
                };
                let auth = match (username, password) {
                    (Some(username), Some(password)) => {
                        v5::ConnectAuth::UsernamePassword { username, password }
                    }
                    (Some(username), None) => v5::ConnectAuth::Username { username },
                    _ => v5::ConnectAuth::None,
                };
                let will = hello.will.map(|will| v5::LastWill {
                    topic: Bytes::copy_from_slice(will.topic.as_bytes()),
                    message: will.payload.clone(),
                    qos: qos_v5(will.qos),
                    retain: will.retain,
                    properties: None,
                });
                v5::Packet::Connect(connect, will, auth).write(out, None).map_err(unwritable)?;
            }
        }
        Ok(())
    }

    /// Asks for all of `filters` at once. 3.1.1 cannot say anything about retained messages.
    pub fn write_subscribe(
        self,
        out: &mut BytesMut,
        packet_id: u16,
        filters: &[String],
        qos: u8,
        retained: RetainHandling,
    ) -> Result<()> {
        match self {
            Self::V311 => {
                let each = |filter: &String| v4::SubscribeFilter::new(filter.clone(), qos_v311(qos));
                let mut subscribe = v4::Subscribe::new_many(filters.iter().map(each));
                subscribe.pkid = packet_id;
                v4::Packet::Subscribe(subscribe).write(out, usize::MAX).map_err(unwritable)?;
            }
            Self::V5 => {
                let each = |filter: &String| {
                    let mut filter = v5::SubscribeFilter::new(filter.clone(), qos_v5(qos));
                    filter.retain_forward_rule = match retained {
                        RetainHandling::Always => v5::RetainForwardRule::OnEverySubscribe,
                        RetainHandling::IfNew => v5::RetainForwardRule::OnNewSubscribe,
                        RetainHandling::Never => v5::RetainForwardRule::Never,
                    };
                    filter
                };
                let mut subscribe = v5::Subscribe::new_many(filters.iter().map(each), None);
                subscribe.pkid = packet_id;
                v5::Packet::Subscribe(subscribe).write(out, None).map_err(unwritable)?;
            }
        }
        Ok(())
    }

    /// `packet_id` is 0 at QoS 0, and only there. 3.1.1 has no properties.
    pub fn write_publish(
        self,
        out: &mut BytesMut,
        publication: &Publication,
        qos: u8,
        packet_id: u16,
        duplicate: bool,
    ) -> Result<()> {
        let Publication { topic, payload, retain, properties } = publication;
        match self {
            Self::V311 => {
                let publish = v4::Publish {
                    dup: duplicate,
                    qos: qos_v311(qos),
                    retain: *retain,
                    topic: topic.clone(),
                    pkid: packet_id,
                    payload: payload.clone(),
                };
                publish.write(out).map_err(unwritable)?;
            }
            Self::V5 => {
                let publish = v5::Publish {
                    dup: duplicate,
                    qos: qos_v5(qos),
                    retain: *retain,
                    topic: topic.clone(),
                    pkid: packet_id,
                    payload: payload.clone(),
                    properties: properties.as_ref().map(|properties| properties.to_send()),
                };
                publish.write(out).map_err(unwritable)?;
            }
        }
        Ok(())
    }

    /// PUBCOMP, success.
    pub fn write_pubcomp(out: &mut BytesMut, packet_id: u16) {
        out.put_u32(0x7002_0000 | u32::from(packet_id));
    }

    pub fn write_ping(out: &mut BytesMut) {
        out.put_u16(0xC000);
    }

    /// A normal end: the broker keeps the session as long as was agreed.
    pub fn write_disconnect(out: &mut BytesMut) {
        out.put_u16(0xE000);
    }
}

fn qos_v311(qos: u8) -> QoS4 {
    match qos {
        0 => QoS4::AtMostOnce,
        1 => QoS4::AtLeastOnce,
        _ => QoS4::ExactlyOnce,
    }
}

fn qos_v5(qos: u8) -> QoS5 {
    match qos {
        0 => QoS5::AtMostOnce,
        1 => QoS5::AtLeastOnce,
        _ => QoS5::ExactlyOnce,
    }
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("the broker sent something that is not MQTT: {what}"))
}

fn unwritable(what: impl std::fmt::Display) -> Error {
    Error::internal(format!("an MQTT packet cannot be written: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: Version, bytes: &[u8]) -> Result<Incoming> {
        version.read(&mut BytesMut::from(bytes))
    }

    #[test]
    fn our_publishes_read_back_the_same_in_both_versions() {
        for version in [Version::V5, Version::V311] {
            for qos in 0..=2 {
                let packet_id = if qos == 0 { 0 } else { 7 };
                let (topic, payload) = (Bytes::from_static(b"a/b"), Bytes::from_static(b"{}"));
                let mut out = BytesMut::new();
                let properties = Properties {
                    content_type: Some("text/plain".to_owned()),
                    response_topic: Some("answers".to_owned()),
                    correlation_data: Some(Bytes::from_static(b"\x00\xff")),
                    message_expiry_s: Some(u32::MAX),
                    user: vec![("k".to_owned(), "v".to_owned()), ("k".to_owned(), "w".to_owned())],
                };
                let publication = Publication {
                    topic: topic.clone(),
                    payload: payload.clone(),
                    retain: true,
                    properties: Some(Box::new(properties)),
                };
                version.write_publish(&mut out, &publication, qos, packet_id, packet_id > 0).unwrap();
                assert!(out.len() <= publication.packet_bytes());
                let Incoming::Publish(message) = version.read(&mut out).unwrap() else {
                    panic!("no publish")
                };
                assert!(out.is_empty());
                assert_eq!((&message.topic, &message.payload), (&topic, &payload));
                assert_eq!((message.packet_id, message.qos), (packet_id, qos));
                assert_eq!((message.retained, message.duplicate), (true, packet_id > 0));
                match version {
                    Version::V5 => assert_eq!(message.properties, publication.properties),
                    Version::V311 => assert_eq!(message.properties, None),
                }
            }
        }
    }

    #[test]
    fn short_packets_are_what_the_codec_writes() {
        let mut out = BytesMut::new();
        Acknowledgement(0x4002_0102).write(&mut out);
        assert!(matches!(
            Version::V5.read(&mut out).unwrap(),
            Incoming::PubAck { packet_id: 0x0102, refusal: None }
        ));
        Acknowledgement(0x5002_0102).write(&mut out);
        assert!(
            matches!(v4::Packet::read(&mut out, 100).unwrap(), v4::Packet::PubRec(ack) if ack.pkid == 0x0102)
        );
        Version::write_pubcomp(&mut out, 0x0102);
        assert!(
            matches!(v5::Packet::read(&mut out, None).unwrap(), v5::Packet::PubComp(end) if end.pkid == 0x0102)
        );
        Version::write_ping(&mut out);
        assert!(matches!(v5::Packet::read(&mut out, None).unwrap(), v5::Packet::PingReq));
        Version::write_disconnect(&mut out);
        assert!(matches!(v4::Packet::read(&mut out, 100).unwrap(), v4::Packet::Disconnect));
    }

    #[test]
    fn what_is_not_mqtt_is_an_error() {
        for bytes in [&[0x00, 0x00][..], &[0x30, 2, 0, 9], &[0x20, 1, 0], &[0x40, 2, 0, 0]] {
            assert!(read(Version::V5, bytes).is_err() && read(Version::V311, bytes).is_err(), "{bytes:?}");
        }
        let error = read(Version::V5, &[0xC0, 0]).unwrap_err().to_string();
        assert!(error.contains("PingReq"), "{error}");
    }
}
