//! 24: the Client has taken a QoS 2 message over (PUBREC): only its PUBCOMP is outstanding.

use midge_core::Owner;

use super::bytes::{BadRecord, Reader, put_varint};
use super::owner;

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 24;

pub(crate) fn encode(owner: Owner, sequence: u64, out: &mut Vec<u8>) {
    owner::encode(owner, out);
    put_varint(out, sequence);
}

pub(crate) fn decode(body: &[u8]) -> Result<(Owner, u64), BadRecord> {
    let mut reader = Reader::new(body);
    let owner = owner::decode(&mut reader)?;
    let sequence = reader.varint()?;
    reader.finish()?;
    Ok((owner, sequence))
}
