//! The records of the journal: what is kept, in bytes. Tags and bodies never change: another body
//! needs a new tag, and the tests fix the bytes of every kind.

pub(crate) mod await_release;
pub(crate) mod boot;
pub(crate) mod bytes;
pub(crate) mod confirm;
pub(crate) mod detached;
pub(crate) mod ended;
pub(crate) mod enqueue;
mod facts;
pub(crate) mod finished;
pub(crate) mod group;
pub(crate) mod keep;
pub(crate) mod mark;
pub(crate) mod message;
pub(crate) mod owner;
pub(crate) mod released;
pub(crate) mod round;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod subscribed;
pub(crate) mod subscription_image;
pub(crate) mod taken;
pub(crate) mod unkeep;
pub(crate) mod unsubscribed;
pub(crate) mod will_gone;

#[cfg(test)]
mod tests;

use midge_codec::PacketIdentifier;
use midge_core::{Kept, Owner};

use crate::clock::Mark;
pub(crate) use bytes::BadRecord;
pub(crate) use detached::Detached;
pub(crate) use enqueue::{Body, EnqueueHead};
pub(crate) use message::{Restorer, StoredMessage};
pub(crate) use round::BootRound;
pub(crate) use run::Run;

/// A record as far as the index needs to know it. The module of its kind decodes the rest for those
/// who need the whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Session(u64),
    Detached(Detached),
    WillGone(u64),
    Subscribed(u64),
    Unsubscribed(u64),
    Group(u64),
    Enqueue(EnqueueHead<'a>, Body<'a>),
    Taken(Owner, u64),
    Finished(Owner, u64),
    FinishedRun(Run),
    TakenRun(Run),
    AwaitRelease(u64, PacketIdentifier),
    Released(u64, PacketIdentifier),
    Confirm(BootRound),
    Keep(u64, Kept, Body<'a>),
    Unkeep(u64),
    Ended(Owner),
    Boot(u64),
    Mark(Mark),
    /// The Session and how many subscriptions it has.
    SubscriptionImage(u64, u64),
}

/// Decodes the record with this tag and body.
pub(crate) fn decode(tag: u8, body: &[u8]) -> Result<Record<'_>, BadRecord> {
    Ok(match tag {
        session::TAG => Record::Session(session::decode_number(body)?),
        detached::TAG => Record::Detached(Detached::decode(body)?),
        will_gone::TAG => Record::WillGone(will_gone::decode(body)?),
        subscribed::TAG => Record::Subscribed(subscribed::decode_session(body)?),
        unsubscribed::TAG => Record::Unsubscribed(unsubscribed::decode(body)?.0),
        group::TAG => Record::Group(group::decode_number(body)?),
        enqueue::TAG | enqueue::TAG_SHARED => {
            let (head, message) = enqueue::decode(tag, body)?;
            Record::Enqueue(head, message)
        }
        taken::TAG => {
            let (owner, sequence) = taken::decode(body)?;
            Record::Taken(owner, sequence)
        }
        finished::TAG => {
            let (owner, sequence) = finished::decode(body)?;
            Record::Finished(owner, sequence)
        }
        run::TAG_FINISHED => Record::FinishedRun(Run::decode(body)?),
        run::TAG_TAKEN => Record::TakenRun(Run::decode(body)?),
        await_release::TAG => {
            let (session, packet_id) = await_release::decode(body)?;
            Record::AwaitRelease(session, packet_id)
        }
        released::TAG => {
            let (session, packet_id) = released::decode(body)?;
            Record::Released(session, packet_id)
        }
        confirm::TAG => Record::Confirm(confirm::decode(body)?),
        keep::TAG | keep::TAG_SHARED => {
            let (number, what, message) = keep::decode(tag, body)?;
            Record::Keep(number, what, message)
        }
        unkeep::TAG => Record::Unkeep(unkeep::decode(body)?),
        ended::TAG => Record::Ended(ended::decode(body)?),
        boot::TAG => Record::Boot(boot::decode(body)?),
        mark::TAG => Record::Mark(mark::decode(body)?),
        subscription_image::TAG => {
            let (session, count) = subscription_image::decode_head(body)?;
            Record::SubscriptionImage(session, count)
        }
        _ => return Err(BadRecord("its kind is unknown")),
    })
}

/// Decodes the message of a record that has one inline and may be referred to.
pub(crate) fn decode_message(tag: u8, body: &[u8]) -> Result<StoredMessage<'_>, BadRecord> {
    match decode(tag, body)? {
        Record::Enqueue(_, Body::Inline(message)) | Record::Keep(_, _, Body::Inline(message)) => {
            Ok(message)
        }
        _ => Err(BadRecord("it has no message")),
    }
}

/// Decodes the record of the kept message with this number: why it is kept, and where the message
/// is.
pub(crate) fn decode_kept(
    tag: u8,
    body: &[u8],
    number: u64,
) -> Result<(Kept, Body<'_>), BadRecord> {
    match decode(tag, body)? {
        Record::Keep(found, what, body) if found == number => Ok((what, body)),
        _ => Err(BadRecord("it is not the kept message that was expected")),
    }
}
