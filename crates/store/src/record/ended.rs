//! 31: a Session or a shared subscription has ended, with all that waited for it.

use midge_core::Owner;

use super::bytes::{BadRecord, Reader};
use super::owner;

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 31;

pub(crate) fn encode(owner: Owner, out: &mut Vec<u8>) {
    owner::encode(owner, out);
}

pub(crate) fn decode(body: &[u8]) -> Result<Owner, BadRecord> {
    let mut reader = Reader::new(body);
    let owner = owner::decode(&mut reader)?;
    reader.finish()?;
    Ok(owner)
}
