//! 17: the Network Connection of a Session has ended, or how far its messages may be sent while it
//! lasts.

use midge_core::Timestamp;

use super::bytes::{BadRecord, Reader, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 17;

/// The moment that stands for an end that has not come. Never to be changed: files contain it.
pub(crate) const NOT_ENDED: Timestamp = Timestamp::from_millis(u64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detached {
    pub(crate) session: u64,
    pub(crate) at: Timestamp,
    pub(crate) sent_before: u64,
}

impl Detached {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.session);
        put_varint(out, self.at.as_millis());
        put_varint(out, self.sent_before);
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader::new(body);
        let session = reader.varint()?;
        let at = Timestamp::from_millis(reader.varint()?);
        let sent_before = reader.varint()?;
        reader.finish()?;
        Ok(Self { session, at, sent_before })
    }
}
