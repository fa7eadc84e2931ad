//! CONNACK: the Server's answer to a CONNECT.

/// A CONNACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    /// For 3.x the nearest return code is sent (see [`ReasonCode::connect_return_code`]).
    pub reason_code: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

/// The properties of a CONNACK; never sent before 5.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// `Some(AtMostOnce)` or `Some(AtLeastOnce)`; absent means 2.
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}
