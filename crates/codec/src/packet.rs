//! The Control Packet as one type, and the two entry points of the codec: [`decode`] and
//! [`Packet::encode`].

use crate::acknowledgement::Acknowledgement;
use crate::auth::Auth;
use crate::connack::ConnAck;
use crate::connect::Connect;
use crate::disconnect::Disconnect;
use crate::error::{DecodeError, EncodeError, Rule};
use crate::publish::Publish;
use crate::suback::SubAck;
use crate::subscribe::Subscribe;
use crate::types::{PacketType, ProtocolVersion};
use crate::unsuback::UnsubAck;
use crate::unsubscribe::Unsubscribe;
use crate::wire::{Body, Length, Sink, VARIABLE_MAX, read_variable, variable_len};

/// One MQTT Control Packet. What it holds borrows from the bytes it was decoded from.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are the specification's
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    ConnAck(Box<ConnAck<'a>>),
    Publish(Publish<'a>),
    PubAck(Acknowledgement<'a>),
    PubRec(Acknowledgement<'a>),
    PubRel(Acknowledgement<'a>),
    PubComp(Acknowledgement<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// What [`decode`] found at the start of the bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// A whole packet.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// How many bytes it took.
        length: usize,
    },
    /// Not yet a whole packet.
    Incomplete {
        /// The length of the whole packet in bytes if its fixed header already gives it; otherwise
        /// the fewest bytes that could complete that header.
        needed: usize,
    },
}

/// Decodes the packet at the start of `bytes`.
///
/// `version` is the protocol of the Network Connection; a CONNECT carries its own. A packet longer
/// than `packet_bytes_max` (fixed header included) is refused as soon as its length is known,
/// before anything else is looked at.
///
/// # Errors
///
/// The first [`Rule`] that the bytes break. If the same bytes are cut off anywhere, they give
/// [`Decoded::Incomplete`] or the same error.
#[inline]
pub fn decode(
    bytes: &[u8],
    version: ProtocolVersion,
    packet_bytes_max: u32,
) -> Result<Decoded<'_>, DecodeError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Decoded::Incomplete { needed: 2 });
    };
    let Some(packet_type) = PacketType::from_u8(first >> 4) else {
        let rule = Rule::ReservedPacketType;
        return Err(DecodeError { rule, packet_type: None, version: None });
    };
    let error = |rule| DecodeError { rule, packet_type: Some(packet_type), version: None };
    let flags = first & 0b1111;
    check_flags(packet_type, flags, version).map_err(error)?;
    let Some((remaining, length_bytes)) = read_variable(rest).map_err(error)? else {
        return Ok(Decoded::Incomplete { needed: bytes.len() + 1 });
    };
    let length = 1 + length_bytes + remaining;
    if length > packet_bytes_max as usize {
        return Err(error(Rule::PacketTooLarge));
    }
    let Some(body) = bytes.get(1 + length_bytes..length) else {
        return Ok(Decoded::Incomplete { needed: length });
    };
    let packet = match packet_type {
        PacketType::Publish => {
            Publish::decode(flags, body, version).map(Packet::Publish).map_err(error)?
        }
        PacketType::Connect => {
            check_connect_flags(flags, body).map_err(error)?;
            Packet::Connect(Box::new(Connect::decode(body)?))
        }
        _ => decode_other(packet_type, body, version).map_err(error)?,
    };
    Ok(Decoded::Packet { packet, length })
}

fn decode_other(
    packet_type: PacketType,
    body: &[u8],
    version: ProtocolVersion,
) -> Result<Packet<'_>, Rule> {
    let acknowledgement = || Acknowledgement::decode(packet_type, body, version);
    Ok(match packet_type {
        PacketType::PubAck => Packet::PubAck(acknowledgement()?),
        PacketType::PubRec => Packet::PubRec(acknowledgement()?),
        PacketType::PubRel => Packet::PubRel(acknowledgement()?),
        PacketType::PubComp => Packet::PubComp(acknowledgement()?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(body, version)?),
        PacketType::SubAck => Packet::SubAck(SubAck::decode(body, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(body, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(body, version)?),
        PacketType::PingReq if body.is_empty() => Packet::PingReq,
        PacketType::PingResp if body.is_empty() => Packet::PingResp,
        PacketType::PingReq | PacketType::PingResp => return Err(Rule::TrailingBytes),
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(body, version)?),
        PacketType::Auth => Packet::Auth(Auth::decode(body)?),
        PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck::decode(body, version)?)),
        PacketType::Connect | PacketType::Publish => return Err(Rule::ReservedPacketType),
    })
}

/// [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
#[inline]
fn check_flags(packet_type: PacketType, flags: u8, version: ProtocolVersion) -> Result<(), Rule> {
    let expected = match packet_type {
        // The version of a CONNECT, on which its flags depend, is not known before its body.
        PacketType::Publish | PacketType::Connect => return Ok(()),
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        PacketType::Auth if version != ProtocolVersion::V5 => {
            return Err(Rule::ReservedPacketType);
        }
        _ => 0,
    };
    // In MQTT 3.1, PUBREL, SUBSCRIBE and UNSUBSCRIBE have a QoS, and other flags are not used.
    let used = match version {
        ProtocolVersion::V3_1 if expected != 0 => 0b0110,
        ProtocolVersion::V3_1 => 0,
        _ => 0b1111,
    };
    if flags & used == expected { Ok(()) } else { Err(Rule::ReservedFlags) }
}

/// Checks the flags of a CONNECT. Only MQTT 3.1 does not use them.
fn check_connect_flags(flags: u8, body: &[u8]) -> Result<(), Rule> {
    let is_of_3_1 = body.starts_with(b"\0\x06MQIsdp");
    if flags == 0 || is_of_3_1 { Ok(()) } else { Err(Rule::ReservedFlags) }
}

impl Packet<'_> {
    /// Returns the packet's type.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the packet to `out`. Nothing that MQTT 5.0 added is written for 3.x.
    ///
    /// # Errors
    ///
    /// A field or the packet is longer than the protocol can express; `out` is left as it was.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = self.body_length(version);
        if length.has_overlong_field {
            return Err(EncodeError::FieldTooLong);
        }
        if length.bytes > VARIABLE_MAX {
            return Err(EncodeError::PacketTooLong);
        }
        let remaining = length.bytes;
        out.push((self.packet_type() as u8) << 4 | self.flags());
        out.variable(remaining);
        self.write_body(version, out);
        Ok(())
    }

    /// Returns the packet's length in bytes.
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let remaining = self.body_length(version).bytes;
        1 + variable_len(remaining) + remaining
    }

    /// Returns whether the packet can be encoded in at most `bytes_max` bytes.
    pub fn fits(&self, version: ProtocolVersion, bytes_max: u32) -> bool {
        let Length { bytes: remaining, has_overlong_field } = self.body_length(version);
        let length = 1 + variable_len(remaining) + remaining;
        !has_overlong_field && remaining <= VARIABLE_MAX && length <= bytes_max as usize
    }

    /// Returns the same packet without its Reason String.
    #[must_use]
    pub fn without_reason_string(&self) -> Self {
        let mut packet = self.clone();
        match &mut packet {
            Self::ConnAck(packet) => packet.properties.reason_string = None,
            Self::PubAck(packet)
            | Self::PubRec(packet)
            | Self::PubRel(packet)
            | Self::PubComp(packet) => packet.reason_string = None,
            Self::SubAck(packet) => packet.reason_string = None,
            Self::UnsubAck(packet) => packet.reason_string = None,
            Self::Disconnect(packet) => packet.reason_string = None,
            Self::Auth(packet) => packet.reason_string = None,
            Self::Connect(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::PingReq
            | Self::PingResp => (),
        }
        packet
    }

    fn body_length(&self, version: ProtocolVersion) -> Length {
        let mut length = Length::default();
        self.write_body(version, &mut length);
        length
    }

    fn flags(&self) -> u8 {
        match self {
            Self::Publish(publish) => publish.flags(),
            Self::PubRel(_) | Self::Subscribe(_) | Self::Unsubscribe(_) => 0b0010,
            _ => 0,
        }
    }

    fn write_body(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        match self {
            Self::Connect(packet) => packet.write(sink),
            Self::ConnAck(packet) => packet.write(version, sink),
            Self::Publish(packet) => packet.write(version, sink),
            Self::PubAck(packet)
            | Self::PubRec(packet)
            | Self::PubRel(packet)
            | Self::PubComp(packet) => packet.write(version, sink),
            Self::Subscribe(packet) => packet.write(version, sink),
            Self::SubAck(packet) => packet.write(version, sink),
            Self::Unsubscribe(packet) => packet.write(version, sink),
            Self::UnsubAck(packet) => packet.write(version, sink),
            Self::PingReq | Self::PingResp => (),
            Self::Disconnect(packet) => packet.write(version, sink),
            Self::Auth(packet) => packet.write(version, sink),
        }
    }
}
