//! 18: the Will Message of a Session was published, or will not be.

use super::bytes::{BadRecord, Reader, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 18;

pub(crate) fn encode(session: u64, out: &mut Vec<u8>) {
    put_varint(out, session);
}

pub(crate) fn decode(body: &[u8]) -> Result<u64, BadRecord> {
    let mut reader = Reader::new(body);
    let session = reader.varint()?;
    reader.finish()?;
    Ok(session)
}
