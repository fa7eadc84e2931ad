//! PUBLISH: an Application Message on its way, in either direction.

/// A PUBLISH packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// Empty only in 5.0 beside a topic alias [MQTT-3.3.2-8 and Topic Alias].
    pub topic: TopicName<'a>,
    /// Present if and only if QoS is above 0.
    pub packet_id: Option<PacketIdentifier>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// The properties of a PUBLISH or of a Will; all absent before 5.0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    pub payload_format_indicator: Option<bool>, // Some(true): UTF-8
    pub message_expiry_interval_seconds: Option<u32>,
    pub topic_alias: Option<NonZeroU16>, // 0 is a protocol error, refused by decode with TopicAliasInvalid (0x94)
    pub response_topic: Option<TopicName<'a>>,
    pub correlation_data: Option<&'a [u8]>,
    pub content_type: Option<&'a str>,
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
    pub user_properties: UserProperties<'a>,
}
