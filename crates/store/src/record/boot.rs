//! 32: the process begins a new life; the first record of every run. What earlier lives kept for
//! rounds that were not confirmed does not count any more.

use super::bytes::{BadRecord, Reader, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 32;

pub(crate) fn encode(boot: u64, out: &mut Vec<u8>) {
    put_varint(out, boot);
}

pub(crate) fn decode(body: &[u8]) -> Result<u64, BadRecord> {
    let mut reader = Reader::new(body);
    let boot = reader.varint()?;
    reader.finish()?;
    Ok(boot)
}
