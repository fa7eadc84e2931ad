//! Properties of MQTT 5.0 (section 2.2.2): one parser for the blocks of all packets, and views of
//! the two properties that may occur many times.
//!
//! User Properties and Subscription Identifiers stay encoded. They are views over a validated block
//! that skip other properties, so a packet with many of them costs no allocation.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use crate::error::Rule;
use crate::reason_code::ReasonCode;
use crate::topic::TopicName;
use crate::types::QoS;
use crate::wire::{Length, Reader, Sink};

/// The User Properties of a packet in their order: a view over an encoded, validated block of
/// properties (other properties in the block are skipped).
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    block: &'a [u8],
}

/// An owned, growing list of User Properties; [`UserPropertiesBuf::view`] is what packets take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    encoded: Vec<u8>,
}

/// The Subscription Identifiers of a PUBLISH: a view like [`UserProperties`].
#[derive(Clone, Copy, Default)]
pub struct SubscriptionIdentifiers<'a> {
    block: &'a [u8],
}

/// An owned, growing list of Subscription Identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionIdentifiersBuf {
    encoded: Vec<u8>,
}

/// Property identifiers (MQTT 5.0, table 2-4).
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

/// A set of property identifiers: those that a packet may have.
#[derive(Clone, Copy)]
pub(crate) struct Allowed(u64);

impl Allowed {
    pub(crate) const fn these(ids: &[u8]) -> Self {
        let mut set = 1 << id::USER_PROPERTY;
        let mut index = 0;
        while index < ids.len() {
            set |= 1 << ids[index];
            index += 1;
        }
        Self(set)
    }

    fn contains(self, property: u8) -> bool {
        property < 64 && self.0 & 1 << property != 0
    }
}

/// Everything that one block of properties can say. Each packet takes what is its own.
#[derive(Clone, Copy, Default)]
pub(crate) struct PropertySet<'a> {
    pub(crate) payload_format_indicator: Option<bool>,
    pub(crate) message_expiry_interval: Option<u32>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) response_topic: Option<TopicName<'a>>,
    pub(crate) correlation_data: Option<&'a [u8]>,
    pub(crate) subscription_identifier: Option<NonZeroU32>,
    pub(crate) session_expiry_interval: Option<u32>,
    pub(crate) assigned_client_identifier: Option<&'a str>,
    pub(crate) server_keep_alive: Option<u16>,
    pub(crate) authentication_method: Option<&'a str>,
    pub(crate) authentication_data: Option<&'a [u8]>,
    pub(crate) request_problem_information: Option<bool>,
    pub(crate) will_delay_interval: Option<u32>,
    pub(crate) request_response_information: Option<bool>,
    pub(crate) response_information: Option<&'a str>,
    pub(crate) server_reference: Option<&'a str>,
    pub(crate) reason_string: Option<&'a str>,
    pub(crate) receive_maximum: Option<NonZeroU16>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) topic_alias: Option<NonZeroU16>,
    pub(crate) maximum_qos: Option<QoS>,
    pub(crate) retain_available: Option<bool>,
    pub(crate) maximum_packet_size: Option<NonZeroU32>,
    pub(crate) wildcard_subscription_available: Option<bool>,
    pub(crate) subscription_identifiers_available: Option<bool>,
    pub(crate) shared_subscription_available: Option<bool>,
    block: &'a [u8],
}

impl<'a> PropertySet<'a> {
    /// Reads a Property Length and the properties behind it.
    ///
    /// `many_identifiers`: the Subscription Identifier may occur more than once (PUBLISH).
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        allowed: Allowed,
        many_identifiers: bool,
    ) -> Result<Self, Rule> {
        let length = reader.variable()?;
        Self::read_block(reader.take(length)?, allowed, many_identifiers)
    }

    /// Reads properties that fill `block`.
    pub(crate) fn read_block(
        block: &'a [u8],
        allowed: Allowed,
        many_identifiers: bool,
    ) -> Result<Self, Rule> {
        let mut set = Self { block, ..Self::default() };
        let mut seen = 0_u64;
        let mut rest = Reader::new(block);
        while !rest.is_empty() {
            let property = rest.variable()?;
            let property = u8::try_from(property).map_err(|_| Rule::PropertyNotAllowed)?;
            if !allowed.contains(property) {
                return Err(Rule::PropertyNotAllowed);
            }
            let repeats = property == id::USER_PROPERTY
                || property == id::SUBSCRIPTION_IDENTIFIER && many_identifiers;
            if seen & 1 << property != 0 && !repeats {
                return Err(Rule::DuplicateProperty);
            }
            seen |= 1 << property;
            set.read_one(property, &mut rest)?;
        }
        if set.authentication_data.is_some() && set.authentication_method.is_none() {
            return Err(Rule::AuthenticationDataAlone);
        }
        Ok(set)
    }

    pub(crate) fn user_properties(&self) -> UserProperties<'a> {
        UserProperties { block: self.block }
    }

    pub(crate) fn subscription_identifiers(&self) -> SubscriptionIdentifiers<'a> {
        SubscriptionIdentifiers { block: self.block }
    }

    fn read_one(&mut self, property: u8, from: &mut Reader<'a>) -> Result<(), Rule> {
        match property {
            id::PAYLOAD_FORMAT_INDICATOR => self.payload_format_indicator = Some(flag(from)?),
            id::MESSAGE_EXPIRY_INTERVAL => self.message_expiry_interval = Some(from.four_bytes()?),
            id::CONTENT_TYPE => self.content_type = Some(from.text()?),
            id::RESPONSE_TOPIC => self.response_topic = Some(response_topic(from)?),
            id::CORRELATION_DATA => self.correlation_data = Some(from.binary()?),
            id::SUBSCRIPTION_IDENTIFIER => {
                self.subscription_identifier = Some(subscription_identifier(from)?);
            }
            id::SESSION_EXPIRY_INTERVAL => self.session_expiry_interval = Some(from.four_bytes()?),
            id::ASSIGNED_CLIENT_IDENTIFIER => self.assigned_client_identifier = Some(from.text()?),
            id::SERVER_KEEP_ALIVE => self.server_keep_alive = Some(from.two_bytes()?),
            id::AUTHENTICATION_METHOD => self.authentication_method = Some(from.text()?),
            id::AUTHENTICATION_DATA => self.authentication_data = Some(from.binary()?),
            id::WILL_DELAY_INTERVAL => self.will_delay_interval = Some(from.four_bytes()?),
            id::RESPONSE_INFORMATION => self.response_information = Some(from.text()?),
            id::SERVER_REFERENCE => self.server_reference = Some(from.text()?),
            id::REASON_STRING => self.reason_string = Some(from.text()?),
            id::USER_PROPERTY => {
                from.text()?;
                from.text()?;
            }
            _ => self.read_capability(property, from)?,
        }
        Ok(())
    }

    fn read_capability(&mut self, property: u8, from: &mut Reader<'a>) -> Result<(), Rule> {
        match property {
            id::REQUEST_PROBLEM_INFORMATION => {
                self.request_problem_information = Some(flag(from)?);
            }
            id::REQUEST_RESPONSE_INFORMATION => {
                self.request_response_information = Some(flag(from)?);
            }
            id::RECEIVE_MAXIMUM => {
                let maximum = NonZeroU16::new(from.two_bytes()?);
                self.receive_maximum = Some(maximum.ok_or(Rule::PropertyValue)?);
            }
            id::TOPIC_ALIAS_MAXIMUM => self.topic_alias_maximum = Some(from.two_bytes()?),
            id::TOPIC_ALIAS => {
                let alias = NonZeroU16::new(from.two_bytes()?);
                self.topic_alias = Some(alias.ok_or(Rule::TopicAliasZero)?); // [MQTT-3.3.2-8]
            }
            id::MAXIMUM_QOS => {
                let qos = if flag(from)? { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                self.maximum_qos = Some(qos);
            }
            id::RETAIN_AVAILABLE => self.retain_available = Some(flag(from)?),
            id::MAXIMUM_PACKET_SIZE => {
                let size = NonZeroU32::new(from.four_bytes()?);
                self.maximum_packet_size = Some(size.ok_or(Rule::PropertyValue)?);
            }
            id::WILDCARD_SUBSCRIPTION_AVAILABLE => {
                self.wildcard_subscription_available = Some(flag(from)?);
            }
            id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE => {
                self.subscription_identifiers_available = Some(flag(from)?);
            }
            id::SHARED_SUBSCRIPTION_AVAILABLE => {
                self.shared_subscription_available = Some(flag(from)?);
            }
            _ => return Err(Rule::PropertyNotAllowed),
        }
        Ok(())
    }
}

/// Something that has properties and writes them to a sink, in any order it likes.
pub(crate) trait HasProperties {
    fn write_properties(&self, sink: &mut impl Sink);
}

/// Writes the Property Length and the properties.
#[inline]
pub(crate) fn write_block(source: &impl HasProperties, sink: &mut impl Sink) {
    let mut length = Length::default();
    source.write_properties(&mut length);
    sink.variable(length.bytes);
    source.write_properties(sink);
}

/// Writes the end of a packet that says why: its Reason Code and its properties. The properties are
/// left out if there are none, and then the Reason Code, too, if it is Success.
#[inline]
pub(crate) fn write_reason(code: ReasonCode, source: &impl HasProperties, sink: &mut impl Sink) {
    let mut length = Length::default();
    source.write_properties(&mut length);
    let is_bare = length.bytes == 0;
    if code != ReasonCode::Success || !is_bare {
        sink.byte(code as u8);
    }
    if !is_bare {
        write_block(source, sink);
    }
}

pub(crate) fn write_flag(sink: &mut impl Sink, property: u8, value: Option<bool>) {
    if let Some(value) = value {
        sink.byte(property);
        sink.byte(u8::from(value));
    }
}

pub(crate) fn write_two_bytes(sink: &mut impl Sink, property: u8, value: Option<u16>) {
    if let Some(value) = value {
        sink.byte(property);
        sink.two_bytes(value);
    }
}

pub(crate) fn write_four_bytes(sink: &mut impl Sink, property: u8, value: Option<u32>) {
    if let Some(value) = value {
        sink.byte(property);
        sink.four_bytes(value);
    }
}

pub(crate) fn write_binary(sink: &mut impl Sink, property: u8, value: Option<&[u8]>) {
    if let Some(value) = value {
        sink.byte(property);
        sink.prefixed(value);
    }
}

pub(crate) fn write_text(sink: &mut impl Sink, property: u8, value: Option<&str>) {
    write_binary(sink, property, value.map(str::as_bytes));
}

pub(crate) fn write_identifier(sink: &mut impl Sink, value: NonZeroU32) {
    sink.byte(id::SUBSCRIPTION_IDENTIFIER);
    sink.variable(value.get() as usize);
}

pub(crate) fn write_user_properties(sink: &mut impl Sink, properties: UserProperties<'_>) {
    for (name, value) in properties.iter() {
        sink.byte(id::USER_PROPERTY);
        sink.prefixed(name.as_bytes());
        sink.prefixed(value.as_bytes());
    }
}

impl<'a> UserProperties<'a> {
    /// Iterates over names and values in their order [MQTT-3.1.3-10] [MQTT-3.3.2-18].
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut properties = BlockIter(Reader::new(self.block));
        std::iter::from_fn(move || {
            properties.find_map(|property| match property {
                Repeated::User(name, value) => Some((name, value)),
                _ => None,
            })
        })
    }

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Counts the User Properties.
    pub fn len(self) -> usize {
        self.iter().count()
    }
}

impl UserPropertiesBuf {
    /// Adds one at the end.
    ///
    /// # Panics
    ///
    /// If name or value is longer than 65,535 bytes.
    pub fn push(&mut self, name: &str, value: &str) {
        let fits = |text: &str| text.len() <= usize::from(u16::MAX);
        assert!(fits(name) && fits(value), "a User Property is at most 65,535 bytes long");
        self.encoded.byte(id::USER_PROPERTY);
        self.encoded.prefixed(name.as_bytes());
        self.encoded.prefixed(value.as_bytes());
    }

    /// Returns the list as packets take it.
    pub fn view(&self) -> UserProperties<'_> {
        UserProperties { block: &self.encoded }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for UserPropertiesBuf {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let mut list = Self::default();
        for (name, value) in pairs {
            list.push(name, value);
        }
        list
    }
}

impl<'a> SubscriptionIdentifiers<'a> {
    /// Iterates over the identifiers in their order.
    pub fn iter(self) -> impl Iterator<Item = NonZeroU32> + 'a {
        let mut properties = BlockIter(Reader::new(self.block));
        std::iter::from_fn(move || {
            properties.find_map(|property| match property {
                Repeated::Identifier(identifier) => Some(identifier),
                _ => None,
            })
        })
    }

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl SubscriptionIdentifiersBuf {
    /// Adds one at the end.
    ///
    /// # Panics
    ///
    /// If it is more than 268,435,455.
    pub fn push(&mut self, identifier: NonZeroU32) {
        let fits = identifier.get() as usize <= crate::wire::VARIABLE_MAX;
        assert!(fits, "a Subscription Identifier is at most 268,435,455");
        write_identifier(&mut self.encoded, identifier);
    }

    /// Returns the list as packets take it.
    pub fn view(&self) -> SubscriptionIdentifiers<'_> {
        SubscriptionIdentifiers { block: &self.encoded }
    }
}

impl FromIterator<NonZeroU32> for SubscriptionIdentifiersBuf {
    fn from_iter<T: IntoIterator<Item = NonZeroU32>>(identifiers: T) -> Self {
        let mut list = Self::default();
        identifiers.into_iter().for_each(|identifier| list.push(identifier));
        list
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for SubscriptionIdentifiers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for SubscriptionIdentifiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates over the properties of a validated block. Only the repeatable ones are given with their
/// values.
struct BlockIter<'a>(Reader<'a>);

enum Repeated<'a> {
    User(&'a str, &'a str),
    Identifier(NonZeroU32),
    Other,
}

impl<'a> Iterator for BlockIter<'a> {
    type Item = Repeated<'a>;

    /// Ends early, rather than panics, on a block that was not validated.
    fn next(&mut self) -> Option<Repeated<'a>> {
        let from = &mut self.0;
        Some(match from.byte().ok()? {
            id::USER_PROPERTY => Repeated::User(from.text().ok()?, from.text().ok()?),
            id::SUBSCRIPTION_IDENTIFIER => {
                Repeated::Identifier(subscription_identifier(from).ok()?)
            }
            property => {
                skip(property, from).ok()?;
                Repeated::Other
            }
        })
    }
}

fn skip(property: u8, from: &mut Reader<'_>) -> Result<(), Rule> {
    match property {
        id::MESSAGE_EXPIRY_INTERVAL
        | id::SESSION_EXPIRY_INTERVAL
        | id::WILL_DELAY_INTERVAL
        | id::MAXIMUM_PACKET_SIZE => from.take(4)?,
        id::SERVER_KEEP_ALIVE | id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::TOPIC_ALIAS => {
            from.take(2)?
        }
        id::CONTENT_TYPE
        | id::RESPONSE_TOPIC
        | id::CORRELATION_DATA
        | id::ASSIGNED_CLIENT_IDENTIFIER
        | id::AUTHENTICATION_METHOD
        | id::AUTHENTICATION_DATA
        | id::RESPONSE_INFORMATION
        | id::SERVER_REFERENCE
        | id::REASON_STRING => from.binary()?,
        _ => from.take(1)?,
    };
    Ok(())
}

fn flag(from: &mut Reader<'_>) -> Result<bool, Rule> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Rule::PropertyValue),
    }
}

fn response_topic<'a>(from: &mut Reader<'a>) -> Result<TopicName<'a>, Rule> {
    match TopicName::from_wire(from.binary()?) {
        Ok(name) if name.as_str().is_empty() => Err(Rule::ResponseTopic), // [MQTT-4.7.3-1]
        Err(Rule::TopicWildcard) => Err(Rule::ResponseTopic),             // [MQTT-3.3.2-14]
        other => other,
    }
}

fn subscription_identifier(from: &mut Reader<'_>) -> Result<NonZeroU32, Rule> {
    NonZeroU32::new(from.variable()? as u32).ok_or(Rule::PropertyValue)
}
