//! Properties of MQTT 5.0: any list of them can be written, but only allowed ones are read.

use crate::wire::{Reader, Writer};

/// Identifiers of properties.
#[allow(missing_docs)] // the names are the specification's
mod identifiers {
    pub const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

pub use identifiers::*;

/// The value of a property, by its type in the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Byte(u8),
    TwoBytes(u16),
    FourBytes(u32),
    Variable(u32),
    Text(String),
    Binary(Vec<u8>),
    Pair(String, String),
}

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    identifier: u8,
    value: Value,
}

/// Makes a property whose value is a number; its identifier decides how wide the number is.
///
/// # Panics
/// When the property is not a number or the value is too large for it.
pub fn number(identifier: u8, value: u32) -> Property {
    let narrow = "the value fits the property";
    let value = match kind(identifier) {
        Kind::Byte => Value::Byte(value.try_into().expect(narrow)),
        Kind::TwoBytes => Value::TwoBytes(value.try_into().expect(narrow)),
        Kind::FourBytes => Value::FourBytes(value),
        Kind::Variable => Value::Variable(value),
        _ => panic!("property {identifier:#04x} is no number"),
    };
    Property { identifier, value }
}

/// Makes a property whose value is a UTF-8 Encoded String.
pub fn text(identifier: u8, value: &str) -> Property {
    Property { identifier, value: Value::Text(value.to_owned()) }
}

/// Makes a property whose value is Binary Data; also a way to write a string that is not UTF-8.
pub fn binary(identifier: u8, value: &[u8]) -> Property {
    Property { identifier, value: Value::Binary(value.to_vec()) }
}

/// Makes a User Property.
pub fn user(name: &str, value: &str) -> Property {
    let value = Value::Pair(name.to_owned(), value.to_owned());
    Property { identifier: USER_PROPERTY, value }
}

/// The properties of a packet, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(Vec<Property>);

impl Properties {
    /// Appends a property, whether or not the packet may have it.
    pub fn push(&mut self, property: Property) {
        self.0.push(property);
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether there is one with this identifier.
    pub fn has(&self, identifier: u8) -> bool {
        self.0.iter().any(|property| property.identifier == identifier)
    }

    /// Returns the number with this identifier.
    pub fn number(&self, identifier: u8) -> Option<u32> {
        self.numbers(identifier).first().copied()
    }

    /// Returns all numbers with this identifier, in their order.
    pub fn numbers(&self, identifier: u8) -> Vec<u32> {
        self.values(identifier).filter_map(Value::as_number).collect()
    }

    /// Returns the string with this identifier.
    pub fn text(&self, identifier: u8) -> Option<&str> {
        self.values(identifier).find_map(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns the Binary Data with this identifier.
    pub fn binary(&self, identifier: u8) -> Option<&[u8]> {
        self.values(identifier).find_map(|value| match value {
            Value::Binary(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// Returns the User Properties, in their order.
    pub fn user(&self) -> Vec<(&str, &str)> {
        let pairs = self.values(USER_PROPERTY).filter_map(|value| match value {
            Value::Pair(name, value) => Some((name.as_str(), value.as_str())),
            _ => None,
        });
        pairs.collect()
    }

    fn values(&self, identifier: u8) -> impl Iterator<Item = &Value> {
        let wanted = self.0.iter().filter(move |property| property.identifier == identifier);
        wanted.map(|property| &property.value)
    }

    /// Appends Property Length and properties to `writer`.
    pub fn write(&self, writer: Writer) -> Writer {
        let block = self.0.iter().fold(Writer::new(), |block, property| property.write(block));
        let block = block.into_bytes();
        writer.variable(block.len()).bytes(&block)
    }

    /// Reads Property Length and properties of a packet of `packet_type`.
    ///
    /// # Panics
    /// When a property does not belong in the packet, or occurs twice and may not.
    pub fn read(packet_type: u8, reader: &mut Reader<'_>) -> Self {
        let length = reader.variable() as usize;
        let mut block = Reader::new("properties", reader.take(length));
        let mut read = Self::default();
        while !block.is_empty() {
            let property = Property::read(&mut block);
            let identifier = property.identifier;
            let is_allowed = allowed_from_server(packet_type).contains(&identifier);
            assert!(is_allowed, "packet type {packet_type} with property {identifier:#04x}");
            let is_new = !read.has(identifier) || may_repeat(identifier);
            assert!(is_new, "packet type {packet_type} with property {identifier:#04x} twice");
            read.push(property);
        }
        read
    }
}

impl Value {
    fn as_number(&self) -> Option<u32> {
        match *self {
            Self::Byte(value) => Some(value.into()),
            Self::TwoBytes(value) => Some(value.into()),
            Self::FourBytes(value) | Self::Variable(value) => Some(value),
            _ => None,
        }
    }
}

impl Property {
    fn write(&self, writer: Writer) -> Writer {
        let writer = writer.u8(self.identifier);
        match &self.value {
            Value::Byte(value) => writer.u8(*value),
            Value::TwoBytes(value) => writer.u16(*value),
            Value::FourBytes(value) => writer.u32(*value),
            Value::Variable(value) => writer.variable(*value as usize),
            Value::Text(value) => writer.string(value),
            Value::Binary(value) => writer.binary(value),
            Value::Pair(name, value) => writer.string(name).string(value),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let identifier = reader.u8();
        let value = match kind(identifier) {
            Kind::Byte => Value::Byte(reader.u8()),
            Kind::TwoBytes => Value::TwoBytes(reader.u16()),
            Kind::FourBytes => Value::FourBytes(reader.u32()),
            Kind::Variable => Value::Variable(reader.variable()),
            Kind::Text => Value::Text(reader.string()),
            Kind::Binary => Value::Binary(reader.binary().to_vec()),
            Kind::Pair => Value::Pair(reader.string(), reader.string()),
        };
        Self { identifier, value }
    }
}

/// The type of a property's value in the packet.
enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    Text,
    Binary,
    Pair,
}

fn kind(identifier: u8) -> Kind {
    match identifier {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Kind::Byte,
        0x13 | 0x21 | 0x22 | 0x23 => Kind::TwoBytes,
        0x02 | 0x11 | 0x18 | 0x27 => Kind::FourBytes,
        0x0B => Kind::Variable,
        0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Kind::Text,
        0x09 | 0x16 => Kind::Binary,
        USER_PROPERTY => Kind::Pair,
        unknown => panic!("there is no property {unknown:#04x}"),
    }
}

fn may_repeat(identifier: u8) -> bool {
    identifier == USER_PROPERTY || identifier == SUBSCRIPTION_IDENTIFIER
}

fn allowed_from_server(packet_type: u8) -> &'static [u8] {
    match packet_type {
        2 => &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
            0x28, 0x29, 0x2A,
        ],
        3 => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
        14 => &[REASON_STRING, USER_PROPERTY, SERVER_REFERENCE],
        15 => &[AUTHENTICATION_METHOD, AUTHENTICATION_DATA, REASON_STRING, USER_PROPERTY],
        _ => &[REASON_STRING, USER_PROPERTY],
    }
}
