//! What peer messages are made of: names of Sessions and groups, Application Messages, members.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use midge_codec::{PublishProperties, QoS, SubscriptionOptions, TopicName};

use super::PeerDecodeError;
use super::wire::{Reader, Wire, Writer};
use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{
    CredentialRule, GroupId, Identity, SessionId, Source, UserAttribute, UserAttributes, UserFacts,
    WorkerId,
};
use crate::base::message::{Attributes, Message, MessageParts};
use crate::boundary::peer_messages::{ComingSession, Member, WantedFilter};
use crate::boundary::store_records::Round;
use crate::tree::subscription_tree::PackedOptions;

/// Writes both directions of a struct from the list of its fields, in the order in which they are
/// written.
macro_rules! fields {
    ($($type:ident { $($field:ident),+ })+) => {
        $(impl Wire for $type {
            fn write(&self, writer: &mut Writer<'_>) {
                let Self { $($field),+ } = self;
                $($field.write(writer);)+
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
                $(let $field = Wire::read(reader)?;)+
                Ok(Self { $($field),+ })
            }
        })+
    };
}

fields! {
    SessionId { worker, slot, generation }
    GroupId { home, number }
    Round { worker, number }
    Member { session, options, identifier, online, is_stored, in_flight }
    Delivery { message, qos, retain, identifiers, group }
    Attributes { qos, retain, expires_at, publisher_session, durability }
    UserFacts { member, attributes, groups, is_superuser, rules, expires_at }
    CredentialRule { allows, publish, subscribe, topics, qos, retain }
    WantedFilter { filter, options, identifier }
}

/// The note of the policy stays where it is.
impl Wire for Identity {
    fn write(&self, writer: &mut Writer<'_>) {
        let Self { client_id, user_name, facts, source, note: _ } = self;
        client_id.write(writer);
        user_name.write(writer);
        facts.write(writer);
        source.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let (client_id, user_name) = (Wire::read(reader)?, Wire::read(reader)?);
        let (facts, source) = (Wire::read(reader)?, Wire::read(reader)?);
        Ok(Self { facts, source, ..Self::new(client_id, user_name) })
    }
}

/// Whoever came by no listener has the number 65535 here, which no listener has.
impl Wire for Source {
    fn write(&self, writer: &mut Writer<'_>) {
        let Self { listener, address } = self;
        listener.unwrap_or(u16::MAX).write(writer);
        address.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let listener = Some(Wire::read(reader)?).filter(|&listener| listener != u16::MAX);
        Ok(Self { listener, address: Wire::read(reader)? })
    }
}

/// A Session that is not in the store has the number 0 here.
impl Wire for ComingSession {
    fn write(&self, writer: &mut Writer<'_>) {
        let Self { session, client, number, filters } = self;
        session.write(writer);
        client.write(writer);
        writer.number(number.map_or(0, NonZeroU64::get));
        filters.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let (session, client) = (Wire::read(reader)?, Wire::read(reader)?);
        let number = NonZeroU64::new(reader.number()?);
        Ok(Self { session, client, number, filters: Wire::read(reader)? })
    }
}

/// Writes both directions of an enum without fields from the tags of its variants.
macro_rules! values {
    ($($type:ident, $what:literal: { $($tag:literal => $variant:ident,)+ })+) => {
        $(impl Wire for $type {
            fn write(&self, writer: &mut Writer<'_>) {
                writer.number(match self { $(Self::$variant => $tag,)+ });
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
                match reader.number()? {
                    $($tag => Ok(Self::$variant),)+
                    tag => Err(PeerDecodeError::UnknownTag($what, tag)),
                }
            }
        })+
    };
}

values! {
    QoS, "the QoS": {
        0 => AtMostOnce,
        1 => AtLeastOnce,
        2 => ExactlyOnce,
    }

    Durability, "the durability": {
        1 => Memory,
        2 => Interval,
        3 => Fsync,
    }

    DropReason, "the reason": {
        1 => NoSubscriber,
        2 => Offline,
        3 => QueueFull,
        4 => QueueBytes,
        5 => SlowConsumer,
        6 => Expired,
        7 => PacketTooLarge,
        8 => PublishNotAuthorized,
        9 => DeliveryNotAuthorized,
        10 => TopicNameInvalid,
        11 => SessionEnded,
        12 => RetainedLimit,
        13 => DelayedLimit,
        14 => SharedBacklogFull,
        15 => RefusedByReceiver,
        16 => MemoryPressure,
        17 => LocalReceiverFull,
        18 => StoreFull,
        19 => Damaged,
        20 => BrokerEnded,
        21 => PeerGone,
    }
}

impl Wire for WorkerId {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.byte(self.index() as u8);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let index = usize::from(reader.byte()?);
        let is_one = index < Self::MAX_WORKERS;
        is_one.then(|| Self::new(index)).ok_or(PeerDecodeError::Invalid("there is no such worker"))
    }
}

/// As in a SUBSCRIBE of MQTT 5.0.
impl Wire for PackedOptions {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.byte(self.to_byte());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let byte = reader.byte()?;
        let options = SubscriptionOptions::from_byte(byte).filter(|it| it.to_byte() == byte);
        options.map(Into::into).ok_or(PeerDecodeError::Invalid("Subscription Options are invalid"))
    }
}

impl Wire for Identifiers {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(self.as_slice().len() as u64);
        self.as_slice().iter().for_each(|identifier| identifier.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Vec::read(reader).map(|identifiers| Self::from(&identifiers[..]))
    }
}

/// Attributes, publisher, topic, properties, payload.
impl Wire for Message {
    fn write(&self, writer: &mut Writer<'_>) {
        self.attributes().write(writer);
        self.publisher().write(writer);
        writer.bytes(self.topic().as_bytes());
        writer.bytes(self.properties());
        writer.bytes(self.payload());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let (attributes, publisher) = (Wire::read(reader)?, Wire::read(reader)?);
        let topic = reader.text()?;
        if TopicName::new(topic).is_err() {
            return Err(PeerDecodeError::Invalid("a Topic Name is invalid"));
        }
        let properties = reader.bytes()?;
        let mut written = Vec::new();
        PublishProperties::decode_forwarded(properties).encode_forwarded(&mut written);
        if written != properties {
            return Err(PeerDecodeError::Invalid("the properties of a message are invalid"));
        }
        let payload = reader.bytes()?;
        let parts = MessageParts { topic, properties, payload, attributes, publisher };
        Ok(Message::new(parts))
    }
}

impl Wire for Box<ComingSession> {
    fn write(&self, writer: &mut Writer<'_>) {
        ComingSession::write(self, writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        ComingSession::read(reader).map(Self::new)
    }
}

impl Wire for Arc<Identity> {
    fn write(&self, writer: &mut Writer<'_>) {
        Identity::write(self, writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Identity::read(reader).map(Arc::new)
    }
}

impl Wire for Arc<UserFacts> {
    fn write(&self, writer: &mut Writer<'_>) {
        UserFacts::write(self, writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        UserFacts::read(reader).map(Arc::new)
    }
}

/// The names are in ascending order, and none comes twice.
impl Wire for UserAttributes {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(self.len() as u64);
        for (name, value) in self {
            name.write(writer);
            value.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let mut attributes = BTreeMap::<Box<str>, _>::new();
        for _ in 0..reader.count()? {
            let (name, value) = (Wire::read(reader)?, Wire::read(reader)?);
            if attributes.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(PeerDecodeError::Invalid("attributes are not in order"));
            }
            attributes.insert(name, value);
        }
        Ok(attributes)
    }
}

impl<T: Wire> Wire for Box<[T]> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(self.len() as u64);
        self.iter().for_each(|it| it.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Vec::read(reader).map(Self::from)
    }
}

impl Wire for u8 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.byte(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        reader.byte()
    }
}

impl Wire for UserAttribute {
    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Text(text) => {
                writer.number(1);
                text.write(writer);
            }
            Self::Number(number) => {
                writer.number(2);
                number.write(writer);
            }
            Self::List(texts) => {
                writer.number(3);
                writer.number(texts.len() as u64);
                texts.iter().for_each(|text| text.write(writer));
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Ok(match reader.number()? {
            1 => Self::Text(Wire::read(reader)?),
            2 => Self::Number(Wire::read(reader)?),
            3 => Self::List(Vec::read(reader)?.into()),
            tag => return Err(PeerDecodeError::UnknownTag("the attribute", tag)),
        })
    }
}

impl Wire for u16 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(u64::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let number = Self::try_from(reader.number()?);
        number.map_err(|_| PeerDecodeError::Invalid("a number is too large"))
    }
}

/// Its bytes: 4 or 16.
impl Wire for IpAddr {
    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::V4(address) => writer.bytes(&address.octets()),
            Self::V6(address) => writer.bytes(&address.octets()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let bytes = reader.bytes()?;
        let four = || <[u8; 4]>::try_from(bytes).map(Self::from);
        let sixteen = || <[u8; 16]>::try_from(bytes).map(Self::from);
        let address = four().or_else(|_| sixteen());
        address.map_err(|_| PeerDecodeError::Invalid("an address has neither 4 nor 16 bytes"))
    }
}
