//! Strategies for valid packets of all types and versions, and for the fields they are made of.
//!
//! Packets borrow; what the generated ones borrow is leaked, a few megabytes in a whole test run.

mod fields;
mod packets;

use midge_codec::{Packet, PacketType, ProtocolVersion};
use proptest::prelude::{BoxedStrategy, Strategy, any};
use proptest::sample::select;

pub(crate) use packets::publish;

/// A version, each as likely.
pub(crate) fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(crate::packet_table::ALL)
}

/// Any packet that this version has.
pub(crate) fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let types = match version {
        ProtocolVersion::V5 => &PacketType::ALL[..],
        _ => &PacketType::ALL[..14],
    };
    select(types).prop_flat_map(move |packet_type| packet_of(packet_type, version)).boxed()
}

/// Any packet of this type.
pub(crate) fn packet_of(
    packet_type: PacketType,
    version: ProtocolVersion,
) -> BoxedStrategy<Packet<'static>> {
    match packet_type {
        PacketType::Connect => packets::connect(version).prop_map(Packet::Connect).boxed(),
        PacketType::ConnAck => packets::connack(version).prop_map(Packet::ConnAck).boxed(),
        PacketType::Publish => publish(version).prop_map(Packet::Publish).boxed(),
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            packets::acknowledgement(packet_type, version).boxed()
        }
        PacketType::Subscribe => packets::subscribe(version).prop_map(Packet::Subscribe).boxed(),
        PacketType::SubAck => packets::suback(version).prop_map(Packet::SubAck).boxed(),
        PacketType::Unsubscribe => {
            packets::unsubscribe(version).prop_map(Packet::Unsubscribe).boxed()
        }
        PacketType::UnsubAck => packets::unsuback(version).prop_map(Packet::UnsubAck).boxed(),
        PacketType::PingReq | PacketType::PingResp => {
            let is_request = packet_type == PacketType::PingReq;
            proptest::strategy::Just(if is_request { Packet::PingReq } else { Packet::PingResp })
                .boxed()
        }
        PacketType::Disconnect => packets::disconnect(version).prop_map(Packet::Disconnect).boxed(),
        PacketType::Auth => packets::auth().prop_map(Packet::Auth).boxed(),
    }
}

/// Bytes that are not quite random: half of them begin like a packet, so that decoders are reached.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let random = proptest::collection::vec(any::<u8>(), 0..200);
    let first = select(&[0x10_u8, 0x20, 0x32, 0x40, 0x62, 0x82, 0x90, 0xA2, 0xB0, 0xE0, 0xF0]);
    let framed =
        (first, proptest::collection::vec(any::<u8>(), 0..120)).prop_map(|(first, body)| {
            let mut bytes = vec![first, body.len() as u8];
            bytes.extend(body);
            bytes
        });
    proptest::prop_oneof![random, framed]
}
