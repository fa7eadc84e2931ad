//! One packet in each version: what decodes must encode, and decode to the same again.

use midge_codec::{Decoded, ProtocolVersion, decode};

/// Panics if a packet at the start of `data` does not survive encoding.
pub(crate) fn check(data: &[u8]) {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        check_in(version, data);
    }
}

fn check_in(version: ProtocolVersion, data: &[u8]) {
    let (packet, length) = match decode(data, version, u32::MAX) {
        Ok(Decoded::Packet { packet, length }) => (packet, length),
        Ok(Decoded::Incomplete { needed }) => return assert!(needed > data.len()),
        Err(_) => return,
    };
    let alone = decode(&data[..length], version, length as u32);
    assert_eq!(alone, Ok(Decoded::Packet { packet: packet.clone(), length }));
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded).expect("what was read can be written");
    let length = encoded.len();
    assert_eq!(length, packet.encoded_len(version));
    let expected = Decoded::Packet { packet, length };
    assert_eq!(decode(&encoded, version, u32::MAX), Ok(expected), "{version}");
}
