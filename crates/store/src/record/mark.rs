//! 37: what the machine's clocks showed at a moment of the store's time.

use midge_core::Timestamp;

use super::bytes::{BadRecord, Reader, put_varint};
use crate::clock::{Mark, Reading, Uptime};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 37;

pub(crate) fn encode(mark: &Mark, out: &mut Vec<u8>) {
    put_varint(out, mark.at.as_millis());
    put_varint(out, mark.reading.wall_ms);
    match mark.reading.uptime {
        None => out.push(0),
        Some(Uptime { boot, millis }) => {
            out.push(1);
            out.extend_from_slice(&boot.to_le_bytes());
            put_varint(out, millis);
        }
    }
}

pub(crate) fn decode(body: &[u8]) -> Result<Mark, BadRecord> {
    let mut reader = Reader::new(body);
    let mark = decode_from(&mut reader)?;
    reader.finish()?;
    Ok(mark)
}

/// Decodes a mark that is part of something else.
pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Mark, BadRecord> {
    let at = Timestamp::from_millis(reader.varint()?);
    let wall_ms = reader.varint()?;
    let uptime = match reader.byte()? {
        0 => None,
        1 => {
            let (low, high) = (reader.fixed_u64()?, reader.fixed_u64()?);
            let boot = u128::from(high) << 64 | u128::from(low);
            Some(Uptime { boot, millis: reader.varint()? })
        }
        _ => return Err(BadRecord("what is known of the machine's uptime is unknown")),
    };
    Ok(Mark { at, reading: Reading { wall_ms, uptime } })
}
