//! SUBACK: one Reason Code for every Topic Filter of a SUBSCRIBE.

/// A SUBACK packet. In 3.x every failure is sent as 0x80.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    pub packet_id: PacketIdentifier,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub reason_codes: Cow<'a, [ReasonCode]>,
}
