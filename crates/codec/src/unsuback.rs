//! UNSUBACK: in 5.0 one Reason Code for every Topic Filter of an UNSUBSCRIBE, in 3.x none.

/// An UNSUBACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    pub packet_id: PacketIdentifier,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    /// Empty before 5.0.
    pub reason_codes: Cow<'a, [ReasonCode]>,
}
