//! 28: a round is confirmed; what workers have kept on its behalf counts from now on.

use super::bytes::{BadRecord, Reader};
use super::round::BootRound;

/// Never to be changed: files contain it.
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
