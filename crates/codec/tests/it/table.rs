//! What every row of the packet table must show, and that the table leaves nothing out.

use std::collections::BTreeSet;

use midge_codec::{Decoded, Packet, PacketType, ProtocolVersion, Rule, decode};

use crate::packet_table::{PACKET_BYTES_MAX, Row, rows};

/// Calls `check` for each row in each of its versions.
fn for_each(mut check: impl FnMut(&Row, ProtocolVersion, &str)) {
    for row in rows() {
        for &version in row.versions {
            let first = row.bytes[0] >> 4;
            let packet_type = PacketType::from_u8(first).map_or("reserved", PacketType::name);
            check(&row, version, &format!("{packet_type}, {version}: {}", row.name));
        }
    }
}

#[test]
fn bytes_decode_to_the_packet_or_name_the_broken_rule() {
    for_each(|row, version, label| {
        match (decode(row.bytes, version, PACKET_BYTES_MAX), &row.expected) {
            (Ok(Decoded::Packet { packet, length }), Ok(expected)) => {
                assert_eq!(&packet, expected, "{label}");
                assert_eq!(length, row.bytes.len(), "{label}");
            }
            (Err(error), Err(rule)) => {
                assert_eq!(error.rule, *rule, "{label}");
                assert_eq!(error.packet_type, PacketType::from_u8(row.bytes[0] >> 4), "{label}");
            }
            (found, expected) => panic!("{label}: {found:?} instead of {expected:?}"),
        }
    });
}

#[test]
fn packets_encode_to_the_bytes() {
    for_each(|row, version, label| {
        let Ok(packet) = &row.expected else { return };
        let mut bytes = b"before".to_vec();
        packet.encode(version, &mut bytes).expect(label);
        let bytes = bytes.strip_prefix(b"before").expect(label);
        assert_eq!(bytes.len(), packet.encoded_len(version), "{label}");
        assert_eq!(bytes == row.bytes, row.canonical, "{label}: {bytes:02X?}");
        let again = decode(bytes, version, PACKET_BYTES_MAX).expect(label);
        assert_eq!(
            again,
            Decoded::Packet { packet: packet.clone(), length: bytes.len() },
            "{label}"
        );
    });
}

#[test]
fn a_strict_prefix_of_a_packet_is_incomplete_and_says_what_it_needs() {
    for_each(|row, version, label| {
        if row.expected.is_err() {
            return;
        }
        let header = 1 + row.bytes[1..].iter().position(|&byte| byte < 128).expect(label) + 1;
        for cut in 0..row.bytes.len() {
            let needed = match cut {
                0 => 2,
                _ if cut < header => cut + 1,
                _ => row.bytes.len(),
            };
            let found = decode(&row.bytes[..cut], version, PACKET_BYTES_MAX);
            assert_eq!(found, Ok(Decoded::Incomplete { needed }), "{label} cut at {cut}");
        }
    });
}

#[test]
fn a_prefix_of_broken_bytes_is_incomplete_or_breaks_the_same_rule() {
    for_each(|row, version, label| {
        let whole = decode(row.bytes, version, PACKET_BYTES_MAX);
        if whole.is_ok() {
            return;
        }
        for cut in 0..row.bytes.len() {
            match decode(&row.bytes[..cut], version, PACKET_BYTES_MAX) {
                Ok(Decoded::Incomplete { needed }) => assert!(needed > cut, "{label}"),
                found => assert_eq!(found, whole, "{label} cut at {cut}"),
            }
        }
    });
}

/// So that no row is broken in another way than its name says.
#[test]
fn every_row_is_one_whole_packet() {
    for_each(|row, version, label| match row.expected {
        Err(Rule::PacketTooLarge | Rule::MalformedLength | Rule::NonMinimalLength)
            if row.bytes[1] >= 128 => {}
        _ => {
            let cut = &row.bytes[..row.bytes.len() - 1];
            let whole = decode(row.bytes, version, PACKET_BYTES_MAX);
            let is_incomplete = |bytes| {
                matches!(decode(bytes, version, PACKET_BYTES_MAX), Ok(Decoded::Incomplete { .. }))
            };
            assert!(!matches!(whole, Ok(Decoded::Incomplete { .. })), "{label}");
            // What the fixed header breaks is known before the end.
            let at_once = [Rule::ReservedFlags, Rule::ReservedPacketType];
            let is_header = row.expected.as_ref().is_err_and(|rule| at_once.contains(rule));
            assert!(is_header || is_incomplete(cut), "{label}");
        }
    });
}

#[test]
fn what_follows_a_packet_is_left_alone() {
    for_each(|row, version, label| {
        let longer = [row.bytes, b"\xFF\0\x30"].concat();
        let alone = decode(row.bytes, version, PACKET_BYTES_MAX);
        assert_eq!(decode(&longer, version, PACKET_BYTES_MAX), alone, "{label}");
    });
}

#[test]
fn every_packet_type_is_in_the_table_in_every_version() {
    let mut missing = BTreeSet::new();
    for version in crate::packet_table::ALL {
        missing.extend(PacketType::ALL.map(|packet_type| (*version, packet_type)));
    }
    for_each(|row, version, _| {
        if let Ok(packet) = &row.expected {
            let version = match packet {
                Packet::Connect(connect) => connect.version,
                _ => version,
            };
            missing.remove(&(version, packet.packet_type()));
        }
    });
    missing.retain(|&(version, packet_type)| {
        packet_type != PacketType::Auth || version == ProtocolVersion::V5
    });
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn every_rule_that_bytes_can_break_is_broken_in_the_table() {
    let mut missing: BTreeSet<Rule> = Rule::ALL.iter().copied().collect();
    for row in rows() {
        if let Err(rule) = row.expected {
            missing.remove(&rule);
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn a_refused_connect_tells_the_version_to_answer_in() {
    use ProtocolVersion as Version;
    for (bytes, version) in [
        (b"\x10\x0D\0\x04AMQP\x04\x02\0\x3C\0\x01a".as_slice(), None),
        (b"\x10\x07\0\x04MQTT\x03", Some(Version::V3_1_1)),
        (b"\x10\x07\0\x04MQTT\x06", Some(Version::V5)),
        (b"\x10\x08\0\x04MQTT\x04\x01", Some(Version::V3_1_1)),
        (b"\x10\x08\0\x04MQTT\x05\x01", Some(Version::V5)),
        (b"\x10\x0E\0\x06MQIsdp\x03\x02\0\x3C\0\0", Some(Version::V3_1)),
    ] {
        let error = decode(bytes, Version::V5, PACKET_BYTES_MAX).expect_err("they are refused");
        assert_eq!(error.version, version, "{bytes:?}");
    }
}
