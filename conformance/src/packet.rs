//! Packets from the Server, read strictly: a violation of the specification panics here, so every
//! test also proves the format of everything that it receives.

use crate::property::Properties;
use crate::reason;
use crate::wire::{Reader, Version, variable};

/// A packet that a Server may send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the specification's
pub enum Packet {
    ConnAck(ConnAck),
    Publish(Publish),
    PubAck(Acknowledged),
    PubRec(Acknowledged),
    PubRel(Acknowledged),
    PubComp(Acknowledged),
    SubAck(Granted),
    UnsubAck(Granted),
    PingResp,
    Disconnect(Disconnected),
    Auth(Disconnected),
}

/// A CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Session Present.
    pub session_present: bool,
    /// The Reason Code or, in 3.1.1, the return code.
    pub reason: u8,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
}

/// A PUBLISH, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the specification's
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub packet_id: Option<u16>,
    pub properties: Properties,
    pub payload: Vec<u8>,
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP from the Server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Acknowledged {
    pub packet_id: u16,
    pub reason: u8,
    pub properties: Properties,
}

/// A SUBACK or UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Granted {
    pub packet_id: u16,
    pub properties: Properties,
    /// One code for each Topic Filter; empty in a 3.1.1 UNSUBACK.
    pub reasons: Vec<u8>,
}

/// A DISCONNECT or AUTH from the Server: a Reason Code with properties.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Disconnected {
    pub reason: u8,
    pub properties: Properties,
}

/// Removes the first complete packet from `inbox`; returns `None` while there is none.
pub fn take_packet(inbox: &mut Vec<u8>, version: Version) -> Option<Packet> {
    let (&first_byte, rest) = inbox.split_first()?;
    let (remaining, length_bytes) = variable(rest)?;
    let start = 1 + length_bytes;
    let end = start + remaining as usize;
    if inbox.len() < end {
        return None;
    }
    let packet = read(first_byte, &inbox[start..end], version);
    inbox.drain(..end);
    Some(packet)
}

fn read(first_byte: u8, body: &[u8], version: Version) -> Packet {
    let packet_type = first_byte >> 4;
    let expected_flags = if packet_type == 6 { 0b0010 } else { 0 };
    let flags = first_byte & 0x0F;
    assert!(packet_type == 3 || flags == expected_flags, "flags {flags:04b} in {first_byte:02x}");
    match packet_type {
        2 => Packet::ConnAck(ConnAck::read(body, version)),
        3 => Packet::Publish(Publish::read(flags, body, version)),
        4 => Packet::PubAck(Acknowledged::read(packet_type, body, version)),
        5 => Packet::PubRec(Acknowledged::read(packet_type, body, version)),
        6 => Packet::PubRel(Acknowledged::read(packet_type, body, version)),
        7 => Packet::PubComp(Acknowledged::read(packet_type, body, version)),
        9 => Packet::SubAck(Granted::read(packet_type, body, version)),
        11 => Packet::UnsubAck(Granted::read(packet_type, body, version)),
        13 if body.is_empty() => Packet::PingResp,
        14 if version == Version::V5 => Packet::Disconnect(Disconnected::read(packet_type, body)),
        15 if version == Version::V5 => Packet::Auth(Disconnected::read(packet_type, body)),
        _ => panic!("no packet for a Server to send: {first_byte:02x} {body:02x?}"),
    }
}

fn allowed_reason(packet_type: u8, reason: u8) -> u8 {
    let is_allowed = reason::allowed_from_server(packet_type).contains(&reason);
    assert!(is_allowed, "packet type {packet_type} with Reason Code {reason:#04x}");
    reason
}

fn read_properties(packet_type: u8, reader: &mut Reader<'_>, version: Version) -> Properties {
    match version {
        Version::V3 => Properties::default(),
        Version::V5 => Properties::read(packet_type, reader),
    }
}

/// Reads the end of a packet that may stop before its Reason Code or before its properties.
fn read_reason_and_properties(packet_type: u8, mut reader: Reader<'_>) -> (u8, Properties) {
    if reader.is_empty() {
        return (0, Properties::default());
    }
    let reason = allowed_reason(packet_type, reader.u8());
    if reader.is_empty() {
        return (reason, Properties::default());
    }
    let properties = Properties::read(packet_type, &mut reader);
    reader.finish();
    (reason, properties)
}

impl ConnAck {
    fn read(body: &[u8], version: Version) -> Self {
        let mut reader = Reader::new("CONNACK", body);
        let flags = reader.u8();
        assert_eq!(flags & 0xFE, 0, "CONNACK: reserved bits in {flags:08b}");
        let reason = reader.u8();
        let is_listed = match version {
            Version::V3 => reason <= 5,
            Version::V5 => reason::allowed_from_server(2).contains(&reason),
        };
        assert!(is_listed, "CONNACK: reason {reason:#04x}");
        let properties = read_properties(2, &mut reader, version);
        reader.finish();
        let session_present = flags & 1 != 0;
        assert!(reason == 0 || !session_present, "CONNACK: Session Present beside {reason:#04x}");
        Self { session_present, reason, properties }
    }
}

impl Publish {
    fn read(flags: u8, body: &[u8], version: Version) -> Self {
        let mut reader = Reader::new("PUBLISH", body);
        let qos = flags >> 1 & 3;
        let dup = flags & 0b1000 != 0;
        assert_ne!(qos, 3, "PUBLISH: both QoS bits set");
        assert!(qos > 0 || !dup, "PUBLISH: DUP at QoS 0");
        let topic = reader.string();
        assert!(!topic.contains(['+', '#']), "PUBLISH: wildcards in {topic:?}");
        let packet_id = (qos > 0).then(|| reader.packet_id());
        let properties = read_properties(3, &mut reader, version);
        let payload = reader.remainder().to_vec();
        Self { dup, qos, retain: flags & 1 != 0, topic, packet_id, properties, payload }
    }

    /// Returns the payload as text, for comparisons.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a payload of text")
    }

    /// Returns the Packet Identifier of a PUBLISH above QoS 0.
    ///
    /// # Panics
    /// When this is a QoS 0 PUBLISH.
    pub fn id(&self) -> u16 {
        self.packet_id.unwrap_or_else(|| panic!("QoS 0 where an identifier is needed: {self:?}"))
    }
}

impl Acknowledged {
    fn read(packet_type: u8, body: &[u8], version: Version) -> Self {
        let mut reader = Reader::new("acknowledgement", body);
        let packet_id = reader.packet_id();
        if version == Version::V3 {
            reader.finish();
            return Self { packet_id, reason: 0, properties: Properties::default() };
        }
        let (reason, properties) = read_reason_and_properties(packet_type, reader);
        Self { packet_id, reason, properties }
    }
}

impl Granted {
    fn read(packet_type: u8, body: &[u8], version: Version) -> Self {
        let mut reader = Reader::new("SUBACK or UNSUBACK", body);
        let packet_id = reader.packet_id();
        let properties = read_properties(packet_type, &mut reader, version);
        let reasons = reader.remainder().to_vec();
        for &reason in &reasons {
            let is_listed = match version {
                Version::V3 => packet_type == 9 && matches!(reason, 0..=2 | 0x80),
                Version::V5 => reason::allowed_from_server(packet_type).contains(&reason),
            };
            assert!(is_listed, "packet type {packet_type} with reason {reason:#04x}");
        }
        Self { packet_id, properties, reasons }
    }
}

impl Disconnected {
    fn read(packet_type: u8, body: &[u8]) -> Self {
        let reader = Reader::new("DISCONNECT or AUTH", body);
        let (reason, properties) = read_reason_and_properties(packet_type, reader);
        Self { reason, properties }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property::{TOPIC_ALIAS, number, user};
    use crate::request::Encode;

    fn take(bytes: &[u8], version: Version) -> Option<Packet> {
        take_packet(&mut bytes.to_vec(), version)
    }

    #[test]
    fn reads_what_it_writes() {
        let publish = Publish::new("a/b", "payload").qos_2(7).duplicate().retained();
        let plain = Packet::Publish(publish.clone());
        assert_eq!(take(&publish.encode(Version::V3), Version::V3), Some(plain));
        let publish = publish.with(number(TOPIC_ALIAS, 9)).with(user("name", "value"));
        let bytes = publish.encode(Version::V5);
        assert_eq!(take(&bytes, Version::V5), Some(Packet::Publish(publish)));
    }

    #[test]
    fn waits_for_a_whole_packet() {
        let bytes = Publish::new("a/b", "payload").encode(Version::V5);
        for length in 0..bytes.len() {
            assert_eq!(take(&bytes[..length], Version::V5), None, "{length} bytes");
        }
    }

    #[test]
    fn panics_at_what_a_server_must_not_send() {
        let wrong: &[(&str, &[u8])] = &[
            ("a reserved CONNACK flag", &[0x20, 0x03, 0x02, 0x00, 0x00]),
            ("Session Present beside a refusal", &[0x20, 0x03, 0x01, 0x87, 0x00]),
            ("an unlisted Reason Code of CONNACK", &[0x20, 0x03, 0x00, 0x01, 0x00]),
            ("no Property Length", &[0x20, 0x02, 0x00, 0x00]),
            ("a needless byte of length", &[0xD0, 0x80, 0x00]),
            ("flags of PINGRESP", &[0xD1, 0x00]),
            ("DUP at QoS 0", &[0x38, 0x04, 0x00, 0x01, b'a', 0x00]),
            ("both QoS bits", &[0x36, 0x06, 0x00, 0x01, b'a', 0x00, 0x01, 0x00]),
            ("a wildcard in a Topic Name", &[0x30, 0x04, 0x00, 0x01, b'#', 0x00]),
            ("U+0000", &[0x30, 0x04, 0x00, 0x01, 0x00, 0x00]),
            ("Packet Identifier 0", &[0x40, 0x02, 0x00, 0x00]),
            ("a Session Expiry Interval", &[0xE0, 0x07, 0x00, 0x05, 0x11, 0, 0, 0, 1]),
            ("a packet of a Client", &[0xC0, 0x00]),
        ];
        for (what, bytes) in wrong {
            let read = std::panic::catch_unwind(|| take(bytes, Version::V5));
            assert!(read.is_err(), "{what} was read as {read:?}");
        }
    }
}
