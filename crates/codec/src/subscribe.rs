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
    /// The Packet Identifier of this request.
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
    /// The filter as sent, checked to be well-formed. A filter that is well-formed but not allowed
    /// fails alone, with a Reason Code in the SUBACK.
    pub filter: &'a str,
    /// What the Client asks for besides the filter.
    pub options: SubscriptionOptions,
}

/// Subscription Options; before 5.0 only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The maximum QoS of messages that are sent for this subscription.
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
    /// The encoded entries, and a mask of the option bits that mean something.
    Encoded(&'a [u8], u8),
    Entries(&'a [Subscription<'a>]),
}

const SUBSCRIBE: Allowed = Allowed::these(&[id::SUBSCRIPTION_IDENTIFIER]);

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_identifier()?;
        let set = match version {
            ProtocolVersion::V5 => PropertySet::read(&mut reader, SUBSCRIBE, false)?,
            _ => PropertySet::default(),
        };
        let encoded = reader.rest();
        check_entries(encoded, version)?;
        // MQTT 3.1 says nothing about the bits above the QoS, so nobody looks at them.
        let mask = if version == ProtocolVersion::V3_1 { 0b11 } else { u8::MAX };
        Ok(Self {
            packet_id,
            subscription_identifier: set.subscription_identifier,
            user_properties: set.user_properties(),
            subscriptions: Subscriptions(Source::Encoded(encoded, mask)),
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
        let (byte, reserved) = match version {
            ProtocolVersion::V5 => (byte, 0b1100_0000),
            ProtocolVersion::V3_1 => (byte & 0b11, 0),
            ProtocolVersion::V3_1_1 => (byte, 0b1111_1100),
        };
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
    /// Returns the options byte of MQTT 5.0.
    pub fn to_byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }

    /// Reads the options byte of MQTT 5.0; `None` if its QoS or Retain Handling is 3. Reserved bits
    /// are ignored.
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
    /// Iterates over the entries.
    pub fn iter(self) -> impl Iterator<Item = Subscription<'a>> {
        let (mut encoded, mask, entries): (_, _, &[_]) = match self.0 {
            Source::Encoded(bytes, mask) => (Reader::new(bytes), mask, &[]),
            Source::Entries(entries) => (Reader::new(&[]), 0, entries),
        };
        let decoded = std::iter::from_fn(move || {
            let filter = encoded.text().ok()?;
            let options = SubscriptionOptions::from_byte(encoded.byte().ok()? & mask)?;
            Some(Subscription { filter, options })
        });
        decoded.chain(entries.iter().copied())
    }

    /// Counts the entries.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Returns whether there is none.
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

#[cfg(test)]
mod tests {
    use crate::error::Rule;
    use crate::packet::{Decoded, Packet, decode};
    use crate::types::{ProtocolVersion, QoS};

    /// Returns the QoS that one entry with this filter and this last byte asks for.
    fn asked(filter: &str, byte: u8, version: ProtocolVersion) -> Result<QoS, Rule> {
        let mut bytes = vec![0x82, 0, 0, 1];
        if version == ProtocolVersion::V5 {
            bytes.push(0);
        }
        bytes.extend([0, filter.len() as u8]);
        bytes.extend(filter.as_bytes());
        bytes.push(byte);
        bytes[1] = bytes.len() as u8 - 2;
        match decode(&bytes, version, u32::MAX) {
            Ok(Decoded::Packet { packet: Packet::Subscribe(subscribe), .. }) => {
                assert_eq!(subscribe.subscriptions.len(), 1);
                Ok(subscribe.subscriptions.iter().next().expect("one").options.qos)
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.rule),
        }
    }

    #[test]
    fn bits_above_the_qos_mean_nothing_in_3_1_and_are_reserved_in_3_1_1() {
        use ProtocolVersion::{V3_1, V3_1_1};
        for upper in [0b100, 0b11_0000, 0b1000_0000, 0b1111_1100] {
            for (bits, qos) in [(0, QoS::AtMostOnce), (1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)]
            {
                assert_eq!(asked("a", upper | bits, V3_1), Ok(qos), "{upper:b}");
                let reserved = Err(Rule::SubscriptionOptions);
                assert_eq!(asked("a", upper | bits, V3_1_1), reserved, "{upper:b}");
            }
            assert_eq!(asked("a", upper | 3, V3_1), Err(Rule::QoS3));
            assert_eq!(asked("$share/g/a", upper, V3_1), Ok(QoS::AtMostOnce), "no No Local");
        }
    }

    #[test]
    fn the_filter_behind_a_prefix_is_not_empty() {
        for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
            for filter in ["", "$queue/", "$exclusive/"] {
                assert_eq!(asked(filter, 0, version), Err(Rule::EmptyFilter), "{filter}");
            }
            for filter in ["$queue//", "$exclusive/a", "$queue"] {
                assert_eq!(asked(filter, 0, version), Ok(QoS::AtMostOnce), "{filter}");
            }
        }
    }
}
