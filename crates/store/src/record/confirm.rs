//! 28: what workers have kept on behalf of a round counts from now on.

use super::bytes::{BadRecord, Reader};
use super::round::BootRound;

/// Never to be changed: files have it.
pub(crate) const TAG: u8 = 28;

pub(crate) fn encode(round: &BootRound, out: &mut Vec<u8>) {
    round.encode(out);
}

pub(crate) fn decode(body: &[u8]) -> Result<BootRound, BadRecord> {
    let mut reader = Reader::new(body);
    let round = BootRound::decode(&mut reader)?;
    reader.finish()?;
    Ok(round)
}
