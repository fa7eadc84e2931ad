//! Application Messages as the commands hold them: owned, whatever packet they came in.

use midge_codec::{PacketIdentifier, Publish, QoS};

/// A message that the broker delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<PacketIdentifier>,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) payload_is_utf8: Option<bool>,
    pub(crate) expiry_interval_seconds: Option<u32>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Vec<u8>>,
    pub(crate) subscription_identifiers: Vec<u32>,
    pub(crate) user_properties: Vec<(String, String)>,
}

impl Message {
    /// Makes the message of a PUBLISH. `topic` is the Topic Name, also if a topic alias stood for
    /// it.
    pub(crate) fn from_publish(publish: &Publish<'_>, topic: String) -> Self {
        let properties = &publish.properties;
        Self {
            topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id,
            topic_alias: properties.topic_alias.map(Into::into),
            payload_is_utf8: properties.payload_format_indicator,
            expiry_interval_seconds: properties.message_expiry_interval_seconds,
            content_type: properties.content_type.map(str::to_owned),
            response_topic: properties.response_topic.map(|topic| topic.as_str().to_owned()),
            correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
            subscription_identifiers: properties
                .subscription_identifiers
                .iter()
                .map(Into::into)
                .collect(),
            user_properties: properties
                .user_properties
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}
