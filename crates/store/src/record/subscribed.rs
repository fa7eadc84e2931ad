//! 19: a subscription of a Session; replaces the one that the Session had with the same filter.

use std::num::NonZeroU32;

use midge_codec::{QoS, RetainHandling, SubscriptionOptions};
use midge_core::SubscriptionRecord;

use super::bytes::{BadRecord, Reader, put_bytes, put_varint};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 19;

const QOS: u8 = 0b11;
const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const IDENTIFIER: u8 = 1 << 6;
const UNUSED: u8 = 1 << 7;

pub(crate) fn encode(session: u64, subscription: &SubscriptionRecord, out: &mut Vec<u8>) {
    put_varint(out, session);
    encode_subscription(subscription, out);
}

pub(crate) fn decode_session(body: &[u8]) -> Result<u64, BadRecord> {
    Reader::new(body).varint()
}

pub(crate) fn decode(body: &[u8]) -> Result<(u64, SubscriptionRecord), BadRecord> {
    let mut reader = Reader::new(body);
    let session = reader.varint()?;
    let subscription = decode_subscription(&mut reader)?;
    reader.finish()?;
    Ok((session, subscription))
}

pub(super) fn encode_subscription(subscription: &SubscriptionRecord, out: &mut Vec<u8>) {
    let options = subscription.options;
    let mut flags = options.qos as u8 | (options.retain_handling as u8) << RETAIN_HANDLING_SHIFT;
    if options.no_local {
        flags |= NO_LOCAL;
    }
    if options.retain_as_published {
        flags |= RETAIN_AS_PUBLISHED;
    }
    if subscription.identifier.is_some() {
        flags |= IDENTIFIER;
    }
    out.push(flags);
    if let Some(identifier) = subscription.identifier {
        put_varint(out, u64::from(identifier.get()));
    }
    put_bytes(out, subscription.filter.as_bytes());
}

pub(super) fn decode_subscription(
    reader: &mut Reader<'_>,
) -> Result<SubscriptionRecord, BadRecord> {
    let flags = reader.byte()?;
    if flags & UNUSED != 0 {
        return Err(BadRecord("a flag of the subscription is unknown"));
    }
    let options = SubscriptionOptions {
        qos: QoS::from_bits(flags & QOS).ok_or(BadRecord("the QoS is 3"))?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        retain_handling: retain_handling(flags)?,
    };
    let identifier = match flags & IDENTIFIER {
        0 => None,
        _ => Some(
            NonZeroU32::new(reader.varint_u32()?)
                .ok_or(BadRecord("a Subscription Identifier is 0"))?,
        ),
    };
    Ok(SubscriptionRecord { filter: reader.str()?.into(), options, identifier })
}

fn retain_handling(flags: u8) -> Result<RetainHandling, BadRecord> {
    match (flags >> RETAIN_HANDLING_SHIFT) & 0b11 {
        0 => Ok(RetainHandling::SendAtSubscribe),
        1 => Ok(RetainHandling::SendIfNew),
        2 => Ok(RetainHandling::DoNotSend),
        _ => Err(BadRecord("the Retain Handling is 3")),
    }
}
