//! Packets to the Server: written as told, correct or not.
//!
//! [`Raw`] sends bytes that no builder produces.

use crate::packet::Publish;
use crate::property::{Properties, Property};
use crate::wire::{Version, Writer};

/// Subscription Options bit: No Local.
pub const NO_LOCAL: u8 = 0x04;
/// Subscription Options bit: Retain As Published.
pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
/// Subscription Options bits: Retain Handling 1, retained messages for a new subscription only.
pub const RETAIN_IF_NEW: u8 = 0x10;
/// Subscription Options bits: Retain Handling 2, no retained messages.
pub const RETAIN_NEVER: u8 = 0x20;

/// Something that can be sent.
pub trait Encode {
    /// Returns the bytes of the packet in `version`.
    fn encode(&self, version: Version) -> Vec<u8>;
}

/// Bytes that are sent as they are.
#[derive(Clone, Debug)]
pub struct Raw(pub Vec<u8>);

/// A PINGREQ.
#[derive(Clone, Copy, Debug)]
pub struct PingReq;

/// A SUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Subscribe {
    packet_id: u16,
    properties: Properties,
    filters: Vec<(String, u8)>,
}

/// An UNSUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    packet_id: u16,
    properties: Properties,
    filters: Vec<String>,
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug)]
pub struct Ack {
    first_byte: u8,
    packet_id: u16,
    end: ReasonAndProperties,
}

/// A DISCONNECT.
#[derive(Clone, Debug, Default)]
pub struct Disconnect(ReasonAndProperties);

/// An AUTH.
#[derive(Clone, Debug, Default)]
pub struct Auth(ReasonAndProperties);

#[derive(Clone, Debug, Default)]
struct ReasonAndProperties {
    reason: u8,
    properties: Properties,
}

impl Encode for Raw {
    fn encode(&self, _: Version) -> Vec<u8> {
        self.0.clone()
    }
}

impl Encode for PingReq {
    fn encode(&self, _: Version) -> Vec<u8> {
        Writer::new().packet(0xC0)
    }
}

impl Subscribe {
    /// Makes a SUBSCRIBE without filters.
    pub fn new(packet_id: u16) -> Self {
        Self { packet_id, properties: Properties::default(), filters: Vec::new() }
    }

    /// Adds a Topic Filter; `options` are the bits of the specification (in 3.1.1 the QoS).
    pub fn filter(mut self, filter: &str, options: u8) -> Self {
        self.filters.push((filter.to_owned(), options));
        self
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Subscribe {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut writer = write_header(self.packet_id, &self.properties, version);
        for (filter, options) in &self.filters {
            writer = writer.string(filter).u8(*options);
        }
        writer.packet(0x82)
    }
}

impl Unsubscribe {
    /// Makes an UNSUBSCRIBE without filters.
    pub fn new(packet_id: u16) -> Self {
        Self { packet_id, properties: Properties::default(), filters: Vec::new() }
    }

    /// Adds a Topic Filter.
    pub fn filter(mut self, filter: &str) -> Self {
        self.filters.push(filter.to_owned());
        self
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Unsubscribe {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut writer = write_header(self.packet_id, &self.properties, version);
        for filter in &self.filters {
            writer = writer.string(filter);
        }
        writer.packet(0xA2)
    }
}

/// Writes the Packet Identifier and, in 5.0, the properties.
fn write_header(packet_id: u16, properties: &Properties, version: Version) -> Writer {
    let writer = Writer::new().u16(packet_id);
    match version {
        Version::V3 => writer,
        Version::V5 => properties.write(writer),
    }
}

impl Ack {
    /// Makes a PUBACK.
    pub fn puback(packet_id: u16) -> Self {
        Self::new(0x40, packet_id)
    }

    /// Makes a PUBREC.
    pub fn pubrec(packet_id: u16) -> Self {
        Self::new(0x50, packet_id)
    }

    /// Makes a PUBREL.
    pub fn pubrel(packet_id: u16) -> Self {
        Self::new(0x62, packet_id)
    }

    /// Makes a PUBCOMP.
    pub fn pubcomp(packet_id: u16) -> Self {
        Self::new(0x70, packet_id)
    }

    fn new(first_byte: u8, packet_id: u16) -> Self {
        Self { first_byte, packet_id, end: ReasonAndProperties::default() }
    }

    /// Sets the Reason Code.
    pub fn reason(mut self, reason: u8) -> Self {
        self.end.reason = reason;
        self
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.end.properties.push(property);
        self
    }
}

impl Encode for Ack {
    fn encode(&self, version: Version) -> Vec<u8> {
        let writer = Writer::new().u16(self.packet_id);
        self.end.write(writer, version).packet(self.first_byte)
    }
}

impl Disconnect {
    /// Makes a DISCONNECT for a normal disconnection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the Reason Code.
    pub fn reason(mut self, reason: u8) -> Self {
        self.0.reason = reason;
        self
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.0.properties.push(property);
        self
    }
}

impl Encode for Disconnect {
    fn encode(&self, version: Version) -> Vec<u8> {
        self.0.write(Writer::new(), version).packet(0xE0)
    }
}

impl Auth {
    /// Makes an AUTH with this Reason Code.
    pub fn new(reason: u8) -> Self {
        Self(ReasonAndProperties { reason, properties: Properties::default() })
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.0.properties.push(property);
        self
    }
}

impl Encode for Auth {
    fn encode(&self, version: Version) -> Vec<u8> {
        self.0.write(Writer::new(), version).packet(0xF0)
    }
}

impl ReasonAndProperties {
    /// Writes the shortest form, and nothing in 3.1.1.
    fn write(&self, writer: Writer, version: Version) -> Writer {
        let is_success = self.reason == 0 && self.properties.is_empty();
        if version == Version::V3 || is_success {
            return writer;
        }
        let writer = writer.u8(self.reason);
        if self.properties.is_empty() { writer } else { self.properties.write(writer) }
    }
}

impl Publish {
    /// Makes a QoS 0 PUBLISH.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self {
            dup: false,
            qos: 0,
            retain: false,
            topic: topic.to_owned(),
            packet_id: None,
            properties: Properties::default(),
            payload: payload.as_ref().to_vec(),
        }
    }

    /// Makes it QoS 1 with this Packet Identifier.
    pub fn qos_1(mut self, packet_id: u16) -> Self {
        self.qos = 1;
        self.packet_id = Some(packet_id);
        self
    }

    /// Makes it QoS 2 with this Packet Identifier.
    pub fn qos_2(mut self, packet_id: u16) -> Self {
        self.qos = 2;
        self.packet_id = Some(packet_id);
        self
    }

    /// Sets RETAIN.
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Sets DUP.
    pub fn duplicate(mut self) -> Self {
        self.dup = true;
        self
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

impl Encode for Publish {
    fn encode(&self, version: Version) -> Vec<u8> {
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let mut writer = Writer::new().string(&self.topic);
        if let Some(packet_id) = self.packet_id {
            writer = writer.u16(packet_id);
        }
        if version == Version::V5 {
            writer = self.properties.write(writer);
        }
        writer.bytes(&self.payload).packet(0x30 | flags)
    }
}
