//! UNSUBSCRIBE: one or more Topic Filters that a Client gives up.

use std::fmt;

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, write_block, write_user_properties,
};
use crate::topic::TopicFilter;
use crate::types::{PacketIdentifier, ProtocolVersion};
use crate::wire::{Reader, Sink};

/// An UNSUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// The Packet Identifier of this request.
    pub packet_id: PacketIdentifier,
    /// 5.0 only.
    pub user_properties: UserProperties<'a>,
    /// The filters; there is at least one.
    pub filters: TopicFilters<'a>,
}

/// The filters of an UNSUBSCRIBE in their order; like [`crate::Subscriptions`], from bytes or from
/// a slice.
#[derive(Clone, Copy)]
pub struct TopicFilters<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Encoded(&'a [u8]),
    Filters(&'a [&'a str]),
}

const UNSUBSCRIBE: Allowed = Allowed::these(&[]);

impl<'a> Unsubscribe<'a> {
    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_identifier()?;
        let set = match version {
            ProtocolVersion::V5 => PropertySet::read(&mut reader, UNSUBSCRIBE, false)?,
            _ => PropertySet::default(),
        };
        if reader.is_empty() {
            return Err(Rule::EmptyUnsubscribe); // [MQTT-3.10.3-2]
        }
        let encoded = reader.rest();
        let mut filters = Reader::new(encoded);
        while !filters.is_empty() {
            TopicFilter::check(filters.text()?)?; // [MQTT-3.10.3-1] [MQTT-4.7.3-1]
        }
        let filters = TopicFilters(Source::Encoded(encoded));
        Ok(Self { packet_id, user_properties: set.user_properties(), filters })
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.two_bytes(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            write_block(self, sink);
        }
        for filter in self.filters.iter() {
            sink.prefixed(filter.as_bytes());
        }
    }
}

impl<'a> TopicFilters<'a> {
    /// Iterates over the filters.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (mut encoded, filters): (_, &[_]) = match self.0 {
            Source::Encoded(bytes) => (Reader::new(bytes), &[]),
            Source::Filters(filters) => (Reader::new(&[]), filters),
        };
        std::iter::from_fn(move || encoded.text().ok()).chain(filters.iter().copied())
    }

    /// Counts the filters.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> From<&'a [&'a str]> for TopicFilters<'a> {
    fn from(filters: &'a [&'a str]) -> Self {
        Self(Source::Filters(filters))
    }
}

impl PartialEq for TopicFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for TopicFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl HasProperties for Unsubscribe<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_user_properties(sink, self.user_properties);
    }
}
