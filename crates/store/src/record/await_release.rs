//! 26: a QoS 2 message was received; its Packet Identifier waits for the PUBREL.

use midge_codec::PacketIdentifier;

use super::bytes::{BadRecord, Reader, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 26;

pub(crate) fn encode(session: u64, packet_id: PacketIdentifier, out: &mut Vec<u8>) {
    put_varint(out, session);
    out.extend_from_slice(&packet_id.get().to_le_bytes());
}

pub(crate) fn decode(body: &[u8]) -> Result<(u64, PacketIdentifier), BadRecord> {
    let mut reader = Reader::new(body);
    let session = reader.varint()?;
    let packet_id = u16::from_le_bytes([reader.byte()?, reader.byte()?]);
    let packet_id =
        PacketIdentifier::new(packet_id).ok_or(BadRecord("the Packet Identifier is 0"))?;
    reader.finish()?;
    Ok((session, packet_id))
}
