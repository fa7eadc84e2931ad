//! 22: a message waits for its owner; the record contains the message. 23: the same, with the place
//! of a record that contains the message.

use std::borrow::Cow;

use midge_codec::QoS;
use midge_core::{Identifiers, Owner};

use super::bytes::{BadRecord, Reader, put_identifiers, put_varint};
use super::message::{self, StoredMessage};
use super::round::BootRound;
use crate::location::Location;

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 22;
/// Never to be changed: files contain it.
pub(crate) const TAG_SHARED: u8 = 23;

const OF_GROUP: u8 = 1;
const QOS_SHIFT: u8 = 1;
const RETAIN: u8 = 1 << 3;
const FROM_GROUP: u8 = 1 << 4;
const ROUND: u8 = 1 << 5;
const IDENTIFIERS: u8 = 1 << 6;
const UNUSED: u8 = 1 << 7;

/// Everything but the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnqueueHead<'a> {
    pub(crate) owner: Owner,
    pub(crate) sequence: u64,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Cow<'a, Identifiers>,
    pub(crate) group: Option<u64>,
    pub(crate) round: Option<BootRound>,
}

/// Where the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Inline(StoredMessage<'a>),
    At { message: Location, size: u32 },
}

impl Body<'_> {
    /// Returns the size of the message: topic, properties and payload.
    pub(crate) fn message_size(&self) -> u32 {
        match self {
            Self::Inline(message) => message.size() as u32,
            Self::At { size, .. } => *size,
        }
    }
}

pub(crate) fn encode_head(head: &EnqueueHead<'_>, out: &mut Vec<u8>) {
    let (of_group, number) = match head.owner {
        Owner::Session(number) => (0, number),
        Owner::Group(number) => (OF_GROUP, number),
    };
    let mut flags = of_group | (head.qos as u8) << QOS_SHIFT;
    if head.retain {
        flags |= RETAIN;
    }
    if head.group.is_some() {
        flags |= FROM_GROUP;
    }
    if head.round.is_some() {
        flags |= ROUND;
    }
    let identified = *head.identifiers != Identifiers::None;
    if identified {
        flags |= IDENTIFIERS;
    }
    out.push(flags);
    put_varint(out, number);
    put_varint(out, head.sequence);
    if let Some(group) = head.group {
        put_varint(out, group);
    }
    if let Some(round) = &head.round {
        round.encode(out);
    }
    if identified {
        put_identifiers(out, &head.identifiers);
    }
}

/// Encodes what follows the head if the message is elsewhere.
pub(crate) fn encode_place(message: Location, size: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&message.to_u64().to_le_bytes());
    put_varint(out, u64::from(size));
}

pub(crate) fn decode(tag: u8, body: &[u8]) -> Result<(EnqueueHead<'static>, Body<'_>), BadRecord> {
    let mut reader = Reader::new(body);
    let head = decode_head(&mut reader)?;
    let body = decode_body(tag == TAG_SHARED, &mut reader)?;
    reader.finish()?;
    Ok((head, body))
}

pub(super) fn decode_body<'a>(
    elsewhere: bool,
    reader: &mut Reader<'a>,
) -> Result<Body<'a>, BadRecord> {
    if !elsewhere {
        return Ok(Body::Inline(message::decode(reader)?));
    }
    let message = Location::from_u64(reader.fixed_u64()?);
    let message = message.ok_or(BadRecord("the place of the message is 0"))?;
    Ok(Body::At { message, size: reader.varint_u32()? })
}

fn decode_head(reader: &mut Reader<'_>) -> Result<EnqueueHead<'static>, BadRecord> {
    let flags = reader.byte()?;
    if flags & UNUSED != 0 {
        return Err(BadRecord("a flag of the delivery is unknown"));
    }
    let owner = match flags & OF_GROUP {
        0 => Owner::Session(reader.varint()?),
        _ => Owner::Group(reader.varint()?),
    };
    let sequence = reader.varint()?;
    let group = if flags & FROM_GROUP == 0 { None } else { Some(reader.varint()?) };
    let round = if flags & ROUND == 0 { None } else { Some(BootRound::decode(reader)?) };
    let identifiers = match flags & IDENTIFIERS {
        0 => Identifiers::None,
        _ => reader.identifiers()?,
    };
    Ok(EnqueueHead {
        owner,
        sequence,
        qos: QoS::from_bits((flags >> QOS_SHIFT) & 0b11).ok_or(BadRecord("the QoS is 3"))?,
        retain: flags & RETAIN != 0,
        identifiers: Cow::Owned(identifiers),
        group,
        round,
    })
}
