//! 29: a message that waits for no owner; the record contains the message. 36: the same, with the
//! place of a record that contains the message. Both replace the kept message with the same number.

use midge_core::{Kept, Timestamp};

use super::bytes::{BadRecord, Reader, put_varint};
use super::enqueue::{Body, decode_body};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 29;
/// Never to be changed: files contain it.
pub(crate) const TAG_SHARED: u8 = 36;

/// Encodes what precedes the message or its place.
pub(crate) fn encode_head(number: u64, what: Kept, out: &mut Vec<u8>) {
    put_varint(out, number);
    match what {
        Kept::Retained => out.push(0),
        Kept::Delayed(at) => {
            out.push(1);
            put_varint(out, at.as_millis());
        }
    }
}

pub(crate) fn decode(tag: u8, body: &[u8]) -> Result<(u64, Kept, Body<'_>), BadRecord> {
    let mut reader = Reader::new(body);
    let number = reader.varint()?;
    let what = match reader.byte()? {
        0 => Kept::Retained,
        1 => Kept::Delayed(Timestamp::from_millis(reader.varint()?)),
        _ => return Err(BadRecord("the reason to keep it is unknown")),
    };
    let body = decode_body(tag == TAG_SHARED, &mut reader)?;
    reader.finish()?;
    Ok((number, what, body))
}
