//! An Application Message as a part of other records. The publishing Session is not stored: it
//! means nothing after the process has ended.

use std::sync::Arc;

use midge_codec::QoS;
use midge_core::{Attributes, Durability, Identity, Message, MessageParts, Timestamp};

use crate::location::Location;

use super::bytes::{BadRecord, Reader, put_bytes, put_varint};

const QOS: u8 = 0b11;
const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const DURABILITY_SHIFT: u8 = 4;
const USER_NAME: u8 = 1 << 6;
const UNUSED: u8 = 1 << 7;

/// A message within a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredMessage<'a> {
    pub(crate) topic: &'a str,
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) attributes: Attributes,
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
    /// The whole message as it stands in the record.
    pub(crate) encoded: &'a [u8],
}

/// Restores messages from records. Messages of one publisher that follow each other share its
/// identity.
#[derive(Debug, Default)]
pub(crate) struct Restorer {
    last: Option<Arc<Identity>>,
}

pub(crate) fn encode(message: &Message, out: &mut Vec<u8>) {
    let attributes = message.attributes();
    let publisher = message.publisher();
    let mut flags = attributes.qos as u8 | durability_bits(attributes.durability);
    if attributes.retain {
        flags |= RETAIN;
    }
    if attributes.expires_at.is_some() {
        flags |= EXPIRES;
    }
    if publisher.user_name.is_some() {
        flags |= USER_NAME;
    }
    out.push(flags);
    if let Some(at) = attributes.expires_at {
        put_varint(out, at.as_millis());
    }
    put_bytes(out, publisher.client_id.as_bytes());
    if let Some(name) = &publisher.user_name {
        put_bytes(out, name.as_bytes());
    }
    put_bytes(out, message.topic().as_bytes());
    put_bytes(out, message.properties());
    put_bytes(out, message.payload());
}

pub(crate) fn decode<'a>(reader: &mut Reader<'a>) -> Result<StoredMessage<'a>, BadRecord> {
    let start = reader.rest();
    let flags = reader.byte()?;
    if flags & UNUSED != 0 {
        return Err(BadRecord("a flag of the message is unknown"));
    }
    let expires_at = match flags & EXPIRES {
        0 => None,
        _ => Some(Timestamp::from_millis(reader.varint()?)),
    };
    let attributes = Attributes {
        qos: QoS::from_bits(flags & QOS).ok_or(BadRecord("the QoS is 3"))?,
        retain: flags & RETAIN != 0,
        expires_at,
        publisher_session: None,
        durability: durability_from_bits(flags)?,
    };
    let client_id = reader.str()?;
    let user_name = if flags & USER_NAME == 0 { None } else { Some(reader.str()?) };
    let topic = reader.str()?;
    let properties = reader.bytes()?;
    let payload = reader.bytes()?;
    let encoded = &start[..start.len() - reader.remaining()];
    Ok(StoredMessage { topic, properties, payload, attributes, client_id, user_name, encoded })
}

impl StoredMessage<'_> {
    /// [`Message::size`].
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }
}

impl Restorer {
    /// Returns the message; `place` is where the store has it, if it can be referred to.
    pub(crate) fn restore(
        &mut self,
        stored: &StoredMessage<'_>,
        place: Option<Location>,
    ) -> Message {
        let message = Message::new(MessageParts {
            topic: stored.topic,
            properties: stored.properties,
            payload: stored.payload,
            attributes: stored.attributes,
            publisher: self.publisher(stored),
        });
        if let Some(place) = place {
            message.stored_at().set(place.to_non_zero());
        }
        message
    }

    fn publisher(&mut self, stored: &StoredMessage<'_>) -> Arc<Identity> {
        if let Some(last) = &self.last
            && *last.client_id == *stored.client_id
            && last.user_name.as_deref() == stored.user_name
        {
            return Arc::clone(last);
        }
        let identity =
            Arc::new(Identity::new(stored.client_id.into(), stored.user_name.map(Into::into)));
        self.last = Some(Arc::clone(&identity));
        identity
    }
}

fn durability_bits(durability: Durability) -> u8 {
    let number = match durability {
        Durability::Memory => 0,
        Durability::Interval => 1,
        Durability::Fsync => 2,
    };
    number << DURABILITY_SHIFT
}

fn durability_from_bits(flags: u8) -> Result<Durability, BadRecord> {
    match (flags >> DURABILITY_SHIFT) & 0b11 {
        0 => Ok(Durability::Memory),
        1 => Ok(Durability::Interval),
        2 => Ok(Durability::Fsync),
        _ => Err(BadRecord("the durability is unknown")),
    }
}
