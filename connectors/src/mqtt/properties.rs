//! What MQTT 5 says of a message beside topic and payload.

use bytes::Bytes;
use rumqttc_v5::mqttbytes::v5::PublishProperties;

/// The properties of a message that mean something to its receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub content_type: Option<String>,
    pub response_topic: Option<String>,
    pub correlation_data: Option<Bytes>,
    /// Seconds until it means nothing any more.
    pub message_expiry_s: Option<u32>,
    /// In order; a key may come twice.
    pub user: Vec<(String, String)>,
}

impl Properties {
    /// Those of a message that arrived; none if there is none for us.
    pub fn received(of: PublishProperties) -> Option<Box<Self>> {
        let all = Self {
            content_type: of.content_type,
            response_topic: of.response_topic,
            correlation_data: of.correlation_data,
            message_expiry_s: of.message_expiry_interval,
            user: of.user_properties,
        };
        (!all.is_empty()).then(|| Box::new(all))
    }

    /// The same for the codec.
    pub fn to_send(&self) -> PublishProperties {
        PublishProperties {
            content_type: self.content_type.clone(),
            response_topic: self.response_topic.clone(),
            correlation_data: self.correlation_data.clone(),
            message_expiry_interval: self.message_expiry_s,
            user_properties: self.user.clone(),
            ..PublishProperties::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.message_expiry_s.is_none()
            && self.user.is_empty()
    }

    /// Bytes that they take in a packet.
    pub fn num_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| 3 + text.len());
        text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, |data| 3 + data.len())
            + self.message_expiry_s.map_or(0, |_| 5)
            + self.user.iter().map(|(key, value)| 5 + key.len() + value.len()).sum::<usize>()
    }
}
