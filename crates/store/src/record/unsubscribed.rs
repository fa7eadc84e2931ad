//! 20: a subscription has ended.

use super::bytes::{BadRecord, Reader, put_bytes, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 20;

pub(crate) fn encode(session: u64, filter: &str, out: &mut Vec<u8>) {
    put_varint(out, session);
    put_bytes(out, filter.as_bytes());
}

pub(crate) fn decode(body: &[u8]) -> Result<(u64, &str), BadRecord> {
    let mut reader = Reader::new(body);
    let session = reader.varint()?;
    let filter = reader.str()?;
    reader.finish()?;
    Ok((session, filter))
}
