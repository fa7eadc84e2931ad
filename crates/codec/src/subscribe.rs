//! SUBSCRIBE: one or more Topic Filters with their options.

use std::fmt;
use std::num::NonZeroU32;

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_block, write_identifier,
    write_user_properties,
};
use crate::topic::TopicFilter;
use crate::types::{PacketIdentifier, ProtocolVersion, QoS};
use crate::wire::{Reader, Sink};

/// A SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// Of this request.
    pub packet_id: PacketIdentifier,
    /// 1 to 268,435,455; absent before 5.0.
    pub subscription_identifier: Option<NonZeroU32>,
    /// 5.0 only.
    pub user_properties: UserProperties<'a>,
    /// The filters; there is at least one.
    pub subscriptions: Subscriptions<'a>,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subscription<'a> {
    /// The filter as sent; that it is well-formed was checked. One that is well-formed but not
    /// allowed fails alone, with a Reason Code in the SUBACK.
    pub filter: &'a str,
    /// What is asked for besides the filter.
    pub options: SubscriptionOptions,
}

/// Subscription Options; before 5.0 only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// Maximum QoS of messages that are sent because of it.
    pub qos: QoS,
    /// Do not send back what this Client published.
    pub no_local: bool,
    /// Keep RETAIN as the publisher set it.
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// When a subscription makes the Server send retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    SendAtSubscribe = 0,
    /// Only if the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// The entries of a SUBSCRIBE in their order: validated bytes of a received packet, or a slice of
/// entries to be sent. Iterating allocates nothing.
#[derive(Clone, Copy)]
pub struct Subscriptions<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Encoded(&'a [u8]),
    Entries(&'a [Subscription<'a>]),
}

const SUBSCRIBE: Allowed = Allowed::these(&[id::SUBSCRIPTION_IDENTIFIER]);

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let packet_id = PacketIdentifier::read(&mut reader)?;
        let set = match version {
            ProtocolVersion::V5 => PropertySet::read(&mut reader, SUBSCRIBE, false)?,
            _ => PropertySet::default(),
        };
        let encoded = reader.rest();
        check_entries(encoded, version)?;
        Ok(Self {
            packet_id,
            subscription_identifier: set.subscription_identifier,
            user_properties: set.user_properties(),
            subscriptions: Subscriptions(Source::Encoded(encoded)),
        })
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.two_bytes(self.packet_id.get());
        let is_v5 = version == ProtocolVersion::V5;
        if is_v5 {
            write_block(self, sink);
        }
        for subscription in self.subscriptions.iter() {
            sink.prefixed(subscription.filter.as_bytes());
            let options = subscription.options.to_byte();
            sink.byte(if is_v5 { options } else { options & 0b11 });
        }
    }
}

/// [MQTT-3.8.3-1] [MQTT-3.8.3-2] [MQTT-3.8.3-5]
fn check_entries(encoded: &[u8], version: ProtocolVersion) -> Result<(), Rule> {
    let mut reader = Reader::new(encoded);
    if reader.is_empty() {
        return Err(Rule::EmptySubscribe);
    }
    while !reader.is_empty() {
        let filter = reader.text()?;
        let byte = reader.byte()?;
        TopicFilter::check(filter)?; // [MQTT-4.7.1-1] [MQTT-4.7.3-1] [MQTT-4.8.2-2]
        let reserved = if version == ProtocolVersion::V5 { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 || byte >> 4 == 3 {
            return Err(Rule::SubscriptionOptions);
        }
        let options = SubscriptionOptions::from_byte(byte).ok_or(Rule::QoS3)?;
        // `$queue/` is Midge's other name for a shared subscription.
        let is_shared = filter.starts_with("$share/") || filter.starts_with("$queue/");
        if options.no_local && is_shared {
            return Err(Rule::NoLocalShared); // [MQTT-3.8.3-4]
        }
    }
    Ok(())
}

impl SubscriptionOptions {
    /// The options byte of MQTT 5.0.
    pub fn to_byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }

    /// Reads the options byte of MQTT 5.0; `None` if its QoS or Retain Handling is 3. Reserved
    /// bits are not looked at.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(Self {
            qos: QoS::from_bits(byte & 0b11)?,
            no_local: byte & 0b100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling: match byte >> 4 & 0b11 {
                0 => RetainHandling::SendAtSubscribe,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return None,
            },
        })
    }
}

impl<'a> Subscriptions<'a> {
    /// The entries.
    pub fn iter(self) -> impl Iterator<Item = Subscription<'a>> {
        let (mut encoded, entries): (_, &[_]) = match self.0 {
            Source::Encoded(bytes) => (Reader::new(bytes), &[]),
            Source::Entries(entries) => (Reader::new(&[]), entries),
        };
        let decoded = std::iter::from_fn(move || {
            let filter = encoded.text().ok()?;
            let options = SubscriptionOptions::from_byte(encoded.byte().ok()?)?;
            Some(Subscription { filter, options })
        });
        decoded.chain(entries.iter().copied())
    }

    /// How many there are; counts them.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> From<&'a [Subscription<'a>]> for Subscriptions<'a> {
    fn from(entries: &'a [Subscription<'a>]) -> Self {
        Self(Source::Entries(entries))
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl HasProperties for Subscribe<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        if let Some(identifier) = self.subscription_identifier {
            write_identifier(sink, identifier);
        }
        write_user_properties(sink, self.user_properties);
    }
}
