//! CONNECT: a Client asks for a session.

/// A CONNECT packet (MQTT 5.0 section 3.1, MQTT 3.1.1 section 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect<'a> {
    /// The protocol of this and all later packets of the Network Connection.
    pub version: ProtocolVersion,
    /// Set by bridges that mark themselves with bit 0x80 of the protocol level (3.x only).
    pub bridge: bool,
    /// Clean Start (5.0), Clean Session (3.x).
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive_seconds: u16,
    /// The Client Identifier; empty asks the Server to assign one.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

/// The properties of a CONNECT; all absent before 5.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: Option<u16>,
    pub request_response_information: Option<bool>,
    pub request_problem_information: Option<bool>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// The Will Message of a CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    pub qos: QoS,
    pub retain: bool,
    pub topic: TopicName<'a>,
    pub payload: &'a [u8],
    pub delay_interval_seconds: Option<u32>,
    /// Only those that a Will may have: no topic alias, no subscription identifier.
    pub properties: PublishProperties<'a>,
}
