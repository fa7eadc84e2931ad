//! PUBACK, PUBREC, PUBREL and PUBCOMP: four Control Packets of one shape.

/// The content of a PUBACK, PUBREC, PUBREL or PUBCOMP; [`crate::Packet`] tells which.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledgement<'a> {
    pub packet_id: PacketIdentifier,
    /// `Success` before 5.0.
    pub reason_code: ReasonCode,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}
