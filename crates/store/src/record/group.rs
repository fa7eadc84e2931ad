//! 21: a shared subscription that may keep messages.

use midge_core::GroupRecord;

use super::bytes::{BadRecord, Reader, put_bytes, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 21;

pub(crate) fn encode(group: &GroupRecord, out: &mut Vec<u8>) {
    put_varint(out, group.number);
    put_bytes(out, group.name.as_bytes());
    put_bytes(out, group.filter.as_bytes());
}

pub(crate) fn decode_number(body: &[u8]) -> Result<u64, BadRecord> {
    Reader::new(body).varint()
}

pub(crate) fn decode(body: &[u8]) -> Result<GroupRecord, BadRecord> {
    let mut reader = Reader::new(body);
    let number = reader.varint()?;
    let name = reader.str()?.into();
    let filter = reader.str()?.into();
    reader.finish()?;
    Ok(GroupRecord { number, name, filter })
}
