//! The one table of bytes, packet and broken rule that all tests of the codec start from, split by
//! packet family. It holds data and nothing that checks it.

use midge_codec::{Packet, PacketIdentifier, ProtocolVersion, Rule, UserProperties};
use midge_codec::{TopicName, UserPropertiesBuf};

mod acknowledgement;
mod broken_connect;
mod connack;
mod connect;
mod empty;
mod publish;
mod subscribe;
mod unsubscribe;

/// What a row has its packets decoded with; one row is longer by a byte.
pub(crate) const PACKET_BYTES_MAX: u32 = 400;

pub(crate) const V3_1: &[ProtocolVersion] = &[ProtocolVersion::V3_1];
pub(crate) const V3_1_1: &[ProtocolVersion] = &[ProtocolVersion::V3_1_1];
pub(crate) const V3: &[ProtocolVersion] = &[ProtocolVersion::V3_1, ProtocolVersion::V3_1_1];
pub(crate) const SINCE_3_1_1: &[ProtocolVersion] = &[ProtocolVersion::V3_1_1, ProtocolVersion::V5];
pub(crate) const V5: &[ProtocolVersion] = &[ProtocolVersion::V5];
pub(crate) const ALL: &[ProtocolVersion] =
    &[ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];

/// One row: the same bytes mean the same in all of `versions`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) versions: &'static [ProtocolVersion],
    pub(crate) bytes: &'static [u8],
    pub(crate) expected: Result<Packet<'static>, Rule>,
    /// Whether encoding the packet gives these bytes; else it gives others of the same meaning.
    pub(crate) canonical: bool,
}

/// All rows of all families.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = connect::rows();
    rows.extend(broken_connect::rows());
    rows.extend(connack::rows());
    rows.extend(publish::rows());
    rows.extend(acknowledgement::rows());
    rows.extend(subscribe::rows());
    rows.extend(unsubscribe::rows());
    rows.extend(empty::rows());
    rows
}

/// A row of bytes that are the packet's own encoding.
fn valid(
    name: &'static str,
    versions: &'static [ProtocolVersion],
    bytes: &'static [u8],
    packet: Packet<'static>,
) -> Row {
    Row { name, versions, bytes, expected: Ok(packet), canonical: true }
}

/// A row of bytes that are a packet, but not as the codec would write it.
fn lenient(
    name: &'static str,
    versions: &'static [ProtocolVersion],
    bytes: &'static [u8],
    packet: Packet<'static>,
) -> Row {
    Row { name, versions, bytes, expected: Ok(packet), canonical: false }
}

/// A row of bytes that break a rule.
fn broken(
    name: &'static str,
    versions: &'static [ProtocolVersion],
    bytes: &'static [u8],
    rule: Rule,
) -> Row {
    Row { name, versions, bytes, expected: Err(rule), canonical: false }
}

fn packet_id(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("rows have no Packet Identifier 0")
}

fn topic(name: &'static str) -> TopicName<'static> {
    TopicName::new(name).expect("rows have valid Topic Names")
}

/// User Properties that live as long as the table, which is as long as the test binary.
fn user_properties(pairs: &[(&'static str, &'static str)]) -> UserProperties<'static> {
    let list: &'static UserPropertiesBuf = Box::leak(Box::new(pairs.iter().copied().collect()));
    list.view()
}
