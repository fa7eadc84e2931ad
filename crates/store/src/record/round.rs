//! A round of a worker in one life of the process, as a part of other records.

use midge_core::{Round, WorkerId};

use super::bytes::{BadRecord, Reader, put_varint};

/// Rounds begin anew in every life of the process: the boot number tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BootRound {
    pub(crate) boot: u64,
    pub(crate) round: Round,
}

impl BootRound {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.boot);
        out.push(self.round.worker.index() as u8);
        put_varint(out, self.round.number);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        let boot = reader.varint()?;
        let index = usize::from(reader.byte()?);
        if index >= WorkerId::MAX_WORKERS {
            return Err(BadRecord("there is no such worker"));
        }
        let number = reader.varint()?;
        Ok(Self { boot, round: Round { worker: WorkerId::new(index), number } })
    }
}
