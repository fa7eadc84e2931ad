//! Rows of PUBACK, PUBREC, PUBREL and PUBCOMP.

use midge_codec::{Acknowledgement, Packet, PacketType, ReasonCode, Rule};

use super::{
    ALL, Row, SINCE_3_1_1, V3, V3_1, V5, broken, lenient, packet_id, user_properties, valid,
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = bare();
    rows.extend(with_reason());
    rows.extend(with_properties());
    rows.extend(broken_rows());
    rows
}

fn success() -> Acknowledgement<'static> {
    Acknowledgement::success(packet_id(0x0102))
}

fn reason(reason_code: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement { reason_code, ..success() }
}

fn bare() -> Vec<Row> {
    let unused = "3.1 does not use these flags";
    let dup = "3.1 lets DUP be set on PUBREL";
    vec![
        valid("PUBACK", ALL, b"\x40\x02\x01\x02", Packet::PubAck(success())),
        valid("PUBREC", ALL, b"\x50\x02\x01\x02", Packet::PubRec(success())),
        valid("PUBREL", ALL, b"\x62\x02\x01\x02", Packet::PubRel(success())),
        valid("PUBCOMP", ALL, b"\x70\x02\x01\x02", Packet::PubComp(success())),
        lenient(dup, V3_1, b"\x6B\x02\x01\x02", Packet::PubRel(success())),
        lenient(unused, V3_1, b"\x42\x02\x01\x02", Packet::PubAck(success())),
        lenient(unused, V3_1, b"\x58\x02\x01\x02", Packet::PubRec(success())),
        lenient(unused, V3_1, b"\x7F\x02\x01\x02", Packet::PubComp(success())),
    ]
}

fn with_reason() -> Vec<Row> {
    use ReasonCode as Code;
    let (nobody, unknown) = (Code::NoMatchingSubscribers, Code::PacketIdentifierNotFound);
    let empty = "empty properties of a success";
    vec![
        valid("nobody listens", V5, b"\x40\x03\x01\x02\x10", Packet::PubAck(reason(nobody))),
        valid("nobody listens", V5, b"\x50\x03\x01\x02\x10", Packet::PubRec(reason(nobody))),
        valid("unknown", V5, b"\x62\x03\x01\x02\x92", Packet::PubRel(reason(unknown))),
        valid("unknown", V5, b"\x70\x03\x01\x02\x92", Packet::PubComp(reason(unknown))),
        lenient("success in words", V5, b"\x40\x03\x01\x02\0", Packet::PubAck(success())),
        lenient(empty, V5, b"\x62\x04\x01\x02\0\0", Packet::PubRel(success())),
    ]
}

fn with_properties() -> Vec<Row> {
    let full = |reason_code| Acknowledgement {
        reason_string: Some("r"),
        user_properties: user_properties(&[("k", "v")]),
        ..reason(reason_code)
    };
    let words = Acknowledgement { reason_string: Some(""), ..success() };
    let (quota, unknown) = (ReasonCode::QuotaExceeded, ReasonCode::PacketIdentifierNotFound);
    vec![
        valid(
            "properties of PUBACK",
            V5,
            b"\x40\x0F\x01\x02\x97\x0B\x1F\0\x01r\x26\0\x01k\0\x01v",
            Packet::PubAck(full(quota)),
        ),
        valid(
            "properties of PUBREC",
            V5,
            b"\x50\x0F\x01\x02\x97\x0B\x1F\0\x01r\x26\0\x01k\0\x01v",
            Packet::PubRec(full(quota)),
        ),
        valid(
            "properties of PUBREL",
            V5,
            b"\x62\x0F\x01\x02\x92\x0B\x1F\0\x01r\x26\0\x01k\0\x01v",
            Packet::PubRel(full(unknown)),
        ),
        valid(
            "properties of PUBCOMP",
            V5,
            b"\x70\x0F\x01\x02\x92\x0B\x1F\0\x01r\x26\0\x01k\0\x01v",
            Packet::PubComp(full(unknown)),
        ),
        valid(
            "properties of a success",
            V5,
            b"\x70\x07\x01\x02\0\x03\x1F\0\0",
            Packet::PubComp(words),
        ),
    ]
}

fn broken_rows() -> Vec<Row> {
    let (flags, code) = (Rule::ReservedFlags, Rule::ReasonCodeNotAllowed);
    let (zero, trailing) = (Rule::PacketIdentifierZero, Rule::TrailingBytes);
    vec![
        broken("flags of PUBACK", SINCE_3_1_1, b"\x42\x02\x01\x02", flags),
        broken("flags of PUBREC", SINCE_3_1_1, b"\x58\x02\x01\x02", flags),
        broken("flags of PUBREL", ALL, b"\x60\x02\x01\x02", flags),
        broken("DUP of PUBREL", SINCE_3_1_1, b"\x6A\x02\x01\x02", flags),
        broken("QoS 2 of PUBREL", V3_1, b"\x64\x02\x01\x02", flags),
        broken("flags of PUBCOMP", SINCE_3_1_1, b"\x71\x02\x01\x02", flags),
        broken("empty PUBACK", ALL, b"\x40\0", Rule::Truncated),
        broken("half a Packet Identifier", ALL, b"\x50\x01\x01", Rule::Truncated),
        broken("Packet Identifier 0", ALL, b"\x40\x02\0\0", zero),
        broken("Packet Identifier 0 of PUBREL", ALL, b"\x62\x02\0\0", zero),
        broken("3.x has no Reason Code", V3, b"\x40\x03\x01\x02\0", trailing),
        broken("Reason Code of PUBREL in PUBACK", V5, b"\x40\x03\x01\x02\x92", code),
        broken("Reason Code of PUBREC in PUBCOMP", V5, b"\x70\x03\x01\x02\x10", code),
        broken("Reason Code that is none", V5, b"\x50\x03\x01\x02\x7F", code),
        broken("bytes behind the properties", V5, b"\x40\x05\x01\x02\0\0\0", trailing),
        broken(
            "property of another packet",
            V5,
            b"\x40\x07\x01\x02\0\x03\x21\0\x01",
            Rule::PropertyNotAllowed,
        ),
        broken(
            "two Reason Strings",
            V5,
            b"\x40\x0A\x01\x02\0\x06\x1F\0\0\x1F\0\0",
            Rule::DuplicateProperty,
        ),
        broken("end in the properties", V5, b"\x40\x05\x01\x02\0\x03\x1F", Rule::Truncated),
    ]
}

#[test]
fn the_bytes_of_a_success_are_those_of_its_packet() {
    use PacketType::{PubAck, PubComp, PubRec, PubRel};
    let of = |packet_type, content| match packet_type {
        PubAck => Packet::PubAck(content),
        PubRec => Packet::PubRec(content),
        PubRel => Packet::PubRel(content),
        _ => Packet::PubComp(content),
    };
    for packet_type in [PubAck, PubRec, PubRel, PubComp] {
        for number in [1, 0x0102, 0xFF00, u16::MAX] {
            let packet_id = packet_id(number);
            let packet = of(packet_type, Acknowledgement::success(packet_id));
            for &version in ALL {
                let mut encoded = Vec::new();
                packet.encode(version, &mut encoded).unwrap();
                assert_eq!(Acknowledgement::success_bytes(packet_type, packet_id)[..], encoded);
            }
        }
    }
}
