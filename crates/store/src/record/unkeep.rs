//! 30: a message that waited for no owner is not kept any more.

use super::bytes::{BadRecord, Reader, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 30;

pub(crate) fn encode(number: u64, out: &mut Vec<u8>) {
    put_varint(out, number);
}

pub(crate) fn decode(body: &[u8]) -> Result<u64, BadRecord> {
    let mut reader = Reader::new(body);
    let number = reader.varint()?;
    reader.finish()?;
    Ok(number)
}
