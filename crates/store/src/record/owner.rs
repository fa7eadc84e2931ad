//! How records name an [`Owner`]: a byte for the kind, then the number.

use midge_core::Owner;

use super::bytes::{BadRecord, Reader, put_varint};

pub(crate) fn encode(owner: Owner, out: &mut Vec<u8>) {
    match owner {
        Owner::Session(number) => {
            out.push(0);
            put_varint(out, number);
        }
        Owner::Group(number) => {
            out.push(1);
            put_varint(out, number);
        }
    }
}

pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Owner, BadRecord> {
    match reader.byte()? {
        0 => Ok(Owner::Session(reader.varint()?)),
        1 => Ok(Owner::Group(reader.varint()?)),
        _ => Err(BadRecord("the kind of owner is unknown")),
    }
}
