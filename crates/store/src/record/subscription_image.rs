//! 33: all subscriptions of a Session. Earlier records about its subscriptions do not count any
//! more.

use midge_core::SubscriptionRecord;

use super::bytes::{BadRecord, Reader, put_varint};
use super::subscribed::{decode_subscription, encode_subscription};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 33;

pub(crate) fn encode(session: u64, subscriptions: &[SubscriptionRecord], out: &mut Vec<u8>) {
    put_varint(out, session);
    put_varint(out, subscriptions.len() as u64);
    for subscription in subscriptions {
        encode_subscription(subscription, out);
    }
}

/// Decodes the Session and the number of its subscriptions.
pub(crate) fn decode_head(body: &[u8]) -> Result<(u64, u64), BadRecord> {
    let mut reader = Reader::new(body);
    Ok((reader.varint()?, reader.varint()?))
}

pub(crate) fn decode(body: &[u8]) -> Result<(u64, Vec<SubscriptionRecord>), BadRecord> {
    let mut reader = Reader::new(body);
    let session = reader.varint()?;
    let count = reader.varint()?;
    let mut subscriptions = Vec::new();
    for _ in 0..count {
        subscriptions.push(decode_subscription(&mut reader)?);
    }
    reader.finish()?;
    Ok((session, subscriptions))
}
