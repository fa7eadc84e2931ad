//! Two tables of MQTT 5.0, copied here once more: which packet may have which property (2-4) and
//! which Reason Codes (those of sections 3.x.2). Each cell is tried.

use midge_codec::{Decoded, Packet, ProtocolVersion, ReasonCode, Rule, decode};

/// A packet to put a block of properties or a Reason Code into: its first byte, what is before and
/// what is behind.
struct Carrier {
    name: &'static str,
    first: u8,
    before: &'static [u8],
    behind: &'static [u8],
}

const fn carrier(
    name: &'static str,
    first: u8,
    before: &'static [u8],
    behind: &'static [u8],
) -> Carrier {
    Carrier { name, first, before, behind }
}

const CARRIERS: &[Carrier] = &[
    carrier("CONNECT", 0x10, b"\0\x04MQTT\x05\x02\0\x3C", b"\0\x01a"),
    carrier("Will", 0x10, b"\0\x04MQTT\x05\x06\0\x3C\0\0\x01a", b"\0\x01w\0\x01x"),
    carrier("CONNACK", 0x20, b"\0\0", b""),
    carrier("PUBLISH", 0x30, b"\0\x01a", b"hi"),
    carrier("PUBACK", 0x40, b"\0\x01\0", b""),
    carrier("PUBREC", 0x50, b"\0\x01\0", b""),
    carrier("PUBREL", 0x62, b"\0\x01\0", b""),
    carrier("PUBCOMP", 0x70, b"\0\x01\0", b""),
    carrier("SUBSCRIBE", 0x82, b"\0\x01", b"\0\x01a\0"),
    carrier("SUBACK", 0x90, b"\0\x01", b"\0"),
    carrier("UNSUBSCRIBE", 0xA2, b"\0\x01", b"\0\x01a"),
    carrier("UNSUBACK", 0xB0, b"\0\x01", b"\0"),
    carrier("DISCONNECT", 0xE0, b"\0", b""),
    carrier("AUTH", 0xF0, b"\0", b""),
];

const MESSAGE: &[&str] = &["PUBLISH", "Will"];
const HANDSHAKE: &[&str] = &["CONNECT", "CONNACK"];
const AUTHENTICATION: &[&str] = &["CONNECT", "CONNACK", "AUTH"];
const ANSWERS: &[&str] = &[
    "CONNACK",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBACK",
    "UNSUBACK",
    "DISCONNECT",
    "AUTH",
];

/// Table 2-4: a property as it may stand in a block, and the packets that may have it. Of the User
/// Property, which all may have, see below.
const PROPERTIES: &[(&[u8], &[&str])] = &[
    (b"\x01\x01", MESSAGE),
    (b"\x02\0\0\0\x05", MESSAGE),
    (b"\x03\0\x01t", MESSAGE),
    (b"\x08\0\x01r", MESSAGE),
    (b"\x09\0\x01\xFF", MESSAGE),
    (b"\x0B\x80\x01", &["PUBLISH", "SUBSCRIBE"]),
    (b"\x11\0\0\0\x05", &["CONNECT", "CONNACK", "DISCONNECT"]),
    (b"\x12\0\x01c", &["CONNACK"]),
    (b"\x13\0\x05", &["CONNACK"]),
    (b"\x15\0\x01m", AUTHENTICATION),
    (b"\x15\0\x01m\x16\0\x01\xFF", AUTHENTICATION), // 0x16 must not be without 0x15
    (b"\x17\x01", &["CONNECT"]),
    (b"\x18\0\0\0\x05", &["Will"]),
    (b"\x19\x01", &["CONNECT"]),
    (b"\x1A\0\x01i", &["CONNACK"]),
    (b"\x1C\0\x01s", &["CONNACK", "DISCONNECT"]),
    (b"\x1F\0\x01r", ANSWERS),
    (b"\x21\0\x05", HANDSHAKE),
    (b"\x22\0\x05", HANDSHAKE),
    (b"\x23\0\x05", &["PUBLISH"]),
    (b"\x24\x01", &["CONNACK"]),
    (b"\x25\x01", &["CONNACK"]),
    (b"\x27\0\0\0\x05", HANDSHAKE),
    (b"\x28\x01", &["CONNACK"]),
    (b"\x29\x01", &["CONNACK"]),
    (b"\x2A\x01", &["CONNACK"]),
];

const USER_PROPERTY: &[u8] = b"\x26\0\x01k\0\x01v";

impl Carrier {
    /// The packet with this block, which is shorter than 100 bytes.
    fn with(&self, block: &[u8]) -> Vec<u8> {
        let length = [block.len() as u8];
        let body = [self.before, &length, block, self.behind].concat();
        [&[self.first, body.len() as u8], body.as_slice()].concat()
    }

    fn decode_with(&self, block: &[u8]) -> Result<(), Rule> {
        decode_v5(&self.with(block)).map(|_| ())
    }
}

fn decode_v5(bytes: &[u8]) -> Result<Packet<'_>, Rule> {
    match decode(bytes, ProtocolVersion::V5, 1_000) {
        Ok(Decoded::Packet { packet, .. }) => Ok(packet),
        Ok(Decoded::Incomplete { .. }) => panic!("{bytes:02X?} is a whole packet"),
        Err(error) => Err(error.rule),
    }
}

#[test]
fn a_packet_has_the_properties_of_table_2_4_and_no_others() {
    for carrier in CARRIERS {
        assert_eq!(carrier.decode_with(USER_PROPERTY), Ok(()), "{}", carrier.name);
        for &(block, packets) in PROPERTIES {
            let allowed = packets.contains(&carrier.name);
            let expected = if allowed { Ok(()) } else { Err(Rule::PropertyNotAllowed) };
            let found = carrier.decode_with(block);
            assert_eq!(found, expected, "{} {block:02X?}", carrier.name);
        }
    }
}

#[test]
fn a_property_number_that_is_not_in_table_2_4_is_refused() {
    let is_known = |number: u8| {
        number == 0x16 || number == 0x26 || PROPERTIES.iter().any(|(block, _)| block[0] == number)
    };
    for carrier in CARRIERS {
        for number in (0..=255).filter(|&number| !is_known(number)) {
            let block = if number < 128 { vec![number, 0] } else { vec![number, 1, 0] };
            let found = carrier.decode_with(&block);
            assert_eq!(found, Err(Rule::PropertyNotAllowed), "{} {number}", carrier.name);
        }
    }
}

#[test]
fn a_property_keeps_its_value() {
    for carrier in CARRIERS {
        let allowed = PROPERTIES.iter().filter(|(_, packets)| packets.contains(&carrier.name));
        for block in allowed.map(|&(block, _)| block).chain([USER_PROPERTY]) {
            let bytes = carrier.with(block);
            let mut again = Vec::new();
            let packet = decode_v5(&bytes).expect("the property is allowed");
            packet.encode(ProtocolVersion::V5, &mut again).expect("the packet is short");
            assert_eq!(again, bytes, "{}", carrier.name);
        }
    }
}

#[test]
fn only_user_properties_and_identifiers_of_a_publish_may_repeat() {
    for carrier in CARRIERS {
        let twice = [USER_PROPERTY, USER_PROPERTY].concat();
        assert_eq!(carrier.decode_with(&twice), Ok(()), "{}", carrier.name);
        let allowed = PROPERTIES.iter().filter(|(_, packets)| packets.contains(&carrier.name));
        for &(block, _) in allowed {
            let repeats = carrier.name == "PUBLISH" && block[0] == 0x0B;
            let expected = if repeats { Ok(()) } else { Err(Rule::DuplicateProperty) };
            let found = carrier.decode_with(&[block, block].concat());
            assert_eq!(found, expected, "{} {block:02X?}", carrier.name);
        }
    }
}

#[test]
fn a_property_that_its_block_cuts_off_is_refused() {
    for carrier in CARRIERS {
        let allowed = PROPERTIES.iter().filter(|(_, packets)| packets.contains(&carrier.name));
        for block in allowed.map(|&(block, _)| block).chain([USER_PROPERTY]) {
            let found = carrier.decode_with(&block[..block.len() - 1]);
            assert_eq!(found, Err(Rule::Truncated), "{} {block:02X?}", carrier.name);
        }
    }
}

/// Numbers that a CONNACK may carry: section 3.2.2.2.
pub(crate) const CONNACK: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
/// Sections 3.4.2.1 and 3.5.2.1.
pub(crate) const PUBACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// Sections 3.6.2.1 and 3.7.2.1.
pub(crate) const PUBREL: &[u8] = &[0x00, 0x92];
/// Section 3.9.3.
pub(crate) const SUBACK: &[u8] =
    &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
/// MQTT 3.1.1, section 3.9.3.
pub(crate) const SUBACK_3: &[u8] = &[0x00, 0x01, 0x02, 0x80];
/// Section 3.11.3.
pub(crate) const UNSUBACK: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
/// Section 3.14.2.1.
pub(crate) const DISCONNECT: &[u8] = &[
    0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
/// Section 3.15.2.1.
pub(crate) const AUTH: &[u8] = &[0x00, 0x18, 0x19];

#[test]
fn a_packet_has_the_reason_codes_of_its_section_and_no_others() {
    let sections = [
        (carrier("CONNACK", 0x20, b"\0", b"\0"), CONNACK),
        (carrier("PUBACK", 0x40, b"\0\x01", b""), PUBACK),
        (carrier("PUBREC", 0x50, b"\0\x01", b""), PUBACK),
        (carrier("PUBREL", 0x62, b"\0\x01", b""), PUBREL),
        (carrier("PUBCOMP", 0x70, b"\0\x01", b""), PUBREL),
        (carrier("SUBACK", 0x90, b"\0\x01\0", b""), SUBACK),
        (carrier("UNSUBACK", 0xB0, b"\0\x01\0", b""), UNSUBACK),
        (carrier("DISCONNECT", 0xE0, b"", b""), DISCONNECT),
        (carrier("AUTH", 0xF0, b"", b"\0"), AUTH),
    ];
    for (Carrier { name, first, before, behind }, numbers) in sections {
        for number in 0..=255 {
            let body = [before, &[number], behind].concat();
            let bytes = [&[first, body.len() as u8], body.as_slice()].concat();
            let found = decode_v5(&bytes).map(|_| ());
            let allowed = numbers.contains(&number);
            let expected = if allowed { Ok(()) } else { Err(Rule::ReasonCodeNotAllowed) };
            assert_eq!(found, expected, "{name} {number:#04X}");
        }
    }
}

#[test]
fn reason_codes_have_their_numbers_and_return_codes_stay_within_3_1_1() {
    for number in 0..=255 {
        let code = ReasonCode::from_u8(number);
        assert!(code.is_none_or(|code| code as u8 == number));
    }
    for &code in ReasonCode::ALL {
        assert_eq!(ReasonCode::from_u8(code as u8), Some(code));
        assert_eq!(code.connect_return_code() == 0, code == ReasonCode::Success);
        assert!(code.connect_return_code() <= 5, "{}", code.name());
    }
}
